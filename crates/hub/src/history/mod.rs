//! Histories: the events of a scope have positions in one order, and are kept for some time. So a client that
//! was away gets what it has missed, on any worker, and nothing twice.
//!
//! A scope with a history has a *home worker*. All that is sent in the scope goes by the home's inbox, and from
//! there to the other workers: broadcasts, which get their positions there, and whatever must not overtake them.
//! So each inbox has all in the home's order. A thread that has sent something by the home does not act on its
//! own members at once until that has come back ([`Hub::here_in_order`]).
//!
//! A [session](SessionState) that may be recovered is known at the home. Its client shows a [`SessionToken`].
//! The home [finds](Hub::claim_session) the session, ends a connection that still holds it, and
//! [opens](Hub::open_session) it on its new worker with the events that it has missed. The next event of the
//! scope comes behind these in that worker's inbox.
//!
//! Scopes without a history pay for all this with the look at one flag for each request.
//!
//! With a [`Store`] a history outlives the process: nothing goes out from the home before the store has what came
//! before it ([`saving`]).
//!
//! Reading order: [`position`], [`log`] and [`sessions`] (plain data), [`home`] (what the home worker does),
//! [`store`], [`records`] and [`saving`].

mod home;
mod log;
mod outgoing;
mod position;
mod records;
mod saving;
mod sessions;
mod store;

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

pub use home::{AtHome, Claimed, Events, Opened};
use home::{Claim, Home, What};
pub use position::{NotAPosition, Position};
pub use records::ReadPayload;
pub use sessions::{SessionState, SessionToken};
pub use store::{Change, Kept, MemoryStore, Store, StoreError, StoreWriter};

use crate::command::Command;
use crate::hub::Hub;
use crate::reply::ReplySender;
use crate::worker::{Worker, WorkerId};
use crate::{Endpoint, HubError, MemberId, Request, RoomName, ScopeId};

/// What is told of sessions whose clients have not come back in time.
pub type OnExpired = Arc<dyn Fn(SessionState) + Send + Sync>;

/// How much of a scope is kept, and how long.
#[derive(Clone)]
#[non_exhaustive]
pub struct HistoryOptions {
    /// How long the session of a client that is away is kept. Default 2 minutes.
    pub window: Duration,
    /// After how long of being there a client had surely got what was sent to it: the time in which the end of
    /// its connection is noticed. Events are kept for the window and this time. Default 75 s.
    pub confirmed_after: Duration,
    /// Bytes of the events that are kept; the oldest are forgotten first. Default 64 MiB.
    pub max_bytes: usize,
    /// Bytes of the sessions whose clients are away; the oldest expire first. Default 64 MiB.
    pub max_session_bytes: usize,
    /// Bytes of missed events that a client may get; a session that has missed more is not recovered. Default
    /// 8 MiB.
    pub max_missed_bytes: usize,
    /// Called on the home worker with each session that expires.
    pub on_expired: Option<OnExpired>,
    /// Where the history outlives the process. Default: nowhere.
    pub store: Option<StoreWriter>,
    /// Reads the payloads of events that the store has kept.
    pub read_payload: Option<ReadPayload>,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            confirmed_after: Duration::from_secs(75),
            max_bytes: 64 << 20,
            max_session_bytes: 64 << 20,
            max_missed_bytes: 8 << 20,
            on_expired: None,
            store: None,
            read_payload: None,
        }
    }
}

impl fmt::Debug for HistoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryOptions")
            .field("window", &self.window)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// The history of a scope, as all threads see it.
#[derive(Debug)]
pub(crate) struct History {
    scope: ScopeId,
    home: WorkerId,
    options: HistoryOptions,
    /// The scope's name.
    name: Arc<str>,
    /// The position that the home begins with.
    begin: Position,
    /// What the store has kept, until the home takes it.
    kept: Mutex<Option<Kept>>,
    /// A worker whose full inbox holds the history up, and 1; 0: none.
    held_up_by: AtomicUsize,
}

impl History {
    /// The worker whose full inbox holds the history up.
    fn held_up(&self) -> Option<WorkerId> {
        let by = self.held_up_by.load(Ordering::Relaxed);
        by.checked_sub(1).map(|worker| WorkerId(worker as u8))
    }

    fn set_held_up(&self, by: Option<WorkerId>) {
        self.held_up_by.store(by.map_or(0, |worker| usize::from(worker.0) + 1), Ordering::Relaxed);
    }
}

/// The histories of a hub, by the numbers of their scopes.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    any: AtomicBool,
    by_scope: ArcSwap<Vec<Option<Arc<History>>>>,
}

