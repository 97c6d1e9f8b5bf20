//! A connection of HTTP/1 requests, by way of hyper; and what is common to those of HTTP/2.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use switchboard_hub::Worker;
use tokio::time::Instant;

use super::keep_alive::{KeepAliveHeader, Patience};
use crate::Peer;
use crate::door::serve::{Served, serve as serve_request};
use crate::door::shutting_down;
use crate::door::upgrade::stream_in_pieces;
use crate::http::body::{BoxError, FallbackBody, ResponseBody};
use crate::http::{Answer, plain};
use crate::server::Server;
use crate::transport::rewind::Rewind;

/// Bytes of a body that are read in one piece, unless heads may be longer.
const READ_BUFFER: usize = 64 << 10;

/// Serves requests until the connection ends or becomes another.
pub(super) async fn serve(server: &Arc<Server>, stream: Rewind, peer: Peer) {
    let clock = Rc::new(Clock::new());
    let keep_alive = KeepAliveHeader::new(&server.listener);
    let is_late = server.closing.load(Ordering::Acquire);
    let service = service_fn(|request: Request<Incoming>| {
        let answering = Answering::new(&clock);
        let keep_alive = keep_alive.of(&request);
        let answer = answer(server, request, peer, is_late);
        async move {
            let mut answer = answer.await;
            KeepAliveHeader::add(keep_alive, answer.headers_mut());
            Ok::<_, Infallible>(answer.map(|body| TimedBody { body, answering }))
        }
    });
    let options = &server.listener;
    let connection = hyper::server::conn::http1::Builder::new()
        // A head and a short body are better copied together than written as two slices.
        .writev(false)
        .max_headers(options.max_headers)
        .max_header_size(options.max_head_bytes)
        .max_buf_size(options.max_head_bytes.max(READ_BUFFER))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let patience = Patience::new(options);
    let first_look = Worker::deadline_from(Instant::now(), patience.step());
    let mut timer = std::pin::pin!(tokio::time::sleep_until(first_look));
    let mut closed = server.idle_end.subscribe();
    let mut closed = std::pin::pin!(closed.wait_for(|closed| *closed));
    let mut watching = Watching::No;
    let ended = poll_fn(|cx| {
        // The task's waker stays the same: what was registered once need not be asked at each request.
        if watching == Watching::No || (watching == Watching::Yes && server.closing.load(Ordering::Acquire)) {
            watching = Watching::Yes;
            if closed.as_mut().poll(cx).is_ready() {
                watching = Watching::Done;
                // One that is idle ends at once, another with the answer to its request.
                connection.as_mut().graceful_shutdown();
            }
        }
        while timer.as_mut().poll(cx).is_ready() {
            match clock.next_look(&patience) {
                Some(next) => timer.as_mut().reset(next),
                None => return Poll::Ready(None),
            }
        }
        connection.as_mut().poll(cx).map(Some)
    });
    match ended.await {
        Some(Ok(())) => {}
        Some(Err(error)) => count(&error),
        None => metrics::counter!("switchboard_head_timeouts_total").increment(1),
    }
}

/// Whether the end of the server is watched for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watching {
    No,
    Yes,
    /// It has come.
    Done,
}

/// Since when a connection awaits the head of a request. hyper has such a clock too, but sets and clears a
/// timer of the runtime for each request; here one for each connection is looked at now and then.
struct Clock {
    /// Requests whose answer is not written.
    answering: Cell<usize>,
    idle_since: Cell<Instant>,
    /// A request was answered.
    is_kept: Cell<bool>,
}

impl Clock {
    fn new() -> Self {
        Self { answering: Cell::new(0), idle_since: Cell::new(Instant::now()), is_kept: Cell::new(false) }
    }

    /// When to look again; `None` when the time for a head is over.
    fn next_look(&self, patience: &Patience) -> Option<Instant> {
        let idle_since = (self.answering.get() == 0).then_some(self.idle_since.get());
        patience.next_look(idle_since, self.is_kept.get())
    }
}

/// A request that is being answered, until it is dropped.
struct Answering(Rc<Clock>);

impl Answering {
    fn new(clock: &Rc<Clock>) -> Self {
        clock.answering.set(clock.answering.get() + 1);
        Self(Rc::clone(clock))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
        self.0.is_kept.set(true);
    }
}

/// The body of an answer, which is being written until it is dropped.
struct TimedBody {
    body: ResponseBody<FallbackBody>,
    #[expect(dead_code, reason = "held until the body is dropped")]
    answering: Answering,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn count(error: &hyper::Error) {
    let reason = match error {
        error if error.is_parse_too_large() => "head too large",
        error if error.is_parse() => "not HTTP",
        error if error.is_incomplete_message() => "incomplete request",
        _ => "connection lost",
    };
    metrics::counter!("switchboard_http_errors_total", "reason" => reason).increment(1);
    tracing::debug!(%error, reason, "an HTTP connection failed");
}

/// Answers a request: ours, or the fallback's. It is decided upon before this returns. `is_late`: its
/// connection began while the server was shutting down, and is for the requests of sessions only.
pub(super) fn answer(
    server: &Arc<Server>,
    mut request: Request<Incoming>,
    peer: Peer,
    is_late: bool,
) -> impl Future<Output = Response<ResponseBody<FallbackBody>>> + use<> {
    let server = Arc::clone(server);
    let peer = server.proxies.resolve(peer, request.headers());
    request.extensions_mut().insert(peer);
    if let Some(address) = peer.address {
        request.extensions_mut().insert(address);
    }
    let serving = serve_request(&server, request, peer);
    async move {
        match serving.await {
            Served::Answer(answer) => own(*answer),
            Served::Stream(parts, asked) => own(stream_in_pieces(&server, parts, asked).await),
            Served::Pass(parts, _) if is_late => own(shutting_down(parts.version)),
            Served::Pass(parts, body) => fallback(&server, Request::from_parts(*parts, body)).await,
        }
    }
}

pub(super) fn own(answer: Answer) -> Response<ResponseBody<FallbackBody>> {
    answer.map(ResponseBody::own)
}

async fn fallback(server: &Server, request: Request<Incoming>) -> Response<ResponseBody<FallbackBody>> {
    let Some(fallback) = server.fallback.get() else {
        return own(plain(StatusCode::NOT_FOUND, "not found\n"));
    };
    match fallback.call(request).await {
        Ok(response) => response.map(ResponseBody::inner),
        Err(error) => {
            metrics::counter!("switchboard_fallback_errors_total").increment(1);
            tracing::warn!(%error, "the fallback service failed");
            own(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
        }
    }
}
