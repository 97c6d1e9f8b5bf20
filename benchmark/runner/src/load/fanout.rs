//! Fan-out: one connection sends, all receive. What is counted is deliveries.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::connect::{self, Opening};
use super::connection::Connection;
use super::meter::Meter;
use super::wire::Traffic;
use super::{Poller, RECEIVE_BUFFER, STALL, Timing};
use crate::sample::Sample;
use crate::server::Server;

const SENDER: usize = 0;
/// How many connections in a row may each speak something else.
const KINDS: usize = 4;

/// The broadcasts on the way, oldest first.
struct Broadcasts {
    recipients: usize,
    in_flight: usize,
    /// Number of the oldest; those before it have reached everybody.
    oldest: u64,
    sent: VecDeque<(Instant, usize)>,
    /// Number of the broadcast each connection is to receive next.
    next: Vec<u64>,
}

pub(super) fn run(
    opening: Opening<'_>,
    receivers: usize,
    in_flight: usize,
    payload: usize,
    server: &Server,
    timing: Timing,
) -> Result<Sample> {
    let recipients = receivers + 1;
    let kinds: [Traffic; KINDS] =
        std::array::from_fn(|index| Traffic::new(opening.wire.of(index), "broadcast", payload));
    let mut connections = connect::open(opening, recipients)?;
    let mut poller = Poller::new()?;
    for (index, connection) in connections.iter().enumerate() {
        poller.add(connection.socket(), index)?;
    }

    let mut broadcasts =
        Broadcasts { recipients, in_flight, oldest: 0, sent: VecDeque::new(), next: vec![0; recipients] };
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut meter = Meter::start_fan_out(server, timing, recipients)?;
    let mut last_message = Instant::now();
    broadcasts.top_up(&mut connections[SENDER], &kinds[SENDER], &mut meter)?;
    loop {
        for index in poller.wait(Duration::from_millis(100))? {
            let (connection, traffic) = (&mut connections[index], &kinds[index % KINDS]);
            connection.flush(traffic)?;
            let received = connection.receive(traffic, &mut buffer)?;
            if received > 0 {
                last_message = Instant::now();
                broadcasts.delivered(index, received, last_message, &mut meter)?;
            }
        }
        broadcasts.top_up(&mut connections[SENDER], &kinds[SENDER], &mut meter)?;
        if last_message.elapsed() > STALL {
            let missing: usize = broadcasts.sent.iter().map(|(_, missing)| missing).sum();
            bail!("no delivery for {STALL:?} and {missing} missing: the server lost some");
        }
        if let Some(sample) = meter.tick()? {
            return Ok(sample);
        }
    }
}

impl Broadcasts {
    fn delivered(&mut self, index: usize, received: usize, now: Instant, meter: &mut Meter) -> Result<()> {
        let first = (self.next[index] - self.oldest) as usize;
        self.next[index] += received as u64;
        let mut run: Option<(Instant, u64)> = None;
        for number in first..first + received {
            let (at, missing) = self.sent.get_mut(number).context("a broadcast was delivered twice")?;
            *missing -= 1;
            // Broadcasts that went out together are recorded together.
            match &mut run {
                Some((same, n)) if same == at => *n += 1,
                _ => {
                    if let Some((at, n)) = run.replace((*at, 1)) {
                        meter.record(now - at, n);
                    }
                }
            }
        }
        if let Some((at, n)) = run {
            meter.record(now - at, n);
        }
        Ok(())
    }

    /// Retires what has reached everybody and sends as many anew.
    fn top_up(&mut self, sender: &mut Connection, traffic: &Traffic, meter: &mut Meter) -> Result<()> {
        while self.sent.front().is_some_and(|(_, missing)| *missing == 0) {
            self.sent.pop_front();
            self.oldest += 1;
        }
        let free = meter.allow(self.in_flight - self.sent.len());
        if free > 0 {
            self.sent.extend(std::iter::repeat_n((Instant::now(), self.recipients), free));
            sender.send(traffic, free)?;
        }
        Ok(())
    }
}
