//! Requests: what one worker asks of all workers, and one node of all nodes. Plain data, so that a request may leave the process.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{MemberId, Payload, Reply, RoomName, ScopeId};

/// Which members are meant: those in any of `rooms` (all of the scope where it is empty) but those in any of `except`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The scope of the rooms and ids.
    pub scope: ScopeId,
    /// Rooms, or ids of members; a member in several is meant once.
    pub rooms: SmallVec<[RoomName; 1]>,
    /// Rooms, or ids of members, that are left out.
    pub except: SmallVec<[RoomName; 1]>,
    /// One member that is left out: the sender.
    pub except_member: Option<MemberId>,
    /// Only members of this node.
    pub local: bool,
}

impl Target {
    /// All members of a scope.
    pub fn all(scope: ScopeId) -> Self {
        Self { scope, rooms: SmallVec::new(), except: SmallVec::new(), except_member: None, local: false }
    }

    fn bytes(&self) -> usize {
        self.rooms.iter().chain(&self.except).map(|name| name.len()).sum()
    }
}

/// A message for many.
#[derive(Clone)]
pub struct Broadcast {
    /// The members it is for.
    pub target: Target,
    /// The message.
    pub payload: Arc<dyn Payload>,
    /// Dropped for members whose transport cannot take it at once.
    pub volatile: bool,
    /// Ordered broadcasts arrive at each member in the order of their calls: those of one thread, and those of two threads where one call
    /// happened before the other (under a mutex, or because its caller had been told of it). Of calls at the same time, some members may
    /// get one first and some the other. The price: this worker's own members get the broadcast by the worker's inbox, behind what waits
    /// there, and [`HubError::InboxFull`](crate::HubError::InboxFull) may name this worker. Without it only the order of one thread holds.
    ///
    /// Between nodes nothing is said of the order.
    pub ordered: bool,
}

impl Broadcast {
    pub(crate) fn bytes(&self) -> usize {
        self.payload.bytes() + self.target.bytes()
    }
}

/// An event from one node's application to those of the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// The scope it is about.
    pub scope: ScopeId,
    /// The event, in a form that the applications agree on.
    pub data: Bytes,
}

/// What is asked of all workers, and of all nodes: see [`Hub::request`](crate::Hub::request) and [`Hub::ask`](crate::Hub::ask).
#[derive(Clone)]
#[non_exhaustive]
pub enum Request {
    /// Send a message to members.
    Broadcast(Arc<Broadcast>),
    /// Let members join rooms.
    Join(Target, Vec<RoomName>),
    /// Let members leave rooms.
    Leave(Target, Vec<RoomName>),
    /// Disconnect members.
    Disconnect {
        /// The members.
        target: Target,
        /// Whether their sessions are closed as well.
        close: bool,
    },
    /// Describe members: the answer is [`Reply::Sockets`](crate::Reply::Sockets).
    Fetch(Target),
    /// Count members: the answer is [`Reply::Count`](crate::Reply::Count).
    Count(Target),
    /// Hand an event to the applications of the other nodes: an answer is [`Reply::Values`](crate::Reply::Values).
    Emit(ServerEvent),
}

impl Request {
    /// The members that are meant; `None`: the request is for applications.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Request::Broadcast(broadcast) => Some(&broadcast.target),
            Request::Join(target, _)
            | Request::Leave(target, _)
            | Request::Disconnect { target, .. }
            | Request::Fetch(target)
            | Request::Count(target) => Some(target),
            Request::Emit(_) => None,
        }
    }

    /// The scope that the request is about.
    pub fn scope(&self) -> ScopeId {
        match self {
            Request::Emit(event) => event.scope,
            _ => self.target().map_or(ScopeId(0), |target| target.scope),
        }
    }

    /// The reply of those who have nothing to tell; `None`: such a request is not answered.
    pub(crate) fn empty_reply(&self) -> Option<Reply> {
        match self {
            Request::Fetch(_) => Some(Reply::Sockets(Vec::new())),
            Request::Count(_) => Some(Reply::Count(0)),
            Request::Emit(_) => Some(Reply::Values(Vec::new())),
            _ => None,
        }
    }

    /// Bytes that it holds, for the bound of an inbox.
    pub(crate) fn bytes(&self) -> usize {
        let names = |rooms: &[RoomName]| rooms.iter().map(|name| name.len()).sum::<usize>();
        let own = match self {
            Request::Broadcast(broadcast) => return broadcast.bytes(),
            Request::Join(_, rooms) | Request::Leave(_, rooms) => names(rooms),
            Request::Emit(event) => event.data.len(),
            Request::Disconnect { .. } | Request::Fetch(_) | Request::Count(_) => 0,
        };
        own + self.target().map_or(0, Target::bytes)
    }

    fn name(&self) -> &'static str {
        match self {
            Request::Broadcast(_) => "Broadcast",
            Request::Join(..) => "Join",
            Request::Leave(..) => "Leave",
            Request::Disconnect { .. } => "Disconnect",
            Request::Fetch(_) => "Fetch",
            Request::Count(_) => "Count",
            Request::Emit(_) => "Emit",
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple(self.name()).field(&self.target()).finish()
    }
}
