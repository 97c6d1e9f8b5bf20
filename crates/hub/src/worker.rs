//! Workers: a thread with a current-thread runtime, the sessions it owns, and the tasks that serve them all.
//!
//! A worker runs tasks of its own beside those of its connections: one takes commands from the inbox, one
//! flushes the outboxes that changed, one keeps the timers, one publishes the counters.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::Add;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::command::Command;
use crate::hub::Hub;
use crate::inbox::{Inbox, InboxReceiver};
use crate::outbox::Pool;
use crate::rooms::Rooms;
use crate::sessions::{Session, SessionKey, SessionSlot};
use crate::stats::Stats;
use crate::timers::Timers;
use crate::{Broadcast, MemberId};

/// The size of the one buffer that all connections of a worker read into.
const READ_BUFFER: usize = 256 * 1024;

/// Commands taken from the inbox before other tasks get their turn.
const COMMANDS_A_TURN: usize = 64;

/// How often counters are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Scratch buffers that a worker keeps for nested calls.
const SCRATCH_UP_TO: usize = 4;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// A worker's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The inbox that the handlers of one input found full, if any.
type Pressure = Option<WorkerId>;

/// A worker, as its own thread sees it.
pub struct Worker {
    id: WorkerId,
    hub: Arc<Hub>,
    origin: Instant,
    pub(crate) rooms: RefCell<Rooms>,
    pub(crate) sessions: RefCell<Slab<SessionSlot>>,
    pub(crate) session_generation: Cell<u32>,
    pub(crate) mark: Cell<u64>,
    pub(crate) dirty: RefCell<Vec<Rc<dyn Session>>>,
    /// Broadcasts of this turn that are written at its end.
    pub(crate) deferred: RefCell<Vec<Arc<Broadcast>>>,
    pub(crate) flusher: RefCell<Option<Waker>>,
    /// Sessions that have yet to be told of packets that were dropped, and how many those are.
    pub(crate) dropped: RefCell<Vec<(Rc<dyn Session>, usize)>>,
    /// Ordered broadcasts of this thread that wait in this worker's inbox.
    pub(crate) own_ordered: Cell<usize>,
    pub(crate) timers: RefCell<Timers<SessionKey>>,
    pub(crate) timers_changed: Notify,
    pub(crate) pool: Pool,
    /// Tasks that wait for room in an outbox.
    pub(crate) awaiting_room: RefCell<Vec<Waker>>,
    /// The scratch buffer that is lent first, and the buffers for nested calls.
    scratch: Cell<Vec<u8>>,
    more_scratch: RefCell<Vec<Vec<u8>>>,
    read_buffer: RefCell<Option<Box<[u8]>>>,
    /// Set while a peer's input is handled: the full inbox that its handlers met, if any.
    pressure: Cell<Option<Pressure>>,
    stats: Stats,
    /// Wakes the inbox's task when this thread itself tells the worker to stop.
    stop: Notify,
    /// The state that protocols keep for each worker.
    extensions: RefCell<HashMap<std::any::TypeId, Rc<dyn Any>>>,
}

