//! Requests: polling, files, cross-origin requests, and refusals.

use http::{Method, StatusCode};
use switchboard::{ClientFile, ListenerOptions, Switchboard};
use tokio::io::AsyncWriteExt;

use super::client::{Http2, soon, whole};
use crate::harness::{Server, eventually, metric};

#[tokio::test]
async fn polling_goes_over_one_connection() {
    for workers in [1, 4] {
        let server = Server::start(Switchboard::builder().workers(workers)).await;
        server.io.root().on("say", |switchboard::Data(text): switchboard::Data<String>| text);
        let mut client = Http2::connect(&server).await;
        let mut sessions = Vec::new();
        for _ in 0..5 {
            sessions.push(client.open_session().await);
        }
        for sid in &sessions {
            assert_eq!(client.post(sid, "40").await.body, "ok");
            let joined = client.poll(sid).await;
            assert!(joined.body.starts_with(r#"40{"sid":"#), "{}", joined.body);
            assert_eq!(joined.headers["cache-control"], "no-store");
            // A waiting poll does not hold up the POST that it waits for.
            let head =
                client.head(&Method::GET, &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), &[]);
            let (waiting, _end) = client.send.send_request(head, true).unwrap();
            assert_eq!(client.post(sid, r#"420["say","hello"]"#).await.body, "ok");
            let acknowledged = whole(soon("the poll", waiting).await.unwrap()).await;
            assert_eq!(acknowledged.body, r#"430["hello"]"#);
        }
    }
}

#[tokio::test]
async fn a_poll_that_its_client_takes_back_closes_its_session() {
    let server = Server::with(|_| {}).await;
    let mut client = Http2::connect(&server).await;
    let sid = client.open_session().await;
    client.post(&sid, "40").await;
    client.poll(&sid).await;
    let head = client.head(&Method::GET, &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), &[]);
    let (waiting, mut stream) = client.send.send_request(head, true).unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop(waiting);
    eventually("the session is closed", async || {
        client.post(&sid, "3").await.status == StatusCode::BAD_REQUEST
    })
    .await;
}

#[tokio::test]
async fn files_of_the_client_are_served_with_their_etag() {
    let builder = Switchboard::builder().workers(1);
    let file = ClientFile::new("socket.io.js", "the bundle");
    let server = Server::start(builder.client_files([file])).await;
    let mut client = Http2::connect(&server).await;
    let file = client.get("/socket.io/socket.io.js").await;
    assert_eq!((file.status, file.body.as_str()), (StatusCode::OK, "the bundle"));
    let etag = file.headers["etag"].to_str().unwrap().to_owned();
    let again = client.request(Method::GET, "/socket.io/socket.io.js", &[("if-none-match", &etag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
}

#[tokio::test]
async fn the_checks_are_those_of_http_1() {
    let server = Server::with(|options| options.max_headers = 20).await;
    let mut client = Http2::connect(&server).await;
    let own = format!("http://{}", server.address);
    let poll = "/socket.io/?EIO=4&transport=polling";
    let many: Vec<_> = (0..30).map(|_| ("x-many", "1")).collect();
    for (method, path, headers, status) in [
        (Method::GET, "/nothing", &[][..], 404),
        (Method::GET, "/socket.io/?EIO=4&transport=carrier-pigeon", &[], 400),
        (Method::GET, "/socket.io/?EIO=3&transport=polling", &[], 400),
        (Method::PUT, poll, &[], 400),
        (Method::GET, "/socket.io/?EIO=4&transport=websocket", &[], 400),
        (Method::GET, poll, &[("origin", "http://evil.example")], 403),
        // A `Host` besides the authority does not change the request's target.
        (Method::GET, poll, &[("origin", "http://evil.example"), ("host", "evil.example")], 403),
        (Method::GET, poll, &[("origin", &own)], 200),
        (Method::GET, poll, &many, 431),
        // Over HTTP/2 a WebSocket is not requested with GET.
        (Method::GET, "/ws", &[("sec-websocket-version", "13")], 405),
    ] {
        let answer = client.request(method.clone(), path, headers, "").await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.body);
        assert!(!answer.headers.contains_key("connection"));
    }
}

#[tokio::test]
async fn a_session_knows_host_and_cookies_as_over_http_1() {
    let server = Server::with(|_| {}).await;
    server.io.websocket("/told").on_connect(|socket: &switchboard::WebSocket| {
        let handshake = socket.handshake();
        let cookie = handshake.header("cookie").unwrap_or_default();
        socket.send(format!("{} {cookie}", handshake.header("host").unwrap_or_default()).as_str())
    });
    let mut client = Http2::connect(&server).await;
    let (_, socket) = client.try_websocket("/told", &[("cookie", "a=1"), ("cookie", "b=2")]).await;
    socket.unwrap().expect(&format!("{} a=1; b=2", server.address)).await;
}

#[tokio::test]
async fn a_preface_that_comes_byte_by_byte_is_taken_and_other_methods_are_not_it() {
    let server = Server::with(|_| {}).await;
    let mut client = server.connect().await;
    client.stream.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    // The server's settings, then its acknowledgement of ours.
    client.until(b"\0\0\0\x04\x01\0\0\0\0").await;
    for method in ["POST", "PUT", "PROPFIND", "PRINT", "P", "PR", "PRIX"] {
        let mut client = server.connect().await;
        let request = format!("{method} /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        for piece in request.as_bytes().chunks(1) {
            client.stream.write_all(piece).await.unwrap();
        }
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{method}: {answer}");
    }
}

#[tokio::test]
async fn where_it_is_off_its_preface_is_refused() {
    let mut options = ListenerOptions::default();
    options.http2.enabled = false;
    let server = Server::start(Switchboard::builder().workers(1).listener(options)).await;
    assert!(server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.is_cut().await);
}

#[tokio::test]
async fn a_connection_is_counted() {
    let server = Server::with(|_| {}).await;
    let before = metric("switchboard_http2_connections_total", "");
    let _client = Http2::connect(&server).await;
    assert!(metric("switchboard_http2_connections_total", "") > before);
}
