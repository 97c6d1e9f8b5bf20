//! Sessions' timers, in virtual time: fired once, never early, late by little.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Peer, on_worker, options};
use proptest::prelude::*;
use switchboard_hub::Worker;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_timer_fires_once_and_late_by_little() {
    on_worker(&options(1), async |worker, _| {
        let peer = Peer::add(&worker, worker.hub().scope("/"), 0);
        for ahead in [0, 1, 300, 25_000] {
            let deadline = Worker::clock() + ms(ahead);
            worker.arm(peer.session_key, deadline);
            tokio::time::sleep(ms(ahead * 2 + 50)).await;
            let fired = peer.session.fired.take();
            assert_eq!(fired.len(), 1, "{ahead} ms ahead");
            assert!(
                fired[0] >= deadline && fired[0] <= deadline + ms(6 + ahead / 64),
                "{:?} late",
                fired[0] - deadline
            );
        }
    });
}

#[test]
fn the_earliest_deadline_counts() {
    on_worker(&options(1), async |worker, _| {
        let peer = Peer::add(&worker, worker.hub().scope("/"), 0);
        let start = Worker::clock();
        // Later, earlier, later: one call, at the earliest; what was set before it is stale.
        for ahead in [5000, 100, 2000] {
            worker.arm(peer.session_key, start + ms(ahead));
        }
        tokio::time::sleep(ms(10_000)).await;
        let fired = peer.session.fired.take();
        assert_eq!(fired.len(), 1);
        assert!(fired[0] < start + ms(110));
    });
}

#[test]
fn a_timer_goes_on_at_the_time_it_returns() {
    on_worker(&options(1), async |worker, _| {
        let peer = Peer::add(&worker, worker.hub().scope("/"), 0);
        let start = Worker::clock();
        peer.session.next.set(Some(start + ms(1000)));
        worker.arm(peer.session_key, start + ms(100));
        tokio::time::sleep(ms(500)).await;
        assert_eq!(peer.session.fired.borrow().len(), 1);
        // Earlier than what it has returned.
        worker.arm(peer.session_key, start + ms(600));
        tokio::time::sleep(ms(3000)).await;
        let fired: Vec<_> =
            peer.session.fired.take().iter().map(|at| (*at - start).as_millis() / 100).collect();
        assert_eq!(fired, [1, 6]);
    });
}

#[test]
fn a_deadline_that_is_over_does_not_keep_the_others_waiting() {
    on_worker(&options(1), async |worker, _| {
        tokio::time::sleep(ms(1000)).await;
        let [a, b] = [0, 1].map(|n| Peer::add(&worker, worker.hub().scope("/"), n));
        let start = Worker::clock();
        a.session.next.set(Some(start.checked_sub(ms(900)).expect("later than the epoch")));
        worker.arm(a.session_key, start);
        worker.arm(b.session_key, start + ms(1));
        tokio::time::sleep(ms(100)).await;
        assert_eq!((a.session.fired.borrow().len(), b.session.fired.borrow().len()), (2, 1));
        // It is called again, but not within the same turn.
        let fired = a.session.fired.take();
        assert!(fired[1] > fired[0]);
    });
}

#[test]
fn a_session_that_has_gone_is_not_called() {
    on_worker(&options(1), async |worker, _| {
        let [gone, other] = [0, 1].map(|n| Peer::add(&worker, worker.hub().scope("/"), n));
        for peer in [&gone, &other] {
            worker.arm(peer.session_key, Worker::clock() + ms(100));
        }
        worker.remove_session(gone.session_key);
        // Its slot has a new session, with no timer.
        let new = Peer::add(&worker, worker.hub().scope("/"), 2);
        tokio::time::sleep(ms(1000)).await;
        let calls = [gone, other, new].map(|peer| peer.session.fired.borrow().len());
        assert_eq!(calls, [0, 1, 0]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_arming_fires_at_the_earliest_deadline(
        armings in prop::collection::vec((0u64..400, 0u64..30_000), 1..12),
    ) {
        on_worker(&options(1), async |worker, _| {
            let peer = Peer::add(&worker, worker.hub().scope("/"), 0);
            let mut due: Option<std::time::Instant> = None;
            for (wait, ahead) in armings {
                tokio::time::sleep(ms(wait)).await;
                if !peer.session.fired.borrow().is_empty() {
                    break;
                }
                let deadline = Worker::clock() + ms(ahead);
                worker.arm(peer.session_key, deadline);
                due = Some(due.map_or(deadline, |due| due.min(deadline)));
            }
            tokio::time::sleep(ms(60_000)).await;
            let fired = peer.session.fired.take();
            assert_eq!(fired.len(), 1);
            let due = due.expect("armed at least once");
            assert!(fired[0] >= due && fired[0] <= due + ms(6 + 30_000 / 64));
        });
    }
}
