//! The result of a run, and its three shapes: JSON with every sample, tables, and a chart.

mod svg;
mod table;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::bars::{self, BarReport};
use crate::catalogue::{Contender, Role};
use crate::sample::{self, Metric, Sample};

#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// When the run ended, UTC.
    pub taken: String,
    /// What was measured: the commit.
    pub revision: String,
    pub machine: String,
    pub rounds: usize,
    pub seconds: f64,
    pub bars: Vec<BarReport>,
    pub workloads: Vec<WorkloadReport>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct WorkloadReport {
    pub id: String,
    pub title: String,
    pub contenders: Vec<ContenderReport>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ContenderReport {
    pub id: String,
    pub name: String,
    pub protocol: String,
    pub role: Role,
    /// The median of each metric; empty where every round failed.
    pub median: Sample,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
    pub samples: Vec<Sample>,
}

impl ContenderReport {
    pub fn new(contender: &Contender, outcomes: Vec<Result<Sample>>) -> Self {
        let rounds = outcomes.len();
        let (samples, failures): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        let samples: Vec<Sample> = samples.into_iter().flatten().collect();
        let median = sample::median(&samples);
        let mut notes = Vec::new();
        if let Some(Err(error)) = failures.first() {
            notes.push(format!("FAILED in {} of {rounds} rounds: {error:#}", failures.len()));
        }
        notes.extend(caveats(contender, &median));
        Self {
            id: contender.id.to_owned(),
            name: contender.name.clone(),
            protocol: contender.protocol().to_owned(),
            role: contender.role,
            median,
            notes,
            samples,
        }
    }

    /// Half the distance between the lowest and the highest sample, as a share of the median.
    fn spread(&self, metric: Metric) -> Option<f64> {
        let values = || self.samples.iter().filter_map(|sample| sample.get(&metric).copied());
        let (lowest, highest) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        Some((highest - lowest) / 2.0 / self.get(metric)?)
    }

    fn get(&self, metric: Metric) -> Option<f64> {
        self.median.get(&metric).copied()
    }
}

/// The server waited for the load rather than the other way round.
fn is_load_bound(median: &Sample) -> bool {
    let share = |metric| median.get(&metric).copied().unwrap_or_default();
    share(Metric::LoadBusy) > 0.97 && share(Metric::ServerBusy) < 0.95
}

fn is_noisy(median: &Sample) -> bool {
    median.get(&Metric::OthersBusy).is_some_and(|others| *others > 0.05)
}

/// What makes a figure less than it seems.
fn caveats(contender: &Contender, median: &Sample) -> Vec<String> {
    let share = |metric| median.get(&metric).copied().unwrap_or_default();
    let mut notes = Vec::new();
    if contender.both_cores {
        notes.push("shares the load's core: only its CPU time for each message counts".to_owned());
    } else if is_load_bound(median) {
        let idle = (1.0 - share(Metric::ServerBusy)) * 100.0;
        notes.push(format!(
            "THE LOAD GENERATOR WAS THE SLOWER SIDE: the server idled {idle:.0} % of the time"
        ));
    }
    if let Some(bytes) = median.get(&Metric::ReplyBytes) {
        notes.push(format!("{bytes:.0} bytes of payload a reply"));
    }
    if is_noisy(median) {
        let others = share(Metric::OthersBusy) * 100.0;
        notes.push(format!("NOISY: other processes took {others:.0} % of a core"));
    }
    notes
}

impl WorkloadReport {
    pub fn median(&self, id: &str, metric: Metric) -> Option<f64> {
        self.contenders.iter().find(|contender| contender.id == id)?.get(metric)
    }

    /// Why a figure of that server should be taken with care, in a word each.
    pub fn doubts(&self, id: &str) -> Vec<&'static str> {
        let Some(contender) = self.contenders.iter().find(|contender| contender.id == id) else {
            return Vec::new();
        };
        let load_bound = is_load_bound(&contender.median).then_some("load-bound");
        let noisy = is_noisy(&contender.median).then_some("noisy");
        load_bound.into_iter().chain(noisy).collect()
    }

    fn floor(&self) -> Option<&ContenderReport> {
        self.contenders.iter().find(|contender| contender.role == Role::Floor)
    }

    /// Switchboard on its own listener with one worker, speaking the protocol of `other`.
    fn switchboard_beside(&self, other: &ContenderReport) -> Option<&ContenderReport> {
        self.contenders.iter().find(|contender| {
            ["switchboard", "switchboard-ws"].contains(&contender.id.as_str())
                && contender.protocol == other.protocol
        })
    }

    pub fn is_idle(&self) -> bool {
        self.contenders.iter().any(|contender| contender.median.contains_key(&Metric::RssBytes))
    }
}

impl Report {
    pub fn new(benchmark: &Path, rounds: usize, measure: Duration, workloads: Vec<WorkloadReport>) -> Self {
        let git = |args: &[&str]| said(Command::new("git").arg("-C").arg(benchmark).args(args));
        let revision = git(&["describe", "--always", "--dirty"]);
        Self {
            taken: said(Command::new("date").args(["-u", "+%F %H:%M UTC"])),
            revision,
            machine: machine(),
            rounds,
            seconds: measure.as_secs_f64(),
            bars: bars::evaluate(&workloads),
            workloads,
        }
    }

    /// One line on where the figures come from.
    fn provenance(&self) -> String {
        format!(
            "{}, {}; {}; median of {} × {} s",
            self.revision, self.taken, self.machine, self.rounds, self.seconds
        )
    }

    pub fn to_text(&self) -> String {
        table::render(self, table::Style::Terminal)
    }

    /// Writes `name.json`, `name.md` and `name.svg`; their paths.
    pub fn write(&self, folder: &Path, name: &str) -> Result<Vec<String>> {
        fs::create_dir_all(folder)?;
        let files = [
            ("json", serde_json::to_string_pretty(self)? + "\n"),
            ("md", table::render(self, table::Style::Markdown)),
            ("svg", svg::render(self)),
        ];
        files
            .into_iter()
            .map(|(extension, content)| {
                let path = folder.join(name).with_extension(extension);
                fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
                Ok(path.display().to_string())
            })
            .collect()
    }
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cores = cores.max(info.lines().filter(|line| line.starts_with("processor")).count());
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let (kernel, congestion) = (said(Command::new("uname").arg("-r")), congestion.trim());
    format!("{model}, {cores} cores, Linux {kernel}, TCP {congestion}")
}

/// What a command prints, or `unknown`.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// A whole number in groups of three: `1 234 567`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (value, shown) in [(0.0, "0"), (999.4, "999"), (1000.0, "1 000"), (12_170_000.0, "12 170 000")] {
            assert_eq!(super::grouped(value), shown);
        }
    }
}
