//! What a connection does as time passes: a message that has begun has to be complete in time, and memory
//! that was not used is given back.

use std::num::NonZeroU32;
use std::rc::{Rc, Weak};
use std::time::Duration;

use switchboard_hub::Worker;
use switchboard_websocket::CloseCode;

use super::turn::Turn;
use super::{Connection, ConnectionEnd, Flag, Phase};

/// A moment, in milliseconds of the worker's time, which wrap around; `None`: never.
///
/// An idle connection has room for four bytes, not for an [`Instant`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due(Option<NonZeroU32>);

/// The furthest that a [`Due`] tells from the past: 24 days.
const FURTHEST: u32 = i32::MAX as u32;

impl Due {
    /// So long after `elapsed`, which is the worker's time.
    fn after(elapsed: Duration, timeout: Duration) -> Self {
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(FURTHEST).min(FURTHEST);
        Self(NonZeroU32::new((elapsed.as_millis() as u32).wrapping_add(timeout).max(1)))
    }

    /// How long it is until then; `None`: for ever.
    fn left(self, elapsed: Duration) -> Option<Duration> {
        let left = self.0?.get().wrapping_sub(elapsed.as_millis() as u32);
        Some(Duration::from_millis(if left > FURTHEST { 0 } else { left.into() }))
    }
}

/// A message of which so many bytes more have come has the whole time again: long messages may come over slow
/// networks.
const RENEWED_EVERY: usize = 64 << 10;

impl Connection {
    /// Bytes have been decoded.
    #[inline]
    pub(super) fn time_message(self: &Rc<Self>, worker: &Rc<Worker>, turn: &Turn) {
        if self.decoder.borrow().is_idle() {
            self.message_due.set(Due::default());
        } else {
            self.time_unfinished(worker, turn);
        }
    }

    #[cold]
    fn time_unfinished(self: &Rc<Self>, worker: &Rc<Worker>, turn: &Turn) {
        let Some(bytes) = self.decoder.borrow().unfinished_message() else {
            return self.message_due.set(Due::default());
        };
        // One that was not whole before is another one, if any was whole since.
        let before = turn.message_before.filter(|_| !turn.completed_message);
        if before.is_none_or(|before| before / RENEWED_EVERY < bytes / RENEWED_EVERY) {
            self.begin_message(worker);
        }
    }

    /// A message has begun. It is watched by a task of its own, which ends when it finds none: one for each
    /// connection that sends long messages, and none for others.
    fn begin_message(self: &Rc<Self>, worker: &Rc<Worker>) {
        let timeouts = self.owner().map(|owner| owner.timeouts());
        let Some(timeout) = timeouts.and_then(|timeouts| timeouts.message) else { return };
        self.message_due.set(Due::after(worker.elapsed(), timeout));
        if !self.replace(Flag::Watched, true) {
            tokio::task::spawn_local(watch(Rc::downgrade(self), Rc::clone(worker)));
        }
    }

    /// Closes the connection if a message that has begun is late. Returns in how long it will be, if there is
    /// one.
    fn check_message(self: &Rc<Self>, worker: &Rc<Worker>) -> Option<Duration> {
        let left =
            self.message_due.get().left(worker.elapsed()).filter(|_| self.phase.get() == Phase::Open)?;
        if left > Duration::ZERO {
            return Some(left);
        }
        if self.is_unread() {
            // It cannot come: its time begins anew.
            self.begin_message(worker);
            return self.message_due.get().left(worker.elapsed());
        }
        metrics::counter!("switchboard_websocket_message_timeouts_total").increment(1);
        self.refuse(worker, CloseCode::PolicyViolation);
        self.tell_end(worker, ConnectionEnd::MessageTimeout);
        None
    }

    /// Gives back the memory that was not used since the last call. Called at each ping.
    pub(crate) fn release_unused(&self) {
        self.pongs.set(0);
        self.decoder.borrow_mut().shrink();
        if let Some(deflater) = self.own_deflater() {
            deflater.release_unused();
        }
    }
}

/// Watches over the messages of a connection until it finds none that has begun.
async fn watch(connection: Weak<Connection>, worker: Rc<Worker>) {
    while let Some(connection) = connection.upgrade() {
        let Some(left) = connection.check_message(&worker) else {
            connection.set(Flag::Watched, false);
            return;
        };
        drop(connection);
        tokio::time::sleep(left).await;
    }
}
