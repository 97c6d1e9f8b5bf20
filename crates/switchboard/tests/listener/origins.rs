//! Pages of other origins, and our own pages behind a proxy that changes the host.

use switchboard::{Builder, Switchboard};

use crate::harness::{Server, get, post, session_id, text_frame, upgrade};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The headers that a browser sends for a page whose host the server does not know as its own.
const ORIGIN: &str = "origin: https://public.example";
const OWN_PAGE: &str = "sec-fetch-site: same-origin";

fn builder() -> Builder {
    Switchboard::builder().workers(3)
}

fn with(request: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    request.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1)
}

async fn answer(server: &Server, request: &str, headers: &[&str]) -> String {
    let mut client = server.send(with(request, &[headers, &["connection: close"]].concat())).await;
    client.rest().await
}

/// Opens a session on polling with these headers; returns its id.
async fn open(server: &Server, headers: &[&str]) -> String {
    session_id(&answer(server, &get(POLLING, ""), headers).await)
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_on_every_transport_alike() {
    let server = Server::start(builder()).await;
    let sid = open(&server, &[]).await;
    let with_sid = |path: &str| format!("{path}&sid={sid}");
    for request in [
        get(POLLING, ""),
        get(&with_sid(POLLING), ""),
        post(&with_sid(POLLING), "content-type: text/plain", "40"),
        upgrade(WEBSOCKET),
        upgrade(&with_sid(WEBSOCKET)),
        upgrade(&format!("{WEBSOCKET}&sid=AAAAAAAAAAAAAAAAAAAA")),
        upgrade(&format!("{WEBSOCKET}&sid=unheard")),
        upgrade("/ws"),
    ] {
        for site in [
            &["origin: http://evil.example"][..],
            &["origin: http://evil.example", "sec-fetch-site: cross-site"],
        ] {
            let answer = answer(&server, &request, site).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{request}{answer}");
            assert!(answer.contains("http://evil.example") && answer.contains("`origins`"), "{answer}");
        }
    }
    assert!(server.has_session(&sid).await, "it is none of theirs");
}

#[tokio::test]
async fn a_page_that_its_browser_says_is_of_our_own_origin_is_let_in_on_every_transport() {
    let server = Server::start(builder()).await;
    let headers = [ORIGIN, OWN_PAGE];
    let sid = open(&server, &headers).await;
    let pong = post(&format!("{POLLING}&sid={sid}"), "content-type: text/plain", "3");
    assert!(answer(&server, &pong, &headers).await.starts_with("HTTP/1.1 200 "));
    for path in [WEBSOCKET, "/ws"] {
        let mut client = server.send(with(&upgrade(path), &headers)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "), "{path}");
    }
}

#[tokio::test]
async fn a_session_that_our_own_page_began_vouches_for_its_websocket() {
    let server = Server::start(builder()).await;
    // Chromium sends no `Origin` in a GET to its own origin, and nothing else in a WebSocket handshake.
    let (ours, of_nobody) = (open(&server, &[OWN_PAGE]).await, open(&server, &[]).await);
    let probe = |sid: &str| with(&upgrade(&format!("{WEBSOCKET}&sid={sid}")), &[ORIGIN]);
    let refused = answer(&server, &probe(&of_nobody), &[]).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    for sid in [ours, open(&server, &[OWN_PAGE]).await, open(&server, &[ORIGIN, OWN_PAGE]).await] {
        let mut client = server.send(probe(&sid)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        client.send(text_frame("2probe")).await;
        client.until("3probe").await;
    }
    // It proves nothing for the session's polls.
    let sid = open(&server, &[OWN_PAGE]).await;
    let poll = answer(&server, &get(&format!("{POLLING}&sid={sid}"), ""), &[ORIGIN]).await;
    assert!(poll.starts_with("HTTP/1.1 403 "), "{poll}");
}

#[tokio::test]
async fn a_session_vouches_on_a_connection_that_is_kept_too() {
    let server = Server::start(builder()).await;
    for (headers, status) in [(&[OWN_PAGE][..], "101"), (&[], "403")] {
        let sid = open(&server, headers).await;
        let mut kept = server.send(get("/nothing", "")).await;
        kept.until("not found\n").await;
        kept.send(with(&upgrade(&format!("{WEBSOCKET}&sid={sid}")), &[ORIGIN])).await;
        assert!(kept.head().await.starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

#[tokio::test]
async fn a_pattern_lets_in_its_origins_only() {
    let origins =
        switchboard::Origins::list(["https://*.example.org", "file://", "https://app.example:443"]).unwrap();
    let server = Server::start(builder().origins(origins)).await;
    for (origin, status) in [
        ("https://a.example.org", "200"),
        ("https://a.b.example.org", "200"),
        ("https://example.org", "403"),
        ("https://a.example.org.evil.example", "403"),
        ("http://localhost", "200"),
        // As microcontrollers and Cordova send it, and as browsers send an origin with a default port.
        ("file://", "200"),
        ("https://app.example", "200"),
        ("null", "403"),
    ] {
        let answer = answer(&server, &get(POLLING, ""), &[&format!("origin: {origin}")]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {answer}");
    }
}
