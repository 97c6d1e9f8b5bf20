//! A WebSocket connection of a worker: reads frames in the worker's read buffer, hands messages to its owner in place, and writes what
//! the owner's outbox holds. One task for each connection; it sleeps but for reading, and for writing where the socket would block.
//!
//! [RFC 6455](https://www.rfc-editor.org/rfc/rfc6455), or a draft before it ([`wire`](super::wire)); the codecs are `switchboard-websocket`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use switchboard_hub::{Outbox, Session, Worker, WorkerId};
use switchboard_websocket::drafts::AnyDecoder;
use switchboard_websocket::{CloseCode, CloseFrame, Limits, Message, Opcode, encode_frame};
use tokio::sync::Notify;
use tracing::{Instrument, Span};

use super::deflate::OwnDeflater;
use super::io::Io;
use super::wire::Wire;

/// How long a peer has to answer a close before its connection is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the messages of one read have queued is written when it is so many bytes, before the next of them is handled: while it is
/// in the processor's cache, and its buffers can serve the next ones.
const WRITE_AT: usize = 64 << 10;

/// Whose connection it is: a session, or a probe that may become one's.
pub(crate) trait LinkOwner: Session {
    /// A text or binary message. Nothing of the worker is borrowed meanwhile but the bytes themselves.
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, link: &Rc<Link>, message: Message<'_>);

    /// Bytes have come, or gone that a peer had to take before it was read on: it is alive.
    fn on_read(&self) {}

    /// Whether what its answers wait for is reason not to read on. Asked while the socket takes no more.
    fn holds_back(&self) -> bool {
        false
    }

    /// The connection has ended. Called once, for its last owner.
    fn on_link_end(self: Rc<Self>, worker: &Rc<Worker>, link: &Rc<Link>, end: LinkEnd);

    /// What its connection's events are traced in.
    fn span(&self) -> Span;

    /// Itself as the hub sees it.
    fn as_session(self: Rc<Self>) -> Rc<dyn Session>;
}

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) enum LinkEnd {
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

/// Tells the connections of a worker that are closing to wait no more.
#[derive(Default)]
struct Cut(Notify);

/// Ends the connections of this worker that wait for their peers to close.
pub(crate) fn cut_closing(worker: &Rc<Worker>) {
    worker.extension::<Cut>().0.notify_waiters();
}

/// Closes the stream when its task ends, or is dropped with its runtime: whoever still holds the link does not hold the connection.
struct CloseAtLast<'a>(&'a Link);

impl Drop for CloseAtLast<'_> {
    fn drop(&mut self) {
        let stream = self.0.io.replace(Io::Closed);
        self.0.phase.set(Phase::Ended);
        drop(stream);
    }
}

/// Why a connection's task stopped reading.
enum Step {
    /// The connection has ended.
    End(LinkEnd),
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

/// A WebSocket connection of a worker.
pub(crate) struct Link {
    io: RefCell<Io>,
    decoder: RefCell<AnyDecoder>,
    wire: Wire,
    /// Compresses what is sent to this client alone, where that has a context.
    own_deflater: Option<Box<OwnDeflater>>,
    owner: RefCell<Rc<dyn LinkOwner>>,
    driver: RefCell<Option<Waker>>,
    phase: Cell<Phase>,
    /// The socket would block: its task waits for it.
    blocked: Cell<bool>,
    /// The owner wants no more input for now.
    paused: Cell<bool>,
    /// The peer's close has come.
    peer_closed: Cell<bool>,
    peer_code: Cell<Option<CloseCode>>,
    /// Our end of the stream is closed.
    shut: Cell<bool>,
    /// The owner has been told of the end.
    told: Cell<bool>,
    /// Bytes that came behind the handshake.
    unread: Cell<Option<Vec<u8>>>,
}

impl Link {
    /// Starts a connection on this worker's thread.
    pub(crate) fn start(
        worker: &Rc<Worker>,
        opened: Opened<'_>,
        limits: Limits,
        owner: Rc<dyn LinkOwner>,
    ) -> Rc<Self> {
        let Opened { io, wire, unread, answer } = opened;
        if !wire.has_pings() {
            io.keep_alive();
        }
        let link = Rc::new(Self {
            io: RefCell::new(io),
            decoder: RefCell::new(wire.decoder(limits)),
            wire,
            own_deflater: wire.own_deflater(),
            owner: RefCell::new(owner),
            driver: RefCell::default(),
            phase: Cell::new(Phase::Open),
            blocked: Cell::new(false),
            paused: Cell::new(false),
            peer_closed: Cell::new(false),
            peer_code: Cell::new(None),
            shut: Cell::new(false),
            told: Cell::new(false),
            unread: Cell::new((!unread.is_empty()).then(|| unread.into())),
        });
        if !answer.is_empty() {
            // An outbox that is new is not full.
            let _full = worker.write(&link.owner().as_session(), |out| out.extend_from_slice(answer));
        }
        let span = link.owner().span();
        let drive = Rc::clone(&link).drive(Rc::clone(worker));
        // A task that nobody traces does not carry a span about.
        if span.is_disabled() {
            tokio::task::spawn_local(drive);
        } else {
            tokio::task::spawn_local(drive.instrument(span));
        }
        link
    }

