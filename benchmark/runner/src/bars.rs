//! The bars: what was promised, beside what was measured.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::catalogue::Role;
use crate::report::WorkloadReport;
use crate::sample::Metric;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    NotMeasured,
    Missed,
    Reached,
    /// The stretch goal too.
    Stretch,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BarReport {
    pub what: String,
    pub at_least: String,
    pub stretch: String,
    pub measured: String,
    pub verdict: Verdict,
    /// Why the verdict should be taken with care: `load-bound`, `noisy`.
    pub doubts: Vec<String>,
}

/// One promise about one workload.
struct Bar {
    what: &'static str,
    workload: &'static str,
    /// Whose figure it is.
    of: &'static str,
    goal: Goal,
    at_least: Limit,
    stretch: Limit,
}

#[derive(Clone, Copy, PartialEq)]
enum Goal {
    /// More is better.
    High(Metric),
    /// Less is better.
    Low(Metric),
}

/// A figure, alone or as a multiple of another server's in the same run.
enum Limit {
    Absolute(f64),
    Times(f64, &'static str),
}

const WS: &str = "switchboard-ws";
const SIO: &str = "switchboard";
const AXUM: &str = "switchboard-axum";
const TWO: &str = "switchboard-2-workers";
const RECOVERY: &str = "switchboard-recovery";
const MIXED: &str = "switchboard-mixed";
const RATE: Goal = Goal::High(Metric::PerSecond);
const CPU: Goal = Goal::Low(Metric::CpuNs);

#[rustfmt::skip]
const BARS: [Bar; 25] = [
    bar("raw WebSocket echo, 100 connections, 1 in flight", "echo-100x1", WS, RATE, Limit::Times(0.95, "floor-echo"), Limit::Times(1.0, "floor-echo")),
    bar("raw WebSocket echo, 50 connections, 64 in flight", "echo-50x64", WS, RATE, Limit::Times(0.7, "floor-echo"), Limit::Times(0.9, "floor-echo")),
    bar("Socket.IO echo, 100 connections, 1 in flight", "echo-100x1", SIO, RATE, Limit::Times(0.95, "floor-echo"), Limit::Times(1.0, "floor-echo")),
    bar("Socket.IO echo, 50 connections, 64 in flight", "echo-50x64", SIO, RATE, Limit::Times(4.0, "socketioxide"), Limit::Times(8.0, "socketioxide")),
    bar("Socket.IO fan-out to 1000, 1 in flight", "fanout-x1", SIO, RATE, Limit::Times(1.4, "socketioxide"), Limit::Times(0.95, "floor-broadcast")),
    bar("Socket.IO fan-out to 1000, 16 in flight", "fanout-x16", SIO, RATE, Limit::Times(2.5, "socketioxide"), Limit::Times(0.9, "floor-broadcast")),
    bar("RSS for each idle Socket.IO connection (10 000)", "idle", SIO, Goal::Low(Metric::RssBytes), Limit::Absolute(4096.0), Limit::Absolute(2048.0)),
    bar("CPU to accept and connect one Socket.IO client", "idle", SIO, Goal::Low(Metric::ConnectUs), Limit::Times(0.7, "socketioxide"), Limit::Times(0.45, "socketioxide")),
    bar("mounted in axum, Socket.IO echo, 1 in flight", "echo-100x1", AXUM, RATE, Limit::Times(0.8, SIO), Limit::Times(0.95, SIO)),
    bar("mounted in axum, Socket.IO echo, 64 in flight", "echo-50x64", AXUM, RATE, Limit::Times(0.8, SIO), Limit::Times(0.95, SIO)),
    bar("mounted in axum, fan-out, 1 in flight", "fanout-x1", AXUM, RATE, Limit::Times(0.8, SIO), Limit::Times(0.95, SIO)),
    bar("mounted in axum, fan-out, 16 in flight", "fanout-x16", AXUM, RATE, Limit::Times(0.8, SIO), Limit::Times(0.95, SIO)),
    bar("Socket.IO polling echo, 100 clients", "polling", SIO, RATE, Limit::Times(0.9, "bare-hyper"), Limit::Times(1.0, "bare-hyper")),
    bar("CPU for each message, 2 workers: echo, 1 in flight", "echo-100x1", TWO, CPU, Limit::Times(1.15, SIO), Limit::Times(1.05, SIO)),
    bar("CPU for each message, 2 workers: echo, 64 in flight", "echo-50x64", TWO, CPU, Limit::Times(1.15, SIO), Limit::Times(1.05, SIO)),
    bar("CPU for each message, 2 workers: fan-out, 1 in flight", "fanout-x1", TWO, CPU, Limit::Times(1.15, SIO), Limit::Times(1.05, SIO)),
    bar("CPU for each message, 2 workers: fan-out, 16 in flight", "fanout-x16", TWO, CPU, Limit::Times(1.15, SIO), Limit::Times(1.05, SIO)),
    bar("acknowledged broadcasts to 1000, against Node", "acks", SIO, RATE, Limit::Times(5.0, "socket.io"), Limit::Times(10.0, "socket.io")),
    bar("acknowledged broadcasts to 1000, against socketioxide", "acks", SIO, RATE, Limit::Times(1.5, "socketioxide"), Limit::Times(3.0, "socketioxide")),
    bar("fan-out with recovery, 1 in flight", "fanout-x1", RECOVERY, RATE, Limit::Times(0.9, SIO), Limit::Times(0.97, SIO)),
    bar("fan-out with recovery, 16 in flight", "fanout-x16", RECOVERY, RATE, Limit::Times(0.9, SIO), Limit::Times(0.97, SIO)),
    bar("RSS for each idle Socket.IO connection with recovery", "idle", RECOVERY, Goal::Low(Metric::RssBytes), Limit::Times(1.1, SIO), Limit::Times(1.0, SIO)),
    bar("fan-out to a room of 4.x, 2.x and 0.9, 1 in flight", "fanout-x1", MIXED, RATE, Limit::Times(0.9, SIO), Limit::Times(1.0, SIO)),
    bar("fan-out to a room of 4.x, 2.x and 0.9, 16 in flight", "fanout-x16", MIXED, RATE, Limit::Times(0.9, SIO), Limit::Times(1.0, SIO)),
    bar("RSS for each idle WebSocket (10 000)", "idle-ws", WS, Goal::Low(Metric::RssBytes), Limit::Absolute(768.0), Limit::Absolute(512.0)),
];

/// Where the raw WebSocket endpoint is to be the first of all but the floor.
const FIRST_IN: [&str; 21] = [
    "echo-100x1",
    "echo-50x64",
    "echo-5b-512x16",
    "cast-x1",
    "cast-x16",
    "echo-16k",
    "echo-1k-50x1",
    "echo-1k-50x64",
    "echo-16k-50x1",
    "echo-16k-8x64",
    "echo-1m-4x1",
    "echo-1m-2x64",
    "deflate-takeover",
    "deflate-alone",
    "tls-100x1",
    "tls-50x64",
    "tls-16k-50x4",
    "handshakes",
    "idle-ws",
    "idle-tls",
    "idle-deflate",
];

const fn bar(
    what: &'static str,
    workload: &'static str,
    of: &'static str,
    goal: Goal,
    at_least: Limit,
    stretch: Limit,
) -> Bar {
    Bar { what, workload, of, goal, at_least, stretch }
}

/// Every bar that touches one of `workloads`, with its verdict.
pub fn evaluate(workloads: &[WorkloadReport]) -> Vec<BarReport> {
    let find = |id: &str| workloads.iter().find(|workload| workload.id == id);
    let bars = BARS.iter().filter_map(|bar| Some(bar.evaluate(find(bar.workload)?)));
    let first = FIRST_IN.iter().filter_map(|id| first(find(id)?));
    bars.chain(first).collect()
}

/// Whether Switchboard is the first of those that speak WebSocket in a workload: in messages a second and in
/// the CPU time of each, or in memory where all are idle. The first in both has reached the stretch goal;
/// where the load was the slower side all rates are the load's, and the CPU time decides.
fn first(workload: &WorkloadReport) -> Option<BarReport> {
    let (main, second) = if workload.is_idle() {
        (Goal::Low(Metric::RssBytes), Goal::Low(Metric::ConnectUs))
    } else {
        (RATE, CPU)
    };
    let (ratio, best) = ahead(workload, main)?;
    let (second_ratio, second_best) = ahead(workload, second)?;
    let load_bound = workload.doubts(WS).contains(&"load-bound");
    let verdict = match (ratio >= 1.0, second_ratio >= 1.0) {
        (true, true) => Verdict::Stretch,
        (true, false) => Verdict::Reached,
        (false, true) if load_bound => Verdict::Reached,
        _ => Verdict::Missed,
    };
    let names = if workload.is_idle() { ("memory", "CPU to connect") } else { ("rate", "CPU") };
    Some(BarReport {
        what: format!("first: {}", workload.title),
        at_least: format!("{} of the best peer", names.0),
        stretch: format!("{} too", names.1),
        measured: format!("{} {ratio:.2} × {best}, {} {second_ratio:.2} × {second_best}", names.0, names.1),
        verdict,
        doubts: workload.doubts(WS).into_iter().map(str::to_owned).collect(),
    })
}

/// How far ahead of the best peer Switchboard is, above 1 being better; and who that is.
fn ahead(workload: &WorkloadReport, goal: Goal) -> Option<(f64, String)> {
    let (Goal::High(metric) | Goal::Low(metric)) = goal;
    let advantage =
        |own: f64, other: f64| if matches!(goal, Goal::High(_)) { own / other } else { other / own };
    let own = workload.median(WS, metric)?;
    workload
        .contenders
        .iter()
        .filter(|contender| contender.role == Role::Peer && contender.protocol == "WebSocket")
        .filter_map(|peer| Some((advantage(own, *peer.median.get(&metric)?), peer.id.clone())))
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
}

impl Bar {
    fn evaluate(&self, workload: &WorkloadReport) -> BarReport {
        let at_least = self.compare(&self.at_least, workload);
        let stretch = self.compare(&self.stretch, workload);
        let verdict = match (&at_least, &stretch) {
            (_, Some((true, _))) => Verdict::Stretch,
            (Some((true, _)), _) => Verdict::Reached,
            (Some((false, _)), _) => Verdict::Missed,
            (None, _) => Verdict::NotMeasured,
        };
        let mut measured: Vec<String> =
            [at_least, stretch].into_iter().flatten().map(|(_, shown)| shown).collect();
        measured.dedup();
        BarReport {
            what: self.what.to_owned(),
            at_least: self.limit(&self.at_least),
            stretch: self.limit(&self.stretch),
            measured: measured.join(", "),
            verdict,
            doubts: self.doubts(workload),
        }
    }

