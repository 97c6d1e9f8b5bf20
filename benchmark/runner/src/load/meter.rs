//! Warm-up, the measured window, and what both cost on either side; or a fixed number of messages.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};

use super::Timing;
use crate::sample::{Metric, Sample};
use crate::server::{CoreTimes, Server};

/// Counts messages and their latency while its window is open, and says how many may be sent.
pub(super) struct Meter<'a> {
    server: &'a Server,
    timing: Timing,
    begun: Instant,
    window: Option<Window>,
    /// Messages that were sent since the start.
    sent: u64,
    /// How often each is answered: by all recipients of a broadcast.
    answers: u64,
    messages: u64,
    latency: Histogram<u64>,
}

struct Window {
    opened: Instant,
    server_cpu: Duration,
    load_cpu: Duration,
    cores: CoreTimes,
}

impl Window {
    fn open(server: &Server) -> Result<Self> {
        Ok(Self {
            opened: Instant::now(),
            server_cpu: server.cpu_time()?,
            load_cpu: thread_cpu_time()?,
            cores: CoreTimes::now(server.cores())?,
        })
    }
}

impl<'a> Meter<'a> {
    /// Starts the warm-up now.
    pub(super) fn start(server: &'a Server, timing: Timing) -> Result<Self> {
        // From a microsecond to a minute, three digits.
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).context("latency histogram")?;
        Ok(Self {
            server,
            timing,
            begun: Instant::now(),
            window: None,
            sent: 0,
            answers: 1,
            messages: 0,
            latency,
        })
    }

    /// As [`Self::start`], where each message is answered by so many.
    pub(super) fn start_fan_out(server: &'a Server, timing: Timing, recipients: usize) -> Result<Self> {
        Ok(Self { answers: recipients as u64, ..Self::start(server, timing)? })
    }

    /// How many of `n` further messages may be sent; all of them, unless the measurement ends after a fixed
    /// number.
    pub(super) fn allow(&mut self, n: usize) -> usize {
        let left = match self.timing {
            Timing::Window { .. } => u64::MAX,
            Timing::Messages(messages) => messages - self.sent,
        };
        let allowed = left.min(n as u64);
        self.sent += allowed;
        allowed as usize
    }

    /// Adds `n` messages that took `latency` each.
    pub(super) fn record(&mut self, latency: Duration, n: u64) {
        if self.window.is_some() || matches!(self.timing, Timing::Messages(_)) {
            self.messages += n;
            self.latency.saturating_record_n(latency.as_nanos() as u64, n);
        }
    }

    /// Opens the window when the warm-up is over; the result when the window is over, or the last message was
    /// answered. Of a fixed number of messages nothing is measured here.
    pub(super) fn tick(&mut self) -> Result<Option<Sample>> {
        let (warm_up, measure) = match self.timing {
            Timing::Window { warm_up, measure } => (warm_up, measure),
            Timing::Messages(messages) => {
                let all = self.messages == messages * self.answers;
                return Ok(all.then(Sample::new));
            }
        };
        match &self.window {
            None if self.begun.elapsed() >= warm_up => self.window = Some(Window::open(self.server)?),
            Some(window) if window.opened.elapsed() >= measure => return self.close(window).map(Some),
            _ => {}
        }
        Ok(None)
    }

    fn close(&self, window: &Window) -> Result<Sample> {
        let end = Window::open(self.server)?;
        let wall = (end.opened - window.opened).as_secs_f64();
        let server_cpu = end.server_cpu.saturating_sub(window.server_cpu).as_secs_f64();
        let load_cpu = end.load_cpu.saturating_sub(window.load_cpu).as_secs_f64();
        let used = end.cores.busy_since(&window.cores);
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Sample::from([
            (Metric::PerSecond, self.messages as f64 / wall),
            (Metric::CpuNs, server_cpu * 1e9 / self.messages.max(1) as f64),
            (Metric::P50Us, micros(0.50)),
            (Metric::P99Us, micros(0.99)),
            (Metric::P999Us, micros(0.999)),
            (Metric::ServerBusy, server_cpu / wall),
            (Metric::LoadBusy, load_cpu / wall),
            (Metric::OthersBusy, ((used - server_cpu - load_cpu) / wall).max(0.0)),
        ]))
    }
}

fn thread_cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