impl Worker {
    /// This thread's worker, of any hub; see [`Hub::here`].
    #[inline]
    pub fn current() -> Option<Rc<Self>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Runs a worker on this thread until it is stopped. It must be called inside a `LocalRuntime` or
    /// `LocalSet`. A thread runs one worker at a time: a second worker stops at once, which is logged. Cancel
    /// safe: when the future is dropped, the worker has stopped.
    pub async fn run(id: WorkerId, hub: Arc<Hub>, mut inbox: InboxReceiver) {
        let worker = Rc::new(Self::new(id, hub));
        let Some(_running) = Running::start(&worker) else {
            tracing::error!(worker = %id, "this thread runs another worker: this one stops");
            return;
        };
        let mut commands = Vec::with_capacity(COMMANDS_A_TURN);
        'run: while worker.next_commands(&mut inbox, &mut commands).await {
            for (_, command) in commands.drain(..) {
                match &command {
                    Command::Stop => break 'run,
                    Command::Ordered(ordered) => ordered.sent().await,
                    _ => {}
                }
                worker.execute(command);
            }
            // Commands that come while the other tasks of this turn run need no wake, which would cost their
            // sender a system call.
            after_this_turn().await;
        }
        tracing::debug!(worker = %id, "stopped");
    }

    /// Takes commands from the inbox. `false`: the worker is to stop, and has executed all commands that it
    /// had accepted.
    async fn next_commands(&self, inbox: &mut InboxReceiver, commands: &mut Vec<(usize, Command)>) -> bool {
        loop {
            if self.hub.inboxes.get(usize::from(self.id.0)).is_none_or(Inbox::is_stopping) {
                inbox.close();
            }
            tokio::select! {
                biased;
                open = inbox.recv_many(commands, COMMANDS_A_TURN) => return open,
                () = self.stop.notified() => {}
            }
        }
    }

    pub(crate) fn stop(&self) {
        if let Some(inbox) = self.hub.inboxes.get(usize::from(self.id.0)) {
            inbox.stop();
        }
        self.stop.notify_one();
    }

    pub(crate) fn new(id: WorkerId, hub: Arc<Hub>) -> Self {
        Self {
            id,
            hub,
            origin: Self::clock(),
            rooms: RefCell::default(),
            sessions: RefCell::default(),
            session_generation: Cell::new(0),
            mark: Cell::new(0),
            dirty: RefCell::default(),
            deferred: RefCell::default(),
            flusher: RefCell::default(),
            dropped: RefCell::default(),
            own_ordered: Cell::new(0),
            timers: RefCell::new(Timers::new(Self::clock())),
            timers_changed: Notify::new(),
            pool: Pool::default(),
            awaiting_room: RefCell::default(),
            scratch: Cell::default(),
            more_scratch: RefCell::default(),
            read_buffer: RefCell::default(),
            pressure: Cell::new(None),
            stats: Stats::default(),
            stop: Notify::new(),
            extensions: RefCell::default(),
        }
    }

    /// The time of the runtime, which is virtual in tests.
    pub fn clock() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// The moment that is `after` from now: [`deadline_from`](Self::deadline_from) the worker's clock.
    pub fn deadline(after: Duration) -> Instant {
        Self::deadline_from(Self::clock(), after)
    }

    /// The moment that is `after` from `begin`, at most 30 years from it. So `Duration::MAX` means never. For
    /// instants of the standard library and of tokio.
    pub fn deadline_from<I: Add<Duration, Output = I>>(begin: I, after: Duration) -> I {
        const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);
        begin + after.min(NEVER)
    }

    /// The moment when the worker started. Sans-I/O machines count time from there.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// The time since the worker [started](Self::origin).
    pub fn elapsed(&self) -> Duration {
        Self::clock().saturating_duration_since(self.origin)
    }

    /// This worker's number.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// An id for a new member of this worker. `None` where the system has no randomness.
    pub fn new_member_id(&self) -> Option<MemberId> {
        MemberId::random(self.hub.node, self.id)
    }

    /// The id of a member of this worker with these bytes as its random part.
    pub fn member_id_with(&self, random: [u8; 12]) -> MemberId {
        MemberId::with_random(self.hub.node, self.id, random)
    }

    /// The hub that it belongs to.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Its counters.
    #[inline]
    pub fn stats(&self) -> &Stats {
        self.stats.wake();
        &self.stats
    }

    /// A protocol's state for each worker, one of each type. It is made at the first call.
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

    /// Does a piece of work, and catches its panic, which is counted and logged: it is not the worker's end.
    pub(crate) fn catch_panic<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            metrics::counter!("switchboard_worker_panics_total").increment(1);
            tracing::error!(worker = %self.id, "{what} panicked");
        }
        done.ok()
    }

    async fn publish_stats(self: Rc<Self>) {
        loop {
            self.stats.woken().await;
            tokio::time::sleep(PUBLISH_EVERY).await;
            self.stats.publish(&self.hub.published);
        }
    }

    /// Lends one of the worker's scratch buffers, empty. Calls may nest; each call has a buffer of its own.
    #[inline]
    pub fn with_scratch<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut buffer = self.scratch.take();
        if buffer.capacity() == 0 {
            buffer = self.more_scratch.borrow_mut().pop().unwrap_or_default();
        }
        let result = f(&mut buffer);
        if buffer.capacity() <= READ_BUFFER {
            buffer.clear();
            let other = self.scratch.replace(buffer);
            if other.capacity() > 0 {
                self.keep_scratch(other);
            }
        }
        result
    }

    #[cold]
    fn keep_scratch(&self, buffer: Vec<u8>) {
        let mut kept = self.more_scratch.borrow_mut();
        if kept.len() < SCRATCH_UP_TO {
            kept.push(buffer);
        }
    }

    /// Takes the buffer that connections read into. The caller gives it back with
    /// [`put_read_buffer`](Self::put_read_buffer).
    pub fn take_read_buffer(&self) -> Box<[u8]> {
        self.read_buffer.borrow_mut().take().unwrap_or_else(|| vec![0; READ_BUFFER].into_boxed_slice())
    }

    /// Gives the read buffer back.
    pub fn put_read_buffer(&self, buffer: Box<[u8]>) {
        *self.read_buffer.borrow_mut() = Some(buffer);
    }

    /// Handles input of one peer with `f`. Returns the result of `f`, and the worker whose full inbox `f`
    /// met, if any. The caller must not read that peer again before the inbox has [room](Self::room). The
    /// peer's own output goes on.
    ///
    /// A full inbox that is met outside of a call (by a timer, or by a user's task) is an error value for its
    /// caller. It holds back no peer. Calls may nest: each reports only the full inbox that its own input
    /// met.
    pub fn handle_input<T>(&self, f: impl FnOnce() -> T) -> (T, Option<WorkerId>) {
        let input = Input { worker: self, outer: self.pressure.replace(Some(None)) };
        let result = f();
        (result, input.worker.pressure.get().flatten())
    }

    /// As [`handle_input`](Self::handle_input), for work that waits: a full inbox that its task meets belongs
    /// to the input that began the work. Cancel safe.
    pub async fn handle_input_in_task<T>(&self, work: impl Future<Output = T>) -> (T, Option<WorkerId>) {
        let mut work = std::pin::pin!(work);
        let mut full_inbox = None;
        let result = poll_fn(|context| {
            let (polled, full) = self.handle_input(|| work.as_mut().poll(context));
            full_inbox = full.or(full_inbox);
            polled
        });
        (result.await, full_inbox)
    }

    /// A full inbox was met on this thread.
    pub(crate) fn note_pressure(&self, full: WorkerId) {
        if self.pressure.get().is_some() {
            self.pressure.set(Some(Some(full)));
        }
    }

    /// Returns when the inbox of `to` has room.
    pub async fn room(&self, to: WorkerId) {
        if let Some(inbox) = self.hub.inboxes.get(usize::from(to.0)) {
            inbox.room().await;
        }
    }
}

