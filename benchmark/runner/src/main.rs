//! `./bench`: measures Switchboard and its peers side by side, one core for the server and one for the load,
//! and writes a table, a chart and the raw samples.

mod bars;
mod catalogue;
mod certificate;
mod instructions;
mod load;
mod report;
mod sample;
mod server;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use catalogue::{Mode, Programs, Workload};
use certificate::Certificate;
use instructions::Counting;
use load::Timing;
use report::{ContenderReport, Report, WorkloadReport};
use sample::{Metric, Sample};
use server::{Cores, Server};

/// Measures Switchboard and its peers side by side on this machine.
#[derive(Parser)]
#[command(name = "./bench", bin_name = "./bench", max_term_width = 100)]
struct Options {
    /// Only what has this in `workload/server`, as `--list` shows it; several of them with commas between.
    filter: Option<String>,
    /// Three short rounds: some ten minutes rather than fifty.
    #[arg(long)]
    quick: bool,
    /// How often each server is measured; the rounds interleave the servers. [default: 5, or 3 with --quick,
    /// or 1 with --instructions]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of one measurement. [default: 3, or 0.7 with --quick]
    #[arg(long)]
    seconds: Option<f64>,
    /// Counts instructions by callgrind instead of measuring time: a few minutes, on a busy machine too.
    #[arg(long, conflicts_with_all = ["list", "quick", "seconds"])]
    instructions: bool,
    /// With --instructions: an earlier conformance server, counted beside the other.
    #[arg(long, requires = "instructions", value_name = "PATH")]
    baseline: Option<PathBuf>,
    /// Says what would be measured.
    #[arg(long)]
    list: bool,
    /// The conformance server to measure as Switchboard; the one of this tree, built anew, unless given.
    #[arg(long, value_name = "PATH")]
    conformance: Option<PathBuf>,
    /// Node's binary.
    #[arg(long, hide = true)]
    node: Option<PathBuf>,
    /// Bun's binary.
    #[arg(long, hide = true)]
    bun: Option<PathBuf>,
    /// The benchmark's folder.
    #[arg(long, hide = true, default_value = "benchmark")]
    benchmark: PathBuf,
}

/// What a run measures unless it is told otherwise, and a quick one of the workloads that need it.
const FULL_ROUNDS: usize = 5;
const FULL_TIMING: Timing =
    Timing::Window { warm_up: Duration::from_secs(1), measure: Duration::from_secs(3) };

fn main() -> Result<()> {
    let options = Options::parse();
    let binary = std::env::current_exe()?;
    let programs = Programs {
        peers: binary.parent().context("the binary lies in a folder")?.to_owned(),
        conformance: options.conformance.clone(),
        node: options.node.clone(),
        bun: options.bun.clone(),
        conformance_help: options
            .conformance
            .as_deref()
            .map(catalogue::help)
            .transpose()?
            .unwrap_or_default(),
        certificate: Certificate::make(&options.logs()?)?,
        benchmark: options.benchmark.clone(),
    };
    if options.instructions {
        return count_instructions(&options, &programs);
    }
    let mut workloads = catalogue::workloads(&programs)?;
    if let Some(filter) = &options.filter {
        for workload in &mut workloads {
            let id = workload.id;
            workload.contenders.retain(|contender| {
                let name = format!("{id}/{}", contender.id);
                filter.split(',').any(|part| name.contains(part))
            });
        }
        workloads.retain(|workload| !workload.contenders.is_empty());
    }
    if options.list {
        for workload in &workloads {
            println!("{}: {}", workload.id, workload.title);
            for contender in &workload.contenders {
                println!(
                    "    {}/{} ({}, {})",
                    workload.id,
                    contender.id,
                    contender.name,
                    contender.protocol()
                );
            }
        }
        return Ok(());
    }
    ensure!(!workloads.is_empty(), "nothing matches; ./bench --list shows what there is");
    programs.certificate.write()?;
    measure_all(&options, &workloads, &programs.certificate)
}

fn count_instructions(options: &Options, programs: &Programs) -> Result<()> {
    raise_open_files()?;
    programs.certificate.write()?;
    let counting = Counting {
        programs,
        baseline: options.baseline.clone(),
        filter: options.filter.as_deref(),
        rounds: options.rounds.unwrap_or(1).max(1),
        logs: &options.logs()?,
    };
    let table = counting.run()?;
    let path = options.benchmark.join("results/partial.instructions.md");
    fs::write(&path, table).with_context(|| format!("writing {}", path.display()))?;
    println!("\nwritten: {}", path.display());
    Ok(())
}

