//! What a connection does as time passes: a message that has begun has to be complete in time, and memory that was not used is given back.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard_hub::Worker;
use switchboard_websocket::CloseCode;

use super::turn::Turn;
use super::{Connection, ConnectionEnd, Phase};

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

/// A message of which so many bytes more have come has the whole time again: long messages may come over slow networks.
const RENEWED_EVERY: usize = 64 << 10;

impl Connection {
    /// Bytes have been decoded.
    #[inline]
    pub(super) fn time_message(&self, worker: &Rc<Worker>, turn: &Turn) {
        if self.decoder.borrow().is_idle() {
            self.message_due.set(Due::default());
        } else {
            self.time_unfinished(worker, turn);
        }
    }

    #[cold]
    fn time_unfinished(&self, worker: &Rc<Worker>, turn: &Turn) {
        let Some(bytes) = self.decoder.borrow().unfinished_message() else {
            return self.message_due.set(Due::default());
        };
        // One that was not whole before is another one, if any was whole since.
        let before = turn.message_before.filter(|_| !turn.completed_message);
        if before.is_none_or(|before| before / RENEWED_EVERY < bytes / RENEWED_EVERY) {
            self.begin_message(worker);
        }
    }

    /// A message has begun.
    fn begin_message(&self, worker: &Rc<Worker>) {
        if let Some(owner) = self.owner()
            && let Some(timeout) = owner.timeouts().message
        {
            self.message_due.set(Due::after(worker.elapsed(), timeout));
            owner.arm(worker, Worker::deadline(timeout));
        }
    }

    /// Closes the connection if a message that has begun is late. Its owner calls this in its timer, and returns a deadline which is no
    /// later than the one it gets.
    pub(crate) fn check_time(self: &Rc<Self>, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        let elapsed = now.saturating_duration_since(worker.origin());
        let left = self.message_due.get().left(elapsed)?;
        if left > Duration::ZERO {
            return Some(now + left);
        }
        if self.phase.get() != Phase::Open {
            return None;
        }
        if self.is_unread() {
            // It cannot come: its time begins anew.
            self.begin_message(worker);
            return None;
        }
        metrics::counter!("switchboard_websocket_message_timeouts_total").increment(1);
        self.refuse(worker, CloseCode::PolicyViolation);
        self.tell_end(worker, ConnectionEnd::MessageTimeout);
        None
    }

    /// Some time has passed: what was not used in it is given back.
    pub(crate) fn rest(&self) {
        self.pongs.set(0);
        self.decoder.borrow_mut().shrink();
        if let Some(deflater) = self.own_deflater() {
            deflater.rest();
        }
    }
}
