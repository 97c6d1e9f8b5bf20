//! Echo over Engine.IO's long polling: each message is one POST, and comes back in the answer to a GET that
//! was waiting. A client has two kept connections, one for each, as a browser does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::connect::browser_headers;
use super::http::HttpConnection;
use super::meter::Meter;
use super::wire::{Wire, event_packet};
use super::{Poller, STALL, Timing};
use crate::sample::Sample;
use crate::server::Server;

/// Packets of one body are parted by the record separator. Engine.IO, protocol 4.
const SEPARATOR: u8 = 0x1e;
const PING: &[u8] = b"2";
const PATH: &str = "/socket.io/?EIO=4&transport=polling&t=Pq3x9Zk";

struct Client {
    poll: HttpConnection,
    post: HttpConnection,
    get_request: Vec<u8>,
    post_request: Vec<u8>,
    /// The same message with the answer to a ping before it.
    post_with_pong: Vec<u8>,
    sent: Instant,
    posted: bool,
    answered: bool,
    pong_due: bool,
}

pub(super) fn run(
    wire: Wire,
    clients: usize,
    payload: usize,
    server: &Server,
    timing: Timing,
) -> Result<Sample> {
    let message = event_packet("echo", payload);
    let mut poller = Poller::new()?;
    let mut clients: Vec<Client> = (0..clients)
        .map(|_| Client::open(wire, server.addr(), &message))
        .collect::<Result<_>>()
        .context("opening a polling session")?;
    let mut meter = Meter::start(server, timing)?;
    for (index, client) in clients.iter_mut().enumerate() {
        client.poll.socket().set_nonblocking(true)?;
        client.post.socket().set_nonblocking(true)?;
        poller.add(client.poll.socket(), 2 * index)?;
        poller.add(client.post.socket(), 2 * index + 1)?;
        if meter.allow(1) == 1 {
            client.begin()?;
        }
    }

    let mut buffer = vec![0; 64 * 1024];
    let mut last_message = Instant::now();
    loop {
        for token in poller.wait(Duration::from_millis(100))? {
            let client = &mut clients[token / 2];
            let connection = if token % 2 == 0 { &mut client.poll } else { &mut client.post };
            let Some(body) = connection.receive(&mut buffer)? else { continue };
            if token % 2 == 0 {
                client.polled(&body, &message)?;
                if client.answered {
                    last_message = Instant::now();
                    meter.record(last_message - client.sent, 1);
                }
            } else {
                client.posted = true;
            }
            if client.posted && client.answered && meter.allow(1) == 1 {
                client.begin()?;
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

/// Opens `clients`, each with a GET in waiting, once none has been answered for the length of `rest`.
pub(super) fn open_waiting(
    wire: Wire,
    clients: usize,
    server: SocketAddr,
    rest: Duration,
) -> Result<Vec<HttpConnection>> {
    let mut poller = Poller::new()?;
    let mut waiting = Vec::with_capacity(clients);
    for index in 0..clients {
        // The message of such a client is a pong: what it answers pings with.
        let mut client = Client::open(wire, server, b"3")?;
        if client.pong_due {
            client.post.ask(&client.post_request, STALL)?;
        }
        client.poll.socket().set_nonblocking(true)?;
        poller.add(client.poll.socket(), index)?;
        client.poll.send(&client.get_request)?;
        // It lets go of the other connection, as browsers do before long.
        waiting.push((client.poll, client.get_request, client.post_request));
    }
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut answered = false;
        for index in poller.wait(rest)? {
            let (connection, get, pong) = &mut waiting[index];
            // The `auth` event of the connection, where it came after the answer to CONNECT, or a ping.
            if let Some(body) = connection.receive(&mut buffer)? {
                if packets(&body).any(|packet| packet == PING) {
                    HttpConnection::open(server)?.ask(pong, STALL)?;
                }
                connection.send(get)?;
                answered = true;
            }
        }
        if !answered {
            std::thread::sleep(rest);
            return Ok(waiting.into_iter().map(|(connection, ..)| connection).collect());
        }
    }
}

impl Client {
    fn open(wire: Wire, server: SocketAddr, message: &[u8]) -> Result<Self> {
        let mut poll = HttpConnection::open(server)?;
        let mut post = HttpConnection::open(server)?;
        let mut pong_due = false;
        // The floor knows no sessions; it is asked with a session id of the usual length.
        let path = if wire == Wire::SocketIo {
            let open = poll.ask(&get(server, PATH), STALL)?;
            let sid = session_id(&open)?;
            let path = format!("{PATH}&sid={sid}");
            post.ask(&post_body(server, &path, b"40"), STALL)?;
            let mut connected = false;
            while !connected {
                let body = poll.ask(&get(server, &path), STALL)?;
                connected = packets(&body).any(|packet| packet.starts_with(b"40{"));
                pong_due |= packets(&body).any(|packet| packet == PING);
            }
            path
        } else {
            format!("{PATH}&sid=lv_VI97HAXpY6yYWAAAC")
        };
        let with_pong = [b"3", &[SEPARATOR][..], message].concat();
        Ok(Self {
            poll,
            post,
            get_request: get(server, &path),
            post_request: post_body(server, &path, message),
            post_with_pong: post_body(server, &path, &with_pong),
            sent: Instant::now(),
            posted: false,
            answered: false,
            pong_due,
        })
    }

    /// Puts a GET in waiting, then posts the next message.
    fn begin(&mut self) -> Result<()> {
        self.poll.send(&self.get_request)?;
        self.post.send(if self.pong_due { &self.post_with_pong } else { &self.post_request })?;
        (self.posted, self.answered, self.pong_due) = (false, false, false);
        self.sent = Instant::now();
        Ok(())
    }

    fn polled(&mut self, body: &[u8], message: &[u8]) -> Result<()> {
        for packet in packets(body) {
            match packet {
                PING => self.pong_due = true,
                packet if packet == message => self.answered = true,
                // The `auth` event of the connection, or a noop.
                packet if packet.starts_with(b"42[\"auth\"") || packet == b"6" => {}
                packet => bail!("unexpected in a poll: {}", packet.escape_ascii()),
            }
        }
        if !self.answered {
            self.poll.send(&self.get_request)?;
        }
        Ok(())
    }
}

fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR)
}

fn get(server: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{}Accept: */*\r\nConnection: keep-alive\r\n\r\n", browser_headers(server))
        .into()
}

fn post_body(server: SocketAddr, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\n{}Accept: */*\r\nConnection: keep-alive\r\n\
         Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
        browser_headers(server),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The `sid` of an open packet, `0{"sid":"…",…}`.
fn session_id(open: &[u8]) -> Result<String> {
    let packet = packets(open).next().unwrap_or_default();
    ensure!(packet.first() == Some(&b'0'), "no open packet: {}", open.escape_ascii());
    let handshake: serde_json::Value = serde_json::from_slice(&packet[1..])?;
    Ok(handshake["sid"].as_str().context("no sid in the open packet")?.to_owned())
}
