//! A connection in two halves that different tasks own, with no lock between them.
//!
//! Only the [`Writer`] writes. What the [`Reader`] finds must be answered (a ping, a close, a broken
//! rule) goes into a small lock-free queue, and the writer sends it: at the beginning of every
//! [`feed`](Writer::feed), [`flush`](Writer::flush) and [`send`](Writer::send), and as it comes while
//! [`answer`](Writer::answer) is awaited. A writer with nothing to say awaits `answer`.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use crossbeam_queue::SegQueue;
use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, tcp},
    time::timeout,
};

use super::{Config, End, Error, WebSocketStream, inbound::Inbound, outbound::Outbound};
use crate::{
    CloseCode, OwnedMessage, Prepared, Role,
    deflate::{DeflateOptions, DeflateParameters, Inflater},
};

/// A stream that comes apart into two halves without a lock between them.
///
/// `tokio::io::split` puts one there; for a stream that has nothing better, build the halves from
/// it and use [`WebSocketStream::from_halves`].
pub trait Split {
    /// The half that reads.
    type ReadHalf: AsyncRead + Unpin;
    /// The half that writes.
    type WriteHalf: AsyncWrite + Unpin;

    /// Takes the stream apart.
    fn split(self) -> (Self::ReadHalf, Self::WriteHalf);
}

impl Split for TcpStream {
    type ReadHalf = tcp::OwnedReadHalf;
    type WriteHalf = tcp::OwnedWriteHalf;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        self.into_split()
    }
}

#[cfg(unix)]
impl Split for tokio::net::UnixStream {
    type ReadHalf = tokio::net::unix::OwnedReadHalf;
    type WriteHalf = tokio::net::unix::OwnedWriteHalf;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        self.into_split()
    }
}

/// What the halves share.
#[derive(Debug)]
struct Shared {
    /// At most `max_pongs` and a close.
    owed: SegQueue<Owed>,
    /// Pongs that are owed, and those of them that the writer has queued and not written.
    pongs: AtomicUsize,
    max_pongs: usize,
    /// The peer has closed, the connection has ended, or the reader is gone: nothing more will be owed.
    over: AtomicBool,
    /// Too many pongs wait: nothing is written any more.
    cut: AtomicBool,
    writer: AtomicWaker,
}

