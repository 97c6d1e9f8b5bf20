//! The sessions of a worker, and their timers.

use std::any::Any;
use std::io::IoSlice;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use crate::outbox::{Outbox, WhenFull};
use crate::timers::Timers;
use crate::worker::Worker;

/// Stale timers that a worker holds at most, beside two timers for each of its sessions.
const STALE_TIMERS: usize = 1024;

/// Finds a session again, on its worker. A key may outlive its session; it finds nothing then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    index: u32,
    generation: u32,
}

/// One conversation with one peer, over any transport. Implemented by the protocols.
pub trait Session: 'static {
    /// The bytes that wait to be written.
    fn outbox(&self) -> &Outbox;

    /// Writes as many bytes as the transport takes now. It runs no code of users. The worker's flusher calls
    /// it after the outbox changed; a write that finds the outbox full calls it too.
    fn flush(&self, worker: &Rc<Worker>);

    /// Writes bytes to the transport at once, past the outbox, which is empty. Returns how many it took; 0 if
    /// the transport cannot be written to directly now. It must not call the worker.
    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        let _ = slices;
        0
    }

    /// Packets that are not to be compressed were added to the outbox, which held `before` bytes. It must not
    /// call the worker.
    fn note_plain(&self, before: usize) {
        let _ = before;
    }

    /// Whether the transport would take a packet at once. If not, volatile packets are dropped.
    fn writable(&self) -> bool;

    /// The outbox met its bound, and a packet was refused. The session closes with a reason, unless its
    /// senders are to act on the error.
    fn overflow(&self, worker: &Rc<Worker>);

    /// What the session does with a packet for which its outbox has no room. Asked where that is so; it must
    /// not call the worker. Default: the packet is refused.
    fn when_full(&self) -> WhenFull {
        WhenFull::Refuse
    }

    /// So many packets were dropped, because the outbox was full, since the last call. The worker calls this
    /// when it next flushes.
    fn dropped(&self, worker: &Rc<Worker>, packets: usize) {
        let _ = (worker, packets);
    }

    /// A deadline that [`Worker::arm`] has set has come. Returns when to call again, if ever.
    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant>;

    /// The server is shutting down: the session closes with that reason. Called again and again until the
    /// server has ended.
    fn shut_down(&self, worker: &Rc<Worker>);

    /// Whether the session has closed, and its peer has yet to ask for packets that wait for it, or for the
    /// close. A shutdown serves such peers on. Default: no.
    fn lingers(&self) -> bool {
        false
    }

    /// The protocol's own type, for the protocol.
    fn as_any(&self) -> &dyn Any;
}

pub(crate) struct SessionSlot {
    generation: u32,
    pub(crate) session: Rc<dyn Session>,
    /// The tick of the one timer that counts. Other timers of this session are stale.
    armed: Option<NonZeroU64>,
}

/// Drops stale timers: those of sessions that have gone, and those that an earlier timer of the same session
/// has replaced. The search begins when there are more stale timers than others, so its cost is shared by as
/// many timers that were set.
fn drop_stale(timers: &mut Timers<SessionKey>, sessions: &Slab<SessionSlot>) {
    if timers.len() > sessions.len() * 2 + STALE_TIMERS {
        timers.retain(|tick, key| {
            let slot = sessions.get(key.index as usize);
            slot.is_some_and(|slot| slot.generation == key.generation && slot.armed == Some(tick))
        });
    }
}

impl Worker {
    /// Adds a session to those this worker owns.
    pub fn add_session(&self, session: Rc<dyn Session>) -> SessionKey {
        let generation = self.session_generation.get().wrapping_add(1);
        self.session_generation.set(generation);
        let slot = SessionSlot { generation, session, armed: None };
        SessionKey { index: self.sessions.borrow_mut().insert(slot) as u32, generation }
    }

    /// Removes a session. Bytes that wait in its outbox are not written any more, unless its transport writes
    /// them.
    pub fn remove_session(&self, key: SessionKey) {
        let removed = {
            let mut sessions = self.sessions.borrow_mut();
            let live = sessions.get(key.index as usize).is_some_and(|slot| slot.generation == key.generation);
            let removed = live.then(|| sessions.remove(key.index as usize));
            drop_stale(&mut self.timers.borrow_mut(), &sessions);
            removed
        };
        drop(removed);
        self.tell_of_room();
    }

    /// The session of a key.
    #[inline]
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
        let Some(slot) =
            sessions.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)
        else {
            return;
        };
        let mut timers = self.timers.borrow_mut();
        let tick = timers.tick(Self::clock(), deadline);
        if slot.armed.is_some_and(|armed| armed <= tick) {
            return;
        }
        let before = timers.next_deadline();
        timers.insert(tick, key);
        slot.armed = Some(tick);
        drop_stale(&mut timers, &sessions);
        if timers.next_deadline() != before {
            self.timers_changed.notify_one();
        }
    }

    pub(crate) async fn keep_time(self: Rc<Self>) {
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
                        .filter(|slot| slot.armed == Some(tick))
                        .map(|slot| {
                            slot.armed = None;
                            Rc::clone(&slot.session)
                        })
                };
                let next = session.and_then(|session| {
                    self.catch_panic("a timer", || session.on_timer(self, now)).flatten()
                });
                if let Some(next) = next {
                    // A deadline that is over already has its turn after the others.
                    self.arm(key, next.max(now));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Framing, Hub, HubOptions, WorkerId};

    struct Idle(Outbox);

    impl Session for Idle {
        fn outbox(&self) -> &Outbox {
            &self.0
        }

        fn flush(&self, _worker: &Rc<Worker>) {}

        fn writable(&self) -> bool {
            true
        }

        fn overflow(&self, _worker: &Rc<Worker>) {}

        fn on_timer(&self, _worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
            None
        }

        fn shut_down(&self, _worker: &Rc<Worker>) {}

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    fn session() -> Rc<dyn Session> {
        Rc::new(Idle(Outbox::new(1, Framing { id: 0, separator: None })))
    }

    #[test]
    fn timers_are_at_most_two_for_each_session_and_some_more() {
        let (hub, _inboxes) = Hub::without_threads(&HubOptions { workers: 1, ..HubOptions::default() });
        let worker = Rc::new(Worker::new(WorkerId(0), hub));
        let hours = |hours| Worker::clock() + Duration::from_secs(3600) * hours;
        let stay: Vec<_> = (0..100).map(|_| worker.add_session(session())).collect();
        for &key in &stay {
            worker.arm(key, hours(500));
        }
        let bound = 2 * (stay.len() + 1) + STALE_TIMERS;
        for n in 0..20_000 {
            // Sessions that go before their timers are due, and timers that are set to ever earlier times.
            let key = worker.add_session(session());
            worker.arm(key, hours(1));
            worker.remove_session(key);
            worker.arm(stay[n % stay.len()], hours(500 - n as u32 / 50));
            assert!(worker.timers.borrow().len() <= bound, "{} timers", worker.timers.borrow().len());
        }
        for key in stay {
            let armed = worker.sessions.borrow()[key.index as usize].armed.expect("it is armed");
            let mut found = false;
            worker.timers.borrow_mut().retain(|tick, held| {
                found |= (tick, *held) == (armed, key);
                true
            });
            assert!(found, "the timer of a session that stayed is lost");
        }
    }
}
