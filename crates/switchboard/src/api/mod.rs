//! What users hold: namespaces, sockets, handlers and their extractors, rooms, acknowledgements. It names no
//! protocol: a protocol carries sockets, and brings their events here.
//!
//! Reading order: [`namespace`] (handlers and rooms), [`table`], [`family`] and
//! [`namespaces`] (the functions of a namespace, those of its parent, and all namespaces of a server), [`socket`] (a socket as users hold it), [`local`] (a
//! socket on its worker), [`dispatch`] and [`queue`] (order, holding back), [`ending`], [`handler`] and
//! [`extract`] (users' functions), [`report`] (their errors), [`rates`] and [`early`] (events that are refused
//! or kept), [`emitter`] (an event to one), [`operator`] (broadcasts), [`ack`] and [`answers`] (what clients
//! acknowledge), [`server_events`] (events between nodes), [`outgoing`] and [`room_events`] (what observers
//! are told).

pub(crate) mod ack;
pub(crate) mod answers;
pub(crate) mod carrier;
pub(crate) mod disconnecting;
pub(crate) mod dispatch;
pub(crate) mod early;
pub(crate) mod emitter;
pub(crate) mod ending;
pub(crate) mod extract;
mod family;
pub(crate) mod handler;
pub(crate) mod joining;
pub(crate) mod local;
pub(crate) mod namespace;
pub(crate) mod namespaces;
pub(crate) mod operator;
pub(crate) mod options;
mod outgoing;
pub(crate) mod own;
mod own_handlers;
pub(crate) mod parents;
pub(crate) mod pattern;
pub(crate) mod queue;
mod rates;
pub(crate) mod recovery;
pub(crate) mod remote;
pub(crate) mod report;
pub(crate) mod room_events;
pub(crate) mod server_events;
pub(crate) mod socket;
pub(crate) mod socket_ids;
pub(crate) mod sockets;
mod table;
