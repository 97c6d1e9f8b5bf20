//! A connection after it has become a WebSocket.

use futures_util::future::join_all;
use http::HeaderValue;
use switchboard_websocket::{CloseCode, Config, OwnedMessage, Role, WebSocketStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{ALL, Client, serve, within};

#[tokio::test]
async fn a_websocket_is_taken_over_http_1_and_http_2() {
    for by in ALL {
        let address = serve(by).await;
        for mut client in [Client::http1(address).await, Client::http2(address).await] {
            let is_http1 = matches!(client, Client::Http1(_));
            let request = client.request().header("sec-websocket-protocol", "other, chat");
            let mut socket = within(client.open(request)).await;
            let exchange = async {
                for (sent, answer) in [("hello", "hello"), ("protocol?", "chat")] {
                    socket.send(sent).await.unwrap();
                    assert_eq!(socket.recv().await.unwrap(), Some(answer.into()), "{by:?}");
                }
                socket.send("tcp?").await.unwrap();
                let is_tcp = is_http1.to_string();
                assert_eq!(socket.recv().await.unwrap(), Some(is_tcp.into()), "{by:?} gives TCP as it is");
                let large = vec![7; 300_000];
                socket.send(large.clone()).await.unwrap();
                assert_eq!(socket.recv().await.unwrap(), Some(large.into()));
                socket.close(CloseCode::Normal, "done").await.unwrap();
            };
            within(exchange).await;
        }
    }
}

#[tokio::test]
async fn compression_is_agreed_on_over_http_1_and_http_2() {
    for by in ALL {
        let address = serve(by).await;
        for mut client in [Client::http1(address).await, Client::http2(address).await] {
            for (offer, agreed) in [("permessage-deflate", true), ("other", false)] {
                let request = client.request().header("sec-websocket-extensions", offer);
                let answer = client.send(request.body(http_body_util::Empty::new()).unwrap()).await;
                let extensions = answer.headers().get("sec-websocket-extensions");
                assert_eq!(extensions.is_some(), agreed, "{by:?}: {extensions:?}");
                let upgraded = hyper::upgrade::on(answer).await.unwrap();
                let mut socket = WebSocketStream::from_raw(
                    hyper_util::rt::TokioIo::new(upgraded),
                    Role::Client,
                    &Config::default(),
                );
                within(socket.send("deflate?")).await.unwrap();
                let said = within(socket.recv()).await.unwrap();
                assert_eq!(said, Some(agreed.to_string().into()), "a short answer is not compressed");
                if matches!(client, Client::Http1(_)) {
                    client = Client::http1(address).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn one_http_2_connection_holds_many_websockets() {
    for by in ALL {
        let mut client = Client::http2(serve(by).await).await;
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let request = client.request();
            sockets.push(client.open(request).await);
        }
        let exchanges = sockets.iter_mut().enumerate().map(|(number, socket)| async move {
            let text = number.to_string();
            socket.send(text.as_str()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
        });
        within(join_all(exchanges)).await;
        let mut first = sockets.swap_remove(0);
        within(first.close(CloseCode::Normal, "")).await.unwrap();
        sockets[3].send("still here").await.unwrap();
        assert_eq!(within(sockets[3].recv()).await.unwrap(), Some("still here".into()));
    }
}

#[tokio::test]
async fn an_answer_names_the_subprotocol_and_nothing_else_of_http_1_over_http_2() {
    for by in ALL {
        let mut client = Client::http2(serve(by).await).await;
        let request = client.request().header("sec-websocket-protocol", "chat");
        let answer = client.send(request.body(http_body_util::Empty::new()).unwrap()).await;
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert_eq!(answer.headers().get(name), None::<&HeaderValue>, "{by:?}: {name}");
        }
    }
}

/// The bytes behind an upgrade belong to the WebSocket, and are not the next request.
#[tokio::test]
async fn bytes_that_came_with_the_request_are_frames() {
    for by in ALL {
        let mut stream = TcpStream::connect(serve(by).await).await.unwrap();
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
        bytes.extend(b"\x82\x90\0\0\0\0GET / HTTP/1.1\r\n");
        within(stream.write_all(&bytes)).await.unwrap();
        let mut answer = Vec::new();
        let expected = b"\r\n\r\n\x82\x10GET / HTTP/1.1\r\n";
        while !answer.ends_with(expected) {
            assert_ne!(within(stream.read_buf(&mut answer)).await.unwrap(), 0, "{by:?}");
        }
        assert_eq!(answer.windows(4).filter(|bytes| bytes == b"HTTP").count(), 2, "one answer, one echo");
    }
}

#[tokio::test]
async fn a_connection_is_split_over_either_version() {
    use crate::harness::{hyper_service, listen};
    use switchboard_websocket::integration::{WebSocket, tower::WebSocketService};

    async fn halves(socket: WebSocket) {
        let (mut reader, mut writer) = socket.split();
        let (send, mut sent) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(message)) = reader.recv().await {
                if message.is_data() && send.send(message).await.is_err() {
                    return;
                }
            }
        });
        loop {
            tokio::select! {
                Some(message) = sent.recv() => writer.send(message).await.unwrap(),
                answered = writer.answer() => return answered.unwrap(),
            }
        }
    }
    let service = WebSocketService::new(|socket, _: http::request::Parts| halves(socket));
    let address = listen(hyper_service(service)).await;
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let request = client.request();
        let mut socket = client.open(request).await;
        let exchange = async {
            socket.send(OwnedMessage::Ping(b"?".to_vec())).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(OwnedMessage::Pong(b"?".to_vec())));
            socket.send(vec![1; 100_000]).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(vec![1; 100_000].into()));
            socket.close(CloseCode::Normal, "").await.unwrap();
        };
        within(exchange).await;
    }
}
