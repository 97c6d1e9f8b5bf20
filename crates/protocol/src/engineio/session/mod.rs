//! The rules of an Engine.IO session: each end's allowed steps, and their times.
//!
//! Two machines without I/O: [`ServerSession`] and [`ClientSession`]. Their owner tells them what
//! happened (a request came, a packet was read, a connection was lost) and carries out their answer.
//! They hold no packets: the owner keeps the queue of packets to send, and says whether it is empty
//! where that matters.
//!
//! Times count from a moment that the owner chooses, the same for every call. The owner
//! calls `poll` at `deadline`, or a little later, until the answer is `None`; every other call may
//! change the deadline.
//!
//! [Engine.IO protocol
//! 4](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v4-current.md), and [protocol
//! 3](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v3.md).

mod client;
mod heartbeat;
mod server;
mod upgrade;

use std::time::Duration;

pub use client::{ClientAction, ClientSession};
pub use server::{Admission, Closing, GetAnswer, ProbeStep, ServerAction, ServerSession};
pub use upgrade::UpgradeRefused;

use heartbeat::Heartbeat;

/// A version of the protocol. It decides who pings: for the machines nothing else differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Protocol 3, of Socket.IO 1 and 2: the client pings.
    V3,
    /// Protocol 4, of Socket.IO 3 and 4: the server pings.
    V4,
}

/// Why a session is closed. It decides how much of an end the other side gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// This end closes of its own will: the queue is still delivered, then the other end is told.
    Orderly,
    /// The session ends at once: it is broken (by a packet out of place, a silence, a lost
    /// connection), or its server stops.
    Immediate,
    /// The other end has closed it, and waits for nothing more.
    Peer,
}

/// What the owner does with a packet of the session's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Received {
    /// Hand the message to the application.
    Deliver,
    /// Answer the ping: [`Packet::Pong`](super::Packet::Pong) with the ping's data.
    Answer,
    /// Nothing. The deadline may be nearer now.
    Nothing,
    /// Close the session so.
    Close(Ending),
}

/// The transport that a session is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Transport {
    Polling,
    WebSocket,
}

/// How far a session's life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    Open,
    /// Closed by this end, which still has something to tell the other one.
    Closing,
    Closed,
}

/// Nanoseconds of a time; 584 years at most.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
