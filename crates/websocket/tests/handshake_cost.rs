//! What a handshake costs that comes byte by byte, counted: no more than one that comes whole, but for the reads. One test to a
//! program: the allocator counts for the whole of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod counting;
mod trickle;

use switchboard_websocket::{
    Config, WebSocketStream,
    handshake::head::{Head, HeadError, HeadLimits},
};
use tokio::runtime;
use trickle::{Trickle, finish};

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const RESPONSE: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n";

/// A head of some `len` bytes, in lines of 200.
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
fn a_handshake_that_comes_byte_by_byte_costs_as_one_that_comes_whole() {
    for parse in [request, response] {
        no_byte_is_searched_twice(parse);
    }
    for len in [1000, 4000, 16_000] {
        for side in [Side::Server, Side::Client] {
            let (whole, whole_reads) = side.allocated(len, usize::MAX);
            let (pieces, reads) = side.allocated(len, 1);
            assert!(whole_reads < 20 && reads > len - 250, "{whole_reads} and {reads} reads of {len} bytes");
            // A buffer that doubles as it grows has been twice its size in all.
            assert!(pieces <= whole + 4 * len, "{side:?}: {pieces} bytes allocated, whole {whole}, of {len}");
        }
    }
}

type Parse = fn(&mut Head, &[u8]) -> Result<Option<usize>, HeadError>;

fn request(head: &mut Head, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
    Ok(head.request(buffer)?.map(|(_, len)| len))
}

fn response(head: &mut Head, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
    Ok(head.response(buffer)?.map(|(_, len)| len))
}

/// The bytes that were searched are replaced by ends of a head: a search that looked at one of them again would find it. The last
/// three are looked at with the next byte, as an end may begin with them.
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
    // And one that is over a limit is told as soon as it is.
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
    /// Bytes that a handshake allocates whose head of `len` bytes comes in pieces of `step`, and how many reads that took.
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
