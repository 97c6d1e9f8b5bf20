//! The options of an Engine.IO endpoint. Names and defaults are those of engine.io 6.6 unless it says
//! otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use switchboard_hub::{Outbox, WhenFull};
use switchboard_websocket::deflate::DeflateOptions;

use super::{GenerateId, SessionCookie};
use crate::error::more_than_nothing;
use crate::handshake::KeepHeaders;
use crate::http::admission::AllowRequest;
use crate::http::cors::Origins;
use crate::http::files::ClientFile;
use crate::http::hooks::{HeadersHook, RefusedHook};
use crate::refusals::Refusals;

/// What becomes of a client whose outbox is full, and of the packet that is sent to it then.
///
/// `Disconnect` and `Refuse` refuse what was sent: the sender has
/// [`EmitError::Hub`](crate::EmitError::Hub), and `switchboard_outbox_overflow_total` counts it, also for
/// broadcasts, which have no error for it.
///
/// `DropOldest` and `DropNewest` drop events whose acknowledgement nobody awaits, each with its attachments.
/// `switchboard_packets_dropped_total` counts them, and [`on_refused`](crate::Builder::on_refused) is told.
/// Other packets are kept in their places, until twice [`max_outbox_bytes`](EngineOptions::max_outbox_bytes)
/// wait: then the client is disconnected. Half of `max_outbox_bytes`, and 64 KiB at most, is on its way to the
/// connection, and is not dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullOutbox {
    /// It is disconnected with `forced server close`. What it was sent before, and was not refused, is
    /// still written, if it reads.
    #[default]
    Disconnect,
    /// It stays: the sender acts on the error. [`Socket::ready`](crate::Socket::ready) awaits room.
    /// Acknowledgements are refused as well.
    Refuse,
    /// It stays: the oldest events make room for what is sent.
    DropOldest,
    /// It stays: the event that is sent is dropped. Its sender has [`EmitError::Hub`](crate::EmitError::Hub).
    DropNewest,
}

impl FullOutbox {
    /// The policy in the hub's words, for an outbox of so many bytes.
    pub(super) fn when_full(self, max_bytes: usize) -> WhenFull {
        match self {
            FullOutbox::Disconnect | FullOutbox::Refuse => WhenFull::Refuse,
            FullOutbox::DropOldest => WhenFull::DropOldest { max_bytes },
            FullOutbox::DropNewest => WhenFull::DropNewest { max_bytes },
        }
    }
}

