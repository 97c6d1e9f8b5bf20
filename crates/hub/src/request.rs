//! Requests: messages to all workers, and to all nodes. They are plain data, so that a request may leave the
//! process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{MemberId, Payload, Reply, RoomName, ScopeId};

/// The members that a request is for: those in any of `rooms` (all of the scope if it is empty) without those
/// in any of `except`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The scope of the rooms and ids.
    pub scope: ScopeId,
    /// Rooms, or ids of members. A member in several rooms counts once.
    pub rooms: SmallVec<[RoomName; 1]>,
    /// Rooms, or ids of members, that are left out.
    pub except: SmallVec<[RoomName; 1]>,
    /// One member that is left out: the sender.
    pub except_member: Option<MemberId>,
    /// Whether only members of this node are meant.
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
    /// The members that it is for.
    pub target: Target,
    /// The message.
    pub payload: Arc<dyn Payload>,
    /// Whether it is dropped for members whose transport does not take it at once.
    pub volatile: bool,
    /// The name of its [key](crate::Key) in the target's scope, if it tells the newest state of a subject: it
    /// takes the place of the packet of the same key that waits for a member.
    pub key: Option<Arc<str>>,
    /// Whether it is ordered. Ordered broadcasts arrive at each member in the order of their calls, if one
    /// call happened before the other: on one thread, under one mutex, or because the second caller had been
    /// told of the first broadcast. If two calls happen at the same time, some members may get the first
    /// broadcast first, and some the second. Without this option only the order of one thread holds.
    ///
    /// The price: this worker's own members get the broadcast by the worker's inbox too, behind the commands
    /// that wait there. So [`HubError::InboxFull`](crate::HubError::InboxFull) may name this worker.
    ///
    /// Between nodes no order is promised.
    pub ordered: bool,
}

impl Broadcast {
    pub(crate) fn bytes(&self) -> usize {
        self.payload.bytes() + self.target.bytes() + self.key.as_ref().map_or(0, |key| key.len())
    }
}

/// An event from one node's application to those of the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// The scope that it is about.
    pub scope: ScopeId,
    /// The event, in a form that the applications agree on.
    pub data: Bytes,
}

/// A message to all workers and all nodes: see [`Hub::request`](crate::Hub::request) and
/// [`Hub::ask`](crate::Hub::ask).
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
    /// Send a message to members, and ask each for an answer: see
    /// [`Hub::ask_members`](crate::Hub::ask_members). The answer is [`Reply::Asked`](crate::Reply::Asked),
    /// and the members' answers are [`Reply::Answers`](crate::Reply::Answers).
    Ask {
        /// The message and its members. It is neither volatile nor ordered.
        broadcast: Arc<Broadcast>,
        /// How long an answer is awaited.
        timeout: Duration,
    },
    /// Hand an event to the applications of the other nodes: the answer is
    /// [`Reply::Values`](crate::Reply::Values).
    Emit(ServerEvent),
}

impl Request {
    /// The members that the request is for; `None`: it is for applications.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Request::Broadcast(broadcast) | Request::Ask { broadcast, .. } => Some(&broadcast.target),
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
            Request::Broadcast(broadcast) | Request::Ask { broadcast, .. } => broadcast.target.scope,
            Request::Join(target, _)
            | Request::Leave(target, _)
            | Request::Disconnect { target, .. }
            | Request::Fetch(target)
            | Request::Count(target) => target.scope,
        }
    }

    /// The reply if there is no member; `None`: such a request is not answered.
    pub(crate) fn empty_reply(&self) -> Option<Reply> {
        match self {
            Request::Fetch(_) => Some(Reply::Sockets(Vec::new())),
            Request::Count(_) => Some(Reply::Count(0)),
            Request::Emit(_) => Some(Reply::Values(Vec::new())),
            Request::Ask { .. } => Some(Reply::Asked(Vec::new())),
            _ => None,
        }
    }

    /// The bytes that it holds. They count in an inbox.
    pub(crate) fn bytes(&self) -> usize {
        let names = |rooms: &[RoomName]| rooms.iter().map(|name| name.len()).sum::<usize>();
        let own = match self {
            Request::Broadcast(broadcast) | Request::Ask { broadcast, .. } => return broadcast.bytes(),
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
            Request::Ask { .. } => "Ask",
            Request::Emit(_) => "Emit",
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple(self.name()).field(&self.target()).finish()
    }
}
