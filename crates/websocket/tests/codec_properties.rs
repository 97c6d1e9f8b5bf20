//! Properties of every message and every split of a stream.

mod common;

use common::{decode_into_room, decode_pieces};
use proptest::{collection::vec, prelude::*, sample::Index};
use switchboard_websocket::{
    CloseCode, Decoder, FrameHeader, Limits, MAX_CONTROL_PAYLOAD, Opcode, OwnedCloseFrame, OwnedMessage,
    Role, encode_close, encode_frame, encode_frame_masked, mask, mask_scalar,
};

fn message() -> impl Strategy<Value = OwnedMessage> {
    let code = prop_oneof![1000u16..=1003, 1007u16..=1014, 3000u16..=4999].prop_map(CloseCode::from);
    prop_oneof![
        4 => ".{0,200}".prop_map(OwnedMessage::Text),
        4 => vec(any::<u8>(), 0..300).prop_map(OwnedMessage::Binary),
        1 => vec(any::<u8>(), 65_000..66_000).prop_map(OwnedMessage::Binary),
        1 => vec(any::<u8>(), 0..=125).prop_map(OwnedMessage::Ping),
        1 => vec(any::<u8>(), 0..=125).prop_map(OwnedMessage::Pong),
        1 => Just(OwnedMessage::Close(None)),
        1 => (code, ".{0,30}").prop_map(|(code, reason)| OwnedMessage::close(code, reason)),
    ]
}

fn encode(out: &mut Vec<u8>, role: Role, message: &OwnedMessage, key: [u8; 4]) {
    let (opcode, payload) = match message {
        OwnedMessage::Text(text) => (Opcode::Text, text.as_bytes()),
        OwnedMessage::Binary(bytes) => (Opcode::Binary, bytes.as_slice()),
        OwnedMessage::Ping(bytes) => (Opcode::Ping, bytes.as_slice()),
        OwnedMessage::Pong(bytes) => (Opcode::Pong, bytes.as_slice()),
        OwnedMessage::Close(None) => (Opcode::Close, [].as_slice()),
        OwnedMessage::Close(Some(OwnedCloseFrame { code, reason })) => {
            return encode_close(out, (role == Role::Client).then_some(key), *code, reason);
        }
    };
    match role {
        Role::Server => encode_frame(out, opcode, payload),
        Role::Client => encode_frame_masked(out, opcode, payload, key),
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn other(role: Role) -> Role {
    if role == Role::Server { Role::Client } else { Role::Server }
}

/// `bytes` in pieces that are cut at the indexes.
fn split<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    pieces
}

/// A part of a stream: good frames, or random bytes.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let fragment = (any::<bool>(), 0u8..3, vec(any::<u8>(), 0..40), any::<[u8; 4]>()).prop_map(
        |(fin, opcode, mut payload, key)| {
            let opcode = [Opcode::Continuation, Opcode::Text, Opcode::Binary][usize::from(opcode)];
            let mut out = FrameHeader::new(opcode, payload.len()).fin(fin).masked(key).as_bytes().to_vec();
            mask_scalar(&mut payload, key, 0);
            out.extend(payload);
            out
        },
    );
    let whole = (message(), any::<[u8; 4]>()).prop_map(|(message, key)| {
        let mut out = Vec::new();
        encode(&mut out, Role::Client, &message, key);
        out
    });
    vec(prop_oneof![4 => fragment, 4 => whole, 1 => vec(any::<u8>(), 0..20)], 0..8)
        .prop_map(|steps| steps.concat())
}

