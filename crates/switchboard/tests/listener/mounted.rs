//! Mounted in an axum application that hyper serves: the behaviour that depends on hyper's options.

use std::net::SocketAddr;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use switchboard::{Message, Switchboard, WebSocket};
use tokio::net::{TcpListener, TcpStream};

use crate::drafts::{ANSWER, BODY, hixie_75, hixie_76, hixie_frame};
use crate::harness::Client;

/// Serves the router by hyper, on a runtime with several threads, none of which is a worker.
pub(crate) fn serve(router: Router, set_up: fn(&mut auto::Builder<TokioExecutor>)) -> SocketAddr {
    let (tell, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().enable_connect_protocol();
                    set_up(&mut builder);
                    // A client may close as it likes.
                    let _gone = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    address.recv().unwrap()
}

/// A server that accepts drafts, with an echo at `/ws`.
fn server(set_up: fn(&mut auto::Builder<TokioExecutor>)) -> (Switchboard, SocketAddr) {
    let io = Switchboard::builder().workers(1).drafts(true).build().unwrap();
    io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let address = serve(Router::new().layer(io.layer()), set_up);
    (io, address)
}

fn with_capitals(builder: &mut auto::Builder<TokioExecutor>) {
    builder.http1().title_case_headers(true);
}

async fn connect(address: SocketAddr) -> Client {
    Client { stream: TcpStream::connect(address).await.unwrap() }
}

#[tokio::test]
async fn hixie_75_has_the_lines_that_it_compares_from_a_hyper_that_writes_names_with_capitals() {
    let compared =
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
    for capitals in [false, true] {
        let (_io, address) = server(if capitals { with_capitals } else { |_| {} });
        let mut client = connect(address).await;
        client.send(hixie_75("/ws")).await;
        let head = client.head().await;
        assert_eq!(head.starts_with(compared), capitals, "{head}");
        assert!(head.to_lowercase().contains("\r\nwebsocket-location: ws://localhost/ws\r\n"), "{head}");
        client.send(hixie_frame("hello")).await;
        client.until(hixie_frame("hello")).await;
    }
}

#[tokio::test]
async fn hixie_76_takes_names_as_hyper_writes_them() {
    let (_io, address) = server(|_| {});
    let mut client = connect(address).await;
    client.send([hixie_76("/ws").as_bytes(), BODY].concat()).await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 WebSocket Protocol Handshake\r\nupgrade: WebSocket\r\n"),
        "{head}"
    );
    client.until(ANSWER).await;
    client.send(hixie_frame("hello")).await;
    client.until(hixie_frame("hello")).await;
}
