//! The events of a socket that wait for its handlers, and what its client may have under way in all
//! namespaces.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use switchboard_hub::Worker;

use super::local::LocalSocket;
use super::options::SocketIoOptions;
use super::rates::ClientMeters;
use super::sockets::Sockets;
use crate::limits::meter::Meter;

/// An event on its way to handlers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRef<'a> {
    pub(crate) name: &'a str,
    /// `["event",argument,…]`, and where the arguments begin.
    pub(crate) data: &'a str,
    pub(crate) offset: usize,
    pub(crate) attachments: &'a [Bytes],
    pub(crate) ack: Option<u64>,
}

impl EventRef<'_> {
    /// The bytes that the client sent.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    pub(crate) fn size(&self) -> usize {
        size_of::<HeldEvent>() + self.name.len() + self.bytes()
    }

    /// The event with its own parts. They count for the socket's client until they are dropped.
    pub(crate) fn keep(self, socket: &LocalSocket) -> HeldEvent {
        let sockets = socket.sockets.upgrade();
        HeldEvent {
            name: self.name.into(),
            data: self.data.into(),
            offset: self.offset,
            attachments: self.attachments.into(),
            ack: self.ack,
            is_early: false,
            charge: sockets.map(|sockets| Charge::new(sockets.load(), self.size())),
        }
    }
}

/// An event that waits for a handler, or for one to be done: it owns its parts.
pub(crate) struct HeldEvent {
    name: Box<str>,
    data: Box<str>,
    offset: usize,
    attachments: Box<[Bytes]>,
    ack: Option<u64>,
    is_early: bool,
    charge: Option<Charge>,
}

impl HeldEvent {
    pub(crate) fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            name: &self.name,
            data: &self.data,
            offset: self.offset,
            attachments: &self.attachments,
            ack: self.ack,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.as_ref().size()
    }

    /// It has met all handlers but its own, which was not there.
    pub(crate) fn set_early(&mut self) {
        self.is_early = true;
    }

    pub(crate) fn is_early(&self) -> bool {
        self.is_early
    }

    /// A handler of the event waits.
    pub(crate) fn count_handler(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.count_handler();
        }
    }
}

/// The events of one socket that wait for a handler to be done, and the weight of those with concurrent
/// handlers.
#[derive(Default)]
pub(crate) struct Queue {
    /// Why events do not go straight to their handlers: [`BUSY`], [`METERED`].
    detours: Cell<u8>,
    /// The client is held back because of this queue.
    full: Cell<bool>,
    bytes: Cell<usize>,
    held: RefCell<VecDeque<HeldEvent>>,
}

/// A handler waits.
const BUSY: u8 = 1;

/// Events count in rates.
const METERED: u8 = 2;

impl Queue {
    pub(crate) fn set_busy(&self, busy: bool) {
        let others = self.detours.get() & !BUSY;
        self.detours.set(others | if busy { BUSY } else { 0 });
    }

    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.detours.get() & BUSY != 0
    }

    /// From now on events count in rates.
    pub(crate) fn set_metered(&self) {
        self.detours.set(self.detours.get() | METERED);
    }

    pub(crate) fn is_metered(&self) -> bool {
        self.detours.get() & METERED != 0
    }

    /// Whether an event goes straight to its handlers.
    #[inline]
    pub(crate) fn is_straight(&self) -> bool {
        self.detours.get() == 0
    }

    /// Puts events before those that wait.
    pub(crate) fn put_before(&self, events: Vec<HeldEvent>, socket: &LocalSocket) {
        for event in events.into_iter().rev() {
            self.add(event.size(), socket);
            self.held.borrow_mut().push_front(event);
        }
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.held.borrow().len()
    }

    pub(crate) fn hold(&self, event: EventRef<'_>, socket: &LocalSocket) {
        self.add(event.size(), socket);
        self.held.borrow_mut().push_back(event.keep(socket));
    }

    pub(crate) fn next(&self, socket: &LocalSocket, worker: &Rc<Worker>) -> Option<HeldEvent> {
        let event = self.held.borrow_mut().pop_front();
        match &event {
            Some(event) => self.subtract(event.size(), socket, worker),
            None => self.held.borrow_mut().shrink_to(0),
        }
        event
    }

    /// Counts bytes of an event; the client is held back where they are more than may be.
    pub(crate) fn add(&self, bytes: usize, socket: &LocalSocket) {
        self.bytes.set(self.bytes.get() + bytes);
        if self.bytes.get() > socket.options().max_held_bytes && !self.full.replace(true) {
            metrics::counter!("switchboard_held_events_full_total").increment(1);
            if let Some(sockets) = socket.sockets.upgrade() {
                sockets.hold_back();
            }
        }
    }

    pub(crate) fn subtract(&self, bytes: usize, socket: &LocalSocket, worker: &Rc<Worker>) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
        if self.bytes.get() <= socket.options().max_held_bytes / 2 {
            self.let_go(socket, worker);
        }
    }

    /// The client is not held back because of this queue any more.
    pub(crate) fn let_go(&self, socket: &LocalSocket, worker: &Rc<Worker>) {
        if self.full.replace(false)
            && let Some(sockets) = socket.sockets.upgrade()
        {
            sockets.let_go(worker);
        }
    }

    /// Drops what is held; returns how many events that were.
    pub(crate) fn clear(&self, socket: &LocalSocket, worker: &Rc<Worker>) -> usize {
        let dropped = self.held.take();
        self.bytes.set(0);
        self.let_go(socket, worker);
        dropped.len()
    }
}