/// Milliseconds since 1970.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Hub {
    /// Keeps a history of a scope from now on. `false`: it has one, which stays.
    ///
    /// To be called before the scope has members. What a [store](HistoryOptions::store) has kept of the scope is
    /// read before this returns.
    ///
    /// # Errors
    /// Those of [`Store::load`]: no history is kept.
    pub fn keep_history(&self, scope: ScopeId, options: HistoryOptions) -> Result<bool, StoreError> {
        let name = self.scope_name(scope).unwrap_or_default();
        let kept = options.store.as_ref().map(|store| store.load(&name)).transpose()?;
        let last = kept.as_ref().map_or(0, |kept| kept.epoch);
        let begin = Position { epoch: last.saturating_add(1).max(unix_millis() / 1000), number: 0 };
        let stored = options.store.is_some();
        let history = Arc::new(History {
            scope,
            home: WorkerId((scope.index as usize % self.workers()) as u8),
            options,
            name,
            begin,
            kept: Mutex::new(kept),
            held_up_by: AtomicUsize::new(0),
        });
        let at = scope.index as usize;
        let mut added = false;
        self.histories.by_scope.rcu(|all| {
            let mut all = Vec::clone(all);
            all.resize(all.len().max(at + 1), None);
            if let Some(place) = all.get_mut(at) {
                // A scope that was removed may have left its history here.
                added = place.as_ref().is_none_or(|known| known.scope != scope);
                if added {
                    *place = Some(Arc::clone(&history));
                }
            }
            all
        });
        self.histories.any.store(true, Ordering::Release);
        if stored && added {
            // Sessions of the last life may expire.
            self.tell_home(scope, |_, _| {});
        }
        Ok(added)
    }

    /// Whether a scope has a history.
    pub fn has_history(&self, scope: ScopeId) -> bool {
        self.history(scope).is_some()
    }

    #[inline]
    fn has_any_history(&self) -> bool {
        self.histories.any.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn history(&self, scope: ScopeId) -> Option<Arc<History>> {
        if !self.has_any_history() {
            return None;
        }
        let history = self.histories.by_scope.load().get(scope.index as usize).cloned().flatten();
        history.filter(|history| history.scope == scope)
    }

    /// Sends a request by the home of its scope.
    pub(crate) fn request_by_home(
        &self,
        history: Arc<History>,
        request: Request,
        reply: Option<ReplySender>,
    ) -> Result<(), HubError> {
        let ordered = matches!(&request, Request::Broadcast(broadcast) if broadcast.ordered);
        self.send_by_home(history, What::Request(request, reply), true, ordered)
    }

    /// Runs `f` on a worker, behind what this thread has sent in the scope before: as
    /// [`run_holding`](Self::run_holding), and by the scope's home if it has one.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn run_in_scope(
        &self,
        scope: ScopeId,
        to: WorkerId,
        bytes: usize,
        f: impl FnOnce(&Rc<Worker>) + Send + 'static,
    ) -> Result<(), HubError> {
        let Some(history) = self.history(scope) else { return self.run_holding(to, bytes, f) };
        if let Some(worker) = self.here_in_order().filter(|worker| worker.id() == to) {
            f(&worker);
            return Ok(());
        }
        let comes_back = self.here().is_some_and(|worker| worker.id() == to);
        let work = Command::run_holding(bytes, f);
        self.send_by_home(history, What::Run(to, work), comes_back, false)
    }

    /// Sends a message by a home. `comes_back`: this thread's worker gets it too. `by_inbox`: also where this
    /// thread's worker is the home.
    fn send_by_home(
        &self,
        history: Arc<History>,
        what: What,
        comes_back: bool,
        by_inbox: bool,
    ) -> Result<(), HubError> {
        let here = self.here();
        if let Some(full) = history.held_up() {
            if let Some(worker) = &here {
                worker.note_pressure(full);
            }
            return Err(HubError::InboxFull(full));
        }
        if let Some(worker) = here.as_ref().filter(|worker| worker.id() == history.home)
            && !by_inbox
            && !worker.has_own_ordered()
        {
            worker.home(&history).take_here(worker, what, comes_back);
            return Ok(());
        }
        let from = here.as_ref().filter(|_| comes_back).map(|worker| worker.id());
        let home = history.home;
        self.send(home, Command::AtHome(Box::new(AtHome { history, from, what })))?;
        if let Some(worker) = here.filter(|_| comes_back) {
            worker.own_ordered.set(worker.own_ordered.get() + 1);
        }
        Ok(())
    }

    /// Work for the home of a scope. `None`: it has no history.
    fn at_home(
        &self,
        scope: ScopeId,
        work: impl FnOnce(&Rc<Worker>, &Rc<Home>) + Send + 'static,
    ) -> Option<Result<(), HubError>> {
        let history = self.history(scope)?;
        if let Some(worker) = self.here_in_order().filter(|worker| worker.id() == history.home) {
            work(&worker, &worker.home(&history));
            return Some(Ok(()));
        }
        let home = history.home;
        let message = AtHome { history, from: None, what: What::Home(Box::new(work)) };
        Some(self.send(home, Command::AtHome(Box::new(message))))
    }

    // Sessions.

    /// Finds the session of a token that a client shows, for a client that has got all events up to `offset`
    /// (`None`: none of this session), and ends the connection that still has it. `None`: there is no such
    /// session, or events that the client has missed are kept no more. Cancel safe.
    pub async fn claim_session(
        &self,
        scope: ScopeId,
        token: SessionToken,
        offset: Option<Position>,
    ) -> Option<Claimed> {
        let (reply, claimed) = oneshot::channel();
        let claim = Claim { token, offset, reply };
        self.at_home(scope, move |worker, home| home.claim(worker, claim))?.ok()?;
        claimed.await.ok().flatten()
    }

    /// Begins a session, or goes on with a [claimed](Self::claim_session) one, on a worker. `open` is called
    /// there, before the next event of the scope comes to that worker: a member that it adds misses none and
    /// gets none twice. `data` is that of a new session. It is called with `None` if another connection has got the claimed session meanwhile.
    ///
    /// # Errors
    /// [`HubError::InboxFull`], [`HubError::Stopped`]; [`HubError::Gone`] if the scope has no history.
    pub fn open_session(
        &self,
        scope: ScopeId,
        on: WorkerId,
        token: SessionToken,
        claimed: Option<Position>,
        data: Vec<u8>,
        open: impl FnOnce(&Rc<Worker>, Option<Opened>) + Send + 'static,
    ) -> Result<(), HubError> {
        let open = Box::new(open);
        self.at_home(scope, move |worker, home| home.open(worker, on, token, claimed, data, open))
            .unwrap_or(Err(HubError::Gone))
    }

    /// The client of a session of this worker has gone and may come back.
    pub fn park_session(&self, scope: ScopeId, on: WorkerId, state: SessionState) {
        self.tell_home(scope, move |worker, home| home.park(worker, on, state));
    }

    /// A session has ended for ever.
    pub fn end_session(&self, scope: ScopeId, id: MemberId) {
        self.tell_home(scope, move |worker, home| home.end(worker, id));
    }

    /// Tells the home what it must know: if its inbox is full, as soon as it has room.
    fn tell_home(&self, scope: ScopeId, work: impl FnOnce(&Rc<Worker>, &Rc<Home>) + Send + 'static) {
        let Some(history) = self.history(scope) else { return };
        if let Some(worker) = self.here().filter(|worker| worker.id() == history.home) {
            return work(&worker, &worker.home(&history));
        }
        let home = history.home;
        let message = AtHome { history, from: None, what: What::Home(Box::new(work)) };
        let command = Command::AtHome(Box::new(message));
        let Err((_, Some(command))) = self.offer(home, command) else { return };
        if let Some(worker) = self.here() {
            let hub = Arc::clone(worker.hub());
            tokio::task::spawn_local(async move {
                let _stopped = hub.send_when_room(home, command).await;
            });
        }
    }

    /// Returns when the events that this thread has sent in the scope before are with its workers, and in its
    /// store if it has one. Cancel safe.
    ///
    /// # Errors
    /// [`HubError::InboxFull`]; [`HubError::Stopped`].
    pub async fn saved(&self, scope: ScopeId) -> Result<(), HubError> {
        let Some(history) = self.history(scope) else { return Ok(()) };
        let home = history.home;
        let (told, saved) = oneshot::channel();
        let work = Command::run(move |_| {
            let _gone = told.send(());
        });
        self.send_by_home(history, What::Run(home, work), false, true)?;
        saved.await.map_err(|_| HubError::Stopped(home))
    }

    /// Reads what came to these rooms (all of the scope if there are none) after a position. `read` is called on
    /// a worker with the events, before the next event of the scope comes there.
    ///
    /// # Errors
    /// As [`open_session`](Self::open_session).
    pub fn read_history(
        &self,
        scope: ScopeId,
        after: Position,
        rooms: Vec<RoomName>,
        on: WorkerId,
        read: impl FnOnce(&Rc<Worker>, Events) + Send + 'static,
    ) -> Result<(), HubError> {
        let read = Box::new(read);
        self.at_home(scope, move |worker, home| home.read(worker, after, &rooms, on, read))
            .unwrap_or(Err(HubError::Gone))
    }
}

impl Worker {
    /// Ends the connection of a member whose client has come back by another one.
    fn supersede(&self, scope: ScopeId, id: MemberId) {
        let endpoint = self.find_member(scope, id);
        // One that is not there has told the home already.
        if let Some(endpoint) = endpoint {
            self.catch_panic("an old connection's end", || Endpoint::supersede(&*endpoint));
        }
    }
}
