//! The stand-alone Switchboard server: configuration, pages and metrics around the library, and the chat on
//! the first page.
//!
//! The binary `switchboard` is [`run`] on [`Config`]. [`demo::chat::mount`] serves the chat from your own
//! server.

#![forbid(unsafe_code)]

mod admin;
mod compression;
mod config;
pub mod demo;
mod hex;
mod logging;
mod notify;
mod numbers;
pub mod pages;
mod serve;
mod sockets;

pub use admin::Admin;
pub use compression::{Compression, Threshold};
pub use config::Config;
pub use logging::start as start_logging;
pub use serve::run;
pub use sockets::Sockets;
