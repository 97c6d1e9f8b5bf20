//! Limits of an HTTP/2 connection on time and number, and its ends.

use std::time::Duration;

use http::{Method, StatusCode};
use switchboard::{Builder, ClientFile, DisconnectReason, ListenerOptions, Switchboard};
use switchboard_websocket::{CloseCode, OwnedMessage};

use super::client::{Http2, soon, whole};
use super::floods::{END_HEADERS, headers, websocket_head};
use crate::harness::{DEADLINE, SHORT, Server, eventually, metric};

/// A head time-out that is reached only by clients that send no request.
const HEAD_TIMEOUT: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_connection_without_a_request_is_told_goodbye_at_the_head_timeout() {
    let server = Server::with(|options| {
        (options.head_timeout, options.keep_alive_timeout) = (HEAD_TIMEOUT, HEAD_TIMEOUT);
    })
    .await;
    let before = metric("switchboard_head_timeouts_total", "");
    // A connection that sends nothing after its preface is closed. A connection that has sent a request gets
    // a GOAWAY.
    let mut silent = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let _settings = silent.rest().await;
    let mut client = Http2::connect(&server).await;
    assert_eq!(client.get("/nothing").await.status, StatusCode::NOT_FOUND);
    client.ended().await.expect("GOAWAY without an error");
    eventually("counted", async || metric("switchboard_head_timeouts_total", "") >= before + 2.0).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_at_its_timeout() {
    let server = Server::with(|options| options.head_timeout = HEAD_TIMEOUT).await;
    let mut client = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    // HEADERS without END_HEADERS, and nothing after it.
    client.send(b"\0\0\x01\x01\0\0\0\0\x01\x82").await;
    let _settings = client.rest().await;
}

#[tokio::test]
async fn a_connection_with_a_websocket_is_not_idle() {
    for workers in [1, 4] {
        let mut options = ListenerOptions::default();
        (options.head_timeout, options.keep_alive_timeout) = (HEAD_TIMEOUT, HEAD_TIMEOUT);
        let server = Server::start(Switchboard::builder().workers(workers).listener(options)).await;
        let mut client = Http2::connect(&server).await;
        let mut socket = client.websocket("/ws").await;
        tokio::time::sleep(HEAD_TIMEOUT * 2).await;
        socket.echoes("still here").await;
        socket.0.close(CloseCode::Normal, "").await.unwrap();
        drop(socket);
        client.ended().await.expect("GOAWAY without an error");
    }
}

#[tokio::test]
async fn more_streams_than_may_be_wait_for_their_turn() {
    let server = Server::with(|options| options.http2.max_streams = 2).await;
    let mut client = Http2::connect(&server).await;
    let mut first = client.websocket("/ws").await;
    let mut second = client.websocket("/ws").await;
    let head = client.head(&Method::GET, "/nothing", &[]);
    let mut third = client.send.clone();
    let (answer, _) = third.send_request(head, true).unwrap();
    let mut answer = std::pin::pin!(answer);
    first.echoes("one").await;
    second.echoes("two").await;
    let early = tokio::time::timeout(Duration::from_millis(1), answer.as_mut()).await;
    assert!(early.is_err(), "the client keeps to the bound it was told");
    first.0.close(CloseCode::Normal, "").await.unwrap();
    drop(first);
    assert_eq!(soon("its turn", answer).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_websocket_counts_as_a_connection() {
    let places = metric("switchboard_connections_refused_total", "");
    let server = Server::with(|options| options.max_connections = 3).await;
    let mut client = Http2::connect(&server).await;
    let mut first = client.websocket("/ws").await;
    let second = client.websocket("/ws").await;
    let (answer, _) = client.try_websocket("/ws", &[]).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(metric("switchboard_connections_refused_total", "") > places);
    // Requests do not count as connections.
    assert_eq!(client.get("/nothing").await.status, StatusCode::NOT_FOUND);
    drop(second);
    eventually("its place is given back", async || {
        client.try_websocket("/ws", &[]).await.0.status() == StatusCode::OK
    })
    .await;
    first.echoes("still here").await;

    let server = Server::with(|options| options.max_connections_per_address = 2).await;
    let mut client = Http2::connect(&server).await;
    let _first = client.websocket("/ws").await;
    let (answer, _) = client.try_websocket("/ws", &[]).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_shutdown_closes_websockets_answers_polls_and_says_goaway() {
    for workers in [1, 4] {
        let server = Server::start(Switchboard::builder().workers(workers)).await;
        let mut client = Http2::connect(&server).await;
        let mut raw = client.websocket("/ws").await;
        raw.echoes("first").await;
        let mut session = client.websocket("/socket.io/?EIO=4&transport=websocket").await;
        session.join().await;
        let sid = client.open_session().await;
        client.post(&sid, "40").await;
        client.poll(&sid).await;
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let (poll, _) = client.send.send_request(client.head(&Method::GET, &path, &[]), true).unwrap();
        // When the server has the request sent after the poll, it has the poll too.
        raw.echoes("second").await;
        let shutdown = server.io.shutdown(DEADLINE);
        let ends = async {
            for socket in [&mut raw, &mut session] {
                loop {
                    match soon("the close", socket.0.recv()).await.unwrap() {
                        Some(OwnedMessage::Close(frame)) => {
                            assert_eq!(frame.unwrap().code, CloseCode::GoingAway);
                            break;
                        }
                        Some(_) => {}
                        None => panic!("the stream ends without a close"),
                    }
                }
                // The end of the stream.
                assert_eq!(soon("the end", socket.0.recv()).await.unwrap(), None);
            }
            assert_eq!(soon("the poll's answer", poll).await.unwrap().status(), StatusCode::OK);
            drop((raw, session));
            client.ended().await.expect("GOAWAY without an error");
        };
        let (all_ended, ()) = tokio::join!(shutdown, ends);
        assert!(all_ended, "nothing had to be cut");
    }
}

#[tokio::test]
async fn a_client_between_two_polls_fetches_waiting_packets_before_the_shutdown_says_goaway() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
    server.io.root().on_disconnect(move |reason: DisconnectReason| {
        let _listening = told.send(reason);
    });
    let mut client = Http2::connect(&server).await;
    let sid = client.open_session().await;
    client.post(&sid, "40").await;
    client.poll(&sid).await;
    server.io.root().emit("bye", 1).unwrap();
    let polls = async {
        assert_eq!(soon("the end", ends.recv()).await, Some(DisconnectReason::ServerShuttingDown));
        let late = client.get("/socket.io/?EIO=4&transport=polling").await;
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client.poll(&sid).await.body, r#"42["bye",1]"#);
        assert_eq!(client.poll(&sid).await.body, "6\x1e1");
        client.ended().await.expect("GOAWAY without an error");
    };
    let (all_ended, ()) = tokio::join!(server.io.shutdown(DEADLINE), polls);
    assert!(all_ended, "nothing had to be cut");
}

#[tokio::test]
async fn a_shutdown_cuts_connections_that_do_not_end_at_its_deadline() {
    let server = Server::with(|_| {}).await;
    let mut client = Http2::connect(&server).await;
    let mut deaf = client.websocket("/ws").await;
    deaf.echoes("first").await;
    // The client does not answer the close.
    assert!(!server.io.shutdown(SHORT).await);
    let _cut = client.ended().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_cut() {
    let server = Server::with(|options| {
        options.http2.ping_interval = Some(SHORT);
        options.http2.ping_timeout = SHORT;
    })
    .await;
    let mut client = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    // An extended CONNECT for a WebSocket, which stays open.
    client.send(headers(1, END_HEADERS, &websocket_head("/ws"))).await;
    client.until([0x88]).await;
    let _pinged = client.rest().await;
    // A client that answers pings stays.
    let server = Server::with(|options| {
        options.http2.ping_interval = Some(SHORT);
        options.http2.ping_timeout = SHORT * 5;
    })
    .await;
    let mut client = Http2::connect(&server).await;
    let mut socket = client.websocket("/ws").await;
    tokio::time::sleep(SHORT * 8).await;
    socket.echoes("still here").await;
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_not_cut_off_and_its_connection_not_idle() {
    let mut options = ListenerOptions::default();
    (options.head_timeout, options.keep_alive_timeout) = (HEAD_TIMEOUT, HEAD_TIMEOUT);
    let server = Server::start(with_file(Switchboard::builder().workers(1).listener(options), 200_000)).await;
    let mut client = Http2::connect(&server).await;
    let head = client.head(&Method::GET, "/socket.io/large.js", &[]);
    let (answer, _) = client.ask(head, true).await.unwrap();
    // The client's window is used up and not opened. The test waits longer than the server listens to an idle
    // connection at its end.
    tokio::time::sleep(HEAD_TIMEOUT + Duration::from_millis(1500)).await;
    assert_eq!(whole(answer).await.body.len(), 200_000);
}

#[tokio::test]
async fn answers_that_are_not_taken_are_bounded() {
    let server = Server::start(with_file(Switchboard::builder().workers(1), 1 << 20)).await;
    let before = metric("switchboard_http_errors_total", "flood");
    let mut client = Http2::connect(&server).await;
    let mut answers = Vec::new();
    for _ in 0..100 {
        let head = client.head(&Method::GET, "/socket.io/large.js", &[]);
        match client.ask(head, true).await {
            Ok(answer) => answers.push(answer),
            Err(_ended) => break,
        }
    }
    assert!(answers.len() > 60 && answers.len() < 100, "{}", answers.len());
    eventually("counted", async || metric("switchboard_http_errors_total", "flood") > before).await;
}

/// A server with a file of the given size.
fn with_file(builder: Builder, bytes: usize) -> Builder {
    builder.client_files([ClientFile::new("large.js", "x".repeat(bytes))])
}