    /// The doubts about each figure this bar compares.
    fn doubts(&self, workload: &WorkloadReport) -> Vec<String> {
        let others = [&self.at_least, &self.stretch].into_iter().filter_map(|limit| match limit {
            Limit::Times(_, other) => Some(*other),
            Limit::Absolute(_) => None,
        });
        let doubts: BTreeSet<_> = others.chain([self.of]).flat_map(|id| workload.doubts(id)).collect();
        doubts.into_iter().map(str::to_owned).collect()
    }

    /// Whether the limit is kept, and the figure as it compares; none where either side was not measured.
    fn compare(&self, limit: &Limit, workload: &WorkloadReport) -> Option<(bool, String)> {
        let (Goal::High(metric) | Goal::Low(metric)) = self.goal;
        let own = workload.median(self.of, metric)?;
        let (figure, bound, shown) = match limit {
            Limit::Absolute(bound) => (own, *bound, format!("{own:.0} bytes")),
            Limit::Times(bound, other) => {
                let ratio = own / workload.median(other, metric)?;
                (ratio, *bound, format!("{ratio:.2} × {}", short(other)))
            }
        };
        let kept = if matches!(self.goal, Goal::High(_)) { figure >= bound } else { figure <= bound };
        Some((kept, shown))
    }

    fn limit(&self, limit: &Limit) -> String {
        let sign = if matches!(self.goal, Goal::High(_)) { "≥" } else { "≤" };
        match limit {
            Limit::Absolute(bound) => format!("{sign} {bound:.0} bytes"),
            Limit::Times(factor, other) => format!("{sign} {factor} × {}", short(other)),
        }
    }
}

fn short(id: &str) -> &str {
    match id {
        "floor-echo" | "floor-broadcast" => "floor",
        SIO => "own listener, 1 worker",
        other => other,
    }
}
