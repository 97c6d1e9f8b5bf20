//! Compressed messages of any bytes: the messages are the same however they are cut into frames and reads,
//! and never over the limit. Our own compressed messages are read again.
#![no_main]

#[path = "../../crates/websocket/tests/common/pieces.rs"]
mod pieces;

use libfuzzer_sys::fuzz_target;
use pieces::collect;
use switchboard_websocket::{
    Decoder, FrameHeader, Limits, Opcode, OwnedMessage, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
};

const MAX_MESSAGE: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let [options, cut, payload @ ..] = data else { return };
    let text = options & 1 != 0;
    let parameters = DeflateParameters {
        server_no_context_takeover: options & 2 != 0,
        client_no_context_takeover: options & 4 != 0,
        server_max_window_bits: 9 + (options >> 5).min(6),
        client_max_window_bits: 15,
    };
    let cut = usize::from(*cut).max(1);
    inflate(text, parameters, cut, payload);
    deflate(text, parameters, cut, payload);
});

/// The bytes as a message in two frames, and again in one frame, which meets the state that the first message
/// has left.
fn inflate(text: bool, parameters: DeflateParameters, cut: usize, payload: &[u8]) {
    let opcode = if text { Opcode::Text } else { Opcode::Binary };
    let (first, second) = payload.split_at(payload.len().min(cut));
    let mut stream = Vec::new();
    let mut frame = |header: FrameHeader, payload: &[u8]| {
        stream.extend_from_slice(header.as_bytes());
        stream.extend_from_slice(payload);
    };
    frame(FrameHeader::new(opcode, first.len()).rsv1().fin(false), first);
    frame(FrameHeader::new(Opcode::Continuation, second.len()), second);
    frame(FrameHeader::new(opcode, payload.len()).rsv1(), payload);
    let whole = decode(parameters, &[&stream]);
    for message in &whole.0 {
        assert!(message.len() <= MAX_MESSAGE);
    }
    let pieces: Vec<&[u8]> = stream.chunks(cut).collect();
    // Where a message breaks two rules, the reads decide which of them is met first.
    assert_eq!(whole, decode(parameters, &pieces));
}

fn deflate(text: bool, parameters: DeflateParameters, cut: usize, payload: &[u8]) {
    let options =
        DeflateOptions::default().threshold(0).level((cut % 10) as u8).memory_level((cut % 9) as u8 + 1);
    let mut deflater = Deflater::new(Role::Server, parameters, &options);
    let lossy = String::from_utf8_lossy(payload);
    let (opcode, payload) = if text { (Opcode::Text, lossy.as_bytes()) } else { (Opcode::Binary, payload) };
    if payload.len() > MAX_MESSAGE {
        return;
    }
    let mut stream = Vec::new();
    for _ in 0..2 {
        deflater.encode_frame(&mut stream, opcode, payload, None);
    }
    let message = match opcode {
        Opcode::Text => OwnedMessage::text(lossy),
        _ => OwnedMessage::binary(payload),
    };
    let pieces: Vec<&[u8]> = stream.chunks(cut).collect();
    assert_eq!(decode(parameters, &pieces), (vec![message; 2], false));
}

/// The messages, and whether the stream broke a rule.
fn decode(parameters: DeflateParameters, pieces: &[&[u8]]) -> (Vec<OwnedMessage>, bool) {
    let limits = Limits::default().max_message_bytes(MAX_MESSAGE);
    let mut decoder =
        Decoder::new(Role::Client, limits).with_inflater(Inflater::new(Role::Client, parameters));
    let (messages, error) =
        collect(pieces.iter().copied(), |input, pos| Ok(decoder.decode(input, pos)?.map(Into::into)));
    (messages, error.is_some())
}
