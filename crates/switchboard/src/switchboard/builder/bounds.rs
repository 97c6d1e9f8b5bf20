//! The bounds on what clients may send, and on what waits for them.

use std::time::Duration;

use super::Builder;
use crate::api::early::EarlyEvents;
use crate::engineio::FullOutbox;
use crate::limits::RateLimits;

impl Builder {
    /// Bytes of a POST's body or of a WebSocket message (`maxHttpBufferSize`). Default 1 000 000.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.engine.max_payload = bytes;
        self
    }

    /// Attachments of one packet. Default 10.
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.socketio.packets.max_attachments = attachments;
        self
    }

    /// Levels of arrays and objects that an argument of an event or an acknowledgement may nest. Default 512,
    /// at most 2000; deeper ones close the session with `parse error`, as malformed ones do.
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.socketio.packets.max_depth = levels;
        self
    }

    /// Bytes that may wait to be written to one client. Default 16 MiB.
    pub fn max_outbox_bytes(mut self, bytes: usize) -> Self {
        self.engine.max_outbox_bytes = bytes;
        self
    }

    /// What the server does with a client whose outbox has no room for more. Default: it is disconnected.
    pub fn full_outbox(mut self, full: FullOutbox) -> Self {
        self.engine.full_outbox = full;
        self
    }

    /// Rooms that one socket may be in. Default 10 000.
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.shared = Some("max_rooms");
        self.hub.max_rooms = rooms;
        self
    }

    /// Namespaces that one client may be in. Default 1000.
    pub fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.socketio.max_namespaces = namespaces;
        self
    }

    /// Bytes of events of one socket that may wait for its handlers; then the client is not read for a while.
    /// Default 1 MiB.
    pub fn max_held_bytes(mut self, bytes: usize) -> Self {
        self.socketio.max_held_bytes = bytes;
        self
    }

    /// Bytes of events of one client that may wait for handlers, or be with handlers that wait, in all its
    /// namespaces; then it is not read for a while. Default 16 MiB.
    pub fn max_client_held_bytes(mut self, bytes: usize) -> Self {
        self.socketio.max_client_held_bytes = bytes;
        self
    }

    /// Handlers of events of one client that may wait at once; then it is not read for a while. Default 10
    /// 000.
    pub fn max_waiting_handlers(mut self, handlers: usize) -> Self {
        self.socketio.max_waiting_handlers = handlers;
        self
    }

    /// Bytes of `auth` that the sockets of one client may keep in all. Default 4 MiB; a socket that would
    /// pass them gets a `CONNECT_ERROR`.
    pub fn max_auth_bytes(mut self, bytes: usize) -> Self {
        self.socketio.max_auth_bytes = bytes;
        self
    }

    /// How long events may wait for a handler after the end of their socket, before they are dropped. Default
    /// 10 s; see [`SocketIoOptions::held_events_timeout`](crate::SocketIoOptions::held_events_timeout).
    pub fn held_events_timeout(mut self, timeout: Duration) -> Self {
        self.socketio.held_events_timeout = timeout;
        self
    }

    /// Bytes of events that may be with a worker after the end of their connections. Default 64 MiB; see
    /// [`SocketIoOptions::max_left_over_bytes`](crate::SocketIoOptions::max_left_over_bytes).
    pub fn max_left_over_bytes(mut self, bytes: usize) -> Self {
        self.socketio.max_left_over_bytes = bytes;
        self
    }

    /// After how long a handler that waits, while events of its socket wait behind it, is named in the log.
    /// Default 5 s.
    pub fn held_warning(mut self, after: Duration) -> Self {
        self.socketio.held_warning = after;
        self
    }

    /// Acknowledgements that may be awaited of one socket. Default 10 000.
    pub fn max_pending_acks(mut self, acks: usize) -> Self {
        self.socketio.max_pending_acks = acks;
        self
    }

    /// Bytes that may be on their way to one worker's thread from others: messages of broadcasts, bodies of
    /// requests, events that other threads send to its sockets. Default 64 MiB. One message may pass the
    /// bound. At the bound `emit` fails with [`HubError::InboxFull`](crate::HubError::InboxFull), and
    /// requests wait.
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.shared = Some("inbox_bytes");
        self.hub.inbox_bytes = bytes;
        self
    }

    /// Sessions at a time, on either transport. Default 1 000 000; a handshake beyond them gets a 503.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.engine.max_sessions = sessions;
        self
    }

    /// Sessions at a time from one address: that of the connection, or what a trusted proxy says. Default: no
    /// bound, as many clients may share an address; a handshake beyond it gets a 503.
    pub fn max_sessions_per_address(mut self, sessions: usize) -> Self {
        self.engine.max_sessions_per_address = sessions;
        self
    }

    /// Limits what each socket sends; the rate of CONNECTs is each client's. Default: no limit.
    pub fn limit_sockets(mut self, limits: RateLimits) -> Self {
        self.socketio.socket_limits = Some(limits);
        self
    }

    /// Limits what all sockets from one address send together. Default: no limit. See
    /// [`SocketIoOptions::address_limits`](crate::SocketIoOptions::address_limits).
    pub fn limit_addresses(mut self, limits: RateLimits) -> Self {
        self.socketio.address_limits = Some(limits);
        self
    }

    /// Keeps events that no handler waits for, within bounds, until a handler is registered for them by
    /// [`Socket::on`](crate::Socket::on) or [`Namespace::on`](crate::Namespace::on). Default: no.
    pub fn early_events(mut self, bounds: EarlyEvents) -> Self {
        self.socketio.early_events = Some(bounds);
        self
    }
}
