//! Shutdown: new clients are refused, connected ones are told, and it always ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use switchboard::{DisconnectReason, Socket, Switchboard};
use switchboard_websocket::{CloseCode, OwnedMessage};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{
    Client, DEADLINE, SHORT, Server, eventually, get, metric, session_id, text_frame, upgrade,
};

const SOCKETIO: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// The close frame of a server that shuts down.
const GOING_AWAY: &[u8] = b"\x03\xe9";

#[tokio::test]
async fn all_are_told_and_the_shutdown_is_done_when_they_have_gone() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let listening = server.io.bind("127.0.0.1:0").await.expect("a port is free");
    let mut raw = server.websocket("/ws").await;
    let mut engine = server.websocket(SOCKETIO).await;
    let mut kept = server.send(get("/nothing", "")).await;
    kept.until("not found\n").await;
    let mut silent = server.connect().await;
    let path = format!("{POLLING}&sid={}", server.open_session().await);
    let mut poll = server.send(get(&path, "")).await;
    // Nothing shows that the poll waits. The next requests come after it.
    for _ in 0..20 {
        server.send(get("/nothing", "connection: close")).await.rest().await;
    }

    let io = server.io.clone();
    let began = Instant::now();
    let shutdown = tokio::spawn(async move { io.shutdown(DEADLINE).await });
    for socket in [&mut raw, &mut engine] {
        let code = loop {
            match timeout(DEADLINE, socket.recv()).await.expect("it is told").expect("in order") {
                Some(OwnedMessage::Close(frame)) => break frame.map(|frame| frame.code),
                Some(_) => {}
                None => panic!("closed without a word"),
            }
        };
        assert_eq!(code, Some(CloseCode::GoingAway));
    }
    while let Ok(Some(_)) = raw.recv().await {}
    while let Ok(Some(_)) = engine.recv().await {}
    let answer = poll.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n1"), "{answer}");
    assert!(kept.is_cut().await);
    assert!(silent.is_cut().await);
    assert!(shutdown.await.expect("it does not panic"), "all ended by themselves");
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    timeout(DEADLINE, listening.done()).await.expect("it is done");
    for address in [server.address, listening.local_addr()] {
        eventually("nobody listens", async || TcpStream::connect(address).await.is_err()).await;
    }
}

#[tokio::test]
async fn connections_that_do_not_end_are_cut_at_the_deadline() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    // None of them answers a close. The third is in the middle of a request.
    let mut held = Vec::new();
    for path in ["/ws", SOCKETIO] {
        let mut client = server.send(upgrade(path)).await;
        client.head().await;
        held.push(client);
    }
    let sid = server.open_session().await;
    let post =
        format!("POST {POLLING}&sid={sid} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n4half");
    held.push(server.send(post).await);
    held.push(server.send("GET / HT").await);

    let before = metric("switchboard_connections_cut_total", "");
    let began = Instant::now();
    let ended = server.io.shutdown(SHORT).await;
    assert!(began.elapsed() >= SHORT && began.elapsed() < SHORT * 20, "{:?}", began.elapsed());
    assert!(!ended, "they did not end by themselves");
    for mut client in held {
        let _told = client.try_rest().await;
    }
    assert!(metric("switchboard_connections_cut_total", "") > before);
    assert!(server.io.shutdown(SHORT).await, "nothing is left");
}

#[tokio::test]
async fn a_service_is_told_of_the_connections_that_are_cut() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    server.io.websocket("/told").on_close(
        move |_: &switchboard::WebSocket, code: Option<switchboard::CloseCode>| {
            let _listening = ended.send(code);
        },
    );
    let mut client = server.send(upgrade("/told")).await;
    client.head().await;
    assert!(!server.io.shutdown(SHORT).await);
    assert_eq!(timeout(DEADLINE, ends.recv()).await.expect("it is told"), Some(None));
}

#[tokio::test]
async fn serving_ends_though_connections_had_to_be_cut() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let listening = server.io.bind("127.0.0.1:0").await.expect("a port is free");
    let mut client = Client { stream: TcpStream::connect(listening.local_addr()).await.expect("it listens") };
    client.send(upgrade(SOCKETIO)).await;
    client.head().await;
    assert!(!server.io.shutdown(Duration::ZERO).await);
    timeout(DEADLINE, listening.done()).await.expect("it is done");
}

