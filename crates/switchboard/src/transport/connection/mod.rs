//! A WebSocket connection of a worker: reads frames in the worker's read buffer, hands messages to its owner in place, and writes what
//! the owner's outbox holds. One task for each connection; it sleeps but for reading, and for writing where the socket would block.
//!
//! [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455), or a draft before it ([`wire`](super::wire)); the codecs are `switchboard-websocket`.

mod closing;
mod read;
mod task;
mod write;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use switchboard_hub::{Session, Worker, WorkerId};
use switchboard_websocket::drafts::AnyDecoder;
use switchboard_websocket::{CloseCode, Limits, Message, Opcode};
use tracing::{Instrument, Span};

use super::deflate::OwnDeflater;
use super::io::Io;
use super::wire::Wire;

use read::Received;

pub(crate) use closing::cut_closing;
pub(crate) use task::ConnectionTask;

/// Whose connection it is: a session, or a probe that may become one's.
pub(crate) trait ConnectionOwner: Session {
    /// A text or binary message. Nothing of the worker is borrowed meanwhile but the bytes themselves.
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, connection: &Rc<Connection>, message: Message<'_>);

    /// Whether what its answers wait for is reason not to read on. Asked while the socket takes no more.
    fn holds_back(&self) -> bool {
        false
    }

    /// The connection has ended. Called once, for its last owner.
    fn on_connection_end(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        connection: &Rc<Connection>,
        end: ConnectionEnd,
    );

    /// What its connection's events are traced in.
    fn span(&self) -> Span;

    /// Itself as the hub sees it.
    fn as_session(self: Rc<Self>) -> Rc<dyn Session>;
}

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) enum ConnectionEnd {
    /// The peer closed, or both did.
    Closed {
        /// The code that the peer gave.
        code: Option<CloseCode>,
    },
    /// The peer broke its protocol, or a bound.
    Protocol(switchboard_websocket::ProtocolError),
    /// The byte stream failed.
    Io(io::Error),
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
    /// Where the connection's task is left, by whoever is one already that can go on as this one; else it is spawned.
    pub(crate) adopt: Option<&'a Cell<Option<ConnectionTask>>>,
}

/// A WebSocket connection of a worker.
pub(crate) struct Connection {
    io: RefCell<Io>,
    decoder: RefCell<AnyDecoder>,
    /// Never taken but to be looked at.
    owner: Cell<Option<Rc<dyn ConnectionOwner>>>,
    /// Wakes its task; there from that one's first turn on.
    waker: OnceCell<Waker>,
    /// What few connections have.
    rare: Option<Box<Rare>>,
    wire: Wire,
    phase: Cell<Phase>,
    /// The socket would block: its task waits for it.
    blocked: Cell<bool>,
    /// The owner wants no more input for now.
    paused: Cell<bool>,
    /// The peer's close has come.
    peer_closed: Cell<bool>,
    peer_code: Cell<Option<CloseCode>>,
    /// It has come last: nothing is left to be read.
    read_out: Cell<bool>,
    /// The owner has been told of the end.
    told: Cell<bool>,
    /// Bytes have come, or gone that the peer had to take before it was read on, since that was asked last.
    alive: Cell<bool>,
}

/// What few connections have.
struct Rare {
    /// Compresses what is sent to this client alone, where that has a context.
    own_deflater: Option<Box<OwnDeflater>>,
    /// Bytes that came behind the handshake.
    unread: Cell<Vec<u8>>,
}

impl Connection {
    /// Starts a connection on this worker's thread.
    pub(crate) fn start(
        worker: &Rc<Worker>,
        opened: Opened<'_>,
        limits: Limits,
        owner: Rc<dyn ConnectionOwner>,
    ) -> Rc<Self> {
        let Opened { io, wire, unread, answer, adopt } = opened;
        if !wire.has_pings() {
            io.keep_alive();
        }
        let own_deflater = wire.own_deflater();
        let rare = (own_deflater.is_some() || !unread.is_empty())
            .then(|| Box::new(Rare { own_deflater, unread: Cell::new(unread.into()) }));
        let session = Rc::clone(&owner).as_session();
        let span = owner.span();
        let connection = Rc::new(Self {
            io: RefCell::new(io),
            decoder: RefCell::new(wire.decoder(limits)),
            owner: Cell::new(Some(owner)),
            waker: OnceCell::new(),
            rare,
            wire,
            phase: Cell::new(Phase::Open),
            blocked: Cell::new(false),
            paused: Cell::new(false),
            peer_closed: Cell::new(false),
            peer_code: Cell::new(None),
            read_out: Cell::new(false),
            told: Cell::new(false),
            alive: Cell::new(true),
        });
        if !answer.is_empty() {
            // An outbox that is new is not full.
            let _full = worker.write(&session, |out| out.extend_from_slice(answer));
        }
        let task = ConnectionTask::new(Rc::clone(&connection), Rc::clone(worker));
        // A task that nobody traces does not carry a span about.
        match adopt {
            Some(adopt) if span.is_disabled() => adopt.set(Some(task)),
            None if span.is_disabled() => drop(tokio::task::spawn_local(task)),
            _ => drop(tokio::task::spawn_local(task.instrument(span))),
        }
        connection
    }

