//! The hub: a set of workers, and the ways to reach them from any thread.

use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use crate::bus::Attached;
use crate::command::Command;
use crate::history::Histories;
use crate::inbox::{Inbox, InboxReceiver};
use crate::scopes::Scopes;
use crate::stats::{Published, Totals};
use crate::watch::Watches;
use crate::worker::{Worker, WorkerId};
use crate::{HubError, NodeId};

/// The sizes of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Threads; 1 to 256. Default: the number of cores.
    pub workers: usize,
    /// Commands that a worker's inbox holds. Default 65 536. A full inbox refuses: see
    /// [`HubError::InboxFull`].
    pub inbox_capacity: usize,
    /// Bytes of the commands that a worker's inbox holds: messages of broadcasts, bodies of requests, and
    /// messages from other threads. Default 64 MiB. One command may pass this bound, which is checked before
    /// a command is added. An inbox at its bound refuses: see [`HubError::InboxFull`].
    pub inbox_bytes: usize,
    /// Rooms that one member may be in; the room of its own id is not counted. Default 10 000.
    pub max_rooms: usize,
    /// This process's number among those that a [`Bus`](crate::Bus) connects. Default 0.
    pub node: NodeId,
    /// How long [`Hub::ask`] awaits the answers of other nodes. Default 5 s. A missing answer is
    /// [`HubError::NoReply`].
    pub reply_timeout: Duration,
}

impl Default for HubOptions {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers,
            inbox_capacity: 65_536,
            inbox_bytes: 64 << 20,
            max_rooms: 10_000,
            node: NodeId(0),
            reply_timeout: Duration::from_secs(5),
        }
    }
}

/// The stack of a worker's thread. To read nested arguments takes up to 3 KiB for each level, up to the bound
/// of nesting. Pages that are not used take no memory.
const STACK: usize = 8 << 20;

/// A set of workers.
#[derive(Debug)]
pub struct Hub {
    pub(crate) inboxes: Box<[Inbox]>,
    pub(crate) scopes: RwLock<Scopes>,
    pub(crate) max_rooms: usize,
    pub(crate) node: NodeId,
    pub(crate) reply_timeout: Duration,
    /// The connection to other nodes.
    pub(crate) attached: OnceLock<Arc<Attached>>,
    /// The watches on rooms.
    pub(crate) watches: Watches,
    /// A room was joined whose name is an id of this node, or a member is on another worker than its id
    /// names. Then the name of a room does not tell the worker any more.
    pub(crate) rooms_like_ids: AtomicBool,
    pub(crate) histories: Histories,
    /// Counts the connections and requests that were dealt out to workers in turn.
    turn: AtomicUsize,
    /// What workers have counted.
    pub(crate) published: Published,
}

impl Hub {
    /// Starts the workers' threads.
    ///
    /// # Errors
    /// A thread or a runtime did not start. The threads that have started end then.
    pub fn start(options: &HubOptions) -> io::Result<Arc<Self>> {
        let (hub, receivers) = Self::without_threads(options);
        let started = receivers
            .into_iter()
            .enumerate()
            .try_for_each(|(number, receiver)| Self::start_thread(&hub, WorkerId(number as u8), receiver));
        if started.is_err() {
            let _not_all = hub.send_all(|| Command::Stop);
        }
        started.map(|()| hub)
    }

