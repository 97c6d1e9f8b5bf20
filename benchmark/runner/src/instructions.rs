//! `./bench --instructions`: how many instructions of user space each server executes for one message, or to
//! open one connection, counted by valgrind's callgrind. Other processes do not change the counts, so they
//! show differences that no clock shows on a busy machine. They say nothing of the kernel's part, which is
//! most of the time of a small message.
//!
//! Each server runs twice under the same load with different numbers of messages. The difference of the two
//! counts, by message, has no start-up and no connecting in it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::catalogue::{CAST, Contender, ECHO, Mode, Programs, Role};
use crate::load::{self, Deflate, Shape, Timing, Wire};
use crate::report::grouped;
use crate::sample::median_of;
use crate::server::{Cores, Server};

/// A later version may need so many times the instructions of an earlier one before the table complains.
const TOLERANCE: f64 = 1.03;

/// One load, and who is measured under it.
struct Row {
    id: &'static str,
    title: &'static str,
    shape: Shape,
    mode: Mode,
    /// Messages, or connections where those are counted, of the shorter and of the longer run.
    few: u64,
    many: u64,
    /// Switchboard first.
    servers: &'static [(&'static str, Wire)],
}

/// What was counted of one server.
struct Count {
    contender: Contender,
    is_baseline: bool,
    each: Vec<f64>,
    failure: Option<String>,
}

pub struct Counting<'a> {
    pub programs: &'a Programs,
    /// An earlier conformance server, which is counted beside the other.
    pub baseline: Option<PathBuf>,
    pub filter: Option<&'a str>,
    pub rounds: usize,
    /// Where servers' logs and callgrind's files go.
    pub logs: &'a Path,
}

const SOCKET_IO: &[(&str, Wire)] = &[("switchboard", Wire::SocketIo), ("socketioxide", Wire::SocketIo)];
const RAW: &[(&str, Wire)] = &[("switchboard-ws", ECHO), ("fastwebsockets", ECHO)];
const ALL_RAW: &[(&str, Wire)] =
    &[("switchboard-ws", ECHO), ("fastwebsockets", ECHO), ("sockudo-ws", ECHO), ("wtx", ECHO)];

const fn row(
    id: &'static str,
    title: &'static str,
    shape: Shape,
    (few, many): (u64, u64),
    servers: &'static [(&'static str, Wire)],
) -> Row {
    Row { id, title, shape, mode: Mode::Plain, few, many, servers }
}

const fn echo(connections: usize, in_flight: usize, payload: usize) -> Shape {
    Shape::Echo { connections, in_flight, payload }
}

const fn fan_out(in_flight: usize) -> Shape {
    Shape::FanOut { receivers: 99, in_flight, payload: 200 }
}

const CONNECT: Shape = Shape::Idle { connections: 0, deflate: Deflate::Declined };
const POLLING: Shape = Shape::Polling { clients: 20, payload: 20 };

#[rustfmt::skip]
const ROWS: [Row; 14] = [
    row("echo-20x1", "echo of 20 bytes, 20 × 1 in flight", echo(20, 1, 20), (2_000, 12_000), ALL_RAW),
    row("echo-20x1", "echo of 20 bytes, 20 × 1 in flight", echo(20, 1, 20), (2_000, 12_000), SOCKET_IO),
    row("echo-10x64", "echo of 20 bytes, 10 × 64 in flight", echo(10, 64, 20), (6_400, 64_000), ALL_RAW),
    row("echo-10x64", "echo of 20 bytes, 10 × 64 in flight", echo(10, 64, 20), (6_400, 32_000), SOCKET_IO),
    row("echo-1k-20x1", "echo of 1 KiB, 20 × 1 in flight", echo(20, 1, 1 << 10), (2_000, 12_000), RAW),
    row("echo-16k-20x1", "echo of 16 KiB, 20 × 1 in flight", echo(20, 1, 16 << 10), (500, 2_500), RAW),
    Row { mode: Mode::Tls, ..row("tls-20x1", "echo of 20 bytes over TLS, 20 × 1 in flight", echo(20, 1, 20), (2_000, 12_000), RAW) },
    row("axum-20x1", "echo of 20 bytes in axum, 20 × 1 in flight", echo(20, 1, 20), (2_000, 12_000), &[("switchboard-axum", Wire::SocketIo)]),
    row("fanout-x1", "broadcast of 200 bytes to 100, 1 in flight", fan_out(1), (20, 220), SOCKET_IO),
    row("fanout-x16", "broadcast of 200 bytes to 100, 16 in flight", fan_out(16), (64, 864), SOCKET_IO),
    row("fanout-x1", "broadcast of 200 bytes to 100, 1 in flight", fan_out(1), (20, 220), &[("switchboard-ws", CAST)]),
    row("polling", "echo of 20 bytes by polling, 20 clients", POLLING, (400, 2_400), SOCKET_IO),
    row("connect", "to accept and connect one client", CONNECT, (200, 1_200), RAW),
    row("connect", "to accept and connect one client", CONNECT, (200, 1_200), SOCKET_IO),
];

