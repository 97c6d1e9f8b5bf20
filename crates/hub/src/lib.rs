//! Sessions, rooms and fan-out: the part of Switchboard that knows no protocol.
//!
//! - A [`Hub`] is a set of [`Worker`]s. Each is a thread with a current-thread runtime. Workers talk to one
//!   another by [`Command`]s only.
//! - A [`Session`] is one conversation with one peer. It belongs to one worker for life. Bytes that are to be
//!   written to the peer wait in its [`Outbox`].
//! - A *member* is a session in one scope (a namespace), with an id and in any number of rooms. Fan-out goes
//!   to members: a [`Broadcast`] names its [`Target`] and carries a [`Payload`]. The payload is encoded once
//!   for each [`Variant`] and [`Framing`] among the recipients.
//! - A scope may have a history: its broadcasts have [`Position`]s in one order, and sessions of clients that were
//!   away get what they have missed.
//! - A [`Request`] is plain data: it goes to all workers, and by a [`Bus`] to the hubs of other processes,
//!   the nodes.
//!
//! Protocols implement [`Session`], [`Endpoint`] and [`Payload`]. This crate knows none of them.

#![forbid(unsafe_code)]

mod bus;
mod codec;
mod command;
mod error;
mod fanout;
mod gather;
mod history;
mod hub;
mod id;
mod inbox;
mod member;
mod ordered;
mod outbox;
mod question;
mod reply;
mod request;
mod requests;
mod rooms;
mod scopes;
mod sessions;
mod stats;
mod timers;
mod watch;
mod worker;
mod writing;

pub use bus::{Bus, BusFull, Remote, ReplyTo};
pub use command::{Command, Work};
pub use error::HubError;
pub use fanout::{Payload, Variant};
pub use history::{
    AtHome, Change, Claimed, Events, HistoryOptions, Kept, MemoryStore, NotAPosition, OnExpired, Opened,
    Position, ReadPayload, SessionState, SessionToken, Store, StoreError, StoreWriter,
};
pub use hub::{Hub, HubOptions};
pub use id::{MemberId, NodeId};
pub use inbox::InboxReceiver;
pub use member::{Endpoint, MemberKey};
pub use ordered::Ordered;
pub use outbox::{Framing, Full, Key, Outbox, Place, WhenFull};
pub use question::{Answer, AnswerSender, Answered, Asking, NoAnswer, Question};
pub use reply::{Reply, ReplySender, SocketInfo};
pub use request::{Broadcast, Request, ServerEvent, Target};
pub use rooms::RoomName;
pub use scopes::ScopeId;
pub use sessions::{Session, SessionKey};
pub use stats::{Count, Stats, Totals};
pub use timers::Timers;
pub use watch::Watch;
pub use worker::{Worker, WorkerId};
