//! What a connection is set up with.

use std::time::Duration;

use http::HeaderMap;

use crate::{Limits, OriginCheck, deflate::DeflateOptions, handshake::head::HeadLimits};

/// How a connection is opened, bounded and closed. Begin with [`Config::default`] and set what differs.
///
/// ```
/// use switchboard_websocket::{Config, Limits};
///
/// let mut config = Config::default();
/// config.limits = Limits::default().max_message_bytes(1 << 20);
/// config.protocols = vec!["chat".to_owned()];
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on what the peer sends. Default 64 MiB for a message, and for a frame: see [`Limits`].
    pub limits: Limits,
    /// Bounds on the head of the handshake's request or response. Default 16 KiB in 100 lines: see [`HeadLimits`].
    pub head_limits: HeadLimits,
    /// The subprotocols that a server supports, or a client offers, the best first. A client that is to offer a name that is no
    /// token does not ask: [`Error::Handshake`](crate::Error::Handshake). Default none.
    pub protocols: Vec<String>,
    /// Headers that a client's request or a server's answer carries besides the handshake's own. A client does not ask with
    /// one of those ([`Error::Handshake`](crate::Error::Handshake)); a server's caller is to leave them out. Default none.
    pub headers: HeaderMap,
    /// Pages of which origins a server lets in. Default those of its own host and port.
    pub origin: OriginCheck,
    /// Compression (RFC 7692): a client offers it, a server agrees to it. Default none, as most libraries have it:
    /// it costs processor time and memory, and a message that mixes a secret with what an attacker wrote tells by its
    /// length how alike they are. For text that repeats itself, on slow or dear networks, it is worth all that.
    pub deflate: Option<DeflateOptions>,
    /// Bytes that may wait to be written. Beyond it [`send`](crate::WebSocketStream::send) waits,
    /// [`feed`](crate::WebSocketStream::feed) does what [`when_full`](Self::when_full) says, and reading
    /// waits for writing. A message over it is taken when nothing else waits. Default 1 MiB.
    pub max_write_buffer_bytes: usize,
    /// What [`feed`](crate::WebSocketStream::feed) does with a message that finds no room. Default
    /// [`WhenFull::Refuse`].
    pub when_full: WhenFull,
    /// Pongs that may wait to be written, at least 1, of those that answer pings by themselves. At a further ping the
    /// connection is cut without a Close frame: [`Error::TooManyPongs`](crate::Error::TooManyPongs). A peer that
    /// sends so many pings and does not read is no honest one. Default 60, as in `ws`.
    pub max_pending_pongs: usize,
    /// Bytes asked for in one read, at least 1. The buffer is there only while something is read. Default 16 KiB.
    pub read_buffer_bytes: usize,
    /// How long a message may take from its first byte to its last. A message of which 64 KiB more have come gets the
    /// whole time again, so that long messages may come over slow networks. After it the connection is closed with
    /// [`CloseCode::PolicyViolation`](crate::CloseCode::PolicyViolation):
    /// [`Error::MessageTimeout`](crate::Error::MessageTimeout). Without it a peer that sends nothing more could hold
    /// [`Limits::max_message_bytes`] of memory for ever. `None` for no time. Default 60 seconds.
    pub message_timeout: Option<Duration>,
    /// How long the whole handshake may take. Default 10 seconds.
    pub handshake_timeout: Duration,
    /// How long the peer has to answer a close, and a closed connection to end. Default 5 seconds.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::DEFAULT,
            head_limits: HeadLimits::DEFAULT,
            protocols: Vec::new(),
            headers: HeaderMap::new(),
            origin: OriginCheck::default(),
            deflate: None,
            max_write_buffer_bytes: 1 << 20,
            when_full: WhenFull::Refuse,
            max_pending_pongs: 60,
            read_buffer_bytes: 16 << 10,
            message_timeout: Some(Duration::from_secs(60)),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// What [`feed`](crate::WebSocketStream::feed) does with a message that would go over
/// [`Config::max_write_buffer_bytes`]: the peer reads more slowly than it is sent to.
///
/// [`send`](crate::WebSocketStream::send) and the [`Sink`](futures_sink::Sink) wait for room, whichever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// Gives it back with [`Error::WriteBufferFull`](crate::Error::WriteBufferFull): the caller decides.
    #[default]
    Refuse,
    /// Drops it, and counts it in [`dropped`](crate::WebSocketStream::dropped): for a fan-out of what is soon out of
    /// date, such as positions or prices. What waits already is sent.
    DropNewest,
    /// Closes the connection with [`CloseCode::PolicyViolation`](crate::CloseCode::PolicyViolation) behind what waits, and
    /// says so with [`Error::TooSlow`](crate::Error::TooSlow): for a fan-out of which nothing may be missing. The peer has
    /// [`Config::close_timeout`] to take it.
    Close,
}
