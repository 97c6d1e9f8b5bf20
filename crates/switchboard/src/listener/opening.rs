//! The first bytes of a connection, read and decided on: the PROXY protocol's header where it is on, then
//! what is spoken ([`Speaks`]), and the request if its head is whole and asks for an upgrade. The same inside
//! TLS.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, Version};
use switchboard_hub::Worker;
use switchboard_websocket::handshake::head::{Head, HeadLimits};
use switchboard_websocket::handshake::server::Upgrade as Rfc6455;
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};

use super::connection::Accepted;
use super::first::Speaks;
use super::proxy_protocol::{self, ProxyError, Source};
use crate::Peer;
use crate::door::decide;
use crate::http::mount::{Decision, LaterDecision, Upgrade};
use crate::http::{Answer, plain};
use crate::server::Server;
use crate::transport::connection_limit::Refusal;
use crate::transport::stream::Stream;
use crate::transport::tls::{Acceptor, HandshakeError};
use crate::transport::wire::Wire;

/// Why a connection ended before its first request was served.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error("closed by its peer")]
    Closed,
    #[error("no request came in time")]
    Late,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("{}", .0.as_str())]
    Refused(Refusal),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lost {
    /// Counts it, and tells of it.
    pub(super) fn count(&self) {
        match self {
            Lost::Late => metrics::counter!("switchboard_head_timeouts_total").increment(1),
            Lost::Proxy(_) => metrics::counter!("switchboard_proxy_protocol_errors_total").increment(1),
            Lost::Refused(refusal) => refusal.count(),
            Lost::Tls(error) => super::count_tls_error(error.reason()),
            Lost::Closed | Lost::ShuttingDown | Lost::Io(_) => {}
        }
        tracing::debug!(reason = %self, "a connection ended before it was served");
    }
}

/// What the first bytes of a connection are.
pub(super) enum First {
    /// A request for an upgrade, and what came behind it.
    Upgrade(Upgrade, Bytes),
    Answer(Box<Answer>),
    /// A request for an upgrade on which it takes time to decide.
    Later(Box<Later>),
    /// What does not go the fast path, and its bytes so far.
    Other(Speaks, Bytes),
}

/// A request for an upgrade on which it takes time to decide.
pub(super) struct Later {
    pub(super) decision: LaterDecision,
    pub(super) parts: Box<Parts>,
    pub(super) unread: Bytes,
}

/// The first bytes so far: too few to tell what they are, or to decide on.
struct TooFew {
    begun: Vec<u8>,
    /// They are a head's, which is to be looked at when it is whole, and not with each byte that comes.
    head: bool,
}

impl TooFew {
    /// Whether more may be told, now that bytes have come behind the first `before`. A head has no line ends
    /// where a search for them ended before.
    fn tells_more(&self, before: usize, max_head_bytes: usize) -> bool {
        let new = self.begun.get(before.saturating_sub(2)..).unwrap_or_default();
        !self.head || self.begun.len() > max_head_bytes || ends_head(new)
    }
}

