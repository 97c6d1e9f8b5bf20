//! Upgrades to WebSocket: as the first request of a connection (the fast path), or as a later one of a kept
//! connection (through hyper).

use switchboard::{Switchboard, WebSocketOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Client, Server, get, session_id, text_frame, upgrade};

/// Two connections: on one, an upgrade is the first request; on the other it is the second.
async fn both_ways(server: &Server) -> [Client; 2] {
    let mut kept = server.send(get("/nothing", "")).await;
    kept.until("not found\n").await;
    [server.connect().await, kept]
}

#[tokio::test]
async fn frames_right_behind_a_handshake_are_not_lost() {
    let server = Server::with(|_| {}).await;
    let behind = [text_frame("one"), text_frame("two")].concat();
    for split in [0, 1, 7, behind.len()] {
        let (with, after) = behind.split_at(split);
        for mut client in both_ways(&server).await {
            client.send([upgrade("/ws").as_bytes(), with].concat()).await;
            assert!(client.head().await.starts_with("HTTP/1.1 101"));
            client.send(after).await;
            client.until(b"\x81\x03one\x81\x03two").await;
        }
    }
}

#[tokio::test]
async fn a_handshake_that_comes_in_pieces_is_taken() {
    let server = Server::with(|_| {}).await;
    for mut client in both_ways(&server).await {
        for piece in upgrade("/ws").as_bytes().chunks(40) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        client.send(text_frame("whole")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101"));
        client.until("\u{5}whole").await;
    }
}

#[tokio::test]
async fn a_client_whose_upgrade_is_refused_reads_why_though_it_sends_on() {
    let server = Server::with(|_| {}).await;
    let bad_version = upgrade("/ws").replace("sec-websocket-version: 13", "sec-websocket-version: 12");
    let unknown = upgrade("/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA");
    let other_page = upgrade("/ws").replace("connection:", "origin: http://evil.example\r\nconnection:");
    for (handshake, status) in [(bad_version, "426"), (unknown, "400"), (other_page, "403")] {
        let mut client = server.send(&handshake).await;
        client.send(vec![0x82; 100_000]).await;
        client.stream.shutdown().await.expect("it is connected");
        let answer = client.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{handshake}{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

/// Upgrades are refused if the handshake is malformed or has a body. The connection ends with the response.
#[tokio::test]
async fn bytes_behind_a_refused_handshake_are_no_request() {
    let server = Server::with(|_| {}).await;
    let behind = get("/nothing", "");
    let with = |header: String| upgrade("/ws").replace("connection:", &format!("{header}\r\nconnection:"));
    let refused = [
        upgrade("/ws").replace("sec-websocket-version: 13", "sec-websocket-version: 12"),
        with("content-length: 3".into()),
        with(format!("content-length: {}", behind.len())),
        with("transfer-encoding: chunked".into()),
    ];
    for handshake in refused {
        for mut client in both_ways(&server).await {
            client.send(format!("{handshake}{behind}")).await;
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{handshake}{answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{handshake}{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_resets_its_refused_upgrade_harms_nobody() {
    let server = Server::with(|_| {}).await;
    for _ in 0..20 {
        let client =
            server.send(upgrade("/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA")).await;
        client.stream.set_zero_linger().expect("it is TCP");
    }
    for mut client in both_ways(&server).await {
        client.send(upgrade("/ws")).await;
        client.head().await;
    }
}

#[tokio::test]
async fn a_probe_reaches_its_session_from_whichever_worker_accepts_it() {
    let server = Server::start(Switchboard::builder().workers(3)).await;
    for _ in 0..8 {
        for mut client in both_ways(&server).await {
            let sid = server.open_session().await;
            let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
            client.send([upgrade(&path).as_bytes(), &text_frame("2probe")].concat()).await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            client.until("3probe").await;
            client.send([text_frame("5"), text_frame("40")].concat()).await;
            let connected = client.until("}").await;
            assert_ne!(
                session_id(&String::from_utf8_lossy(&connected)),
                sid,
                "a socket's id is not the session's"
            );
            assert!(!server.has_session(&sid).await, "it is this connection's now, and not to be polled");
        }
    }
}

/// First requests of a connection, each with the status of its response. The server may ignore the offer of
/// `h2c`.
fn beginnings() -> Vec<(String, u16)> {
    let polling = "/socket.io/?EIO=4&transport=polling";
    let h2c = "connection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA";
    vec![
        (get(polling, "connection: close"), 200),
        (get(polling, "connection: close, x"), 200),
        (get(polling, h2c), 200),
        (upgrade("/socket.io/?EIO=4&transport=websocket"), 101),
        (upgrade("/raw"), 101),
    ]
}

#[tokio::test]
async fn users_are_asked_once_whether_a_conversation_may_begin_on_every_way_in() {
    for drafts in [false, true] {
        let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let tell_raw = tell.clone();
        let builder = Switchboard::builder().workers(1).drafts(drafts);
        let server = Server::start(builder.allow_request(move |_, _| {
            let _ended = tell.send("engine");
        }))
        .await;
        let mut raw = WebSocketOptions::default();
        raw.allow_request = Some(switchboard::AllowRequest::new(move |_, _| {
            let _ended = tell_raw.send("raw");
        }));
        server.io.websocket_with("/raw", raw).expect("the options are good");
        let mounted = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [server.address, mounted.local_addr().unwrap()];
        let app = axum::Router::new().layer(server.io.layer());
        tokio::spawn(async move { axum::serve(mounted, app).await });
        for address in addresses {
            for (request, status) in beginnings() {
                for pieces in [1, 3] {
                    let mut client = Client { stream: TcpStream::connect(address).await.unwrap() };
                    for piece in request.as_bytes().chunks(request.len().div_ceil(pieces)) {
                        client.send(piece).await;
                        tokio::task::yield_now().await;
                    }
                    let head = client.head().await;
                    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}{head}");
                    let asked: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
                    let whose = if request.starts_with("GET /raw") { "raw" } else { "engine" };
                    assert_eq!(asked, [whose], "{request}");
                }
            }
        }
    }
}

#[tokio::test]
async fn polling_is_no_upgrade() {
    let server = Server::with(|_| {}).await;
    let sid = server.open_session().await;
    for path in
        ["/socket.io/?EIO=4&transport=polling", &format!("/socket.io/?EIO=4&transport=polling&sid={sid}")]
    {
        for mut client in both_ways(&server).await {
            client.send(upgrade(path)).await;
            assert!(client.head().await.starts_with("HTTP/1.1 400"), "{path}");
        }
    }
    assert!(server.has_session(&sid).await);
}
