//! The time limits of a connection, in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::time::Duration;

use bytes::BytesMut;
use switchboard_websocket::{
    CloseCode, Config, Error, FrameHeader, Opcode, OwnedMessage, Role, WebSocketStream, encode_frame_masked,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, simplex},
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const DEFAULT: Duration = Duration::from_secs(60);
/// A message gets its whole time again each time so many more bytes have come.
const PROGRESS: usize = 64 << 10;

fn server(config: &Config) -> (WebSocketStream<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(1 << 20);
    (WebSocketStream::from_raw(server, Role::Server, config), client)
}

/// A frame with a mask of zeros. Bytes of its payload may be missing.
fn frame(fin: bool, opcode: Opcode, announced: usize, payload: usize) -> Vec<u8> {
    let header = FrameHeader::new(opcode, announced).fin(fin).masked([0; 4]);
    [header.as_bytes(), &vec![b'a'; payload]].concat()
}

fn is_message_timeout(error: &Error, expected: Duration) -> bool {
    matches!(error, Error::MessageTimeout { limit } if *limit == expected)
}

/// The code of a Close frame.
async fn close_code(client: &mut DuplexStream) -> CloseCode {
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 0x88);
    u16::from_be_bytes([head[2], head[3]]).into()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_whole_in_time_closes_the_connection() {
    for begun in [
        frame(false, Opcode::Text, 1, 1),
        frame(true, Opcode::Binary, 1 << 20, 10),
        frame(true, Opcode::Binary, 200, 0)[..1].to_vec(),
        frame(false, Opcode::Text, 0, 0),
    ] {
        let (mut server, mut client) = server(&Config::default());
        client.write_all(&begun).await.unwrap();
        let start = Instant::now();
        let (error, told) = tokio::join!(server.recv(), async {
            let code = close_code(&mut client).await;
            (code, start.elapsed(), client)
        });
        assert!(is_message_timeout(&error.unwrap_err(), DEFAULT));
        assert_eq!((told.0, told.1), (CloseCode::PolicyViolation, DEFAULT));
        assert_eq!(server.recv().await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_empty_fragments_and_pings_give_a_message_no_more_time() {
    let mut config = Config::default();
    config.message_timeout = Some(10 * SECOND);
    let (mut server, mut client) = server(&config);
    client.write_all(&frame(false, Opcode::Text, 1, 1)).await.unwrap();
    let start = Instant::now();
    let trickle = tokio::spawn(async move {
        let mut ping = Vec::new();
        encode_frame_masked(&mut ping, Opcode::Ping, b"", [0; 4]);
        let little =
            [frame(false, Opcode::Continuation, 0, 0), frame(false, Opcode::Continuation, 1, 1), ping];
        while client.write_all(&little.concat()).await.is_ok() {
            sleep(SECOND).await;
        }
    });
    let error = loop {
        match server.recv().await {
            Ok(message) => assert!(matches!(message, Some(OwnedMessage::Ping(_)))),
            Err(error) => break error,
        }
    };
    assert!(is_message_timeout(&error, 10 * SECOND), "{error}");
    // The peer goes on sending, so that the close takes its time too.
    assert!(start.elapsed() <= 10 * SECOND + config.close_timeout, "{:?}", start.elapsed());
    drop(server);
    trickle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_long_message_over_a_slow_network_is_not_cut() {
    let (mut server, mut client) = server(&Config::default());
    let receiving = tokio::spawn(async move { server.recv().await });
    client.write_all(&frame(true, Opcode::Binary, 20 * PROGRESS, 0)).await.unwrap();
    for _ in 0..20 {
        sleep(59 * SECOND).await;
        client.write_all(&vec![b'a'; PROGRESS]).await.unwrap();
    }
    assert_eq!(receiving.await.unwrap().unwrap().unwrap().len(), 20 * PROGRESS);
}

#[tokio::test(start_paused = true)]
async fn each_message_has_a_time_of_its_own_and_none_runs_between_messages() {
    let (mut server, mut client) = server(&Config::default());
    let receiving = tokio::spawn(async move {
        for _ in 0..10 {
            server.recv().await.unwrap().unwrap();
        }
        server
    });
    client.write_all(&frame(false, Opcode::Text, 1, 1)).await.unwrap();
    for _ in 0..10 {
        sleep(59 * SECOND).await;
        // The end of one message, and the beginning of the next one in the same read.
        let (end, next) = (frame(true, Opcode::Continuation, 1, 1), frame(false, Opcode::Text, 1, 1));
        client.write_all(&[end, next].concat()).await.unwrap();
    }
    let mut server = receiving.await.unwrap();
    client.write_all(&frame(true, Opcode::Continuation, 1, 1)).await.unwrap();
    assert!(server.recv().await.unwrap().is_some());
    assert!(timeout(1000 * DEFAULT, server.recv()).await.is_err(), "an idle connection stays");
}

#[tokio::test(start_paused = true)]
async fn a_message_has_all_the_time_where_none_is_set() {
    for never in [None, Some(Duration::MAX)] {
        let mut config = Config::default();
        config.message_timeout = never;
        let (mut server, mut client) = server(&config);
        client.write_all(&frame(false, Opcode::Text, 1, 1)).await.unwrap();
        assert!(timeout(1000 * DEFAULT, server.recv()).await.is_err());
        client.write_all(&frame(true, Opcode::Continuation, 1, 1)).await.unwrap();
        assert_eq!(server.recv().await.unwrap(), Some("aa".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_times_messages_too_and_its_writer_tells_the_peer() {
    let (read, mut to_server) = simplex(1 << 16);
    let (mut from_server, write) = simplex(1 << 16);
    let config = Config::default();
    let (mut reader, mut writer) =
        WebSocketStream::from_halves((read, write), BytesMut::new(), Role::Server, &config);
    to_server.write_all(&frame(false, Opcode::Text, 1, 1)).await.unwrap();
    let start = Instant::now();
    let error = reader.recv().await.unwrap_err();
    assert!(is_message_timeout(&error, DEFAULT), "{error}");
    assert_eq!(start.elapsed(), DEFAULT);
    assert_eq!(reader.recv().await.unwrap(), None);
    writer.answer().await.unwrap();
    let mut head = [0; 4];
    from_server.read_exact(&mut head).await.unwrap();
    assert_eq!(head[2..], 1008u16.to_be_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_all_the_time_where_its_limit_is_the_longest() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::MAX;
    let (io, _silent) = duplex(1 << 10);
    assert!(timeout(1000 * DEFAULT, WebSocketStream::accept(io, &config)).await.is_err());
    let (io, _silent) = duplex(1 << 10);
    let asking = WebSocketStream::connect_over(io, "ws://example.org/", &config);
    assert!(timeout(1000 * DEFAULT, asking).await.is_err());
    let (server, client) = duplex(1 << 10);
    let (server, client) = tokio::join!(
        WebSocketStream::accept(server, &config),
        WebSocketStream::connect_over(client, "ws://example.org/", &config),
    );
    assert!(server.is_ok() && client.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_its_answer_without_end_where_its_limit_is_the_longest() {
    let mut config = Config::default();
    config.close_timeout = Duration::MAX;
    let (mut server, mut client) = server(&config);
    assert!(timeout(1000 * DEFAULT, server.close(CloseCode::Normal, "")).await.is_err());
    let mut answer = Vec::new();
    encode_frame_masked(&mut answer, Opcode::Close, b"\x03\xe8", [0; 4]);
    client.write_all(&answer).await.unwrap();
    server.close(CloseCode::Normal, "").await.unwrap();

    let (read, mut to_server) = simplex(1 << 10);
    let (_from_server, write) = simplex(1 << 10);
    let (mut reader, mut writer) =
        WebSocketStream::from_halves((read, write), BytesMut::new(), Role::Server, &config);
    assert!(timeout(1000 * DEFAULT, writer.close(CloseCode::Normal, "")).await.is_err());
    to_server.write_all(&answer).await.unwrap();
    let (closed, received) = tokio::join!(writer.close(CloseCode::Normal, ""), reader.recv());
    assert!(closed.is_ok() && received.is_ok());
}
