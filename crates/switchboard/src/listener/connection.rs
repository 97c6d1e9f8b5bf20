//! One accepted connection: the fast path for a WebSocket upgrade that comes first, hyper for everything else.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use switchboard_hub::Worker;
use switchboard_websocket::handshake::head::{Head, HeadLimits};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::gate::Permit;
use super::rewind::Rewind;
use super::{FallbackBody, ListenerOptions};
use crate::Peer;
use crate::http::service::ResponseBody;
use crate::http::decide::{Attach, Decision, decide};
use crate::http::serve::{Served, check_probe, land, serve as serve_request, write_head};
use crate::http::{Answer, plain};
use crate::switchboard::Inner;
use crate::transport::io::{Handover, Io};

/// Serves a connection from its first byte.
pub(super) async fn serve(
    worker: Rc<Worker>,
    inner: Arc<Inner>,
    mut stream: TcpStream,
    address: SocketAddr,
    permit: Permit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "a connection was lost before it was served");
    }
    let first = tokio::time::timeout(inner.listener.head_timeout, first_read(&worker, &inner, &mut stream)).await;
    let first = match first {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection was lost before it was served"),
        Err(_late) => {
            metrics::counter!("switchboard_head_timeouts_total").increment(1);
            return;
        }
    };
    let peer = Peer::new(address);
    match first {
        First::Upgrade { response, attach, unread } => {
            upgrade(&worker, &inner, stream, permit, &response, attach, unread).await;
        }
        First::Answer(answer) => {
            if let Err(error) = write_answer(&mut stream, &answer).await {
                tracing::debug!(%error, "an answer was not written");
            }
        }
        First::Other(unread) => {
            if let Err(error) = hyper(&inner, Rewind::new(stream, unread, permit), peer).await {
                tracing::debug!(%error, "a connection ended");
            }
        }
    }
}

/// What the first bytes of a connection are.
enum First {
    Upgrade { response: Response<()>, attach: Attach, unread: Bytes },
    Answer(Answer),
    /// For hyper.
    Other(Bytes),
}

/// Reads once, into the worker's buffer, and decides on the request if its head is whole.
async fn first_read(worker: &Rc<Worker>, inner: &Arc<Inner>, stream: &mut TcpStream) -> io::Result<Option<First>> {
    let address = stream.peer_addr()?;
    poll_fn(|cx| {
        let mut buffer = worker.take_read_buffer();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut read);
        let first = polled.map_ok(|()| {
            let bytes = read.filled();
            (!bytes.is_empty()).then(|| look(inner, bytes, Peer::new(address)))
        });
        worker.put_read_buffer(buffer);
        first
    })
    .await
}

fn look(inner: &Inner, bytes: &[u8], peer: Peer) -> First {
    let other = || First::Other(Bytes::copy_from_slice(bytes));
    if !bytes.starts_with(b"GET ") {
        return other();
    }
    // What is malformed or too long is hyper's to refuse.
    let Ok(Some((parts, len))) = Head::new(head_limits(&inner.listener)).request(bytes) else { return other() };
    if !parts.headers.contains_key(UPGRADE) {
        return other();
    }
    let peer = inner.proxies.resolve(peer, &parts.headers);
    match decide(inner, &parts, peer) {
        Decision::Upgrade(response, attach) => {
            let unread = Bytes::copy_from_slice(bytes.get(len..).unwrap_or_default());
            First::Upgrade { response, attach, unread }
        }
        Decision::Answer(answer) => First::Answer(answer),
        Decision::Pass | Decision::Poll(_) => other(),
    }
}

fn head_limits(options: &ListenerOptions) -> HeadLimits {
    HeadLimits::default().max_bytes(options.max_head_bytes).max_headers(options.max_headers)
}

/// Turns the connection into a WebSocket one, here or on the worker that its session belongs to.
async fn upgrade(
    worker: &Rc<Worker>,
    inner: &Arc<Inner>,
    mut stream: TcpStream,
    permit: Permit,
    response: &Response<()>,
    attach: Attach,
    unread: Bytes,
) {
    let refused = check_probe(&inner.hub, &attach).await;
    if let Err(answer) = refused {
        let _gone = write_answer(&mut stream, &answer).await;
        return;
    }
    if attach.worker(&inner.hub) == worker.id() {
        // The answer goes out with the session's first packet, in one write.
        return worker.with_scratch(|head| {
            write_head(response, head);
            attach.land(worker, Io::Tcp(stream, Some(permit)), unread, head);
        });
    }
    let mut head = Vec::with_capacity(256);
    write_head(response, &mut head);
    if stream.write_all(&head).await.is_ok() {
        match Handover::tcp(stream, unread, Some(permit)) {
            Ok(handover) => land(&inner.hub, attach, handover).await,
            Err(error) => tracing::debug!(%error, "a connection was lost on its way to its worker"),
        }
    }
}

async fn write_answer(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(512);
    write_head(answer, &mut bytes);
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
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

async fn hyper(inner: &Arc<Inner>, stream: Rewind, peer: Peer) -> hyper::Result<()> {
    let service = service_fn(|mut request: Request<Incoming>| {
        let inner = Arc::clone(inner);
        async move {
            let peer = inner.proxies.resolve(peer, request.headers());
            request.extensions_mut().insert(peer);
            if let Some(address) = peer.address {
                request.extensions_mut().insert(address);
            }
            Ok::<_, Infallible>(match serve_request(&inner, request, peer).await {
                Served::Answer(answer) => own(answer),
                Served::Pass(request) => fallback(&inner, request).await,
            })
        }
    });
    let options = &inner.listener;
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_headers(options.max_headers)
        .max_buf_size(options.max_head_bytes.max(8192))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut closed = inner.closed.subscribe();
    tokio::select! {
        result = connection.as_mut() => return result,
        _ = closed.wait_for(|closed| *closed) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn own(answer: Answer) -> Response<ResponseBody<FallbackBody>> {
    answer.map(|body| Either::Left(Full::new(body)))
}

async fn fallback(inner: &Inner, request: Request<Incoming>) -> Response<ResponseBody<FallbackBody>> {
    let Some(fallback) = inner.fallback.get() else { return own(plain(http::StatusCode::NOT_FOUND, "not found\n")) };
    match fallback.call(request).await {
        Ok(response) => response.map(Either::Right),
        Err(error) => {
            tracing::warn!(%error, "the fallback service failed");
            own(plain(http::StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
        }
    }
}