    /// Hands the connection to another owner, which gets what comes next.
    pub(crate) fn set_owner(&self, owner: Rc<dyn LinkOwner>) {
        *self.owner.borrow_mut() = owner;
    }

    /// What was agreed on in its handshake.
    pub(crate) fn wire(&self) -> Wire {
        self.wire
    }

    /// Compresses what is sent to this client alone, where that has a context.
    pub(crate) fn own_deflater(&self) -> Option<&OwnDeflater> {
        self.own_deflater.as_deref()
    }

    /// Some time has passed: what was not used in it is given back.
    pub(crate) fn rest(&self) {
        if let Some(deflater) = &self.own_deflater {
            deflater.rest();
        }
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

    /// Queues a close frame behind what waits; the connection ends when the peer has answered, or after 5 seconds.
    pub(crate) fn close(&self, worker: &Rc<Worker>, code: Option<CloseCode>, reason: &str) {
        if self.phase.get() != Phase::Open {
            return;
        }
        let owner = Rc::clone(&*self.owner.borrow()).as_session();
        let queued = worker.write(&owner, |out| self.wire.encode_close(out, code, reason));
        self.phase.set(Phase::Closing);
        if !self.wire.answers_closes() {
            self.peer_closed.set(true);
        }
        if queued.is_err() {
            // The peer does not read: it would not read a close either.
            self.abort();
        }
        self.wake();
    }

    /// Sends a ping, where there are pings.
    pub(crate) fn ping(&self, worker: &Rc<Worker>) {
        if self.phase.get() == Phase::Open && self.wire.has_pings() {
            // A full outbox closes the connection by itself.
            let _full = worker.write(&self.owner().as_session(), |out| encode_frame(out, Opcode::Ping, &[]));
        }
    }

    /// Cuts the connection without a word.
    pub(crate) fn abort(&self) {
        self.phase.set(Phase::Ended);
        self.wake();
    }

    /// Writes what the outbox holds, as far as the socket takes it.
    pub(crate) fn flush(&self, worker: &Rc<Worker>, outbox: &Outbox) {
        if self.blocked.get() || self.phase.get() == Phase::Ended {
            return;
        }
        let driver = self.driver.borrow();
        // Before the task's first turn there is no waker; that turn flushes.
        let Some(waker) = driver.as_ref() else { return };
        if let Poll::Ready(Err(error)) = self.poll_write_out(worker, outbox, &mut Context::from_waker(waker))
        {
            tracing::debug!(%error, "a write failed");
            self.phase.set(Phase::Ended);
            waker.wake_by_ref();
        }
    }

    /// Writes bytes past the outbox, which is empty; returns how many the socket took.
    pub(crate) fn write_through(&self, slices: &[io::IoSlice<'_>]) -> usize {
        if self.blocked.get() || self.phase.get() != Phase::Open {
            return 0;
        }
        let driver = self.driver.borrow();
        let Some(waker) = driver.as_ref() else { return 0 };
        match self.io.borrow_mut().poll_write_now(&mut Context::from_waker(waker), slices) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a write failed");
                self.phase.set(Phase::Ended);
                waker.wake_by_ref();
                slices.iter().map(|slice| slice.len()).sum()
            }
            Poll::Pending => {
                self.blocked.set(true);
                // Its task is woken when the socket has room, and writes what will be in the outbox.
                0
            }
        }
    }