impl Counting<'_> {
    /// Counts all, prints the table as it grows, and gives it back.
    pub fn run(&self) -> Result<String> {
        let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        version.context("counting instructions needs valgrind: apt-get install valgrind")?;
        let cores = Cores::choose()?;
        let mut table = String::from(
            "| for each message | server | protocol | instructions | spread | Switchboard ÷ it |\n\
             | --- | --- | --- | ---: | ---: | ---: |\n",
        );
        print!("{table}");
        let mut worse = Vec::new();
        for row in &ROWS {
            let counts = self.count_row(row, cores)?;
            let own = counts.first().filter(|count| count.contender.role == Role::Switchboard);
            let own = own.and_then(Count::median);
            for count in &counts {
                let line = count.line(row, own);
                print!("{line}");
                table += &line;
                worse.extend(count.verdict(row, own));
            }
        }
        for line in worse {
            println!("{line}");
            let _ = writeln!(table, "{line}");
        }
        Ok(table)
    }

    fn count_row(&self, row: &Row, cores: Cores) -> Result<Vec<Count>> {
        let earlier =
            self.baseline.clone().map(|path| Programs { conformance: Some(path), ..self.programs.clone() });
        let mut counts = Vec::new();
        for (id, wire) in row.servers {
            if !self
                .filter
                .is_none_or(|filter| filter.split(',').any(|part| format!("{}/{id}", row.id).contains(part)))
            {
                continue;
            }
            if let Some(contender) = self.programs.contender(id, *wire, row.mode)? {
                let is_own = contender.role == Role::Switchboard;
                counts.push(self.count(row, contender, false, cores));
                if let Some(earlier) = earlier.as_ref().filter(|_| is_own) {
                    let contender = earlier.contender(id, *wire, row.mode)?;
                    counts.extend(contender.map(|contender| self.count(row, contender, true, cores)));
                }
            }
        }
        Ok(counts)
    }

    fn count(&self, row: &Row, contender: Contender, is_baseline: bool, cores: Cores) -> Count {
        let mut count = Count { contender, is_baseline, each: Vec::new(), failure: None };
        for _ in 0..self.rounds {
            let of = |n| self.instructions(row, &count, n, cores);
            match of(row.few).and_then(|few| Ok((few, of(row.many)?))) {
                Ok((few, many)) => {
                    let messages = (row.many - row.few) * recipients(row.shape);
                    count.each.push((many as f64 - few as f64) / messages as f64);
                }
                Err(error) => count.failure = Some(format!("{error:#}")),
            }
        }
        count
    }

    /// What a server executes from its start to its end, with `n` messages or connections between.
    fn instructions(&self, row: &Row, count: &Count, n: u64, cores: Cores) -> Result<u64> {
        let Contender { id, wire, .. } = count.contender;
        let which = if count.is_baseline { "-baseline" } else { "" };
        let file = |extension| self.logs.join(format!("{}-{id}{which}.{extension}", row.id));
        let (counts, log) = (file("callgrind"), file("callgrind.log"));
        let launch = count.contender.launch.under_callgrind(Path::new("valgrind"), &counts);
        let server = Server::start(&launch, cores, false, &log)?;
        let tls = (row.mode == Mode::Tls).then_some(&self.programs.certificate.client);
        if matches!(row.shape, Shape::Idle { .. }) {
            let open = load::hold_open(n as usize, wire, tls, &server)?;
            server.end()?;
            drop(open);
        } else {
            load::run(row.shape, wire, tls, &server, Timing::Messages(n))?;
            server.end()?;
        }
        total(&fs::read_to_string(&counts).with_context(|| format!("reading {}", counts.display()))?)
    }
}

/// How many deliveries one message is.
fn recipients(shape: Shape) -> u64 {
    match shape {
        Shape::FanOut { receivers, .. } => receivers as u64 + 1,
        _ => 1,
    }
}

/// All instructions in a file of callgrind's: its `totals` line.
fn total(file: &str) -> Result<u64> {
    let line = file.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = line.context("callgrind wrote no totals")?.trim().parse()?;
    ensure!(total > 0, "callgrind counted nothing");
    Ok(total)
}

impl Count {
    fn median(&self) -> Option<f64> {
        (!self.each.is_empty()).then(|| median_of(self.each.clone()))
    }

    fn name(&self) -> String {
        format!("{}{}", self.contender.name, if self.is_baseline { " (baseline)" } else { "" })
    }

    /// A line of the table, beside Switchboard's own count.
    fn line(&self, row: &Row, own: Option<f64>) -> String {
        let (title, name, protocol) = (row.title, self.name(), self.contender.protocol());
        let Some(each) = self.median() else {
            let failure = self.failure.as_deref().unwrap_or("not counted");
            return format!("| {title} | {name} | {protocol} | FAILED: {failure} | | |\n");
        };
        let is_own = self.contender.role == Role::Switchboard && !self.is_baseline;
        let ratio =
            own.filter(|_| !is_own).map_or_else(|| "–".to_owned(), |own| format!("{:.2}", own / each));
        let range = self.each.iter().fold((f64::MAX, 0f64), |(low, high), n| (low.min(*n), high.max(*n)));
        let spread = (range.1 - range.0) / 2.0 / each * 100.0;
        let spread = if self.each.len() > 1 { format!("± {spread:.1} %") } else { "–".to_owned() };
        format!("| {title} | {name} | {protocol} | {} | {spread} | {ratio} |\n", grouped(each))
    }

    /// A complaint where Switchboard needs more than a peer, or clearly more than it did before.
    fn verdict(&self, row: &Row, own: Option<f64>) -> Option<String> {
        let bound = match self.contender.role {
            Role::Switchboard => self.is_baseline.then_some(TOLERANCE)?,
            Role::Peer | Role::Floor => 1.0,
        };
        let ratio = own? / self.median()?;
        let protocol = self.contender.protocol();
        (ratio > bound)
            .then(|| format!("!! {} ({protocol}): {ratio:.2} × {}, above {bound}", row.title, self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_read_from_the_end_of_callgrinds_file() {
        let file = "events: Ir\nsummary: 12\n\nfn=(1) main\n1 12\n\ntotals: 12\n";
        assert_eq!(total(file).unwrap(), 12);
        assert!(total("events: Ir\n").is_err());
        assert!(total("totals: 0\n").is_err());
    }
}
