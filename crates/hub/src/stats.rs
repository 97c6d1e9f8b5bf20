//! Counters of frequent events: each worker counts, and publishes its counters once a second.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A counter of one worker, published to `metrics` once a second: nothing is shared on the message path.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// Counts `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }
}

/// The counters of one worker for frequent events.
#[derive(Debug, Default)]
pub struct Stats {
    /// Something may have been counted since the counters were published last.
    awake: Cell<bool>,
    woken: Notify,
    /// Messages that peers sent: `switchboard_messages_received_total`.
    pub messages_received: Count,
    /// Messages queued for peers: `switchboard_messages_sent_total`.
    pub messages_sent: Count,
    /// Bytes that peers sent: `switchboard_bytes_received_total`.
    pub bytes_received: Count,
    /// Bytes written to peers: `switchboard_bytes_sent_total`.
    pub bytes_sent: Count,
    /// Volatile packets dropped because a transport would not take them at once:
    /// `switchboard_volatile_dropped_total`.
    pub volatile_dropped: Count,
    /// Packets dropped because the outboxes of their sessions were full: `switchboard_packets_dropped_total`.
    pub packets_dropped: Count,
}

/// What all workers of a hub have published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Messages that peers sent.
    pub messages_received: u64,
    /// Messages queued for peers.
    pub messages_sent: u64,
    /// Bytes that peers sent.
    pub bytes_received: u64,
    /// Bytes written to peers.
    pub bytes_sent: u64,
}

/// The sums of what workers publish, in the order of [`Totals`].
#[derive(Debug, Default)]
pub(crate) struct Published([AtomicU64; 4]);

impl Published {
    pub(crate) fn totals(&self) -> Totals {
        let [messages_received, messages_sent, bytes_received, bytes_sent] =
            self.0.each_ref().map(|sum| sum.load(Ordering::Relaxed));
        Totals { messages_received, messages_sent, bytes_received, bytes_sent }
    }
}

impl Stats {
    /// Makes sure that the next count will be published.
    #[inline]
    pub(crate) fn wake(&self) {
        if !self.awake.get() {
            self.wake_publisher();
        }
    }

    #[cold]
    fn wake_publisher(&self) {
        self.awake.set(true);
        self.woken.notify_one();
    }

    /// Returns when there may be something to publish. A worker with nothing to do has no timer for this.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Publishes all counts since the last call.
    pub(crate) fn publish(&self, published: &Published) {
        self.awake.set(false);
        let counts = [
            ("switchboard_messages_received_total", &self.messages_received),
            ("switchboard_messages_sent_total", &self.messages_sent),
            ("switchboard_bytes_received_total", &self.bytes_received),
            ("switchboard_bytes_sent_total", &self.bytes_sent),
            ("switchboard_volatile_dropped_total", &self.volatile_dropped),
            ("switchboard_packets_dropped_total", &self.packets_dropped),
        ];
        for (at, (name, count)) in counts.into_iter().enumerate() {
            let counted = count.0.take();
            if counted > 0 {
                metrics::counter!(name).increment(counted);
                if let Some(sum) = published.0.get(at) {
                    sum.fetch_add(counted, Ordering::Relaxed);
                }
            }
        }
    }
}
