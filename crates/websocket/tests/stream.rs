//! A connection over a stream: its answers, its memory and its end; in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::time::Duration;

use http::HeaderValue;
use switchboard_websocket::{
    CloseCode, Config, Error, Limits, Opcode, OriginCheck, OwnedMessage, ProtocolError, Role,
    WebSocketStream, encode_close, encode_frame, encode_frame_masked, handshake::server::HandshakeError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, timeout},
};

const KEY: [u8; 4] = [9, 8, 7, 6];

fn pair(config: &Config, network: usize) -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (server, client) = duplex(network);
    (
        WebSocketStream::from_raw(server, Role::Server, config),
        WebSocketStream::from_raw(client, Role::Client, config),
    )
}

/// A server, and the bare stream of its client.
fn server(config: &Config) -> (WebSocketStream<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(1 << 20);
    (WebSocketStream::from_raw(server, Role::Server, config), client)
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame_masked(&mut out, opcode, payload, KEY);
    out
}

fn unmasked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, opcode, payload);
    out
}

async fn read(io: &mut DuplexStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    io.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Whether a future waits after one poll.
async fn waits(future: impl Future) -> bool {
    timeout(Duration::ZERO, future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn two_ends_shake_hands_talk_and_close() {
    let (server, client) = duplex(1 << 16);
    let mut config = Config::default();
    config.protocols = vec!["chat".into()];
    let (server, client) = tokio::join!(
        WebSocketStream::accept(server, &config),
        WebSocketStream::connect_over(client, "ws://example.org/chat", &config),
    );
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    assert_eq!((server.protocol(), client.protocol()), (Some("chat"), Some("chat")));
    client.send("hello").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("hello".into()));
    server.send(vec![1, 2, 3]).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(vec![1, 2, 3].into()));
    let (closed, received) = tokio::join!(client.close(CloseCode::GoingAway, "bye"), server.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), Some(OwnedMessage::close(CloseCode::GoingAway, "bye")));
    assert_eq!(server.recv().await.unwrap(), None);
    assert!(matches!(server.feed("late"), Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn frames_that_came_with_the_handshake_are_not_lost() {
    let (server, mut client) = duplex(1 << 16);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(&[request.as_bytes(), &masked(Opcode::Text, b"early")].concat()).await.unwrap();
    let (mut server, parts) = WebSocketStream::accept_request(server, &Config::default()).await.unwrap();
    assert_eq!(parts.headers["host"], "a");
    assert_eq!(server.recv().await.unwrap(), Some("early".into()));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_is_answered() {
    let table = [
        ("POST / HTTP/1.1\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://evil\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "403",
        ),
    ];
    let mut config = Config::default();
    config.origin = OriginCheck::new(|origin| origin == Some(&HeaderValue::from_static("http://good")));
    for (request, status) in table {
        let (server, mut client) = duplex(1 << 16);
        client.write_all(request.as_bytes()).await.unwrap();
        let error = WebSocketStream::accept(server, &config).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(HandshakeError::Origin.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_a_time_out() {
    let (server, mut client) = duplex(1 << 16);
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let start = Instant::now();
    let error = WebSocketStream::accept(server, &Config::default()).await.unwrap_err();
    assert!(matches!(error, Error::HandshakeTimeout), "{error}");
    assert_eq!(start.elapsed(), Config::default().handshake_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_url_that_is_none_is_refused() {
    for url in ["", "not a url", "ftp://a/", "ws:///path", "ws://a/#fragment"] {
        let error = WebSocketStream::connect(url, &Config::default()).await.unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{url}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_ping_is_answered_by_recv_alone() {
    let (mut server, mut client) = server(&Config::default());
    client.write_all(&[masked(Opcode::Ping, b"one"), masked(Opcode::Ping, b"two")].concat()).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(OwnedMessage::Ping(b"one".to_vec())));
    assert_eq!(server.recv().await.unwrap(), Some(OwnedMessage::Ping(b"two".to_vec())));
    assert!(waits(server.recv()).await, "which flushes before it waits");
    let expected = [unmasked(Opcode::Pong, b"one"), unmasked(Opcode::Pong, b"two")].concat();
    assert_eq!(read(&mut client, expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_close_is_answered_once_with_its_code() {
    for (body, expected) in [(b"\x03\xe9why".as_slice(), b"\x88\x02\x03\xe9".as_slice()), (b"", b"\x88\x00")]
    {
        let (mut server, mut client) = server(&Config::default());
        let twice = [masked(Opcode::Close, body), masked(Opcode::Close, body)].concat();
        client.write_all(&twice).await.unwrap();
        assert!(matches!(server.recv().await.unwrap(), Some(OwnedMessage::Close(_))));
        assert_eq!(server.recv().await.unwrap(), None);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, expected, "and then the server ends the connection");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_rule_is_told_to_the_peer_and_ends_the_connection() {
    let (mut server, mut client) = server(&Config::default());
    client.write_all(&masked(Opcode::Text, b"\xff")).await.unwrap();
    client.shutdown().await.unwrap();
    let error = server.recv().await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::InvalidUtf8 { offset: 0 })), "{error}");
    assert_eq!(server.recv().await.unwrap(), None);
    let mut expected = Vec::new();
    encode_close(&mut expected, None, CloseCode::InvalidPayload, &error.to_string());
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, expected);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_broke_a_rule_cannot_hold_the_connection_open() {
    let (mut server, mut client) = server(&Config::default());
    client.write_all(&[0xFF]).await.unwrap();
    let start = Instant::now();
    assert!(server.recv().await.is_err());
    assert_eq!(start.elapsed(), Config::default().close_timeout);
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_close_frame_is_an_error_once() {
    let (mut server, client) = server(&Config::default());
    drop(client);
    assert!(matches!(server.recv().await, Err(Error::ConnectionLost)));
    assert_eq!(server.recv().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_recv_that_is_dropped_loses_nothing() {
    let (mut server, mut client) = server(&Config::default());
    let mut bytes = masked(Opcode::Text, "whole messages, byte by byte, ünd cancelled at each".as_bytes());
    bytes.extend(masked(Opcode::Ping, b"?"));
    bytes.extend(masked(Opcode::Binary, &[7; 300]));
    let mut messages = Vec::new();
    for byte in bytes {
        client.write_all(&[byte]).await.unwrap();
        // It is ready with the last byte of a message. After each of the other bytes it is dropped.
        if let Ok(message) = timeout(Duration::ZERO, server.recv()).await {
            messages.push(message.unwrap().unwrap());
        }
    }
    let text = "whole messages, byte by byte, ünd cancelled at each";
    assert_eq!(messages, [text.into(), OwnedMessage::Ping(b"?".to_vec()), vec![7; 300].into()]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_dropped_tears_no_message() {
    let (mut server, mut client) = pair(&Config::default(), 64);
    let messages: Vec<Vec<u8>> =
        [10, 20_000, 300, 70_000, 0].into_iter().map(|len| vec![len as u8; len]).collect();
    for message in &messages {
        server.feed(message.as_slice()).unwrap();
    }
    let mut received = Vec::new();
    while received.len() < messages.len() {
        // Each flush writes as much as the network holds, and is dropped when that is full.
        let _ = timeout(Duration::ZERO, server.flush()).await;
        if let Ok(message) = timeout(Duration::ZERO, client.recv()).await {
            received.push(message.unwrap().unwrap());
        }
    }
    assert_eq!(received, messages.into_iter().map(OwnedMessage::from).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_full_write_buffer_gives_the_message_back() {
    let mut config = Config::default();
    config.max_write_buffer_bytes = 1000;
    let (mut server, mut client) = pair(&config, 64);
    server.feed(vec![1; 5000]).expect("a message of any size, when nothing waits");
    let Err(Error::WriteBufferFull { message, pending: 5004, limit: 1000 }) = server.feed("more") else {
        panic!("to be full")
    };
    assert_eq!(*message, "more".into());
    let (sent, received) = tokio::join!(server.send(*message), async {
        (client.recv().await.unwrap(), client.recv().await.unwrap())
    });
    sent.unwrap();
    assert_eq!(received, (Some(vec![1; 5000].into()), Some("more".into())));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_pings_and_does_not_read_is_not_read() {
    let mut config = Config::default();
    config.max_write_buffer_bytes = 1000;
    let (server, mut client) = duplex(256);
    let mut server = WebSocketStream::from_raw(server, Role::Server, &config);
    let ping = masked(Opcode::Ping, &[b'?'; 125]);
    let mut sent = 0;
    // This ends when neither end moves. Without a bound at the server it would never end.
    loop {
        let wrote = timeout(Duration::ZERO, client.write_all(&ping)).await.is_ok();
        let read = timeout(Duration::ZERO, server.recv()).await.is_ok();
        if !wrote && !read {
            break;
        }
        sent += 1;
        assert!(sent < 100, "the pongs pile up");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_close_is_awaited_for_a_time() {
    let (mut server, mut client) = server(&Config::default());
    let start = Instant::now();
    let error = server.close(CloseCode::Normal, "").await.unwrap_err();
    assert!(matches!(error, Error::CloseTimeout), "{error}");
    assert_eq!(start.elapsed(), Config::default().close_timeout);
    assert_eq!(read(&mut client, 4).await, b"\x88\x02\x03\xe8");
    assert_eq!(server.recv().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_goes_on_with_the_next_call() {
    let (mut server, mut client) = server(&Config::default());
    assert!(waits(server.close(CloseCode::Normal, "once")).await);
    assert!(waits(server.close(CloseCode::GoingAway, "twice")).await);
    client
        .write_all(&[masked(Opcode::Text, b"late"), masked(Opcode::Close, b"\x03\xe8")].concat())
        .await
        .unwrap();
    server.close(CloseCode::Normal, "").await.unwrap();
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, [b"\x88\x06\x03\xe8".as_slice(), b"once"].concat(), "one Close frame");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_may_not_be_sent_is_an_error() {
    let (mut server, _client) = server(&Config::default());
    assert!(matches!(
        server.feed(OwnedMessage::Ping(vec![0; 126])),
        Err(Error::ControlTooLong { length: 126 })
    ));
    let code = CloseCode::Abnormal;
    assert!(matches!(
        server.close(code, "").await,
        Err(Error::InvalidCloseCode { code: CloseCode::Abnormal })
    ));
    server.feed(OwnedMessage::Close(None)).unwrap();
    assert!(matches!(server.feed("late"), Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_refused() {
    let mut config = Config::default();
    config.limits = Limits::default().max_message_bytes(1000);
    let (mut server, mut client) = pair(&config, 1 << 16);
    client.send(vec![0; 1001]).await.unwrap();
    let (refused, told) = tokio::join!(server.recv(), client.recv());
    let limit = ProtocolError::MessageTooLarge { length: 1001, limit: 1000 };
    assert!(matches!(refused, Err(Error::Protocol(error)) if error == limit));
    let close = OwnedMessage::close(CloseCode::MessageTooBig, limit.to_string());
    assert_eq!(told.unwrap(), Some(close), "it is told");
}
