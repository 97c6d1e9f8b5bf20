//! WebSockets over HTTP/2, all on one connection: raw ones, sessions of Engine.IO, upgrades from polling;
//! with one worker and with several.

use std::sync::Arc;

use h2::Reason;
use h2::client::Builder;
use h2::ext::Protocol;
use http::StatusCode;
use switchboard::{Data, DeflateOptions, Message, Socket, Switchboard, WebSocket, WebSocketOptions};
use switchboard_websocket::deflate::DeflateParameters;
use switchboard_websocket::{CloseCode, OwnedMessage};
use tokio::sync::Semaphore;

use super::client::{Http2, WebSocket as WebSocket2, soon};
use crate::harness::{SHORT, Server, eventually, metric};
use crate::tls_client::{Certificate, Trust};

pub(super) const ENGINE: &str = "/socket.io/?EIO=4&transport=websocket";

/// An echo at `/ws`, and a lobby on Socket.IO.
pub(super) fn set_up(io: &Switchboard) {
    io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let root = io.root();
    root.on_connect(|socket: Socket| socket.join("lobby"));
    root.on("say", |socket: Socket, Data(text): Data<String>| socket.to("lobby").emit("said", text));
    root.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
}

async fn server(workers: usize) -> Server {
    let server = Server::start(Switchboard::builder().workers(workers)).await;
    set_up(&server.io);
    server
}

#[tokio::test]
async fn many_are_open_on_one_connection() {
    for workers in [1, 4] {
        let server = server(workers).await;
        let before = metric("switchboard_http2_websockets_total", "");
        let mut client = Http2::connect(&server).await;
        let mut sockets = Vec::new();
        for number in 0..100 {
            let mut socket = client.websocket("/ws").await;
            socket.echoes(&format!("hello {number}")).await;
            sockets.push(socket);
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            for size in [0, 1, 125, 126, 5000] {
                socket.echoes(&format!("{number} {}", "x".repeat(size))).await;
            }
        }
        assert!(metric("switchboard_http2_websockets_total", "") >= before + 100.0);
    }
}

#[tokio::test]
async fn one_that_is_not_read_does_not_stop_the_others() {
    let server = server(1).await;
    // The client's own window for all streams must not be used up first.
    let mut wide = Builder::new();
    wide.initial_connection_window_size(1 << 20);
    let mut client = Http2::connect_with(&server, &wide).await;
    let mut slow = client.websocket("/ws").await;
    let mut other = client.websocket("/ws").await;
    // Echoes that nobody reads: far more than the stream's window, but less than an outbox holds.
    let sent = 40;
    for number in 0..sent {
        slow.send(&format!("{number} {}", "x".repeat(10_000))).await;
        other.echoes("still here").await;
    }
    for number in 0..sent {
        slow.expect(&format!("{number} {}", "x".repeat(10_000))).await;
    }
}

#[tokio::test]
async fn one_whose_handler_waits_does_not_stop_the_others() {
    let server = server(1).await;
    let gate = Arc::new(Semaphore::new(0));
    let passed = Arc::clone(&gate);
    server.io.root().on("wait", async move |Data(_): Data<String>| passed.acquire().await.is_ok());
    let mut client = Http2::connect(&server).await;
    let mut waiting = client.websocket(ENGINE).await;
    waiting.join().await;
    let mut other = client.websocket("/ws").await;
    let event = format!(r#"42["wait","{}"]"#, "x".repeat(50_000));
    // When the session holds its limit, its stream is no longer read. Its window is used up, and this client
    // waits.
    let mut sent = 0;
    while tokio::time::timeout(SHORT, waiting.0.send(event.as_str())).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "the client is never held back");
    }
    other.echoes("still here").await;
    gate.add_permits(1 << 20);
    soon("the rest", waiting.0.flush()).await.unwrap();
    waiting.send(r#"421["sum",1,2]"#).await;
    waiting.expect("431[3]").await;
}

#[tokio::test]
async fn a_large_message_goes_through_small_windows() {
    let server = server(1).await;
    let mut small = Builder::new();
    small.initial_window_size(100);
    let mut client = Http2::connect_with(&server, &small).await;
    let mut socket = client.websocket("/ws").await;
    let message = "x".repeat(300_000);
    socket.echoes(&message).await;
    socket.echoes("after").await;
}

#[tokio::test]
async fn a_burst_of_small_messages_is_no_flood() {
    let server = server(1).await;
    let mut client = Http2::connect(&server).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(client.websocket("/ws").await);
    }
    for _ in 0..5 {
        for socket in &mut sockets {
            for _ in 0..1000 {
                // Each message is a DATA frame of its own.
                socket.send("x").await;
            }
        }
        for socket in &mut sockets {
            for _ in 0..1000 {
                socket.expect("x").await;
            }
        }
    }
}

