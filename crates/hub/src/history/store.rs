//! What outlives the process: the events and sessions of histories, in a store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use thiserror::Error;
use tokio::sync::Notify;

use super::position::Position;
use crate::MemberId;

/// The store failed, for this reason.
#[derive(Debug, Error)]
#[error("the store failed: {0}")]
pub struct StoreError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// A change of what is kept of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A new life of the server begins, with this number.
    Epoch(u64),
    /// An event was sent. Events come in the order of their positions.
    Event {
        /// Its position.
        position: Position,
        /// The event, in the hub's own form.
        bytes: Vec<u8>,
    },
    /// The events up to this position, and it, are not needed any more.
    Forget {
        /// The position.
        through: Position,
        /// When that event was sent, in milliseconds since 1970.
        time: u64,
    },
    /// A session has begun or changed: it takes the place of what was kept of it.
    Session {
        /// The id of its member.
        id: MemberId,
        /// The session, in the hub's own form.
        bytes: Vec<u8>,
    },
    /// A session is over.
    End(MemberId),
}

/// What a store has kept of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The last [epoch](Change::Epoch); 0: none.
    pub epoch: u64,
    /// The last event that was [forgotten](Change::Forget), and its time.
    pub forgotten: (Position, u64),
    /// The events, in the order of their positions.
    pub events: Vec<(Position, Vec<u8>)>,
    /// The sessions, in any order.
    pub sessions: Vec<(MemberId, Vec<u8>)>,
}

/// A place where histories outlive the process. A hub uses it from one thread at a time, which is none of its
/// workers'.
pub trait Store: Send + Sync + 'static {
    /// Reads what is kept of a scope.
    ///
    /// # Errors
    /// What the store could not do.
    fn load(&self, scope: &str) -> Result<Kept, StoreError>;

    /// Keeps changes of scopes, in their order. When it returns they outlive the process, killed at any moment.
    /// A process that is killed meanwhile leaves any first part of them.
    ///
    /// # Errors
    /// What the store could not do. The hub goes on without these changes, and says so.
    fn write(&self, changes: &[(Arc<str>, Change)]) -> Result<(), StoreError>;
}

/// A store in memory, for tests and for servers of one process that follow one another.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<Arc<str>, Scope>>);

#[derive(Debug, Default, Clone)]
struct Scope {
    epoch: u64,
    forgotten: (Position, u64),
    events: BTreeMap<Position, Vec<u8>>,
    sessions: BTreeMap<MemberId, Vec<u8>>,
}

impl MemoryStore {
    /// Another store that holds what this one holds now.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

impl Store for MemoryStore {
    fn load(&self, scope: &str) -> Result<Kept, StoreError> {
        let scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scopes.get(scope) else { return Ok(Kept::default()) };
        Ok(Kept {
            epoch: scope.epoch,
            forgotten: scope.forgotten,
            events: scope.events.iter().map(|(position, bytes)| (*position, bytes.clone())).collect(),
            sessions: scope.sessions.iter().map(|(id, bytes)| (*id, bytes.clone())).collect(),
        })
    }

    fn write(&self, changes: &[(Arc<str>, Change)]) -> Result<(), StoreError> {
        let mut scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (scope, change) in changes {
            let scope = scopes.entry(Arc::clone(scope)).or_default();
            match change.clone() {
                Change::Epoch(epoch) => scope.epoch = epoch,
                Change::Event { position, bytes } => drop(scope.events.insert(position, bytes)),
                Change::Forget { through, time } => {
                    scope.forgotten = (through, time);
                    scope.events = scope.events.split_off(&through);
                    scope.events.remove(&through);
                }
                Change::Session { id, bytes } => drop(scope.sessions.insert(id, bytes)),
                Change::End(id) => drop(scope.sessions.remove(&id)),
            }
        }
        Ok(())
    }
}

/// A store, and the thread that writes to it: changes that come meanwhile are written together. Cloning gives
/// another handle to both.
#[derive(Clone)]
pub struct StoreWriter(Arc<Writer>);

struct Writer {
    store: Arc<dyn Store>,
    /// Made, with its thread, when it is first needed.
    jobs: OnceLock<Sender<Job>>,
}

impl std::fmt::Debug for StoreWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreWriter").finish_non_exhaustive()
    }
}

/// How far the changes of one history are written.
#[derive(Debug, Default)]
pub(super) struct Written {
    ticket: AtomicU64,
    pub(super) changed: Notify,
}

impl Written {
    /// The number of the last change that is written.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket.load(Ordering::Acquire)
    }
}

/// A change to be written.
struct Job {
    scope: Arc<str>,
    change: Change,
    ticket: u64,
    written: Arc<Written>,
}

/// Changes that are written together.
const JOBS_AT_ONCE: usize = 4096;

impl StoreWriter {
    /// A writer to this store. Its thread starts with the first history.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Writer { store, jobs: OnceLock::new() }))
    }

    pub(super) fn load(&self, scope: &str) -> Result<Kept, StoreError> {
        self.0.store.load(scope)
    }

    /// Writes a change soon: `written` is told then.
    pub(super) fn submit(&self, scope: &Arc<str>, change: Change, ticket: u64, written: &Arc<Written>) {
        let jobs = self.0.jobs.get_or_init(|| {
            let (sender, jobs) = channel();
            let store = Arc::clone(&self.0.store);
            let thread = std::thread::Builder::new().name("switchboard-store".to_owned());
            if let Err(error) = thread.spawn(move || write_all(&*store, &jobs)) {
                tracing::error!(%error, "the thread of a store did not start: nothing is kept");
            }
            sender
        });
        let job = Job { scope: Arc::clone(scope), change, ticket, written: Arc::clone(written) };
        if let Err(unwritten) = jobs.send(job) {
            // There is no thread, which was said.
            unwritten.0.done();
        }
    }
}

impl Job {
    fn done(&self) {
        self.written.ticket.store(self.ticket, Ordering::Release);
        self.written.changed.notify_one();
    }
}

fn write_all(store: &dyn Store, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let more = std::iter::from_fn(|| jobs.try_recv().ok()).take(JOBS_AT_ONCE);
        let mut batch: Vec<_> = std::iter::once(first).chain(more).collect();
        let changes: Vec<_> =
            batch.iter_mut().map(|job| (Arc::clone(&job.scope), take(&mut job.change))).collect();
        if let Err(error) = store.write(&changes) {
            metrics::counter!("switchboard_store_errors_total").increment(1);
            tracing::error!(%error, changes = changes.len(), "a store did not keep changes: they end with this process");
        }
        batch.iter().for_each(Job::done);
    }
}

/// Takes a change, and leaves one that holds nothing.
fn take(change: &mut Change) -> Change {
    std::mem::replace(change, Change::Epoch(0))
}
