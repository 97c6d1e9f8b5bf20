//! The cost of a handshake, counted, for all bytes and all ways in which they come. The program has one test,
//! because the allocator counts for all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod counting;
mod trickle;

use switchboard_websocket::{
    Config, WebSocketStream,
    deflate::DeflateOptions,
    handshake::{
        head::{Head, HeadError, HeadLimits},
        server::{HandshakeError, Upgrade},
    },
};
use tokio::runtime;
use trickle::{Trickle, finish};

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const RESPONSE: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n";

/// A head of about `len` bytes, in lines of 200.
fn head_of(start: &str, len: usize) -> Vec<u8> {
    let line = format!("X-Padding: {}\r\n", "x".repeat(187));
    let mut head = start.as_bytes().to_vec();
    while head.len() + line.len() + 2 < len {
        head.extend_from_slice(line.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[test]
fn the_cost_of_a_handshake_is_that_of_its_bytes() {
    a_handshake_that_comes_byte_by_byte_costs_as_one_that_comes_whole();
    lists_of_any_shape_are_checked_without_an_allocation();
}

fn a_handshake_that_comes_byte_by_byte_costs_as_one_that_comes_whole() {
    for parse in [request, response] {
        no_byte_is_searched_twice(parse);
    }
    for len in [1000, 4000, 16_000] {
        for side in [Side::Server, Side::Client] {
            let (whole, whole_reads) = side.allocated(len, usize::MAX);
            let (pieces, reads) = side.allocated(len, 1);
            assert!(whole_reads < 20 && reads > len - 250, "{whole_reads} and {reads} reads of {len} bytes");
            // A buffer that doubles as it grows has allocated twice its size in all.
            assert!(pieces <= whole + 4 * len, "{side:?}: {pieces} bytes allocated, whole {whole}, of {len}");
        }
    }
}

/// Lists for which a regular expression would search again and again. Here they are read once, and nothing of
/// them is kept.
fn lists_of_any_shape_are_checked_without_an_allocation() {
    let many = |piece: &str| piece.repeat(16_000 / piece.len());
    // A list, and whether all its elements are tokens.
    let lists = [
        (format!("chat{}x", many(" ")), false),
        (format!("chat{},x", many(" ")), true),
        (format!("chat{}", many("\t,")), true),
        (format!("chat, {}", many(", ,")), true),
        (format!("chat; a=\"{}", many("\\\"")), false),
        (format!("chat; {}", many("a=\"\",")), false),
        (format!("chat; {}", many("a;")), false),
        (many("a,"), true),
    ];
    for (list, is_in_order) in lists {
        let request = http::Request::get("/")
            .header("Host", "a")
            .header("Upgrade", "websocket")
            .header("Connection", format!("{}, upgrade", many("a,")))
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", &list)
            .header("Sec-WebSocket-Extensions", &list);
        let parts = request.body(()).unwrap().into_parts().0;
        let before = counting::allocated();
        let judged = Upgrade::check(&parts).map(|mut upgrade| {
            (upgrade.select(&["superchat"]), upgrade.accept_deflate(&DeflateOptions::default()))
        });
        assert_eq!(counting::allocated(), before, "{:?}", &list[..20]);
        let expected = if is_in_order { Ok((None, None)) } else { Err(HandshakeError::Protocol) };
        assert_eq!(judged, expected, "{:?}", &list[..20]);
    }
}

type Parse = fn(&mut Head, &[u8]) -> Result<Option<usize>, HeadError>;

fn request(head: &mut Head, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
    Ok(head.request(buffer)?.map(|(_, len)| len))
}

fn response(head: &mut Head, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
    Ok(head.response(buffer)?.map(|(_, len)| len))
}

/// Bytes that were searched are replaced by ends of a head, which a second search would find. The last three
/// bytes are searched again with the next byte, because an end may begin with them.
fn no_byte_is_searched_twice(parse: Parse) {
    let mut head = Head::new(HeadLimits::default());
    let mut buffer = Vec::new();
    for len in 1..10_000 {
        buffer.push(b'x');
        assert_eq!(parse(&mut head, &buffer), Ok(None), "at byte {len}");
        let searched = buffer.len().saturating_sub(3);
        let end = b"\r\n\r\n".iter().cycle();
        buffer[..searched].iter_mut().zip(end).for_each(|(byte, end)| *byte = *end);
    }
    // A head over a limit is refused as soon as it is over.
    let mut head = Head::new(HeadLimits::default().max_bytes(100));
    let told = (1..1000).find(|&len| parse(&mut head, &vec![b'x'; len]).is_err());
    assert_eq!(told, Some(101));
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Server,
    Client,
}

impl Side {
    /// Bytes that the handshake allocates for a head of `len` bytes that comes in pieces of `step`, and the
    /// number of reads.
    fn allocated(self, len: usize, step: usize) -> (usize, usize) {
        let runtime =
            runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let config = Config::default();
        let input = head_of(if matches!(self, Self::Server) { REQUEST } else { RESPONSE }, len);
        let (io, outside) = Trickle::new(&input, step);
        let before = counting::allocated();
        match self {
            Self::Server => {
                let accepted = runtime.block_on(finish(WebSocketStream::accept(io, &config)));
                assert_eq!(accepted.unwrap().protocol(), None);
            }
            Self::Client => {
                let asked = finish(WebSocketStream::connect_over(io, "ws://a.example/", &config));
                let refused = runtime.block_on(asked).unwrap_err();
                assert_eq!(refused.to_string(), "the server answered 401 Unauthorized");
            }
        }
        let reads = outside.line().reads;
        (counting::allocated() - before, reads)
    }
}
