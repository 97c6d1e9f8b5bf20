//! The home of a history: what its worker keeps, and how all that is sent in the scope goes out from there.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::log::{Absent, Log};
use super::outgoing::{Outgoing, To};
use super::position::Position;
use super::saving::Saving;
use super::sessions::{Absence, Parked, SessionState, SessionToken, Sessions};
use super::{History, unix_millis};
use crate::command::Command;
use crate::reply::ReplySender;
use crate::worker::{Worker, WorkerId};
use crate::{Broadcast, MemberId, Request, RoomName, ScopeId};

/// A message to the home of a history.
pub struct AtHome {
    pub(crate) history: Arc<History>,
    /// The worker that sent it and waits for it to come back.
    pub(crate) from: Option<WorkerId>,
    pub(crate) what: What,
}

/// Work for the home of a history.
pub(crate) type HomeWork = Box<dyn FnOnce(&Rc<Worker>, &Rc<Home>) + Send>;

/// Called with what a member that is added now has missed; `None`: it has no session.
pub(super) type Open = Box<dyn FnOnce(&Rc<Worker>, Option<Opened>) + Send>;

/// Called with a part of a history.
pub(super) type Read = Box<dyn FnOnce(&Rc<Worker>, Events) + Send>;

pub(crate) enum What {
    /// For all workers. Broadcasts get their positions.
    Request(Request, Option<ReplySender>),
    /// For one worker, in the home's order.
    Run(WorkerId, Command),
    /// A session of this state has changed.
    Save(SessionState),
    /// For the home itself.
    Home(HomeWork),
}

impl AtHome {
    pub(crate) fn bytes(&self) -> usize {
        match &self.what {
            What::Request(request, _) => request.bytes(),
            What::Run(_, command) => command.bytes(),
            What::Save(state) => state.bytes(),
            What::Home(_) => 0,
        }
    }
}

/// A client asks for its session.
pub(super) struct Claim {
    pub(super) token: SessionToken,
    /// The last event that it has got.
    pub(super) offset: Option<Position>,
    pub(super) reply: oneshot::Sender<Option<Claimed>>,
}

/// A session that its client may have again. It stays parked until it is [opened](crate::Hub::open_session).
#[derive(Debug)]
pub struct Claimed {
    /// What it was.
    pub state: SessionState,
    /// The position behind which the client has missed events.
    pub after: Position,
}

/// What a member that is added now has missed.
pub struct Opened {
    /// The events, oldest first, each with its position.
    pub missed: Vec<(Position, Arc<Broadcast>)>,
}

/// A part of a history.
pub struct Events {
    /// The events, oldest first, each with its position.
    pub events: Vec<(Position, Arc<Broadcast>)>,
    /// The position of the last event of the whole history.
    pub head: Position,
    /// Whether none is missing: `false` if some after the position are kept no more.
    pub complete: bool,
}

/// The home of one history, on its worker.
pub(crate) struct Home {
    pub(super) history: Arc<History>,
    pub(super) log: RefCell<Log>,
    pub(super) sessions: RefCell<Sessions>,
    pub(super) saving: Option<Saving>,
    /// Claims that wait for the end of an old connection.
    claims: RefCell<HashMap<MemberId, Vec<Claim>>>,
    waiting: RefCell<VecDeque<Outgoing>>,
    is_sending: Cell<bool>,
    started: Instant,
    started_at: u64,
    /// There is something whose time will be over.
    pub(super) expiring: Notify,
}

/// The homes of a worker.
#[derive(Default)]
struct Homes(RefCell<HashMap<ScopeId, Rc<Home>>>);

impl Worker {
    /// The home of a history that has it on this worker.
    pub(super) fn home(self: &Rc<Self>, history: &Arc<History>) -> Rc<Home> {
        let homes = self.extension::<Homes>();
        let known = homes.0.borrow().get(&history.scope).map(Rc::clone);
        known.unwrap_or_else(|| {
            let home = Home::new(history);
            homes.0.borrow_mut().insert(history.scope, Rc::clone(&home));
            home.start(self);
            home
        })
    }

