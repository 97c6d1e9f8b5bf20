//! The listener's limits and endings, each end to end: a server on a free port of loopback, and clients that
//! behave well or badly.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod answers;
mod bounds;
mod certificates;
mod compression;
mod descriptors;
mod drafts;
mod endings;
mod half_open;
mod harness;
mod http1;
mod http2;
mod mounted;
mod options;
mod origins;
mod pieces;
mod places;
mod protocols;
mod proxies;
mod services;
mod sockets;
mod streaming;
mod tls;
mod tls_client;
mod unsent;
mod upgrades;