    fn poll_write_out(&self, worker: &Worker, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        while !outbox.is_empty() {
            let written = worker.drain(outbox, |slices| match io.poll_write(cx, slices) {
                Poll::Ready(Ok(0)) => Err(Some(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written.map_err(Some),
                Poll::Pending => Err(None),
            });
            match written {
                Ok(_) => {}
                Err(Some(error)) => return Poll::Ready(Err(error)),
                Err(None) => {
                    self.blocked.set(true);
                    return Poll::Pending;
                }
            }
        }
        let flushed = io.poll_flush(cx);
        self.blocked.set(flushed.is_pending());
        flushed
    }

    fn wake(&self) {
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }

    fn owner(&self) -> Rc<dyn LinkOwner> {
        Rc::clone(&*self.owner.borrow())
    }

    /// The connection's one task. What it seldom waits for is boxed: the task lives as long as the connection does.
    async fn drive(self: Rc<Self>, worker: Rc<Worker>) {
        let _closed_at_last = CloseAtLast(&self);
        let end = loop {
            match poll_fn(|cx| self.poll_open(&worker, cx)).await {
                Step::End(end) => break end,
                Step::Closing => break Box::pin(self.close_down(&worker)).await,
                // A handler met a full inbox: this peer is read again when there is room.
                Step::Full(inbox) => Box::pin(worker.room(inbox)).await,
            }
        };
        self.phase.set(Phase::Ended);
        self.tell_end(&worker, end);
    }

    /// Writes what is left and awaits the peer's close, for a while, or until the server cuts what is left.
    async fn close_down(&self, worker: &Rc<Worker>) -> LinkEnd {
        let closing = poll_fn(|cx| self.poll_closing(worker, cx));
        let cut = worker.extension::<Cut>();
        tokio::select! {
            closed = tokio::time::timeout(CLOSE_TIMEOUT, closing) => closed.unwrap_or_else(|_late| {
                metrics::counter!("switchboard_websocket_close_timeouts_total").increment(1);
                LinkEnd::Closed { code: self.peer_code.get() }
            }),
            () = cut.0.notified() => LinkEnd::Closed { code: self.peer_code.get() },
        }
    }

    fn keep_waker(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if driver.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }

    /// Reads and handles until there is nothing to read.
    fn poll_open(self: &Rc<Self>, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<Step> {
        let first = self.driver.borrow().is_none();
        self.keep_waker(cx);
        if let Some(mut unread) = self.unread.take() {
            self.feed(worker, &mut unread);
        }
        if first || self.blocked.get() {
            let owner = self.owner();
            let before = owner.outbox().bytes();
            if let Poll::Ready(Err(error)) = self.poll_write_out(worker, owner.outbox(), cx) {
                return Poll::Ready(Step::End(LinkEnd::Io(error)));
            }
            if owner.outbox().bytes() < before {
                owner.on_read();
            }
        }
        loop {
            if let Some(inbox) = worker.take_pressure() {
                return Poll::Ready(Step::Full(inbox));
            }
            match self.phase.get() {
                Phase::Open if self.paused.get() => return Poll::Pending,
                Phase::Open if self.blocked.get() && self.owner.borrow().holds_back() => {
                    return Poll::Pending;
                }
                Phase::Open => {}
                Phase::Closing | Phase::Ended => return Poll::Ready(Step::Closing),
            }
            match ready!(self.poll_receive(worker, cx)) {
                Ok(0) => {
                    return Poll::Ready(Step::End(LinkEnd::Closed { code: self.peer_code.get() }));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Step::End(LinkEnd::Io(error))),
            }
        }
    }

    /// Reads once and handles what came: in the worker's buffer, or, of a long payload, to where it stays.
    fn poll_receive(self: &Rc<Self>, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut decoder = self.decoder.borrow_mut();
        if let Some(room) = decoder.room() {
            let n = ready!(self.io.borrow_mut().poll_read(cx, room))?;
            decoder.fill(n);
            drop(decoder);
            self.received(worker, n, &mut []);
            return Poll::Ready(Ok(n));
        }
        drop(decoder);
        let mut buffer = worker.take_read_buffer();
        let polled = self.io.borrow_mut().poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(n)) = polled {
            self.received(worker, n, buffer.get_mut(..n).unwrap_or_default());
        }
        worker.put_read_buffer(buffer);
        polled
    }

    /// `n` bytes have come, of which these are not decoded yet.
    fn received(self: &Rc<Self>, worker: &Rc<Worker>, n: usize, bytes: &mut [u8]) {
        if n > 0 {
            worker.stats().bytes_received.add(n as u64);
            self.owner.borrow().on_read();
            self.feed(worker, bytes);
        }
    }

    fn tell_end(self: &Rc<Self>, worker: &Rc<Worker>, end: LinkEnd) {
        if !self.told.replace(true) {
            self.owner().on_link_end(worker, self, end);
        }
    }

    /// Handles all messages that are complete in `bytes`.
    fn feed(self: &Rc<Self>, worker: &Rc<Worker>, bytes: &mut [u8]) {
        let mut at = 0;
        if let Some(end) = self.handle_messages(worker, bytes, &mut at) {
            self.tell_end(worker, end);
        } else if self.phase.get() != Phase::Open {
            // A message made us close: the peer's close may have come in the same read.
            self.look_for_close(bytes.get_mut(at..).unwrap_or_default());
        }
    }

    /// Handles messages up to `at`, as long as the connection is open. Returns an end that the peer has brought about.
    fn handle_messages(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        bytes: &mut [u8],
        at: &mut usize,
    ) -> Option<LinkEnd> {
        let mut decoder = self.decoder.borrow_mut();
        while self.phase.get() == Phase::Open {
            match decoder.decode(bytes, at) {
                Ok(Some(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    worker.stats().messages_received.add(1);
                    self.owner().on_message(worker, self, message);
                    self.write_early(worker);
                }
                Ok(Some(Message::Ping(payload))) => {
                    // A peer that does not read its pongs meets the outbox's bound like any other.
                    let _closed = worker
                        .write(&self.owner().as_session(), |out| encode_frame(out, Opcode::Pong, payload));
                }
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(frame))) => {
                    self.on_close(worker, frame.as_ref());
                    return Some(LinkEnd::Closed { code: self.peer_code.get() });
                }
                Ok(None) => break,
                Err(error) => {
                    metrics::counter!("switchboard_websocket_protocol_errors_total").increment(1);
                    self.close(worker, Some(error.close_code()), "");
                    // What the peer sends behind an error is not looked at.
                    self.peer_closed.set(true);
                    self.peer_code.set(Some(error.close_code()));
                    return Some(LinkEnd::Protocol(error));
                }
            }
        }
        None
    }

    /// Writes what is queued already, if it is much.
    fn write_early(&self, worker: &Rc<Worker>) {
        let owner = self.owner.borrow();
        if owner.outbox().bytes() >= WRITE_AT {
            self.flush(worker, owner.outbox());
        }
    }

    fn on_close(&self, worker: &Rc<Worker>, frame: Option<&CloseFrame<'_>>) {
        self.peer_closed.set(true);
        self.peer_code.set(frame.map(|frame| frame.code));
        // The answer carries the peer's code, as RFC 6455 5.5.1 asks.
        self.close(worker, frame.map(|frame| frame.code), "");
    }

    /// Writes what is left, then waits for the peer's close, or for the end of its stream.
    fn poll_closing(&self, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        self.keep_waker(cx);
        let done = LinkEnd::Closed { code: self.peer_code.get() };
        if self.phase.get() == Phase::Ended {
            return Poll::Ready(done);
        }
        let owner = self.owner();
        match self.poll_write_out(worker, owner.outbox(), cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(LinkEnd::Io(error)),
            Poll::Pending => return Poll::Pending,
        }
        if self.peer_closed.get() && !self.shut.get() {
            // What a shutdown met, reading meets too.
            let _met = ready!(self.io.borrow_mut().poll_shutdown(cx));
            self.shut.set(true);
        }
        // The rest of what the peer sends is read and dropped up to its own end, so that the kernel has no unread bytes
        // to answer with a reset, which could overtake our close frame.
        let mut buffer = worker.take_read_buffer();
        let end = loop {
            let polled = self.io.borrow_mut().poll_read(cx, &mut buffer);
            match polled {
                Poll::Ready(Ok(0)) => break Poll::Ready(done),
                Poll::Ready(Ok(n)) => self.look_for_close(buffer.get_mut(..n).unwrap_or_default()),
                Poll::Ready(Err(error)) => break Poll::Ready(LinkEnd::Io(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        worker.put_read_buffer(buffer);
        end
    }

    /// Looks for the peer's answer to our close; anything before it is too late to be handled.
    fn look_for_close(&self, bytes: &mut [u8]) {
        let mut at = 0;
        let mut decoder = self.decoder.borrow_mut();
        while !self.peer_closed.get() {
            match decoder.decode(bytes, &mut at) {
                Ok(Some(Message::Close(frame))) => {
                    self.peer_closed.set(true);
                    self.peer_code.set(frame.map(|frame| frame.code));
                    self.wake();
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.peer_closed.set(true);
                    self.wake();
                }
            }
        }
    }
}
