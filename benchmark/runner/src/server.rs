//! A server under test: started on a core of its own, watched through `/proc`, and ended with its value.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

const START_UP: Duration = Duration::from_secs(30);
/// Time to end for a server that is asked to; callgrind writes its counts then.
const ENDING: Duration = Duration::from_mins(1);

/// How to start a server; it is given `--addr 127.0.0.1:0` on top and prints where it listens.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<String>,
}

impl Launch {
    /// The same server under valgrind, which writes to `counts` how many instructions it executed.
    pub fn under_callgrind(&self, valgrind: &Path, counts: &Path) -> Self {
        let mut args =
            vec!["--tool=callgrind".to_owned(), format!("--callgrind-out-file={}", counts.display())];
        args.push(self.program.to_string_lossy().into_owned());
        args.extend(self.args.iter().cloned());
        Self { program: valgrind.to_owned(), args }
    }
}

/// The two cores of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// The first core this process may use, and the first beside it that is not its other hyper-thread.
    pub fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let server = cores.next().context("no core may be used")?;
        let siblings = siblings(server);
        let rest: Vec<usize> = cores.collect();
        let apart = rest.iter().find(|core| !siblings.contains(core)).or(rest.first());
        let load = *apart.context("two cores are needed, one for the server and one for the load")?;
        Ok(Self { server, load })
    }

    /// Binds the calling thread, and the processes it starts from now on.
    fn pin(cores: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core)?;
        }
        sched_setaffinity(Pid::from_raw(0), &set).context("pinning to a core")
    }
}

/// The hyper-threads of the core that `core` is one of; a list such as `0,4` or `0-1` in sysfs.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).unwrap_or_default();
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

pub struct Server {
    child: Child,
    addr: SocketAddr,
    cores: Cores,
}

impl Server {
    /// Starts a server and waits until it accepts. It runs on the server's core, or with `both_cores` on the
    /// load's too; the calling thread is left on the load's core. What the server says on stderr goes to
    /// `log`.
    pub fn start(launch: &Launch, cores: Cores, both_cores: bool, log: &Path) -> Result<Self> {
        let both = [cores.server, cores.load];
        Cores::pin(if both_cores { &both } else { &both[..1] })?;
        let child = Command::new(&launch.program)
            .args(&launch.args)
            .args(["--addr", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log).context("creating the server's log")?)
            .spawn();
        Cores::pin(&[cores.load])?;
        let mut child = child.with_context(|| format!("starting {}", launch.program.display()))?;
        let addr = announced(&mut child);
        // From here on the child ends with `Self`, whatever its announcement was.
        let mut server = Self { child, addr: SocketAddr::from(([0; 4], 0)), cores };
        server.addr = addr.with_context(|| format!("see {}", log.display()))?;
        Ok(server)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn cores(&self) -> Cores {
        self.cores
    }

    /// User and system time of the whole process so far, to the nanosecond.
    pub fn cpu_time(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(self.pid()).context("the server's CPU clock: has it ended?")?;
        Ok(clock_gettime(clock)?.into())
    }

    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Asks the server to end, and waits until it has.
    pub fn end(mut self) -> Result<()> {
        kill(self.pid(), Signal::SIGTERM).context("asking the server to end")?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < ENDING, "the server did not end within {ENDING:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line `listening on HOST:PORT`.
fn announced(child: &mut Child) -> Result<SocketAddr> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (found, addr) = mpsc::channel();
    // The thread reads on to the end, so that a talkative server never blocks on a full pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(addr) = line.strip_prefix("listening on ") {
                let _ = found.send(addr.trim().parse());
            }
        }
    });
    let addr = addr.recv_timeout(START_UP).map_err(|_| anyhow!("the server did not say where it listens"))?;
    Ok(addr?)
}

/// What the two measured cores have been busy with since the machine started, in seconds for each core.
pub struct CoreTimes(Vec<f64>);

impl CoreTimes {
    pub fn now(measured: Cores) -> Result<Self> {
        // Clock ticks are 1/100 s in /proc on every Linux a user meets.
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string("/proc/stat")?;
        let busy: Vec<f64> = stat
            .lines()
            .filter_map(|line| {
                let (name, times) = line.split_once(' ')?;
                let core: usize = name.strip_prefix("cpu")?.parse().ok()?;
                let times: Vec<f64> = times.split_whitespace().filter_map(|time| time.parse().ok()).collect();
                // user nice system (idle iowait) irq softirq steal
                let busy = times.iter().take(3).chain(times.iter().skip(5).take(3)).sum::<f64>();
                [measured.server, measured.load].contains(&core).then_some(busy / TICKS)
            })
            .collect();
        ensure!(!busy.is_empty(), "/proc/stat lists no cores");
        Ok(Self(busy))
    }

    pub fn busy_since(&self, before: &Self) -> f64 {
        self.0.iter().sum::<f64>() - before.0.iter().sum::<f64>()
    }
}
