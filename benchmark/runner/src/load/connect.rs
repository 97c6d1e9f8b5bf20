//! Opens connections and speaks their handshakes, several at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use rustix::io::Errno;
use rustls::ClientConfig;

use super::connection::Connection;
use super::http::HttpConnection;
use super::socket::Socket;
use super::wire::{Frame, Wire, client_text};
use super::{Poller, STALL};

/// Handshakes on the way at once.
const AT_ONCE: usize = 64;
/// Time for the server to finish its side once the last client has seen its own side finished.
const SETTLE: Duration = Duration::from_millis(100);

/// The headers a desktop browser sends along with any request, some 600 bytes with the request line and what
/// a WebSocket upgrade adds.
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

/// What a client says about permessage-deflate (RFC 7692) when it opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deflate {
    /// Offered as browsers do; the server of such a workload declines, since it is off there.
    Declined,
    /// Agreed on, both ends keeping their contexts.
    Takeover,
    /// Agreed on, neither end keeping its context.
    NoTakeover,
}

impl Deflate {
    fn offer(self) -> &'static str {
        match self {
            Self::Declined | Self::Takeover => "permessage-deflate; client_max_window_bits",
            Self::NoTakeover => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        }
    }

    /// Fails where the answer to the upgrade is not what the workload is about.
    fn check(self, head: &[u8]) -> Result<()> {
        let has = |what: &str| memmem::find(head, what.as_bytes()).is_some();
        let kept = match self {
            Self::Declined => !has("permessage-deflate"),
            Self::Takeover => has("permessage-deflate") && !has("no_context_takeover"),
            Self::NoTakeover => has("permessage-deflate") && has("server_no_context_takeover"),
        };
        ensure!(kept, "the server agreed on other compression than {self:?}: {}", head.escape_ascii());
        Ok(())
    }
}

/// What a client opens connections with.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub wire: Wire,
    pub server: SocketAddr,
    pub tls: Option<&'a Arc<ClientConfig>>,
    pub deflate: Deflate,
}

pub(super) fn upgrade_request(server: SocketAddr, path: &str, deflate: Deflate) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\n{}\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\
         Sec-WebSocket-Extensions: {}\r\n\r\n",
        browser_headers(server),
        deflate.offer()
    )
    .into_bytes()
}

/// Opens `n` connections, each ready for messages.
pub(super) fn open(opening: Opening<'_>, n: usize) -> Result<Vec<Connection>> {
    let opened = open_sockets(opening, n)?;
    Ok(opened.into_iter().map(|(socket, tail)| Connection::new(socket, tail)).collect())
}

/// Opens `n` connections: their sockets, and what was read beyond their handshakes, in the order of
/// [`Wire::of`].
pub(super) fn open_sockets(opening: Opening<'_>, n: usize) -> Result<Vec<(Socket, Vec<u8>)>> {
    let mut poller = Poller::new()?;
    let mut ready = Vec::with_capacity(n);
    let mut indices = Vec::with_capacity(n);
    let mut begun: Vec<Option<Handshake>> = Vec::with_capacity(n);
    while ready.len() < n {
        while begun.len() < n && begun.len() - ready.len() < AT_ONCE {
            let opening = Opening { wire: opening.wire.of(begun.len()), ..opening };
            let handshake = Handshake::start(opening, &request(opening)?)?;
            if handshake.step == Step::Ready {
                ready.push((handshake.socket, Vec::new()));
                indices.push(begun.len());
                begun.push(None);
            } else {
                poller.add(handshake.socket.tcp(), begun.len())?;
                begun.push(Some(handshake));
            }
        }
        if ready.len() == n {
            break;
        }
        let before = ready.len();
        let mut woken = false;
        for index in poller.wait(STALL)? {
            woken = true;
            let Some(mut handshake) = begun[index].take() else { continue };
            if handshake.advance()? {
                ready.push((handshake.socket, handshake.received));
                indices.push(index);
            } else {
                begun[index] = Some(handshake);
            }
        }
        ensure!(woken, "no answer to a handshake within {STALL:?}; {before} of {n} connections are open");
    }
    std::thread::sleep(SETTLE);
    // They are ready in an order of their own.
    let mut opened: Vec<_> = indices.into_iter().zip(ready).collect();
    opened.sort_by_key(|(index, _)| *index);
    Ok(opened.into_iter().map(|(_, connection)| connection).collect())
}

