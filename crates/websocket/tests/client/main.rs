//! The client, against servers and proxies that are started here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod basics;
mod dropped;
mod failures;
mod proxies;
mod redirects;
mod servers;
#[cfg(feature = "tls")]
mod tls;
