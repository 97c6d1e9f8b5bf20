//! What one worker asks of another, and one node of another: one list for both.

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::worker::Worker;
use crate::{MemberId, Payload, RoomName, ScopeId};

/// Which members are meant: those in any of `rooms` (all of the scope where it is empty) but those in any of `except`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The scope that ids and rooms are in.
    pub scope: ScopeId,
    /// Rooms, or ids of members; a member in several is meant once.
    pub rooms: SmallVec<[RoomName; 1]>,
    /// Rooms, or ids of members, that are left out.
    pub except: SmallVec<[RoomName; 1]>,
    /// One member that is left out: the sender.
    pub except_member: Option<MemberId>,
}

impl Target {
    /// All members of a scope.
    pub fn all(scope: ScopeId) -> Self {
        Self { scope, rooms: SmallVec::new(), except: SmallVec::new(), except_member: None }
    }
}

/// A message for many.
#[derive(Clone)]
pub struct Broadcast {
    /// For whom.
    pub target: Target,
    /// What.
    pub payload: Arc<dyn Payload>,
    /// Dropped for those whose transport cannot take it at once.
    pub volatile: bool,
    /// Not for other nodes.
    pub local: bool,
}

/// Work for a worker's thread.
pub type Work = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// What one worker asks of another.
#[non_exhaustive]
pub enum Command {
    /// Fan out to this worker's members.
    Broadcast(Arc<Broadcast>),
    /// Let the members that are meant join these rooms.
    Join(Target, Vec<RoomName>),
    /// Let the members that are meant leave these rooms.
    Leave(Target, Vec<RoomName>),
    /// Disconnect the members that are meant; `close` closes their sessions too.
    Disconnect {
        /// Who.
        target: Target,
        /// Whether their sessions are closed as well.
        close: bool,
    },
    /// Run on the worker's thread. For what never leaves the process: handing a connection over, asking for state.
    Run(Work),
    /// Stop the worker: its thread ends.
    Stop,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Broadcast(_) => "Broadcast",
            Command::Join(..) => "Join",
            Command::Leave(..) => "Leave",
            Command::Disconnect { .. } => "Disconnect",
            Command::Run(_) => "Run",
            Command::Stop => "Stop",
        })
    }
}
