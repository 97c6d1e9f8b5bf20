//! Compressed messages (RFC 7692 §6 and §7.2), rule by rule. Each message is read from a stream that comes in
//! one read, and from one that comes byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod common;

use std::io::Write;

use common::decode_pieces;
use flate2::{Compression, write::DeflateEncoder};
use switchboard_websocket::{
    CloseCode, Decoder, FrameHeader, Limits, Opcode, OwnedMessage, Prepared, ProtocolError, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
    encode_frame, mask,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn parameters(takeover: bool) -> DeflateParameters {
    DeflateParameters {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    }
}

fn deflater(role: Role, takeover: bool, threshold: usize) -> Deflater {
    Deflater::new(role, parameters(takeover), &DeflateOptions::default().threshold(threshold))
}

/// A client's decoder, for frames without a mask.
fn decoder(takeover: bool, limits: Limits) -> Decoder {
    Decoder::new(Role::Client, limits).with_inflater(Inflater::new(Role::Client, parameters(takeover)))
}

/// The outcome at a client, the same for both kinds of reads.
fn read(takeover: bool, limits: Limits, bytes: &[u8]) -> (Vec<OwnedMessage>, Option<ProtocolError>) {
    let whole = decode_pieces(&mut decoder(takeover, limits), [bytes]);
    let trickle = decode_pieces(&mut decoder(takeover, limits), bytes.chunks(1));
    assert_eq!(whole, trickle, "byte by byte is the same");
    whole
}

fn refused(takeover: bool, limits: Limits, bytes: &[u8]) -> ProtocolError {
    read(takeover, limits, bytes).1.expect("to be refused")
}

/// A frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = FrameHeader::new(Opcode::Text, payload.len()).as_bytes().to_vec();
    out[0] = first;
    out.extend_from_slice(payload);
    out
}

const TEXT: u8 = 0xC1;
const BINARY: u8 = 0xC2;

/// A whole deflate stream, with a last block at its end.
fn finished(payload: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(payload).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn the_examples_of_the_standard_are_read() {
    let hello = OwnedMessage::text("Hello");
    for (bytes, count) in [
        // §7.2.3.1: one block; in two frames.
        (&b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..], 1),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", 1),
        // §7.2.3.2: the second one refers to the first one, or it does not.
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", 2),
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", 2),
        // §7.2.3.3: a block that is not compressed.
        (b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 1),
        // §7.2.3.4: a last block, and a byte behind it.
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 1),
        // §7.2.3.5: two blocks.
        (b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 1),
    ] {
        assert_eq!(read(true, Limits::default(), bytes), (vec![hello.clone(); count], None), "{bytes:x?}");
    }
}

