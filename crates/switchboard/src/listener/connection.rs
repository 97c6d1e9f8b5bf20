//! One accepted connection: what its first bytes are decides ([`opening`](super::opening)). A WebSocket upgrade goes the fast path, each other
//! kind to its own function, and every other request of HTTP to hyper.

use std::borrow::Cow;
use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use switchboard_hub::Worker;
use switchboard_websocket::handshake::head;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::first::Speaks;
use super::opening::{First, Lost, first_bytes, first_request};
use super::{flash, http2, polls, requests};
use crate::Peer;
use crate::http::Answer;
use crate::http::decide::{Attach, HixieUpgrade};
use crate::http::hixie::prove;
use crate::http::serve::{check_probe, land, lost_on_its_way};
use crate::http::wire;
use crate::server::Server;
use crate::server::options::after;
use crate::transport::connection::ConnectionTask;
use crate::transport::connection_limit::Permit;
use crate::transport::io::{Handover, Io};
use crate::transport::rewind::Rewind;
use crate::transport::stream::Stream;
use crate::transport::tls::Acceptor;

/// How long a client whose upgrade was refused may go on sending, so that it reads our answer rather than a reset; and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 << 10;

/// Serves a connection from its first byte, until it is a WebSocket: its task is to go on as that one's. `peer`: whom it comes from, as the
/// socket has it.
pub(super) async fn serve(
    worker: Rc<Worker>,
    inner: Arc<Server>,
    mut stream: Stream,
    mut peer: Peer,
    mut permit: Permit,
    tls: Option<Arc<Acceptor>>,
) -> Option<ConnectionTask> {
    let deadline = after(Instant::now(), inner.listener.head_timeout);
    let first = {
        let opening = first_bytes(&worker, &inner, &mut stream, &mut peer, &mut permit, tls.as_deref());
        in_time(&inner, deadline, pin!(opening)).await
    };
    match (first, tls) {
        // What is not the fast path does not make every connection's opening as large as itself.
        (Ok(First::Other(Speaks::Tls, hello)), Some(tls)) => {
            Box::pin(serve_tls(worker, inner, stream, peer, permit, tls, hello, deadline)).await
        }
        (Ok(First::Upgrade { response, attach, unread }), _) if !matches!(attach, Attach::Probe { .. }) => {
            upgrade(&worker, stream, permit, &response, attach, unread)
        }
        (Ok(first), _) => Box::pin(go_on(worker, inner, stream, peer, permit, first)).await,
        (Err(lost), _) => {
            lost.count();
            None
        }
    }
}

/// Shakes hands, then serves what is inside.
#[expect(clippy::too_many_arguments, reason = "they are a connection, taken apart")]
async fn serve_tls(
    worker: Rc<Worker>,
    inner: Arc<Server>,
    stream: Stream,
    mut peer: Peer,
    permit: Permit,
    tls: Arc<Acceptor>,
    hello: Bytes,
    deadline: Instant,
) -> Option<ConnectionTask> {
    let opening = async {
        let mut stream = tls.accept(stream, hello).await?;
        peer.secure = true;
        if stream.speaks_http2() {
            return Ok((stream, First::Other(Speaks::Http2, Bytes::new())));
        }
        let first = first_request(&worker, &inner, &mut stream, &peer, true).await?;
        Ok((stream, first))
    };
    let opened = in_time(&inner, deadline, pin!(opening)).await;
    match opened {
        Ok((stream, first)) => Box::pin(go_on(worker, inner, stream, peer, permit, first)).await,
        Err(lost) => {
            lost.count();
            None
        }
    }
}

/// Does what the first bytes ask for.
async fn go_on(
    worker: Rc<Worker>,
    inner: Arc<Server>,
    mut stream: Stream,
    peer: Peer,
    permit: Permit,
    first: First,
) -> Option<ConnectionTask> {
    match first {
        First::Upgrade { response, attach: attach @ Attach::Probe { .. }, unread } => {
            return Box::pin(upgrade_probe(&worker, &inner, stream, permit, &response, attach, unread)).await;
        }
        // A new session begins on the worker that accepted it.
        First::Upgrade { response, attach, unread } => {
            return upgrade(&worker, stream, permit, &response, attach, unread);
        }
        First::UpgradeHixie(upgrade, unread) => {
            Box::pin(upgrade_hixie(&worker, &inner, stream, permit, *upgrade, unread)).await;
        }
        First::Answer(answer) => Box::pin(write_answer(stream, permit, *answer)).await,
        First::Other(speaks, unread) => {
            let unread = match speaks {
                Speaks::Http1 => polls::serve(&worker, &inner, &mut stream, unread, peer).await,
                _ => Some(unread),
            };
            let unread = unread?;
            let stream = Rewind::new(stream, encode_target(unread), permit);
            match speaks {
                Speaks::FlashPolicy if inner.drafts => {
                    flash::answer(&inner.listener.flash_policy, stream).await;
                }
                Speaks::Http2 if inner.listener.http2.enabled => {
                    Box::pin(http2::serve(&inner, stream, peer)).await;
                }
                // hyper refuses what is not HTTP/1.
                Speaks::Http1 | Speaks::Http2 | Speaks::FlashPolicy | Speaks::Tls => {
                    let stream = stream.with_write_timeout(inner.listener.write_timeout);
                    Box::pin(requests::serve(&inner, stream, peer)).await;
                }
            }
        }
    }
    None
}

