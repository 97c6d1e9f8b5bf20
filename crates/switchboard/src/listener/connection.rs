//! One accepted connection: what its first bytes are decides ([`opening`](super::opening)). A WebSocket
//! upgrade goes the fast path, each other kind to its own function, and every other request of HTTP to hyper.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use switchboard_hub::Worker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::first::Speaks;
use super::opening::{First, Later, Lost};
use super::polls::{self, Left};
use super::{flash, http2, requests};
use crate::Peer;
use crate::door::resolve;
use crate::door::serve::{Served, serve_decided};
use crate::door::upgrade::{check, land, lost_on_its_way, start};
use crate::http::hixie::{DraftAnswer, prove};
use crate::http::mount::{Decision, Upgrade, Upgraded};
use crate::http::{Answer, plain, wire};
use crate::server::Server;
use crate::transport::connection::ConnectionTask;
use crate::transport::connection_limit::Permit;
use crate::transport::io::{Handover, Io};
use crate::transport::rewind::Rewind;
use crate::transport::stream::Stream;
use crate::transport::tls::Acceptor;

/// How long a client whose upgrade was refused may go on sending, so that it reads our answer rather than a
/// reset; and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 << 10;

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) worker: Rc<Worker>,
    pub(super) server: Arc<Server>,
    pub(super) stream: Stream,
    /// Whom it comes from: as the socket has it, or as the PROXY protocol says.
    pub(super) peer: Peer,
    pub(super) permit: Permit,
}

/// Serves a connection from its first byte, until it is a WebSocket: its task is to go on as that one's.
pub(super) async fn serve(mut accepted: Accepted, tls: Option<Arc<Acceptor>>) -> Option<ConnectionTask> {
    let server = Arc::clone(&accepted.server);
    let deadline = Worker::deadline_from(Instant::now(), server.listener.head_timeout);
    let first = in_time(&server, deadline, pin!(accepted.first_bytes(tls.as_deref()))).await;
    match (first, tls) {
        // What is not the fast path does not make every connection's opening as large as itself.
        (Ok(First::Other(Speaks::Tls, hello)), Some(tls)) => {
            Box::pin(accepted.serve_tls(tls, hello, deadline)).await
        }
        (Ok(First::Upgrade(upgrade, unread)), _) if is_of_any_worker(&upgrade) => {
            accepted.start(upgrade, unread)
        }
        (Ok(first), _) => Box::pin(accepted.go_on(first)).await,
        (Err(lost), _) => {
            lost.count();
            None
        }
    }
}

/// Whether the upgraded connection may begin where it was accepted, with its answer.
fn is_of_any_worker(upgrade: &Upgrade) -> bool {
    upgrade.draft.is_none() && upgrade.target.worker().is_none()
}

/// Opens a connection within the time that there is for a head, and until a shutdown ends idle connections.
async fn in_time<T>(
    server: &Server,
    deadline: Instant,
    opening: Pin<&mut impl Future<Output = Result<T, Lost>>>,
) -> Result<T, Lost> {
    let opening = async {
        let mut ended = server.idle_end.subscribe();
        tokio::select! {
            biased;
            opened = opening => opened,
            _ = ended.wait_for(|ended| *ended) => Err(Lost::ShuttingDown),
        }
    };
    // Bytes that are there already are read before a timer is set, or the shutting down is waited for.
    tokio::time::timeout_at(deadline, opening).await.unwrap_or(Err(Lost::Late))
}

impl Accepted {
    /// Shakes hands, then serves what is inside.
    async fn serve_tls(self, tls: Arc<Acceptor>, hello: Bytes, deadline: Instant) -> Option<ConnectionTask> {
        let server = Arc::clone(&self.server);
        let opening = async {
            let Self { worker, server, stream, mut peer, permit } = self;
            let stream = tls.accept(stream, hello).await?;
            peer.secure = true;
            let mut accepted = Self { worker, server, stream, peer, permit };
            if accepted.stream.speaks_http2() {
                return Ok((accepted, First::Other(Speaks::Http2, Bytes::new())));
            }
            let first = accepted.first_request(true).await?;
            Ok((accepted, first))
        };
        match in_time(&server, deadline, pin!(opening)).await {
            Ok((accepted, first)) => Box::pin(accepted.go_on(first)).await,
            Err(lost) => {
                lost.count();
                None
            }
        }
    }

    /// Does what the first bytes ask for.
    async fn go_on(self, first: First) -> Option<ConnectionTask> {
        match first {
            First::Upgrade(upgrade, unread) if is_of_any_worker(&upgrade) => {
                return self.start(upgrade, unread);
            }
            First::Upgrade(upgrade, unread) => return Box::pin(self.upgrade(upgrade, unread)).await,
            First::Answer(answer) => Box::pin(self.write_answer(*answer)).await,
            First::Later(later) => return Box::pin(self.decide_later(*later)).await,
            First::Other(speaks, unread) => return self.serve_other(speaks, unread).await,
        }
        None
    }

    /// Serves what is not the fast path's.
    async fn serve_other(mut self, speaks: Speaks, unread: Bytes) -> Option<ConnectionTask> {
        let left = match speaks {
            Speaks::Http1 => {
                polls::serve(&self.worker, &self.server, &mut self.stream, unread, self.peer).await
            }
            _ => Left::Unread(unread),
        };
        match left {
            Left::Nothing => {}
            Left::Unread(unread) => self.serve_http(speaks, unread).await,
            Left::Stream(upgrade, unread) => return Box::pin(self.upgrade(*upgrade, unread)).await,
        }
        None
    }

