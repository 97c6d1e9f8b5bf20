//! Opens connections and speaks their handshakes, several at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use rustix::net::sockopt::set_tcp_congestion;

use super::connection::Connection;
use super::wire::{Frame, Wire, client_text};
use super::{Poller, STALL};

/// Handshakes on the way at once.
const AT_ONCE: usize = 64;
/// Time for the server to finish its side once the last client has seen its own side finished.
const SETTLE: Duration = Duration::from_millis(100);

/// The headers a desktop browser sends along with any request, some 600 bytes with the request line and what a
/// WebSocket upgrade adds.
pub(super) fn browser_headers(server: SocketAddr) -> String {
    format!(
        "Host: {server}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 \
         Safari/537.36\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
         Cache-Control: no-cache\r\n\
         Pragma: no-cache\r\n\
         Origin: http://{server}\r\n\
         Cookie: session=5f0c6e1e9a7b4d0e8c2a1b3d; theme=dark; consent=2026-01-15T09:30:00Z\r\n"
    )
}

/// A connection with nothing said on it yet.
pub(super) fn dial(server: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(server).context("connecting")?;
    socket.set_nodelay(true)?;
    // The load's side alone: the cheapest congestion control there is, where the system's own may pace its packets
    // with timers. The servers' side is left as the system has it.
    let _ = set_tcp_congestion(&socket, "reno");
    Ok(socket)
}

fn upgrade_request(server: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\n{}\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        browser_headers(server)
    )
    .into_bytes()
}

/// Opens `n` connections, each ready for messages.
pub(super) fn open(wire: Wire, server: SocketAddr, n: usize) -> Result<Vec<Connection>> {
    let mut poller = Poller::new()?;
    let request = match wire {
        Wire::Tcp => Vec::new(),
        Wire::WebSocket { path } => upgrade_request(server, path),
        Wire::SocketIo => upgrade_request(server, "/socket.io/?EIO=4&transport=websocket"),
    };

    let mut ready = Vec::with_capacity(n);
    let mut opening: Vec<Option<Handshake>> = Vec::with_capacity(n);
    while ready.len() < n {
        while opening.len() < n && opening.len() - ready.len() < AT_ONCE {
            let handshake = Handshake::start(wire, server, &request)?;
            if handshake.step == Step::Ready {
                ready.push(Connection::new(handshake.socket, Vec::new()));
                opening.push(None);
            } else {
                poller.add(&handshake.socket, opening.len())?;
                opening.push(Some(handshake));
            }
        }
        if ready.len() == n {
            break;
        }
        let before = ready.len();
        let mut woken = false;
        for index in poller.wait(STALL)? {
            woken = true;
            let Some(mut handshake) = opening[index].take() else { continue };
            if handshake.advance()? {
                ready.push(Connection::new(handshake.socket, handshake.received));
            } else {
                opening[index] = Some(handshake);
            }
        }
        ensure!(woken, "no answer to a handshake within {STALL:?}; {before} of {n} connections are open");
    }
    std::thread::sleep(SETTLE);
    Ok(ready)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The answer to the upgrade request is due.
    Upgrade,
    /// Engine.IO's open packet is due.
    Open,
    /// The answer to Socket.IO's CONNECT is due.
    Connect,
    Ready,
}

struct Handshake {
    socket: TcpStream,
    wire: Wire,
    step: Step,
    received: Vec<u8>,
}

impl Handshake {
    fn start(wire: Wire, server: SocketAddr, request: &[u8]) -> Result<Self> {
        let mut socket = dial(server)?;
        socket.write_all(request)?;
        socket.set_nonblocking(true)?;
        let step = if wire == Wire::Tcp { Step::Ready } else { Step::Upgrade };
        Ok(Self { socket, wire, step, received: Vec::new() })
    }

    /// Takes in what has come; true once the connection is ready.
    fn advance(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => bail!("the server closed a connection during its handshake"),
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading a handshake"),
            }
        }
        while self.step != Step::Ready {
            let Some(used) = self.take_answer()? else { return Ok(false) };
            self.received.drain(..used);
        }
        Ok(true)
    }

    /// Handles one answer; the bytes it took, or none where it is not all there.
    fn take_answer(&mut self) -> Result<Option<usize>> {
        if self.step == Step::Upgrade {
            let Some(end) = memmem::find(&self.received, b"\r\n\r\n") else { return Ok(None) };
            let head = self.received[..end].escape_ascii();
            ensure!(self.received.starts_with(b"HTTP/1.1 101"), "the upgrade was refused: {head}");
            self.step = if self.wire == Wire::SocketIo { Step::Open } else { Step::Ready };
            return Ok(Some(end + 4));
        }
        let Some(frame) = Frame::parse(&self.received) else { return Ok(None) };
        match self.step {
            Step::Open if frame.payload.starts_with(b"0{") => {
                self.socket.write_all(&client_text(b"40"))?;
                self.step = Step::Connect;
            }
            Step::Connect if frame.payload.starts_with(b"40{") => self.step = Step::Ready,
            // socketioxide's first ping comes right after the open packet.
            Step::Connect if frame.payload == b"2" => self.socket.write_all(&client_text(b"3"))?,
            // An event may overtake the answer to CONNECT.
            Step::Connect if frame.payload.starts_with(b"42") => {}
            _ => bail!("unexpected during the handshake: {}", frame.payload.escape_ascii()),
        }
        Ok(Some(frame.length))
    }
}
