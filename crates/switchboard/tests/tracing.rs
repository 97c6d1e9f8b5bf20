//! Trace events: they lie within spans of connections and sessions, and none shows a session's whole id.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/log.rs"]
mod log;

use std::time::Duration;

use log::Log;
use switchboard::{Message, Switchboard, WebSocket};
use switchboard_websocket::{Config, WebSocketStream};
use tracing::Level;

#[tokio::test]
async fn events_stand_in_the_spans_of_their_connection_and_session() {
    let log = Log::start(Level::TRACE);
    let io = Switchboard::builder().workers(2).build().expect("the options are good");
    io.of("/chat");
    io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| {
        tracing::info!("a message of raw WebSocket");
        socket.send(message)
    });
    let address = io.bind("127.0.0.1:0").await.expect("a port is free").local_addr();

    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let mut session = WebSocketStream::connect(&url, &Config::default()).await.expect("it listens");
    let peer = session.get_ref().tcp().expect("it is TCP").local_addr().expect("it is connected");
    let open = format!("{:?}", session.recv().await.expect("in order").expect("an open packet"));
    let (_, sid) = open.split_once(r#"sid\":\""#).expect("an id");
    let sid = &sid[..20];
    session.send("40/chat,").await.expect("it is open");
    let connected = format!("{:?}", session.recv().await.expect("in order").expect("the answer to CONNECT"));
    assert!(connected.contains("40/chat,"), "{connected}");
    let mut raw = WebSocketStream::connect(&format!("ws://{address}/ws"), &Config::default())
        .await
        .expect("it listens");
    raw.send("hello").await.expect("it is open");
    raw.recv().await.expect("in order").expect("an echo");
    drop(session);
    drop(raw);
    assert!(io.shutdown(Duration::from_secs(30)).await);

    let text = log.text();
    let line = |what: &str| {
        let line = text.lines().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("{what:?} is not in\n{text}"))
    };
    let socket = line("socket connected");
    assert!(socket.contains(&format!("connection{{peer={peer} worker=")), "{socket}");
    assert!(
        socket.contains(&format!("session{{sid=\"{}\" transport=\"websocket\"}}", &sid[..4])),
        "{socket}"
    );
    assert!(socket.contains(r#"namespace="/chat""#), "{socket}");
    let closed = line("session closed");
    assert!(closed.contains(&format!("sid=\"{}\"", &sid[..4])), "{closed}");
    let message = line("a message of raw WebSocket");
    assert!(message.contains(r#"websocket{path="/ws"}"#), "{message}");
    assert!(!text.contains(&sid[..8]), "a session's id is a secret");
}
