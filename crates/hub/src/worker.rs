//! Workers: a thread with a current-thread runtime, the sessions it owns, and the tasks that serve them all.
//!
//! A worker runs three tasks of its own beside its connections': one takes commands from the inbox, one flushes the outboxes that
//! changed, one keeps the timers.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::{Notify, mpsc};

use crate::command::{Broadcast, Command, Target};
use crate::inbox::Inbox;
use crate::member::{Endpoint, Member, MemberId, MemberKey, ScopeId};
use crate::outbox::{Outbox, Pool};
use crate::rooms::{RoomName, Rooms};
use crate::timers::Timers;
use crate::{HubError, Variant};

/// The size of the one buffer that all connections of a worker read into.
const READ_BUFFER: usize = 256 * 1024;

/// Commands taken from the inbox before other tasks get their turn.
const COMMANDS_A_TURN: usize = 64;

thread_local! {
    static CURRENT: OnceCell<Rc<Worker>> = const { OnceCell::new() };
}

/// A worker's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Finds a session again, on its worker. A key outlives its session and then finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    index: u32,
    generation: u32,
}

/// One conversation with one peer, over whatever transport. Implemented by the protocols.
pub trait Session: 'static {
    /// What waits to be written.
    fn outbox(&self) -> &Outbox;

    /// Writes what the transport takes now. Called by the worker's flusher after the outbox changed, never from inside of
    /// another call to the session.
    fn flush(&self, worker: &Rc<Worker>);

    /// Whether the transport would take a packet at once; volatile ones are dropped where not.
    fn writable(&self) -> bool;

    /// The outbox met its bound: the session is to be closed, with a reason.
    fn overflow(&self, worker: &Rc<Worker>);

    /// A deadline set by [`Worker::arm`] has come, or a session's own has. Returns when to call again, if ever.
    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant>;

    /// The server is shutting down: the session is to be closed, with that reason.
    fn shut_down(&self, worker: &Rc<Worker>);

    /// The protocol's own type, for the protocol.
    fn as_any(&self) -> &dyn Any;
}

/// A counter of one worker, published to `metrics` once a second: nothing is shared on the message path.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }
}

/// What happens too often on a worker to be published one by one.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages that peers sent.
    pub messages_received: Count,
    /// Messages queued for peers.
    pub messages_sent: Count,
    /// Bytes that peers sent.
    pub bytes_received: Count,
    /// Bytes written to peers.
    pub bytes_sent: Count,
    /// Volatile packets dropped because a transport would not take them at once.
    pub volatile_dropped: Count,
}

struct SessionSlot {
    generation: u32,
    session: Rc<dyn Session>,
    /// The tick of the one timer that counts; others of this session are stale.
    armed: Option<(Instant, u64)>,
}

/// The sizes of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Threads; 1 to 256. Default: the number of cores.
    pub workers: usize,
    /// Commands that a worker's inbox holds. Default 65 536. A full inbox refuses: see [`HubError::InboxFull`].
    pub inbox_capacity: usize,
    /// Rooms that one member may be in, its own not counted. Default 10 000.
    pub max_rooms: usize,
}

impl Default for HubOptions {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self { workers, inbox_capacity: 65_536, max_rooms: 10_000 }
    }
}

/// A set of workers.
#[derive(Debug)]
pub struct Hub {
    inboxes: Box<[Inbox]>,
    scopes: Mutex<HashMap<Box<str>, ScopeId>>,
    max_rooms: usize,
    /// Deals out work that belongs to no worker yet.
    turn: AtomicUsize,
}

