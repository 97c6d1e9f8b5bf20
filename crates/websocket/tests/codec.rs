//! Framing (RFC 6455 §5), rule by rule. Each rule is checked with a stream that comes in one read, and with
//! one that comes byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod common;

use common::{decode, decode_pieces, decode_trickle};
use switchboard_websocket::{
    CloseCode, Decoder, FrameHeader, Limits, Message, Opcode, OwnedMessage, ProtocolError, Role,
    encode_close, encode_frame, encode_frame_masked, mask_scalar,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn text(text: &str) -> OwnedMessage {
    OwnedMessage::from(text)
}

fn binary(bytes: &[u8]) -> OwnedMessage {
    OwnedMessage::from(bytes)
}

/// A frame of a client, with FIN as given.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = FrameHeader::new(opcode, payload.len()).fin(fin).masked(KEY).as_bytes().to_vec();
    let start = out.len();
    out.extend_from_slice(payload);
    mask_scalar(&mut out[start..], KEY, 0);
    out
}

/// The outcome at a server, the same for both kinds of reads.
fn served(limits: Limits, bytes: &[u8]) -> (Vec<OwnedMessage>, Option<ProtocolError>) {
    let whole = decode(Role::Server, limits, bytes);
    assert_eq!(decode_trickle(Role::Server, limits, bytes), whole, "byte by byte is the same");
    whole
}

fn refused(limits: Limits, bytes: &[u8]) -> ProtocolError {
    served(limits, bytes).1.expect("to be refused")
}

