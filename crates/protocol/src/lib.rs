//! Engine.IO and Socket.IO wire formats and session machines: bytes to packets and back, no I/O.
//!
//! Nothing here opens a socket, reads a clock or spawns a task. A codec is a function from bytes to
//! a packet or the reverse; a machine ([`engineio::ServerSession`],
//! [`engineio::ClientSession`], [`socketio::Assembler`]) takes what happened and the time, and says
//! what to do.

#![forbid(unsafe_code)]

pub mod engineio;
pub mod socketio;
