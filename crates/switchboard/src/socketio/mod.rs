//! Socket.IO protocol 5, the server's end: namespaces, sockets, events, acknowledgements and rooms over Engine.IO sessions.
//!
//! [Socket.IO protocol 5](https://github.com/socketio/socket.io/blob/main/docs/socket.io-protocol/v5-current.md). Reading order: [`server`]
//! (namespaces), [`client`] (one session's packets), [`local`] (a socket on its worker: order, holding back), [`socket`] (a socket as users
//! hold it), [`emitter`] (an event to one), [`handler`] and [`extract`] (users' functions), [`operator`] and [`payload`] (broadcasts), [`ack`].

pub(crate) mod ack;
pub(crate) mod client;
pub(crate) mod dispatch;
pub(crate) mod emitter;
pub(crate) mod extract;
pub(crate) mod handler;
pub(crate) mod local;
pub(crate) mod namespace;
pub(crate) mod operator;
pub(crate) mod payload;
pub(crate) mod server;
pub(crate) mod socket;