#[tokio::test]
async fn socket_io_goes_over_it_and_a_broadcast_reaches_clients_of_both_versions() {
    for workers in [1, 4] {
        let server = server(workers).await;
        let mut client = Http2::connect(&server).await;
        let mut over_http2 = Vec::new();
        for _ in 0..3 {
            let mut socket = client.websocket(ENGINE).await;
            socket.join().await;
            over_http2.push(socket);
        }
        // Polling, too, over the same connection.
        let poller = client.open_session().await;
        client.post(&poller, "40").await;
        client.poll(&poller).await;
        let mut over_http1 = server.websocket(ENGINE).await;
        soon("an open packet", over_http1.recv()).await.unwrap();
        over_http1.send("40").await.unwrap();
        soon("a connect packet", over_http1.recv()).await.unwrap();

        over_http1.send(r#"42["say","from the first"]"#).await.unwrap();
        for socket in &mut over_http2 {
            socket.expect(r#"42["said","from the first"]"#).await;
        }
        assert_eq!(client.poll(&poller).await.body, r#"42["said","from the first"]"#);
        over_http2[0].send(r#"42["say","from the second"]"#).await;
        for socket in &mut over_http2[1..] {
            socket.expect(r#"42["said","from the second"]"#).await;
        }
        let heard = soon("the broadcast", over_http1.recv()).await.unwrap();
        assert_eq!(heard, Some(OwnedMessage::Text(r#"42["said","from the second"]"#.to_owned())));
        over_http2[0].send(r#"427["sum",20,22]"#).await;
        over_http2[0].expect("437[42]").await;
    }
}

#[tokio::test]
async fn a_polling_session_is_upgraded_on_whichever_worker_it_lives() {
    for workers in [1, 4] {
        let server = server(workers).await;
        // Sessions of several connections, which the kernel spreads over the workers. Each is upgraded over
        // one HTTP/2 connection.
        let mut client = Http2::connect(&server).await;
        for over_http2 in [true, false, false, false, false, false, false, false] {
            let sid = if over_http2 { client.open_session().await } else { server.open_session().await };
            client.post(&sid, "40").await;
            client.poll(&sid).await;
            let mut socket = client.websocket(&format!("{ENGINE}&sid={sid}")).await;
            socket.upgrade_from(&mut client, &sid).await;
            socket.send(r#"420["sum",3,4]"#).await;
            socket.expect("430[7]").await;
        }
        let unknown = format!("{ENGINE}&sid=AAAAAAAAAAAAAAAAAAAA");
        let (answer, _) = client.try_websocket(&unknown, &[]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn over_tls_it_is_as_over_tcp() {
    let certificate = Certificate::of("localhost");
    for workers in [1, 4] {
        let server = Server::start_tls(Switchboard::builder().workers(workers), certificate.tls()).await;
        set_up(&server.io);
        let trust = Trust::of([&certificate]).offering(&["h2", "http/1.1"]);
        let stream = trust.connect(server.address).await.stream;
        let mut wide = Builder::new();
        wide.initial_connection_window_size(4 << 20);
        let mut client = Http2::over(stream, &server, &wide).await;
        client.websocket("/who").await.expect("<127.0.0.1 true>").await;
        let mut sockets = Vec::new();
        for _ in 0..10 {
            let mut socket = client.websocket(ENGINE).await;
            socket.join().await;
            sockets.push(socket);
        }
        sockets[0].send(&format!(r#"42["say","{}"]"#, "x".repeat(100_000))).await;
        for socket in &mut sockets[1..] {
            socket.expect(&format!(r#"42["said","{}"]"#, "x".repeat(100_000))).await;
        }
        let sid = client.open_session().await;
        client.post(&sid, "40").await;
        client.poll(&sid).await;
        let mut upgraded = client.websocket(&format!("{ENGINE}&sid={sid}")).await;
        upgraded.upgrade_from(&mut client, &sid).await;
        upgraded.send(r#"420["sum",3,4]"#).await;
        upgraded.expect("430[7]").await;
    }
}

#[tokio::test]
async fn it_is_asked_for_by_an_extended_connect_for_websocket() {
    let server = server(1).await;
    let mut options = WebSocketOptions::default();
    options.protocols = vec!["chat.v2".to_owned(), "chat.v1".to_owned()];
    server
        .io
        .websocket_with("/chat", options)
        .expect("the options are good")
        .on_connect(|socket: &WebSocket| socket.send(socket.protocol().unwrap_or("none")));
    let mut client = Http2::connect(&server).await;

    let (answer, socket) =
        client.try_websocket("/chat", &[("sec-websocket-protocol", "chat.v9, chat.v1")]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat.v1");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    socket.unwrap().expect("chat.v1").await;

    for (path, headers, status) in [
        ("/chat", &[("sec-websocket-version", "12")][..], 426),
        ("/chat", &[("sec-websocket-protocol", "not a token")], 400),
        ("/chat", &[("origin", "http://evil.example")], 403),
        (ENGINE, &[("origin", "http://evil.example")], 403),
        ("/socket.io/?EIO=4&transport=polling", &[], 400),
        ("/socket.io/?EIO=3&transport=websocket", &[], 400),
        ("/socket.io/socket.io.js", &[], 404),
        ("/nothing", &[], 404),
    ] {
        let mut head = client.handshake(path, &[]);
        for (name, value) in headers {
            head.headers_mut().insert(*name, http::HeaderValue::from_static(value));
        }
        let (answer, _) = client.ask(head, false).await.unwrap();
        assert_eq!(answer.status(), status, "{path} {headers:?}");
    }
    for path in ["/chat", ENGINE] {
        let mut other = client.handshake(path, &[]);
        other.extensions_mut().insert(Protocol::from_static("connect-udp"));
        let (answer, _) = client.ask(other, false).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED, "{path}");
    }
    // No `:protocol`: the server is not a proxy.
    let plain = http::Request::connect("chat.example:443").version(http::Version::HTTP_2).body(()).unwrap();
    let (answer, _) = client.ask(plain, false).await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    client.websocket("/ws").await.echoes("the connection goes on").await;
}

#[tokio::test]
async fn messages_are_compressed_where_that_was_agreed() {
    let mut options = WebSocketOptions::default();
    options.per_message_deflate = Some(DeflateOptions::default());
    let server = server(1).await;
    server
        .io
        .websocket_with("/deflate", options)
        .expect("the options are good")
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let mut client = Http2::connect(&server).await;
    let offer = [("sec-websocket-extensions", "permessage-deflate")];
    let (answer, socket) = client.try_websocket("/deflate", &offer).await;
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer.headers()["sec-websocket-extensions"], agreed);
    let WebSocket2(stream) = socket.unwrap();
    let agreed = DeflateParameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let mut socket = WebSocket2(stream.with_deflate(agreed, &DeflateOptions::default()));
    for number in 0..5 {
        socket.echoes(&format!("number {number} of the texts that say much the same; ").repeat(40)).await;
    }
    // If it is off, or not asked for, there is none.
    for (path, offer) in [("/ws", &offer[..]), ("/deflate", &[])] {
        let (answer, socket) = client.try_websocket(path, offer).await;
        assert!(!answer.headers().contains_key("sec-websocket-extensions"));
        socket.unwrap().echoes("plain").await;
    }
}

#[tokio::test]
async fn the_users_own_check_is_asked() {
    let mut options = WebSocketOptions::default();
    options.allow_request = Some(switchboard::AllowRequest::new(|parts, _| {
        let token = parts.headers.get("authorization").is_some_and(|token| token == "let me in");
        if token { Ok(()) } else { Err(format!("{} without a token", parts.method)) }
    }));
    let server = server(1).await;
    server
        .io
        .websocket_with("/guarded", options)
        .expect("the options are good")
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let mut client = Http2::connect(&server).await;
    let (answer, _) = client.try_websocket("/guarded", &[]).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let (_, socket) = client.try_websocket("/guarded", &[("authorization", "let me in")]).await;
    socket.unwrap().echoes("in").await;
}

#[tokio::test]
async fn a_close_is_answered_and_ends_the_stream() {
    let server = server(1).await;
    let mut client = Http2::connect(&server).await;
    let mut socket = client.websocket("/ws").await;
    socket.echoes("first").await;
    // This waits for the response.
    soon("the close", socket.0.close(CloseCode::Normal, "done")).await.unwrap();
    assert_eq!(soon("the end", socket.0.recv()).await.unwrap(), None);
    client.websocket("/ws").await.echoes("the connection goes on").await;
}

#[tokio::test]
async fn a_stream_that_its_client_resets_ends_its_session_and_no_other() {
    let server = server(1).await;
    let (ended, mut told) = tokio::sync::mpsc::unbounded_channel();
    server.io.websocket("/told").on_close(move |_socket: &WebSocket, code| {
        let _test_ended = ended.send(code);
    });
    let mut client = Http2::connect(&server).await;
    let mut other = client.websocket("/ws").await;
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let (answer, mut stream) = client.ask(client.handshake("/told", &[]), false).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        stream.send_reset(reason);
        assert_eq!(soon("its end", told.recv()).await.unwrap(), None);
    }
    other.echoes("still here").await;
}

#[tokio::test]
async fn a_connection_that_is_lost_ends_all_of_its_sessions() {
    let server = server(4).await;
    let mut client = Http2::connect(&server).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = client.websocket(ENGINE).await;
        socket.join().await;
        sockets.push(socket);
    }
    client.connection.abort();
    let root = server.io.root();
    eventually("all sockets are gone", async || root.local_sockets().await.unwrap().is_empty()).await;
}