proptest! {
    #[test]
    fn any_message_survives_encode_and_decode(
        role in role(), messages in vec(message(), 1..6), key: [u8; 4], cuts in vec(any::<Index>(), 0..6),
    ) {
        let last = messages.iter().position(|message| matches!(message, OwnedMessage::Close(_)));
        let mut bytes = Vec::new();
        for message in &messages {
            encode(&mut bytes, role, message, key);
        }
        let mut decoder = Decoder::new(other(role), Limits::default());
        let (decoded, error) = decode_pieces(&mut decoder, split(&bytes, &cuts));
        prop_assert_eq!(error, None);
        prop_assert_eq!(&decoded[..], &messages[..last.map_or(messages.len(), |last| last + 1)]);
        prop_assert!(decoder.is_idle());
    }

    #[test]
    fn any_split_of_a_stream_gives_the_same_messages_and_the_same_error(
        bytes in stream(), cuts in vec(any::<Index>(), 0..12),
    ) {
        let limits = Limits::default().max_message_bytes(2000).max_frame_bytes(1500).max_fragments(4);
        let whole = decode_pieces(&mut Decoder::new(Role::Server, limits), [bytes.as_slice()]);
        let pieces = decode_pieces(&mut Decoder::new(Role::Server, limits), split(&bytes, &cuts));
        let trickle = decode_pieces(&mut Decoder::new(Role::Server, limits), bytes.chunks(1));
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(&whole, &trickle);
    }

    #[test]
    fn between_two_reads_an_unfinished_message_takes_at_most_twice_its_bytes(
        bytes in stream(), cuts in vec(any::<Index>(), 0..12),
    ) {
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        for piece in split(&bytes, &cuts) {
            if decode_pieces(&mut decoder, [piece]).1.is_some() {
                break;
            }
            decoder.shrink();
            let (held, unfinished) = (decoder.held_bytes(), decoder.unfinished_message());
            // Besides the message there may be a control frame in part.
            prop_assert!(held <= 512 + 2 * (unfinished.unwrap_or(0) + MAX_CONTROL_PAYLOAD), "{held} {unfinished:?}");
            prop_assert_eq!(held == 0, decoder.is_idle());
        }
    }

    #[test]
    fn random_bytes_never_panic(role in role(), bytes in vec(any::<u8>(), 0..200), cuts in vec(any::<Index>(), 0..4)) {
        decode_pieces(&mut Decoder::new(role, Limits::default()), split(&bytes, &cuts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn payloads_read_into_the_room_of_the_decoder_are_the_same(
        texts in vec(("\\PC{1,30}", 1usize..5_000), 1..4),
        binary in vec(any::<u8>(), 0..100_000),
        bad in prop::option::of((any::<Index>(), any::<u8>())),
        key: [u8; 4],
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let mut messages: Vec<_> = texts.iter().map(|(text, times)| OwnedMessage::Text(text.repeat(*times))).collect();
        messages.insert(1, OwnedMessage::Binary(binary));
        let mut bytes = Vec::new();
        for message in &messages {
            encode(&mut bytes, Role::Client, message, key);
        }
        if let Some((at, with)) = bad {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        let limits = Limits::default();
        let whole = decode_pieces(&mut Decoder::new(Role::Server, limits), [bytes.as_slice()]);
        let read = decode_into_room(&mut Decoder::new(Role::Server, limits), split(&bytes, &cuts));
        prop_assert!(whole == read, "{:?} and {:?}", whole.1, read.1);
    }
}

#[test]
fn masking_equals_its_scalar_twin_at_every_length_and_alignment() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let data: Vec<u8> = (0..400u16).map(|i| (i.wrapping_mul(167) >> 2) as u8).collect();
    for len in 0..=300 {
        for start in 0..64 {
            let offset = start % 4;
            let mut fast = data[start..start + len].to_vec();
            let mut unaligned = data.clone();
            let mut scalar = fast.clone();
            mask_scalar(&mut scalar, key, offset);
            mask(&mut fast, key, offset);
            mask(&mut unaligned[start..start + len], key, offset);
            assert_eq!(fast, scalar, "length {len}, offset {offset}");
            assert_eq!(&unaligned[start..start + len], scalar, "length {len} at {start}");
            assert_eq!(&unaligned[..start], &data[..start], "nothing before is touched");
            assert_eq!(&unaligned[start + len..], &data[start + len..], "nothing after is touched");
        }
    }
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 40, "{} bytes", size_of::<Decoder>());
}