impl Hub {
    /// Starts the workers' threads.
    ///
    /// # Errors
    /// Those of starting a thread or a runtime.
    pub fn start(options: &HubOptions) -> io::Result<Arc<Self>> {
        let (hub, receivers) = Self::without_threads(options);
        for (number, receiver) in receivers.into_iter().enumerate() {
            let id = WorkerId(number as u8);
            let hub = Arc::clone(&hub);
            let runtime = move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    // Whole turns of many connections before the poller is asked again.
                    .event_interval(256)
                    .build_local(tokio::runtime::LocalOptions::default())
            };
            std::thread::Builder::new().name(format!("switchboard-{id}")).spawn(move || match runtime() {
                Ok(runtime) => runtime.block_on(Worker::run(id, hub, receiver)),
                Err(error) => tracing::error!(worker = %id, %error, "a worker could not start"),
            })?;
        }
        Ok(hub)
    }

    /// A hub whose workers the caller runs with [`Worker::run`]: for a runtime of one's own, and for tests in virtual time.
    pub fn without_threads(options: &HubOptions) -> (Arc<Self>, Vec<mpsc::Receiver<Command>>) {
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..options.workers.clamp(1, 256))
            .map(|number| Inbox::new(WorkerId(number as u8), options.inbox_capacity))
            .unzip();
        let hub = Self {
            inboxes: inboxes.into_boxed_slice(),
            scopes: Mutex::default(),
            max_rooms: options.max_rooms,
            turn: AtomicUsize::new(0),
        };
        (Arc::new(hub), receivers)
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.inboxes.len()
    }

    /// The scope of this name, made at the first call.
    pub fn scope(&self, name: &str) -> ScopeId {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ScopeId(scopes.len() as u32);
        *scopes.entry(name.into()).or_insert(next)
    }

    /// A worker for something new: this thread's where it is one, each in turn elsewhere.
    pub fn next_worker(&self) -> WorkerId {
        Worker::current().map_or_else(
            || WorkerId((self.turn.fetch_add(1, Ordering::Relaxed) % self.inboxes.len()) as u8),
            |worker| worker.id,
        )
    }

    /// Sends a command to a worker.
    ///
    /// # Errors
    /// [`HubError::InboxFull`] where there is no room; nothing was sent then. [`HubError::Stopped`] after the end.
    pub fn send(&self, to: WorkerId, command: Command) -> Result<(), HubError> {
        let inbox = self.inboxes.get(usize::from(to.0)).ok_or(HubError::Stopped(to))?;
        inbox.send(command).inspect_err(|error| {
            if let HubError::InboxFull(full) = error {
                Worker::with_current(|worker| worker.pressure.set(Some(*full)));
            }
        })
    }

    /// Sends a command to a worker as soon as its inbox has room. Cancel safe: dropped before it is ready, nothing was sent.
    ///
    /// # Errors
    /// [`HubError::Stopped`] after the end.
    pub async fn send_when_room(&self, to: WorkerId, command: Command) -> Result<(), HubError> {
        let inbox = self.inboxes.get(usize::from(to.0)).ok_or(HubError::Stopped(to))?;
        inbox.send_when_room(command).await
    }

    /// Runs `f` on a worker: in place on that worker's own thread, by its inbox from elsewhere.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn run_on(
        &self,
        to: WorkerId,
        f: impl FnOnce(&Rc<Worker>) + Send + 'static,
    ) -> Result<(), HubError> {
        match Worker::current() {
            Some(worker) if worker.id == to => {
                f(&worker);
                Ok(())
            }
            _ => self.send(to, Command::Run(Box::new(f))),
        }
    }

    /// Sends a broadcast to the members of all workers; to this thread's own at once.
    ///
    /// # Errors
    /// The first one met. The others have been sent to.
    pub fn broadcast(&self, broadcast: Broadcast) -> Result<(), HubError> {
        match Worker::current() {
            Some(worker) if self.inboxes.len() == 1 => {
                worker.fan_out(&broadcast);
                Ok(())
            }
            current => {
                let broadcast = Arc::new(broadcast);
                let sent = self.send_all_but(current.as_deref(), || Command::Broadcast(Arc::clone(&broadcast)));
                if let Some(worker) = current {
                    worker.fan_out(&broadcast);
                }
                sent
            }
        }
    }

    /// Sends a command to every worker; this thread's own carries it out at once.
    ///
    /// # Errors
    /// The first one met. The others have been sent to.
    pub fn send_all(&self, command: impl Fn() -> Command) -> Result<(), HubError> {
        let current = Worker::current();
        let sent = self.send_all_but(current.as_deref(), &command);
        if let Some(worker) = current {
            worker.carry_out(command());
        }
        sent
    }

    fn send_all_but(&self, but: Option<&Worker>, command: impl Fn() -> Command) -> Result<(), HubError> {
        let mut sent = Ok(());
        for number in 0..self.inboxes.len() {
            let to = WorkerId(number as u8);
            if but.is_none_or(|worker| worker.id != to) {
                sent = sent.and(self.send(to, command()));
            }
        }
        sent
    }
}

