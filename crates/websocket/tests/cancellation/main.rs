//! What the documentation says of calls that are dropped while they wait, held at each point where they do: over a stream that
//! waits before every byte, a call is polled once, twice and so on, dropped, and then the connection is used further.

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

/// Beyond the points at which any call here waits.
const ENOUGH: usize = 10_000;

/// With compression that refers to the messages before, of which nothing may be lost nor come twice.
pub(crate) const DEFLATE: DeflateParameters = DeflateParameters {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

pub(crate) fn options() -> DeflateOptions {
    DeflateOptions::default().context_takeover(true).threshold(0)
}

/// Room for a small message or two.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.max_write_buffer_bytes = 30;
    config
}

/// What the peer of `role` reads, whole frames all of them.
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

/// A frame as the peer of `role` sends it.
pub(crate) fn from_peer(role: Role, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match role {
        Role::Server => encode_frame_masked(&mut out, opcode, payload, [9, 8, 7, 6]),
        Role::Client => encode_frame(&mut out, opcode, payload),
    }
    out
}

/// Does `attempt` with each number of polls, until one is enough for what is cut to end. Gives how many were not.
pub(crate) async fn at_each_point(mut attempt: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..ENOUGH {
        if attempt(polls).await {
            return polls;
        }
    }
    panic!("not ready after {ENOUGH} polls");
}