/// Whether there is an empty line, be it one that only a lenient parser takes for the end of a head.
fn ends_head(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes)
        .any(|at| matches!(bytes.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

impl Accepted {
    /// Reads until it is clear what the first bytes are, those behind the PROXY protocol's header where it is
    /// on.
    pub(super) async fn first_bytes(&mut self, tls: Option<&Acceptor>) -> Result<First, Lost> {
        let may_request = tls.is_none_or(Acceptor::plain_too);
        if self.server.listener.proxy_protocol {
            return Box::pin(self.behind_proxy(may_request)).await;
        }
        self.count_for_address()?;
        self.first_request(may_request).await
    }

    /// Reads until it is clear what the first bytes are. `may_request`: whether requests are answered here.
    pub(super) async fn first_request(&mut self, may_request: bool) -> Result<First, Lost> {
        let Self { worker, server, stream, peer, .. } = self;
        match read_some(worker, stream, |bytes| look(server, bytes, peer, may_request)).await? {
            Ok(first) => Ok(first),
            Err(few) => Box::pin(self.more(may_request, few)).await,
        }
    }

    /// As [`first_request`](Self::first_request), where some bytes came before.
    async fn more(&mut self, may_request: bool, mut few: TooFew) -> Result<First, Lost> {
        let Self { worker, server, stream, peer, .. } = self;
        loop {
            let before = few.begun.len();
            read_some(worker, stream, |bytes| few.begun.extend_from_slice(bytes)).await?;
            if few.tells_more(before, server.listener.max_head_bytes) {
                match look(server, &few.begun, peer, may_request) {
                    Ok(first) => return Ok(first),
                    Err(still) => few = still,
                }
            }
        }
    }

    /// Reads the proxy's header, then the first request.
    async fn behind_proxy(&mut self, may_request: bool) -> Result<First, Lost> {
        if !self.server.proxies.is_empty() && !self.server.proxies.trusts_peer(self.peer) {
            return Err(ProxyError::Untrusted.into());
        }
        let mut begun = Vec::new();
        let (source, len) = loop {
            let see = |bytes: &[u8]| begun.extend_from_slice(bytes);
            read_some(&self.worker, &mut self.stream, see).await?;
            if let Some(parsed) = proxy_protocol::parse(&begun)? {
                break parsed;
            }
        };
        if let Source::Client(client) = source {
            self.peer = Peer::new(client);
        }
        self.peer.named = true;
        self.count_for_address()?;
        match look(&self.server, begun.get(len..).unwrap_or_default(), &self.peer, may_request) {
            Ok(first) => Ok(first),
            Err(few) => self.more(may_request, few).await,
        }
    }

    /// Counts the connection for its peer's address, where that is known.
    fn count_for_address(&mut self) -> Result<(), Lost> {
        let Some(address) = self.peer.ip() else { return Ok(()) };
        self.permit.count_for(address).map_err(Lost::Refused)
    }
}

/// Reads once, into the worker's buffer, and shows that to `see`.
async fn read_some<T>(
    worker: &Worker,
    stream: &mut Stream,
    mut see: impl FnMut(&[u8]) -> T,
) -> Result<T, Lost> {
    poll_fn(|cx| {
        let mut buffer = worker.take_read_buffer();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut read);
        let seen = polled.map(|read_or| match read_or {
            Ok(()) if read.filled().is_empty() => Err(Lost::Closed),
            Ok(()) => Ok(see(read.filled())),
            Err(error) => Err(error.into()),
        });
        worker.put_read_buffer(buffer);
        seen
    })
    .await
}

/// Decides on the first bytes: on the request, if its head is whole and asks for an upgrade.
fn look(server: &Server, bytes: &[u8], peer: &Peer, may_request: bool) -> Result<First, TooFew> {
    let other = |speaks| Ok(First::Other(speaks, Bytes::copy_from_slice(bytes)));
    match Speaks::of(bytes) {
        Some(Speaks::Tls) => return other(Speaks::Tls),
        Some(_) if !may_request => return Ok(First::Answer(Box::new(not_tls()))),
        Some(Speaks::Http1) => {}
        Some(speaks) => return other(speaks),
        None => return Err(TooFew { begun: bytes.to_vec(), head: false }),
    }
    if !bytes.starts_with(b"GET ") {
        return other(Speaks::Http1);
    }
    let options = &server.listener;
    let limits = HeadLimits::default().max_bytes(options.max_head_bytes).max_headers(options.max_headers);
    let (parts, len) = match Head::new(limits).request(bytes) {
        Ok(Some(whole)) => whole,
        // A head that comes in pieces is awaited here: hyper answers no draft's handshake byte for byte, and
        // takes no target that is not encoded.
        Ok(None) if !ends_head(bytes) => {
            return Err(TooFew { begun: bytes.to_vec(), head: true });
        }
        // What is malformed or too long is hyper's to refuse.
        Ok(None) | Err(_) => return other(Speaks::Http1),
    };
    if !Rfc6455::is_asked_for(&parts.headers) {
        return other(Speaks::Http1);
    }
    let peer = server.proxies.resolve(*peer, &parts.headers);
    let unread = || Bytes::copy_from_slice(bytes.get(len..).unwrap_or_default());
    Ok(match decide(server, &parts, peer) {
        Decision::Upgrade(mut upgrade) => {
            // HTTP/1.0 has no chunks: the body ends with its connection.
            if parts.version < Version::HTTP_11 && upgrade.streaming.is_some() {
                upgrade.streaming = Some(Wire::Bytes);
            }
            First::Upgrade(upgrade, unread())
        }
        Decision::Answer(answer) => First::Answer(Box::new(answer)),
        Decision::Later(decision) => {
            First::Later(Box::new(Later { decision, unread: unread(), parts: Box::new(parts) }))
        }
        // None of a user's functions was asked for these: an upgrade of a path that is not ours, and no
        // exchange asks for one.
        Decision::Pass | Decision::Exchange(_) => return other(Speaks::Http1),
    })
}

/// The answer to a request without TLS where there is nothing else.
fn not_tls() -> Answer {
    super::count_tls_error("not TLS");
    plain(StatusCode::BAD_REQUEST, "this port speaks TLS only: ask it for https:// or wss://\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a head is looked at that comes byte by byte, and the bytes that there are the last time.
    fn looks(head: &str) -> (usize, usize) {
        let mut few = TooFew { begun: Vec::new(), head: true };
        let (mut looks, mut last) = (0, 0);
        for byte in head.bytes() {
            let before = few.begun.len();
            few.begun.push(byte);
            if few.tells_more(before, 16 << 10) {
                looks += 1;
                last = few.begun.len();
            }
        }
        (looks, last)
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_looked_at_once() {
        for line in ["X: y\r\n", "X: y\n", "\rX: y\r\r\n"] {
            for end in ["\r\n", "\n"] {
                let head = format!("GET / HTTP/1.1\r\n{}{end}", line.repeat(1000));
                assert_eq!(looks(&head), (1, head.len()), "{line:?} {end:?}");
            }
        }
        // One over its limit is hyper's to refuse, with the first byte that is.
        let mut few = TooFew { begun: vec![b'x'; 100], head: true };
        assert!(!few.tells_more(99, 100));
        few.begun.push(b'x');
        assert!(few.tells_more(100, 100));
    }
}