/// A worker, as its own thread sees it.
pub struct Worker {
    id: WorkerId,
    hub: Arc<Hub>,
    origin: Instant,
    rooms: RefCell<Rooms>,
    sessions: RefCell<Slab<SessionSlot>>,
    session_generation: Cell<u32>,
    mark: Cell<u64>,
    dirty: RefCell<Vec<Rc<dyn Session>>>,
    flusher: RefCell<Option<Waker>>,
    timers: RefCell<Timers<SessionKey>>,
    timers_changed: Notify,
    pool: Pool,
    scratch: RefCell<Vec<u8>>,
    read_buffer: RefCell<Option<Box<[u8]>>>,
    /// An inbox that was found full, for whoever's handler found it so.
    pressure: Cell<Option<WorkerId>>,
    stats: Stats,
    /// Room for what protocols keep for each worker.
    extensions: RefCell<HashMap<std::any::TypeId, Rc<dyn Any>>>,
}

impl Worker {
    /// The worker whose thread this is.
    pub fn current() -> Option<Rc<Self>> {
        CURRENT.try_with(|current| current.get().cloned()).ok().flatten()
    }

    /// Like [`current`](Self::current), without taking a reference.
    pub fn with_current<T>(f: impl FnOnce(&Rc<Self>) -> T) -> Option<T> {
        CURRENT.try_with(|current| current.get().map(f)).ok().flatten()
    }

