//! The promises of the documentation about calls that are dropped while they wait, checked at each point
//! where a call waits. The stream waits before every byte. A call is polled once, twice and so on, and
//! dropped. Then the connection is used further.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod halves;
mod handshakes;
mod stream;
#[path = "../trickle/mod.rs"]
mod trickle;

use switchboard_websocket::{
    Config, Decoder, Limits, Opcode, OwnedMessage, Role,
    deflate::{DeflateOptions, DeflateParameters, Inflater},
    encode_frame, encode_frame_masked,
};

/// More polls than any call here needs.
const ENOUGH: usize = 10_000;

/// Compression that refers to the messages before, of which none may be lost or come twice.
pub(crate) const DEFLATE: DeflateParameters = DeflateParameters {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

pub(crate) fn options() -> DeflateOptions {
    DeflateOptions::default().context_takeover(true).threshold(0)
}

/// There is room for a small message or two.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.max_write_buffer_bytes = 30;
    config
}

/// The messages that the peer of `role` reads. All frames are whole.
pub(crate) fn received(role: Role, bytes: &[u8], deflate: bool) -> Vec<OwnedMessage> {
    let peer = if role == Role::Server { Role::Client } else { Role::Server };
    let mut decoder = Decoder::new(peer, Limits::default());
    if deflate {
        decoder = decoder.with_inflater(Inflater::new(peer, DEFLATE));
    }
    let (mut input, mut pos, mut messages) = (bytes.to_vec(), 0, Vec::new());
    while let Some(message) = decoder.decode(&mut input, &mut pos).expect("frames in order") {
        messages.push(message.into());
    }
    let ended = messages.last().is_some_and(OwnedMessage::is_close);
    assert!(pos == input.len() && (ended || decoder.is_idle()), "a torn frame: {bytes:?}");
    messages
}

/// A frame of the peer of `role`.
pub(crate) fn from_peer(role: Role, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match role {
        Role::Server => encode_frame_masked(&mut out, opcode, payload, [9, 8, 7, 6]),
        Role::Client => encode_frame(&mut out, opcode, payload),
    }
    out
}

/// Calls `attempt` with each number of polls, until the call that is cut ends within them. Returns the number
/// of attempts that did not end.
pub(crate) async fn at_each_point(mut attempt: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..ENOUGH {
        if attempt(polls).await {
            return polls;
        }
    }
    panic!("not ready after {ENOUGH} polls");
}
