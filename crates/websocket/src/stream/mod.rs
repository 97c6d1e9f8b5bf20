//! A WebSocket connection over any stream that reads and writes.

mod config;
mod error;
mod inbound;
mod keys;
mod negotiate;
mod open;
mod outbound;
mod sink;
mod split;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::unconstrained,
    time::{Sleep, sleep, timeout},
};

pub use config::{Config, WhenFull};
pub use error::Error;
#[cfg(feature = "hyper")]
pub(crate) use negotiate::Agreed;
pub(crate) use open::{ask, read_response};
pub use split::{Reader, Split, Writer};

use crate::{
    CloseCode, OwnedMessage, Prepared, Role,
    deflate::{DeflateOptions, DeflateParameters, Inflater},
};
use inbound::Inbound;
use outbound::Outbound;
use sink::{Task, Tasks};

/// A WebSocket connection of a server or a client, over any `AsyncRead + AsyncWrite`.
///
/// It answers pings and closes by itself, within [`recv`](Self::recv). So call `recv` also where the program
/// only sends, or [`split`](Self::split) the connection. An idle connection holds neither a read buffer nor a
/// write buffer.
///
/// It is also a [`Stream`](futures_core::Stream) of the messages that `recv` returns, and a
/// [`Sink`](futures_sink::Sink) of messages that wait for room. Its time-outs are timers of tokio: use it
/// within a runtime that has time enabled.
///
/// ```no_run
/// use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
///
/// # async fn run() -> Result<(), switchboard_websocket::Error> {
/// let mut socket = WebSocketStream::connect("ws://127.0.0.1:9001/chat", &Config::default()).await?;
/// socket.send("hello").await?;
/// while let Some(message) = socket.recv().await? {
///     if let OwnedMessage::Text(text) = message {
///         println!("{text}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocketStream<S> {
    io: S,
    role: Role,
    inbound: Inbound,
    outbound: Outbound,
    end: End,
    close_timeout: Duration,
    protocol: Option<String>,
    /// The tasks that wait, where the traits of `futures` are used.
    tasks: Option<Arc<Tasks>>,
}

/// The state of the connection's end.
#[derive(Debug)]
enum End {
    /// It has not begun.
    Open,
    /// A Close frame or an error came. It is returned when the connection has ended.
    Closing(Box<Closing>),
    /// The connection is over, and its outcome was returned.
    Over,
}

#[derive(Debug)]
struct Closing {
    outcome: Result<OwnedMessage, Error>,
    /// Starts with the first poll, because `feed` may be called outside of tokio.
    deadline: Option<Pin<Box<Sleep>>>,
    is_shut: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// A connection whose handshake was done elsewhere. Nothing was read behind the handshake.
    pub fn from_raw(io: S, role: Role, config: &Config) -> Self {
        Self::from_parts(io, BytesMut::new(), role, config)
    }

    /// A connection whose handshake was done elsewhere. `read` has the bytes that were read behind the
    /// handshake.
    pub fn from_parts(io: S, read: BytesMut, role: Role, config: &Config) -> Self {
        Self {
            io,
            role,
            inbound: Inbound::new(role, read, config),
            outbound: Outbound::new(role, config),
            end: End::Open,
            close_timeout: config.close_timeout,
            protocol: None,
            tasks: None,
        }
    }

    /// The same connection with compression, which was agreed on elsewhere. Call it before anything is read
    /// or sent. [`accept`](Self::accept) and the client's calls do it themselves where [`Config::deflate`] is
    /// set.
    #[must_use]
    pub fn with_deflate(mut self, parameters: DeflateParameters, options: &DeflateOptions) -> Self {
        self.inbound.inflate(Inflater::new(self.role, parameters));
        self.outbound.compress(parameters, options);
        self
    }

    /// The compression that both ends agreed on. `None` where messages are not compressed.
    pub fn deflate(&self) -> Option<DeflateParameters> {
        self.outbound.deflate()
    }

    /// Frees the memory in which the compressor keeps earlier messages, where it keeps any. The next message
    /// does not refer to them. This is for connections that send nothing for a while; the peer need not know
    /// of it.
    pub fn forget_context(&mut self) {
        self.outbound.forget_context();
    }