    /// Runs a worker on this thread until it is stopped. Must be called inside a `LocalRuntime` or `LocalSet`, once for each thread.
    pub async fn run(id: WorkerId, hub: Arc<Hub>, mut inbox: mpsc::Receiver<Command>) {
        let worker = CURRENT.with(|current| Rc::clone(current.get_or_init(|| Rc::new(Self::new(id, hub)))));
        tokio::task::spawn_local(Rc::clone(&worker).flush_changed());
        tokio::task::spawn_local(Rc::clone(&worker).keep_time());
        let mut commands = Vec::with_capacity(COMMANDS_A_TURN);
        'run: while inbox.recv_many(&mut commands, COMMANDS_A_TURN).await > 0 {
            for command in commands.drain(..) {
                if matches!(command, Command::Stop) {
                    break 'run;
                }
                worker.carry_out(command);
            }
        }
        tracing::debug!(worker = %id, "stopped");
    }

    fn new(id: WorkerId, hub: Arc<Hub>) -> Self {
        Self {
            id,
            hub,
            origin: Self::clock(),
            rooms: RefCell::default(),
            sessions: RefCell::default(),
            session_generation: Cell::new(0),
            mark: Cell::new(0),
            dirty: RefCell::default(),
            flusher: RefCell::default(),
            timers: RefCell::new(Timers::new(Self::clock())),
            timers_changed: Notify::new(),
            pool: Pool::default(),
            scratch: RefCell::default(),
            read_buffer: RefCell::default(),
            pressure: Cell::new(None),
            stats: Stats::default(),
            extensions: RefCell::default(),
        }
    }

    /// The time, as the runtime has it: virtual in tests.
    pub fn clock() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// When the worker started: the moment that sans-I/O machines count time from.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// How long ago that was.
    pub fn elapsed(&self) -> Duration {
        Self::clock().saturating_duration_since(self.origin)
    }

    /// This worker's number.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The hub it belongs to.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Its counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What a protocol keeps for each worker, made at the first call.
    pub fn extension<T: Default + 'static>(&self) -> Rc<T> {
        let key = std::any::TypeId::of::<T>();
        let found = self.extensions.borrow().get(&key).map(Rc::clone);
        let any = found.unwrap_or_else(|| {
            let made: Rc<dyn Any> = Rc::new(T::default());
            self.extensions.borrow_mut().insert(key, Rc::clone(&made));
            made
        });
        any.downcast().unwrap_or_default()
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Broadcast(broadcast) => {
                self.fan_out(&broadcast);
            }
            Command::Join(target, rooms) => {
                for key in self.matching(&target) {
                    for room in &rooms {
                        // Members that have gone, or are in too many rooms, stay as they are.
                        if let Err(error) = self.join(key, room) {
                            tracing::debug!(%error, %room, "a member did not join");
                        }
                    }
                }
            }
            Command::Leave(target, rooms) => {
                for key in self.matching(&target) {
                    for room in &rooms {
                        let _gone = self.leave(key, room);
                    }
                }
            }
            Command::Disconnect { target, close } => {
                for endpoint in self.matching(&target).into_iter().filter_map(|key| self.endpoint(key)) {
                    endpoint.disconnect(close);
                }
            }
            Command::Run(f) => {
                // A panic in one piece of work is not the worker's end.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(self))).is_err() {
                    tracing::error!(worker = %self.id, "a command panicked");
                }
            }
            Command::Stop => {}
        }
    }

    // Sessions.

    /// Adds a session to those this worker owns.
    pub fn add_session(&self, session: Rc<dyn Session>) -> SessionKey {
        let generation = self.session_generation.get().wrapping_add(1);
        self.session_generation.set(generation);
        let slot = SessionSlot { generation, session, armed: None };
        SessionKey { index: self.sessions.borrow_mut().insert(slot) as u32, generation }
    }

    /// Forgets a session. What waits in its outbox is not written any more, unless its transport does.
    pub fn remove_session(&self, key: SessionKey) {
        let removed = {
            let mut sessions = self.sessions.borrow_mut();
            let live = sessions.get(key.index as usize).is_some_and(|slot| slot.generation == key.generation);
            live.then(|| sessions.remove(key.index as usize))
        };
        drop(removed);
    }

    /// The session of a key.
    pub fn session(&self, key: SessionKey) -> Option<Rc<dyn Session>> {
        let sessions = self.sessions.borrow();
        let slot = sessions.get(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        Some(Rc::clone(&slot.session))
    }

    /// All sessions of this worker.
    pub fn sessions(&self) -> Vec<Rc<dyn Session>> {
        self.sessions.borrow().iter().map(|(_, slot)| Rc::clone(&slot.session)).collect()
    }

    /// Makes sure that the session's timer is called at `deadline` at the latest.
    pub fn arm(&self, key: SessionKey, deadline: Instant) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(slot) = sessions.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation) else {
            return;
        };
        if slot.armed.is_some_and(|(armed, _)| armed <= deadline) {
            return;
        }
        let mut timers = self.timers.borrow_mut();
        let before = timers.next_deadline();
        let tick = timers.insert(Self::clock(), deadline, key);
        slot.armed = Some((deadline, tick));
        if timers.next_deadline() != before {
            self.timers_changed.notify_one();
        }
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let next = self.timers.borrow().next_deadline();
            match next {
                Some(next) => tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => self.expire_timers(),
                    () = self.timers_changed.notified() => {}
                },
                None => self.timers_changed.notified().await,
            }
        }
    }

    fn expire_timers(self: &Rc<Self>) {
        let now = Self::clock();
        loop {
            let due = self.timers.borrow_mut().expire(now);
            let Some((tick, keys)) = due else { return };
            for key in keys {
                let session = {
                    let mut sessions = self.sessions.borrow_mut();
                    sessions
                        .get_mut(key.index as usize)
                        .filter(|slot| slot.generation == key.generation)
                        .filter(|slot| slot.armed.is_some_and(|(_, armed)| armed == tick))
                        .map(|slot| {
                            slot.armed = None;
                            Rc::clone(&slot.session)
                        })
                };
                if let Some(next) = session.and_then(|session| session.on_timer(self, now)) {
                    self.arm(key, next);
                }
            }
        }
    }

    // Writing.

    /// Encodes one packet for a session with `encode`, which may only append to its buffer and must not call the worker.
    ///
    /// # Errors
    /// [`HubError::OutboxFull`]; the session is closed when the worker next flushes.
    pub fn write(
        self: &Rc<Self>,
        session: &Rc<dyn Session>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), HubError> {
        let outbox = session.outbox();
        if let Err(full) = outbox.check() {
            self.overflow(session);
            return Err(HubError::OutboxFull { bytes: full.bytes, limit: full.limit });
        }
        outbox.write(&self.pool, encode);
        self.stats.messages_sent.add(1);
        self.changed(session);
        Ok(())
    }

    pub(crate) fn deliver_shared(self: &Rc<Self>, session: &Rc<dyn Session>, packet: &Rc<[u8]>) -> bool {
        let outbox = session.outbox();
        if outbox.check().is_err() {
            self.overflow(session);
            return false;
        }
        outbox.push_shared(&self.pool, packet);
        self.stats.messages_sent.add(1);
        self.changed(session);
        true
    }

    fn overflow(&self, session: &Rc<dyn Session>) {
        if !session.outbox().overflowed.replace(true) {
            metrics::counter!("switchboard_outbox_overflow_total").increment(1);
            self.changed(session);
        }
    }

    /// Tells the flusher that the session has something to write (or another reason to be flushed).
    pub fn changed(&self, session: &Rc<dyn Session>) {
        if session.outbox().dirty.replace(true) {
            return;
        }
        let mut dirty = self.dirty.borrow_mut();
        dirty.push(Rc::clone(session));
        if dirty.len() == 1
            && let Some(flusher) = self.flusher.borrow().as_ref()
        {
            flusher.wake_by_ref();
        }
    }

    /// Runs after all connections that were ready in this turn, so that a burst of packets to one peer is one write.
    async fn flush_changed(self: Rc<Self>) {
        let mut batch = Vec::new();
        poll_fn(|context| {
            if self.flusher.borrow().as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                *self.flusher.borrow_mut() = Some(context.waker().clone());
            }
            std::mem::swap(&mut batch, &mut *self.dirty.borrow_mut());
            for session in batch.drain(..) {
                session.outbox().dirty.set(false);
                if session.outbox().overflowed.replace(false) {
                    session.overflow(&self);
                }
                session.flush(&self);
            }
            // What closing sessions wrote meanwhile has its own turn.
            if !self.dirty.borrow().is_empty() {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Shows a session's waiting bytes to `write`, which returns how many it wrote; these are gone then.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn drain<E>(
        &self,
        outbox: &Outbox,
        write: impl FnOnce(&[io::IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let written = outbox.drain(&self.pool, write)?;
        self.stats.bytes_sent.add(written as u64);
        Ok(written)
    }

    /// Takes all that waits in an outbox.
    pub fn take(&self, outbox: &Outbox) -> Vec<u8> {
        let body = outbox.take(&self.pool);
        self.stats.bytes_sent.add(body.len() as u64);
        body
    }

    /// Lends the worker's scratch buffer, empty. Calls may nest; an inner one gets a buffer of its own.
    pub fn with_scratch<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut buffer = std::mem::take(&mut *self.scratch.borrow_mut());
        buffer.clear();
        let result = f(&mut buffer);
        if buffer.capacity() <= READ_BUFFER {
            *self.scratch.borrow_mut() = buffer;
        }
        result
    }

    /// Takes the buffer that connections read into; to be given back with [`put_read_buffer`](Self::put_read_buffer).
    pub fn take_read_buffer(&self) -> Box<[u8]> {
        self.read_buffer.borrow_mut().take().unwrap_or_else(|| vec![0; READ_BUFFER].into_boxed_slice())
    }

    /// Gives the buffer back.
    pub fn put_read_buffer(&self, buffer: Box<[u8]>) {
        *self.read_buffer.borrow_mut() = Some(buffer);
    }

    /// Whether a full inbox was met since the last call. Whoever's input led there waits for room before reading on.
    pub fn take_pressure(&self) -> Option<WorkerId> {
        self.pressure.take()
    }

    /// Returns when the inbox of `to` has room.
    pub async fn room(&self, to: WorkerId) {
        if let Some(inbox) = self.hub.inboxes.get(usize::from(to.0)) {
            inbox.room().await;
        }
    }

    // Members.

    /// Adds a member to a scope.
    pub fn add_member(
        &self,
        scope: ScopeId,
        id: MemberId,
        variant: Variant,
        session: Rc<dyn Session>,
        endpoint: Rc<dyn Endpoint>,
    ) -> MemberKey {
        let (index, generation) = self.rooms.borrow_mut().insert(|generation| Member {
            generation,
            scope,
            id,
            variant,
            position: 0,
            seats: smallvec::SmallVec::new(),
            mark: Cell::new(0),
            session,
            endpoint,
        });
        MemberKey { worker: self.id, index, generation }
    }

    /// Takes a member out of its scope and all its rooms. Returns whether it was there.
    pub fn remove_member(&self, key: MemberKey) -> bool {
        let removed = self.rooms.borrow_mut().remove(key.index, key.generation);
        removed.is_some()
    }

    /// The endpoint of a member.
    pub fn endpoint(&self, key: MemberKey) -> Option<Rc<dyn Endpoint>> {
        let rooms = self.rooms.borrow();
        Some(Rc::clone(&rooms.get(key.index, key.generation)?.endpoint))
    }

    /// Lets a member join a room. Returns whether it was not in it before.
    ///
    /// # Errors
    /// [`HubError::Gone`], [`HubError::TooManyRooms`].
    pub fn join(&self, key: MemberKey, room: &str) -> Result<bool, HubError> {
        self.rooms.borrow_mut().join(key.index, key.generation, room, self.hub.max_rooms)
    }

    /// Lets a member leave a room. Returns whether it was in it.
    ///
    /// # Errors
    /// [`HubError::Gone`].
    pub fn leave(&self, key: MemberKey, room: &str) -> Result<bool, HubError> {
        self.rooms.borrow_mut().leave(key.index, key.generation, room)
    }

    /// The rooms a member has joined (that of its own id is not among them).
    pub fn rooms_of(&self, key: MemberKey) -> Option<Vec<RoomName>> {
        self.rooms.borrow().rooms_of(key.index, key.generation)
    }

    /// The members of this worker that a target names.
    pub fn matching(&self, target: &Target) -> Vec<MemberKey> {
        let mut keys = Vec::new();
        let mark = self.next_mark();
        self.rooms.borrow().visit(target, mark, |index, member| {
            keys.push(MemberKey { worker: self.id, index, generation: member.generation });
        });
        keys
    }

    pub(crate) fn visit(&self, target: &Target, mut visit: impl FnMut(&Member)) {
        let mark = self.next_mark();
        self.rooms.borrow().visit(target, mark, |_, member| visit(member));
    }

    fn next_mark(&self) -> u64 {
        let mark = self.mark.get() + 1;
        self.mark.set(mark);
        mark
    }
}
