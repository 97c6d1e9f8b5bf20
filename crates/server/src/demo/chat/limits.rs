//! The limit on how fast a visitor may act.

use std::time::{Duration, Instant};

/// Allows ten events a second, in bursts of up to twenty.
///
/// It keeps one moment: the time at which the bucket would be full again (the generic cell rate algorithm).
/// No timer has to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    full_at: Instant,
}

impl Pace {
    const EVERY: Duration = Duration::from_millis(100);
    const BURST: u32 = 20;

    pub(crate) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether one more event may pass now. If so, it is counted.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + Self::EVERY;
        let passes = full_at - now <= Self::EVERY * Self::BURST;
        if passes {
            self.full_at = full_at;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_pass_at_once_and_then_one_each_tenth_of_a_second() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut pace = Pace::new(start);
        assert_eq!((0..30).filter(|_| pace.take(start)).count(), 20);
        assert!(!pace.take(at(99)));
        assert!(pace.take(at(100)));
        assert!(!pace.take(at(150)));
        assert_eq!((200..1200).filter(|now| pace.take(at(*now))).count(), 10);
        assert_eq!((0..30).filter(|_| pace.take(at(60_000))).count(), 20);
    }
}
