//! Clients of the drafts before RFC 6455, and Flash players: their requests, byte for byte, and the
//! responses.

use std::time::Duration;

use switchboard::{
    EmitError, FlashPolicy, ListenerOptions, Message, Switchboard, WebSocket, WebSocketOptions,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Client, SHORT, Server, eventually, get, metric, session_id, text_frame, upgrade};

/// The keys, the body and the response in the example of hixie-76.
const KEYS: &str = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";
pub(crate) const BODY: &[u8] = b"^n:ds[4U";
pub(crate) const ANSWER: &[u8] = b"8jKS'y:G*Co,Wxa-";

async fn server() -> Server {
    Server::start(Switchboard::builder().workers(1).drafts(true)).await
}

/// A handshake of hixie-75, as Chrome 4 sends it.
pub(crate) fn hixie_75(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: localhost\r\n\
         Origin: http://localhost\r\n\r\n"
    )
}

/// A handshake of hixie-76, as Safari 5 sends it, without the eight bytes behind it.
pub(crate) fn hixie_76(path: &str) -> String {
    hixie_75(path).replace("Origin:", &format!("{KEYS}Origin:"))
}

/// A handshake of a later draft, as Firefox 6 sends it.
fn hybi(version: u8, path: &str) -> String {
    upgrade(path).replace("version: 13", &format!("version: {version}")).replace(
        "connection: Upgrade",
        "sec-websocket-origin: http://localhost\r\nconnection: keep-alive, Upgrade",
    )
}

pub(crate) fn hixie_frame(text: &str) -> Vec<u8> {
    [b"\0", text.as_bytes(), b"\xFF"].concat()
}

/// Two connections: on one, an upgrade is the first request; on the other it is the second, and hyper handles
/// it.
async fn both_ways(server: &Server) -> [Client; 2] {
    let mut kept = server.send(get("/nothing", "")).await;
    kept.until("not found\n").await;
    [server.connect().await, kept]
}

/// A client of hixie-76 after its handshake.
async fn connected(server: &Server, path: &str) -> Client {
    let mut client = server.send([hixie_76(path).as_bytes(), BODY].concat()).await;
    client.until(ANSWER).await;
    client
}

