//! Echo of compressed messages (RFC 7692): JSON documents that differ, compressed once, each without looking
//! back, which is right with and without context takeover. Every reply is inflated and compared; where the
//! server keeps no context, one that is the same bytes as a reply that was found right is right.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rustix::io::Errno;

use super::connect::{self, Deflate, Opening};
use super::meter::Meter;
use super::socket::{Received, Socket};
use super::wire::{Frame, client_deflated};
use super::{Poller, RECEIVE_BUFFER, STALL, Timing};
use crate::sample::{Metric, Sample};
use crate::server::Server;

/// How many documents there are.
const DOCUMENTS: usize = 64;
/// Bytes of each. Servers that compress from 1024 bytes on compress it.
const DOCUMENT: usize = 1024;
/// What every compressed message ends with before it is cut off (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

struct Document {
    json: Vec<u8>,
    request: Vec<u8>,
    /// A reply that was found right.
    reply: Vec<u8>,
}

/// The messages, and what their replies are checked with.
pub(super) struct Documents {
    all: Vec<Document>,
    scratch: Vec<u8>,
    /// Replies so far, and the bytes of their payloads.
    replies: u64,
    reply_bytes: u64,
}

/// One connection.
pub(super) struct Client {
    socket: Socket,
    deflate: Deflate,
    inflate: Decompress,
    received: Vec<u8>,
    /// Bytes the socket has not taken yet.
    owed: Vec<u8>,
    sent: VecDeque<Instant>,
    next: usize,
    expected: usize,
}

pub(super) fn run(
    opening: Opening<'_>,
    connections: usize,
    in_flight: usize,
    server: &Server,
    timing: Timing,
) -> Result<Sample> {
    let mut documents = Documents::new();
    let mut clients = open(opening, connections)?;
    let mut poller = Poller::new()?;
    let mut meter = Meter::start(server, timing)?;
    for (index, client) in clients.iter_mut().enumerate() {
        poller.add(client.socket.tcp(), index)?;
        client.send(&documents, meter.allow(in_flight))?;
    }
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let mut last_message = Instant::now();
    loop {
        for index in poller.wait(Duration::from_millis(100))? {
            let client = &mut clients[index];
            client.flush()?;
            let before = client.sent.len();
            client.receive(&mut documents, &mut buffer, |latency| meter.record(latency, 1))?;
            let received = before - client.sent.len();
            if received > 0 {
                last_message = Instant::now();
                client.send(&documents, meter.allow(received))?;
            }
        }
        if last_message.elapsed() > STALL {
            bail!("no message came back for {STALL:?}: the server lost some");
        }
        if let Some(mut sample) = meter.tick()? {
            let bytes = documents.reply_bytes as f64 / documents.replies.max(1) as f64;
            sample.insert(Metric::ReplyBytes, bytes);
            return Ok(sample);
        }
    }
}

/// Opens connections that have each echoed one message, so that whatever compression needs is there.
pub(super) fn open_used(opening: Opening<'_>, connections: usize) -> Result<Vec<Client>> {
    let mut documents = Documents::new();
    let mut clients = open(opening, connections)?;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    for client in &mut clients {
        client.send(&documents, 1)?;
        client.socket.tcp().set_nonblocking(false)?;
        client.socket.tcp().set_read_timeout(Some(STALL))?;
        while !client.sent.is_empty() {
            client.receive_some(&mut documents, &mut buffer, |_| ())?;
        }
    }
    Ok(clients)
}

fn open(opening: Opening<'_>, connections: usize) -> Result<Vec<Client>> {
    let opened = connect::open_sockets(opening, connections)?;
    Ok(opened.into_iter().map(|(socket, tail)| Client::new(socket, tail, opening.deflate)).collect())
}

impl Documents {
    fn new() -> Self {
        let all = (0..DOCUMENTS).map(|number| Document::new(document(number))).collect();
        Self { all, scratch: Vec::with_capacity(2 * DOCUMENT), replies: 0, reply_bytes: 0 }
    }
}

impl Document {
    fn new(json: Vec<u8>) -> Self {
        let mut deflate = Compress::new(Compression::default(), false);
        let mut compressed = Vec::with_capacity(2 * DOCUMENT);
        let done = deflate.compress_vec(&json, &mut compressed, FlushCompress::Sync);
        done.expect("a document can be compressed");
        assert!(compressed.ends_with(&TAIL), "a flush ends with an empty block");
        compressed.truncate(compressed.len() - TAIL.len());
        Self { json, request: client_deflated(&compressed), reply: Vec::new() }
    }
}

