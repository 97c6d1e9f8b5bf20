//! The streams of one HTTP/2 connection: how many are open, since when there is none, how many requests were
//! given up, and how much of their answers is not sent.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body::{BoxError, FallbackBody, ResponseBody};
use crate::transport::connection_limit::{ConnectionLimit, Permit, Refusal};

/// The counts of a connection. They are atomics because a WebSocket may be driven by another worker than its
/// connection.
#[derive(Debug)]
pub(crate) struct Streams {
    begun: Instant,
    /// Requests whose answer is not sent, and WebSockets.
    open: AtomicUsize,
    /// When the last one ended, in milliseconds since the beginning.
    idle_since: AtomicU64,
    /// Requests that were taken back before their answer.
    abandoned: AtomicUsize,
    /// Bytes of answers that `h2` holds for as long as the client does not take them.
    unsent: AtomicUsize,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            open: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            abandoned: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
        })
    }

    /// Since when no stream is open; `None` while one is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let since = self.begun + Duration::from_millis(self.idle_since.load(Ordering::Acquire));
        (!self.are_open()).then_some(since)
    }

    /// Whether any stream has ended.
    pub(crate) fn had_any(&self) -> bool {
        self.idle_since.load(Ordering::Acquire) > 0
    }

    pub(crate) fn are_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Requests that were taken back since [`forget_abandoned`](Self::forget_abandoned).
    pub(crate) fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Acquire)
    }

    pub(crate) fn forget_abandoned(&self) {
        self.abandoned.store(0, Ordering::Release);
    }

    /// Bytes of answers that are not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Acquire)
    }
}

/// A stream that is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Arc<Streams>,
    /// Its request awaits its answer.
    asking: bool,
}

impl OpenStream {
    /// A request that has come.
    pub(crate) fn asking(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::AcqRel);
        Self { streams: Arc::clone(streams), asking: true }
    }

    /// Its answer is there.
    pub(crate) fn answered(mut self) -> Self {
        self.asking = false;
        self
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.asking {
            self.streams.abandoned.fetch_add(1, Ordering::AcqRel);
        }
        // Zero is for a connection without any request.
        let since = (self.streams.begun.elapsed().as_millis() as u64).max(1);
        self.streams.idle_since.store(since, Ordering::Release);
        self.streams.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a request over HTTP/2 carries, so that the WebSocket it may become has a place of its own.
#[derive(Debug, Clone)]
pub(crate) struct StreamPlace {
    streams: Arc<Streams>,
    /// The address that its connection is counted for.
    address: Option<IpAddr>,
}

impl StreamPlace {
    pub(crate) fn new(streams: &Arc<Streams>, address: Option<IpAddr>) -> Self {
        Self { streams: Arc::clone(streams), address }
    }

    /// A place for a WebSocket, which counts as a connection.
    pub(crate) fn enter(&self, connections: &Arc<ConnectionLimit>) -> Result<Permit, Refusal> {
        let mut permit = connections.enter()?;
        if let Some(address) = self.address {
            permit.count_for(address)?;
        }
        permit.keep(OpenStream::asking(&self.streams).answered());
        Ok(permit)
    }
}

/// The body of an answer, whose stream is open until all of it is sent.
pub(crate) struct StreamBody {
    body: ResponseBody<FallbackBody>,
    stream: Arc<OpenStream>,
}

impl StreamBody {
    pub(crate) fn new(body: ResponseBody<FallbackBody>, stream: OpenStream) -> Self {
        Self { body, stream: Arc::new(stream) }
    }
}

impl Body for StreamBody {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|frame| Some(frame?.map(|frame| frame.map_data(|bytes| Piece::new(bytes, &self.stream)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer on their way.
pub(crate) struct Piece {
    bytes: Bytes,
    stream: Arc<OpenStream>,
}

impl Piece {
    fn new(bytes: Bytes, stream: &Arc<OpenStream>) -> Self {
        stream.streams.unsent.fetch_add(bytes.len(), Ordering::AcqRel);
        Self { bytes, stream: Arc::clone(stream) }
    }

    fn sent(&self, bytes: usize) {
        self.stream.streams.unsent.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, sent: usize) {
        self.bytes.advance(sent);
        self.sent(sent);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.sent(self.bytes.len());
    }
}
