//! A home with a store: what is stored, and what waits until it is.
//!
//! A change is given to the store's thread and has a number, its ticket. What the home sends waits until the store
//! has all changes that were made before. So a client or a handler that has been told of anything finds it again
//! after the process was killed.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use super::History;
use super::home::{Home, What};
use super::log::Entry;
use super::position::Position;
use super::records::{SessionRecord, read_event, write_event};
use super::sessions::SessionState;
use super::store::{Change, Kept, StoreWriter, Written};
use crate::worker::Worker;
use crate::{Broadcast, HubError, MemberId, MemberKey};

/// Events that are forgotten at once in the store.
const FORGET_AT_ONCE: u64 = 1024;

/// A home's connection to its store.
pub(super) struct Saving {
    writer: StoreWriter,
    scope: Arc<str>,
    written: Arc<Written>,
    /// The number of the last change.
    ticket: Cell<u64>,
    /// The last event that the store was told to forget.
    forgotten: Cell<Position>,
}

impl Saving {
    pub(super) fn new(history: &Arc<History>) -> Option<Self> {
        let saving = Self {
            writer: history.options.store.clone()?,
            scope: Arc::clone(&history.name),
            written: Arc::default(),
            ticket: Cell::new(0),
            forgotten: Cell::default(),
        };
        saving.submit(Change::Epoch(history.begin.epoch));
        Some(saving)
    }

    /// The number of the last change.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket.get()
    }

    /// The number of the last change that is stored.
    pub(super) fn saved(&self) -> u64 {
        self.written.ticket()
    }

    fn submit(&self, change: Change) {
        self.ticket.set(self.ticket.get() + 1);
        self.writer.submit(&self.scope, change, self.ticket.get(), &self.written);
    }
}

impl Home {
    /// Takes what an earlier life of the server has kept.
    pub(super) fn restore(&self) {
        let kept = self.history.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(kept), Some(saving)) = (kept, &self.saving) else { return };
        let Kept { forgotten, events, sessions, .. } = kept;
        saving.forgotten.set(forgotten.0);
        let counts = (events.len(), sessions.len());
        let unread = self.restore_events(forgotten, events) + self.restore_sessions(forgotten.1, sessions);
        if unread > 0 {
            metrics::counter!("switchboard_store_errors_total").increment(1);
            tracing::error!(unread, scope = &*self.history.name, "records of a store cannot be read");
        }
        tracing::info!(
            scope = &*self.history.name,
            events = counts.0,
            sessions = counts.1,
            "a history goes on"
        );
    }

    /// Returns how many could not be read.
    fn restore_events(&self, forgotten: (Position, u64), events: Vec<(Position, Vec<u8>)>) -> usize {
        let read = self.history.options.read_payload.as_ref();
        let mut log = self.log.borrow_mut();
        log.set_forgotten(forgotten);
        let mut unread = 0;
        for (position, bytes) in events {
            let event = read.and_then(|read| read_event(&bytes, self.history.scope, read));
            let Some((time, broadcast)) = event else {
                unread += 1;
                continue;
            };
            broadcast.payload.placed(position);
            log.push(Entry { position, time, broadcast: Arc::new(broadcast) });
        }
        unread
    }

    fn restore_sessions(&self, forgotten_at: u64, sessions: Vec<(MemberId, Vec<u8>)>) -> usize {
        // A client that was there at the end was surely there when the last event was sent.
        let last = self.log.borrow().last_time().unwrap_or(forgotten_at);
        let (mut all, now) = (self.sessions.borrow_mut(), self.now());
        let mut unread = 0;
        for (id, bytes) in sessions {
            let Some(SessionRecord { token, start, since, state }) = SessionRecord::read(id, &bytes) else {
                unread += 1;
                continue;
            };
            all.restore(token, start, state, if since == 0 { last } else { since }, now);
        }
        unread
    }

    pub(super) async fn send_when_saved(self: Rc<Self>, worker: Rc<Worker>) {
        let Some(saving) = &self.saving else { return };
        loop {
            saving.written.changed.notified().await;
            self.send_waiting(&worker);
        }
    }

    pub(super) fn save_event(&self, position: Position, broadcast: &Broadcast) {
        let Some(saving) = &self.saving else { return };
        saving.submit(Change::Event { position, bytes: write_event(self.now(), broadcast) });
        let forgotten = self.log.borrow().forgotten();
        self.save_forgotten(forgotten, FORGET_AT_ONCE);
    }

    /// Lets the store forget what the log has forgotten, if it is so many events.
    pub(super) fn save_forgotten(&self, (through, time): (Position, u64), at_least: u64) {
        let Some(saving) = &self.saving else { return };
        let before = saving.forgotten.get();
        let same_epoch = through.epoch == before.epoch;
        if through > before && (!same_epoch || through.number - before.number >= at_least) {
            saving.forgotten.set(through);
            saving.submit(Change::Forget { through, time });
        }
    }

    /// `since`: since when its client is away; 0: it is there.
    pub(super) fn save_session(&self, state: &SessionState, since: u64) {
        let Some(saving) = &self.saving else { return };
        let Some((token, start)) = self.sessions.borrow().token(state.id) else { return };
        let record = SessionRecord { token, start, since, state: state.clone() };
        saving.submit(Change::Session { id: state.id, bytes: record.write() });
    }

    pub(super) fn save_end(&self, id: MemberId) {
        if let Some(saving) = &self.saving {
            saving.submit(Change::End(id));
        }
    }
}

impl Worker {
    /// The session of a member has changed: its rooms, or the [data](crate::Endpoint::session_data) of its
    /// application. If its scope has a store, it is stored before anything goes out that this thread sends there
    /// from now on.
    ///
    /// # Errors
    /// [`HubError::InboxFull`]: the store does not have the change.
    pub fn save_session(&self, key: MemberKey) -> Result<(), HubError> {
        if self.hub().has_any_history() { self.save_session_now(key) } else { Ok(()) }
    }

    #[cold]
    fn save_session_now(&self, key: MemberKey) -> Result<(), HubError> {
        let found = {
            let rooms = self.rooms.borrow();
            let member = rooms.get(key.index, key.generation);
            member.map(|member| (member.scope, member.id, Rc::clone(&member.endpoint)))
        };
        let Some((scope, id, endpoint)) = found else { return Ok(()) };
        let history = self.hub().history(scope);
        let Some(history) = history.filter(|history| history.options.store.is_some()) else { return Ok(()) };
        let mut data = Vec::new();
        self.catch_panic("a session's data", || endpoint.session_data(&mut data));
        let state = SessionState { id, rooms: self.rooms_of(key).unwrap_or_default(), data, values: None };
        self.hub().send_by_home(history, What::Save(state), true, false)
    }
}
