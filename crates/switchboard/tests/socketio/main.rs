//! The Socket.IO API, as users and their clients see it: a server on a free port, and clients that write
//! Engine.IO and Socket.IO by hand.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod acks;
mod admin;
mod bounds;
mod connecting;
mod disconnecting;
mod dynamic;
mod early;
mod errors;
mod events;
#[allow(dead_code, reason = "the tests of leaks use the rest")]
mod full_inbox;
mod harness;
mod ids;
mod misbehaving;
mod nodes;
mod observing;
mod old_clients;
mod order;
mod ordered;
mod outbox;
mod parsers;
mod polling;
mod queues;
mod rates;
mod recovery;
mod refusals;
mod rooms;
mod servers;
mod shutting_down;
mod threads;