#[test]
fn the_examples_of_the_standard_are_read() {
    // The examples of RFC 6455 §5.7.
    let client: [(&[u8], OwnedMessage); 4] = [
        (b"\x81\x05Hello", text("Hello")),
        (b"\x01\x03Hel\x80\x02lo", text("Hello")),
        (b"\x89\x05Hello", OwnedMessage::Ping(b"Hello".to_vec())),
        (b"\x8a\x05Hello", OwnedMessage::Pong(b"Hello".to_vec())),
    ];
    for (bytes, message) in client {
        let whole = decode(Role::Client, Limits::default(), bytes);
        assert_eq!(whole, (vec![message], None));
        assert_eq!(decode_trickle(Role::Client, Limits::default(), bytes), whole);
    }
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(served(Limits::default(), masked), (vec![text("Hello")], None));
    for (len, header) in
        [(256, b"\x82\x7e\x01\x00".as_slice()), (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")]
    {
        let bytes = [header, &vec![7; len]].concat();
        assert_eq!(decode(Role::Client, Limits::default(), &bytes).0, [binary(&vec![7; len])]);
    }
}

#[test]
fn a_length_is_written_in_its_shortest_form() {
    for (len, header) in [
        (0, b"\x82\x00".as_slice()),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ] {
        assert_eq!(FrameHeader::new(Opcode::Binary, len).as_bytes(), header);
    }
}

#[test]
fn a_header_carries_fin_rsv1_and_the_mask() {
    let header = FrameHeader::new(Opcode::Text, 3);
    assert_eq!(header.as_bytes(), b"\x81\x03");
    assert_eq!(header.fin(false).as_bytes(), b"\x01\x03");
    assert_eq!(header.rsv1().as_bytes(), b"\xc1\x03");
    assert_eq!(header.masked([1, 2, 3, 4]).as_bytes(), b"\x81\x83\x01\x02\x03\x04");
}

#[test]
fn a_frame_that_breaks_a_rule_is_refused_with_its_code() {
    use CloseCode as Code;
    use ProtocolError as E;
    let long = |length: u64| [b"\x82\xff".as_slice(), &length.to_be_bytes(), &KEY].concat();
    let close = |body: &[u8]| frame(true, Opcode::Close, body);
    let table: [(&str, Vec<u8>, E, Code); 24] = [
        ("RSV1", vec![0xC1], E::ReservedBits { bits: 4 }, Code::ProtocolError),
        ("RSV2", vec![0xA1], E::ReservedBits { bits: 2 }, Code::ProtocolError),
        ("RSV3", vec![0x91], E::ReservedBits { bits: 1 }, Code::ProtocolError),
        ("RSV1 on a ping", vec![0xC9], E::ReservedBits { bits: 4 }, Code::ProtocolError),
        ("opcode 3", vec![0x83], E::ReservedOpcode { opcode: 3 }, Code::ProtocolError),
        ("opcode 7", vec![0x87], E::ReservedOpcode { opcode: 7 }, Code::ProtocolError),
        ("opcode 11", vec![0x8B], E::ReservedOpcode { opcode: 11 }, Code::ProtocolError),
        ("opcode 15", vec![0x8F], E::ReservedOpcode { opcode: 15 }, Code::ProtocolError),
        ("no mask", b"\x81\x05Hello".to_vec(), E::UnmaskedFrame, Code::ProtocolError),
        ("no mask on an empty frame", vec![0x81, 0], E::UnmaskedFrame, Code::ProtocolError),
        (
            "a ping in fragments",
            vec![0x09],
            E::FragmentedControl { opcode: Opcode::Ping },
            Code::ProtocolError,
        ),
        ("a long pong", vec![0x8A, 0xFE], E::ControlTooLong { opcode: Opcode::Pong }, Code::ProtocolError),
        (
            "a longer close",
            vec![0x88, 0xFF],
            E::ControlTooLong { opcode: Opcode::Close },
            Code::ProtocolError,
        ),
        ("over 2^63", long(1 << 63), E::LengthTooLarge { length: 1 << 63 }, Code::ProtocolError),
        ("all ones", long(u64::MAX), E::LengthTooLarge { length: u64::MAX }, Code::ProtocolError),
        (
            "125 in 16 bits",
            vec![0x82, 0xFE, 0, 125],
            E::NonMinimalLength { length: 125 },
            Code::ProtocolError,
        ),
        ("65535 in 64 bits", long(65535), E::NonMinimalLength { length: 65535 }, Code::ProtocolError),
        (
            "nothing to continue",
            frame(true, Opcode::Continuation, b"a"),
            E::UnexpectedContinuation,
            Code::ProtocolError,
        ),
        (
            "a message within a message",
            [frame(false, Opcode::Text, b"a"), frame(true, Opcode::Binary, b"b")].concat(),
            E::ExpectedContinuation { opcode: Opcode::Binary },
            Code::ProtocolError,
        ),
        (
            "text that is not UTF-8",
            frame(true, Opcode::Text, b"ab\xff"),
            E::InvalidUtf8 { offset: 2 },
            Code::InvalidPayload,
        ),
        (
            "half a character",
            frame(true, Opcode::Text, "é".as_bytes().split_last().unwrap().1),
            E::InvalidUtf8 { offset: 0 },
            Code::InvalidPayload,
        ),
        ("half a close code", close(b"\x03"), E::TruncatedCloseCode, Code::ProtocolError),
        (
            "a close code for nobody",
            close(b"\x03\xed"),
            E::InvalidCloseCode { code: 1005 },
            Code::ProtocolError,
        ),
        (
            "a reason that is not UTF-8",
            close(b"\x03\xe8a\xff"),
            E::InvalidCloseReason { offset: 1 },
            Code::InvalidPayload,
        ),
    ];
    for (name, bytes, error, code) in table {
        assert_eq!(refused(Limits::default(), &bytes), error, "{name}");
        assert_eq!(error.close_code(), code, "{name}");
    }
}

#[test]
fn a_masked_server_frame_is_refused() {
    let (_, error) = decode(Role::Client, Limits::default(), &frame(true, Opcode::Text, b"Hello"));
    assert_eq!(error, Some(ProtocolError::MaskedFrame));
}

#[test]
fn close_codes_are_valid_on_the_wire_in_three_ranges() {
    for code in 0..=u16::MAX {
        let valid =
            (1000..=1003).contains(&code) || (1007..=1014).contains(&code) || (3000..=4999).contains(&code);
        assert_eq!(CloseCode::from(code).is_valid_on_wire(), valid, "{code}");
        let body = [&code.to_be_bytes(), b"why".as_slice()].concat();
        let (messages, error) = decode(Role::Server, Limits::default(), &frame(true, Opcode::Close, &body));
        if valid {
            assert_eq!(messages, [OwnedMessage::close(code.into(), "why")]);
        } else {
            assert_eq!(error, Some(ProtocolError::InvalidCloseCode { code }));
        }
    }
}

#[test]
fn a_close_is_encoded_with_a_code_that_may_be_sent() {
    let encoded = |code: u16, reason: &str| {
        let mut out = Vec::new();
        encode_close(&mut out, None, code.into(), reason);
        out
    };
    assert_eq!(encoded(1000, ""), b"\x88\x02\x03\xe8");
    assert_eq!(encoded(4001, "bye"), b"\x88\x05\x0f\xa1bye");
    assert_eq!(encoded(1005, "never said"), b"\x88\x00", "1005 stands for no code");
    // 41 characters of three bytes are 123 bytes, which just fit. A letter before them leaves room for 40.
    assert_eq!(encoded(1000, &"가".repeat(60)), [b"\x88\x7d\x03\xe8", "가".repeat(41).as_bytes()].concat());
    assert_eq!(encoded(1000, &format!("a{}", "가".repeat(60))).len(), 2 + 2 + 1 + 120, "cut at a character");
}

#[test]
fn control_frames_may_come_between_the_fragments_of_a_message() {
    let bytes = [
        frame(false, Opcode::Text, b"one "),
        frame(true, Opcode::Ping, b"still there?"),
        frame(false, Opcode::Continuation, b"two "),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Continuation, b"three"),
        frame(true, Opcode::Binary, b"next"),
    ]
    .concat();
    let messages = vec![
        OwnedMessage::Ping(b"still there?".to_vec()),
        OwnedMessage::Pong(vec![]),
        text("one two three"),
        binary(b"next"),
    ];
    assert_eq!(served(Limits::default(), &bytes), (messages, None));
}

#[test]
fn a_message_may_come_in_empty_fragments() {
    let bytes = [
        frame(false, Opcode::Text, b""),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Continuation, b""),
    ]
    .concat();
    assert_eq!(served(Limits::default(), &bytes), (vec![text("")], None));
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let euro = "€".as_bytes();
    let bytes = [
        frame(false, Opcode::Text, &euro[..1]),
        frame(false, Opcode::Continuation, &euro[1..2]),
        frame(true, Opcode::Continuation, &[&euro[2..], b"uro"].concat()),
    ]
    .concat();
    assert_eq!(served(Limits::default(), &bytes), (vec![text("€uro")], None));
}

