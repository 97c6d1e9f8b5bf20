//! Echo over Engine.IO's long polling: each message is one POST, and comes back in the answer to a GET that was
//! waiting. A client has two kept connections, one for each, as a browser does.

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

impl Client {
    fn open(wire: Wire, server: SocketAddr, message: &[u8]) -> Result<Self> {
        let mut poll = HttpConnection::open(server)?;
        let mut post = HttpConnection::open(server)?;
        // The floor knows no sessions; it is asked with a session id of the usual length.
        let path = if wire == Wire::SocketIo {
            let open = poll.ask(&get(server, PATH), STALL)?;
            let sid = session_id(&open)?;
            let path = format!("{PATH}&sid={sid}");
            post.ask(&post_body(server, &path, b"40"), STALL)?;
            while !packets(&poll.ask(&get(server, &path), STALL)?).any(|packet| packet.starts_with(b"40{")) {}
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
            pong_due: false,
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
                b"2" => self.pong_due = true,
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
