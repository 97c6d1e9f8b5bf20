//! Idle connections: what opening one costs in CPU time, and keeping it in memory.

use std::time::Duration;

use anyhow::Result;

use super::connect::Deflate;
use super::connect::{self, Opening};
use super::wire::Wire;
use super::{deflate, polling};
use crate::sample::{Metric, Sample};
use crate::server::Server;

/// For so long the server may come to rest before its accounts are read.
const REST: Duration = Duration::from_secs(1);

/// Opens `connections`, lets the server come to rest, and reads its accounts. Where
/// compression is agreed on, each has echoed one message before, so that what compressing needs is there.
pub(super) fn run(opening: Opening<'_>, connections: usize, server: &Server) -> Result<Sample> {
    let accounts = Accounts::open(server)?;
    let (open, used) = match opening.deflate {
        Deflate::Declined => (connect::open(opening, connections)?, Vec::new()),
        Deflate::Takeover | Deflate::NoTakeover => (Vec::new(), deflate::open_used(opening, connections)?),
    };
    std::thread::sleep(REST);
    let sample = accounts.close(connections);
    drop((open, used));
    sample
}

/// As [`run`], of clients on long polling.
pub(super) fn run_polling(wire: Wire, clients: usize, server: &Server) -> Result<Sample> {
    let accounts = Accounts::open(server)?;
    let waiting = polling::open_waiting(wire, clients, server.addr(), REST)?;
    let sample = accounts.close(clients);
    drop(waiting);
    sample
}

/// The server's memory and CPU time before anybody has connected.
struct Accounts<'a> {
    server: &'a Server,
    memory: u64,
    cpu: Duration,
}

impl<'a> Accounts<'a> {
    fn open(server: &'a Server) -> Result<Self> {
        // Whatever the server sets up lazily, it sets up now.
        std::thread::sleep(Duration::from_millis(200));
        Ok(Self { server, memory: server.resident_bytes()?, cpu: server.cpu_time()? })
    }

    /// What each of `clients` has cost since.
    fn close(&self, clients: usize) -> Result<Sample> {
        let cpu = self.server.cpu_time()?.saturating_sub(self.cpu);
        let memory = self.server.resident_bytes()?.saturating_sub(self.memory);
        Ok(Sample::from([
            (Metric::RssBytes, memory as f64 / clients as f64),
            (Metric::ConnectUs, cpu.as_secs_f64() * 1e6 / clients as f64),
        ]))
    }
}
