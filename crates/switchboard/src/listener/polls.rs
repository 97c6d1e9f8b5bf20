//! Long polls on a connection of our own listener, without hyper: what a poll and a short POST need of [RFC
//! 9112](https://www.rfc-editor.org/rfc/rfc9112), and no more. A request of any other kind is not touched:
//! hyper has its bytes, and the connection from there on. Both ask the same function what to do (`door/`).
//!
//! A poll that waits keeps no buffer and no part of its request, and its answer goes out in one write.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::{self, Context, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use http_body_util::Full;
use switchboard_hub::Worker;
use switchboard_websocket::handshake::head::{Head, HeadLimits, HeaderNames};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::Peer;
use crate::door::serve::{Served, serve_found};
use crate::http::body::BodyKind;
use crate::http::mount::{Found, Upgrade};
use crate::http::wire::write_answer;
use crate::http::{Answer, plain};
use crate::proxies::FORWARDED;
use crate::server::Server;
use crate::server::options::ListenerOptions;
use crate::transport::framing::{LAST_CHUNK, write_chunk};

/// Bytes that a client may send behind a request before it has its answer. From there on they stay in the
/// kernel, and with them the end of the connection.
const AHEAD: usize = 8 << 10;

/// The headers by which [`framing`] judges a request, and those by which proxies name its client.
static OWN: LazyLock<HeaderNames> = LazyLock::new(|| {
    let framing = [CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE];
    framing.into_iter().chain(FORWARDED).collect()
});

/// The rest of a connection on which polls were served.
pub(super) enum Left {
    /// It has ended.
    Nothing,
    /// These bytes, and all behind them, are for hyper to read.
    Unread(Bytes),
    /// It becomes a streaming answer. These bytes came behind the request.
    Stream(Box<Upgrade>, Bytes),
}

/// Serves polls for as long as nothing else comes. `bytes` were read already.
pub(super) async fn serve<S>(
    worker: &Worker,
    server: &Arc<Server>,
    stream: &mut S,
    mut bytes: Bytes,
    peer: Peer,
) -> Left
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut idle = Idle::new(server);
    loop {
        let read = if bytes.is_empty() {
            idle.read(worker, stream, |bytes| take(server, bytes)).await
        } else {
            Some(take(server, &bytes))
        };
        let Poll { found, parts, body, is_last, behind } = match read {
            Some(Read::Poll(poll)) => poll,
            Some(Read::Other(bytes)) => return Left::Unread(bytes),
            None => return Left::Nothing,
        };
        let peer = server.proxies.resolve(peer, &parts.headers);
        let mut ahead = behind;
        let answer = {
            let serving = pin!(serve_found(server, found, parts, body, peer));
            answered(worker, stream, serving, &mut ahead).await
        };
        let answer = match answer {
            Some(Ok(answer)) => answer,
            Some(Err(stream)) => return Left::Stream(stream, ahead.into()),
            None => return Left::Nothing,
        };
        let is_last = is_last || server.ends_idle();
        let goes_on = write(worker, stream, answer, is_last, &mut ahead, &server.listener).await;
        if !goes_on.is_ok_and(|goes_on| goes_on) {
            return Left::Nothing;
        }
        bytes = ahead.into();
        idle.patience = server.listener.keep_alive_timeout;
    }
}

/// What was read.
enum Read {
    Poll(Poll),
    Other(Bytes),
}

/// A poll, or a POST whose body came with it.
struct Poll {
    found: Found,
    parts: Box<Parts>,
    body: Full<Bytes>,
    /// The client wants the connection closed behind the answer.
    is_last: bool,
    behind: Vec<u8>,
}

fn take(server: &Server, bytes: &[u8]) -> Read {
    poll_of(server, bytes).map_or_else(|| Read::Other(Bytes::copy_from_slice(bytes)), Read::Poll)
}

/// The poll that the bytes begin with, if it is whole, and its like is all that it is.
fn poll_of(server: &Server, bytes: &[u8]) -> Option<Poll> {
    if !bytes.starts_with(b"GET ") && !bytes.starts_with(b"POST ") {
        return None;
    }
    let options = &server.listener;
    let limits = HeadLimits::default().max_bytes(options.max_head_bytes).max_headers(options.max_headers);
    let mounts = server.mounts.load();
    let mut found = None;
    let names = |target: &Uri| {
        found = mounts.find(target);
        let (names, own) = (found.as_ref()?.reads(target)?, &*OWN);
        Some(|line: &str| names.get(line).or_else(|| own.get(line)).cloned())
    };
    let (parts, len) = Head::new(limits).request_with(bytes, names).ok()??;
    let (found, (length, is_last)) = (found?, framing(&parts)?);
    let (body, behind) = bytes.get(len..)?.split_at_checked(length)?;
    let body = Full::new(Bytes::copy_from_slice(body));
    Some(Poll { found, parts: Box::new(parts), body, is_last, behind: behind.to_vec() })
}