#[test]
fn the_example_of_the_standard_is_written() {
    let mut out = Vec::new();
    let mut deflater = deflater(Role::Server, true, 0);
    deflater.encode_frame(&mut out, Opcode::Text, b"Hello", None);
    deflater.encode_frame(&mut out, Opcode::Text, b"", None);
    assert_eq!(out, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x01\x00");
}

#[test]
fn messages_without_context_refer_to_nothing_before_them() {
    let second = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(refused(false, Limits::default(), second), ProtocolError::InvalidDeflate);
    let json =
        br#"{"event":"message","room":"lobby","text":"a text that says little and is sent again"}"#.repeat(3);
    for (takeover, shorter) in [(true, true), (false, false)] {
        let mut deflater = deflater(Role::Server, takeover, 0);
        let mut lengths = Vec::new();
        let mut all = Vec::new();
        for _ in 0..2 {
            let mut out = Vec::new();
            deflater.encode_frame(&mut out, Opcode::Text, &json, None);
            lengths.push(out.len());
            all.extend(out);
        }
        assert_eq!(lengths[1] < lengths[0], shorter, "{lengths:?}");
        assert_eq!(deflater.holds_state(), takeover);
        let text = OwnedMessage::text(String::from_utf8(json.clone()).unwrap());
        assert_eq!(read(takeover, Limits::default(), &all), (vec![text.clone(), text], None));
    }
}

#[test]
fn a_compressor_that_was_told_to_forget_goes_on_without_a_word_to_the_peer() {
    let text = "what was said is said again, and again ".repeat(4);
    let mut out = Vec::new();
    let mut deflater = deflater(Role::Server, true, 0);
    deflater.encode_frame(&mut out, Opcode::Text, text.as_bytes(), None);
    deflater.forget();
    assert!(!deflater.holds_state());
    // A message of another compressor may come in between then.
    let shared = Prepared::text(&text);
    let once = self::deflater(Role::Server, false, 0);
    out.extend_from_slice(once.prepared(&shared).unwrap());
    deflater.encode_frame(&mut out, Opcode::Text, text.as_bytes(), None);
    let text = OwnedMessage::Text(text);
    assert_eq!(read(true, Limits::default(), &out), (vec![text.clone(), text.clone(), text], None));
}

#[test]
fn empty_messages_are_read_in_every_form() {
    for bytes in
        [&b"\xc1\x00"[..], b"\xc1\x01\x00", b"\x41\x00\x80\x00", b"\xc1\x02\x03\x00", b"\xc1\x03\x03\x00\x00"]
    {
        for takeover in [true, false] {
            let again = [bytes, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"].concat();
            let expected = vec![OwnedMessage::text(""), OwnedMessage::text("Hello")];
            assert_eq!(read(takeover, Limits::default(), &again), (expected, None), "{bytes:x?}");
        }
    }
}

#[test]
fn a_last_block_ends_a_message_with_or_without_the_byte_behind_it() {
    let text = "one that refers to itself, and to itself again".repeat(9);
    let mut with = finished(text.as_bytes());
    let without = frame(TEXT, &with);
    with.push(0);
    for takeover in [true, false] {
        let twice = [without.clone(), frame(TEXT, &with)].concat();
        let expected = vec![OwnedMessage::text(&*text); 2];
        assert_eq!(read(takeover, Limits::default(), &twice), (expected, None));
    }
}

#[test]
fn a_message_whose_sender_left_the_flush_at_its_end_is_read_and_so_is_the_next() {
    const FLUSH: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
    for takeover in [true, false] {
        for text in [
            "aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
            "one that refers to itself, and to itself again".repeat(9),
        ] {
            let mut deflater = deflater(Role::Server, takeover, 0);
            let mut stream = Vec::new();
            // A sender with takeover refers to earlier messages meanwhile.
            for left in [true, false, true, true, false] {
                let mut whole = Vec::new();
                deflater.encode_frame(&mut whole, Opcode::Text, text.as_bytes(), None);
                let mut payload = whole.split_off(2);
                assert!(payload.len() < 120, "the header is two bytes");
                if left {
                    payload.extend(FLUSH);
                }
                stream.extend(frame(TEXT, &payload));
            }
            let expected = vec![OwnedMessage::text(&*text); 5];
            assert_eq!(read(takeover, Limits::default(), &stream), (expected, None), "{takeover}");
        }
    }
}

#[test]
fn a_message_that_only_seems_to_end_with_a_flush_is_read_whole() {
    // A block that is stored without compression, and behind it the first byte of the block that is left out
    // at the end.
    let data = [b"as it is ".as_slice(), &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let len = data.len() as u16;
    let stored = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), &data].concat();
    for takeover in [true, false] {
        let stream =
            [frame(BINARY, &[&stored[..], &[0]].concat()), frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00")];
        let expected = vec![OwnedMessage::binary(&*data), OwnedMessage::text("Hello")];
        assert_eq!(read(takeover, Limits::default(), &stream.concat()), (expected, None), "{takeover}");
    }
}

#[test]
fn rsv1_is_refused_where_it_means_nothing() {
    let cases: [(&[u8], u8); 6] = [
        (b"\xc9\x00", 4),                                     // ping
        (b"\xca\x00", 4),                                     // pong
        (b"\xc8\x00", 4),                                     // close
        (b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00", 4), // on a continuation too
        (b"\x01\x01a\xc0\x01b", 4),                           // on a continuation only
        (b"\xe1\x00", 6),                                     // RSV2 besides
    ];
    for (bytes, bits) in cases {
        assert_eq!(
            refused(true, Limits::default(), bytes),
            ProtocolError::ReservedBits { bits },
            "{bytes:x?}"
        );
    }
    // Without negotiation the bit has no meaning at all.
    let plain = decode_pieces(&mut Decoder::new(Role::Client, Limits::default()), [&b"\xc1\x01\x00"[..]]);
    assert_eq!(plain, (vec![], Some(ProtocolError::ReservedBits { bits: 4 })));
}

#[test]
fn control_frames_come_between_the_fragments_of_a_compressed_message() {
    let bytes = b"\x41\x03\xf2\x48\xcd\x89\x01!\x00\x02\xc9\xc9\x8a\x00\x80\x02\x07\x00\x81\x02ok";
    let expected = vec![
        OwnedMessage::Ping(b"!".to_vec()),
        OwnedMessage::Pong(Vec::new()),
        OwnedMessage::text("Hello"),
        OwnedMessage::text("ok"),
    ];
    assert_eq!(read(true, Limits::default(), bytes), (expected, None));
}

#[test]
fn compressed_and_plain_messages_may_alternate() {
    let mut out = Vec::new();
    let mut deflater = deflater(Role::Server, true, 20);
    let texts =
        ["short", "one that is long enough to be compressed", "short", "one that is long enough again"];
    for text in texts {
        deflater.encode_frame(&mut out, Opcode::Text, text.as_bytes(), None);
    }
    assert_eq!((out[0], out[7] & 0x40), (0x81, 0x40), "only what is over the threshold");
    assert_eq!(read(true, Limits::default(), &out), (texts.map(OwnedMessage::text).to_vec(), None));
}

#[test]
fn a_message_that_compression_does_not_make_smaller_is_sent_plain_where_no_context_depends_on_it() {
    let noise = noise(2000);
    for (takeover, first) in [(false, 0x82), (true, BINARY)] {
        let mut out = Vec::new();
        let mut deflater = deflater(Role::Server, takeover, 0);
        for _ in 0..2 {
            deflater.encode_frame(&mut out, Opcode::Binary, &noise, None);
        }
        assert_eq!(out[0], first, "takeover: {takeover}");
        assert_eq!(
            read(takeover, Limits::default(), &out),
            (vec![OwnedMessage::Binary(noise.clone()); 2], None)
        );
    }
}

#[test]
fn a_client_masks_the_compressed_bytes() {
    let text = "what a client says ".repeat(100);
    let mut out = Vec::new();
    deflater(Role::Client, false, 0).encode_frame(&mut out, Opcode::Text, text.as_bytes(), Some(KEY));
    let mut server = Decoder::new(Role::Server, Limits::default())
        .with_inflater(Inflater::new(Role::Server, parameters(false)));
    assert_eq!(decode_pieces(&mut server, [out.as_slice()]), (vec![OwnedMessage::Text(text.clone())], None));
    // Without its mask this is the frame of a server.
    let mut plain = Vec::new();
    deflater(Role::Server, false, 0).encode_frame(&mut plain, Opcode::Text, text.as_bytes(), None);
    let start = out.len() - (plain.len() - 2);
    mask(&mut out[start..], KEY, 0);
    assert_eq!(out[start..], plain[2..]);
}

#[test]
fn every_window_is_kept_to_and_read() {
    for bits in 9..=15 {
        let parameters = DeflateParameters { server_max_window_bits: bits, ..parameters(true) };
        for level in [1, 2, 4, 6, 9] {
            let options = DeflateOptions::default().threshold(0).level(level);
            let window = 1 << bits;
            // Noise that comes again is shorter only if it is within the window. zlib needs some bytes of the
            // window for itself.
            for (again_after, fits) in [(window - 300, true), (window, false)] {
                let message = noise(again_after).repeat(2);
                let mut out = Vec::new();
                Deflater::new(Role::Server, parameters, &options).encode_frame(
                    &mut out,
                    Opcode::Binary,
                    &message,
                    None,
                );
                assert_eq!(
                    out.len() < message.len() * 3 / 4,
                    fits,
                    "{bits} bits, level {level}: {}",
                    out.len()
                );
                assert!(read(true, Limits::default(), &out) == (vec![OwnedMessage::Binary(message)], None));
            }
        }
    }
}

#[test]
fn a_window_of_8_bits_is_read_and_never_written() {
    let parameters = DeflateParameters { client_max_window_bits: 8, ..parameters(true) };
    let mut out = Vec::new();
    Deflater::new(Role::Client, parameters, &DeflateOptions::default().threshold(0)).encode_frame(
        &mut out,
        Opcode::Text,
        &[b'a'; 100],
        Some(KEY),
    );
    assert_eq!(out[0], 0x81);
}

#[test]
fn text_is_checked_as_it_is_inflated() {
    let good = "κόσμε 🦀 ".repeat(50);
    assert_eq!(read(false, Limits::default(), &frame(TEXT, &finished(good.as_bytes()))).1, None);
    let mut bad = good.clone().into_bytes();
    bad.push(0xFF);
    bad.extend_from_slice(good.as_bytes());
    let whole = finished(&bad);
    let offset = good.len();
    assert_eq!(
        refused(false, Limits::default(), &frame(TEXT, &whole)),
        ProtocolError::InvalidUtf8 { offset }
    );
    // A bad byte is found before its message is whole: the bytes behind it have not come.
    let mut encoder = flate2::Compress::new(Compression::fast(), false);
    let mut half = Vec::with_capacity(2000);
    encoder.compress_vec(&bad[..=offset], &mut half, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(
        refused(false, Limits::default(), &frame(TEXT & 0x7F, &half)),
        ProtocolError::InvalidUtf8 { offset }
    );
    // A code point that the end of the message cuts off.
    let cut = finished(&good.as_bytes()[..good.len() - 2]);
    assert!(matches!(
        refused(false, Limits::default(), &frame(TEXT, &cut)),
        ProtocolError::InvalidUtf8 { .. }
    ));
    // In a binary message it is not checked.
    assert_eq!(read(false, Limits::default(), &frame(BINARY, &whole)).0, [OwnedMessage::Binary(bad)]);
}

#[test]
fn bytes_that_are_not_deflate_data_are_refused() {
    for payload in [&b"\xff"[..], b"\x07", b"\xf2\x48\xcd\xff\xff\xff\xff\xff", b"\x00\x05\x00\x00\x00hello"]
    {
        for takeover in [true, false] {
            let error = refused(takeover, Limits::default(), &frame(BINARY, payload));
            assert_eq!(error, ProtocolError::InvalidDeflate, "{payload:x?}");
            assert_eq!(error.close_code(), CloseCode::InvalidPayload);
        }
    }
    // Without context a message that was cut short is refused too.
    assert_eq!(refused(false, Limits::default(), b"\xc1\x03\xf2\x48\xcd"), ProtocolError::InvalidDeflate);
}

#[test]
fn a_message_is_bounded_as_it_is_inflated() {
    let limit = 10_000;
    let limits = Limits::default().max_message_bytes(limit);
    let too_large = ProtocolError::MessageTooLarge { length: 10_001, limit };
    for takeover in [true, false] {
        for len in [limit - 1, limit] {
            let bytes = frame(BINARY, &finished(&vec![7; len]));
            assert_eq!(read(takeover, limits, &bytes), (vec![OwnedMessage::Binary(vec![7; len])], None));
        }
        for len in [limit + 1, 10_000_000] {
            assert_eq!(
                refused(takeover, limits, &frame(BINARY, &finished(&vec![7; len]))),
                too_large,
                "{len} bytes"
            );
        }
        // In fragments, each of which inflates to less.
        let mut encoder = flate2::Compress::new(Compression::best(), false);
        let mut bytes = Vec::new();
        for first in [0x42, 0x00, 0x00] {
            let mut part = Vec::with_capacity(200);
            encoder.compress_vec(&[7; 4000], &mut part, flate2::FlushCompress::Sync).unwrap();
            bytes.extend(frame(first, &part));
        }
        assert_eq!(refused(takeover, limits, &bytes), too_large);
    }
    assert_eq!(too_large.close_code(), CloseCode::MessageTooBig);
    // A message that does not compress may be a few bytes longer in its frame.
    let stored = [&b"\x01\x10\x27\xef\xd8"[..], &[9; 10_000]].concat();
    assert_eq!(
        read(false, limits, &frame(BINARY, &stored)),
        (vec![OwnedMessage::Binary(vec![9; 10_000])], None)
    );
}

#[test]
fn a_prepared_message_is_compressed_once_for_each_window() {
    let text = "news for everyone who listens ".repeat(100);
    let news = Prepared::text(&text);
    let once = deflater(Role::Server, false, 0);
    let shared = once.prepared(&news).unwrap().clone();
    assert_eq!(once.prepared(&news.clone()).unwrap().as_ptr(), shared.as_ptr(), "the very same bytes");
    let small = DeflateParameters { server_max_window_bits: 9, ..parameters(false) };
    let small = Deflater::new(Role::Server, small, &DeflateOptions::default().threshold(0));
    assert_ne!(small.prepared(&news).unwrap().as_ptr(), shared.as_ptr());
    for frame in [&shared, small.prepared(&news).unwrap()] {
        assert_eq!(read(true, Limits::default(), frame), (vec![OwnedMessage::Text(text.clone())], None));
    }
    // A message below the threshold, and one that would not be smaller, is sent without compression. Where
    // context is kept its frame is not shared.
    let mut plain = Vec::new();
    encode_frame(&mut plain, Opcode::Text, text.as_bytes());
    assert_eq!(deflater(Role::Server, false, 10_000).prepared(&news).unwrap(), &plain);
    let short = Prepared::binary([1, 2, 3]);
    assert_eq!(deflater(Role::Server, false, 0).prepared(&short).unwrap(), &b"\x82\x03\x01\x02\x03"[..]);
    assert!(deflater(Role::Server, true, 0).prepared(&news).is_none());
}
