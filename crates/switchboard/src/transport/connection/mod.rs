//! A WebSocket connection of a worker. It reads frames in the worker's read buffer, hands messages to its
//! owner in place, and writes the owner's outbox. Each connection has one task, which the worker's
//! [executor](executor::Executor) polls. The task wakes to read, and to write when the socket has room again.
//!
//! [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455), or a draft before it ([`wire`](super::wire)); the
//! codecs are `switchboard-websocket`.

mod closing;
mod executor;
mod read;
mod task;
#[cfg(test)]
mod tests;
mod timing;
mod turn;
mod write;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use switchboard_hub::{Session, Worker, WorkerId};
use switchboard_websocket::{CloseCode, Limits};
use tracing::{Instrument, Span};

use self::read::Unread;
use self::timing::Due;
use self::turn::Turn;
use super::codec::Codec;
use super::deflate::OwnDeflater;
use super::io::Io;
use super::wire::Wire;
use crate::message::Message;

use read::Received;

pub(crate) use closing::cut_closing;
pub(crate) use executor::Executor;
pub use task::ConnectionTask;

/// The owner of a WebSocket connection: a session of a protocol. All is called on the worker's thread.
pub trait ConnectionOwner: Session {
    /// A text or binary message. Only the message's bytes are borrowed from the worker meanwhile.
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, connection: &Rc<Connection>, message: Message<'_>);

    /// Bytes in the outbox at which the peer is not read, while its socket takes no more: a peer cannot ask
    /// faster than it reads the answers. Only the answers to one message may pass this bound.
    fn hold_back_at(&self) -> usize {
        self.outbox().limit() / 2
    }

    /// The times that the peer has. Default: [`Timeouts::default`].
    fn timeouts(&self) -> Timeouts {
        Timeouts::default()
    }

    /// The connection has ended. Called once, for its last owner.
    fn on_connection_end(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        connection: &Rc<Connection>,
        end: ConnectionEnd,
    );

    /// The span that the events of its connection are traced in. Default: none.
    fn span(&self) -> Span {
        Span::none()
    }

    /// Itself as the hub sees it.
    fn as_session(self: Rc<Self>) -> Rc<dyn Session>;
}

/// The times that the peer of a connection has. `None`: any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a message to its last.
    pub message: Option<Duration>,
    /// For the end, once the connection is closing. It begins anew with all bytes that the peer takes, and
    /// with the close itself.
    pub close: Option<Duration>,
}

/// A minute for a message, half a minute for a close.
impl Default for Timeouts {
    fn default() -> Self {
        Self { message: Some(Duration::from_secs(60)), close: Some(Duration::from_secs(30)) }
    }
}

/// How a connection came to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// The peer closed, or both did.
    Closed {
        /// The code that the peer gave.
        code: Option<CloseCode>,
    },
    /// The peer broke its protocol, or a bound.
    Protocol(switchboard_websocket::ProtocolError),
    /// A message was not complete in time.
    MessageTimeout,
    /// The peer pings and does not read the pongs.
    PingFlood,
    /// The byte stream failed.
    Io(io::Error),
    /// Our own code panicked.
    Panicked,
}

impl ConnectionEnd {
    /// In a word, as metrics count it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Protocol(_) => "protocol error",
            Self::MessageTimeout => "message timeout",
            Self::PingFlood => "ping flood",
            Self::Io(_) => "connection lost",
            Self::Panicked => "panic",
        }
    }

    /// Writes an end that is not ordinary to the log, at debug level.
    pub(crate) fn trace(&self) {
        match self {
            Self::Closed { .. } => {}
            Self::Protocol(error) => tracing::debug!(%error, "not a WebSocket peer"),
            Self::Io(error) => tracing::debug!(%error, "a connection failed"),
            Self::MessageTimeout | Self::PingFlood | Self::Panicked => {
                tracing::debug!("a connection was cut: {}", self.as_str());
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close frame is queued or sent; nothing may follow it.
    Closing,
    Ended,
}

/// Why a connection's task stopped reading.
enum Step {
    /// The connection has ended.
    End(ConnectionEnd),
    /// A close is on its way out.
    Closing,
    /// The inbox of this worker is full.
    Full(WorkerId),
}

/// A connection that has just become a WebSocket.
pub(crate) struct Opened<'a> {
    pub(crate) io: Io,
    pub(crate) wire: Wire,
    /// Bytes that came behind the handshake.
    pub(crate) unread: Bytes,
    /// The answer to the handshake, where it is still to be written.
    pub(crate) answer: &'a [u8],
}

/// A WebSocket connection of a worker. A protocol starts one by
/// [`Upgraded::websocket`](crate::protocol::Upgraded::websocket).
pub struct Connection {
    io: RefCell<Io>,
    decoder: RefCell<Codec>,
    /// Taken only for the moment of a look.
    owner: Cell<Option<Rc<dyn ConnectionOwner>>>,
    /// Wakes the connection's task. Set in the task's first turn.
    waker: OnceCell<Waker>,
    /// What few connections have.
    rare: OnceCell<Box<Rare>>,
    /// When the message that has begun must be complete.
    message_due: Cell<Due>,
    wire: Wire,
    phase: Cell<Phase>,
    /// A bit for each [`Flag`].
    flags: Cell<u8>,
    /// Pongs that were queued since the outbox was empty, or since the last ping of ours.
    pongs: Cell<u8>,
    peer_code: Cell<Option<CloseCode>>,
}

/// A state that a connection is in, or not.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Flag {
    /// The socket would block: its task waits for it.
    Blocked = 1,
    /// The owner wants no more input for now.
    Paused = 2,
    /// A handler met a full inbox: nothing is read before there is room.
    AwaitsInbox = 4,
    /// The peer's close has come.
    PeerClosed = 8,
    /// The peer's close was the last of what came: nothing is left to be read.
    ReadOut = 16,
    /// The owner has been told of the end.
    EndTold = 32,
    /// Bytes have come, or bytes that waited have gone, since the last call of `take_alive`.
    Alive = 64,
    /// A task watches over the time of its messages.
    Watched = 128,
}