fn measure_all(options: &Options, workloads: &[Workload], certificate: &Certificate) -> Result<()> {
    let (rounds, seconds, warm_up) = if options.quick { (3, 0.7, 0.3) } else { (FULL_ROUNDS, 3.0, 1.0) };
    let rounds = options.rounds.unwrap_or(rounds).max(1);
    let measure = Duration::try_from_secs_f64(options.seconds.unwrap_or(seconds)).context("--seconds")?;
    let timing = Timing::Window { warm_up: Duration::from_secs_f64(warm_up), measure };
    raise_open_files()?;

    let (cores, logs, begun) = (Cores::choose()?, options.logs()?, Instant::now());
    let runner = Runner { certificate, cores, timing, rounds, begun, logs };
    let measured = workloads.iter().map(|workload| runner.measure(workload)).collect();
    let report = Report::new(&options.benchmark, rounds, measure, measured);
    print!("\n{}", report.to_text());

    // Only a whole and unhurried run replaces the published results.
    let whole = options.filter.is_none() && rounds >= 5 && options.seconds.is_none() && !options.quick;
    let whole = whole && options.conformance.is_some() && options.node.is_some() && options.bun.is_some();
    let name = if whole { "latest" } else { "partial" };
    let paths = report.write(&options.benchmark.join("results"), name)?;
    println!("\nwritten: {}", paths.join(", "));
    Ok(())
}

impl Options {
    fn logs(&self) -> Result<PathBuf> {
        let logs = self.benchmark.join("results/logs");
        fs::create_dir_all(&logs)?;
        Ok(logs)
    }
}

/// Ten thousand connections need as many descriptors, on either side; servers inherit the limit.
fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if hard < 10_500 {
        eprintln!("!! only {hard} open files are allowed: the idle workload will fail (ulimit -Hn)");
    }
    Ok(())
}

struct Runner<'a> {
    certificate: &'a Certificate,
    cores: Cores,
    timing: Timing,
    rounds: usize,
    begun: Instant,
    logs: PathBuf,
}

impl Runner<'_> {
    /// All rounds of one workload: A B C, A B C, so that a change of the machine's mood falls on all alike.
    fn measure(&self, workload: &Workload) -> WorkloadReport {
        let (rounds, timing) = if workload.thorough && self.rounds < FULL_ROUNDS {
            (FULL_ROUNDS, FULL_TIMING)
        } else {
            (self.rounds, self.timing)
        };
        let title = if rounds == self.rounds {
            workload.title.to_owned()
        } else {
            format!("{}; {rounds} full rounds", workload.title)
        };
        eprintln!("\n{title}");
        let tls = (workload.mode == Mode::Tls).then_some(&self.certificate.client);
        let mut outcomes: Vec<Vec<Result<Sample>>> = workload.contenders.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            for (contender, outcomes) in workload.contenders.iter().zip(&mut outcomes) {
                let log = self.logs.join(format!("{}.log", contender.id));
                let outcome = Server::start(&contender.launch, self.cores, contender.both_cores, &log)
                    .and_then(|server| load::run(workload.shape, contender.wire, tls, &server, timing));
                let elapsed = self.begun.elapsed().as_secs();
                let shown = outcome.as_ref().map_or_else(|error| format!("FAILED: {error:#}"), brief);
                let name = format!("{} ({})", contender.name, contender.protocol());
                eprintln!("{:3}:{:02}  {round}/{rounds}  {name:37} {shown}", elapsed / 60, elapsed % 60);
                outcomes.push(outcome);
            }
        }
        let contenders = workload.contenders.iter().zip(outcomes);
        WorkloadReport {
            id: workload.id.to_owned(),
            title,
            contenders: contenders
                .map(|(contender, outcomes)| ContenderReport::new(contender, outcomes))
                .collect(),
        }
    }
}

fn brief(sample: &Sample) -> String {
    match (sample.get(&Metric::PerSecond), sample.get(&Metric::CpuNs)) {
        (Some(rate), Some(cpu)) => format!("{:>12} /s {cpu:>8.0} ns CPU each", report::grouped(*rate)),
        _ => format!(
            "{:>12} bytes, {:.0} µs CPU each",
            report::grouped(sample[&Metric::RssBytes]),
            sample[&Metric::ConnectUs]
        ),
    }
}