    /// Hands the connection to another owner, which gets what comes next.
    pub(crate) fn set_owner(&self, owner: Rc<dyn ConnectionOwner>) {
        self.owner.set(Some(owner));
    }

    /// What was agreed on in its handshake.
    pub(crate) fn wire(&self) -> Wire {
        self.wire
    }

    /// Compresses what is sent to this client alone, where that has a context.
    pub(crate) fn own_deflater(&self) -> Option<&OwnDeflater> {
        self.rare.as_deref()?.own_deflater.as_deref()
    }

    /// Some time has passed: what was not used in it is given back.
    pub(crate) fn rest(&self) {
        if let Some(deflater) = self.own_deflater() {
            deflater.rest();
        }
    }

    /// Whether the peer was heard of since this was asked last, or since it has connected.
    pub(crate) fn take_alive(&self) -> bool {
        self.alive.replace(false)
    }

    /// Whether a packet would be written at once.
    pub(crate) fn writable(&self) -> bool {
        self.phase.get() == Phase::Open && !self.blocked.get()
    }

    /// Whether the peer is known to have closed its end. A connection that is paused does not read, and so is not told.
    pub(crate) fn has_lost_peer(&self) -> bool {
        self.io.borrow_mut().is_read_closed()
    }

    /// Stops reading until [`resume`](Self::resume): the peer is held back by TCP.
    pub(crate) fn pause(&self) {
        self.paused.set(true);
    }

    /// Reads on.
    pub(crate) fn resume(&self) {
        if self.paused.replace(false) {
            self.wake();
        }
    }

    /// Sends a ping, where there are pings.
    pub(crate) fn ping(&self, worker: &Rc<Worker>) {
        if self.phase.get() == Phase::Open && self.wire.has_pings() {
            self.write_control(worker, Opcode::Ping, &[]);
        }
    }

    /// Cuts the connection without a word.
    pub(crate) fn abort(&self) {
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
        // It takes the place of nothing, which to drop the processor would have to read what it has just written.
        mem::forget(self.owner.replace(owner));
        shared
    }

    /// Reads and handles until there is nothing to read.
    fn poll_open(self: &Rc<Self>, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<Step> {
        let first = self.waker.get().is_none();
        let (mut full_inbox, mut read_all) = (None, false);
        if first {
            // A task has the same waker all its life.
            let _unset_before = self.waker.set(cx.waker().clone());
            if let Some(rare) = &self.rare {
                full_inbox = worker.handle_input(|| self.feed(worker, &mut rare.unread.take())).1;
            }
        }
        if (first || self.blocked.get())
            && let Some(owner) = self.owner()
        {
            let before = owner.outbox().bytes();
            if let Poll::Ready(Err(error)) = self.poll_write_out(worker, owner.outbox(), cx) {
                return Poll::Ready(Step::End(ConnectionEnd::Io(error)));
            }
            if owner.outbox().bytes() < before {
                self.alive.set(true);
            }
        }
        loop {
            if let Some(inbox) = full_inbox {
                return Poll::Ready(Step::Full(inbox));
            }
            match self.phase.get() {
                Phase::Open if self.paused.get() => return Poll::Pending,
                Phase::Open if self.blocked.get() && self.owner().is_some_and(|owner| owner.holds_back()) => {
                    return Poll::Pending;
                }
                // Cheaper than a read that brings nothing, which is how nearly every turn ends.
                Phase::Open if read_all && self.io.borrow().is_read_out(cx) => return Poll::Pending,
                Phase::Open => {}
                Phase::Closing | Phase::Ended => return Poll::Ready(Step::Closing),
            }
            let (received, full) = worker.handle_input(|| self.poll_receive(worker, cx));
            full_inbox = full;
            match ready!(received) {
                Ok(Received { bytes: 0, .. }) => {
                    return Poll::Ready(Step::End(ConnectionEnd::Closed { code: self.peer_code.get() }));
                }
                Ok(received) => read_all = !received.full,
                Err(error) => return Poll::Ready(Step::End(ConnectionEnd::Io(error))),
            }
        }
    }

    fn tell_end(self: &Rc<Self>, worker: &Rc<Worker>, end: ConnectionEnd) {
        if !self.told.replace(true)
            && let Some(owner) = self.owner()
        {
            owner.on_connection_end(worker, self, end);
        }
    }
}
