//! One rate: a bucket of tokens, as arithmetic without a clock.
//!
//! A bucket is one number, the time at which all that was taken from it is paid for (the generic cell rate
//! algorithm). It needs no timer, and an atomic integer can hold it.

use std::time::Duration;

/// How much may come in a time, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    amount: u64,
    period: Duration,
    burst: u64,
}

impl Rate {
    /// So much in each second, which may come at once. 0 counts as 1.
    #[must_use]
    pub const fn per_second(amount: u64) -> Self {
        Self::per(amount, Duration::from_secs(1))
    }

    /// So much in each `period`, which may come at once. 0 counts as 1; a period has 1 ns at least and 30
    /// years at most.
    #[must_use]
    pub const fn per(amount: u64, period: Duration) -> Self {
        let amount = if amount == 0 { 1 } else { amount };
        Self { amount, period, burst: amount }
    }

    /// How much may come at once when nothing has come for long. Default: the amount of one period.
    #[must_use]
    pub const fn burst(mut self, burst: u64) -> Self {
        self.burst = if burst == 0 { 1 } else { burst };
        self
    }

    /// The time that an amount takes, in nanoseconds.
    fn cost(&self, amount: u64) -> u64 {
        const LONGEST: u128 = 30 * 365 * 86_400 * 1_000_000_000;
        let period = self.period.as_nanos().clamp(1, LONGEST);
        let cost = period.saturating_mul(u128::from(amount)).div_ceil(u128::from(self.amount));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// The time of what may come at once.
    fn window(&self) -> u64 {
        // Each of the single costs is rounded up.
        self.cost(self.burst).max(self.cost(1).saturating_mul(self.burst.min(1 << 20)))
    }

    /// Takes an amount from a bucket that is paid for at `paid_at`, and gives when it is then.
    ///
    /// # Errors
    /// How long it takes until the amount may be taken. An amount of more than the burst may be taken from a
    /// full bucket, and is then paid for in full.
    pub(crate) fn take(&self, paid_at: u64, now: u64, amount: u64) -> Result<u64, Duration> {
        let wait = self.wait(paid_at, now, amount);
        if wait.is_zero() { Ok(self.charge(paid_at, now, amount)) } else { Err(wait) }
    }

    /// Takes an amount whether it is there or not, and gives when the bucket is paid for then.
    pub(crate) fn charge(&self, paid_at: u64, now: u64, amount: u64) -> u64 {
        paid_at.max(now).saturating_add(self.cost(amount))
    }

    /// How long it takes until an amount may be taken.
    pub(crate) fn wait(&self, paid_at: u64, now: u64, amount: u64) -> Duration {
        let (debt, window) = (paid_at.saturating_sub(now), self.window());
        let needed = debt.saturating_add(self.cost(amount).min(window));
        Duration::from_nanos(needed.saturating_sub(window))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_may_come_at_once_and_then_the_rate() {
        let rate = Rate::per_second(10).burst(3);
        let mut paid_at = 0;
        let mut take = |now| match rate.take(paid_at, now, 1) {
            Ok(next) => {
                paid_at = next;
                Ok(())
            }
            Err(wait) => Err(wait.as_millis()),
        };
        assert_eq!([take(SECOND), take(SECOND), take(SECOND)], [Ok(()); 3]);
        assert_eq!(take(SECOND), Err(100));
        assert_eq!(take(SECOND + 100_000_000), Ok(()));
        assert_eq!(take(SECOND + 150_000_000), Err(50));
        assert_eq!([take(9 * SECOND), take(9 * SECOND), take(9 * SECOND)], [Ok(()); 3]);
        assert!(take(9 * SECOND).is_err());
    }

    #[test]
    fn more_than_a_burst_passes_a_full_bucket_and_is_paid_for() {
        let rate = Rate::per_second(1000);
        let paid_at = rate.take(0, SECOND, 5000).expect("the bucket is full");
        assert_eq!(rate.take(paid_at, SECOND, 1).map_err(|wait| wait.as_millis()), Err(4001));
        assert!(rate.take(paid_at, 6 * SECOND, 1).is_ok());
    }

    #[test]
    fn no_rate_overflows() {
        let most = Rate::per(u64::MAX, Duration::MAX).burst(u64::MAX);
        let least = Rate::per(0, Duration::MAX).burst(0);
        for rate in [most, least, Rate::per(1, Duration::ZERO)] {
            for (paid_at, now, amount) in [(0, 0, u64::MAX), (u64::MAX, 0, 1), (u64::MAX, u64::MAX, u64::MAX)]
            {
                let _none_panics = (rate.take(paid_at, now, amount), rate.charge(paid_at, now, amount));
            }
        }
    }

    proptest! {
        #[test]
        fn in_any_time_no_more_passes_than_the_burst_and_the_rate(
            amount in 1u64..2000,
            period in 1u64..5000,
            burst in 1u64..500,
            gaps in prop::collection::vec((0u64..3000, 1u64..20), 1..200),
        ) {
            let rate = Rate::per(amount, Duration::from_millis(period)).burst(burst);
            let (mut paid_at, mut now) = (0, SECOND);
            let mut passed = Vec::new();
            for (gap, asked) in gaps {
                now += gap * 1_000_000;
                match rate.take(paid_at, now, asked) {
                    Ok(next) => {
                        paid_at = next;
                        passed.push((now, asked));
                    }
                    // After the wait it passes.
                    Err(wait) => prop_assert!(rate.take(paid_at, now + wait.as_nanos() as u64, asked).is_ok()),
                }
            }
            for (at, from) in passed.iter().enumerate() {
                let mut sum = 0;
                for (time, asked) in &passed[at..] {
                    sum += asked;
                    // One that is larger than the burst passes a full bucket.
                    let beyond_the_burst = u64::saturating_sub(sum, burst.max(20) + 1);
                    prop_assert!(beyond_the_burst * period * 1_000_000 <= (time - from.0) * amount);
                }
            }
        }
    }
}
