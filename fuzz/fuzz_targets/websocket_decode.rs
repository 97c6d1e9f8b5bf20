//! A stream of frames gives the same messages and the same error however it is cut into reads, borrowed or
//! owned. It never gives more than the limits allow, and an unfinished message never takes more than twice
//! its bytes.
#![no_main]

#[path = "../../crates/websocket/tests/common/pieces.rs"]
mod pieces;

use libfuzzer_sys::fuzz_target;
use pieces::{Outcome, collect};
use switchboard_websocket::{Decoder, Limits, MAX_CONTROL_PAYLOAD, OwnedMessage, Role};

const MAX_MESSAGE: usize = 4096;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the end, the next one the cut of the stream. The rest is the stream.
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
    collect(pieces.iter().copied(), |input, pos| {
        let message = decoder.decode(input, pos)?.map(Into::into);
        if message.is_none() {
            check_memory(&mut decoder);
        }
        Ok(message)
    })
}

fn decode_owned(role: Role, pieces: &[&[u8]]) -> Outcome {
    let mut decoder = decoder(role);
    collect(pieces.iter().copied(), |input, pos| decoder.decode_owned(input, pos))
}

/// Between two reads the decoder holds an unfinished message and an unfinished control frame.
fn check_memory(decoder: &mut Decoder) {
    decoder.shrink();
    let (held, unfinished) = (decoder.held_bytes(), decoder.unfinished_message());
    assert!(held <= 512 + 2 * (unfinished.unwrap_or(0) + MAX_CONTROL_PAYLOAD), "{held} for {unfinished:?}");
    assert_eq!(held == 0, decoder.is_idle());
}
