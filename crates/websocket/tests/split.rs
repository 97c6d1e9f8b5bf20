//! A connection in two halves: which half answers, and when.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::time::Duration;

use bytes::BytesMut;
use switchboard_websocket::{
    CloseCode, Config, Error, Opcode, OwnedMessage, ProtocolError, Reader, Role, WebSocketStream, Writer,
    encode_frame_masked,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, SimplexStream, WriteHalf, simplex},
    net::TcpListener,
    time::{Instant, timeout},
};

type In = tokio::io::ReadHalf<SimplexStream>;
type Out = WriteHalf<SimplexStream>;

/// A server in halves, and the bare streams of its client.
fn server() -> (Reader<In>, Writer<Out>, In, Out) {
    let (read, to_server) = simplex(1 << 16);
    let (from_server, write) = simplex(1 << 16);
    let io = (read, write);
    let (reader, writer) =
        WebSocketStream::from_halves(io, BytesMut::new(), Role::Server, &Config::default());
    (reader, writer, from_server, to_server)
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame_masked(&mut out, opcode, payload, [4, 3, 2, 1]);
    out
}

async fn read(io: &mut In, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    io.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Whether a future waits after one poll.
async fn waits(future: impl Future) -> bool {
    timeout(Duration::ZERO, future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_pong_is_sent_with_the_next_message() {
    let (mut reader, mut writer, mut from_server, mut to_server) = server();
    to_server.write_all(&masked(Opcode::Ping, b"?")).await.unwrap();
    assert_eq!(reader.recv().await.unwrap(), Some(OwnedMessage::Ping(b"?".to_vec())));
    writer.send("hi").await.unwrap();
    assert_eq!(read(&mut from_server, 7).await, b"\x8a\x01?\x81\x02hi");
}

#[tokio::test(start_paused = true)]
async fn a_pong_is_sent_by_a_writer_that_awaits_it() {
    let (mut reader, mut writer, mut from_server, mut to_server) = server();
    let answering = tokio::spawn(async move { writer.answer().await.map(|()| writer) });
    to_server.write_all(&masked(Opcode::Ping, b"?")).await.unwrap();
    assert!(reader.recv().await.unwrap().is_some());
    assert_eq!(read(&mut from_server, 3).await, b"\x8a\x01?");
    assert!(!answering.is_finished());
    to_server.write_all(&masked(Opcode::Close, b"\x03\xe8")).await.unwrap();
    assert!(matches!(reader.recv().await.unwrap(), Some(OwnedMessage::Close(_))));
    assert_eq!(reader.recv().await.unwrap(), None);
    let mut writer = answering.await.unwrap().unwrap();
    let mut rest = Vec::new();
    from_server.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"\x88\x02\x03\xe8", "and the server ends the connection");
    assert!(matches!(writer.send("late").await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_rule_is_told_by_the_writer() {
    let (mut reader, mut writer, mut from_server, mut to_server) = server();
    to_server.write_all(b"\x81\x00").await.unwrap();
    assert!(matches!(reader.recv().await, Err(Error::Protocol(ProtocolError::UnmaskedFrame))));
    writer.answer().await.unwrap();
    assert_eq!(read(&mut from_server, 4).await[2..], 1002u16.to_be_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_closes_waits_for_the_readers_close() {
    let (mut reader, mut writer, mut from_server, mut to_server) = server();
    let closing = tokio::spawn(async move { writer.close(CloseCode::Normal, "").await });
    assert_eq!(read(&mut from_server, 4).await, b"\x88\x02\x03\xe8");
    to_server.write_all(&[masked(Opcode::Text, b"late"), masked(Opcode::Close, b"")].concat()).await.unwrap();
    assert_eq!(reader.recv().await.unwrap(), Some("late".into()), "the reader goes on");
    assert!(!closing.is_finished());
    assert_eq!(reader.recv().await.unwrap(), Some(OwnedMessage::Close(None)));
    closing.await.unwrap().unwrap();
    let mut rest = Vec::new();
    from_server.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "one Close frame");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_closes_waits_for_a_time() {
    let (_reader, mut writer, _from_server, _to_server) = server();
    let start = Instant::now();
    assert!(matches!(writer.close(CloseCode::Normal, "").await, Err(Error::CloseTimeout)));
    assert_eq!(start.elapsed(), Config::default().close_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_dropped_releases_the_writer() {
    let (reader, mut writer, _from_server, _to_server) = server();
    assert!(waits(writer.answer()).await);
    drop(reader);
    writer.answer().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_dropped_loses_nothing() {
    let (mut reader, _writer, _from_server, mut to_server) = server();
    let (start, rest) = (masked(Opcode::Text, b"in pieces"), masked(Opcode::Text, b"next"));
    to_server.write_all(&start[..9]).await.unwrap();
    assert!(waits(reader.recv()).await);
    to_server.write_all(&[&start[9..], &rest].concat()).await.unwrap();
    assert_eq!(reader.recv().await.unwrap(), Some("in pieces".into()));
    assert_eq!(reader.recv().await.unwrap(), Some("next".into()));
}

#[tokio::test]
async fn a_tcp_connection_is_split_between_tasks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = WebSocketStream::accept(stream, &Config::default()).await.unwrap();
        while let Some(message) = socket.recv().await.unwrap() {
            if matches!(message, OwnedMessage::Text(_)) {
                socket.feed(message).unwrap();
            }
        }
    });
    let client = WebSocketStream::connect(&url, &Config::default()).await.unwrap();
    let (mut reader, mut writer) = client.split();
    let reading = tokio::spawn(async move {
        let mut texts = Vec::new();
        while let Some(OwnedMessage::Text(text)) = reader.recv().await.unwrap() {
            texts.push(text);
        }
        texts
    });
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        writer.send(text.as_str()).await.unwrap();
    }
    writer.close(CloseCode::Normal, "done").await.unwrap();
    serving.await.unwrap();
    assert_eq!(reading.await.unwrap(), texts);
}
