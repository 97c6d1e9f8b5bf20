//! A connection as a `Stream` and a `Sink`; in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{FutureExt, SinkExt, StreamExt, TryStreamExt, stream::FusedStream};
use switchboard_websocket::{CloseCode, Config, Error, OwnedMessage, Role, WebSocketStream, WhenFull};
use tokio::{
    io::{DuplexStream, duplex},
    time::timeout,
};

fn pair(network: usize) -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
    let mut config = Config::default();
    config.max_write_buffer_bytes = 1000;
    config.when_full = WhenFull::DropNewest;
    let (server, client) = duplex(network);
    (
        WebSocketStream::from_raw(server, Role::Server, &config),
        WebSocketStream::from_raw(client, Role::Client, &Config::default()),
    )
}

/// Lets the spawned tasks run until all of them wait.
async fn run_spawned() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_the_messages_of_recv_and_ends() {
    let (mut server, mut client) = pair(1 << 16);
    client.send_all(&mut futures_util::stream::iter(["a", "b"]).map(|text| Ok(text.into()))).await.unwrap();
    let (closed, received) =
        tokio::join!(client.close(CloseCode::Normal, ""), (&mut server).try_collect::<Vec<_>>());
    closed.unwrap();
    assert_eq!(received.unwrap(), ["a".into(), "b".into(), OwnedMessage::close(CloseCode::Normal, "")]);
    assert!(server.is_terminated());
    assert!(server.next().await.is_none());
    let refused = SinkExt::send(&mut server, "late".into()).await;
    assert!(matches!(refused, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_an_error_and_ends() {
    let (mut server, client) = pair(1 << 16);
    drop(client);
    assert!(matches!(server.next().await, Some(Err(Error::ConnectionLost))));
    assert!(server.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_sink_waits_for_room_and_drops_nothing() {
    let (mut server, mut client) = pair(64);
    let messages: Vec<OwnedMessage> = (0..50).map(|number| vec![number; 300].into()).collect();
    let mut sent = futures_util::stream::iter(messages.clone()).map(Ok);
    let (sent, received) = tokio::join!(server.send_all(&mut sent), async {
        let mut received = Vec::new();
        while received.len() < 50 {
            received.push(client.next().await.unwrap().unwrap());
        }
        received
    });
    sent.unwrap();
    assert_eq!(received, messages);
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_not_ready_while_its_buffer_is_full() {
    let (mut server, _client) = pair(64);
    SinkExt::feed(&mut server, vec![0; 5000].into()).await.expect("a message of any size");
    assert!(SinkExt::feed(&mut server, "more".into()).now_or_never().is_none());
    assert_eq!(server.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_a_sink_sends_one_close_and_the_answer_comes_out_of_the_stream() {
    let (mut server, mut client) = pair(1 << 16);
    SinkExt::close(&mut server).await.unwrap();
    SinkExt::close(&mut server).await.unwrap();
    let close = OwnedMessage::close(CloseCode::Normal, "");
    let (told, answered) = tokio::join!(client.next(), server.next());
    assert_eq!(told.unwrap().unwrap(), close);
    assert_eq!(answered.unwrap().unwrap(), close);
    assert!(client.next().await.is_none());
    assert!(server.next().await.is_none());
}

/// `futures_util`'s split gives both halves to tasks of their own, and both write: one writes messages, the
/// other writes pongs. A stream wakes only the task that polled it last.
#[tokio::test(start_paused = true)]
async fn both_tasks_of_a_stream_that_was_split_are_woken() {
    let (server, mut client) = pair(256);
    let (mut sink, mut stream) = StreamExt::split(server);
    let sending = tokio::spawn(async move {
        for _ in 0..4 {
            sink.send(vec![7; 2000].into()).await.unwrap();
        }
        sink
    });
    let receiving = tokio::spawn(async move {
        let mut received = Vec::new();
        while let Some(message) = stream.next().await {
            received.push(message.unwrap());
        }
        received
    });
    run_spawned().await;
    // Each ping wakes the reader, which polls the stream that the sender waits for.
    for number in 0..4 {
        client.send(OwnedMessage::Ping(vec![number])).await.unwrap();
        run_spawned().await;
    }
    let mut received = Vec::new();
    let in_time = timeout(Duration::from_secs(1), async {
        while received.iter().filter(|message: &&OwnedMessage| message.is_binary()).count() < 4 {
            received.push(client.recv().await.unwrap().unwrap());
        }
        let mut sink = sending.await.unwrap();
        let closing = tokio::spawn(async move { sink.close().await });
        while let Some(message) = client.recv().await.unwrap() {
            received.push(message);
        }
        closing.await.unwrap().unwrap();
        receiving.await.unwrap()
    });
    let mut expected: Vec<_> = (0..4).map(|number| OwnedMessage::Ping(vec![number])).collect();
    expected.push(OwnedMessage::close(CloseCode::Normal, ""));
    assert_eq!(in_time.await.expect("nobody to be left asleep"), expected);
}

#[tokio::test(start_paused = true)]
async fn the_halves_are_a_stream_and_a_sink() {
    let (server, client) = duplex(1 << 16);
    let halves = tokio::io::split(server);
    let config = Config::default();
    let (mut reader, mut writer) =
        WebSocketStream::from_halves(halves, BytesMut::new(), Role::Server, &config);
    let mut client = WebSocketStream::from_raw(client, Role::Client, &config);
    client.send(OwnedMessage::Ping(b"?".to_vec())).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), OwnedMessage::Ping(b"?".to_vec()));
    SinkExt::send(&mut writer, "hello".into()).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), OwnedMessage::Pong(b"?".to_vec()));
    assert_eq!(client.next().await.unwrap().unwrap(), "hello".into());
    SinkExt::close(&mut writer).await.unwrap();
    let close = OwnedMessage::close(CloseCode::Normal, "");
    let telling = tokio::spawn(async move { client.next().await });
    assert_eq!(reader.next().await.unwrap().unwrap(), close);
    assert!(reader.is_terminated() && reader.next().await.is_none());
    // The client waits for the end of the connection.
    drop((reader, writer));
    assert_eq!(telling.await.unwrap().unwrap().unwrap(), close);
}
