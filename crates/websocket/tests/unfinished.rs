//! Unfinished messages: the facts that the decoders tell, so that a caller can time them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod common;

use common::decode_pieces;
use switchboard_websocket::{
    Decoder, FrameHeader, Limits, Message, Opcode, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
    drafts::{AnyDecoder, hixie},
    mask,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader::new(opcode, payload.len()).fin(fin).masked(KEY);
    let mut bytes = [header.as_bytes(), payload].concat();
    mask(&mut bytes[header.as_bytes().len()..], KEY, 0);
    bytes
}

/// The answers of a server's decoder after each of these reads.
fn told(reads: &[&[u8]]) -> Vec<Option<usize>> {
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let mut told = Vec::new();
    for read in reads {
        decode_pieces(&mut decoder, [*read]);
        told.push(decoder.unfinished_message());
    }
    told
}

#[test]
fn a_message_is_unfinished_from_its_first_byte_to_its_last() {
    let fragments = [frame(false, Opcode::Text, b"one"), frame(true, Opcode::Continuation, b"two")].concat();
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    assert_eq!(decoder.unfinished_message(), None);
    for (at, byte) in fragments.iter().enumerate() {
        decode_pieces(&mut decoder, [[*byte].as_slice()]);
        let expected = match at {
            0..6 => Some(0),
            6..9 => Some(at - 5),
            9..15 => Some(3),
            15..17 => Some(at - 11),
            _ => None,
        };
        assert_eq!(decoder.unfinished_message(), expected, "after byte {at}");
    }
}

#[test]
fn a_control_frame_is_no_message_and_none_that_is_unfinished_ends_by_one() {
    let ping = frame(true, Opcode::Ping, b"there?");
    let (half, rest) = ping.split_at(8);
    assert_eq!(told(&[&ping[..1], &ping[1..8], rest]), [None; 3]);
    let first = frame(false, Opcode::Binary, b"abc");
    let last = frame(true, Opcode::Continuation, b"");
    assert_eq!(told(&[&first, half, rest, &last]), [Some(3), Some(3), Some(3), None]);
}

#[test]
fn a_message_that_was_given_is_finished_though_it_is_still_held() {
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let (mut input, mut pos) =
        ([frame(false, Opcode::Text, b"a"), frame(true, Opcode::Continuation, b"b")].concat(), 0);
    assert_eq!(decoder.decode(&mut input, &mut pos), Ok(Some(Message::Text("ab"))));
    assert!(!decoder.is_idle() && decoder.held_bytes() > 0);
    assert_eq!(decoder.unfinished_message(), None);
    assert_eq!(decoder.decode(&mut input, &mut pos), Ok(None));
    assert!(decoder.is_idle() && decoder.held_bytes() == 0);
}

#[test]
fn nothing_is_unfinished_or_held_behind_an_error_or_a_close() {
    let first = frame(false, Opcode::Text, b"one");
    for last in [frame(false, Opcode::Text, b"two"), frame(true, Opcode::Close, b"")] {
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        decode_pieces(&mut decoder, [first.as_slice(), &last]);
        assert_eq!(decoder.unfinished_message(), None);
        assert_eq!(decoder.held_bytes(), 0);
    }
}

#[test]
fn the_unfinished_bytes_of_a_compressed_message_are_the_inflated_ones() {
    let parameters = DeflateParameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let mut bytes = Vec::new();
    let mut deflater = Deflater::new(Role::Client, parameters, &DeflateOptions::default());
    deflater.encode_frame(&mut bytes, Opcode::Binary, &vec![7; 100_000], Some(KEY));
    let mut decoder =
        Decoder::new(Role::Server, Limits::default()).with_inflater(Inflater::new(Role::Server, parameters));
    decode_pieces(&mut decoder, [&bytes[..bytes.len() / 2]]);
    let inflated = decoder.unfinished_message().unwrap();
    assert!(inflated > bytes.len(), "{inflated}");
    decoder.shrink();
    assert!(decoder.held_bytes() < 512 + 2 * inflated, "{} for {inflated}", decoder.held_bytes());
    let (messages, error) = decode_pieces(&mut decoder, [&bytes[bytes.len() / 2..]]);
    assert_eq!((messages, error), (vec![vec![7; 100_000].into()], None));
    assert_eq!(decoder.unfinished_message(), None);
}

#[test]
fn a_text_of_the_drafts_is_unfinished_until_its_last_byte() {
    let mut decoder = AnyDecoder::from(hixie::Decoder::new(Limits::default()));
    for (read, expected) in
        [(&b"\x00"[..], Some(0)), (b"hel", Some(3)), (b"lo", Some(5)), (b"\xFF", None), (b"\xFF", None)]
    {
        let (mut input, mut pos) = (read.to_vec(), 0);
        while decoder.decode(&mut input, &mut pos).unwrap().is_some() {}
        assert_eq!(decoder.unfinished_message(), expected, "after {read:?}");
    }
}
