//! A connection of HTTP/2, by way of hyper: many requests at once, and many WebSockets by extended CONNECT.
//!
//! [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113), [RFC 8441](https://www.rfc-editor.org/rfc/rfc8441).
//! Requests are answered by the same functions as those over HTTP/1. What one client can make a connection
//! hold or do is bounded: by `h2` for frames (small and empty DATA, CONTINUATION, resets of requests not yet
//! looked at), here for requests that are taken back, and answers that are not taken.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use http::header::CONNECTION;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use switchboard_hub::Worker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tracing::Instrument;

use super::keep_alive::Patience;
use super::requests::{answer, own};
use crate::Peer;
use crate::http::streams::{OpenStream, StreamBody, StreamPlace, Streams};
use crate::http::{Answer, plain, refused};
use crate::server::Server;

/// Bytes read before the streams they were for have their turn: what they have not taken counts against
/// bounds.
const READ_A_TURN: usize = 64 << 10;

/// Bytes of one stream that wait in `h2`, beside those that its outbox holds.
const SEND_BUFFER: usize = 64 << 10;

/// Streams that we may reset for errors of the client's.
const MAX_ERRORS: usize = 64;

/// Streams that a client may have reset before they were looked at.
const MAX_EARLY_RESETS: usize = 64;

/// Times as many requests as may be open at once may be taken back before their answer, in the time that
/// there is for a head.
const ABANDONED_PER_STREAM: usize = 4;

/// Bytes of answers that a client may have asked for and not take.
const MAX_UNSENT: usize = 64 << 20;

/// How long a connection that was idle is heard once it was told that it ends.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// How a connection ended.
enum End {
    Closed(hyper::Result<()>),
    /// Nothing was asked for in time.
    Idle,
    /// Too many requests were taken back, or too much of their answers is not taken.
    Flood,
}

/// Serves requests until the connection ends. `stream` holds its place among the connections.
pub(super) async fn serve<T>(server: &Arc<Server>, stream: T, peer: Peer)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    metrics::counter!("switchboard_http2_connections_total").increment(1);
    let streams = Streams::new();
    let place = StreamPlace::new(&streams, peer.ip());
    let is_late = server.closing.load(Ordering::Acquire);
    let service = service_fn(|mut request: Request<Incoming>| {
        let open = OpenStream::asking(&streams);
        request.extensions_mut().insert(place.clone());
        let answering = match refuse(server, &request) {
            Some(refusal) => Err(refusal),
            None => Ok(answer(server, request, peer, is_late)),
        };
        async move {
            let mut answer = match answering {
                Ok(answering) => answering.await,
                Err(refusal) => own(refusal),
            };
            // It says what becomes of a connection, which is not a request's to say here.
            answer.headers_mut().remove(CONNECTION);
            let open = open.answered();
            Ok::<_, Infallible>(answer.map(|body| StreamBody::new(body, open)))
        }
    });
    let turn = Rc::new(Cell::new(READ_A_TURN));
    let stream = TokioIo::new(Turns { stream, left: Rc::clone(&turn) });
    let connection = std::pin::pin!(builder(server).serve_connection(stream, service));
    match drive(server, connection, Connection::graceful_shutdown, &streams, &turn).await {
        End::Closed(Ok(())) | End::Idle => {}
        End::Closed(Err(error)) => count(failure(&error), &error),
        End::Flood => count("flood", &"too many requests were taken back, or their answers not taken"),
    }
}

fn builder(server: &Server) -> Builder<OnThisThread> {
    let (listener, options) = (&server.listener, &server.listener.http2);
    let mut builder = Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(options.max_streams)
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_header_list_size(u32::try_from(listener.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(MAX_ERRORS)
        .max_pending_accept_reset_streams(MAX_EARLY_RESETS)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout);
    builder
}

/// What is refused before anyone is asked.
fn refuse(server: &Server, request: &Request<Incoming>) -> Option<Answer> {
    if request.headers().len() > server.listener.max_headers {
        refused("http", "too many headers");
        return Some(plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers\n"));
    }
    if request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none() {
        refused("http", "connect");
        return Some(plain(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy\n"));
    }
    None
}

/// Drives a connection to its end, and watches the time and the server's own end meanwhile.
async fn drive<C>(
    server: &Server,
    mut connection: Pin<&mut C>,
    say_goodbye: impl Fn(Pin<&mut C>),
    streams: &Streams,
    turn: &Cell<usize>,
) -> End
where
    C: Future<Output = hyper::Result<()>>,
{
    let patience = Patience::new(&server.listener);
    let max_abandoned = ABANDONED_PER_STREAM.saturating_mul(server.listener.http2.max_streams as usize);
    let first_look = Worker::deadline_from(Instant::now(), patience.step());
    let mut timer = std::pin::pin!(tokio::time::sleep_until(first_look));
    let mut closed = server.idle_end.subscribe();
    let mut closed = std::pin::pin!(closed.wait_for(|closed| *closed));
    let (mut watching, mut leaving) = (false, false);
    poll_fn(|cx| {
        turn.set(READ_A_TURN);
        // The task's waker stays the same: what was registered once need not be asked each time.
        let look = !watching || server.closing.load(Ordering::Acquire);
        if !leaving && look && closed.as_mut().poll(cx).is_ready() {
            leaving = true;
            // GOAWAY: requests that are under way are answered, and WebSockets closed by their sessions.
            say_goodbye(connection.as_mut());
        }
        watching = true;
        while timer.as_mut().poll(cx).is_ready() {
            match patience.next_look(streams.idle_since(), streams.had_any()) {
                Some(next) => {
                    streams.forget_abandoned();
                    timer.as_mut().reset(next);
                }
                None if leaving => return Poll::Ready(End::Idle),
                None => {
                    metrics::counter!("switchboard_head_timeouts_total").increment(1);
                    leaving = true;
                    say_goodbye(connection.as_mut());
                    // A request that is on its way now is answered.
                    timer.as_mut().reset(Instant::now() + GOODBYE_TIME);
                }
            }
        }
        if streams.abandoned() > max_abandoned || streams.unsent() > MAX_UNSENT {
            say_goodbye(connection.as_mut());
            // What it has to say yet is written, as far as the client reads.
            let _ended = connection.as_mut().poll(cx);
            return Poll::Ready(End::Flood);
        }
        connection.as_mut().poll(cx).map(End::Closed)
    })
    .await
}

/// Why a connection failed.
fn failure(error: &hyper::Error) -> &'static str {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    match cause.and_then(h2::Error::reason) {
        Some(Reason::ENHANCE_YOUR_CALM) => "flood",
        // The client's own word, or that of hyper for a ping that was not answered.
        _ if cause.is_none_or(|cause| cause.is_io() || cause.is_remote()) => "connection lost",
        _ => "not HTTP",
    }
}

fn count(reason: &'static str, error: &dyn fmt::Display) {
    metrics::counter!("switchboard_http_errors_total", "reason" => reason).increment(1);
    tracing::debug!(%error, reason, "an HTTP/2 connection failed");
}

/// Runs the tasks of a connection's streams on its worker.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        let span = tracing::Span::current();
        // A task that nobody traces does not carry a span about.
        if span.is_disabled() {
            tokio::task::spawn_local(task);
        } else {
            tokio::task::spawn_local(task.instrument(span));
        }
    }
}

/// A byte stream that gives no more than so many bytes a turn.
struct Turns<T> {
    stream: T,
    left: Rc<Cell<usize>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Turns<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        self.left.set(self.left.get().saturating_sub(read));
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Turns<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
