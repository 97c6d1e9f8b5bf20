//! The memory of an idle connection, measured by an allocator that counts. The test runs in its own process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../websocket/tests/counting/mod.rs"]
mod counting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use counting::held;
use switchboard::{Message, Socket, Switchboard, WebSocket};

/// Connects with the headers of a browser, and returns when the server's answer to `then` has come.
fn connect(server: SocketAddr, url: &str, then: &[u8], number: usize) -> TcpStream {
    let mut socket = TcpStream::connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        socket,
        "GET {url} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://{server}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36\r\n\
         Cookie: session={number:032}; theme=dark\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    socket.write_all(then).unwrap();
    let mut received = Vec::new();
    // Each answer here ends so: the echo of `hello`, and the event that greets a socket.
    while !received.ends_with(b"hello") && !received.ends_with(b"[\"hello\"]") {
        let mut piece = [0; 1024];
        let n = socket.read(&mut piece).unwrap();
        assert!(n > 0, "{}", received.escape_ascii());
        received.extend_from_slice(&piece[..n]);
    }
    socket
}

#[test]
fn an_idle_connection_holds_little() {
    const CONNECTIONS: usize = 256;
    let io = Switchboard::builder().workers(1).build().unwrap();
    io.root().on_connect(|socket: Socket| socket.emit("hello", ()));
    io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(io.bind(("127.0.0.1", 0))).unwrap().local_addr();
    for (url, then, most) in [
        // Of these, tokio's task and registration take 384, and the cookie takes 58.
        ("/ws", &b"\x81\x85\0\0\0\0hello"[..], 940),
        ("/socket.io/?EIO=4&transport=websocket", b"\x81\x82\0\0\0\x0040", 1800),
    ] {
        let mut open: Vec<_> = (0..CONNECTIONS).map(|number| connect(server, url, then, number)).collect();
        // On a busy machine a round may meet buffers in use: the smallest of three rounds counts.
        let rounds = [(); 3].map(|()| {
            let before = held();
            open.extend((0..CONNECTIONS).map(|number| connect(server, url, then, number)));
            held().saturating_sub(before) / CONNECTIONS
        });
        let each = rounds.into_iter().min().unwrap();
        assert!((1..=most).contains(&each), "{url}: {each} bytes");
        drop(open);
    }
}