/// What few connections have.
#[derive(Default)]
struct Rare {
    /// What its task waits for instead of reading. Taken while that is polled.
    waiting: Cell<Option<task::Waiting>>,
    /// Compresses what is sent to this client alone, where that has a context.
    own_deflater: Option<Box<OwnDeflater>>,
    /// Bytes that came behind the handshake, and the rest of a read that a pause, or the end of a turn, has
    /// left.
    unread: RefCell<Unread>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("wire", &self.wire)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Starts a connection on this worker's thread. Gives its task, for the caller to run, unless it runs
    /// already.
    pub(crate) fn start(
        worker: &Rc<Worker>,
        opened: Opened<'_>,
        limits: Limits,
        owner: Rc<dyn ConnectionOwner>,
    ) -> (Rc<Self>, Option<ConnectionTask>) {
        let Opened { io, wire, unread, answer } = opened;
        if !wire.has_pings() {
            io.keep_alive();
        }
        let rare = OnceCell::new();
        if let Some(own_deflater) = wire.own_deflater() {
            rare.get_or_init(|| Box::new(Rare { own_deflater: Some(own_deflater), ..Rare::default() }));
        }
        let session = Rc::clone(&owner).as_session();
        let span = owner.span();
        let connection = Rc::new(Self {
            io: RefCell::new(io),
            decoder: RefCell::new(wire.decoder(limits)),
            owner: Cell::new(Some(owner)),
            waker: OnceCell::new(),
            rare,
            message_due: Cell::default(),
            wire,
            phase: Cell::new(Phase::Open),
            flags: Cell::new(Flag::Alive as u8),
            pongs: Cell::new(0),
            peer_code: Cell::new(None),
        });
        if !unread.is_empty() {
            connection.rare().unread.replace(Unread::copy(&unread));
        }
        if !answer.is_empty() {
            // An outbox that is new is not full.
            let _full = worker.write(&session, |out| out.extend_from_slice(answer));
        }
        let task = ConnectionTask::new(Rc::clone(&connection), Rc::clone(worker));
        // A task that nobody traces needs no room for a span.
        if span.is_disabled() {
            return (connection, Some(task));
        }
        tokio::task::spawn_local(task.instrument(span));
        (connection, None)
    }

    /// Hands the connection to another owner, which gets what comes next.
    pub fn set_owner(&self, owner: Rc<dyn ConnectionOwner>) {
        self.owner.set(Some(owner));
    }

    /// What was agreed on in its handshake.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Compresses what is sent to this client alone, where that has a context.
    pub(crate) fn own_deflater(&self) -> Option<&OwnDeflater> {
        self.rare.get()?.own_deflater.as_deref()
    }

    #[inline]
    fn is(&self, flag: Flag) -> bool {
        self.flags.get() & flag as u8 != 0
    }

    #[inline]
    fn set(&self, flag: Flag, so: bool) {
        let others = self.flags.get() & !(flag as u8);
        self.flags.set(others | if so { flag as u8 } else { 0 });
    }

