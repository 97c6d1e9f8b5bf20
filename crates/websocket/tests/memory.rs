//! The memory that a peer can make a connection hold, measured at the allocator. The program has one test,
//! because the allocator counts for all of it.

#![allow(clippy::unwrap_used, reason = "a test that panics says why")]

mod counting;

use std::{future::poll_fn, task::Poll};

use bytes::BytesMut;
use counting::held;
use switchboard_websocket::{Config, FrameHeader, Opcode, OwnedMessage, Role, WebSocketStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::unconstrained,
};

/// The memory that the pipe, the connection and its buffers may hold besides the peer's bytes.
const SLACK: usize = 256 << 10;

#[tokio::test]
async fn a_peer_pins_the_bytes_that_it_has_sent_and_no_more() {
    a_length_in_a_header_reserves_nothing_before_its_bytes_come().await;
    tiny_fragments_pin_their_bytes_alone().await;
    pings_leave_nothing_behind().await;
    short_messages_that_are_kept_hold_no_read_buffer().await;
    an_idle_connection_holds_no_read_buffer().await;
}

fn connection() -> (DuplexStream, WebSocketStream<DuplexStream>) {
    let (client, server) = tokio::io::duplex(64 << 10);
    (client, WebSocketStream::from_raw(server, Role::Server, &Config::default()))
}

/// A client's frame with a mask of zeros.
fn frame(opcode: Opcode, fin: bool, announced: usize, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader::new(opcode, announced).fin(fin).masked([0; 4]);
    [header.as_bytes(), payload].concat()
}

/// Lets the server read all bytes that were sent, and returns its messages.
async fn read(server: &mut WebSocketStream<DuplexStream>) -> Vec<OwnedMessage> {
    let mut messages = Vec::new();
    // The read waits where the peer has sent no whole message.
    let reading = poll_fn(|cx| {
        while let Poll::Ready(message) = server.poll_recv(cx) {
            messages.push(message.unwrap().unwrap());
        }
        Poll::Ready(())
    });
    unconstrained(reading).await;
    messages
}

async fn a_length_in_a_header_reserves_nothing_before_its_bytes_come() {
    let (mut client, mut server) = connection();
    let before = held();
    client.write_all(&frame(Opcode::Binary, true, 60 << 20, b"ten bytes.")).await.unwrap();
    assert!(read(&mut server).await.is_empty());
    assert!(held() - before < SLACK, "{}", held() - before);
}

async fn tiny_fragments_pin_their_bytes_alone() {
    let (mut client, mut server) = connection();
    let before = held();
    client.write_all(&frame(Opcode::Binary, false, 1, b"a")).await.unwrap();
    for _ in 0..16 {
        let fragments = frame(Opcode::Continuation, false, 1, b"b").repeat(1000);
        client.write_all(&fragments).await.unwrap();
        assert!(read(&mut server).await.is_empty());
    }
    assert!(held() - before < SLACK + 2 * 16_000, "{}", held() - before);
    client.write_all(&frame(Opcode::Continuation, true, 0, b"")).await.unwrap();
    let [OwnedMessage::Binary(whole)] = &read(&mut server).await[..] else { panic!("no message") };
    assert_eq!(whole.len(), 16_001);
}

async fn pings_leave_nothing_behind() {
    let (mut client, mut server) = connection();
    let before = held();
    let pings = frame(Opcode::Ping, true, 125, &[b'p'; 125]).repeat(100);
    let mut pongs = vec![0; 127 * 100];
    for _ in 0..1000 {
        client.write_all(&pings).await.unwrap();
        assert_eq!(read(&mut server).await.len(), 100);
        server.flush().await.unwrap();
        client.read_exact(&mut pongs).await.unwrap();
    }
    assert!(held().saturating_sub(before) < SLACK, "{}", held() - before);
}

/// A connection with a read buffer of 64 KiB, of which only the bytes of a message are used.
fn with_large_buffer(bytes: &[u8]) -> (DuplexStream, WebSocketStream<DuplexStream>) {
    let mut config = Config::default();
    config.read_buffer_bytes = 64 << 10;
    let (client, server) = tokio::io::duplex(1 << 10);
    let mut read = BytesMut::with_capacity(64 << 10);
    read.extend_from_slice(bytes);
    (client, WebSocketStream::from_parts(server, read, Role::Server, &config))
}

async fn short_messages_that_are_kept_hold_no_read_buffer() {
    let mut close = vec![0x03, 0xE8];
    close.extend_from_slice(b"bye");
    let ten = [
        frame(Opcode::Text, true, 10, b"ten bytes."),
        frame(Opcode::Binary, true, 10, b"ten bytes."),
        frame(Opcode::Ping, true, 10, b"ten bytes."),
        frame(Opcode::Close, true, 5, &close),
    ]
    .concat();
    let before = held();
    let mut kept = Vec::new();
    for _ in 0..100 {
        let (_client, mut server) = with_large_buffer(&ten);
        for _ in 0..4 {
            kept.push(server.recv().await.unwrap().unwrap());
        }
        // The same for messages that come in a read of their own.
        let (mut client, mut server) = with_large_buffer(b"");
        client.write_all(&ten).await.unwrap();
        for _ in 0..4 {
            kept.push(server.recv().await.unwrap().unwrap());
        }
    }
    let vector = kept.capacity() * size_of::<OwnedMessage>();
    assert!(held() - before < vector + kept.len() * 16 + (4 << 10), "{} for {}", held() - before, kept.len());
}

async fn an_idle_connection_holds_no_read_buffer() {
    let before = held();
    let mut connections = Vec::new();
    for _ in 0..100 {
        let (mut client, mut server) = with_large_buffer(&frame(Opcode::Text, true, 10, b"ten bytes."));
        assert_eq!(read(&mut server).await.len(), 1);
        // A part of a message stays, and nothing besides it.
        client.write_all(&frame(Opcode::Binary, false, 40_000, b"ten bytes.")).await.unwrap();
        assert!(read(&mut server).await.is_empty());
        connections.push((client, server));
    }
    let each = (held() - before) / connections.len();
    assert!(each < (1 << 10) + SLACK / 100, "{each} for each");
}