/// What the reader found must be answered.
#[derive(Debug)]
enum Owed {
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl Shared {
    fn new(max_pongs: usize) -> Arc<Self> {
        Arc::new(Self {
            owed: SegQueue::new(),
            pongs: AtomicUsize::new(0),
            max_pongs,
            over: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            writer: AtomicWaker::new(),
        })
    }

    fn owe(&self, owed: Owed) {
        self.owed.push(owed);
        self.writer.wake();
    }

    fn is_full_of_pongs(&self) -> bool {
        self.pongs.load(Ordering::Relaxed) >= self.max_pongs
    }

    /// The reader owes a pong.
    fn owe_pong(&self, payload: Vec<u8>) {
        self.pongs.fetch_add(1, Ordering::Relaxed);
        self.owe(Owed::Pong(payload));
    }

    /// Pongs were written, or cannot be sent.
    fn forget_pongs(&self, count: usize) {
        self.pongs.fetch_sub(count, Ordering::Relaxed);
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.writer.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Split> WebSocketStream<S> {
    /// Takes the connection apart, so that one task can read while another writes. There is no lock between the halves, unless
    /// what the connection runs over has one: see [`Split`]. Ask for the [`protocol`](Self::protocol) before.
    ///
    /// What was fed is the [`Writer`]'s, what was read the [`Reader`]'s. Only the writer writes, so it is to be used, be it to
    /// await [`Writer::answer`]: else pings and closes are not answered.
    pub fn split(self) -> (Reader<S::ReadHalf>, Writer<S::WriteHalf>) {
        let shared = Shared::new(self.outbound.max_pongs());
        shared.pongs.store(self.outbound.pongs(), Ordering::Relaxed);
        let (read, write) = self.io.split();
        let is_over = !matches!(self.end, End::Open);
        let reader = Reader { io: read, inbound: self.inbound, is_over, ping: None, shared: shared.clone() };
        if is_over {
            shared.end();
        }
        let Self { role, outbound, close_timeout, .. } = self;
        (reader, Writer { io: write, role, outbound, close_timeout, shared })
    }
}

impl<R: AsyncRead + Unpin> WebSocketStream<R> {
    /// A connection over two streams, whose handshake was done elsewhere; `read` is what was read behind it. Compression that
    /// was agreed on is for [`Reader::with_deflate`] and [`Writer::with_deflate`].
    pub fn from_halves<W: AsyncWrite + Unpin>(
        io: (R, W),
        read: BytesMut,
        role: Role,
        config: &Config,
    ) -> (Reader<R>, Writer<W>) {
        let inbound = Inbound::new(role, read, config);
        let outbound = Outbound::new(role, config);
        let shared = Shared::new(outbound.max_pongs());
        let close_timeout = config.close_timeout;
        let reader = Reader { io: io.0, inbound, is_over: false, ping: None, shared: shared.clone() };
        (reader, Writer { io: io.1, role, outbound, close_timeout, shared })
    }
}

/// The half of a connection that reads.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    inbound: Inbound,
    pub(super) is_over: bool,
    /// The payload of a ping that waits for the writer to make room.
    ping: Option<Vec<u8>>,
    shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The same half, with compression that was agreed on elsewhere, before anything was read. To be given to both halves
    /// of [`WebSocketStream::from_halves`]; those of [`WebSocketStream::split`] have it.
    #[must_use]
    pub fn with_deflate(mut self, role: Role, parameters: DeflateParameters) -> Self {
        self.inbound.inflate(Inflater::new(role, parameters));
        self
    }

    /// The next message. Pings and closes are given too; the [`Writer`] answers them. After a
    /// [`OwnedMessage::Close`] or an error comes `None`.
    ///
    /// Cancel safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] and [`Error::MessageTimeout`], which the writer tells the peer;
    /// [`Error::TooManyPongs`], with which the writer fails too; [`Error::ConnectionLost`]; [`Error::Io`].
    pub async fn recv(&mut self) -> Result<Option<OwnedMessage>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) as a poll.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<OwnedMessage>, Error>> {
        loop {
            if self.is_over {
                return Poll::Ready(Ok(None));
            }
            if let Some(payload) = self.ping.take() {
                if self.shared.is_full_of_pongs() {
                    return self.cut();
                }
                self.shared.owe_pong(payload.clone());
                return Poll::Ready(Ok(Some(OwnedMessage::Ping(payload))));
            }
            match self.inbound.next() {
                Ok(None) => match ready!(self.inbound.poll_read(cx, &mut self.io)) {
                    Ok(1..) => {}
                    Ok(0) => return self.end(None, Err(Error::ConnectionLost)),
                    Err(error @ Error::MessageTimeout { .. }) => {
                        return self.fail(CloseCode::PolicyViolation, error);
                    }
                    Err(error) => return self.end(None, Err(error)),
                },
                Ok(Some(OwnedMessage::Close(frame))) => {
                    let code = frame.as_ref().map(|frame| frame.code);
                    let reply = Owed::Close(code, String::new());
                    return self.end(Some(reply), Ok(Some(OwnedMessage::Close(frame))));
                }
                Ok(Some(OwnedMessage::Ping(payload))) => {
                    let full = self.shared.is_full_of_pongs();
                    self.ping = Some(payload);
                    if full {
                        // The writer may be of the same thread: let it have its turn once.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Ok(Some(message)) => return Poll::Ready(Ok(Some(message))),
                Err(error) => return self.fail(error.close_code(), error.into()),
            }
        }
    }

    /// Has the writer tell the peer what is wrong, and ends.
    fn fail<T>(&mut self, code: CloseCode, error: Error) -> Poll<Result<T, Error>> {
        let reply = Owed::Close(Some(code), error.to_string());
        self.end(Some(reply), Err(error))
    }

    /// Ends, and makes the writer fail.
    fn cut<T>(&mut self) -> Poll<Result<T, Error>> {
        self.shared.cut.store(true, Ordering::Release);
        let limit = self.shared.max_pongs;
        self.end(None, Err(Error::TooManyPongs { limit }))
    }

    fn end<T>(&mut self, reply: Option<Owed>, outcome: Result<T, Error>) -> Poll<Result<T, Error>> {
        self.is_over = true;
        self.inbound.end();
        if let Some(reply) = reply {
            self.shared.owe(reply);
        }
        self.shared.end();
        Poll::Ready(outcome)
    }
}

impl<R> Drop for Reader<R> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// The half of a connection that writes, and sends what the [`Reader`] owes the peer.
#[derive(Debug)]
pub struct Writer<W> {
    io: W,
    role: Role,
    pub(super) outbound: Outbound,
    close_timeout: Duration,
    shared: Arc<Shared>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// The same half, with compression that was agreed on elsewhere, before anything was sent: see
    /// [`Reader::with_deflate`].
    #[must_use]
    pub fn with_deflate(mut self, parameters: DeflateParameters, options: &DeflateOptions) -> Self {
        self.outbound.compress(parameters, options);
        self
    }

    /// The compression that was agreed on; `None` where messages go as they are.
    pub fn deflate(&self) -> Option<DeflateParameters> {
        self.outbound.deflate()
    }

    /// As [`WebSocketStream::forget_context`].
    pub fn forget_context(&mut self) {
        self.outbound.forget_context();
    }

    /// Queues a message without writing it, so that several go out in one write.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::feed`].
    pub fn feed(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        self.queue_owed();
        self.outbound.queue(message.into())
    }

    /// As [`feed`](Self::feed), with a message that many connections send: see [`WebSocketStream::feed_prepared`].
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::feed`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.queue_owed();
        self.outbound.queue_prepared(message)
    }

    /// How many messages [`WhenFull::DropNewest`](crate::WhenFull::DropNewest) has dropped so far.
    pub fn dropped(&self) -> u64 {
        self.outbound.dropped()
    }

    /// Writes all that was fed or is owed.
    ///
    /// Cancel safe: what a dropped call did not write goes out with the next.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when writing fails, with every call from then on.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write_all(cx)).await
    }

    pub(super) fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.queue_owed();
            let pongs = self.outbound.pongs();
            let flushed = self.outbound.poll_flush(cx, &mut self.io);
            self.shared.forget_pongs(pongs - self.outbound.pongs());
            if flushed.is_pending() {
                // The reader may cut the connection meanwhile.
                self.shared.writer.register(cx.waker());
                if !self.shared.cut.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                continue;
            }
            ready!(flushed)?;
            // What found no room is owed still.
            if self.shared.owed.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends a message: waits for room, feeds it, and flushes.
    ///
    /// Cancel safe in that no message is torn: one whose call was dropped is either not sent at all or
    /// goes out with the next flush.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::send`].
    pub async fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        let message = message.into();
        self.queue_owed();
        if !self.outbound.has_room(&message) {
            self.flush().await?;
        }
        self.outbound.push(message)?;
        self.flush().await
    }

    /// As [`send`](Self::send), with a message that many connections send.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::send`].
    pub async fn send_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.queue_owed();
        if !self.outbound.has_room_for(message.payload().len()) {
            self.flush().await?;
        }
        self.outbound.push_prepared(message)?;
        self.flush().await
    }

