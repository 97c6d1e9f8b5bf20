//! Unusual HTTP/1: old, in bursts, contradictory, cut short, or not HTTP at all.

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
