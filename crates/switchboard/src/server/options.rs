//! The options of the server's own listener.

use std::time::Duration;

use super::flash_policy::FlashPolicy;

/// The options of the server's own listener.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// Connections that wait to be accepted. Default 1024.
    pub backlog: u32,
    /// Bytes of a TCP connection that the kernel takes before they are sent (`TCP_NOTSENT_LOWAT`, on Linux).
    /// Default: none of ours, which leaves it megabytes. What it has taken cannot be withdrawn: a client that
    /// stops reading for a while is then sent old [volatile](crate::Socket::volatile) packets first. With a
    /// bound of 16 KiB, say, few of them are old. The price is more system calls for those who are sent much
    /// at once. What is on its way to the client, and in the client's own kernel, does not count.
    pub max_unsent_bytes: Option<u32>,
    /// How long a client has to send the head of a request, the PROXY protocol's header included. Default 10
    /// s; then its connection is closed.
    pub head_timeout: Duration,
    /// How long a connection is kept for a further request when one was answered, the time that its head
    /// takes included. Default 65 s, as load balancers keep theirs for 60; then it is closed. Answers over
    /// HTTP/1.1 say so (`Keep-Alive: timeout=65`).
    pub keep_alive_timeout: Duration,
    /// How long a client of HTTP/1 may take nothing of an answer. Default 30 s; then its connection is
    /// closed.
    pub write_timeout: Duration,
    /// How long a request waits for a decision that takes time, such as that of an asynchronous
    /// [`allow_request`](crate::Builder::allow_request_async). Default 30 s; then it gets a 503.
    pub decision_timeout: Duration,
    /// Bytes of the head of a request. Default 16 KiB; a larger one gets a 431.
    pub max_head_bytes: usize,
    /// Header lines of a request. Default 100; more get a 431.
    pub max_headers: usize,
    /// Connections that may be open, those that were mounted in another server included. Default: no bound.
    /// Further ones are closed as soon as they are accepted. A WebSocket over HTTP/2 counts as one, too; a
    /// further one gets a 503.
    pub max_connections: usize,
    /// Connections that may be open from one address: that of the connection, or the one that the PROXY
    /// protocol's header names. Of an IPv6 address the first 64 bits count. Default: no bound.
    pub max_connections_per_address: usize,
    /// Whether connections begin with a PROXY protocol header (version 1 or 2), which names the client.
    /// Default: no. If on, a connection without one is closed; and if there are [trusted
    /// proxies](crate::Builder::trusted_proxies), so is one from any other address.
    pub proxy_protocol: bool,
    /// What Flash players that ask for it are told, where [`drafts`](crate::Builder::drafts) are on.
    pub flash_policy: FlashPolicy,
    /// HTTP/2: by prior knowledge, or as TLS has it agreed.
    pub http2: Http2Options,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            max_unsent_bytes: None,
            head_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(65),
            write_timeout: Duration::from_secs(30),
            decision_timeout: Duration::from_secs(30),
            max_head_bytes: 16 << 10,
            max_headers: 100,
            max_connections: usize::MAX,
            max_connections_per_address: usize::MAX,
            proxy_protocol: false,
            flash_policy: FlashPolicy::default(),
            http2: Http2Options::default(),
        }
    }
}

/// HTTP/2 on the server's own listener, WebSockets by extended CONNECT ([RFC
/// 8441](https://www.rfc-editor.org/rfc/rfc8441)) included.
///
/// The bounds that [`ListenerOptions`] sets for a head, its lines and its time, and for how long a connection
/// may be idle, hold here as well; one with an open WebSocket is not idle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Http2Options {
    /// Whether HTTP/2 is spoken. Default: yes.
    pub enabled: bool,
    /// Requests that may be under way on one connection, and WebSockets that may be open on it, together.
    /// Default 256; further ones are refused by HTTP/2 itself (`REFUSED_STREAM`).
    pub max_streams: u32,
    /// Bytes that a client may have sent in one stream before they are handled. Default 64 KiB.
    pub stream_window: u32,
    /// Bytes that a client may have sent in all streams of a connection before they are handled. Default 4
    /// MiB: as long as fewer than 64 streams with the default window are not read (their handlers wait), the
    /// others go on.
    pub connection_window: u32,
    /// After how long without a byte from its client a connection is pinged. Default 30 s; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long a client has to answer that ping. Default 20 s; then its connection is closed.
    pub ping_timeout: Duration,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            enabled: true,
            max_streams: 256,
            stream_window: 64 << 10,
            connection_window: 4 << 20,
            ping_interval: Some(Duration::from_secs(30)),
            ping_timeout: Duration::from_secs(20),
        }
    }
}