/// A document of [`DOCUMENT`] bytes as services send them: names that repeat, values that do not.
fn document(number: usize) -> Vec<u8> {
    // Knuth's multiplicative generator: the same documents in every run.
    let mut state = number as u64 + 1;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut json = format!(r#"{{"type":"quotes","sequence":{},"quotes":["#, 1_000_000 + number);
    while json.len() < DOCUMENT - 120 {
        let symbol: String = (0..4).map(|_| char::from(b'A' + random(26) as u8)).collect();
        let (whole, cents, size) = (random(900) + 10, random(100), random(10_000));
        let entry = format!(
            r#"{{"symbol":"{symbol}","bid":{whole}.{cents:02},"ask":{whole}.{:02},"size":{size},"venue":"X{}"}},"#,
            (cents + 3) % 100,
            random(9)
        );
        json.push_str(&entry);
    }
    json += r#"{"note":""#;
    let end = r#""}]}"#;
    while json.len() + end.len() < DOCUMENT {
        json.push(char::from(b'a' + random(26) as u8));
    }
    (json + end).into_bytes()
}

impl Client {
    fn new(socket: Socket, received: Vec<u8>, deflate: Deflate) -> Self {
        let inflate = Decompress::new(false);
        let sent = VecDeque::new();
        Self { socket, deflate, inflate, received, owed: Vec::new(), sent, next: 0, expected: 0 }
    }

    fn send(&mut self, documents: &Documents, n: usize) -> Result<()> {
        for _ in 0..n {
            self.owed.extend_from_slice(&documents.all[self.next].request);
            self.next = (self.next + 1) % DOCUMENTS;
            self.sent.push_back(Instant::now());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while !self.owed.is_empty() {
            match self.socket.send(&self.owed) {
                Ok(n) => drop(self.owed.drain(..n)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads all there is.
    fn receive(
        &mut self,
        documents: &mut Documents,
        buffer: &mut [u8],
        mut answered: impl FnMut(Duration),
    ) -> Result<()> {
        while self.receive_some(documents, buffer, &mut answered)? {}
        Ok(())
    }

    /// Reads once; whether there may be more.
    fn receive_some(
        &mut self,
        documents: &mut Documents,
        buffer: &mut [u8],
        mut answered: impl FnMut(Duration),
    ) -> Result<bool> {
        let Received { bytes, more } = match self.socket.receive(buffer) {
            Ok(Received { bytes: 0, .. }) => bail!("the server closed a connection"),
            Ok(received) => received,
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        self.received.extend_from_slice(&buffer[..bytes]);
        let received = std::mem::take(&mut self.received);
        let mut used = 0;
        while let Some(frame) = Frame::parse(&received[used..]) {
            used += frame.length;
            if frame.is_text() {
                self.check(&frame, documents)?;
                let sent = self.sent.pop_front().context("a message came back twice")?;
                answered(sent.elapsed());
            } else {
                ensure!(!frame.is_close(), "the server closed a connection");
            }
        }
        self.received = received;
        self.received.drain(..used);
        Ok(more)
    }

    /// Holds a reply to what was sent.
    fn check(&mut self, frame: &Frame<'_>, documents: &mut Documents) -> Result<()> {
        let document = &mut documents.all[self.expected];
        self.expected = (self.expected + 1) % DOCUMENTS;
        ensure!(frame.deflated, "a reply was not compressed");
        documents.replies += 1;
        documents.reply_bytes += frame.payload.len() as u64;
        let alone = self.deflate == Deflate::NoTakeover;
        if alone && document.reply == frame.payload {
            return Ok(());
        }
        let scratch = &mut documents.scratch;
        scratch.clear();
        for input in [frame.payload, &TAIL] {
            let before = self.inflate.total_in();
            self.inflate
                .decompress_vec(input, scratch, FlushDecompress::Sync)
                .context("inflating a reply")?;
            let taken = self.inflate.total_in() - before;
            ensure!(taken == input.len() as u64, "a reply inflates to more than was sent");
        }
        ensure!(*scratch == document.json, "a reply differs from what was sent");
        if alone {
            self.inflate.reset(false);
            document.reply.clear();
            document.reply.extend_from_slice(frame.payload);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_of_their_length_that_differ() {
        let documents: std::collections::HashSet<_> = (0..DOCUMENTS).map(document).collect();
        assert_eq!(documents.len(), DOCUMENTS);
        for json in documents {
            assert_eq!(json.len(), DOCUMENT);
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
    }
}
