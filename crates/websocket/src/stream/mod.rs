//! A WebSocket connection over anything that reads and writes.

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

/// A WebSocket connection, of either end, over any `AsyncRead + AsyncWrite`.
///
/// It answers pings and closes by itself, within [`recv`](Self::recv): a connection is to be read, also by
/// who only sends (or [`split`](Self::split)). While nothing moves it holds neither a read nor a write buffer.
///
/// It is also a [`Stream`](futures_core::Stream) of what `recv` gives, and a [`Sink`](futures_sink::Sink) of messages, which
/// wait for room. Its time-outs are tokio's: it is to be used within a runtime that has time enabled.
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
    /// Who waits, where the traits of `futures` are used.
    tasks: Option<Arc<Tasks>>,
}

/// How far the end of a connection has come.
#[derive(Debug)]
enum End {
    /// It has not begun.
    Open,
    /// A Close frame or an error came; it is given when what follows from it is done.
    Closing(Box<Closing>),
    /// The connection is over, and everything about it was said.
    Over,
}

#[derive(Debug)]
struct Closing {
    outcome: Result<OwnedMessage, Error>,
    /// Begins with the first poll: what feeds may be no task of tokio's.
    deadline: Option<Pin<Box<Sleep>>>,
    is_shut: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// A connection whose handshake was done elsewhere, and of which nothing was read beyond it.
    pub fn from_raw(io: S, role: Role, config: &Config) -> Self {
        Self::from_parts(io, BytesMut::new(), role, config)
    }

    /// A connection whose handshake was done elsewhere; `read` is what was read behind it.
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

    /// The same connection, with compression that was agreed on elsewhere, before anything was read or sent.
    /// [`accept`](Self::accept) and the client's calls see to it themselves, by [`Config::deflate`].
    #[must_use]
    pub fn with_deflate(mut self, parameters: DeflateParameters, options: &DeflateOptions) -> Self {
        self.inbound.inflate(Inflater::new(self.role, parameters));
        self.outbound.compress(parameters, options);
        self
    }

    /// The compression that was agreed on; `None` where messages go as they are.
    pub fn deflate(&self) -> Option<DeflateParameters> {
        self.outbound.deflate()
    }

    /// Gives back the memory that the compressor keeps the context of earlier messages in, where it does; the next message
    /// begins anew. For connections that have nothing to say for a while; the peer need not know.
    pub fn forget_context(&mut self) {
        self.outbound.forget_context();
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// What the connection runs over.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The next message. Pings are answered before they are given; a [`OwnedMessage::Close`] is given when it
    /// was answered and the connection has ended, and after it comes `None`.
    ///
    /// Before it waits for the peer, what was fed is flushed: a loop of `recv` and [`feed`](Self::feed)
    /// answers all that one read brought with one write. While more than
    /// [`Config::max_write_buffer_bytes`] wait to be written nothing is read.
    ///
    /// Cancel safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] and [`Error::MessageTimeout`] once the peer was told, [`Error::ConnectionLost`] where no
    /// Close frame came, [`Error::TooManyPongs`], [`Error::TooSlow`] after [`feed`](Self::feed) said so, [`Error::Io`]. The connection is over after each of them, and the next call gives `None`. That
    /// writing failed is said by [`feed`](Self::feed) and [`flush`](Self::flush), not here.
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
            // What a peer asks of us without reading it must not pile up.
            if self.outbound.is_full() && self.poll_flush_for(Task::Reading, cx).is_pending() {
                return Poll::Pending;
            }
            match self.inbound.next() {
                Ok(None) => {
                    // A failure is kept by `outbound`; the peer's last words may still be read.
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
                    // Refused if ours went out already, which this then is the answer to.
                    let _ = self.outbound.close(frame.as_ref().map(|frame| frame.code), "");
                    self.begin_end(Ok(OwnedMessage::Close(frame)));
                }
                Ok(Some(message)) => {
                    if let OwnedMessage::Ping(payload) = &message {
                        if self.outbound.is_full_of_pongs() {
                            // The peer may have made room. That the task has used up its budget must not hide it.
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

    /// Writes what waits; with [`Tasks`] it wakes whoever else waits for that.
    fn poll_flush_for(&mut self, task: Task, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tasks {
            None => self.outbound.poll_flush(cx, &mut self.io),
            Some(tasks) => {
                let waker = tasks.waker(task, cx);
                self.outbound.poll_flush(&mut Context::from_waker(&waker), &mut self.io)
            }
        }
    }

    /// Ends the connection, within the deadline, and gives the outcome once.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedMessage, Error>>> {
        let time = self.close_timeout;
        if let End::Closing(closing) = &mut self.end
            && closing.deadline.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx).is_pending()
        {
            // Whatever fails here, the connection is at its end.
            if self.poll_flush_for(Task::Reading, cx).is_pending() {
                return Poll::Pending;
            }
            let End::Closing(closing) = &mut self.end else { return Poll::Ready(None) };
            // The server ends the TCP connection first (RFC 6455 §7.1.1), whoever began to close.
            if self.role == Role::Server && !closing.is_shut {
                let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                closing.is_shut = true;
            }
            // To drop a connection with bytes unread would reset it, and the peer might lose our Close frame.
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

    /// Queues a message without writing it, so that several go out in one write: see
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::WriteBufferFull`] with the message or [`Error::TooSlow`], as [`Config::when_full`] says;
    /// [`Error::Closed`] after a close, [`Error::ControlTooLong`], [`Error::InvalidCloseCode`], and [`Error::Io`] when writing has failed.
    pub fn feed(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Error> {
        if matches!(self.end, End::Over) {
            return Err(Error::Closed);
        }
        let fed = self.outbound.queue(message.into());
        self.fed(fed)
    }

    /// As [`feed`](Self::feed), with a message that many connections send: nothing is encoded anew, and where no context is
    /// taken over nothing is compressed anew.
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

    /// How many messages [`WhenFull::DropNewest`] has dropped so far.
    pub fn dropped(&self) -> u64 {
        self.outbound.dropped()
    }

    /// Writes all that was fed.
    ///
    /// Cancel safe: what a dropped call did not write goes out with the next.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when writing fails, with every call from then on.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.outbound.poll_flush(cx, &mut self.io)).await?;
        Ok(())
    }

    /// Sends a message: waits for room, feeds it, and flushes. It does not read meanwhile; two ends that
    /// both send more than the network holds and never read wait for each other.
    ///
    /// Cancel safe in that no message is torn: one whose call was dropped is either not sent at all or
    /// goes out with the next flush.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed), without [`Error::WriteBufferFull`] and [`Error::TooSlow`], and [`flush`](Self::flush).
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

    /// As [`send`](Self::send), with a message that many connections send.
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

    /// Closes the connection: sends a Close frame, unless one was sent already, and waits for the peer's
    /// answer and the end of the connection. Messages that come before that answer are thrown away: to have
    /// them, feed a [`OwnedMessage::Close`] and go on with [`recv`](Self::recv).
    ///
    /// Cancel safe: call it again to go on waiting; the time-out begins anew.
    ///
    /// # Errors
    ///
    /// [`Error::CloseTimeout`] when no answer came within [`Config::close_timeout`],
    /// [`Error::InvalidCloseCode`], and what [`recv`](Self::recv) gives.
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
