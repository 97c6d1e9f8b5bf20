//! The rates of one socket, one address or one namespace, and how much of them is used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rate::Rate;
use super::{OverLimit, RateLimits};

/// Whose rate was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Socket,
    Address,
    Namespace,
}

impl Scope {
    /// The word for it in metrics and hooks.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scope::Socket => "socket rate",
            Scope::Address => "address rate",
            Scope::Namespace => "namespace rate",
        }
    }
}

/// What was used of the rates of one scope. Several workers may count in it.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) scope: Scope,
    pub(crate) limits: RateLimits,
    /// Times are counted from here.
    origin: Instant,
    events: Bucket,
    bytes: Bucket,
    connects: Bucket,
}

/// When all that was taken is paid for, in nanoseconds.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl Bucket {
    /// Changes the bucket by what `next` makes of it.
    fn update<E>(&self, next: impl Fn(u64) -> Result<u64, E>) -> Result<(), E> {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let after = next(before)?;
            match self.0.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => before = other,
            }
        }
    }
}

/// An event's or a CONNECT's part of the rates.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input {
    Event { bytes: usize },
    Connect,
}

impl Meter {
    pub(crate) fn new(scope: Scope, limits: RateLimits, now: Instant) -> Self {
        // An hour before now, so that no time is before it.
        let origin = now.checked_sub(Duration::from_secs(3600)).unwrap_or(now);
        let [events, bytes, connects] = Default::default();
        Self { scope, limits, origin, events, bytes, connects }
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The rates that an input counts in, and how much of each it is.
    fn parts(&self, input: Input) -> [Option<(&Rate, &Bucket, u64)>; 2] {
        let RateLimits { events, bytes, connects, .. } = &self.limits;
        match input {
            Input::Event { bytes: size } => [
                events.as_ref().map(|rate| (rate, &self.events, 1)),
                bytes.as_ref().map(|rate| (rate, &self.bytes, size as u64)),
            ],
            Input::Connect => [connects.as_ref().map(|rate| (rate, &self.connects, 1)), None],
        }
    }

    /// Counts an input that is let through. Returns `None` if it is not to be. Where the client is
    /// [held back](OverLimit::HoldBack), all are let through, and the time is how long the client waits for
    /// the next.
    pub(crate) fn admit(&self, input: Input, now: Instant) -> Option<Duration> {
        let nanos = self.nanos(now);
        let parts = self.parts(input);
        if self.limits.over != OverLimit::HoldBack {
            for (rate, bucket, amount) in parts.into_iter().flatten() {
                bucket.update(|paid_at| rate.take(paid_at, nanos, amount)).ok()?;
            }
            return Some(Duration::ZERO);
        }
        for (rate, bucket, amount) in parts.into_iter().flatten() {
            let _always = bucket.update(|paid_at| Ok::<_, ()>(rate.charge(paid_at, nanos, amount)));
        }
        Some(self.wait(now))
    }

    /// How long a client that is held back waits for the next of its inputs.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let nanos = self.nanos(now);
        let parts = [Input::Event { bytes: 1 }, Input::Connect].map(|input| self.parts(input));
        let waits = parts
            .iter()
            .flatten()
            .flatten()
            .map(|(rate, bucket, amount)| rate.wait(bucket.0.load(Ordering::Relaxed), nanos, *amount));
        waits.max().unwrap_or_default()
    }

    /// Whether nothing is owed, so that a new meter would be the same.
    pub(crate) fn is_paid(&self, now: Instant) -> bool {
        let nanos = self.nanos(now);
        [&self.events, &self.bytes, &self.connects]
            .iter()
            .all(|bucket| bucket.0.load(Ordering::Relaxed) <= nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_in_events_and_in_bytes() {
        let limits = RateLimits::default().events(Rate::per_second(10)).bytes(Rate::per_second(100));
        let now = Instant::now();
        let meter = Meter::new(Scope::Socket, limits, now);
        assert!(meter.is_paid(now));
        assert_eq!(meter.admit(Input::Event { bytes: 60 }, now), Some(Duration::ZERO));
        assert_eq!(meter.admit(Input::Event { bytes: 60 }, now), None);
        assert_eq!(meter.admit(Input::Event { bytes: 40 }, now), Some(Duration::ZERO));
        assert_eq!(meter.admit(Input::Connect, now), Some(Duration::ZERO));
        assert!(!meter.is_paid(now));
        assert!(meter.is_paid(now + Duration::from_secs(1)));
    }

    #[test]
    fn who_is_held_back_waits_until_one_more_may_come() {
        let limits = RateLimits::default().events(Rate::per_second(10)).over(OverLimit::HoldBack);
        let now = Instant::now();
        let meter = Meter::new(Scope::Socket, limits, now);
        for n in 0..12u64 {
            let wait = meter.admit(Input::Event { bytes: 5 }, now);
            assert_eq!(wait, Some(Duration::from_millis(100 * (n + 1).saturating_sub(9))));
        }
        assert_eq!(meter.wait(now + Duration::from_millis(250)), Duration::from_millis(50));
    }
}
