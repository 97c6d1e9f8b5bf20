//! Pings whose pongs cannot be written: at most 60 pongs wait, then the connection is cut.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::time::Duration;

use bytes::BytesMut;
use switchboard_websocket::{
    Config, Error, Opcode, OwnedMessage, Reader, Role, WebSocketStream, Writer, encode_frame,
    encode_frame_masked,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, SimplexStream, WriteHalf, duplex, simplex},
    time::timeout,
};

const PAYLOAD: [u8; 125] = [b'?'; 125];
const PONG_BYTES: usize = 127;
const DEFAULT: usize = 60;

fn pings(count: usize) -> Vec<u8> {
    let mut ping = Vec::new();
    encode_frame_masked(&mut ping, Opcode::Ping, &PAYLOAD, [4, 3, 2, 1]);
    ping.repeat(count)
}

fn config(max_pending_pongs: usize) -> Config {
    let mut config = Config::default();
    config.max_pending_pongs = max_pending_pongs;
    config
}

/// A server whose client reads nothing beyond `network` bytes, and the client's stream.
fn server(config: &Config, network: usize) -> (WebSocketStream<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(network);
    (WebSocketStream::from_raw(server, Role::Server, config), client)
}

/// Two halves, and the streams of their client.
struct Halves {
    reader: Reader<ReadHalf<SimplexStream>>,
    writer: Writer<WriteHalf<SimplexStream>>,
    from_server: ReadHalf<SimplexStream>,
    to_server: WriteHalf<SimplexStream>,
}

fn halves(config: &Config, network: usize) -> Halves {
    let (read, to_server) = simplex(1 << 20);
    let (from_server, write) = simplex(network);
    let (reader, writer) = WebSocketStream::from_halves((read, write), BytesMut::new(), Role::Server, config);
    Halves { reader, writer, from_server, to_server }
}

/// The number of pings before the error.
async fn pings_until_cut(
    mut recv: impl AsyncFnMut() -> Result<Option<OwnedMessage>, Error>,
) -> (usize, Error) {
    let mut given = 0;
    loop {
        match recv().await {
            Ok(Some(OwnedMessage::Ping(_))) => given += 1,
            Ok(other) => panic!("{other:?} after {given} pings"),
            Err(error) => return (given, error),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_pings_and_does_not_read_is_cut_when_60_pongs_wait() {
    for (config, limit) in [(Config::default(), DEFAULT), (config(3), 3), (config(0), 1)] {
        // The network has no room for even one pong.
        let (mut server, mut client) = server(&config, 100);
        let client = tokio::spawn(async move {
            let _ = client.write_all(&pings(1000)).await;
            client
        });
        let (given, error) = pings_until_cut(async || server.recv().await).await;
        assert!(matches!(error, Error::TooManyPongs { limit: named } if named == limit), "{error}");
        assert_eq!(given, limit);
        assert_eq!(server.recv().await.unwrap(), None);
        assert!(matches!(server.feed("late"), Err(Error::Closed)));
        drop(server);
        let mut written = Vec::new();
        client.await.unwrap().read_to_end(&mut written).await.unwrap();
        assert!(written.len() < PONG_BYTES, "neither a pong nor a Close frame");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_its_pongs_may_send_any_number_of_pings_at_once() {
    let (mut server, mut client) = server(&Config::default(), 1 << 20);
    client.write_all(&pings(1000)).await.unwrap();
    for _ in 0..1000 {
        assert_eq!(server.recv().await.unwrap(), Some(OwnedMessage::Ping(PAYLOAD.to_vec())));
    }
    server.flush().await.unwrap();
    let mut pongs = vec![0; 1000 * PONG_BYTES];
    client.read_exact(&mut pongs).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pongs_that_were_written_do_not_count_though_something_always_waits() {
    let mut config = config(3);
    config.max_write_buffer_bytes = 1 << 20;
    let (mut server, mut client) = server(&config, 1000);
    server.feed(vec![0; 500]).unwrap();
    for _ in 0..100 {
        // Other messages are before and behind each pong. With the pong they are 1000 bytes.
        server.feed(vec![0; 433]).unwrap();
        client.write_all(&pings(1)).await.unwrap();
        assert!(server.recv().await.unwrap().is_some());
        server.feed(vec![0; 432]).unwrap();
        assert!(timeout(Duration::ZERO, server.flush()).await.is_err(), "never is all written");
        let mut some = vec![0; 1000];
        client.read_exact(&mut some).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_behind_our_close_is_not_answered_and_cuts_nothing() {
    let (mut server, mut client) = server(&config(1), 1 << 16);
    server.feed(OwnedMessage::Close(None)).unwrap();
    client.write_all(&pings(10)).await.unwrap();
    for _ in 0..10 {
        assert!(server.recv().await.unwrap().is_some());
    }
    server.flush().await.unwrap();
    let mut close = Vec::new();
    encode_frame(&mut close, Opcode::Close, b"");
    drop(server);
    let mut written = Vec::new();
    client.read_to_end(&mut written).await.unwrap();
    assert_eq!(written, close);
}

#[tokio::test(start_paused = true)]
async fn both_halves_fail_when_60_pongs_wait() {
    for (config, limit) in [(Config::default(), DEFAULT), (config(3), 3)] {
        let Halves { mut reader, mut writer, from_server, mut to_server } = halves(&config, 100);
        to_server.write_all(&pings(1000)).await.unwrap();
        let answering = tokio::spawn(async move { (writer.answer().await, writer) });
        let (given, error) = pings_until_cut(async || reader.recv().await).await;
        assert!(matches!(error, Error::TooManyPongs { limit: named } if named == limit), "{error}");
        assert_eq!(given, limit);
        assert_eq!(reader.recv().await.unwrap(), None);
        let (answered, mut writer) = answering.await.unwrap();
        assert!(matches!(answered, Err(Error::Io(_))), "{answered:?}");
        assert!(matches!(writer.send("late").await, Err(Error::Io(_))));
        drop(from_server);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_of_the_same_thread_has_its_turn_before_the_connection_is_cut() {
    let Halves { mut reader, mut writer, mut from_server, mut to_server } = halves(&config(10), 1 << 20);
    to_server.write_all(&pings(1000)).await.unwrap();
    let answering = tokio::spawn(async move { writer.answer().await });
    for _ in 0..1000 {
        assert_eq!(reader.recv().await.unwrap(), Some(OwnedMessage::Ping(PAYLOAD.to_vec())));
    }
    let mut pongs = vec![0; 1000 * PONG_BYTES];
    from_server.read_exact(&mut pongs).await.unwrap();
    answering.abort();
}

#[tokio::test(start_paused = true)]
async fn pongs_wait_for_a_writer_that_is_not_used_up_to_the_same_bound() {
    let Halves { mut reader, mut writer, mut from_server, mut to_server } =
        halves(&Config::default(), 1 << 20);
    to_server.write_all(&pings(DEFAULT + 1)).await.unwrap();
    for _ in 0..DEFAULT {
        assert!(reader.recv().await.unwrap().is_some());
    }
    assert!(timeout(Duration::ZERO, writer.send("now")).await.is_ok());
    assert!(reader.recv().await.unwrap().is_some(), "there is room again");
    let mut pongs = vec![0; DEFAULT * PONG_BYTES];
    from_server.read_exact(&mut pongs).await.unwrap();
}