    /// Takes a message for the home of a history.
    pub(crate) fn take_at_home(self: &Rc<Self>, message: AtHome) {
        self.home(&message.history).take(self, message.what, message.from);
    }
}

/// Messages that may wait for the store before their senders are held back.
const WAITING_UP_TO: usize = 65_536;

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Home {
    fn new(history: &Arc<History>) -> Rc<Self> {
        let options = &history.options;
        let saving = Saving::new(history);
        let keep = millis(options.window).saturating_add(millis(options.confirmed_after));
        let home = Rc::new(Self {
            log: RefCell::new(Log::new(history.begin, keep, options.max_bytes)),
            sessions: RefCell::new(Sessions::new(millis(options.window), options.max_session_bytes)),
            history: Arc::clone(history),
            saving,
            claims: RefCell::default(),
            waiting: RefCell::default(),
            is_sending: Cell::new(false),
            started: Worker::clock(),
            started_at: unix_millis(),
            expiring: Notify::new(),
        });
        home.restore();
        home
    }

    fn start(self: &Rc<Self>, worker: &Rc<Worker>) {
        tokio::task::spawn_local(Self::keep_time(Rc::clone(self), Rc::clone(worker)));
        if self.saving.is_some() {
            tokio::task::spawn_local(Self::send_when_saved(Rc::clone(self), Rc::clone(worker)));
        }
    }

    /// The time in milliseconds since 1970. It does not jump with the system's clock.
    pub(super) fn now(&self) -> u64 {
        self.started_at.saturating_add(millis(Worker::clock().saturating_duration_since(self.started)))
    }

    // What is sent.

    /// Takes a message of this thread. If this worker's own members get it later only, the thread waits for it.
    pub(super) fn take_here(self: &Rc<Self>, worker: &Rc<Worker>, what: What, comes_back: bool) {
        let waits = self.saving.is_some() || self.is_sending.get() || !self.waiting.borrow().is_empty();
        let later = comes_back && waits;
        if later {
            worker.own_ordered.set(worker.own_ordered.get() + 1);
        }
        self.take(worker, what, later.then(|| worker.id()));
    }

    fn take(self: &Rc<Self>, worker: &Rc<Worker>, what: What, from: Option<WorkerId>) {
        let to = match what {
            What::Request(request, reply) => {
                if let Request::Broadcast(broadcast) = &request
                    && !broadcast.volatile
                {
                    self.record(broadcast);
                }
                To::All(request, reply)
            }
            What::Run(to, command) => To::One(to, Some(command)),
            What::Save(state) => {
                self.save_session(&state, 0);
                // The thread that changed it says nothing of it before it is stored.
                let Some(from) = from else { return };
                To::One(from, Some(Command::run(|_| {})))
            }
            What::Home(work) => return work(worker, self),
        };
        self.send(worker, to, from);
    }

    /// Gives a broadcast its position, and keeps it.
    fn record(&self, broadcast: &Arc<Broadcast>) {
        let mut log = self.log.borrow_mut();
        let was_empty = log.next_expiry().is_none();
        let position = log.append(self.now(), Arc::clone(broadcast));
        broadcast.payload.placed(position);
        drop(log);
        self.save_event(position, broadcast);
        if was_empty {
            self.expiring.notify_one();
        }
    }

    fn send(self: &Rc<Self>, worker: &Rc<Worker>, to: To, from: Option<WorkerId>) {
        let ticket = self.saving.as_ref().map_or(0, Saving::ticket);
        self.waiting.borrow_mut().push_back(Outgoing { ticket, from, to, sent: 0 });
        self.send_waiting(worker);
    }

    fn run_on(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        to: WorkerId,
        f: impl FnOnce(&Rc<Worker>) + Send + 'static,
    ) {
        self.send(worker, To::One(to, Some(Command::run(f))), None);
    }

    /// Sends what waits, in order, until an inbox is full.
    pub(super) fn send_waiting(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.is_sending.replace(true) {
            // What this thread sends while it delivers comes behind.
            return;
        }
        let full = loop {
            let Some(mut first) = self.next_waiting() else { break None };
            if let Err(full) = first.send(worker) {
                self.waiting.borrow_mut().push_front(first);
                break Some(full);
            }
        };
        self.is_sending.set(false);
        // A store that is too slow holds the history up as a full inbox does.
        let too_many = self.waiting.borrow().len() > WAITING_UP_TO;
        self.history.set_held_up(full.or(too_many.then_some(self.history.home)));
        if let Some(full) = full {
            let (home, worker) = (Rc::clone(self), Rc::clone(worker));
            tokio::task::spawn_local(async move {
                worker.room(full).await;
                home.send_waiting(&worker);
            });
        }
    }

    /// The next message, if the store has all that comes before it.
    fn next_waiting(&self) -> Option<Outgoing> {
        let saved = self.saving.as_ref().map_or(u64::MAX, Saving::saved);
        let mut waiting = self.waiting.borrow_mut();
        waiting.front().filter(|first| first.ticket <= saved)?;
        waiting.pop_front()
    }

    // Sessions.

    pub(super) fn claim(self: &Rc<Self>, worker: &Rc<Worker>, claim: Claim) {
        let found = match self.sessions.borrow().find(&claim.token) {
            Ok((parked, start)) => {
                let after = self.begin_of_missed(claim.offset, start);
                Ok(after
                    .filter(|after| self.can_replay(*after, &parked.state, parked.since))
                    .map(|after| Claimed { state: parked.state.clone(), after }))
            }
            Err(absence) => Err(absence),
        };
        match found {
            Ok(claimed) => {
                if claimed.is_none() {
                    metrics::counter!("switchboard_recoveries_too_late_total").increment(1);
                }
                let _gone = claim.reply.send(claimed);
            }
            Err(Absence::Unknown) => drop(claim.reply.send(None)),
            Err(Absence::StillHere(on)) => {
                let (scope, id) = (self.history.scope, claim.token.id());
                self.claims.borrow_mut().entry(id).or_default().push(claim);
                // It ends there as any connection does, and is parked then.
                self.run_on(worker, on, move |worker| worker.supersede(scope, id));
            }
        }
    }

    /// The position behind which a client has missed events. `None`: it says that it has got more than there was.
    fn begin_of_missed(&self, offset: Option<Position>, start: Position) -> Option<Position> {
        let head = self.log.borrow().head();
        match offset {
            // It has got no event of this session. Its offset, if any, is of an earlier session, or of another server.
            Some(offset) if offset > start && offset.epoch <= head.epoch => {
                (offset <= head).then_some(offset)
            }
            _ => Some(start),
        }
    }

    fn can_replay(&self, after: Position, state: &SessionState, since: u64) -> bool {
        let log = self.log.borrow();
        let options = &self.history.options;
        let absent = Absent { id: state.id, rooms: &state.rooms };
        let missed = log.after(after).filter(|entry| absent.is_in(&entry.broadcast.target));
        let bytes: usize = missed.map(|entry| entry.broadcast.bytes()).sum();
        log.is_complete(after, since.saturating_sub(millis(options.confirmed_after)))
            && bytes <= options.max_missed_bytes
    }

    pub(super) fn open(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        on: WorkerId,
        token: SessionToken,
        claimed: Option<Position>,
        data: Vec<u8>,
        open: Open,
    ) {
        let opened = match claimed {
            None => {
                self.sessions.borrow_mut().begin(token, self.log.borrow().head(), on);
                let state = SessionState { id: token.id(), rooms: Vec::new(), data, values: None };
                self.save_session(&state, 0);
                Some(Opened { missed: Vec::new() })
            }
            Some(after) => self.resume(&token, on).map(|parked| {
                self.save_session(&parked.state, 0);
                let absent = Absent { id: token.id(), rooms: &parked.state.rooms };
                Opened { missed: self.events_after(after, |broadcast| absent.is_in(&broadcast.target)) }
            }),
        };
        self.run_on(worker, on, move |worker| open(worker, opened));
    }

    fn resume(&self, token: &SessionToken, on: WorkerId) -> Option<Parked> {
        self.sessions.borrow_mut().resume(token, on)
    }

    fn events_after(
        &self,
        after: Position,
        wanted: impl Fn(&Broadcast) -> bool,
    ) -> Vec<(Position, Arc<Broadcast>)> {
        let log = self.log.borrow();
        let wanted = log.after(after).filter(|entry| wanted(&entry.broadcast));
        wanted.map(|entry| (entry.position, Arc::clone(&entry.broadcast))).collect()
    }

    pub(super) fn read(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        after: Position,
        rooms: &[RoomName],
        on: WorkerId,
        read: Read,
    ) {
        let wanted = |broadcast: &Broadcast| {
            let Broadcast { target, .. } = broadcast;
            rooms.is_empty()
                || target.rooms.is_empty()
                || rooms.iter().any(|room| target.rooms.contains(room))
        };
        let (head, complete) = {
            let log = self.log.borrow();
            (log.head(), log.is_complete(after, 0) && after <= log.head())
        };
        let events = Events { events: self.events_after(after, wanted), head, complete };
        self.run_on(worker, on, move |worker| read(worker, events));
    }

    pub(super) fn park(self: &Rc<Self>, worker: &Rc<Worker>, on: WorkerId, state: SessionState) {
        let (id, now) = (state.id, self.now());
        if self.sessions.borrow().worker_of(id) == Some(on) {
            self.save_session(&state, now);
            self.sessions.borrow_mut().park(on, state, now);
            self.expiring.notify_one();
        }
        self.claim_again(worker, id);
    }

    pub(super) fn end(self: &Rc<Self>, worker: &Rc<Worker>, id: MemberId) {
        if self.sessions.borrow_mut().forget(id) {
            self.save_end(id);
        }
        self.claim_again(worker, id);
    }

    /// The old connection that claims waited for has ended.
    fn claim_again(self: &Rc<Self>, worker: &Rc<Worker>, id: MemberId) {
        let claims = self.claims.borrow_mut().remove(&id);
        for claim in claims.into_iter().flatten() {
            self.claim(worker, claim);
        }
    }

    // Time.

    async fn keep_time(self: Rc<Self>, worker: Rc<Worker>) {
        loop {
            let next = self.expire(&worker).unwrap_or(u64::MAX);
            let sleep = Duration::from_millis(next.saturating_sub(self.now()));
            tokio::select! {
                () = self.expiring.notified() => {}
                () = tokio::time::sleep_until(Worker::deadline(sleep).into()) => {}
            }
        }
    }

    /// Ends what is over; returns when something is over next.
    fn expire(&self, worker: &Worker) -> Option<u64> {
        let now = self.now();
        loop {
            let expired = self.sessions.borrow_mut().expire(now);
            let Some(state) = expired else { break };
            self.save_end(state.id);
            metrics::counter!("switchboard_sessions_expired_total").increment(1);
            if let Some(on_expired) = &self.history.options.on_expired {
                worker.catch_panic("a function for expired sessions", || on_expired(state));
            }
        }
        let mut log = self.log.borrow_mut();
        log.forget_old(now);
        self.save_forgotten(log.forgotten(), 1);
        // Events need not be forgotten on time.
        let log = log.next_expiry().map(|next| next.max(now.saturating_add(1000)));
        self.sessions.borrow().next_expiry().into_iter().chain(log).min()
    }
}
