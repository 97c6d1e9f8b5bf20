//! Services of plain messages, raw and of Engine.IO: the same functions for both.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use switchboard::{AsMessage, EngineSocket, Message, OwnedMessage, Switchboard, WebSocket, WebSocketOptions};
use tokio::sync::Semaphore;

use crate::harness::{SHORT, Server, eventually, get, metric, post, session_id, text_frame, upgrade};

const ENGINE: &str = "/engine/?EIO=4&transport=websocket";

/// Serves an echo, raw and by Engine.IO. It waits for a permit before each answer, except for the message
/// `now`.
async fn waiting() -> (Server, Arc<Semaphore>) {
    let server = Server::start(Switchboard::builder().workers(1)).await;
    let permits = Arc::new(Semaphore::new(0));
    let (raw, engine) = (Arc::clone(&permits), Arc::clone(&permits));
    server.io.websocket("/raw").on_message_async(move |socket: WebSocket, message: OwnedMessage| {
        let permits = Arc::clone(&raw);
        async move {
            if message.as_message() != Message::Text("now") {
                permits.acquire().await.expect("it is open").forget();
            }
            socket.send(message)
        }
    });
    server.io.engine("/engine").on_message_async(move |socket: EngineSocket, message: OwnedMessage| {
        let permits = Arc::clone(&engine);
        async move {
            if message.as_message() != Message::Text("now") {
                permits.acquire().await.expect("it is open").forget();
            }
            socket.send(message)
        }
    });
    (server, permits)
}

#[tokio::test]
async fn a_function_that_waits_holds_back_the_messages_of_its_own_client_in_order() {
    let (server, permits) = waiting().await;
    for (path, text) in [("/raw", ""), (ENGINE, "4")] {
        let mut waits = server.send(upgrade(path)).await;
        waits.head().await;
        let all: Vec<u8> = (0..20).flat_map(|n| text_frame(&format!("{text}<{n:02}>"))).collect();
        waits.send(all).await;
        let mut other = server.send(upgrade(path)).await;
        other.head().await;
        for _ in 0..2 {
            other.send(text_frame(&format!("{text}now"))).await;
            other.until(b"now").await;
        }
        permits.add_permits(20);
        for n in 0..20 {
            let answer = waits.until(b">").await;
            assert!(answer.ends_with(format!("{text}<{n:02}>").as_bytes()), "{}", answer.escape_ascii());
        }
    }
}

#[tokio::test]
async fn a_function_that_waits_keeps_the_order_of_the_packets_of_a_post() {
    let (server, permits) = waiting().await;
    let open = get("/engine/?EIO=4&transport=polling", "connection: close");
    let sid = session_id(&server.send(open).await.rest().await);
    let path = format!("/engine/?EIO=4&transport=polling&sid={sid}");
    let posted: Vec<_> = (0..20).map(|n| format!("4<{n:02}>")).collect();
    let mut post = server.send(post(&path, "connection: close", &posted.join("\x1e"))).await;
    permits.add_permits(20);
    assert!(post.rest().await.ends_with("ok"));
    let mut told = Vec::new();
    while told.len() < 20 {
        let answer = server.send(get(&path, "connection: close")).await.rest().await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        told.extend(body.split('\x1e').map(str::to_owned));
    }
    assert_eq!(told, posted);
}

#[tokio::test]
async fn a_function_that_fails_after_a_while_disconnects_its_client() {
    let server = Server::start(Switchboard::builder().workers(1)).await;
    server.io.websocket("/raw").on_message_async(async |_: WebSocket, message: OwnedMessage| {
        tokio::task::yield_now().await;
        assert_ne!(message.as_message(), Message::Text("panic"));
        Err::<(), _>(switchboard::Error::new("no"))
    });
    for text in ["fail", "panic"] {
        let mut client = server.send(upgrade("/raw")).await;
        client.head().await;
        client.send(text_frame(text)).await;
        client.until(b"\x88\x02\x03\xF3").await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_a_function_waits_is_noticed() {
    let (server, _permits) = waiting().await;
    let mut options = WebSocketOptions::default();
    options.ping_interval = Some(SHORT);
    let service = server.io.websocket_with("/pinged", options).expect("the options are good");
    service.on_message_async(async |_: WebSocket, _: OwnedMessage| std::future::pending::<()>().await);
    let gone = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&gone);
    service.on_close(move |_, _| told.add_permits(1));
    let mut client = server.send(upgrade("/pinged")).await;
    client.head().await;
    client.send(text_frame("hello")).await;
    client.until(b"\x89\x00").await;
    drop(client);
    eventually("the end is told", async || gone.available_permits() == 1).await;
}

#[tokio::test]
async fn a_socket_of_an_engine_is_known_by_its_session_and_keeps_values() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let sockets = Arc::new(Mutex::new(HashSet::new()));
    let (added, seen) = (Arc::clone(&sockets), Arc::clone(&sockets));
    server
        .io
        .engine("/engine")
        .on_connect(move |socket: &EngineSocket| {
            socket.insert(7_u32);
            added.lock().expect("nobody panics").insert(socket.clone());
        })
        .on_message(move |socket: &EngineSocket, _: Message<'_>| {
            let seen = seen.lock().expect("nobody panics");
            let kept = seen.get(socket).and_then(EngineSocket::get::<u32>);
            socket.send(format!("{} {} {kept:?}", socket.id(), socket.transport()))
        });
    let open = server.send(get("/engine/?EIO=4&transport=polling", "connection: close")).await.rest().await;
    let sid = session_id(&open);
    let path = format!("/engine/?EIO=4&transport=polling&sid={sid}");
    server.send(post(&path, "connection: close", "4hello")).await.rest().await;
    let answer = server.send(get(&path, "connection: close")).await.rest().await;
    assert!(answer.ends_with(&format!("4{sid} polling Some(7)")), "{answer}");

    let mut client = server.send(upgrade(ENGINE)).await;
    client.head().await;
    client.send(text_frame("4hello")).await;
    client.until("websocket Some(7)").await;
    let sockets = sockets.lock().expect("nobody panics");
    assert_eq!(sockets.len(), 2);
    let socket = sockets.iter().find(|socket| socket.id() == sid).expect("it was added");
    assert_eq!(
        (socket.transport(), socket.remove::<u32>(), socket.get::<u32>()),
        ("polling", Some(Arc::new(7)), None)
    );
    assert!(!format!("{socket:?}").contains(&sid), "an id is a secret");
}

#[tokio::test]
async fn a_message_may_be_given_in_any_form() {
    let server = Server::start(Switchboard::builder().workers(1)).await;
    server.io.websocket("/raw").on_connect(|socket: &WebSocket| {
        let text = "x".to_owned();
        socket.send("x")?;
        socket.send(&text)?;
        socket.send(Cow::Borrowed("x"))?;
        socket.send(text)?;
        socket.send(*b"y")?;
        socket.send(b"y")?;
        socket.send(&b"y"[..])?;
        socket.send(vec![b'y'])?;
        socket.send(Bytes::from_static(b"y"))?;
        socket.send(OwnedMessage::Binary(vec![b'y']))?;
        socket.send_uncompressed(Message::Text("x"))
    });
    let mut client = server.send(upgrade("/raw")).await;
    client.head().await;
    let frames = [b"\x81\x01x".repeat(4), b"\x82\x01y".repeat(6), b"\x81\x01x".to_vec()].concat();
    assert_eq!(client.until(&frames).await, frames);
    assert!(metric("switchboard_websockets_opened_total", "") > 0.0);
}