#[test]
fn text_is_refused_at_its_first_bad_byte() {
    // The beginning of a text, the byte that makes it bad, and the place where the bad sequence begins.
    let table: [(&[u8], u8, usize); 8] = [
        (b"", 0x80, 0),
        (b"ok", 0xFF, 2),
        (b"", 0xC0, 0),
        (b"ok\xe0", 0x80, 2),
        (b"\xed", 0xA0, 0),
        (b"\xf4", 0x90, 0),
        ("κόσμε".as_bytes(), 0xBF, "κόσμε".len()),
        (b"\xf0\x9f\x92", b'a', 0),
    ];
    for (good, bad, offset) in table {
        // A frame that announces many more bytes, of which none comes after the bad byte.
        let mut bytes = FrameHeader::new(Opcode::Text, 1000).masked(KEY).as_bytes().to_vec();
        let mut payload = [good, &[bad]].concat();
        mask_scalar(&mut payload, KEY, 0);
        bytes.extend(&payload[..good.len()]);
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        assert_eq!(decode_pieces(&mut decoder, [bytes.as_slice()]), (vec![], None), "{good:x?}");
        let (_, error) = decode_pieces(&mut decoder, [&payload[good.len()..]]);
        assert_eq!(error, Some(ProtocolError::InvalidUtf8 { offset }), "{good:x?} {bad:x}");
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header() {
    let limits = Limits::default().max_frame_bytes(100).max_message_bytes(1000);
    let at = frame(true, Opcode::Binary, &[1; 100]);
    assert_eq!(served(limits, &at), (vec![binary(&[1; 100])], None));
    let over = FrameHeader::new(Opcode::Binary, 101).masked(KEY);
    assert_eq!(refused(limits, over.as_bytes()), ProtocolError::FrameTooLarge { length: 101, limit: 100 });
    let huge = FrameHeader::new(Opcode::Binary, (1 << 63) - 1).masked(KEY);
    let error = refused(limits, huge.as_bytes());
    assert_eq!(error, ProtocolError::FrameTooLarge { length: (1 << 63) - 1, limit: 100 });
    assert_eq!(error.close_code(), CloseCode::MessageTooBig);
    let ping = frame(true, Opcode::Ping, &[1; 125]);
    assert_eq!(served(limits, &ping).1, None, "a control frame has a limit of its own");
}

#[test]
fn a_message_over_the_limit_is_refused_in_any_fragments() {
    let limits = Limits::default().max_message_bytes(100);
    assert_eq!(served(limits, &frame(true, Opcode::Text, &[b'a'; 100])).1, None);
    let whole = frame(true, Opcode::Text, &[b'a'; 101]);
    assert_eq!(refused(limits, &whole), ProtocolError::MessageTooLarge { length: 101, limit: 100 });
    let first = frame(false, Opcode::Text, &[b'a'; 60]);
    let at = [first.clone(), frame(true, Opcode::Continuation, &[b'a'; 40])].concat();
    assert_eq!(served(limits, &at).1, None);
    let over = [first, FrameHeader::new(Opcode::Continuation, 41).masked(KEY).as_bytes().to_vec()].concat();
    let error = refused(limits, &over);
    assert_eq!(error, ProtocolError::MessageTooLarge { length: 101, limit: 100 });
    assert_eq!(error.close_code(), CloseCode::MessageTooBig);
}

#[test]
fn a_message_in_too_many_fragments_is_refused_also_if_they_are_empty() {
    let limits = Limits::default().max_fragments(4);
    let fragments = |count: usize, fin: bool| {
        let mut bytes = frame(false, Opcode::Binary, b"");
        (2..count).for_each(|_| bytes.extend(frame(false, Opcode::Continuation, b"")));
        bytes.extend(frame(fin, Opcode::Continuation, b""));
        bytes
    };
    assert_eq!(served(limits, &fragments(4, true)), (vec![binary(b"")], None));
    let error = refused(limits, &fragments(5, false));
    assert_eq!(error, ProtocolError::TooManyFragments { limit: 4 });
    assert_eq!(error.close_code(), CloseCode::PolicyViolation);
    let twice = [fragments(4, true), fragments(4, true)].concat();
    assert_eq!(served(limits, &twice).0.len(), 2, "each message is counted by itself");
}

#[test]
fn lengths_that_overflow_together_are_refused_by_the_limits_or_wait_for_their_bytes() {
    const LONGEST: u64 = (1 << 63) - 1;
    let none = Limits::default().max_frame_bytes(usize::MAX).max_message_bytes(usize::MAX);
    let long = |first: u8| [&[first, 0xFF][..], &LONGEST.to_be_bytes(), &KEY, b"some"].concat();
    // The frame would end behind the end of all memory.
    assert_eq!(served(none, &long(0x82)), (vec![], None));
    let first = frame(false, Opcode::Binary, b"first");
    assert_eq!(served(none, &[&first[..], &long(0x80)].concat()), (vec![], None));
    // Only a third frame could make the sum larger than 64 bits.
    let limits = none.max_message_bytes(LONGEST as usize);
    let error = refused(limits, &[&first[..], &long(0x00)].concat());
    assert_eq!(error, ProtocolError::MessageTooLarge { length: LONGEST + 5, limit: LONGEST as usize });
}

#[test]
fn nothing_after_a_close_or_an_error_means_anything() {
    let next = frame(true, Opcode::Text, b"next");
    let closed = [frame(true, Opcode::Close, b""), next.clone()].concat();
    assert_eq!(served(Limits::default(), &closed), (vec![OwnedMessage::Close(None)], None));
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    assert!(decode_pieces(&mut decoder, [[0xFF].as_slice()]).1.is_some());
    assert_eq!(decode_pieces(&mut decoder, [next.as_slice()]), (vec![], None));
}

#[test]
fn a_whole_frame_is_a_slice_of_the_input() {
    for len in [0, 20, 125, 126, 70_000] {
        let mut input = Vec::new();
        encode_frame_masked(&mut input, Opcode::Binary, &vec![9; len], KEY);
        let within = input.as_ptr_range();
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let Ok(Some(Message::Binary(payload))) = decoder.decode(&mut input, &mut 0) else {
            panic!("a message of {len} bytes")
        };
        assert_eq!(payload, vec![9; len]);
        assert!(within.start <= payload.as_ptr() && payload.as_ptr_range().end <= within.end);
        assert!(decoder.is_idle());
    }
}

#[test]
fn a_decoder_is_idle_only_between_messages() {
    let bytes = [frame(false, Opcode::Text, b"a"), frame(true, Opcode::Continuation, b"b")].concat();
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    assert!(decoder.is_idle());
    for (at, byte) in bytes.iter().enumerate() {
        let (messages, _) = decode_pieces(&mut decoder, [[*byte].as_slice()]);
        let last = at + 1 == bytes.len();
        assert_eq!(messages.len(), usize::from(last));
        assert_eq!(decoder.is_idle(), last, "after byte {at}");
    }
}

#[test]
fn a_short_masked_text_is_returned_if_it_is_utf8_with_characters_at_any_place() {
    for len in (0..20).chain([63, 64, 125]) {
        for at in 0..=len {
            let mut payload = vec![b'a'; len];
            if let Some(byte) = payload.get_mut(at) {
                *byte = 0xC3;
            }
            if let Some(byte) = payload.get_mut(at + 1) {
                *byte = 0xA9;
            }
            let mut input = frame(true, Opcode::Text, &payload);
            let mut decoder = Decoder::new(Role::Server, Limits::default());
            let expected = std::str::from_utf8(&payload).ok();
            let given = decoder.decode(&mut input, &mut 0).ok();
            assert_eq!(given, expected.map(|text| Some(Message::Text(text))), "{len} {at}");
        }
    }
}

#[test]
fn an_input_may_hold_bytes_that_were_decoded_before() {
    let mut input = Vec::new();
    encode_frame(&mut input, Opcode::Text, b"one");
    let first = input.len();
    encode_frame(&mut input, Opcode::Text, b"two");
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    let mut pos = first;
    assert_eq!(decoder.decode(&mut input, &mut pos), Ok(Some(Message::Text("two"))));
    assert_eq!(pos, input.len());
    pos += 7;
    assert_eq!(
        decoder.decode(&mut input, &mut pos),
        Ok(None),
        "a position beyond the end is nothing to read"
    );
}

#[test]
fn an_owned_message_is_the_same_as_a_borrowed_one() {
    let bytes = [
        frame(true, Opcode::Text, b"short"),
        frame(true, Opcode::Binary, &[1; 500]),
        frame(false, Opcode::Text, b"in "),
        frame(true, Opcode::Ping, b"?"),
        frame(true, Opcode::Continuation, b"pieces"),
        frame(true, Opcode::Close, b"\x03\xe8"),
    ]
    .concat();
    for size in 1..bytes.len() {
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let mut messages = Vec::new();
        for piece in bytes.chunks(size) {
            let (mut input, mut pos) = (piece.to_vec(), 0);
            while let Some(message) = decoder.decode_owned(&mut input, &mut pos).unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(messages, served(Limits::default(), &bytes).0, "in pieces of {size}");
    }
}
