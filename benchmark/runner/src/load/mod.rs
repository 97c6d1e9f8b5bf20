//! The load generator: one thread on epoll that has to outrun every server it measures.
//!
//! What keeps it cheap: frames are built once and sent as one run of copies; all connections read into one
//! buffer; a read is checked byte for byte by one comparison with a run of expected replies, and walked frame
//! by frame only where that fails; latency is recorded by batch. Its own CPU time is measured beside the
//! server's, so a run in which it was the slower of the two says so.

mod acks;
mod connect;
mod connection;
mod deflate;
mod echo;
mod fanout;
mod handshakes;
mod http;
mod idle;
mod meter;
mod polling;
mod socket;
mod wire;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustls::ClientConfig;

use crate::sample::Sample;
use crate::server::Server;
pub use connect::Deflate;
use connect::Opening;
pub use wire::Wire;

/// What a workload asks of a server.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Every connection keeps `in_flight` messages of `payload` bytes on the way, each answered with itself.
    Echo { connections: usize, in_flight: usize, payload: usize },
    /// As `Echo`, of compressed JSON documents of 1 KiB.
    DeflateEcho { connections: usize, in_flight: usize, takeover: bool },
    /// Clients that connect, upgrade, close and are followed by others, so many at once.
    Handshakes { at_once: usize },
    /// One sender and `receivers` more; each broadcast goes to all of them, the sender too. A new one is sent
    /// once one of those in flight has reached everybody.
    FanOut { receivers: usize, in_flight: usize, payload: usize },
    /// One client has the server ask `receivers` more, and awaits the acknowledgements of all, again and again.
    Acks { receivers: usize },
    /// Connections that are opened and then silent; with compression, after one message of it.
    Idle { connections: usize, deflate: Deflate },
    /// Clients on HTTP long polling, each with a GET in waiting and otherwise silent.
    IdlePolling { clients: usize },
    /// HTTP long polling: each message costs one POST and one GET.
    Polling { clients: usize, payload: usize },
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug)]
pub enum Timing {
    /// So long, after a warm-up.
    Window { warm_up: Duration, measure: Duration },
    /// Until so many messages were sent and answered. It is the load under which instructions are counted.
    Messages(u64),
}

/// Runs one workload against one server, over TLS where a configuration for it is given. The calling thread
/// should be pinned to the load's core.
pub fn run(
    shape: Shape,
    wire: Wire,
    tls: Option<&Arc<ClientConfig>>,
    server: &Server,
    timing: Timing,
) -> Result<Sample> {
    let opening = |deflate| Opening { wire, server: server.addr(), tls, deflate };
    let plain = opening(Deflate::Declined);
    match shape {
        Shape::Echo { connections, in_flight, payload } => {
            echo::run(plain, connections, in_flight, payload, server, timing)
        }
        Shape::DeflateEcho { connections, in_flight, takeover } => {
            let deflate = if takeover { Deflate::Takeover } else { Deflate::NoTakeover };
            deflate::run(opening(deflate), connections, in_flight, server, timing)
        }
        Shape::Handshakes { at_once } => handshakes::run(wire, at_once, server, timing),
        Shape::FanOut { receivers, in_flight, payload } => {
            fanout::run(plain, receivers, in_flight, payload, server, timing)
        }
        Shape::Acks { receivers } => acks::run(plain, receivers, server, timing),
        Shape::Idle { connections, deflate } => idle::run(opening(deflate), connections, server),
        Shape::IdlePolling { clients } => idle::run_polling(wire, clients, server),
        Shape::Polling { clients, payload } => polling::run(wire, clients, payload, server, timing),
    }
}

/// Opens `connections` and leaves them open until the result is dropped.
pub fn hold_open(
    connections: usize,
    wire: Wire,
    tls: Option<&Arc<ClientConfig>>,
    server: &Server,
) -> Result<impl Sized + use<>> {
    let opening = Opening { wire, server: server.addr(), tls, deflate: Deflate::Declined };
    connect::open_sockets(opening, connections)
}

/// Bytes one read can take in: more than any connection has in flight.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// A server that is silent for this long while messages are on the way has lost some.
const STALL: Duration = Duration::from_secs(10);

/// An edge-triggered epoll set whose tokens are indices.
struct Poller {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    fn new() -> Result<Self> {
        Ok(Self { set: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(1024) })
    }

    /// Reports reads and writes by edge: a short read means there is nothing more, so nobody reads twice to
    /// be sure.
    fn add(&self, source: impl AsFd, index: usize) -> Result<()> {
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.set, source, epoll::EventData::new_u64(index as u64), interest)?;
        Ok(())
    }

    /// The indices with something to do; none when `timeout` passed first.
    fn wait(&mut self, timeout: Duration) -> Result<impl Iterator<Item = usize>> {
        let timeout =
            Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
        self.events.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(self.events.iter().map(|event| event.data.u64() as usize)),
            Err(error) => Err(error.into()),
        }
    }
}