/// Waits until the tasks that are ready now have had their turn.
async fn after_this_turn() {
    let mut first = true;
    poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// A peer's input that is being handled. When it is dropped, also by a panic, the input around it goes on.
struct Input<'a> {
    worker: &'a Worker,
    outer: Option<Pressure>,
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        self.worker.pressure.set(self.outer);
    }
}

/// A worker that runs on this thread, with its tasks. When it is dropped, the worker has stopped and its
/// sessions are gone.
struct Running {
    worker: Rc<Worker>,
    tasks: [JoinHandle<()>; 3],
}

impl Running {
    /// `None`: the thread runs a worker already.
    fn start(worker: &Rc<Worker>) -> Option<Self> {
        CURRENT.with_borrow_mut(|current| {
            let free = current.is_none();
            free.then(|| *current = Some(Rc::clone(worker)))
        })?;
        let tasks = [
            // tokio's budget for a task is spent by 128 writes. Each further write would be left to its
            // connection's own task.
            tokio::task::spawn_local(tokio::task::unconstrained(Rc::clone(worker).flush_changed())),
            tokio::task::spawn_local(Rc::clone(worker).keep_time()),
            tokio::task::spawn_local(Rc::clone(worker).publish_stats()),
        ];
        Some(Self { worker: Rc::clone(worker), tasks })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.worker.stats.publish(&self.worker.hub.published);
        // Sessions may call the worker when they are dropped: nothing of the worker is borrowed then.
        drop(self.worker.deferred.take());
        drop(self.worker.dirty.take());
        drop(self.worker.dropped.take());
        drop(self.worker.sessions.take());
        drop(self.worker.rooms.take());
        drop(self.worker.extensions.take());
        let _thread_ends = CURRENT.try_with(RefCell::take);
    }
}
