//! The rules of an Engine.IO session: the allowed steps of each end, and their times.
//!
//! There are two machines without I/O: [`ServerSession`] and [`ClientSession`]. The owner of a machine tells
//! it about events (a request came, a packet was read, a connection was lost) and carries out its answer. A
//! machine holds no packets. The owner keeps the queue of packets to send, and says whether it is empty if
//! that matters.
//!
//! Times count from a moment that the owner chooses, the same for every call. The owner calls `poll` at
//! `deadline`, or a little later, until it returns `None`. Every other call may change the deadline.
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

/// A version of the protocol. For the machines, versions differ only in the end that sends pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Protocol 3, of Socket.IO 1 and 2: the client sends pings.
    V3,
    /// Protocol 4, of Socket.IO 3 and 4: the server sends pings.
    V4,
}

/// The reason for closing a session. It decides whether the queue and a close are still sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// This end closes the session in order. The queue is still delivered, and then the other end is told.
    Orderly,
    /// The session ends at once, because it is broken (a packet out of place, a silence, a lost connection)
    /// or because its server stops.
    Immediate,
    /// The other end has closed the session, and waits for nothing more.
    Peer,
}

/// The owner's next step for a packet of the session's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Received {
    /// Hand the message to the application.
    Deliver,
    /// Answer the ping: [`Packet::Pong`](super::Packet::Pong) with the ping's data.
    Answer,
    /// Do nothing. The deadline may be nearer now.
    Nothing,
    /// Close the session with this ending.
    Close(Ending),
}

/// The transport that a session is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Transport {
    Polling,
    WebSocket,
}

/// The stage of a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    Open,
    /// This end has closed the session, but must still tell the other end.
    Closing,
    Closed,
}

/// A time in nanoseconds; 584 years at most.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
