//! Unusual HTTP/1: old, in bursts, contradictory, cut short, or not HTTP at all.

use switchboard::{EngineSocket, Message};

use crate::harness::{Server, eventually, get, metric, post, session_id, text_frame, upgrade};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn garbage_is_answered_with_a_400_or_nothing_and_closed() {
    let server = Server::with(|_| {}).await;
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    for bytes in [
        tls_hello,
        b"\0\0\0\0\0\0\0\0\r\n\r\n".to_vec(),
        b"<policy-file-request/>\0".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /ws HTTP/1.1\r\nhost : a\r\n\r\n".to_vec(),
        b"GET /ws HTTP/1.1\r\n\xff\xff: a\r\nupgrade: websocket\r\n\r\n".to_vec(),
        text_frame("too early"),
    ] {
        let answer = server.send(&bytes).await.try_rest().await.unwrap_or_default();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{}: {answer}",
            bytes.escape_ascii()
        );
    }
    assert!(metric("switchboard_http_errors_total", "not HTTP") > 0.0);
    // HTTP/2, which this listener does not accept.
    let answer = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.try_rest().await.unwrap_or_default();
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_and_closed() {
    let server = Server::with(|_| {}).await;
    let answer = server.send(format!("GET {POLLING} HTTP/1.0\r\n\r\n")).await.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    session_id(&answer);
    let refused = server.send(upgrade("/ws").replace("HTTP/1.1", "HTTP/1.0")).await.rest().await;
    assert!(refused.split(' ').nth(1).is_some_and(|status| status.starts_with('4')), "{refused}");
}

#[tokio::test]
async fn requests_in_one_burst_are_answered_in_order() {
    let server = Server::with(|_| {}).await;
    let burst = [get(POLLING, ""), get("/nothing", ""), get(POLLING, "connection: close")].concat();
    let answers = server.send(burst).await.rest().await;
    let status: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(status, ["200", "404", "200"], "{answers}");
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_refused() {
    let server = Server::with(|_| {}).await;
    let path = format!("{POLLING}&sid={}", server.open_session().await);
    for headers in ["content-length: 1", "content-length: 1, 2", "content-length: -1", "content-length: 0x1"]
    {
        let answer = server.send(post(&path, headers, "3\u{1e}3")).await.try_rest().await.unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_disappears_amid_a_post_closes_its_session() {
    let server = Server::with(|_| {}).await;
    for chunked in [false, true] {
        let sid = server.open_session().await;
        let path = format!("{POLLING}&sid={sid}");
        let half = if chunked {
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n4he")
        } else {
            let whole = post(&path, "connection: keep-alive", "4hello");
            whole[..whole.len() - 2].to_owned()
        };
        assert!(server.has_session(&sid).await);
        drop(server.send(half).await);
        eventually("the session is closed", async || !server.has_session(&sid).await).await;
    }
}

#[tokio::test]
async fn a_client_that_disappears_amid_a_poll_closes_its_session() {
    let server = Server::with(|_| {}).await;
    let sid = server.open_session().await;
    // The first poll may find packets. The second one waits.
    let poll = get(&format!("{POLLING}&sid={sid}"), "");
    let mut client = server.send(&poll).await;
    assert!(server.has_session(&sid).await);
    drop(std::mem::replace(&mut client, server.connect().await));
    eventually("the session is closed", async || !server.has_session(&sid).await).await;
}

#[tokio::test]
async fn half_a_request_is_no_request() {
    let server = Server::with(|_| {}).await;
    let whole = get(POLLING, "");
    for at in [1, 5, whole.len() - 1] {
        let mut client = server.send(&whole[..at]).await;
        tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.expect("it is connected");
        let answer = client.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{at}: {answer}");
    }
}

/// A header with which a request is hyper's to read, and the connection from there on.
const FOR_HYPER: &str = "connection: keep-alive, te";

/// Bytes in a query that clients should encode and do not. Names and values are found between `=` and `&`.
const UNENCODED: &str = "\"<>{}|\\^`\u{e9}";

#[tokio::test]
async fn an_unencoded_query_is_served_in_each_request_of_a_connection() {
    let server = Server::with(|_| {}).await;
    let (seen, mut queries) = tokio::sync::mpsc::unbounded_channel();
    let echo = server.io.engine("/e");
    echo.on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
    echo.on_connect(move |socket| {
        let _listening = seen.send(socket.handshake().query("name"));
    });
    let target = format!("/e?EIO=4&transport=polling&name={UNENCODED}");
    let opening = get(&target, FOR_HYPER);
    // A body with a request in it, of a length that is told, and in chunks.
    let whole = post("/nothing", FOR_HYPER, &opening);
    let chunks = format!(
        "POST /nothing HTTP/1.1\r\nhost: a\r\n{FOR_HYPER}\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{opening}\r\n0\r\n\r\n",
        opening.len()
    );
    let mut client = server.connect().await;
    for (request, answer) in [(&opening, "upgrades"), (&whole, "not found\n"), (&chunks, "not found\n")] {
        client.send(request).await;
        client.until(answer).await;
    }
    // A head that comes in pieces, and one right behind another.
    let (half, rest) = opening.split_at(opening.len() / 2 - 20);
    client.send(half).await;
    client.send([rest, &opening].concat()).await;
    client.until("upgrades").await;
    client.until("upgrades").await;
    // The bytes behind an upgrade are not HTTP.
    let websocket = upgrade(&target.replace("polling", "websocket"));
    client.send([websocket.as_bytes(), &text_frame("4\" \"")].concat()).await;
    client.until("\r\n\r\n").await;
    client.until("4\" \"").await;
    for _ in 0..4 {
        assert_eq!(queries.recv().await.expect("a session").as_deref(), Some(UNENCODED));
    }
}
