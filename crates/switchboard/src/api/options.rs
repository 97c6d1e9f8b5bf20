//! The bounds on sockets, and their defaults.

use std::time::Duration;

use switchboard_protocol::socketio::Limits;

use super::early::EarlyEvents;
use super::recovery::RecoveryOptions;
use super::socket_ids::GenerateSocketId;
use crate::limits::RateLimits;
use crate::refusals::Refusals;

/// The options of the Socket.IO layer. Names and defaults are those of socket.io 4.8 unless it says
/// otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SocketIoOptions {
    /// How long a client has to join a first namespace before its session is closed. Default 45 s.
    pub connect_timeout: Duration,
    /// Bounds on one packet: attachments (10) and their bytes in all (10 000 000), and the levels that an
    /// argument may nest (512).
    pub packets: Limits,
    /// Namespaces that one client may be in. Default 1000; further ones get a `CONNECT_ERROR`. Middleware and
    /// `on_connect` handlers that wait count on their own, up to the same number, until they are done: also
    /// those of sockets that have left meanwhile.
    pub max_namespaces: usize,
    /// Namespaces that clients may make by connecting: the children of all
    /// [parents](crate::Switchboard::of_pattern). Default 100 000; a client that would make a further one
    /// gets a `CONNECT_ERROR`.
    pub max_child_namespaces: usize,
    /// Bytes of the name of such a namespace. Default 256; a longer name is an `Invalid namespace`.
    pub max_child_name_bytes: usize,
    /// Whether such a namespace is removed when its last socket has gone. Default: no, as in Node.
    pub cleanup_empty_child_namespaces: bool,
    /// Bytes of `auth` that the sockets of one client may keep in all. Default 4 MiB; a socket that would
    /// pass them gets a `CONNECT_ERROR`. A socket's `auth` counts until it has left, and its middleware and
    /// `on_connect` are done.
    pub max_auth_bytes: usize,
    /// Bytes of events of one socket that may wait for its handlers, or be with its concurrent ones. Default
    /// 1 MiB; then the client is not read until half of them have been handled.
    pub max_held_bytes: usize,
    /// After how long a handler that waits, while events of its socket wait behind it, is named in the log,
    /// once. Default 5 s.
    pub held_warning: Duration,
    /// Bytes of events of one client that may wait for handlers, or be with handlers that wait, in all its
    /// namespaces. Default 16 MiB; then the client is not read until they are half of it. Events of sockets
    /// that have left count until they have been handled.
    pub max_client_held_bytes: usize,
    /// Handlers of events of one client that may wait at once, in all its namespaces. Default 10 000; then
    /// the client is not read until half of them are done. Those of sockets that have left count until they
    /// are done.
    pub max_waiting_handlers: usize,
    /// How long events may wait for a handler after the end of their socket. Default 10 s, counted anew when
    /// one of them has been handled. Then those that wait are dropped, which is counted and told to
    /// [`on_error`](crate::Namespace::on_error) as [`EventsDropped`](crate::EventsDropped); `on_disconnect`
    /// is called after that.
    pub held_events_timeout: Duration,
    /// Bytes of events that may be with a worker after the end of their connections: what waits, or whose
    /// handlers do. Default 64 MiB; events of connections that end while there is as much are dropped, as
    /// after `held_events_timeout`.
    pub max_left_over_bytes: usize,
    /// Acknowledgements that may be awaited of one socket. Default 10 000; further ones are
    /// [`AckError::TooMany`](crate::AckError::TooMany).
    pub max_pending_acks: usize,
    /// The rates of each socket, and of the CONNECTs of each client. Default: none. See
    /// [`Namespace::limit_sockets`](crate::Namespace::limit_sockets) for those of one namespace.
    pub socket_limits: Option<RateLimits>,
    /// The rates of all sockets from one address, on this node: that of the connection, or what a trusted
    /// proxy says. Of an IPv6 address the first 64 bits count. Clients of a Unix-domain socket have no
    /// address, and no such rates. Default: none.
    pub address_limits: Option<RateLimits>,
    /// Whether events that no handler waits for are kept until one is registered. Default: no; they are
    /// dropped, and counted.
    pub early_events: Option<EarlyEvents>,
    pub(crate) refusals: Refusals,
    /// Makes the part of sockets' ids that is random by default. Default: the system's randomness. See
    /// [`Builder::generate_socket_id`](crate::Builder::generate_socket_id).
    pub generate_socket_id: Option<GenerateSocketId>,
    /// Whether broadcasts are ordered, unless a namespace
    /// [says otherwise](crate::Namespace::ordered_broadcasts). Default: no.
    pub ordered_broadcasts: bool,
    /// Recovery of connection state in all namespaces. Default: none.
    pub recovery: Option<RecoveryOptions>,
    /// How long the end of a connection may go unnoticed.
    pub(crate) confirmed_after: Duration,
}

impl Default for SocketIoOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(45),
            packets: Limits::default(),
            max_namespaces: 1000,
            max_child_namespaces: 100_000,
            max_child_name_bytes: 256,
            cleanup_empty_child_namespaces: false,
            max_auth_bytes: 4 << 20,
            max_held_bytes: 1 << 20,
            held_warning: Duration::from_secs(5),
            max_client_held_bytes: 16 << 20,
            max_waiting_handlers: 10_000,
            held_events_timeout: Duration::from_secs(10),
            max_left_over_bytes: 64 << 20,
            max_pending_acks: 10_000,
            socket_limits: None,
            address_limits: None,
            early_events: None,
            refusals: Refusals::default(),
            generate_socket_id: None,
            ordered_broadcasts: false,
            recovery: None,
            confirmed_after: Duration::from_secs(75),
        }
    }
}