    /// The subprotocol that both ends agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The stream below the connection.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The next message. A ping is returned when its pong is queued. A [`OwnedMessage::Close`] is returned
    /// when it was answered and the connection has ended; `None` follows it.
    ///
    /// Before it waits for the peer, `recv` flushes the messages that were fed. So a loop of `recv` and
    /// [`feed`](Self::feed) answers all messages of one read with one write. It reads nothing while more than
    /// [`Config::max_write_buffer_bytes`] wait to be written.
    ///
    /// Cancel safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] and [`Error::MessageTimeout`] after a Close frame told the peer,
    /// [`Error::ConnectionLost`] where no Close frame came, [`Error::TooManyPongs`], [`Error::TooSlow`] after
    /// [`feed`](Self::feed) returned it, and [`Error::Io`]. The connection is over after each of them, and
    /// the next call returns `None`. A failure to write is not among them: [`feed`](Self::feed) and
    /// [`flush`](Self::flush) return it.
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
            if !matches!(self.end, End::Open) {
                return self.poll_end(cx).map(Option::transpose);
            }
            // Answers must not pile up for a peer that sends and does not read.
            if self.outbound.is_full() && self.poll_flush_for(Task::Reading, cx).is_pending() {
                return Poll::Pending;
            }
            match self.inbound.next() {
                Ok(None) => {
                    // `outbound` keeps a failure. The last bytes of the peer may still be read.
                    let _ = self.poll_flush_for(Task::Reading, cx);
                    match ready!(self.inbound.poll_read(cx, &mut self.io)) {
                        Ok(1..) => {}
                        Ok(0) => return self.over(Error::ConnectionLost),
                        Err(error @ Error::MessageTimeout { .. }) => {
                            self.fail(CloseCode::PolicyViolation, error);
                        }
                        Err(error) => return self.over(error),
                    }
                }
                Ok(Some(OwnedMessage::Close(frame))) => {
                    // An error means that our Close frame was sent before, and that this is the answer to it.
                    let _ = self.outbound.close(frame.as_ref().map(|frame| frame.code), "");
                    self.begin_end(Ok(OwnedMessage::Close(frame)));
                }
                Ok(Some(message)) => {
                    if let OwnedMessage::Ping(payload) = &message {
                        if self.outbound.is_full_of_pongs() {
                            // The peer may have made room. The write must be tried even where the task has
                            // used up its budget.
                            let flush = poll_fn(|cx| self.poll_flush_for(Task::Reading, cx));
                            let _ = pin!(unconstrained(flush)).poll(cx);
                        }
                        if self.outbound.is_full_of_pongs() {
                            let error = self.outbound.cut();
                            return self.over(error);
                        }
                        let _ = self.outbound.pong(payload.clone());
                    }
                    return Poll::Ready(Ok(Some(message)));
                }
                Err(error) => self.fail(error.close_code(), error.into()),
            }
        }
    }

    /// Ends the connection at once.
    fn over<T>(&mut self, error: Error) -> Poll<Result<T, Error>> {
        self.inbound.end();
        self.end = End::Over;
        Poll::Ready(Err(error))
    }

    /// Tells the peer what is wrong, and begins to end the connection.
    fn fail(&mut self, code: CloseCode, error: Error) {
        let _ = self.outbound.close(Some(code), &error.to_string());
        self.inbound.end();
        self.begin_end(Err(error));
    }

    fn begin_end(&mut self, outcome: Result<OwnedMessage, Error>) {
        self.end = End::Closing(Box::new(Closing { outcome, deadline: None, is_shut: false }));
    }

    /// Writes the bytes that wait. With [`Tasks`] it wakes both tasks.
    fn poll_flush_for(&mut self, task: Task, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tasks {
            None => self.outbound.poll_flush(cx, &mut self.io),
            Some(tasks) => {
                let waker = tasks.waker(task, cx);
                self.outbound.poll_flush(&mut Context::from_waker(&waker), &mut self.io)
            }
        }
    }

    /// Ends the connection within the deadline, and returns the outcome once.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedMessage, Error>>> {
        let time = self.close_timeout;
        if let End::Closing(closing) = &mut self.end
            && closing.deadline.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx).is_pending()
        {
            // The connection ends, whatever fails here.
            if self.poll_flush_for(Task::Reading, cx).is_pending() {
                return Poll::Pending;
            }
            let End::Closing(closing) = &mut self.end else { return Poll::Ready(None) };
            // The server ends the TCP connection first (RFC 6455 §7.1.1), whichever end began to close.
            if self.role == Role::Server && !closing.is_shut {
                let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                closing.is_shut = true;
            }
            // A connection that is dropped with unread bytes is reset, and the peer might lose our Close
            // frame by that.
            let drain = self.role == Role::Client || closing.outcome.is_err();
            loop {
                self.inbound.discard();
                if !drain || !matches!(ready!(self.inbound.poll_read(cx, &mut self.io)), Ok(1..)) {
                    break;
                }
            }
        }
        Poll::Ready(match std::mem::replace(&mut self.end, End::Over) {
            End::Closing(closing) => Some(closing.outcome),
            End::Open | End::Over => None,
        })
    }

    /// Queues a message without writing it, so that several messages go out in one write: see
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::WriteBufferFull`] with the message or [`Error::TooSlow`], by [`Config::when_full`];
    /// [`Error::Closed`] after a close, [`Error::ControlTooLong`], [`Error::InvalidCloseCode`], and
    /// [`Error::Io`] after a failure to write.
    pub fn feed(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        if matches!(self.end, End::Over) {
            return Err(Error::Closed);
        }
        let fed = self.outbound.queue(message.into());
        self.fed(fed)
    }

    /// As [`feed`](Self::feed), with a message for many connections. It is not encoded anew. It is not
    /// compressed anew either, where no context is taken over.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed).
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        if matches!(self.end, End::Over) {
            return Err(Error::Closed);
        }
        let fed = self.outbound.queue_prepared(message);
        self.fed(fed)
    }

    fn fed(&mut self, fed: Result<(), Error>) -> Result<(), Error> {
        if let Err(Error::TooSlow { pending, limit }) = fed {
            self.begin_end(Err(Error::TooSlow { pending, limit }));
        }
        fed
    }

    /// The number of messages that [`WhenFull::DropNewest`] has dropped.
    pub fn dropped(&self) -> u64 {
        self.outbound.dropped()
    }

    /// Writes all messages that were fed.
    ///
    /// Cancel safe: the next call writes the bytes that a dropped call did not write.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when writing fails, also from each later call.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.outbound.poll_flush(cx, &mut self.io)).await?;
        Ok(())
    }

    /// Sends a message: waits for room, feeds the message, and flushes. It does not read meanwhile. Two ends
    /// that both send more than the network holds, and do not read, wait for each other.
    ///
    /// Cancel safe in that no message is torn: the message of a dropped call is either not sent at all, or
    /// goes out with the next flush.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed), without [`Error::WriteBufferFull`] and [`Error::TooSlow`], and as
    /// [`flush`](Self::flush).
    pub async fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        let message = message.into();
        if !self.outbound.has_room(&message) {
            self.flush().await?;
        }
        if matches!(self.end, End::Over) {
            return Err(Error::Closed);
        }
        self.outbound.push(message)?;
        self.flush().await
    }

    /// As [`send`](Self::send), with a message for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        if !self.outbound.has_room_for(message.payload().len()) {
            self.flush().await?;
        }
        if matches!(self.end, End::Over) {
            return Err(Error::Closed);
        }
        self.outbound.push_prepared(message)?;
        self.flush().await
    }

    /// Closes the connection: sends a Close frame, unless one was sent before, and waits for the peer's
    /// answer and the end of the connection. Messages that come before the answer are dropped. To receive
    /// them, feed a [`OwnedMessage::Close`] and go on with [`recv`](Self::recv).
    ///
    /// Cancel safe: a further call goes on waiting, and its time-out begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::CloseTimeout`] when no answer came within [`Config::close_timeout`],
    /// [`Error::InvalidCloseCode`], and the errors of [`recv`](Self::recv).
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        if !self.outbound.is_closed() && matches!(self.end, End::Open) {
            self.outbound.close(Some(code), reason)?;
        }
        let time = self.close_timeout;
        let answer = async {
            while self.recv().await?.is_some() {}
            Ok(())
        };
        let Ok(closed) = timeout(time, answer).await else {
            self.end = End::Over;
            return Err(Error::CloseTimeout);
        };
        closed
    }
}
