//! Our compression against flate2's, and against itself in any split.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod common;

use common::decode_pieces;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::{collection::vec, prelude::*, sample::Index};
use switchboard_websocket::{
    Decoder, FrameHeader, Limits, Opcode, OwnedMessage, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
};

const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Bytes that repeat in part, and are noise in part.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"{\"id\":".to_vec()),
        Just(b"\"name\",".to_vec()),
        Just(vec![0; 300]),
        vec(any::<u8>(), 0..40),
    ];
    let words = vec(word, 0..30).prop_map(|words| words.concat());
    prop_oneof![8 => words, 1 => vec(any::<u8>(), 0..3000), 1 => vec(0u8..3, 9_000..20_000)]
}

fn agreed() -> impl Strategy<Value = DeflateParameters> {
    (any::<[bool; 2]>(), 9u8..=15, 9u8..=15).prop_map(|([server, client], server_bits, client_bits)| {
        DeflateParameters {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        }
    })
}

/// Splits a stream at some points.
fn split<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Cuts the payload into frames of a server.
fn frames(payload: &[u8], cuts: &[Index]) -> Vec<u8> {
    let pieces = split(payload, cuts);
    let last = pieces.len() - 1;
    let mut out = Vec::new();
    for (at, piece) in pieces.into_iter().enumerate() {
        let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
        let header = FrameHeader::new(opcode, piece.len()).fin(at == last);
        out.extend_from_slice(if at == 0 { header.rsv1() } else { header }.as_bytes());
        out.extend_from_slice(piece);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn compressed_messages_are_read_again(
        agreed in agreed(), messages in vec(payload(), 1..6), key: [u8; 4], level in 0u8..=9, memory in 1u8..=9,
        threshold in 0usize..2000, from_server: bool, cuts in vec(any::<Index>(), 0..8),
    ) {
        let (role, other) = if from_server { (Role::Server, Role::Client) } else { (Role::Client, Role::Server) };
        let options = DeflateOptions::default().level(level).memory_level(memory).threshold(threshold);
        let mut deflater = Deflater::new(role, agreed, &options);
        let mut bytes = Vec::new();
        for message in &messages {
            deflater.encode_frame(&mut bytes, Opcode::Binary, message, (!from_server).then_some(key));
        }
        let inflater = || Inflater::new(other, agreed);
        let expected: Vec<_> = messages.into_iter().map(OwnedMessage::Binary).collect();
        let mut decoder = Decoder::new(other, Limits::default()).with_inflater(inflater());
        prop_assert!(decode_pieces(&mut decoder, [bytes.as_slice()]) == (expected.clone(), None));
        prop_assert!(decoder.is_idle());
        let mut decoder = Decoder::new(other, Limits::default()).with_inflater(inflater());
        prop_assert!(decode_pieces(&mut decoder, split(&bytes, &cuts)) == (expected, None));
    }

    #[test]
    fn flate2_reads_our_output(agreed in agreed(), messages in vec(payload(), 1..5)) {
        let mut deflater = Deflater::new(Role::Server, agreed, &DeflateOptions::default().threshold(0));
        let mut theirs = Decompress::new_with_window_bits(false, agreed.server_max_window_bits);
        for message in messages {
            let mut frame = Vec::new();
            deflater.encode_frame(&mut frame, Opcode::Binary, &message, None);
            if frame[0] & 0x40 == 0 {
                continue;
            }
            let start = match frame[1] { 127 => 10, 126 => 4, _ => 2 };
            let payload = [&frame[start..], &TAIL].concat();
            if agreed.server_no_context_takeover {
                theirs = Decompress::new_with_window_bits(false, agreed.server_max_window_bits);
            }
            let mut inflated = Vec::with_capacity(message.len() + 16);
            theirs.decompress_vec(&payload, &mut inflated, FlushDecompress::Sync).unwrap();
            prop_assert!(inflated == message);
        }
    }

    #[test]
    fn output_of_flate2_is_read(
        agreed in agreed(), messages in vec((payload(), vec(any::<Index>(), 0..4)), 1..5), level in 0u32..=9,
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let compress = || Compress::new_with_window_bits(Compression::new(level), false, agreed.server_max_window_bits);
        let mut theirs = compress();
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, fragments) in messages {
            if agreed.server_no_context_takeover {
                theirs = compress();
            }
            let mut deflated = Vec::with_capacity(message.len() * 2 + 64);
            theirs.compress_vec(&message, &mut deflated, FlushCompress::Sync).unwrap();
            let payload = deflated.strip_suffix(&TAIL).map_or(&b"\0"[..], |payload| payload);
            bytes.extend(frames(payload, &fragments));
            expected.push(OwnedMessage::Binary(message));
        }
        let mut decoder = Decoder::new(Role::Client, Limits::default())
            .with_inflater(Inflater::new(Role::Client, agreed));
        prop_assert!(decode_pieces(&mut decoder, split(&bytes, &cuts)) == (expected, None));
    }

    #[test]
    fn any_split_of_any_bytes_gives_the_same(
        agreed in agreed(), payload in vec(any::<u8>(), 0..300), text: bool, cuts in vec(any::<Index>(), 0..8),
        fragments in vec(any::<Index>(), 0..3),
    ) {
        let mut bytes = frames(&payload, &fragments);
        bytes[0] ^= if text { 3 } else { 0 };
        bytes.extend_from_slice(b"\x81\x02ok");
        let limits = Limits::default().max_message_bytes(1000);
        let read = |pieces: Vec<&[u8]>| {
            let mut decoder = Decoder::new(Role::Client, limits).with_inflater(Inflater::new(Role::Client, agreed));
            decode_pieces(&mut decoder, pieces)
        };
        let whole = read(vec![&bytes]);
        prop_assert_eq!(&whole.0, &read(split(&bytes, &cuts)).0);
        prop_assert_eq!(&whole.0, &read(bytes.chunks(1).collect()).0);
        prop_assert_eq!(whole.1.is_some(), read(bytes.chunks(1).collect()).1.is_some());
    }
}
