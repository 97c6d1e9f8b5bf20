//! The errors of the hub, as values that a caller can act on.

use thiserror::Error;

use crate::WorkerId;

/// The reason why the hub refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The inbox of a worker is full, in commands or in bytes. Nothing was sent to that worker; the other
    /// workers have been sent to, this thread's own among them. The connection whose handler met this error
    /// is not read again until there is room.
    #[error("the inbox of worker {0} is full")]
    InboxFull(WorkerId),
    /// The bus to the other nodes is full. Nothing was sent to them; the request was executed on this node.
    #[error("the bus to the other nodes is full")]
    BusFull,
    /// Some of the workers and nodes that were asked did not answer: a worker has stopped meanwhile, or a
    /// node's time is over.
    #[error("{missing} of the workers and nodes that were asked did not answer")]
    NoReply {
        /// How many.
        missing: usize,
    },
    /// The worker has stopped: the server is shutting down.
    #[error("worker {0} has stopped")]
    Stopped(WorkerId),
    /// The member has gone.
    #[error("the socket is disconnected")]
    Gone,
    /// The peer does not read: its outbox holds as many bytes as it may.
    #[error("the outbox holds {bytes} bytes, its limit is {limit}")]
    OutboxFull {
        /// Bytes that wait.
        bytes: usize,
        /// The bound that was met.
        limit: usize,
    },
    /// The member is in as many rooms as one may be.
    #[error("the socket is in {0} rooms, and may not join more")]
    TooManyRooms(usize),
}