/// The length of a request's body, and whether the request is the connection's last, as its head has it.
/// `None`: it is for hyper to say.
fn framing(parts: &Parts) -> Option<(usize, bool)> {
    if parts.version != Version::HTTP_11 {
        return None;
    }
    let (mut connection, mut length) = (None, None);
    for (name, value) in &parts.headers {
        if *name == CONNECTION {
            once(&mut connection, value)?;
        } else if *name == CONTENT_LENGTH {
            once(&mut length, value)?;
        } else if *name == TRANSFER_ENCODING || *name == EXPECT || *name == UPGRADE {
            return None;
        }
    }
    let is_last = match connection.unwrap_or_default() {
        b"" => false,
        value if value.eq_ignore_ascii_case(b"keep-alive") => false,
        value if value.eq_ignore_ascii_case(b"close") => true,
        _ => return None,
    };
    let length = match length.unwrap_or_default() {
        b"" if parts.method == Method::GET => 0,
        digits => decimal(digits)?,
    };
    (parts.method != Method::GET || length == 0).then_some((length, is_last))
}

/// Takes the value of a header that may be there but once; `None` where it was there already.
fn once<'a>(place: &mut Option<&'a [u8]>, value: &'a HeaderValue) -> Option<()> {
    place.replace(value.as_bytes()).is_none().then_some(())
}

/// Digits and nothing else: `parse` would take a sign.
fn decimal(digits: &[u8]) -> Option<usize> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Awaits the answer to a request, and listens for the end of its caller meanwhile, which drops the request.
/// What comes `ahead` of its time is kept. The error is a streaming answer.
async fn answered<S>(
    worker: &Worker,
    stream: &mut S,
    mut serving: Pin<&mut impl Future<Output = Served<Full<Bytes>>>>,
    ahead: &mut Vec<u8>,
) -> Option<Result<Box<Answer>, Box<Upgrade>>>
where
    S: AsyncRead + Unpin,
{
    let served = poll_fn(|cx| {
        if let task::Poll::Ready(served) = serving.as_mut().poll(cx) {
            return task::Poll::Ready(Some(served));
        }
        ready!(poll_ahead(worker, stream, ahead, cx));
        task::Poll::Ready(None)
    });
    Some(match served.await? {
        Served::Answer(answer) => Ok(answer),
        Served::Stream(_, upgrade) => Err(upgrade),
        // The endpoint went this moment.
        Served::Pass(..) => Ok(Box::new(plain(StatusCode::NOT_FOUND, "not found\n"))),
    })
}

/// Keeps what a client sends ahead of its time. Ready when the connection has ended.
pub(super) fn poll_ahead<S>(
    worker: &Worker,
    stream: &mut S,
    ahead: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> task::Poll<()>
where
    S: AsyncRead + Unpin,
{
    while ahead.len() < AHEAD {
        match ready!(poll_read(worker, stream, cx, |bytes| ahead.extend_from_slice(bytes))) {
            Some(()) => {}
            None => return task::Poll::Ready(()),
        }
    }
    task::Poll::Pending
}

/// Reads once, into the worker's buffer, and shows that to `see`. `None`: the connection has ended.
fn poll_read<S, T>(
    worker: &Worker,
    stream: &mut S,
    cx: &mut Context<'_>,
    see: impl FnOnce(&[u8]) -> T,
) -> task::Poll<Option<T>>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = worker.take_read_buffer();
    let mut read = ReadBuf::new(&mut buffer);
    let polled = Pin::new(stream).poll_read(cx, &mut read);
    let seen = polled.map(|read_or| match read_or {
        Ok(()) if !read.filled().is_empty() => Some(see(read.filled())),
        Ok(()) | Err(_) => None,
    });
    worker.put_read_buffer(buffer);
    seen
}

/// A connection between two requests: it ends with the server, or when the next one does not come in time.
struct Idle<'a> {
    server: &'a Server,
    since: Instant,
    /// How long the next request has: less for a connection's first.
    patience: Duration,
    /// Looks now and then whether the time is over, rather than be set for each request.
    timer: Option<Pin<Box<Sleep>>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_watching: bool,
}

impl<'a> Idle<'a> {
    fn new(server: &'a Server) -> Self {
        let mut closed = server.idle_end.subscribe();
        let closed = Box::pin(async move {
            let _ended = closed.wait_for(|closed| *closed).await;
        });
        let patience = server.listener.head_timeout;
        Self { server, since: Instant::now(), patience, timer: None, closed, is_watching: false }
    }

    async fn read<S, T>(
        &mut self,
        worker: &Worker,
        stream: &mut S,
        mut see: impl FnMut(&[u8]) -> T,
    ) -> Option<T>
    where
        S: AsyncRead + Unpin,
    {
        self.since = Instant::now();
        poll_fn(|cx| {
            if let task::Poll::Ready(seen) = poll_read(worker, stream, cx, &mut see) {
                return task::Poll::Ready(seen);
            }
            if self.poll_closed(cx).is_ready() {
                return task::Poll::Ready(None);
            }
            ready!(self.poll_late(cx));
            metrics::counter!("switchboard_head_timeouts_total").increment(1);
            task::Poll::Ready(None)
        })
        .await
    }