    /// Serves a connection whose bytes another server reads: hyper, mostly.
    async fn serve_http(self, speaks: Speaks, unread: Bytes) {
        let Self { server, stream, peer, permit, .. } = self;
        let stream = Rewind::new(stream, unread, permit);
        match speaks {
            Speaks::FlashPolicy if server.drafts => {
                flash::answer(&server.listener.flash_policy, stream).await;
            }
            Speaks::Http2 if server.listener.http2.enabled => {
                Box::pin(http2::serve(&server, stream, peer)).await;
            }
            // hyper refuses what is not HTTP/1.
            Speaks::Http1 | Speaks::Http2 | Speaks::FlashPolicy | Speaks::Tls => {
                let timeout = server.listener.write_timeout;
                let stream = stream.with_encoded_targets().with_write_timeout(timeout);
                Box::pin(requests::serve(&server, stream, peer)).await;
            }
        }
    }

    /// Awaits the decision on a request for an upgrade, and listens for the end of the client meanwhile.
    async fn decide_later(mut self, later: Later) -> Option<ConnectionTask> {
        let Later { decision, parts, unread } = later;
        let mut ahead = Vec::from(unread);
        let decision = {
            let mut deciding = pin!(resolve(&self.server, decision));
            let (worker, stream) = (&self.worker, &mut self.stream);
            poll_fn(|cx| {
                if let Poll::Ready(decision) = deciding.as_mut().poll(cx) {
                    return Poll::Ready(Some(decision));
                }
                ready!(polls::poll_ahead(worker, stream, &mut ahead, cx));
                Poll::Ready(None)
            })
            .await?
        };
        match decision {
            Decision::Upgrade(upgrade) => self.upgrade(upgrade, ahead.into()).await,
            decision => {
                let answer = match serve_decided(&self.server, parts, Empty::new(), decision).await {
                    Served::Answer(answer) => *answer,
                    Served::Pass(..) | Served::Stream(..) => plain(StatusCode::NOT_FOUND, "not found\n"),
                };
                self.write_answer(answer).await;
                None
            }
        }
    }

    /// Turns the connection into one of this worker's. The answer goes out with the session's first packet,
    /// in one write.
    fn start(self, upgrade: Upgrade, unread: Bytes) -> Option<ConnectionTask> {
        let Self { worker, stream, permit, .. } = self;
        worker.with_scratch(|head| {
            write_head(&upgrade, head);
            let io = Io::Own(stream, permit);
            let streaming = upgrade.streaming;
            start(upgrade.target, &worker, Upgraded { io, unread, answer: head, streaming })
        })
    }

    /// As [`start`](Self::start), of a connection whose session may be another worker's, or whose handshake
    /// takes longer.
    async fn upgrade(mut self, mut upgrade: Upgrade, mut unread: Bytes) -> Option<ConnectionTask> {
        if let Err(answer) = check(&self.server.hub, &*upgrade.target).await {
            self.write_answer(answer).await;
            return None;
        }
        let is_here = upgrade.target.worker().is_none_or(|worker| worker == self.worker.id());
        if is_here && upgrade.draft.is_none() {
            return self.start(upgrade, unread);
        }
        let head = upgrade.draft.take().map_or_else(
            || {
                let mut head = Vec::with_capacity(256);
                write_head(&upgrade, &mut head);
                DraftAnswer { head, challenge: None }
            },
            |draft| *draft,
        );
        if let Err(lost) = self.shake_hands(head, &mut unread).await {
            lost.count();
            return None;
        }
        let Self { worker, server, stream, permit, .. } = self;
        if is_here {
            let io = Io::Own(stream, permit);
            let upgraded = Upgraded { io, unread, answer: &[], streaming: None };
            return start(upgrade.target, &worker, upgraded);
        }
        match Handover::own(stream, unread, permit) {
            Ok(handover) => land(&server.hub, upgrade.target, handover, upgrade.streaming).await,
            Err(error) => lost_on_its_way(&error),
        }
        None
    }

    /// Writes the head of an answer, and proves to a client of hixie-76 that it was read.
    async fn shake_hands(&mut self, answer: DraftAnswer, unread: &mut Bytes) -> Result<(), Lost> {
        let deadline = Worker::deadline_from(Instant::now(), self.server.listener.head_timeout);
        let stream = &mut self.stream;
        let shake_hands = async {
            stream.write_all(&answer.head).await?;
            match answer.challenge {
                Some(challenge) => Ok(prove(stream, challenge, unread).await?),
                None => Ok(stream.flush().await?),
            }
        };
        in_time(&self.server, deadline, pin!(shake_hands)).await
    }

    /// Answers the connection's only request.
    async fn write_answer(self, answer: Answer) {
        let Self { mut stream, permit, .. } = self;
        let mut bytes = Vec::with_capacity(512);
        wire::write_answer(&answer, None, &mut bytes);
        let write = async {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            // Closing with bytes unread would make the kernel answer with a reset, which may overtake the
            // answer.
            let mut rest = stream.take(LINGER_BYTES);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(LINGER, write).await {
            tracing::debug!(%error, "an answer was not written");
        }
        // The connection has its place until it is closed.
        drop(permit);
    }
}

/// The head of the answer to a request whose connection becomes another's.
fn write_head(upgrade: &Upgrade, out: &mut Vec<u8>) {
    match upgrade.streaming {
        Some(wire) => wire::write_streaming_head(&upgrade.response, wire, out),
        None => wire::write_head(&upgrade.response, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_that_begins_every_connection_is_small() {
        // What is not on the way of a WebSocket upgrade is boxed where it begins.
        let size = size_of_future(serve);
        assert!(size <= 1400, "{size} bytes");
    }
}
