//! The options of a connection.

use std::time::Duration;

use http::HeaderMap;

use crate::{Limits, OriginCheck, deflate::DeflateOptions, handshake::head::HeadLimits};

/// The options that open, bound and close a connection. Begin with [`Config::default`], and set the options
/// that differ.
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
    /// Bounds on the messages of the peer. Default 64 MiB for a message, and for a frame: see [`Limits`].
    pub limits: Limits,
    /// Bounds on the head of the handshake's request or response. Default 16 KiB in 100 lines: see
    /// [`HeadLimits`].
    pub head_limits: HeadLimits,
    /// The subprotocols that a server supports, or that a client offers, the best one first. A client does
    /// not connect with a name that is no token: [`Error::Handshake`](crate::Error::Handshake). Default none.
    pub protocols: Vec<String>,
    /// Further headers of a client's request or a server's answer. The headers of the handshake itself must
    /// not be among them: a client does not connect then ([`Error::Handshake`](crate::Error::Handshake)), and
    /// a server does not check. Default none.
    pub headers: HeaderMap,
    /// The origins whose pages a server lets in. Default: pages of the server's own host and port.
    pub origin: OriginCheck,
    /// Compression (RFC 7692): a client offers it, and a server agrees to it. Default none, as in most
    /// libraries. It costs processor time and memory. It also gives a secret away in part where a message has
    /// both the secret and a text of an attacker, because the length of the message tells how alike the two
    /// are. It is worth its costs for text that repeats itself, on slow or expensive networks.
    pub deflate: Option<DeflateOptions>,
    /// Bytes that may wait to be written. At the limit [`send`](crate::WebSocketStream::send) waits,
    /// [`feed`](crate::WebSocketStream::feed) follows [`when_full`](Self::when_full), and nothing is read
    /// until some bytes are written. A message over the limit is taken when nothing else waits. Default 1
    /// MiB.
    pub max_write_buffer_bytes: usize,
    /// The action of [`feed`](crate::WebSocketStream::feed) for a message that has no room. Default
    /// [`WhenFull::Refuse`].
    pub when_full: WhenFull,
    /// Automatic pongs that may wait to be written, at least 1. A further ping cuts the connection, without a
    /// Close frame: [`Error::TooManyPongs`](crate::Error::TooManyPongs). An honest peer does not send so many
    /// pings without reading. Default 60, as in `ws`.
    pub max_pending_pongs: usize,
    /// Bytes that one read asks for, at least 1. The buffer exists only while something is read. Default 16
    /// KiB.
    pub read_buffer_bytes: usize,
    /// The time that a message may take from its first byte to its last. The time starts anew each time 64
    /// KiB more of the message have come, so that long messages may come over slow networks. After the time
    /// the connection is closed with [`CloseCode::PolicyViolation`](crate::CloseCode::PolicyViolation):
    /// [`Error::MessageTimeout`](crate::Error::MessageTimeout). Without this option an idle peer could hold
    /// [`Limits::max_message_bytes`] of memory for ever. `None` sets no time. Default 60 seconds.
    pub message_timeout: Option<Duration>,
    /// The time of the whole handshake. Default 10 seconds.
    pub handshake_timeout: Duration,
    /// The time in which the peer must answer a close, and the time in which a closed connection must end.
    /// Default 5 seconds.
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

/// The action of [`feed`](crate::WebSocketStream::feed) for a message that would go over
/// [`Config::max_write_buffer_bytes`], because the peer reads more slowly than messages are sent.
///
/// [`send`](crate::WebSocketStream::send) and the [`Sink`](futures_sink::Sink) wait for room, whichever
/// action is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// Gives the message back with [`Error::WriteBufferFull`](crate::Error::WriteBufferFull). The caller
    /// decides.
    #[default]
    Refuse,
    /// Drops the message, and counts it in [`dropped`](crate::WebSocketStream::dropped). The messages that
    /// wait already are sent. This is for data that is soon out of date, such as positions or prices.
    DropNewest,
    /// Closes the connection with [`CloseCode::PolicyViolation`](crate::CloseCode::PolicyViolation) behind
    /// the messages that wait, and returns [`Error::TooSlow`](crate::Error::TooSlow). The peer has
    /// [`Config::close_timeout`] to take them. This is for data of which no message may be missing.
    Close,
}