    /// The task's waker stays the same: what was registered once need not be asked at each request.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> task::Poll<()> {
        if self.is_watching && !self.server.closing.load(Ordering::Acquire) {
            return task::Poll::Pending;
        }
        self.is_watching = true;
        self.closed.as_mut().poll(cx)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> task::Poll<()> {
        let end = Worker::deadline_from(self.since, self.patience);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if end <= Instant::now() {
                return task::Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

/// Writes an answer, in one write if the connection takes it. `false`: the connection is at its end.
async fn write<S>(
    worker: &Worker,
    stream: &mut S,
    answer: Box<Answer>,
    is_last: bool,
    ahead: &mut Vec<u8>,
    options: &ListenerOptions,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_last = is_last || answer.headers().contains_key(CONNECTION);
    let rest = poll_fn(|cx| {
        task::Poll::Ready(worker.with_scratch(|bytes| {
            write_answer(&answer, (!is_last).then_some(options.keep_alive_timeout), bytes);
            let written = match Pin::new(&mut *stream).poll_write(cx, bytes) {
                task::Poll::Ready(written) => written?,
                task::Poll::Pending => 0,
            };
            Ok::<_, io::Error>(bytes.split_off(written))
        }))
    })
    .await?;
    write_all(stream, &rest, options).await?;
    if let BodyKind::Pieces(pieces) = answer.into_body().0 {
        write_pieces(worker, stream, pieces, ahead, options).await?;
    }
    if is_last {
        stream.shutdown().await?;
    }
    Ok(!is_last)
}

/// Writes bytes to their end.
async fn write_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut bytes: &[u8],
    options: &ListenerOptions,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match in_time(options, stream.write(bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    // Mostly there is nothing left to flush, and then no need of a timer.
    match poll_fn(|cx| task::Poll::Ready(Pin::new(&mut *stream).poll_flush(cx))).await {
        task::Poll::Ready(flushed) => flushed,
        task::Poll::Pending => in_time(options, stream.flush()).await,
    }
}

/// Writes the pieces of a body as they come, each as a chunk, and listens for the end of the client
/// meanwhile.
async fn write_pieces<S>(
    worker: &Worker,
    stream: &mut S,
    mut pieces: mpsc::Receiver<Bytes>,
    ahead: &mut Vec<u8>,
    options: &ListenerOptions,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut chunk = Vec::new();
    loop {
        let piece = poll_fn(|cx| {
            if let task::Poll::Ready(piece) = pieces.poll_recv(cx) {
                return task::Poll::Ready(Some(piece));
            }
            ready!(poll_ahead(worker, stream, ahead, cx));
            task::Poll::Ready(None)
        });
        match piece.await {
            Some(Some(piece)) => write_chunk(&piece, &mut chunk),
            Some(None) => return write_all(stream, LAST_CHUNK, options).await,
            None => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        write_all(stream, &chunk, options).await?;
        // A stream that is silent keeps no buffer.
        chunk = Vec::new();
    }
}

/// A write of which the client is to take something in time.
async fn in_time<T>(options: &ListenerOptions, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(options.write_timeout, write).await.unwrap_or_else(|late| {
        metrics::counter!("switchboard_write_timeouts_total").increment(1);
        Err(late.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing_of(head: &str) -> Option<(usize, bool)> {
        let head = format!("{head}\r\n\r\n");
        let (parts, _) = Head::new(HeadLimits::default()).request(head.as_bytes()).unwrap().unwrap();
        framing(&parts)
    }

    #[test]
    fn only_a_request_whose_end_is_beyond_doubt_is_not_left_to_hyper() {
        for (head, framing) in [
            ("GET / HTTP/1.1", Some((0, false))),
            ("GET / HTTP/1.1\r\nConnection: Keep-Alive", Some((0, false))),
            ("GET / HTTP/1.1\r\nConnection: close", Some((0, true))),
            ("GET / HTTP/1.1\r\nContent-Length: 0", Some((0, false))),
            ("POST / HTTP/1.1\r\nContent-Length: 12", Some((12, false))),
            ("GET / HTTP/1.0", None),
            ("GET / HTTP/1.1\r\nContent-Length: 1", None),
            ("GET / HTTP/1.1\r\nConnection: keep-alive, close", None),
            ("GET / HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive", None),
            ("GET / HTTP/1.1\r\nUpgrade: websocket", None),
            ("POST / HTTP/1.1", None),
            ("POST / HTTP/1.1\r\nContent-Length: +1", None),
            ("POST / HTTP/1.1\r\nContent-Length: -1", None),
            ("POST / HTTP/1.1\r\nContent-Length: 1, 1", None),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1", None),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999", None),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked", None),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", None),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue", None),
        ] {
            assert_eq!(framing_of(head), framing, "{head}");
        }
    }
}
