//! The time limits of a client: one for each step, and one for all steps together.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{ConnectError, Step};

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    end: Instant,
    overall: Duration,
}

impl Clock {
    /// Starts the limit for all steps.
    pub(super) fn start(overall: Duration) -> Self {
        Self { end: after(overall), overall }
    }

    /// The end of a step that begins now, and the limit that gives this end.
    pub(super) fn end_of(&self, limit: Duration) -> (Instant, Duration) {
        let end = after(limit);
        if end <= self.end { (end, limit) } else { (self.end, self.overall) }
    }

    /// Does `work` until its limit is over.
    pub(super) async fn step<T, E: From<ConnectError>>(
        &self,
        step: Step,
        to: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (end, limit) = self.end_of(limit);
        match timeout_at(end, work).await {
            Ok(done) => done,
            Err(_) => Err(ConnectError::Timeout { step, to: to.to_owned(), limit }.into()),
        }
    }
}

/// The instant after `limit`. It is a year from now where the clock has no instant so late.
fn after(limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now + FAR)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_ends_at_its_own_limit_or_at_the_overall_one() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let clock = Clock::start(3 * SECOND);
        // The limit of each step, the limit that is met, and the time of that.
        for (own, met, at) in
            [(2 * SECOND, 2 * SECOND, 2), (2 * SECOND, 3 * SECOND, 3), (SECOND, 3 * SECOND, 3)]
        {
            let never = pending::<Result<(), ConnectError>>();
            let error = clock.step(Step::Tls, "a:443", own, never).await.unwrap_err();
            assert!(matches!(&error, ConnectError::Timeout { limit, .. } if *limit == met), "{error}");
            assert_eq!(start.elapsed(), at * SECOND);
        }
        assert!(Clock::start(Duration::MAX).end_of(Duration::MAX).0 > start + 1000 * SECOND);
    }
}