/// What one client has under way, in all its namespaces. What began for a socket that has left counts until
/// it is done.
pub(crate) struct Load {
    options: Arc<SocketIoOptions>,
    sockets: Weak<Sockets>,
    /// Middleware and `on_connect` that wait.
    joins: Cell<usize>,
    /// Bytes of `auth`.
    auth: Cell<usize>,
    /// Handlers of events that wait.
    handlers: Cell<usize>,
    /// Bytes of events that wait, or whose handlers do.
    bytes: Cell<usize>,
    /// The client is held back because of them.
    full: Cell<bool>,
    /// Rates that the client counts in, if there are any.
    pub(super) meters: OnceCell<ClientMeters>,
    /// Rates for which the client is held back.
    pub(super) rate_waits: RefCell<Vec<Arc<Meter>>>,
    /// Set when the client has gone.
    left_over: RefCell<Option<Rc<LeftOver>>>,
}

/// Bytes of events that are still with a worker after the end of their clients.
#[derive(Default)]
struct LeftOver {
    bytes: Cell<usize>,
}

impl Load {
    pub(crate) fn new(options: &Arc<SocketIoOptions>, sockets: &Weak<Sockets>) -> Rc<Self> {
        Rc::new(Self {
            options: Arc::clone(options),
            sockets: Weak::clone(sockets),
            joins: Cell::new(0),
            auth: Cell::new(0),
            handlers: Cell::new(0),
            bytes: Cell::new(0),
            full: Cell::new(false),
            meters: OnceCell::new(),
            rate_waits: RefCell::default(),
            left_over: RefCell::default(),
        })
    }

    /// Middleware and `on_connect` that wait.
    pub(crate) fn joins(&self) -> usize {
        self.joins.get()
    }

    /// The client has gone. `false`: its events are more than the worker may have left over.
    pub(crate) fn outlives_client(&self, worker: &Worker) -> bool {
        let left_over = self
            .left_over
            .borrow_mut()
            .get_or_insert_with(|| {
                let left_over = worker.extension::<LeftOver>();
                left_over.bytes.set(left_over.bytes.get() + self.bytes.get());
                left_over
            })
            .bytes
            .get();
        left_over <= self.options.max_left_over_bytes
    }

    fn check_full(&self) {
        let is_full = self.bytes.get() > self.options.max_client_held_bytes
            || self.handlers.get() > self.options.max_waiting_handlers;
        if is_full && !self.full.replace(true) {
            metrics::counter!("switchboard_held_events_full_total").increment(1);
            if let Some(sockets) = self.sockets.upgrade() {
                sockets.hold_back();
            }
        }
    }

    fn check_room(&self) {
        let has_room = self.bytes.get() <= self.options.max_client_held_bytes / 2
            && self.handlers.get() <= self.options.max_waiting_handlers / 2;
        if self.full.get() && has_room {
            self.full.set(false);
            if let (Some(sockets), Some(worker)) = (self.sockets.upgrade(), Worker::current()) {
                sockets.let_go(&worker);
            }
        }
    }
}

/// An event's part of what its client has under way.
struct Charge {
    load: Rc<Load>,
    bytes: usize,
    handler: bool,
}

impl Charge {
    fn new(load: Rc<Load>, bytes: usize) -> Self {
        load.bytes.set(load.bytes.get() + bytes);
        load.check_full();
        Self { load, bytes, handler: false }
    }

    fn count_handler(&mut self) {
        if !std::mem::replace(&mut self.handler, true) {
            self.load.handlers.set(self.load.handlers.get() + 1);
            self.load.check_full();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let load = &self.load;
        load.bytes.set(load.bytes.get().saturating_sub(self.bytes));
        load.handlers.set(load.handlers.get().saturating_sub(usize::from(self.handler)));
        if let Some(left_over) = &*load.left_over.borrow() {
            left_over.bytes.set(left_over.bytes.get().saturating_sub(self.bytes));
        }
        load.check_room();
    }
}

/// A join's part of what its client has under way: from the first time that its middleware waits, until
/// `on_connect` is done.
pub(crate) struct JoinCharge(Rc<Load>);

impl JoinCharge {
    pub(crate) fn new(load: Rc<Load>) -> Self {
        load.joins.set(load.joins.get() + 1);
        Self(load)
    }
}

impl Drop for JoinCharge {
    fn drop(&mut self) {
        self.0.joins.set(self.0.joins.get().saturating_sub(1));
    }
}

/// The `auth` of a socket, as long as the socket or its middleware is there.
pub(crate) struct AuthCharge {
    load: Rc<Load>,
    bytes: usize,
}

impl AuthCharge {
    /// `None`: the client keeps as much as it may.
    pub(crate) fn new(load: Rc<Load>, bytes: usize) -> Option<Rc<Self>> {
        let total = load.auth.get().saturating_add(bytes);
        if total > load.options.max_auth_bytes {
            return None;
        }
        load.auth.set(total);
        Some(Rc::new(Self { load, bytes }))
    }
}

impl Drop for AuthCharge {
    fn drop(&mut self) {
        self.load.auth.set(self.load.auth.get().saturating_sub(self.bytes));
    }
}

/// Counts events that their handlers do not get.
pub(crate) fn count_dropped(events: usize, reason: &'static str) {
    if events > 0 {
        metrics::counter!("switchboard_events_dropped_total", "reason" => reason).increment(events as u64);
    }
}
