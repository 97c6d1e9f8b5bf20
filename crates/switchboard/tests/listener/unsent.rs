//! The packets that a client gets when it reads again after a pause.

#![cfg(target_os = "linux")]

use std::sync::Arc;

use switchboard::{ListenerOptions, Socket, Switchboard};
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::harness::{DEADLINE, Server};

const FRAMES: usize = 10_000;

/// The number of volatile packets, of 1 KiB each, that reach a client which did not read while they were
/// sent.
async fn stale(max_unsent_bytes: Option<u32>) -> usize {
    let mut listener = ListenerOptions::default();
    listener.max_unsent_bytes = max_unsent_bytes;
    let server = Server::start(Switchboard::builder().workers(1).listener(listener)).await;
    let sent = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&sent);
    server.io.root().on_concurrent("watch", async move |socket: Socket| {
        let frame = "x".repeat(1024);
        for _ in 0..FRAMES {
            socket.volatile().emit("frame", &frame)?;
            tokio::task::yield_now().await;
        }
        socket.emit("done", ())?;
        told.add_permits(1);
        Ok::<_, switchboard::EmitError>(())
    });
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a socket");
    let stream = socket.connect(server.address).await.expect("it listens");
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let mut client =
        WebSocketStream::connect_over(stream, &url, &Config::default()).await.expect("a handshake");
    client.send("40").await.expect("it is read");
    client.send(r#"42["watch"]"#).await.expect("it is read");
    timeout(DEADLINE, sent.acquire()).await.expect("all is sent").expect("it is open").forget();
    let mut frames = 0;
    loop {
        match timeout(DEADLINE, client.recv()).await.expect("it comes").expect("in order") {
            Some(OwnedMessage::Text(text)) if text == r#"42["done"]"# => return frames,
            Some(OwnedMessage::Text(text)) => frames += usize::from(text.starts_with(r#"42["frame""#)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn with_a_bound_on_unsent_bytes_few_volatile_packets_are_old() {
    let (bound, free) = (stale(Some(16 << 10)).await, stale(None).await);
    assert!(bound < 200 && bound * 4 < free, "{bound} of {FRAMES}, and {free} without a bound");
}
