//! Commands: the messages in a worker's inbox.

use std::rc::Rc;
use std::sync::Arc;

use crate::reply::ReplySender;
use crate::worker::Worker;
use crate::{AtHome, Ordered, Request};

/// Work for a worker's thread.
pub type Work = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// A message to a worker.
#[non_exhaustive]
pub enum Command {
    /// A request, which may have come from another node, and the sender of its reply, if one is awaited.
    Request(Request, Option<ReplySender>),
    /// A broadcast that is [ordered](crate::Broadcast::ordered).
    Ordered(Arc<Ordered>),
    /// Work for the worker's thread that never leaves the process: a connection that is handed over, a
    /// question about a session.
    Run {
        /// The work.
        work: Work,
        /// The bytes that it holds. They count in the inbox.
        bytes: usize,
    },
    /// A message for the home of a history, which is on this worker.
    AtHome(Box<AtHome>),
    /// What this thread has sent by a home has come back.
    FromHome(Box<Command>),
    /// Stop the worker: its thread ends.
    Stop,
}

impl Command {
    /// Work that holds no more than a few bytes.
    pub fn run(work: impl FnOnce(&Rc<Worker>) + Send + 'static) -> Self {
        Self::run_holding(0, work)
    }

    /// Work that holds `bytes` bytes, such as a message or the body of a request.
    pub fn run_holding(bytes: usize, work: impl FnOnce(&Rc<Worker>) + Send + 'static) -> Self {
        Self::Run { work: Box::new(work), bytes }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Command::Request(request, _) => request.bytes(),
            Command::Ordered(ordered) => ordered.broadcast.bytes(),
            Command::Run { bytes, .. } => *bytes,
            Command::AtHome(message) => message.bytes(),
            Command::FromHome(command) => command.bytes(),
            Command::Stop => 0,
        }
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Command::Request(request, _) => request.fmt(f),
            Command::Ordered(_) => f.debug_struct("Ordered").finish_non_exhaustive(),
            Command::Run { bytes, .. } => f.debug_struct("Run").field("bytes", bytes).finish_non_exhaustive(),
            Command::AtHome(_) => f.debug_struct("AtHome").finish_non_exhaustive(),
            Command::FromHome(command) => f.debug_tuple("FromHome").field(command).finish(),
            Command::Stop => f.write_str("Stop"),
        }
    }
}