/// The options of an Engine.IO endpoint.
#[derive(Clone)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an option that is on or off")]
pub struct EngineOptions {
    /// The path. Default `/socket.io` for Socket.IO, `/engine.io` for a bare service. A trailing slash makes
    /// no difference.
    pub path: String,
    /// How often the server pings. Default 25 s. With `ping_timeout` it may be at most 24 days, as clients
    /// have no longer timers.
    pub ping_interval: Duration,
    /// How long a client has to answer a ping before its session is closed. Default 20 s.
    pub ping_timeout: Duration,
    /// How long a probe may take. Default 10 s.
    pub upgrade_timeout: Duration,
    /// How long the body of a POST may take to arrive. Default 30 s; then the answer is a 408, and the
    /// session is closed.
    pub body_timeout: Duration,
    /// Pieces in which the body of a POST may arrive (`maxBufferedChunks`). Default 10 000; a body in more of
    /// them gets a 413, and closes the session.
    pub max_body_pieces: usize,
    /// How long a message may take to arrive over WebSocket, from its first byte to its last; one of which 64
    /// KiB more have come has the whole time again. Default 60 s; then the connection is closed with 1008.
    /// `None`: any time. The next attachment of a Socket.IO packet has as long, on any transport.
    pub message_timeout: Option<Duration>,
    /// How long a client of a closing WebSocket may take none of the bytes that wait for it, and how long it
    /// may take to answer the close after them. Default 30 s; then its connection is cut. `None`: any time.
    pub close_timeout: Option<Duration>,
    /// Bytes of a POST's body, or of a WebSocket message. Default 1 000 000. A larger POST gets a 413, a
    /// larger WebSocket message closes the connection with 1009.
    pub max_payload: usize,
    /// Bytes that may wait to be written to one client. Default 16 MiB; one packet may pass them. Before more
    /// is refused, the socket is tried. See [`full_outbox`](Self::full_outbox). A client over WebSocket is
    /// not read while half of this waits for it and its socket takes no more: its own answers alone do not
    /// get further.
    pub max_outbox_bytes: usize,
    /// What becomes of a client whose outbox is full when something is sent to it. Default: it is
    /// disconnected.
    pub full_outbox: FullOutbox,
    /// From how many bytes on the answer of a long poll is compressed for clients that take gzip or deflate;
    /// `None`: never. Default 1024.
    pub http_compression: Option<usize>,
    /// Compression of WebSocket messages (`perMessageDeflate`: permessage-deflate, RFC 7692) for clients that
    /// offer it. Default: none, as in Node since Socket.IO 3. Its memory is told in the documentation of
    /// [`DeflateOptions`]; with context taken over, a compressor that was idle between two pings gives its
    /// own back.
    pub per_message_deflate: Option<DeflateOptions>,
    /// Whether clients of Engine.IO protocol 3 (Socket.IO 1 and 2, `allowEIO3`) are served, and older ones of
    /// Socket.IO. Default: no. See [`Builder::old_clients`](crate::Builder::old_clients).
    pub old_clients: bool,
    /// Whether polling works by scripts, for pages whose browsers cannot ask another origin otherwise (JSONP).
    /// Default: no. See [`Builder::jsonp`](crate::Builder::jsonp).
    pub jsonp: bool,
    /// Whether long polling is on. Default: on.
    pub polling: bool,
    /// Whether WebSocket is on. Default: on.
    pub websocket: bool,
    /// Whether a session may go from polling to WebSocket. Default: yes.
    pub allow_upgrades: bool,
    /// Subprotocols of WebSockets (`Sec-WebSocket-Protocol`): the first of the client's that is among these
    /// is selected. Default: none, which selects the first that the client offers, as `ws` does in Node.
    /// [`Handshake::protocol`](crate::Handshake::protocol) shows it.
    pub subprotocols: Vec<String>,
    /// Sessions at a time, on either transport. Default 1 000 000; a handshake beyond them gets a 503.
    pub max_sessions: usize,
    /// Sessions at a time from one address: that of the connection, or what a trusted proxy says. Of an IPv6
    /// address the first 64 bits count. Default: no bound, as many clients may share an address; a handshake
    /// beyond it gets a 503. Clients of a Unix-domain socket have no address.
    pub max_sessions_per_address: usize,
    /// The cookie that the first answer on polling sets. Default: none.
    pub cookie: Option<SessionCookie>,
    /// Headers of the answer that opens a session (`initial_headers`). Default: none.
    pub initial_headers: Option<HeadersHook>,
    /// Headers of each answer to a request of a session, the first and those of WebSocket handshakes among
    /// them (`headers`). Default: none.
    pub headers: Option<HeadersHook>,
    /// Makes the part of sessions' ids that is random by default. Default: the system's randomness. See
    /// [`Builder::generate_id`](crate::Builder::generate_id).
    pub generate_id: Option<GenerateId>,
    /// Is told of each request that is refused by its head (`connection_error`). Default: nobody. (That a
    /// session is not known is found where it would be, behind the request's head: such requests are counted
    /// only.)
    pub connection_error: Option<RefusedHook>,
    pub(crate) refusals: Refusals,
    /// Pages of which origins may connect, and read what they are answered (CORS). Default: those of the
    /// server's own host.
    pub origins: Origins,
    /// A check of one's own on each handshake. Default: none.
    pub allow_request: Option<AllowRequest>,
    /// Which headers a handshake keeps.
    pub keep_headers: KeepHeaders,
    /// Files served below the path.
    pub client_files: Arc<[ClientFile]>,
}