#[tokio::test]
async fn a_stuck_handler_does_not_hold_up_a_shutdown() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel::<()>();
    let released = Mutex::new(released);
    server.io.websocket("/stuck").on_connect(move |_: &switchboard::WebSocket| {
        let _entered = enter.send(());
        let _released = released.lock().map(|released| released.recv());
    });
    let client = server.send(upgrade("/stuck")).await;
    entered.recv().await.expect("the handler is called");
    let began = Instant::now();
    let ended = server.io.shutdown(SHORT).await;
    assert!(began.elapsed() < SHORT * 20, "{:?}", began.elapsed());
    assert!(!ended);
    drop((release, client));
}

#[tokio::test]
async fn sockets_learn_why_they_are_disconnected_even_between_two_polls() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let reasons: Arc<Mutex<Vec<DisconnectReason>>> = Arc::default();
    let seen = Arc::clone(&reasons);
    server.io.root().on_disconnect(move |_: Socket, reason: DisconnectReason| {
        seen.lock().expect("nobody panics").push(reason);
    });
    let sid = server.open_session().await;
    let path = format!("{POLLING}&sid={sid}");
    server.send(crate::harness::post(&path, "connection: close", "40")).await.rest().await;
    server.send(get(&path, "connection: close")).await.rest().await;
    assert!(server.io.shutdown(DEADLINE).await, "no connection is open");
    assert_eq!(*reasons.lock().expect("nobody panics"), [DisconnectReason::ServerShuttingDown]);
}

#[tokio::test]
async fn connections_of_axum_are_closed_by_a_shutdown_too() {
    let io = Switchboard::builder().workers(2).build().expect("the options are good");
    io.websocket("/ws");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let app = axum::Router::new().layer(io.layer());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let connect = async |request: String| {
        let mut client = Client { stream: TcpStream::connect(address).await.expect("it listens") };
        client.send(request).await;
        client
    };
    let mut raw = connect(upgrade("/ws")).await;
    let mut engine = connect(upgrade(SOCKETIO)).await;
    raw.head().await;
    engine.head().await;
    engine.until("}").await;
    let open = connect(get(POLLING, "connection: close")).await.rest().await;
    let mut poll = connect(get(&format!("{POLLING}&sid={}", session_id(&open)), "connection: close")).await;
    // The poll must have arrived. A second poll would show that, but would close the session as an overlap.
    // An answered POST shows it too, and closes nothing.
    let post =
        crate::harness::post(&format!("{POLLING}&sid={}", session_id(&open)), "connection: close", "3");
    connect(post).await.rest().await;

    let shutdown = tokio::spawn(async move { io.shutdown(DEADLINE).await });
    for client in [&mut raw, &mut engine] {
        client.until(GOING_AWAY).await;
        // A close with only a code, masked with zeros.
        client.send(b"\x88\x82\0\0\0\0\x03\xe9").await;
        let _rest = client.try_rest().await;
    }
    let answer = poll.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n1"), "{answer}");
    assert!(shutdown.await.expect("it does not panic"));
    let late = connect(get(POLLING, "connection: close")).await.rest().await;
    assert!(late.starts_with("HTTP/1.1 503"), "{late}");
}

#[tokio::test]
async fn a_server_whose_handles_are_dropped_stops() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let mut client = server.send(upgrade("/ws")).await;
    client.head().await;
    client.send(text_frame("still there")).await;
    client.until("still there").await;
    let address = server.address;
    drop(server);
    let _cut = client.try_rest().await;
    eventually("nobody listens", async || TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn a_server_that_listens_until_a_signal_shuts_down_at_it() {
    let io = Switchboard::builder().workers(1).build().expect("the options are good");
    let (told, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    io.root().on_disconnect(move |reason: DisconnectReason| {
        let _listening = told.send(reason);
    });
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let path = std::env::temp_dir().join(format!("switchboard-until-{}.sock", std::process::id()));
    let address = switchboard::ListenAddress::unix(&path);
    let serving = tokio::spawn({
        let io = io.clone();
        async move { io.listen_until(address, signalled, DEADLINE).await }
    });
    eventually("it listens", async || path.exists()).await;
    let mut client = tokio::net::UnixStream::connect(&path).await.expect("it listens");
    let request = upgrade(SOCKETIO);
    tokio::io::AsyncWriteExt::write_all(&mut client, request.as_bytes()).await.expect("it is read");
    tokio::io::AsyncWriteExt::write_all(&mut client, &text_frame("40")).await.expect("it is read");
    eventually("a socket", async || !io.root().local_sockets().await.expect("it serves").is_empty()).await;
    signal.send(()).expect("it waits for the signal");
    assert_eq!(
        timeout(DEADLINE, reasons.recv()).await.expect("it is told"),
        Some(DisconnectReason::ServerShuttingDown)
    );
    drop(client);
    timeout(DEADLINE, serving).await.expect("it is done").expect("no panic").expect("it was bound");
    assert!(!path.exists());
}
