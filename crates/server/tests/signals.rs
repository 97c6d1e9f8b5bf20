//! How the binary stops.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any awaited answer takes on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// An open WebSocket, and the bytes that the server sent after its handshake.
fn open_websocket(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut seen = Vec::new();
    while !seen.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        seen.extend(byte);
    }
    stream
}

#[test]
fn two_signals_within_half_a_second_are_one_request_to_stop() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["--address", "127.0.0.1", "--port", "0", "--shutdown-timeout", "60000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is built");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("it is text");
    let mut client = open_websocket(line.trim().strip_prefix("listening on ").expect("an address"));
    let pid = Pid::from_child(&server);
    kill_process(pid, Signal::TERM).expect("it runs");
    kill_process(pid, Signal::INT).expect("it runs");
    // A close frame with code 1001. The server waits for the answer to it.
    let mut close = [0; 4];
    client.read_exact(&mut close).expect("the session is closed in order");
    assert_eq!(close, [0x88, 2, 0x03, 0xE9]);
    client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9]).expect("it reads");
    drop(client);
    let mut log = String::new();
    server.stderr.take().expect("it is a pipe").read_to_string(&mut log).expect("it is text");
    assert!(server.wait().expect("it is ours").success());
    assert!(!log.contains("stopped at once"), "{log}");
}
