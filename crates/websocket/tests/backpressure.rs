//! A peer that reads more slowly than messages are sent to it; in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::time::Duration;

use switchboard_websocket::{
    CloseCode, Config, Error, OwnedMessage, Reader, Role, WebSocketStream, WhenFull, Writer,
};
use tokio::{
    io::{AsyncReadExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    time::{Instant, timeout},
};

const LIMIT: usize = 1000;

/// Two ends with a network of 64 bytes between them. The server follows `when_full`.
fn pair(when_full: WhenFull) -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (server, client) = duplex(64);
    (
        WebSocketStream::from_raw(server, Role::Server, &config(when_full)),
        WebSocketStream::from_raw(client, Role::Client, &Config::default()),
    )
}

fn config(when_full: WhenFull) -> Config {
    let mut config = Config::default();
    config.max_write_buffer_bytes = LIMIT;
    config.when_full = when_full;
    config
}

type Halves = (Reader<ReadHalf<DuplexStream>>, Writer<WriteHalf<DuplexStream>>);

fn halves(when_full: WhenFull) -> (Halves, WebSocketStream<DuplexStream>) {
    let (server, client) = duplex(64);
    let halves =
        WebSocketStream::from_halves(split(server), bytes::BytesMut::new(), Role::Server, &config(when_full));
    (halves, WebSocketStream::from_raw(client, Role::Client, &Config::default()))
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_feed_gives_the_message_back() {
    assert_eq!(Config::default().when_full, WhenFull::Refuse);
    let (mut server, _client) = pair(WhenFull::Refuse);
    for _ in 0..9 {
        server.feed(vec![1; 100]).unwrap();
    }
    let Err(Error::WriteBufferFull { message, pending: 918, limit: LIMIT }) = server.feed(vec![2; 100])
    else {
        panic!("to be full")
    };
    assert_eq!(*message, vec![2; 100].into());
    server.feed("small").expect("as many as fit");
    assert_eq!(server.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_dropped_and_counted() {
    let (mut server, mut client) = pair(WhenFull::DropNewest);
    for number in 0..20 {
        server.feed(vec![number; 100]).unwrap();
    }
    assert_eq!(server.dropped(), 11);
    let (sent, received) = tokio::join!(server.send("last"), async {
        let mut received = Vec::new();
        while received.last() != Some(&OwnedMessage::from("last")) {
            received.push(client.recv().await.unwrap().unwrap());
        }
        received
    });
    sent.expect("waits for room under every policy");
    let expected = (0..9).map(|number| vec![number; 100].into()).chain(["last".into()]);
    assert_eq!(received, expected.collect::<Vec<OwnedMessage>>());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_too_slow_is_closed_behind_the_messages_that_wait() {
    let (mut server, mut client) = pair(WhenFull::Close);
    for number in 0..9 {
        server.feed(vec![number; 100]).unwrap();
    }
    assert!(matches!(server.feed(vec![9; 100]), Err(Error::TooSlow { pending: 918, limit: LIMIT })));
    assert!(matches!(server.feed("more"), Err(Error::Closed)));
    let (ended, received) = tokio::join!(server.recv(), async {
        let mut received = Vec::new();
        while let Some(message) = client.recv().await.unwrap() {
            received.push(message);
        }
        received
    });
    assert!(matches!(ended, Err(Error::TooSlow { .. })));
    assert_eq!(server.recv().await.unwrap(), None);
    let close = OwnedMessage::close(CloseCode::PolicyViolation, "too slow for the messages that are sent");
    let expected = (0..9).map(|number| vec![number; 100].into()).chain([close]);
    assert_eq!(received, expected.collect::<Vec<OwnedMessage>>());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_too_slow_for_its_close_too_is_given_up() {
    let (mut server, _client) = pair(WhenFull::Close);
    server.feed(vec![1; LIMIT]).unwrap();
    assert!(matches!(server.feed("more"), Err(Error::TooSlow { .. })));
    let start = Instant::now();
    assert!(matches!(server.recv().await, Err(Error::TooSlow { .. })));
    assert_eq!(start.elapsed(), Config::default().close_timeout);
}

#[test]
fn a_policy_needs_no_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for when_full in [WhenFull::Refuse, WhenFull::DropNewest, WhenFull::Close] {
        let (mut server, _client) = runtime.block_on(async { pair(when_full) });
        server.feed(vec![1; LIMIT]).unwrap();
        let fed = server.feed("more");
        assert_eq!(fed.is_ok(), when_full == WhenFull::DropNewest, "{when_full:?}: {fed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_holds_to_the_same_policies() {
    let ((_reader, mut writer), _client) = halves(WhenFull::Refuse);
    writer.feed(vec![1; LIMIT]).unwrap();
    assert!(matches!(writer.feed("more"), Err(Error::WriteBufferFull { .. })));

    let ((_reader, mut writer), _client) = halves(WhenFull::DropNewest);
    writer.feed(vec![1; LIMIT]).unwrap();
    writer.feed("more").unwrap();
    assert_eq!(writer.dropped(), 1);

    let ((mut reader, mut writer), mut client) = halves(WhenFull::Close);
    writer.feed(vec![1; LIMIT]).unwrap();
    assert!(matches!(writer.feed("more"), Err(Error::TooSlow { .. })));
    let (closed, told, received) =
        tokio::join!(writer.close(CloseCode::Normal, "not sent"), reader.recv(), async {
            (client.recv().await.unwrap(), client.recv().await.unwrap())
        });
    closed.unwrap();
    let close = OwnedMessage::close(CloseCode::PolicyViolation, "too slow for the messages that are sent");
    assert_eq!(received, (Some(vec![1; LIMIT].into()), Some(close)));
    assert_eq!(told.unwrap(), Some(OwnedMessage::close(CloseCode::PolicyViolation, "")));
}

#[tokio::test(start_paused = true)]
async fn write_buffers_stay_within_their_limit_and_one_message() {
    // A server that sends for ever, and a client that reads one byte from time to time.
    let (server, mut client) = duplex(64);
    let mut server = WebSocketStream::from_raw(server, Role::Server, &config(WhenFull::DropNewest));
    let (mut fed, mut read) = (0, 0);
    for _ in 0..1000 {
        server.feed(vec![0; 100]).unwrap();
        fed += 1;
        let _ = timeout(Duration::ZERO, server.flush()).await;
        read += client.read(&mut [0; 1]).await.unwrap();
    }
    let taken = fed - usize::try_from(server.dropped()).unwrap();
    assert!(taken * 102 <= read + 64 + LIMIT + 102, "{taken} messages wait or were read in {read} bytes");
}
