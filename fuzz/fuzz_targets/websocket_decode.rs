//! A stream of frames gives the same messages and the same error however it is cut into reads, borrowed or
//! owned, and never more than the limits allow.
#![no_main]

#[path = "../../crates/websocket/tests/common/pieces.rs"]
mod pieces;

use libfuzzer_sys::fuzz_target;
use pieces::{Outcome, collect};
use switchboard_websocket::{Decoder, Limits, OwnedMessage, Role};

const MAX_MESSAGE: usize = 4096;

fuzz_target!(|data: &[u8]| {
    // The first byte says which end this is, the next how the stream is cut, the rest is the stream.
    let [end, cut, stream @ ..] = data else { return };
    let role = if end & 1 == 0 { Role::Server } else { Role::Client };
    let whole = decode(role, &[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(whole, decode(role, &pieces));
    assert_eq!(whole, decode_owned(role, &pieces));
    let halves = stream.split_at(stream.len().min(usize::from(*cut)));
    assert_eq!(whole, decode(role, &[halves.0, halves.1]));
    for message in &whole.0 {
        let len = match message {
            OwnedMessage::Text(text) => text.len(),
            OwnedMessage::Binary(bytes) | OwnedMessage::Ping(bytes) | OwnedMessage::Pong(bytes) => {
                bytes.len()
            }
            OwnedMessage::Close(_) => 0,
        };
        assert!(len <= MAX_MESSAGE);
    }
});

fn decoder(role: Role) -> Decoder {
    let limits = Limits::default().max_message_bytes(MAX_MESSAGE).max_frame_bytes(3000).max_fragments(5);
    Decoder::new(role, limits)
}

fn decode(role: Role, pieces: &[&[u8]]) -> Outcome {
    let mut decoder = decoder(role);
    collect(pieces.iter().copied(), |input, pos| Ok(decoder.decode(input, pos)?.map(Into::into)))
}

fn decode_owned(role: Role, pieces: &[&[u8]]) -> Outcome {
    let mut decoder = decoder(role);
    collect(pieces.iter().copied(), |input, pos| decoder.decode_owned(input, pos))
}
