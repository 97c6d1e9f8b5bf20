//! One accepted connection: the PROXY protocol's header where it is on, then what the first bytes are ([`first`](super::first)): a WebSocket
//! upgrade goes the fast path, each other kind to its own function, and every other request of HTTP to hyper.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::UPGRADE;
use switchboard_hub::Worker;
use switchboard_websocket::handshake::head::{Head, HeadLimits};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::first::Speaks;
use super::flash;
use super::gate::{Permit, Refusal};
use super::http2;
use super::polls;
use super::proxy_protocol::{self, ProxyError, Source};
use super::requests;
use super::rewind::Rewind;
use crate::Peer;
use crate::http::Answer;
use crate::http::decide::{Attach, Decision, HixieUpgrade, decide};
use crate::http::hixie::prove;
use crate::http::serve::{check_probe, land, lost_on_its_way, write_head};
use crate::switchboard::Inner;
use crate::transport::io::{Handover, Io};
use crate::transport::stream::Stream;

/// How long a client whose upgrade was refused may go on sending, so that it reads our answer rather than a reset; and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 << 10;

/// Why a connection ended before its first request was served.
#[derive(Debug, Error)]
enum Lost {
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
    Io(#[from] io::Error),
}

/// Serves a connection from its first byte. `peer`: whom it comes from, as the socket has it.
pub(super) async fn serve(
    worker: Rc<Worker>,
    inner: Arc<Inner>,
    mut stream: Stream,
    mut peer: Peer,
    mut permit: Permit,
) {
    match begin(&worker, &inner, &mut stream, &mut peer, &mut permit).await {
        // What is not the fast path does not make every connection's task as large as itself.
        Ok(First::Upgrade { response, attach: attach @ Attach::Probe(..), unread }) => {
            Box::pin(upgrade_probe(&worker, &inner, stream, permit, &response, attach, unread)).await;
        }
        // A new session begins on the worker that accepted it.
        Ok(First::Upgrade { response, attach, unread }) => {
            upgrade(&worker, stream, permit, &response, attach, unread);
        }
        Ok(First::UpgradeHixie(upgrade, unread)) => {
            Box::pin(upgrade_hixie(&worker, &inner, stream, permit, *upgrade, unread)).await;
        }
        Ok(First::Answer(answer)) => Box::pin(write_answer(stream, permit, *answer)).await,
        Ok(First::Other(speaks, unread)) => {
            Box::pin(serve_other(&worker, &inner, speaks, (stream, unread, permit), peer)).await;
        }
        Err(lost) => count(&lost),
    }
}

/// Serves what the fast path does not, by what it speaks.
async fn serve_other(
    worker: &Worker,
    inner: &Arc<Inner>,
    speaks: Speaks,
    (mut stream, unread, permit): (Stream, Bytes, Permit),
    peer: Peer,
) {
    let unread = match speaks {
        Speaks::Http1 => polls::serve(worker, inner, &mut stream, unread, peer).await,
        _ => Some(unread),
    };
    let Some(unread) = unread else { return };
    let stream = Rewind::new(stream, unread, permit);
    match speaks {
        Speaks::FlashPolicy if inner.drafts => flash::answer(&inner.listener.flash_policy, stream).await,
        Speaks::Http2 if inner.listener.http2.enabled => http2::serve(inner, stream, peer).await,
        // hyper refuses what is not HTTP/1.
        Speaks::Http1 | Speaks::Http2 | Speaks::FlashPolicy | Speaks::Tls => {
            requests::serve(inner, stream, peer).await;
        }
    }
}

fn count(lost: &Lost) {
    match lost {
        Lost::Late => metrics::counter!("switchboard_head_timeouts_total").increment(1),
        Lost::Proxy(_) => metrics::counter!("switchboard_proxy_protocol_errors_total").increment(1),
        Lost::Refused(refusal) => super::count_refused(*refusal),
        Lost::Closed | Lost::ShuttingDown | Lost::Io(_) => {}
    }
    tracing::debug!(reason = %lost, "a connection ended before it was served");
}

/// What the first bytes of a connection are.
enum First {
    Upgrade {
        response: Response<()>,
        attach: Attach,
        unread: Bytes,
    },
    UpgradeHixie(Box<HixieUpgrade>, Bytes),
    Answer(Box<Answer>),
    /// What does not go the fast path, and its bytes so far.
    Other(Speaks, Bytes),
}

/// The first bytes so far: too few to tell what they are, or to decide on.
struct TooFew {
    begun: Vec<u8>,
    /// They are a head's, which is to be looked at when it is whole, and not with each byte that comes.
    head: bool,
}

impl TooFew {
    /// Whether more may be told, now that bytes have come behind the first `before`. A head has no line ends where a search for
    /// them ended before.
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

/// Reads the first bytes, within the time that there is for a head, and while the server is not shutting down.
async fn begin(
    worker: &Worker,
    inner: &Inner,
    stream: &mut Stream,
    peer: &mut Peer,
    permit: &mut Permit,
) -> Result<First, Lost> {
    let first = async {
        let mut closed = inner.closed.subscribe();
        tokio::select! {
            biased;
            first = first_bytes(worker, inner, stream, peer, permit) => first,
            _ = closed.wait_for(|closed| *closed) => Err(Lost::ShuttingDown),
        }
    };
    // Bytes that are there already are read before a timer is set, or the shutting down is waited for.
    tokio::time::timeout(inner.listener.head_timeout, first).await.unwrap_or(Err(Lost::Late))
}

/// Reads until it is clear what the first bytes are.
async fn first_bytes(
    worker: &Worker,
    inner: &Inner,
    stream: &mut Stream,
    peer: &mut Peer,
    permit: &mut Permit,
) -> Result<First, Lost> {
    if inner.listener.proxy_protocol {
        return Box::pin(behind_proxy(worker, inner, stream, peer, permit)).await;
    }
    count_for(permit, peer)?;
    match read_some(worker, stream, |bytes| look(inner, bytes, peer)).await? {
        Ok(first) => Ok(first),
        Err(few) => Box::pin(more(worker, inner, stream, peer, few)).await,
    }
}

/// Reads until it is clear what the first bytes are, where some came before.
async fn more(
    worker: &Worker,
    inner: &Inner,
    stream: &mut Stream,
    peer: &Peer,
    mut few: TooFew,
) -> Result<First, Lost> {
    loop {
        let before = few.begun.len();
        read_some(worker, stream, |bytes| few.begun.extend_from_slice(bytes)).await?;
        if few.tells_more(before, inner.listener.max_head_bytes) {
            match look(inner, &few.begun, peer) {
                Ok(first) => return Ok(first),
                Err(still) => few = still,
            }
        }
    }
}

/// Reads the proxy's header, then the first request.
async fn behind_proxy(
    worker: &Worker,
    inner: &Inner,
    stream: &mut Stream,
    peer: &mut Peer,
    permit: &mut Permit,
) -> Result<First, Lost> {
    if !inner.proxies.is_empty() && !inner.proxies.trusts(peer.ip(), 0) {
        return Err(ProxyError::Untrusted.into());
    }
    let mut begun = Vec::new();
    let (source, len) = loop {
        read_some(worker, stream, |bytes| begun.extend_from_slice(bytes)).await?;
        if let Some(parsed) = proxy_protocol::parse(&begun)? {
            break parsed;
        }
    };
    if let Source::Client(client) = source {
        *peer = Peer::new(client);
    }
    peer.named = true;
    count_for(permit, peer)?;
    match look(inner, begun.get(len..).unwrap_or_default(), peer) {
        Ok(first) => Ok(first),
        Err(few) => more(worker, inner, stream, peer, few).await,
    }
}

/// Counts the connection for its peer's address, where that is known.
fn count_for(permit: &mut Permit, peer: &Peer) -> Result<(), Lost> {
    peer.ip().map_or(Ok(()), |address| permit.count_for(address)).map_err(Lost::Refused)
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
fn look(inner: &Inner, bytes: &[u8], peer: &Peer) -> Result<First, TooFew> {
    let other = |speaks| Ok(First::Other(speaks, Bytes::copy_from_slice(bytes)));
    match Speaks::of(bytes) {
        Some(Speaks::Http1) => {}
        Some(speaks) => return other(speaks),
        None => return Err(TooFew { begun: bytes.to_vec(), head: false }),
    }
    if !bytes.starts_with(b"GET ") {
        return other(Speaks::Http1);
    }
    let options = &inner.listener;
    let limits = HeadLimits::default().max_bytes(options.max_head_bytes).max_headers(options.max_headers);
    let (parts, len) = match Head::new(limits).request(bytes) {
        Ok(Some(whole)) => whole,
        // hyper cannot answer a draft's handshake byte for byte: a head that may be of one is awaited here.
        Ok(None) if inner.drafts && !ends_head(bytes) => {
            return Err(TooFew { begun: bytes.to_vec(), head: true });
        }
        // What is malformed or too long is hyper's to refuse.
        Ok(None) | Err(_) => return other(Speaks::Http1),
    };
    if !parts.headers.contains_key(UPGRADE) {
        return other(Speaks::Http1);
    }
    let peer = inner.proxies.resolve(*peer, &parts.headers);
    let unread = || Bytes::copy_from_slice(bytes.get(len..).unwrap_or_default());
    Ok(match decide(inner, &parts, peer) {
        Decision::Upgrade(response, attach) => First::Upgrade { response, attach, unread: unread() },
        Decision::UpgradeHixie(upgrade) => First::UpgradeHixie(upgrade, unread()),
        Decision::Answer(answer) => First::Answer(Box::new(answer)),
        Decision::Pass | Decision::Poll(_) => return other(Speaks::Http1),
    })
}

/// Turns the connection into a WebSocket one of this worker's.
fn upgrade(
    worker: &Rc<Worker>,
    stream: Stream,
    permit: Permit,
    response: &Response<()>,
    attach: Attach,
    unread: Bytes,
) {
    // The answer goes out with the session's first packet, in one write.
    worker.with_scratch(|head| {
        write_head(response, head);
        attach.land(worker, Io::Own(stream, permit), unread, head);
    });
}

/// As [`upgrade`], of a connection that belongs to a session which is there already, be it another worker's.
async fn upgrade_probe(
    worker: &Rc<Worker>,
    inner: &Arc<Inner>,
    mut stream: Stream,
    permit: Permit,
    response: &Response<()>,
    attach: Attach,
    unread: Bytes,
) {
    if let Err(answer) = check_probe(&inner.hub, &attach).await {
        return write_answer(stream, permit, answer).await;
    }
    if attach.worker(&inner.hub) == worker.id() {
        return upgrade(worker, stream, permit, response, attach, unread);
    }
    let mut head = Vec::with_capacity(256);
    write_head(response, &mut head);
    // An empty send buffer takes the head at once.
    let handover = match stream.write_all(&head).await {
        Ok(()) => Handover::own(stream, unread, permit),
        Err(error) => Err(error),
    };
    match handover {
        Ok(handover) => land(&inner.hub, attach, handover).await,
        Err(error) => lost_on_its_way(&error),
    }
}

/// Turns the connection into a WebSocket one of hixie-75 or -76, of this worker or, where its session is another's, of that one.
async fn upgrade_hixie(
    worker: &Rc<Worker>,
    inner: &Arc<Inner>,
    mut stream: Stream,
    permit: Permit,
    upgrade: HixieUpgrade,
    mut unread: Bytes,
) {
    let HixieUpgrade { head, challenge, attach, .. } = upgrade;
    if let Err(answer) = check_probe(&inner.hub, &attach).await {
        return write_answer(stream, permit, answer).await;
    }
    let shake_hands = async {
        stream.write_all(&head).await?;
        match challenge {
            Some(challenge) => prove(&mut stream, challenge, &mut unread).await,
            None => Ok(()),
        }
    };
    let mut closed = inner.closed.subscribe();
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(inner.listener.head_timeout, shake_hands) => shaken,
        _ = closed.wait_for(|closed| *closed) => return count(&Lost::ShuttingDown),
    };
    match shaken {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return count(&Lost::Io(error)),
        Err(_late) => return count(&Lost::Late),
    }
    if !matches!(attach, Attach::Probe(..)) || attach.worker(&inner.hub) == worker.id() {
        return attach.land(worker, Io::Own(stream, permit), unread, &[]);
    }
    match Handover::own(stream, unread, permit) {
        Ok(handover) => land(&inner.hub, attach, handover).await,
        Err(error) => lost_on_its_way(&error),
    }
}

/// Answers the connection's only request. `_permit` is given back when the connection is closed.
async fn write_answer(mut stream: Stream, _permit: Permit, answer: Answer) {
    let mut bytes = Vec::with_capacity(512);
    write_head(&answer, &mut bytes);
    // The head's empty line comes behind what only a whole connection needs.
    bytes.truncate(bytes.len().saturating_sub(2));
    if !answer.headers().contains_key(http::header::CONTENT_LENGTH) {
        bytes.extend_from_slice(format!("content-length: {}\r\n", answer.body().len()).as_bytes());
    }
    if !answer.headers().contains_key(http::header::CONNECTION) {
        bytes.extend_from_slice(b"connection: close\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(answer.body());
    let write = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        // Closing with bytes unread would make the kernel answer with a reset, which may overtake the answer.
        let mut rest = stream.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, write).await {
        tracing::debug!(%error, "an answer was not written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_that_begins_every_connection_is_small() {
        // What is not on the way of a WebSocket upgrade is boxed where it begins.
        let size = size_of_future(serve);
        assert!(size <= 1300, "{size} bytes");
    }
}
