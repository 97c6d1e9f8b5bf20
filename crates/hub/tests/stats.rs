//! What workers count for themselves is published while there is something to publish.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{on_worker, options};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Adds up one counter, and how often it was told of.
#[derive(Clone, Default)]
struct BytesReceived(Arc<AtomicU64>, Arc<AtomicU64>);

impl Recorder for BytesReceived {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != "switchboard_bytes_received_total" {
            return Counter::noop();
        }
        self.1.fetch_add(1, Ordering::Relaxed);
        Counter::from_arc(Arc::clone(&self.0))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn counts_are_published_once_a_second_while_there_are_any() {
    let recorder = BytesReceived::default();
    let seen = || (recorder.0.load(Ordering::Relaxed), recorder.1.load(Ordering::Relaxed));
    let pause = async |millis| tokio::time::sleep(Duration::from_millis(millis)).await;
    metrics::with_local_recorder(&recorder, || {
        on_worker(&options(1), async |worker, _| {
            pause(60_000).await;
            assert_eq!(seen(), (0, 0), "nothing has happened");
            for _ in 0..9 {
                worker.stats().bytes_received.add(1);
                pause(100).await;
            }
            assert_eq!(seen(), (0, 0), "not each by itself");
            pause(200).await;
            assert_eq!(seen(), (9, 1));
            pause(60_000).await;
            assert_eq!(seen(), (9, 1), "nothing more has happened");
            worker.stats().bytes_received.add(5);
            pause(1100).await;
            assert_eq!(seen(), (14, 2));
            worker.stats().bytes_received.add(6);
        });
        assert_eq!(seen(), (20, 3), "what is left is published in the end");
    });
}
