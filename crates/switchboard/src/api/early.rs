//! Events that no handler waits for yet. They are kept for a while, if that is asked for, and handed over when a
//! handler is registered.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard_hub::{Command, Target, Worker};

use super::local::LocalSocket;
use super::namespace::NamespaceInner;
use super::queue::{EventRef, HeldEvent, count_dropped};
use crate::refusals::{Refused, RefusedKind};

/// Bounds on the events of one socket that are kept until a handler is registered for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlyEvents {
    /// Their bytes. Default 64 KiB. They count in
    /// [`max_client_held_bytes`](crate::SocketIoOptions::max_client_held_bytes), too.
    pub max_bytes: usize,
    /// Their number. Default 100.
    pub max_events: usize,
    /// How long one is kept. Default 10 s.
    pub time: Duration,
}

impl Default for EarlyEvents {
    fn default() -> Self {
        Self { max_bytes: 64 << 10, max_events: 100, time: Duration::from_secs(10) }
    }
}

/// The early events of one socket, in the order in which they came.
#[derive(Default)]
pub(crate) struct Early {
    events: VecDeque<(Instant, HeldEvent)>,
    bytes: usize,
}

impl Early {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    fn push(&mut self, until: Instant, event: HeldEvent) {
        self.bytes += event.size();
        self.events.push_back((until, event));
    }

    /// Takes the events of this name.
    fn take(&mut self, name: &str) -> Vec<HeldEvent> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.events.drain(..).partition(|(_, event)| event.as_ref().name == name);
        self.events.extend(kept);
        let taken: Vec<_> = taken.into_iter().map(|(_, event)| event).collect();
        self.bytes -= taken.iter().map(HeldEvent::size).sum::<usize>();
        taken
    }

    /// Drops the events whose time is over. Returns how many, and when the next one's is.
    fn expire(&mut self, now: Instant) -> (usize, Option<Instant>) {
        let mut expired = 0;
        while let Some((until, event)) = self.events.front()
            && *until <= now
        {
            self.bytes -= event.size();
            self.events.pop_front();
            expired += 1;
        }
        (expired, self.events.front().map(|(until, _)| *until))
    }
}

impl LocalSocket {
    /// Keeps an event that has no handler, if there is room. `false`: no events are kept.
    pub(super) fn keep_early(&self, worker: &Rc<Worker>, event: &EventRef<'_>) -> bool {
        let Some(bounds) = self.options().early_events.filter(|_| self.is_here()) else { return false };
        let now = Worker::clock();
        self.expire_early(now);
        let has_room = self.with_own(|own| {
            own.early.len() < bounds.max_events
                && own.early.bytes.saturating_add(event.size()) <= bounds.max_bytes
        });
        if !has_room {
            self.count_early(1);
            return true;
        }
        let (until, mut held) = (Worker::deadline_from(now, bounds.time), event.keep(self));
        held.set_early();
        self.with_own(|own| own.early.push(until, held));
        self.carrier.arm(worker, until);
        true
    }

    /// A handler of this event was registered.
    pub(crate) fn hand_over_early(&self, worker: &Rc<Worker>, name: &str) {
        let events = match self.own.borrow_mut().as_mut() {
            Some(own) if own.early.len() > 0 => own.early.take(name),
            _ => return,
        };
        if events.is_empty() {
            return;
        }
        self.queue.put_before(events, self);
        // The caller may be a handler itself.
        if !self.queue.is_busy() {
            self.queue.set_busy(true);
            let (me, worker) = (self.weak(), Rc::clone(worker));
            tokio::task::spawn_local(async move {
                if let Some(me) = me.upgrade() {
                    me.release(&worker);
                }
            });
        }
    }

    /// Drops the early events whose time is over; returns when the next one's is.
    pub(super) fn expire_early(&self, now: Instant) -> Option<Instant> {
        let (expired, next) = self.own.borrow_mut().as_mut()?.early.expire(now);
        self.count_early(expired);
        next
    }

    /// Counts events that no handler was registered for.
    pub(super) fn count_early(&self, events: usize) {
        if events == 0 {
            return;
        }
        metrics::counter!("switchboard_events_unhandled_total").increment(events as u64);
        count_dropped(events, "early");
        self.tell_refused(RefusedKind::Event, "no handler", events);
    }

    /// Tells of something of this socket that was refused.
    pub(super) fn tell_refused(&self, kind: RefusedKind, reason: &str, count: usize) {
        let refusals = &self.options().refusals;
        if refusals.is_heard() {
            let address = self.carrier.handshake().address().map(|address| address.ip());
            refusals.tell(&Refused {
                count,
                namespace: Some(self.namespace()),
                socket: Some(self.socket.id()),
                ..Refused::new(kind, reason, address)
            });
        }
    }
}

impl NamespaceInner {
    /// A handler of this event was registered: the sockets that are connected may have early events of it.
    pub(super) fn hand_over_early(&self, event: &str) {
        if self.options.early_events.is_none() {
            return;
        }
        let scope = self.scope;
        let event: std::sync::Arc<str> = event.into();
        let sent = self.hub.send_all(|| {
            let event = std::sync::Arc::clone(&event);
            Command::run(move |worker| {
                for key in worker.matching(&Target::all(scope)) {
                    let Some(endpoint) = worker.endpoint(key) else { continue };
                    if let Some(local) = endpoint.as_any().downcast_ref::<LocalSocket>() {
                        local.hand_over_early(worker, &event);
                    }
                }
            })
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "early events of some sockets are not handed over");
        }
    }
}
