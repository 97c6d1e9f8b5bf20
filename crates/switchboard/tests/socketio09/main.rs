//! Clients of Socket.IO 0.9 (protocol 1) and 0.6, byte for byte, over each of their transports.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod handshake;
#[path = "../socketio/harness.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod harness;
mod namespaces;
mod packets;
mod polling;
mod rooms;
mod sessions;
mod streaming;
mod v06;
