//! Idle connections: what opening one costs in CPU time, and keeping it in memory.

use std::time::Duration;

use anyhow::Result;

use super::connect::Deflate;
use super::connect::{self, Opening};
use super::deflate;
use crate::sample::{Metric, Sample};
use crate::server::Server;

/// For so long the server may come to rest before its accounts are read.
const REST: Duration = Duration::from_secs(1);

/// Opens `connections`, lets the server come to rest, and reads its accounts. Where
/// compression is agreed on, each has echoed one message before, so that what compressing needs is there.
pub(super) fn run(opening: Opening<'_>, connections: usize, server: &Server) -> Result<Sample> {
    // Whatever the server sets up lazily, it sets up now.
    std::thread::sleep(Duration::from_millis(200));
    let memory_before = server.resident_bytes()?;
    let cpu_before = server.cpu_time()?;
    let (open, used) = match opening.deflate {
        Deflate::Declined => (connect::open(opening, connections)?, Vec::new()),
        Deflate::Takeover | Deflate::NoTakeover => (Vec::new(), deflate::open_used(opening, connections)?),
    };
    std::thread::sleep(REST);
    let cpu = server.cpu_time()?.saturating_sub(cpu_before);
    let memory = server.resident_bytes()?.saturating_sub(memory_before);
    drop((open, used));
    Ok(Sample::from([
        (Metric::RssBytes, memory as f64 / connections as f64),
        (Metric::ConnectUs, cpu.as_secs_f64() * 1e6 / connections as f64),
    ]))
}