/// The options of a bare service at `/engine.io`.
impl Default for EngineOptions {
    fn default() -> Self {
        Self::new("/engine.io")
    }
}

/// The longest time that a timer of JavaScript's can be set to; a longer one fires at once. Clients set one
/// to the sum of the ping interval and the ping time-out.
const LONGEST_TIMER: Duration = Duration::from_millis(i32::MAX as u64);

impl EngineOptions {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_body_pieces: 10_000,
            message_timeout: Some(Duration::from_secs(60)),
            close_timeout: Some(Duration::from_secs(30)),
            max_payload: 1_000_000,
            max_outbox_bytes: 16 << 20,
            full_outbox: FullOutbox::default(),
            http_compression: Some(1024),
            per_message_deflate: None,
            old_clients: false,
            jsonp: false,
            polling: true,
            websocket: true,
            allow_upgrades: true,
            subprotocols: Vec::new(),
            max_sessions: 1_000_000,
            max_sessions_per_address: usize::MAX,
            cookie: None,
            initial_headers: None,
            generate_id: None,
            headers: None,
            connection_error: None,
            refusals: Refusals::default(),
            origins: Origins::default(),
            allow_request: None,
            keep_headers: KeepHeaders::default(),
            client_files: Arc::from([]),
        }
    }

    /// # Errors
    /// What makes no sense, by name.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') {
            return Err(format!("`path` must begin with a slash: {:?}", self.path));
        }
        if !self.polling && !self.websocket {
            return Err("`transports` must leave one on".to_owned());
        }
        self.cookie.as_ref().map_or(Ok(()), SessionCookie::check)?;
        for (what, time) in [
            ("ping_interval", Some(self.ping_interval)),
            ("ping_timeout", Some(self.ping_timeout)),
            ("upgrade_timeout", Some(self.upgrade_timeout)),
            ("body_timeout", Some(self.body_timeout)),
            ("message_timeout", self.message_timeout),
        ] {
            more_than_nothing(what, time != Some(Duration::ZERO))?;
        }
        more_than_nothing("max_payload", self.max_payload != 0)?;
        more_than_nothing("max_outbox_bytes", self.max_outbox_bytes != 0)?;
        if self.ping_interval.saturating_add(self.ping_timeout) > LONGEST_TIMER {
            return Err(format!(
                "`ping_interval` and `ping_timeout` must be at most {LONGEST_TIMER:?} together: clients have no longer timers"
            ));
        }
        Ok(())
    }

    /// What the outbox of a session does when it is full.
    pub(crate) fn when_full(&self) -> WhenFull {
        self.full_outbox.when_full(self.max_outbox_bytes)
    }

    /// The bound of a session's outbox.
    pub(crate) fn outbox_limit(&self) -> usize {
        match self.when_full() {
            WhenFull::DropOldest { max_bytes } | WhenFull::DropNewest { max_bytes } => {
                Outbox::on_way(max_bytes)
            }
            _ => self.max_outbox_bytes,
        }
    }

    /// The bytes that wait for a client over WebSocket when it is not read any more. Where events make room,
    /// it is its answers that it has to take.
    pub(crate) fn hold_back_at(&self) -> usize {
        let dropping = self.outbox_limit() != self.max_outbox_bytes;
        let more = if dropping { self.max_outbox_bytes } else { 0 };
        (self.max_outbox_bytes / 2).saturating_add(more)
    }

    pub(crate) fn upgrades(&self) -> bool {
        self.allow_upgrades && self.websocket
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("path", &self.path)
            .field("ping_interval", &self.ping_interval)
            .field("ping_timeout", &self.ping_timeout)
            .field("max_payload", &self.max_payload)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
