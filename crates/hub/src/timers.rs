//! The timers of one worker: deadlines in coarse buckets, with one sleep for all of them.
//!
//! Sans-I/O: time is an argument. A heartbeat 25 s away may fire a fraction of a second late and share its
//! wake-up with hundreds of others. A timer 300 ms away fires at most a few milliseconds late.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The finest step in which deadlines are kept, in milliseconds.
const TICK_MS: u64 = 4;

/// Deadlines for keys of type `K`, fired in order of their buckets.
///
/// A deadline never fires early. It fires late by at most 4 ms and one sixty-fourth of the time it was set
/// ahead.
#[derive(Debug)]
pub struct Timers<K> {
    epoch: Instant,
    buckets: BTreeMap<NonZeroU64, Vec<K>>,
    /// Keys in all buckets.
    keys: usize,
}

impl<K> Timers<K> {
    /// No deadlines; `now` is the origin that ticks are counted from.
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, buckets: BTreeMap::new(), keys: 0 }
    }

    /// The tick at which a deadline fires, if it is set now.
    pub fn tick(&self, now: Instant, deadline: Instant) -> NonZeroU64 {
        let ahead = deadline.saturating_duration_since(now).as_millis() as u64;
        // Coarser the further away: a power of two of ticks, at most 1/64 of the distance.
        let step = (ahead / 64 / TICK_MS).max(1).next_power_of_two() / 2;
        let step = step.max(1) * TICK_MS;
        let due = self.millis(deadline).saturating_add(1);
        // A due time is never 0.
        NonZeroU64::new(due.div_ceil(step).saturating_mul(step)).unwrap_or(NonZeroU64::MIN)
    }

    /// Sets a deadline by its [tick](Self::tick). The tick tells this setting from others of the same key.
    pub fn insert(&mut self, tick: NonZeroU64, key: K) {
        self.buckets.entry(tick).or_default().push(key);
        self.keys += 1;
    }

    /// How many settings it holds.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Drops the settings for which `keep` is false. It is called with the tick and the key of each.
    pub fn retain(&mut self, mut keep: impl FnMut(NonZeroU64, &K) -> bool) {
        self.keys = 0;
        self.buckets.retain(|&tick, keys| {
            keys.retain(|key| keep(tick, key));
            keys.shrink_to_fit();
            self.keys += keys.len();
            !keys.is_empty()
        });
    }

    /// The time of the next deadline: [`expire`](Self::expire) has nothing to do before it.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (&tick, _) = self.buckets.first_key_value()?;
        Some(self.epoch + Duration::from_millis(tick.get()))
    }

    /// Takes one bucket that is due, with its tick. Call until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<(NonZeroU64, Vec<K>)> {
        let entry = self.buckets.first_entry()?;
        if entry.key().get() > now.saturating_duration_since(self.epoch).as_millis() as u64 {
            return None;
        }
        let (tick, keys) = entry.remove_entry();
        self.keys -= keys.len();
        Some((tick, keys))
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_due_before_its_deadline() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        timers.insert(timers.tick(start, start + Duration::from_millis(300)), 'a');
        assert!(timers.expire(start + Duration::from_millis(299)).is_none());
        let (_, keys) = timers.expire(start + Duration::from_millis(310)).expect("due");
        assert_eq!(keys, ['a']);
        assert!(timers.next_deadline().is_none());
    }

    #[test]
    fn heartbeats_set_close_together_share_a_bucket() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        for ms in 0..50 {
            let now = start + Duration::from_millis(ms);
            timers.insert(timers.tick(now, now + Duration::from_secs(25)), ms);
        }
        assert!(timers.buckets.len() <= 2, "{} buckets", timers.buckets.len());
    }

    proptest! {
        #[test]
        fn a_deadline_fires_late_by_at_most_a_tick_and_a_sixty_fourth(offset in 0u64..100_000, ahead in 0u64..200_000) {
            let start = Instant::now();
            let now = start + Duration::from_millis(offset);
            let deadline = now + Duration::from_millis(ahead);
            let mut timers = Timers::new(start);
            timers.insert(timers.tick(now, deadline), ());
            let fires = timers.next_deadline().expect("one is set");
            prop_assert!(fires >= deadline);
            prop_assert!(fires <= deadline + Duration::from_millis(TICK_MS + 1 + ahead / 64));
            prop_assert!(timers.expire(fires).is_some());
        }
    }
}