/// The request that opens a connection.
fn request(opening: Opening<'_>) -> Result<Vec<u8>> {
    let engine = |version| format!("/socket.io/?EIO={version}&transport=websocket");
    let path = match opening.wire {
        Wire::Tcp => return Ok(Vec::new()),
        Wire::WebSocket { path } => path.to_owned(),
        Wire::SocketIo | Wire::Mixed => engine(4),
        Wire::SocketIo2 => engine(3),
        Wire::SocketIo09 => format!("/socket.io/1/websocket/{}", old_session(opening.server)?),
    };
    Ok(upgrade_request(opening.server, &path, opening.deflate))
}

/// Asks for a session of Socket.IO 0.9; its id.
fn old_session(server: SocketAddr) -> Result<String> {
    let request = format!("GET /socket.io/1/?t=1 HTTP/1.1\r\n{}\r\n", browser_headers(server));
    let answer = HttpConnection::open(server)?.ask(request.as_bytes(), STALL)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (id, _) = answer.split_once(':').with_context(|| format!("no session of 0.9: {answer}"))?;
    Ok(id.to_owned())
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
    socket: Socket,
    wire: Wire,
    deflate: Deflate,
    step: Step,
    received: Vec<u8>,
}

impl Handshake {
    fn start(opening: Opening<'_>, request: &[u8]) -> Result<Self> {
        let mut socket = Socket::open(opening.server, opening.tls)?;
        if !request.is_empty() {
            ensure!(socket.send(request)? == request.len(), "a request did not fit in a new connection");
        }
        socket.stop_blocking()?;
        let wire = opening.wire;
        let step = if wire == Wire::Tcp { Step::Ready } else { Step::Upgrade };
        Ok(Self { socket, wire, deflate: opening.deflate, step, received: Vec::new() })
    }

    /// Takes in what has come; true once the connection is ready.
    fn advance(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(received) if received.bytes == 0 => {
                    bail!("the server closed a connection during its handshake")
                }
                Ok(received) => self.received.extend_from_slice(&buffer[..received.bytes]),
                Err(Errno::AGAIN) => break,
                Err(error) => bail!("reading a handshake: {error}"),
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
            let head = &self.received[..end];
            ensure!(head.starts_with(b"HTTP/1.1 101"), "the upgrade was refused: {}", head.escape_ascii());
            self.deflate.check(head)?;
            self.step = match self.wire {
                Wire::SocketIo | Wire::SocketIo2 => Step::Open,
                Wire::SocketIo09 => Step::Connect,
                _ => Step::Ready,
            };
            return Ok(Some(end + 4));
        }
        let Some(frame) = Frame::parse(&self.received) else { return Ok(None) };
        match self.step {
            Step::Open if frame.payload.starts_with(b"0{") => {
                // Clients of Engine.IO 3 are connected without asking.
                if self.wire == Wire::SocketIo {
                    say(&mut self.socket, b"40")?;
                }
                self.step = Step::Connect;
            }
            Step::Connect if frame.payload.starts_with(b"40") || frame.payload == b"1::" => {
                self.step = Step::Ready;
            }
            // socketioxide's first ping comes right after the open packet.
            Step::Connect if frame.payload == b"2" => say(&mut self.socket, b"3")?,
            // An event may overtake the answer to CONNECT.
            Step::Connect if frame.payload.starts_with(b"42") => {}
            _ => bail!("unexpected during the handshake: {}", frame.payload.escape_ascii()),
        }
        Ok(Some(frame.length))
    }
}

fn say(socket: &mut Socket, text: &[u8]) -> Result<()> {
    let frame = client_text(text);
    ensure!(socket.send(&frame)? == frame.len(), "a few bytes did not fit in a new connection");
    Ok(())
}
