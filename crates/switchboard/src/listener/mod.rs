//! The server's own listener: each worker accepts on a socket of its own (`SO_REUSEPORT`), or on one that all share, takes a WebSocket upgrade
//! that comes first on a fast path, and leaves every other request to hyper. Both ways ask the same [`decide`](crate::http::decide).

mod accept;
pub(crate) mod address;
mod connection;
mod first;
pub(crate) mod flash;
pub(crate) mod gate;
pub(crate) mod http2;
mod opening;
mod polls;
mod proxy_protocol;
mod requests;
mod rewind;
pub(crate) mod sockets;
pub(crate) mod streams;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

pub use address::ListenAddress;
pub use flash::FlashPolicy;
pub(crate) use rewind::Rewind;
use sockets::Bound;

use crate::Switchboard;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type FallbackBody = UnsyncBoxBody<Bytes, BoxError>;
type FallbackFuture = Pin<Box<dyn Future<Output = Result<Response<FallbackBody>, BoxError>> + Send>>;

/// The options of the server's own listener.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// Connections that wait to be accepted. Default 1024.
    pub backlog: u32,
    /// How long a client has to send the head of a request, the PROXY protocol's header included. Default 10 s; then its connection is
    /// closed. A connection that is kept may be idle between two requests for as long.
    pub head_timeout: Duration,
    /// Bytes of the head of a request. Default 16 KiB; a larger one gets a 431.
    pub max_head_bytes: usize,
    /// Header lines of a request. Default 100; more get a 431.
    pub max_headers: usize,
    /// Connections that may be open, those that were mounted in another server included. Default: no bound. Further ones are closed as
    /// soon as they are accepted. A WebSocket over HTTP/2 counts as one, too; a further one gets a 503.
    pub max_connections: usize,
    /// Connections that may be open from one address: that of the connection, or the one that the PROXY protocol's header names.
    /// Default: no bound.
    pub max_connections_per_address: usize,
    /// Whether connections begin with a PROXY protocol header (version 1 or 2), which names the client. Default: no. If on, a connection
    /// without one is closed; and if there are [trusted proxies](crate::Builder::trusted_proxies), so is one from any other address.
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
            head_timeout: Duration::from_secs(10),
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

/// HTTP/2 on the server's own listener, WebSockets by extended CONNECT ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)) included.
///
/// The bounds that [`ListenerOptions`] sets for a head, its lines and its time, and for how long a connection may be idle, hold here as well;
/// one with an open WebSocket is not idle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Http2Options {
    /// Whether HTTP/2 is spoken. Default: yes.
    pub enabled: bool,
    /// Requests that may be under way on one connection, and WebSockets that may be open on it, together. Default 256; further ones are
    /// refused by HTTP/2 itself (`REFUSED_STREAM`).
    pub max_streams: u32,
    /// Bytes that a client may have sent in one stream before they are handled. Default 64 KiB.
    pub stream_window: u32,
    /// Bytes that a client may have sent in all streams of a connection before they are handled. Default 4 MiB: as long as fewer than 64
    /// streams with the default window are not read (their handlers wait), the others go on.
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

pub(crate) fn count_refused(refusal: gate::Refusal) {
    metrics::counter!("switchboard_connections_refused_total", "reason" => refusal.as_str()).increment(1);
}

fn count_tls_error(reason: &'static str) {
    metrics::counter!("switchboard_tls_handshake_errors_total", "reason" => reason).increment(1);
}

/// The service that gets the requests which are not ours.
#[derive(Clone)]
pub(crate) struct Fallback {
    call: Arc<dyn Fn(Request<Incoming>) -> FallbackFuture + Send + Sync>,
}

impl Fallback {
    pub(crate) fn new<S, R>(service: S) -> Self
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let call = move |request| -> FallbackFuture {
            let mut service = service.clone();
            Box::pin(async move {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request).await.map_err(Into::into)?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        };
        Self { call: Arc::new(call) }
    }

    fn call(&self, request: Request<Incoming>) -> FallbackFuture {
        (self.call)(request)
    }
}

/// A server that listens. Dropped, it goes on listening until the server is shut down.
#[derive(Debug)]
pub struct Listening {
    io: Switchboard,
    bound: Bound,
}

impl std::fmt::Display for Listening {
    /// Where it listens: `127.0.0.1:3000`, or `unix:` and a path.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.bound {
            Bound::Tcp(address) => address.fmt(f),
            Bound::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listening {
    /// Opens a socket for each worker, and lets it accept.
    pub(crate) async fn start(io: Switchboard, address: ListenAddress) -> io::Result<Self> {
        let bound = accept::start(io.inner(), address).await?;
        let listening = Self { io, bound };
        tracing::info!(address = %listening, "listening");
        Ok(listening)
    }

    /// The address it listens on; its port is known even where the one asked for was 0. Of a Unix-domain socket, which has none, it is
    /// `0.0.0.0:0`: such a one is [shown](std::fmt::Display) by its path.
    pub fn local_addr(&self) -> SocketAddr {
        match self.bound {
            Bound::Tcp(address) => address,
            Bound::Unix(_) => SocketAddr::from(([0; 4], 0)),
        }
    }

    /// Returns when the server is shutting down, and no connection is open any more.
    pub async fn done(&self) {
        let inner = self.io.inner();
        let mut closed = inner.closed.subscribe();
        // The sender is in `inner`, which is kept here.
        let _never = closed.wait_for(|closed| *closed).await;
        inner.gate.emptied().await;
    }
}
