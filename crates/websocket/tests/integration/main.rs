//! WebSockets within hyper, tower and axum, over HTTP/1.1 and HTTP/2. All three have the same rules.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod answers;
mod axum_extractor;
mod connections;
mod harness;
mod tower_layer;
mod upgrading;
