//! The requests of a client, and the connections it gets.

use std::time::Duration;

use switchboard_websocket::{CloseCode, Config, OwnedMessage, WebSocketStream, client::Client};
use tokio::net::TcpListener;

use crate::servers::{Heard, each, echo, echo_server, nobody, soon};

#[tokio::test]
async fn a_client_connects_talks_and_closes() {
    let (address, heard) = echo_server().await;
    for url in [format!("ws://{address}/a?b=c"), format!("http://localhost:{}/a?b=c", address.port())] {
        let mut socket = soon(WebSocketStream::connect(&url, &Config::default())).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()));
        soon(socket.close(CloseCode::Normal, "")).await.unwrap();
        let request = heard.take().remove(0);
        assert_eq!(request.uri, "/a?b=c");
        assert_eq!(request.headers["host"], url.split('/').nth(2).unwrap());
        assert!(!request.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn a_client_whose_limits_are_the_longest_connects() {
    let (address, _) = echo_server().await;
    for url in [format!("ws://{address}/"), format!("ws://localhost:{}/", address.port())] {
        let client = Client::new(url)
            .connect_timeout(Duration::MAX)
            .tls_timeout(Duration::MAX)
            .handshake_timeout(Duration::MAX)
            .timeout(Duration::MAX);
        let mut socket = soon(client.connect()).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()));
    }
}

#[tokio::test]
async fn an_ipv6_address_is_connected_to() {
    // A machine without IPv6 has nothing to test.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let heard = Heard::default();
    let noted = heard.clone();
    each(listener, move |stream| echo(stream, noted.clone()));
    soon(Client::new(&url).connect()).await.unwrap();
    assert_eq!(heard.take()[0].headers["host"], url[5..url.len() - 1]);
}

#[tokio::test]
async fn headers_user_and_subprotocols_go_with_the_request() {
    let (address, heard) = echo_server().await;
    let client = Client::new(format!("ws://me:se%20cret@{address}/räume"))
        .header("Cookie", "a=b")
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .subprotocol("chat")
        .subprotocol("superchat");
    let (socket, answer) = soon(client.connect_response()).await.unwrap();
    assert_eq!(socket.protocol(), Some("chat"));
    assert_eq!(answer.headers["sec-websocket-protocol"], "chat");
    let request = heard.take().remove(0);
    assert_eq!(request.uri, "/r%C3%A4ume");
    assert_eq!(request.headers["authorization"], "Basic bWU6c2UgY3JldA==");
    assert_eq!(request.headers["cookie"], "a=b");
    assert_eq!(request.headers.get_all("x-twice").iter().count(), 2);
    assert_eq!(request.headers["sec-websocket-protocol"], "chat, superchat");

    // A header has priority over the user in the URL. A client can connect again.
    let client = client.header("Authorization", "Bearer x");
    for _ in 0..2 {
        soon(client.connect()).await.unwrap();
        assert_eq!(heard.take()[0].headers["authorization"], "Bearer x");
    }
    let shown = format!("{client:?}");
    assert!(!shown.contains("Bearer") && !shown.contains("a=b"), "secrets in {shown}");
}

#[tokio::test]
async fn the_first_address_that_connects_is_taken() {
    let (address, heard) = echo_server().await;
    let client = Client::new("ws://example.invalid:1234/").address(nobody().await).address(address);
    let socket = soon(client.connect()).await.unwrap();
    let tcp = socket.get_ref().tcp().unwrap();
    assert_eq!(tcp.peer_addr().unwrap(), address);
    assert!(tcp.nodelay().unwrap());
    assert_eq!(heard.take()[0].headers["host"], "example.invalid:1234", "the URL's host, wherever it is");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_domain_socket_is_connected_to() {
    let folder = std::env::temp_dir().join(format!("switchboard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("echo.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let heard = Heard::default();
    let noted = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream, noted.clone()));
        }
    });
    let client = Client::new("ws://localhost/x").unix_socket(&path);
    let mut socket = soon(client.connect()).await.unwrap();
    assert!(socket.get_ref().tcp().is_none());
    socket.send("hello").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()));
    assert_eq!(heard.take()[0].headers["host"], "localhost");
    let (mut reader, mut writer) = socket.split();
    writer.send("in two halves").await.unwrap();
    assert_eq!(soon(reader.recv()).await.unwrap(), Some("in two halves".into()));
    std::fs::remove_dir_all(&folder).unwrap();
    let error = soon(client.connect()).await.unwrap_err().to_string();
    assert!(error.contains("echo.sock"), "{error}");
}

#[tokio::test]
async fn limits_come_from_the_configuration() {
    let (address, _) = echo_server().await;
    let mut config = Config::default();
    config.limits = config.limits.max_message_bytes(10);
    let client = Client::new(format!("ws://{address}/")).config(config);
    let mut socket = soon(client.connect()).await.unwrap();
    socket.send("this is too long").await.unwrap();
    let error = soon(socket.recv()).await.unwrap_err();
    assert_eq!(error.to_string(), "a message of 16 bytes or more is over the limit of 10");
}

#[tokio::test]
async fn a_connection_can_be_opened_by_any_task() {
    let (address, _) = echo_server().await;
    let client = Client::new(format!("ws://{address}/")).timeout(Duration::MAX);
    let opening = tokio::spawn(async move { client.connect().await });
    let mut socket = soon(opening).await.unwrap().unwrap();
    tokio::spawn(async move { socket.send(OwnedMessage::Ping(Vec::new())).await }).await.unwrap().unwrap();
}