    /// Sends what the reader owes, as it comes. Ready when nothing more will be owed, because the peer has
    /// closed (and was answered), the connection has ended, or the reader was dropped. To be awaited beside
    /// whatever else the writer waits for.
    ///
    /// Cancel safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when writing fails.
    pub async fn answer(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.shared.writer.register(cx.waker());
        // Read before what is owed, which is written before it: what came with the end is not missed.
        let over = self.shared.over.load(Ordering::Acquire);
        ready!(self.poll_write_all(cx))?;
        if !over {
            return Poll::Pending;
        }
        // The server ends the TCP connection first (RFC 6455 §7.1.1).
        if self.role == Role::Server && self.outbound.is_closed() {
            let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the connection: sends a Close frame, unless one was sent already, and waits until the reader,
    /// which is to be polled meanwhile, has the peer's answer.
    ///
    /// Cancel safe: call it again to go on waiting; the time-out begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::CloseTimeout`] when no answer came within [`Config::close_timeout`],
    /// [`Error::InvalidCloseCode`], and [`Error::Io`] when writing fails.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.queue_owed();
        if !self.outbound.is_closed() {
            self.outbound.close(Some(code), reason)?;
        }
        let answered = timeout(self.close_timeout, self.answer()).await;
        let shut = timeout(self.close_timeout, self.io.shutdown()).await;
        answered.unwrap_or(Err(Error::CloseTimeout))?;
        // The peer may have ended the connection first.
        drop(shut);
        Ok(())
    }

    /// Queues what the reader owes. What cannot be sent, as after our own Close frame, is not owed any more.
    pub(super) fn queue_owed(&mut self) {
        if self.shared.cut.load(Ordering::Acquire) {
            self.outbound.cut();
        }
        while !self.outbound.is_full()
            && let Some(owed) = self.shared.owed.pop()
        {
            match owed {
                Owed::Pong(payload) => {
                    if self.outbound.pong(payload).is_err() {
                        self.shared.forget_pongs(1);
                    }
                }
                Owed::Close(code, reason) => {
                    let _ = self.outbound.close(code, &reason);
                }
            }
        }
    }
}
