//! Engine.IO and Socket.IO wire formats and session machines: bytes to packets and back, no I/O.
//!
//! This crate opens no socket, reads no clock and spawns no task. A codec is a function from bytes to a
//! packet or back. A machine ([`engineio::ServerSession`], [`engineio::ClientSession`],
//! [`socketio::Assembler`]) takes events and the time, and says what to do.

#![forbid(unsafe_code)]

pub mod engineio;
pub mod socketio;
pub mod socketio06;
pub mod socketio09;