    fn replace(&self, flag: Flag, so: bool) -> bool {
        let before = self.is(flag);
        self.set(flag, so);
        before
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Whether the peer has shown life since the last call, or since it has connected. Bytes that it sends
    /// show life, and so do bytes that it takes after a wait. A peer that is not read, for a reason of ours,
    /// counts as alive.
    pub fn take_alive(&self) -> bool {
        self.replace(Flag::Alive, false) || self.is(Flag::Paused) || self.is(Flag::AwaitsInbox)
    }

    /// Whether the peer is not read for now: its owner wants no input, an inbox is full, or it does not take
    /// its answers.
    #[inline]
    pub(crate) fn is_unread(&self) -> bool {
        const MAYBE: u8 = Flag::Paused as u8 | Flag::AwaitsInbox as u8 | Flag::Blocked as u8;
        match self.flags.get() & MAYBE {
            0 => false,
            maybe => maybe != Flag::Blocked as u8 || self.is_held_back(),
        }
    }

    fn is_held_back(&self) -> bool {
        self.owner().is_some_and(|owner| owner.outbox().bytes() >= owner.hold_back_at())
    }

    /// Whether a packet would be written at once.
    pub fn writable(&self) -> bool {
        self.phase.get() == Phase::Open && !self.is(Flag::Blocked)
    }

    /// Whether the peer is known to have closed its end. A connection that is paused does not read, and so is
    /// not told.
    pub(crate) fn has_lost_peer(&self) -> bool {
        self.io.borrow_mut().is_read_closed()
    }

    /// Stops reading until [`resume`](Self::resume): the peer is held back by TCP.
    pub fn pause(&self) {
        self.set(Flag::Paused, true);
    }

    /// Reads on.
    pub fn resume(&self) {
        if self.replace(Flag::Paused, false) {
            self.wake();
        }
    }

    /// Sends a ping, where there are pings.
    pub fn ping(&self, worker: &Rc<Worker>) {
        if self.phase.get() == Phase::Open && self.wire.has_pings() {
            self.write_ping(worker);
        }
    }

    /// Cuts the connection without a word.
    pub fn abort(&self) {
        self.phase.set(Phase::Ended);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The owner. There always is one.
    #[inline]
    fn owner(&self) -> Option<Rc<dyn ConnectionOwner>> {
        let owner = self.owner.take();
        let shared = owner.clone();
        // It takes the place of nothing, which to drop the processor would have to read what it has just
        // written.
        mem::forget(self.owner.replace(owner));
        shared
    }

    /// Whether this is still the owner.
    fn is_owned_by(&self, owner: &Rc<dyn ConnectionOwner>) -> bool {
        let held = self.owner.take();
        let is_owner = held.as_ref().is_some_and(|held| Rc::ptr_eq(held, owner));
        mem::forget(self.owner.replace(held));
        is_owner
    }

    /// Reads and handles until there is nothing to read, or until others have their turn.
    fn poll_open(self: &Rc<Self>, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<Step> {
        let mut turn = Turn::new();
        let first = self.waker.get().is_none();
        let mut read_all = false;
        if first {
            // A task has the same waker all its life.
            let _unset_before = self.waker.set(cx.waker().clone());
            // The answers to what came with the handshake go out with its own.
            self.handle_unread(worker, &mut turn);
        }
        if (first || self.is(Flag::Blocked))
            && let Poll::Ready(Err(error)) = self.poll_write_waiting(worker, cx)
        {
            return Poll::Ready(Step::End(ConnectionEnd::Io(error)));
        }
        loop {
            match self.phase.get() {
                Phase::Closing | Phase::Ended => return Poll::Ready(Step::Closing),
                Phase::Open => {}
            }
            if let Some(inbox) = turn.full_inbox {
                return Poll::Ready(Step::Full(inbox));
            }
            if self.is_unread() {
                return Poll::Pending;
            }
            if turn.is_over() {
                return end_turn(cx);
            }
            if self.has_unread() {
                self.handle_unread(worker, &mut turn);
                continue;
            }
            // Cheaper than a read that brings nothing, which is how nearly every turn ends.
            if read_all && self.io.borrow().is_read_out(cx) {
                return Poll::Pending;
            }
            match ready!(self.poll_receive(worker, &mut turn, cx)) {
                Ok(Received { bytes: 0, .. }) => {
                    return Poll::Ready(Step::End(ConnectionEnd::Closed { code: self.peer_code.get() }));
                }
                Ok(received) => read_all = !received.full,
                Err(error) => return Poll::Ready(Step::End(ConnectionEnd::Io(error))),
            }
        }
    }

    fn tell_end(self: &Rc<Self>, worker: &Rc<Worker>, end: ConnectionEnd) {
        if !self.replace(Flag::EndTold, true)
            && let Some(owner) = self.owner()
        {
            owner.on_connection_end(worker, self, end);
        }
    }
}

/// Has the task polled again when others had their turn: those that are ready, and those that the reactor
/// knows of by then.
fn end_turn<T>(cx: &mut Context<'_>) -> Poll<T> {
    let _deferred = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}
