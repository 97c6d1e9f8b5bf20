//! The numbers of this server, which the admin page is told every two seconds.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};
use switchboard_hub::{Totals, Worker, WorkerId};

use super::feed::Feed;
use crate::engineio::session::Registry;
use crate::server::on_each_worker;
use crate::switchboard::Switchboard;
use crate::switchboard::extract::WeakSwitchboard;

/// How often the page is told.
const INTERVAL: Duration = Duration::from_secs(2);

/// Tells the page from now on, until the server ends.
pub(super) fn start(io: &Switchboard, feed: &Arc<Feed>, server_id: Option<String>) -> io::Result<()> {
    let (weak, feed) = (WeakSwitchboard::new(io), Arc::clone(feed));
    let run = move |worker: &Rc<Worker>| {
        let started = worker.origin();
        tokio::task::spawn_local(async move {
            let host = host_name();
            let server_id = server_id.unwrap_or_else(|| host.clone());
            let mut before = Counts::default();
            let mut ticks = tokio::time::interval(INTERVAL);
            loop {
                ticks.tick().await;
                let Some(io) = weak.upgrade() else { return };
                feed.tell_upgrades();
                let Some(now) = Counts::of(&io).await else { return };
                let Some(namespaces) = namespaces(&io).await else { return };
                feed.tell(
                    "server_stats",
                    json!({
                        "serverId": server_id,
                        "hostname": host,
                        "pid": std::process::id(),
                        "uptime": started.elapsed().as_secs_f64(),
                        "clientsCount": now.clients,
                        "pollingClientsCount": now.polling,
                        "aggregatedEvents": now.since(&before),
                        "namespaces": namespaces,
                    }),
                );
                before = now;
            }
        });
    };
    io.hub().run_on(WorkerId(0), run).map_err(io::Error::other)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// What the numbers are made of.
#[derive(Default)]
struct Counts {
    clients: usize,
    polling: usize,
    /// Clients that have opened since the server's beginning.
    opened: u64,
    totals: Totals,
}

impl Counts {
    /// `None`: the server has ended.
    async fn of(io: &Switchboard) -> Option<Self> {
        let all = on_each_worker(io.hub(), Registry::counts).await;
        let mut counts = Self { totals: io.hub().totals(), ..Self::default() };
        if all.is_empty() {
            return None;
        }
        for of_worker in all {
            counts.clients += of_worker.open;
            counts.polling += of_worker.polling;
            counts.opened += of_worker.opened;
        }
        Some(counts)
    }

    /// The events since an earlier time, as the page draws them.
    fn since(&self, before: &Self) -> Vec<Json> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let timestamp = since.as_secs() * 1000;
        let closed = |counts: &Self| counts.opened.saturating_sub(counts.clients as u64);
        let (totals, earlier) = (&self.totals, &before.totals);
        [
            ("rawConnection", self.opened, before.opened),
            ("rawDisconnection", closed(self), closed(before)),
            ("packetsIn", totals.messages_received, earlier.messages_received),
            ("packetsOut", totals.messages_sent, earlier.messages_sent),
            ("bytesIn", totals.bytes_received, earlier.bytes_received),
            ("bytesOut", totals.bytes_sent, earlier.bytes_sent),
        ]
        .into_iter()
        .filter(|(_, now, before)| now > before)
        .map(|(kind, now, before)| json!({ "timestamp": timestamp, "type": kind, "count": now - before }))
        .collect()
    }
}

/// The namespaces of this server, and how many sockets each has here. `None`: the server has ended.
async fn namespaces(io: &Switchboard) -> Option<Vec<Json>> {
    let mut all = Vec::new();
    for namespace in io.namespaces() {
        let count = namespace.local().count().await.ok()?;
        all.push(json!({ "name": namespace.name(), "socketsCount": count }));
    }
    Some(all)
}
