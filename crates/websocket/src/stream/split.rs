//! A connection in two halves, which different tasks own. There is no lock between them.
//!
//! Only the [`Writer`] writes. The [`Reader`] puts its answers (to a ping, to a close, to a broken rule) into
//! a lock-free queue, and the writer sends them: at the beginning of each [`feed`](Writer::feed),
//! [`flush`](Writer::flush) and [`send`](Writer::send), and at once while [`answer`](Writer::answer) is
//! awaited. A writer that has nothing to send awaits `answer`.

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

/// A stream that can be taken apart into two halves without a lock between them.
///
/// `tokio::io::split` has a lock. For a stream that offers no other way, make the halves with it and call
/// [`WebSocketStream::from_halves`].
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

/// The state that both halves share.
#[derive(Debug)]
struct Shared {
    /// At most `max_pongs` pongs, and one close.
    answers: SegQueue<Answer>,
    /// Pongs in the queue, and pongs that the writer has queued and not written.
    pongs: AtomicUsize,
    max_pongs: usize,
    /// No further answer will come: the peer has closed, the connection has ended, or the reader was dropped.
    over: AtomicBool,
    /// Too many pongs wait. Nothing is written any more.
    cut: AtomicBool,
    writer: AtomicWaker,
}

/// An answer of the reader, which the writer sends.
#[derive(Debug)]
enum Answer {
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl Shared {
    fn new(max_pongs: usize) -> Arc<Self> {
        Arc::new(Self {
            answers: SegQueue::new(),
            pongs: AtomicUsize::new(0),
            max_pongs,
            over: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            writer: AtomicWaker::new(),
        })
    }

    fn push(&self, answer: Answer) {
        self.answers.push(answer);
        self.writer.wake();
    }

    fn is_full_of_pongs(&self) -> bool {
        self.pongs.load(Ordering::Relaxed) >= self.max_pongs
    }

    /// Queues a pong.
    fn push_pong(&self, payload: Vec<u8>) {
        self.pongs.fetch_add(1, Ordering::Relaxed);
        self.push(Answer::Pong(payload));
    }

    /// Takes pongs off the count: they were written, or cannot be sent.
    fn end_pongs(&self, count: usize) {
        self.pongs.fetch_sub(count, Ordering::Relaxed);
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.writer.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Split> WebSocketStream<S> {
    /// Takes the connection apart, so that one task can read while another writes. There is no lock between
    /// the halves, unless the stream below has one: see [`Split`]. Ask for the [`protocol`](Self::protocol)
    /// before.
    ///
    /// The writer has the messages that were fed, the reader has the bytes that were read. Only the writer
    /// writes. So use the writer, and be it to await [`Writer::answer`]; otherwise pings and closes are not
    /// answered, and the connection is cut when too many pongs wait ([`Config::max_pending_pongs`]).
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
    /// A connection over two streams, whose handshake was done elsewhere. `read` has the bytes that were read
    /// behind the handshake. Where both ends agreed on compression, call [`Reader::with_deflate`] and
    /// [`Writer::with_deflate`].
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
    /// The payload of a ping that waits until the writer has made room.
    ping: Option<Vec<u8>>,
    shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The same half with compression, which was agreed on elsewhere. Call it before anything is read, for
    /// both halves of [`WebSocketStream::from_halves`]. The halves of [`WebSocketStream::split`] have it
    /// already.
    #[must_use]
    pub fn with_deflate(mut self, role: Role, parameters: DeflateParameters) -> Self {
        self.inbound.inflate(Inflater::new(role, parameters));
        self
    }

    /// The next message. Pings and closes are returned too; the [`Writer`] answers them. `None` follows a
    /// [`OwnedMessage::Close`] or an error.
    ///
    /// Cancel safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] and [`Error::MessageTimeout`], which the writer tells the peer;
    /// [`Error::TooManyPongs`], after which the writer fails too; [`Error::ConnectionLost`]; [`Error::Io`].
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
                self.shared.push_pong(payload.clone());
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
                    let reply = Answer::Close(code, String::new());
                    return self.end(Some(reply), Ok(Some(OwnedMessage::Close(frame))));
                }
                Ok(Some(OwnedMessage::Ping(payload))) => {
                    let full = self.shared.is_full_of_pongs();
                    self.ping = Some(payload);
                    if full {
                        // The writer may run on the same thread. It gets one turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Ok(Some(message)) => return Poll::Ready(Ok(Some(message))),
                Err(error) => return self.fail(error.close_code(), error.into()),
            }
        }
    }

    /// Ends, and has the writer send a Close frame.
    fn fail<T>(&mut self, code: CloseCode, error: Error) -> Poll<Result<T, Error>> {
        let reply = Answer::Close(Some(code), error.to_string());
        self.end(Some(reply), Err(error))
    }

    /// Ends, and makes the writer fail.
    fn cut<T>(&mut self) -> Poll<Result<T, Error>> {
        self.shared.cut.store(true, Ordering::Release);
        let limit = self.shared.max_pongs;
        self.end(None, Err(Error::TooManyPongs { limit }))
    }

    fn end<T>(&mut self, reply: Option<Answer>, outcome: Result<T, Error>) -> Poll<Result<T, Error>> {
        self.is_over = true;
        self.inbound.end();
        if let Some(reply) = reply {
            self.shared.push(reply);
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

/// The half of a connection that writes. It also sends the answers of the [`Reader`].
#[derive(Debug)]
pub struct Writer<W> {
    io: W,
    role: Role,
    pub(super) outbound: Outbound,
    close_timeout: Duration,
    shared: Arc<Shared>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// The same half with compression, which was agreed on elsewhere. Call it before anything is sent: see
    /// [`Reader::with_deflate`].
    #[must_use]
    pub fn with_deflate(mut self, parameters: DeflateParameters, options: &DeflateOptions) -> Self {
        self.outbound.compress(parameters, options);
        self
    }

    /// The compression that both ends agreed on. `None` where messages are not compressed.
    pub fn deflate(&self) -> Option<DeflateParameters> {
        self.outbound.deflate()
    }

    /// As [`WebSocketStream::forget_context`].
    pub fn forget_context(&mut self) {
        self.outbound.forget_context();
    }

    /// Queues a message without writing it, so that several messages go out in one write.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::feed`].
    pub fn feed(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        self.queue_answers();
        self.outbound.queue(message.into())
    }

    /// As [`feed`](Self::feed), with a message for many connections: see [`WebSocketStream::feed_prepared`].
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::feed`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.queue_answers();
        self.outbound.queue_prepared(message)
    }

    /// The number of messages that [`WhenFull::DropNewest`](crate::WhenFull::DropNewest) has dropped.
    pub fn dropped(&self) -> u64 {
        self.outbound.dropped()
    }

    /// Writes all messages that were fed, and the reader's answers.
    ///
    /// Cancel safe: the next call writes the bytes that a dropped call did not write.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when writing fails, also from each later call.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write_all(cx)).await
    }

    pub(super) fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.queue_answers();
            let pongs = self.outbound.pongs();
            let flushed = self.outbound.poll_flush(cx, &mut self.io);
            self.shared.end_pongs(pongs - self.outbound.pongs());
            if flushed.is_pending() {
                // The reader may cut the connection meanwhile.
                self.shared.writer.register(cx.waker());
                if !self.shared.cut.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                continue;
            }
            ready!(flushed)?;
            // Answers that have no room stay in the queue.
            if self.shared.answers.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends a message: waits for room, feeds the message, and flushes.
    ///
    /// Cancel safe in that no message is torn: the message of a dropped call is either not sent at all, or
    /// goes out with the next flush.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::send`].
    pub async fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        let message = message.into();
        self.queue_answers();
        if !self.outbound.has_room(&message) {
            self.flush().await?;
        }
        self.outbound.push(message)?;
        self.flush().await
    }

    /// As [`send`](Self::send), with a message for many connections.
    ///
    /// # Errors
    ///
    /// As [`WebSocketStream::send`].
    pub async fn send_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.queue_answers();
        if !self.outbound.has_room_for(message.payload().len()) {
            self.flush().await?;
        }
        self.outbound.push_prepared(message)?;
        self.flush().await
    }

    /// Sends the reader's answers as they come. It is ready when no further answer will come: the peer has
    /// closed (and was answered), the connection has ended, or the reader was dropped. Await it beside the
    /// other events that the writer waits for.
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
        // This is read before the queue, and written after it. So an answer that came with the end is not
        // missed.
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

    /// Closes the connection: sends a Close frame, unless one was sent before, and waits until the reader has
    /// received the peer's answer. Another task must poll the reader meanwhile.
    ///
    /// Cancel safe: a further call goes on waiting, and its time-out begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::CloseTimeout`] when no answer came within [`Config::close_timeout`],
    /// [`Error::InvalidCloseCode`], and [`Error::Io`] when writing fails.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.queue_answers();
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

    /// Queues the reader's answers. An answer that cannot be sent, as after our own Close frame, is dropped.
    pub(super) fn queue_answers(&mut self) {
        if self.shared.cut.load(Ordering::Acquire) {
            self.outbound.cut();
        }
        while !self.outbound.is_full()
            && let Some(answer) = self.shared.answers.pop()
        {
            match answer {
                Answer::Pong(payload) => {
                    if self.outbound.pong(payload).is_err() {
                        self.shared.end_pongs(1);
                    }
                }
                Answer::Close(code, reason) => {
                    let _ = self.outbound.close(code, &reason);
                }
            }
        }
    }
}
