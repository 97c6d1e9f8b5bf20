//! Socket.IO protocol 5, the server's end: its packets over Engine.IO sessions. Clients of protocols 3 and 4 (of
//! Socket.IO 1 and 2) are in [`v4`].
//!
//! [Socket.IO protocol
//! 5](https://github.com/socketio/socket.io/blob/main/docs/socket.io-protocol/v5-current.md). Reading order:
//! [`server`] (namespaces), [`client`] (one session's packets), [`dialect`] (how an event is written),
//! [`parser`] (packets that are written in another way).
//! Sockets and handlers are [`api`](crate::api).

pub(crate) mod carrier;
pub(crate) mod client;
pub(crate) mod dialect;
pub(crate) mod parser;
pub(crate) mod server;
pub(crate) mod v4;
