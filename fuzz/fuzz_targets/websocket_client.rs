//! Any answer of a server to a client. Its head gives the same parts however it comes. Only what was offered
//! is agreed on. A connection that comes of it gives the same messages however they are cut into reads.
#![no_main]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use libfuzzer_sys::fuzz_target;
use switchboard_websocket::{
    Config, Error, Limits, OwnedMessage, WebSocketStream,
    deflate::DeflateOptions,
    handshake::{
        accept_key,
        client::Handshake,
        head::{Head, HeadLimits},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

const LIMITS: HeadLimits = HeadLimits::DEFAULT.max_bytes(2048).max_headers(20);
const PROTOCOLS: [&str; 2] = ["chat", "superchat"];
/// Stands in an answer for the value that the client's key asks for. The key is another one each time.
const ACCEPT: &[u8] = b"{accept}";

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the offer, the next one the cut of the answer. The rest is the answer, and the
    // bytes behind it.
    let [offer, cut, answer @ ..] = data else { return };
    let protocols = if offer & 1 != 0 { PROTOCOLS.as_slice() } else { &[] };
    let options =
        DeflateOptions::default().context_takeover(offer & 4 != 0).max_window_bits(9 + (offer >> 4) % 7);
    let deflate = (offer & 2 != 0).then_some(options);
    head(answer, protocols, deflate);

    let mut config = Config::default();
    config.head_limits = LIMITS;
    config.limits = Limits::default().max_message_bytes(4096);
    config.protocols = protocols.iter().map(|&name| name.to_owned()).collect();
    config.deflate = deflate;
    let whole = connect(answer, usize::MAX, &config);
    assert_eq!(whole, connect(answer, usize::from(*cut).max(1), &config));
});

/// The head alone, checked by a client that has sent the request.
fn head(answer: &[u8], protocols: &[&str], deflate: Option<DeflateOptions>) {
    let mut handshake = Handshake::with_nonce([7; 16], protocols).expect("names that are tokens");
    if let Some(options) = deflate {
        handshake = handshake.offer_deflate(options);
    }
    let answer = accepted(answer, b"BwcHBwcHBwcHBwcHBwcHBw==");
    let whole = Head::new(LIMITS).response(&answer);
    let mut head = Head::new(LIMITS);
    let trickled = (0..=answer.len()).find_map(|len| head.response(&answer[..len]).transpose());
    let parts = match (whole, trickled) {
        (Ok(None), None) => return,
        (Err(whole), Some(Err(trickled))) => return assert_eq!(whole, trickled),
        (Ok(Some((whole, len))), Some(Ok((trickled, trickled_len)))) => {
            assert!(len == trickled_len && len <= answer.len().min(LIMITS.max_bytes));
            assert_eq!((whole.status, whole.version), (trickled.status, trickled.version));
            assert_eq!(whole.headers, trickled.headers);
            assert!(whole.headers.len() <= LIMITS.max_headers);
            whole
        }
        (whole, trickled) => panic!("whole {whole:?}, in pieces {trickled:?}"),
    };
    if let Ok(Some(protocol)) = handshake.check(&parts) {
        assert!(protocols.contains(&protocol));
    }
    if let Ok(Some(agreed)) = handshake.deflate(&parts) {
        let offered = deflate.expect("an offer, to agree to");
        // A client keeps its promise. It goes on without a bound that it asked for and did not get.
        assert!(agreed.client_no_context_takeover || !offered.client_no_context_takeover);
        assert!((8..=offered.client_max_window_bits).contains(&agreed.client_max_window_bits));
        assert!((8..=15).contains(&agreed.server_max_window_bits));
    }
}

/// An answer with the value that a key asks for. The value is set in the head, or in interim answers before
/// it. Behind the head the text is a part of the messages, and stays.
fn accepted(answer: &[u8], key: &[u8]) -> Vec<u8> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let Some(at) = find(answer, ACCEPT) else { return answer.to_vec() };
    let mut before = &answer[..at];
    while let Some(end) = find(before, b"\r\n\r\n") {
        if !before.starts_with(b"HTTP/1.1 103") {
            return answer.to_vec();
        }
        before = &before[end + 4..];
    }
    [&answer[..at], &accept_key(key), &answer[at + ACCEPT.len()..]].concat()
}

/// The agreement, the messages, and the error at the end.
type Outcome = (Vec<OwnedMessage>, String);

fn connect(answer: &[u8], step: usize, config: &Config) -> Outcome {
    let server = Server { answer, step, ..Server::default() };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let connected = WebSocketStream::connect_over(server, "ws://a.example/chat", config).await;
            let mut socket = match connected {
                Ok(socket) => socket,
                Err(error) => return (Vec::new(), error.to_string()),
            };
            let mut outcome = format!("{:?} {:?} ", socket.protocol(), socket.deflate());
            let mut messages = Vec::new();
            loop {
                match socket.recv().await {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => return (messages, outcome),
                    // Where compressed data breaks two rules, the reads decide which of them is met first.
                    Err(Error::Protocol(_)) if socket.deflate().is_some() => outcome += "a broken rule",
                    Err(error) => outcome += &error.to_string(),
                }
            }
        })
    })
}

/// A server that answers a request, `step` bytes at a time, and ends the connection.
#[derive(Default)]
struct Server<'a> {
    answer: &'a [u8],
    step: usize,
    request: Vec<u8>,
    says: Option<Vec<u8>>,
    said: usize,
}

impl AsyncRead for Server<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let says = this.says.get_or_insert_with(|| {
            let request = std::str::from_utf8(&this.request).expect("a request");
            let (_, key) = request.split_once("Sec-WebSocket-Key: ").expect("a key");
            accepted(this.answer, &key.as_bytes()[..24])
        });
        let len = (says.len() - this.said).min(this.step).min(buf.remaining());
        buf.put_slice(&says[this.said..][..len]);
        this.said += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.says.is_none() {
            self.request.extend_from_slice(buf);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
