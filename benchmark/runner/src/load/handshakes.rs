//! Handshakes: each client connects, upgrades, closes as RFC 6455 asks, and is followed by another.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use memchr::memmem;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::connect::{Deflate, upgrade_request};
use super::meter::Meter;
use super::socket::dial_from;
use super::wire::{Frame, Wire, client_close};
use super::{Poller, STALL, Timing};
use crate::sample::Sample;
use crate::server::Server;

/// Loopback addresses that clients connect from in turn: the ports of one would run out within seconds.
const ADDRESSES: u8 = 200;

struct Client {
    socket: TcpStream,
    begun: Instant,
    received: Vec<u8>,
    upgraded: bool,
}

/// What all clients say.
struct Script {
    server: SocketAddr,
    request: Vec<u8>,
    close: Vec<u8>,
    opened: usize,
}

pub(super) fn run(wire: Wire, at_once: usize, server: &Server, timing: Timing) -> Result<Sample> {
    let Wire::WebSocket { path } = wire else { bail!("only WebSockets are counted by handshakes") };
    let request = upgrade_request(server.addr(), path, Deflate::Declined);
    let mut script = Script { server: server.addr(), request, close: client_close(), opened: 0 };
    let mut poller = Poller::new()?;
    let mut clients = Vec::with_capacity(at_once);
    for index in 0..at_once {
        clients.push(script.open(&poller, index)?);
    }
    ensure!(matches!(timing, Timing::Window { .. }), "handshakes go on for a time, not for a number of them");
    let mut meter = Meter::start(server, timing)?;
    let mut last = Instant::now();
    loop {
        let ready: Vec<usize> = poller.wait(Duration::from_millis(100))?.collect();
        for index in ready {
            if clients[index].advance(&script)? {
                last = Instant::now();
                meter.record(last - clients[index].begun, 1);
                // The old socket is closed as it is replaced.
                clients[index] = script.open(&poller, index)?;
            }
        }
        ensure!(last.elapsed() < STALL, "no handshake was answered for {STALL:?}");
        if let Some(sample) = meter.tick()? {
            return Ok(sample);
        }
    }
}

impl Script {
    fn open(&mut self, poller: &Poller, index: usize) -> Result<Client> {
        let begun = Instant::now();
        self.opened += 1;
        let address = Ipv4Addr::new(127, 0, 0, 2 + (self.opened % usize::from(ADDRESSES)) as u8);
        let socket = dial_from(address, self.server)?;
        say(&socket, &self.request)?;
        socket.set_nonblocking(true)?;
        poller.add(&socket, index)?;
        Ok(Client { socket, begun, received: Vec::with_capacity(512), upgraded: false })
    }
}

impl Client {
    /// Takes in what has come; true once the server has answered the close.
    fn advance(&mut self, script: &Script) -> Result<bool> {
        let mut buffer = [0; 2048];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, 0)) => bail!("the server closed a connection without a close frame"),
                Ok((_, n)) => self.received.extend_from_slice(&buffer[..n]),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !self.upgraded {
                let Some(end) = memmem::find(&self.received, b"\r\n\r\n") else { continue };
                let head = self.received[..end].escape_ascii();
                ensure!(self.received.starts_with(b"HTTP/1.1 101"), "the upgrade was refused: {head}");
                self.received.drain(..end + 4);
                self.upgraded = true;
                say(&self.socket, &script.close)?;
            }
            while let Some(frame) = Frame::parse(&self.received) {
                if frame.is_close() {
                    return Ok(true);
                }
                let length = frame.length;
                self.received.drain(..length);
            }
        }
    }
}

/// Sends a few bytes into an empty queue, which takes them whole.
fn say(socket: &TcpStream, bytes: &[u8]) -> Result<()> {
    let sent = send(socket, bytes, SendFlags::NOSIGNAL)?;
    ensure!(sent == bytes.len(), "a new connection did not take {} bytes", bytes.len());
    Ok(())
}