    fn start_thread(hub: &Arc<Self>, id: WorkerId, receiver: InboxReceiver) -> io::Result<()> {
        let hub = Arc::clone(hub);
        let (report, reported) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new().name(format!("switchboard-{id}")).stack_size(STACK).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // Many connections have their turn before the poller is asked again.
                .event_interval(256)
                .build_local(tokio::runtime::LocalOptions::default());
            let (runtime, outcome) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let _waits = report.send(outcome);
            if let Some(runtime) = runtime {
                runtime.block_on(Worker::run(id, hub, receiver));
            }
        })?;
        reported.recv().unwrap_or_else(|_| Err(io::Error::other("a worker's thread ended at its start")))
    }

    /// A hub whose workers the caller runs with [`Worker::run`]: for a runtime of the caller's own, and for
    /// tests in virtual time.
    pub fn without_threads(options: &HubOptions) -> (Arc<Self>, Vec<InboxReceiver>) {
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..options.workers.clamp(1, 256))
            .map(|number| Inbox::new(WorkerId(number as u8), options))
            .unzip();
        let hub = Self {
            inboxes: inboxes.into_boxed_slice(),
            scopes: RwLock::default(),
            max_rooms: options.max_rooms,
            node: options.node,
            reply_timeout: options.reply_timeout,
            attached: OnceLock::new(),
            watches: Watches::default(),
            rooms_like_ids: AtomicBool::new(false),
            histories: Histories::default(),
            turn: AtomicUsize::new(0),
            published: Published::default(),
        };
        (Arc::new(hub), receivers)
    }

    /// The messages and bytes of all peers since the beginning. Each worker adds its own once a second.
    pub fn totals(&self) -> Totals {
        self.published.totals()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.inboxes.len()
    }

    /// This thread's worker, if it is one of this hub's. A process may hold several hubs: a thread of another
    /// hub's worker is a foreign thread here.
    #[inline]
    pub fn here(&self) -> Option<Rc<Worker>> {
        Worker::current().filter(|worker| std::ptr::eq(&raw const **worker.hub(), self))
    }

    /// A worker for a new session: this thread's own on a worker's thread, each worker in turn on other
    /// threads.
    pub fn next_worker(&self) -> WorkerId {
        self.here().map_or_else(
            || WorkerId((self.turn.fetch_add(1, Ordering::Relaxed) % self.inboxes.len()) as u8),
            |worker| worker.id(),
        )
    }

    /// Sends a command to a worker.
    ///
    /// # Errors
    /// [`HubError::InboxFull`] where there is no room; nothing was sent then. ([`Command::Stop`] is never
    /// refused for this reason.) [`HubError::Stopped`] after the worker's end.
    pub fn send(&self, to: WorkerId, command: Command) -> Result<(), HubError> {
        let inbox = self.inboxes.get(usize::from(to.0)).ok_or(HubError::Stopped(to))?;
        inbox.send(command).inspect_err(|error| {
            if let HubError::InboxFull(full) = error
                && let Some(worker) = self.here()
            {
                worker.note_pressure(*full);
            }
        })
    }

    /// Sends a command to a worker, or gives it back.
    pub(crate) fn offer(&self, to: WorkerId, command: Command) -> Result<(), (HubError, Option<Command>)> {
        let inbox = self.inboxes.get(usize::from(to.0)).ok_or((HubError::Stopped(to), None))?;
        inbox.offer(command)
    }

    /// Sends a command to a worker as soon as its inbox has room. Cancel safe: dropped before it is ready,
    /// nothing was sent.
    ///
    /// # Errors
    /// [`HubError::Stopped`] after the worker's end.
    pub async fn send_when_room(&self, to: WorkerId, command: Command) -> Result<(), HubError> {
        let inbox = self.inboxes.get(usize::from(to.0)).ok_or(HubError::Stopped(to))?;
        inbox.send_when_room(command).await
    }

    /// Runs `f` on a worker. On that worker's own thread it runs in place, unless
    /// [ordered broadcasts](Self::here_in_order) of this thread wait in the inbox: then it runs behind them.
    /// From another thread it goes by the inbox.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn run_on(&self, to: WorkerId, f: impl FnOnce(&Rc<Worker>) + Send + 'static) -> Result<(), HubError> {
        self.run_holding(to, 0, f)
    }

    /// As [`run_on`](Self::run_on), for an `f` that holds `bytes` bytes, such as a message. They count in the
    /// inbox.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn run_holding(
        &self,
        to: WorkerId,
        bytes: usize,
        f: impl FnOnce(&Rc<Worker>) + Send + 'static,
    ) -> Result<(), HubError> {
        match self.here_in_order() {
            Some(worker) if worker.id() == to => {
                f(&worker);
                Ok(())
            }
            _ => self.send(to, Command::run_holding(bytes, f)),
        }
    }

    /// Sends a command to every worker. This thread's own worker executes it at once.
    ///
    /// # Errors
    /// The first error that was met. The other workers have been sent to.
    pub fn send_all(&self, command: impl Fn() -> Command) -> Result<(), HubError> {
        let here = self.here();
        let sent = self.send_all_but(here.as_deref(), &command);
        if let Some(worker) = here {
            worker.execute(command());
        }
        sent
    }

    pub(crate) fn send_all_but(
        &self,
        but: Option<&Worker>,
        command: impl Fn() -> Command,
    ) -> Result<(), HubError> {
        let mut sent = Ok(());
        for number in 0..self.inboxes.len() {
            let to = WorkerId(number as u8);
            if but.is_none_or(|worker| worker.id() != to) {
                sent = sent.and(self.send(to, command()));
            }
        }
        sent
    }
}
