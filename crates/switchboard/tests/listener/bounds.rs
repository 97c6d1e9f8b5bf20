//! Limits on time and bytes, before and during a request.

use std::time::{Duration, Instant};

use switchboard::{Message, Switchboard, WebSocket, WebSocketOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{DEADLINE, SHORT, Server, eventually, get, metric, post, text_frame, upgrade};

#[tokio::test]
async fn a_client_that_sends_nothing_is_closed_at_the_head_timeout() {
    let server = Server::with(|options| options.head_timeout = SHORT).await;
    let before = metric("switchboard_head_timeouts_total", "");
    let began = Instant::now();
    assert!(server.connect().await.is_cut().await);
    assert!(began.elapsed() >= SHORT);
    eventually("counted", async || metric("switchboard_head_timeouts_total", "") > before).await;
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_at_its_timeout() {
    let server = Server::with(|options| options.head_timeout = SHORT).await;
    for head in [upgrade("/ws"), get("/socket.io/?EIO=4&transport=polling", "")] {
        let mut client = server.connect().await;
        let began = Instant::now();
        let (mut read, mut write) = client.stream.split();
        let drip = async {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            for byte in head.trim_end().bytes().chain(std::iter::repeat(b'x')) {
                pace.tick().await;
                if write.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        };
        let mut sink = tokio::io::sink();
        tokio::select! {
            () = drip => {}
            _ended = tokio::io::copy(&mut read, &mut sink) => {}
        }
        // After the first byte hyper has the connection, and its clock starts anew.
        assert!(began.elapsed() >= SHORT && began.elapsed() < SHORT * 20, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_head_over_its_bounds_gets_a_431() {
    let server = Server::with(|options| (options.max_head_bytes, options.max_headers) = (2000, 30)).await;
    let long = format!("x-long: {}", "x".repeat(2000));
    let many = "x-many: 1\r\n".repeat(40);
    let upgrade = upgrade("/ws");
    for head in [
        get("/socket.io/?EIO=4&transport=polling", &long),
        get("/socket.io/?EIO=4&transport=polling", many.trim_end()),
        get(&format!("/socket.io/?EIO=4&transport=polling&x={}", "x".repeat(2000)), ""),
        upgrade.replace("connection:", &format!("{long}\r\nconnection:")),
        upgrade.replace("connection:", &format!("{many}connection:")),
    ] {
        let answer = server.send(&head).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{head}{answer}");
    }
    eventually("counted", async || metric("switchboard_http_errors_total", "head too large") >= 5.0).await;
    // A head without an end. The server reads no more of it than it must.
    let mut client = server.connect().await;
    let endless = [get("/", "").trim_end().as_bytes(), &vec![b'x'; 8 << 20]].concat();
    let (mut read, mut write) = client.stream.split();
    let mut sink = tokio::io::sink();
    let (cut, _answered) = tokio::join!(write.write_all(&endless), tokio::io::copy(&mut read, &mut sink));
    cut.expect_err("it is cut before all is sent");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_is_cut_in_time() {
    let server = Server::with(|options| options.write_timeout = SHORT).await;
    let long = || async { vec![b'x'; 64 << 20] };
    server.io.fallback(axum::Router::new().route("/long", axum::routing::get(long)));
    let before = metric("switchboard_write_timeouts_total", "");
    let mut client = server.send(get("/long", "")).await;
    client.head().await;
    eventually("it is cut", async || metric("switchboard_write_timeouts_total", "") > before).await;
}

#[tokio::test]
async fn a_body_over_its_bound_gets_a_413() {
    let server = Server::start(Switchboard::builder().workers(1).max_payload(1000)).await;
    for headers in ["connection: close", "connection: close\r\ntransfer-encoding: chunked"] {
        let sid = server.open_session().await;
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let body = "x".repeat(2000);
        let request = if headers.contains("chunked") {
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n7d0\r\n{body}\r\n0\r\n\r\n")
        } else {
            post(&path, headers, &body)
        };
        let answer = server.send(request).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn a_port_that_another_server_listens_on_is_not_shared_with_it() {
    let first = switchboard::Switchboard::builder().workers(2).build().unwrap();
    let second = switchboard::Switchboard::builder().workers(2).build().unwrap();
    let listening = first.bind("127.0.0.1:0").await.unwrap();
    let refused = second.bind(listening.local_addr()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_client_that_does_not_listen_is_not_read_on_and_nothing_it_is_owed_is_lost() {
    const TEXT: usize = 100;
    const MESSAGES: usize = 300_000;
    let server = Server::start(Switchboard::builder().workers(1)).await;
    let mut options = WebSocketOptions::default();
    options.max_outbox_bytes = 1 << 20;
    server
        .io
        .websocket_with("/narrow", options)
        .expect("the options are good")
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let mut client = server.send(upgrade("/narrow")).await;
    client.head().await;

    let asked = text_frame(&"x".repeat(TEXT)).repeat(MESSAGES);
    let (mut read, mut write) = client.stream.split();
    let mut sent = 0;
    while let Ok(written) = timeout(SHORT, write.write(&asked[sent..])).await {
        sent += written.expect("the connection is kept");
        assert!(sent < asked.len(), "the server took in more than it may keep the answers of");
    }
    let mut answers = vec![0; MESSAGES * (2 + TEXT)];
    let both = async { tokio::join!(write.write_all(&asked[sent..]), read.read_exact(&mut answers)) };
    let (written, answered) = timeout(DEADLINE, both).await.expect("it goes on once the client listens");
    written.expect("the rest is read");
    answered.expect("all is answered");
    assert!(answers.chunks(2 + TEXT).all(|answer| answer.starts_with(b"\x81\x64xx")));
}