#[tokio::test]
async fn drafts_are_taken_only_where_they_are_on() {
    let off = Server::with(|_| {}).await;
    for handshake in [hybi(7, "/ws"), hybi(8, "/ws"), hixie_75("/ws"), hixie_76("/ws")] {
        for mut client in both_ways(&off).await {
            client.send(&handshake).await;
            let answer = client.head().await.to_lowercase();
            assert!(answer.starts_with("http/1.1 426 "), "{handshake}{answer}");
            assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
        }
    }
    let on = server().await;
    for mut client in both_ways(&on).await {
        client.send(hybi(9, "/ws")).await;
        let answer = client.head().await.to_lowercase();
        assert!(answer.starts_with("http/1.1 426 "), "{answer}");
        assert!(answer.contains("\r\nsec-websocket-version: 13, 8, 7\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn versions_7_and_8_are_spoken_like_13() {
    let server = server().await;
    for version in [7, 8, 13] {
        for mut client in both_ways(&server).await {
            client.send(hybi(version, "/ws")).await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            assert!(head.to_lowercase().contains("\r\nsec-websocket-accept: s3ppl"), "{head}");
            client.send(text_frame("hello")).await;
            client.until(b"\x81\x05hello").await;
            client.send(b"\x88\x82\0\0\0\0\x03\xE8").await;
            client.until(b"\x88\x02\x03\xE8").await;
            assert_eq!(client.rest().await, "");
        }
    }
    assert!(metric("switchboard_draft_handshakes_total", "hybi-07") >= 2.0);
}

#[tokio::test]
async fn the_heads_of_hixie_are_answered_byte_for_byte() {
    let server = server().await;
    let mut old = server.send(hixie_75("/ws?a=b")).await;
    assert_eq!(
        old.head().await,
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         WebSocket-Origin: http://localhost\r\nWebSocket-Location: ws://localhost/ws?a=b\r\n\r\n"
    );
    let mut new = server.send(hixie_76("/ws?a=b")).await;
    assert_eq!(
        new.head().await,
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Origin: http://localhost\r\nSec-WebSocket-Location: ws://localhost/ws?a=b\r\n\r\n"
    );
    for mut client in [old, new] {
        client.send(BODY).await;
        drop(client);
    }
}

#[tokio::test]
async fn the_eight_bytes_of_hixie_76_may_come_when_its_head_is_answered_or_before_and_in_pieces() {
    let server = server().await;
    for mut client in both_ways(&server).await {
        client.send(hixie_76("/ws")).await;
        // If a proxy holds the bytes back, the server sees the head first.
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 WebSocket Protocol Handshake\r\n"), "{head}");
        for byte in BODY.chunks(1) {
            client.send(byte).await;
        }
        client.until(ANSWER).await;
        client.send(hixie_frame("late")).await;
        assert_eq!(client.until(hixie_frame("late")).await, hixie_frame("late"));
    }
    let stream = [hixie_76("/ws").as_bytes(), BODY, &hixie_frame("one"), &hixie_frame("치즈")].concat();
    let head = hixie_76("/ws").len();
    for cut in [1, 16, head - 1, head, head + 1, head + 7, head + 8, head + 9, stream.len()] {
        for mut client in both_ways(&server).await {
            let (first, second) = stream.split_at(cut);
            client.send(first).await;
            tokio::task::yield_now().await;
            client.send(second).await;
            client.until(ANSWER).await;
            let frames = [hixie_frame("one"), hixie_frame("치즈")].concat();
            assert_eq!(client.until(hixie_frame("치즈")).await, frames, "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_handshake_of_hixie_may_come_byte_by_byte() {
    let server = server().await;
    for (handshake, begin) in
        [(hixie_75("/ws"), "HTTP/1.1 101 Web Socket"), (hixie_76("/ws"), "HTTP/1.1 101 WebSocket")]
    {
        let mut client = server.connect().await;
        for byte in [handshake.as_bytes(), BODY].concat().chunks(1) {
            client.send(byte).await;
            tokio::task::yield_now().await;
        }
        assert!(client.head().await.starts_with(begin));
    }
}

#[tokio::test]
async fn a_request_in_pieces_that_is_no_draft_is_served_as_ever() {
    let server = Server::start(Switchboard::builder().workers(1).drafts(true).listener({
        let mut options = ListenerOptions::default();
        options.max_head_bytes = 1000;
        options
    }))
    .await;
    let long = get("/nothing", &format!("x: {}\r\nconnection: close", "x".repeat(1000)));
    for (request, answer) in [
        (get("/nothing", "connection: close"), "HTTP/1.1 404"),
        (upgrade("/ws"), "HTTP/1.1 101"),
        // Line ends that only a lenient parser accepts.
        ("GET /nothing HTTP/1.1\nhost: localhost\nconnection: close\n\n".to_owned(), "HTTP/1.1 404"),
        ("GET /nothing HTTP/1.1\r\nhost : x\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        (long, "HTTP/1.1 431"),
    ] {
        let mut client = server.connect().await;
        for piece in request.as_bytes().chunks(7) {
            if client.stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let head = client.head().await;
        assert!(head.starts_with(answer), "{request:?} {head}");
    }
}

#[tokio::test]
async fn a_client_of_hixie_76_that_sends_no_key_is_cut() {
    let server = Server::start(Switchboard::builder().workers(1).drafts(true).listener({
        let mut options = ListenerOptions::default();
        options.head_timeout = SHORT;
        options
    }))
    .await;
    for way in 0..2 {
        // Made anew, because a connection that waits for its turn would be closed too.
        let [first, kept] = both_ways(&server).await;
        let mut client = if way == 0 { first } else { kept };
        client.send(hixie_76("/ws")).await;
        client.head().await;
        client.send(b"1234567").await;
        assert!(client.is_cut().await);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_in_each_draft() {
    let server = server().await;
    for path in ["/ws", "/socket.io/?EIO=4&transport=websocket"] {
        for handshake in [hybi(7, path), hybi(8, path), hixie_75(path), hixie_76(path)] {
            let handshake = handshake.replace("http://localhost", "http://evil.example");
            for mut client in both_ways(&server).await {
                client.send([handshake.as_bytes(), BODY].concat()).await;
                let answer = String::from_utf8(client.until("`origins`").await).unwrap();
                assert!(answer.starts_with("HTTP/1.1 403 "), "{handshake}{answer}");
                assert!(answer.contains("http://evil.example"), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn the_checks_of_a_path_hold_for_drafts_too() {
    let server = Server::start(
        Switchboard::builder().workers(1).drafts(true).allow_request(|_, _| Err::<(), _>("not today")),
    )
    .await;
    let mut closed = WebSocketOptions::default();
    closed.allow_request = Some(switchboard::AllowRequest::new(|_, _| Err::<(), _>("never")));
    server.io.websocket_with("/closed", closed).expect("the options are good");
    for (path, status, word) in [
        ("/socket.io/?EIO=4&transport=websocket", "403", "not today"),
        ("/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", "400", "Session ID unknown"),
        ("/closed", "403", "never"),
        ("/nothing", "404", "not found"),
    ] {
        for handshake in [hybi(8, path), hixie_75(path), hixie_76(path)] {
            let mut client = server.send(&handshake).await;
            // Not half-closed: hyper drops a request if its connection ends before it is looked at.
            let answer = String::from_utf8(client.until(word).await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{handshake}{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_of_hixie_may_close_and_is_closed_when_it_breaks_a_rule() {
    let server = server().await;
    let mut options = WebSocketOptions::default();
    options.max_message_bytes = 5;
    server
        .io
        .websocket_with("/small", options)
        .expect("the options are good")
        .on_message(|socket, message| socket.send(message));
    for (path, bytes, answer) in [
        ("/ws", &b"\xFF\x00"[..], &b"\xFF\x00"[..]),
        ("/ws", b"\x00a\xFF\xFF\x00", b"\x00a\xFF\xFF\x00"),
        ("/ws", b"\x80\x01a", b"\xFF\x00"),
        ("/ws", b"\x81\x81\0\0\0\0a", b"\xFF\x00"),
        ("/ws", b"\x00\xC3\x28\xFF", b"\xFF\x00"),
        ("/small", b"\x0012345\xFF\x00123456", b"\x0012345\xFF\xFF\x00"),
    ] {
        let mut client = connected(&server, path).await;
        client.send(bytes).await;
        assert_eq!(client.until(answer).await, answer);
        assert!(client.is_cut().await, "nothing behind a close");
    }
}

#[tokio::test]
async fn clients_of_hixie_are_closed_with_the_server() {
    let server = server().await;
    let mut new = connected(&server, "/ws").await;
    let mut session = connected(&server, "/socket.io/?EIO=4&transport=websocket").await;
    let mut old = server.send(hixie_75("/ws")).await;
    old.head().await;
    let (ended, ()) = tokio::join!(server.io.shutdown(Duration::from_secs(20)), async {
        // These clients answer the close. hixie-75 has no close, and the server does not wait for one.
        for client in [&mut new, &mut session] {
            client.until(b"\xFF\x00").await;
            client.send(b"\xFF\x00").await;
            assert!(client.is_cut().await);
        }
        old.until(b"\xFF\x00").await;
        assert!(old.is_cut().await);
    });
    assert!(ended);
}

#[tokio::test]
async fn a_session_may_be_held_over_hixie() {
    let server = server().await;
    server
        .io
        .root()
        .on("echo", |socket: switchboard::Socket, args: switchboard::Args| socket.emit("echo", args));
    for handshake in [hixie_75, hixie_76] {
        let mut client = server.send(handshake("/socket.io/?EIO=4&transport=websocket")).await;
        let head = client.head().await;
        if head.contains("Sec-WebSocket-") {
            client.send(BODY).await;
            client.until(ANSWER).await;
        }
        let open = client.until(b"\xFF").await;
        assert!(open.starts_with(b"\x000{\"sid\":\""), "{}", open.escape_ascii());
        client.send(hixie_frame("40")).await;
        assert!(client.until(b"\xFF").await.starts_with(b"\x0040{\"sid\":\""));
        client.send(hixie_frame("42[\"echo\",\"치즈\"]")).await;
        assert_eq!(client.until(b"\xFF").await, hixie_frame("42[\"echo\",\"치즈\"]"));
        // Binary has no frames here. It is sent as base64, as over polling.
        client
            .send(
                [hixie_frame("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]"), hixie_frame("bAQID/w==")]
                    .concat(),
            )
            .await;
        let event = hixie_frame("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
        assert_eq!(client.until(b"w==\xFF").await, [event, hixie_frame("bAQID/w==")].concat());
    }
}

#[tokio::test]
async fn a_broadcast_reaches_every_framing() {
    let server = server().await;
    let cast = server.io.of("/cast");
    server.io.websocket("/cast").share(&cast, "cast");
    let mut old = connected(&server, "/cast").await;
    let mut new = server.send(upgrade("/cast")).await;
    new.head().await;
    old.send(hixie_frame("from the old")).await;
    old.until(hixie_frame("from the old")).await;
    new.until(b"\x81\x0cfrom the old").await;
    // Binary messages are not sent to clients that take only text, and are counted.
    new.send(b"\x82\x81\0\0\0\0x").await;
    new.until(b"\x82\x01x").await;
    new.send(text_frame("text")).await;
    assert_eq!(old.until(b"\xFF").await, hixie_frame("text"));
    assert!(metric("switchboard_binary_not_sent_total", "") >= 1.0);
}

#[tokio::test]
async fn binary_for_a_client_that_only_takes_text_is_an_error() {
    let server = server().await;
    server.io.websocket("/binary").on_message(|socket: &WebSocket, _: Message<'_>| {
        let sent = socket.send(Message::Binary(b"x"));
        let text = format!("{} {}", socket.takes_binary(), matches!(sent, Err(EmitError::TextOnly)));
        socket.send(&text)
    });
    let mut client = connected(&server, "/binary").await;
    client.send(hixie_frame("?")).await;
    assert_eq!(client.until(b"\xFF").await, hixie_frame("false true"));
    let mut client = server.send([upgrade("/binary").as_bytes(), &text_frame("?")].concat()).await;
    client.head().await;
    client.until(b"\x82\x01x\x81\x0atrue false").await;
}

#[tokio::test]
async fn clients_that_have_no_pings_are_not_pinged_nor_cut_for_it() {
    let server = server().await;
    let mut options = WebSocketOptions::default();
    options.ping_interval = Some(Duration::from_millis(20));
    server
        .io
        .websocket_with("/pinged", options)
        .expect("the options are good")
        .on_message(|socket, message| socket.send(message));
    let mut silent = connected(&server, "/pinged").await;
    // A client that has pings and does not answer them is closed, twice in succession. Meanwhile the other
    // client stays connected.
    for _ in 0..2 {
        let mut deaf = server.send(upgrade("/pinged")).await;
        deaf.until(b"\x89\x00").await;
        assert!(deaf.is_cut().await);
    }
    silent.send(hixie_frame("still here")).await;
    assert_eq!(silent.until(b"\xFF").await, hixie_frame("still here"));
}

#[tokio::test]
async fn a_session_on_polling_may_go_over_to_hixie_on_any_worker() {
    let server = Server::start(Switchboard::builder().workers(3).drafts(true)).await;
    for _ in 0..6 {
        for mut client in both_ways(&server).await {
            let sid = server.open_session().await;
            client.send(hixie_76(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"))).await;
            client.head().await;
            client.send([BODY, &hixie_frame("2probe")].concat()).await;
            client.until([ANSWER, &hixie_frame("3probe")].concat()).await;
            client.send([hixie_frame("5"), hixie_frame("40")].concat()).await;
            let connected = client.until(b"}\xFF").await;
            assert_ne!(session_id(&String::from_utf8_lossy(&connected)), sid);
            assert!(!server.has_session(&sid).await, "it is this connection's now");
        }
    }
}

#[tokio::test]
async fn the_location_is_the_url_that_a_trusted_proxy_was_asked_for() {
    let proxies = switchboard::TrustedProxies::loopback();
    let server = Server::start(Switchboard::builder().workers(1).drafts(true).trusted_proxies(proxies)).await;
    let forwarded = "X-Forwarded-Host: public.example\r\nX-Forwarded-Proto: https\r\nOrigin:";
    let handshake =
        hixie_76("/ws").replace("Origin:", forwarded).replace("http://localhost", "https://public.example");
    let head = server.send(handshake).await.head().await;
    assert!(head.contains("\r\nSec-WebSocket-Location: wss://public.example/ws\r\n"), "{head}");
}

const POLICY_REQUEST: &[u8] = b"<policy-file-request/>\0";
const POLICY: &str = "<?xml version=\"1.0\"?><!DOCTYPE cross-domain-policy SYSTEM \
    \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\"><cross-domain-policy>\
    <allow-access-from domain=\"*\" to-ports=\"*\"/></cross-domain-policy>\0";

#[tokio::test]
async fn a_flash_player_is_told_its_policy_however_its_request_comes() {
    let server = server().await;
    for size in [1, 5, 22, 23] {
        let mut client = server.connect().await;
        for piece in POLICY_REQUEST.chunks(size) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.rest().await, POLICY, "in pieces of {size}");
    }
    assert!(metric("switchboard_flash_policies_total", "") >= 4.0);
}

#[tokio::test]
async fn bytes_that_only_begin_like_a_policy_request_get_no_policy() {
    let on = server().await;
    let off = Server::with(|_| {}).await;
    for (server, bytes) in [
        (&off, POLICY_REQUEST),
        (&on, b"<policy-file-request />\0"),
        (&on, b"<html>\r\n\r\n"),
        (&on, b"<policy GET / HTTP/1.1\r\n\r\n"),
    ] {
        let mut client = server.send(bytes).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test]
async fn the_policy_has_a_port_of_its_own_where_one_is_asked_for() {
    let server = Server::start(Switchboard::builder().workers(2).listener({
        let mut options = ListenerOptions::default();
        let mut policy = FlashPolicy::default();
        policy.domains = vec!["example.org".to_owned()];
        policy.ports = "3000".to_owned();
        options.flash_policy = policy;
        options.head_timeout = SHORT;
        options
    }))
    .await;
    let address = server.io.bind_flash_policy("127.0.0.1:0").await.unwrap();
    let connect = async || Client { stream: TcpStream::connect(address).await.unwrap() };
    let mut client = connect().await;
    for piece in POLICY_REQUEST.chunks(4) {
        client.send(piece).await;
    }
    assert!(client.rest().await.contains("<allow-access-from domain=\"example.org\" to-ports=\"3000\"/>"));
    for other in [&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], b"<policy-file-request/>", b""] {
        let mut client = connect().await;
        client.send(other).await;
        assert!(client.is_cut().await, "nothing but the policy is served there");
    }
    assert!(server.io.shutdown(Duration::from_secs(5)).await);
    eventually("nobody listens there any more", async || TcpStream::connect(address).await.is_err()).await;
}
