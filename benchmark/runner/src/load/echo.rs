//! Echo: every connection keeps a fixed number of messages on the way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::connect::{self, Opening};
use super::connection::Connection;
use super::meter::Meter;
use super::wire::Traffic;
use super::{Poller, RECEIVE_BUFFER, STALL, Timing};
use crate::sample::Sample;
use crate::server::Server;

struct Client {
    connection: Connection,
    /// When the messages on the way were sent, oldest first: a time, and how many went then.
    sent: VecDeque<(Instant, usize)>,
}

pub(super) fn run(
    opening: Opening<'_>,
    connections: usize,
    in_flight: usize,
    payload: usize,
    server: &Server,
    timing: Timing,
) -> Result<Sample> {
    let traffic = Traffic::new(opening.wire, "echo", payload);
    let opened = connect::open(opening, connections)?;
    let mut poller = Poller::new()?;
    let mut meter = Meter::start(server, timing)?;
    let mut clients = Vec::with_capacity(connections);
    for (index, mut connection) in opened.into_iter().enumerate() {
        poller.add(connection.socket(), index)?;
        let first = meter.allow(in_flight);
        connection.send(&traffic, first)?;
        clients.push(Client { connection, sent: VecDeque::from([(Instant::now(), first)]) });
    }

    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut last_message = Instant::now();
    loop {
        for index in poller.wait(Duration::from_millis(100))? {
            let client = &mut clients[index];
            client.connection.flush(&traffic)?;
            let received = client.connection.receive(&traffic, &mut buffer)?;
            if received > 0 {
                last_message = Instant::now();
                client.answered(received, last_message, &mut meter);
                let next = meter.allow(received);
                client.sent.push_back((last_message, next));
                client.connection.send(&traffic, next)?;
            }
        }
        if last_message.elapsed() > STALL {
            bail!("no message came back for {STALL:?}: the server lost some");
        }
        if let Some(sample) = meter.tick()? {
            return Ok(sample);
        }
    }
}

impl Client {
    /// Takes the oldest `received` messages off the way.
    fn answered(&mut self, received: usize, now: Instant, meter: &mut Meter) {
        let mut left = received;
        while left > 0 {
            let Some((at, n)) = self.sent.front_mut() else { break };
            let taken = left.min(*n);
            meter.record(now - *at, taken as u64);
            *n -= taken;
            left -= taken;
            if *n == 0 {
                self.sent.pop_front();
            }
        }
    }
}