/// Opens a connection within the time that there is for a head, and while the server is not shutting down.
async fn in_time<T>(
    inner: &Server,
    deadline: Instant,
    opening: Pin<&mut impl Future<Output = Result<T, Lost>>>,
) -> Result<T, Lost> {
    let opening = async {
        let mut closed = inner.closed.subscribe();
        tokio::select! {
            biased;
            opened = opening => opened,
            _ = closed.wait_for(|closed| *closed) => Err(Lost::ShuttingDown),
        }
    };
    // Bytes that are there already are read before a timer is set, or the shutting down is waited for.
    tokio::time::timeout_at(deadline, opening).await.unwrap_or(Err(Lost::Late))
}

/// Turns the connection into a WebSocket one of this worker's.
fn upgrade(
    worker: &Rc<Worker>,
    stream: Stream,
    permit: Permit,
    response: &Response<()>,
    attach: Attach,
    unread: Bytes,
) -> Option<ConnectionTask> {
    let driver = Cell::new(None);
    // The answer goes out with the session's first packet, in one write.
    worker.with_scratch(|head| {
        wire::write_head(response, head);
        attach.land(worker, Io::Own(stream, permit), unread, head, Some(&driver));
    });
    driver.into_inner()
}

/// As [`upgrade`], of a connection that belongs to a session which is there already, be it another worker's.
async fn upgrade_probe(
    worker: &Rc<Worker>,
    inner: &Arc<Server>,
    mut stream: Stream,
    permit: Permit,
    response: &Response<()>,
    attach: Attach,
    unread: Bytes,
) -> Option<ConnectionTask> {
    if let Err(answer) = check_probe(&inner.hub, &attach).await {
        write_answer(stream, permit, answer).await;
        return None;
    }
    if attach.worker(&inner.hub) == worker.id() {
        return upgrade(worker, stream, permit, response, attach, unread);
    }
    let mut head = Vec::with_capacity(256);
    wire::write_head(response, &mut head);
    // An empty send buffer takes the head at once.
    let handover = match stream.write_all(&head).await {
        Ok(()) => Handover::own(stream, unread, permit),
        Err(error) => Err(error),
    };
    match handover {
        Ok(handover) => land(&inner.hub, attach, handover).await,
        Err(error) => lost_on_its_way(&error),
    }
    None
}

/// Turns the connection into a WebSocket one of hixie-75 or -76, of this worker or, where its session is another's, of that one.
async fn upgrade_hixie(
    worker: &Rc<Worker>,
    inner: &Arc<Server>,
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
        _ = closed.wait_for(|closed| *closed) => return Lost::ShuttingDown.count(),
    };
    match shaken {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Lost::Io(error).count(),
        Err(_late) => return Lost::Late.count(),
    }
    if !matches!(attach, Attach::Probe { .. }) || attach.worker(&inner.hub) == worker.id() {
        return attach.land(worker, Io::Own(stream, permit), unread, &[], None);
    }
    match Handover::own(stream, unread, permit) {
        Ok(handover) => land(&inner.hub, attach, handover).await,
        Err(error) => lost_on_its_way(&error),
    }
}

/// The bytes that a request begins with, its target percent-encoded where clients leave that out. hyper takes no other.
fn encode_target(bytes: Bytes) -> Bytes {
    let line = bytes.get(..memchr::memchr(b'\n', &bytes).unwrap_or(0)).unwrap_or_default();
    let (Some(begin), Some(end)) = (memchr::memchr(b' ', line), memchr::memrchr(b' ', line)) else {
        return bytes;
    };
    let Some(Cow::Owned(encoded)) = bytes.get(begin + 1..end).map(head::encode_target) else { return bytes };
    let around = |range| bytes.get(range).unwrap_or_default();
    [around(0..begin + 1), &encoded, around(end..bytes.len())].concat().into()
}

/// Answers the connection's only request. `_permit` is given back when the connection is closed.
async fn write_answer(mut stream: Stream, _permit: Permit, answer: Answer) {
    let mut bytes = Vec::with_capacity(512);
    wire::write_answer(&answer, None, &mut bytes);
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

    fn size_of_future<A, B, C, D, E, F, G>(_: impl FnOnce(A, B, C, D, E, F) -> G) -> usize {
        size_of::<G>()
    }

    #[test]
    fn what_begins_every_connection_is_small() {
        // What is not on the way of a WebSocket upgrade is boxed where it begins.
        let size = size_of_future(serve);
        assert!(size <= 1400, "{size} bytes");
    }
}
