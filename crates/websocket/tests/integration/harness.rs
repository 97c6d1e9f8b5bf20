//! The same echo server by each of the three integrations, behind hyper-util's builder for both versions of
//! HTTP, and a client.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, response::Response, routing::any};
use bytes::Bytes;
use http::{Request, request};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use switchboard_websocket::{
    Config, OriginCheck, Role, WebSocketStream,
    deflate::DeflateOptions,
    integration::{
        WebSocket,
        axum::WebSocketUpgrade,
        hyper::{Upgrading, upgrade},
        tower::WebSocketService,
    },
};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

/// The integration that a server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Hyper,
    Tower,
    Axum,
}

pub(crate) const ALL: [By; 3] = [By::Hyper, By::Tower, By::Axum];

/// Bounds every wait of a test.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("an end within 20 seconds")
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.protocols = vec!["chat".into()];
    config.deflate = Some(DeflateOptions::default());
    config.origin = OriginCheck::list(["https://app.example"]).unwrap();
    config
}

/// Sends each message back. Some messages ask for facts about the connection.
pub(crate) async fn echo(mut socket: WebSocket) {
    while let Ok(Some(message)) = socket.recv().await {
        let answer = match message.as_str() {
            Some("protocol?") => socket.protocol().unwrap_or("none").into(),
            Some("deflate?") => socket.deflate().is_some().to_string().into(),
            Some("tcp?") => socket.get_ref().as_tcp().is_some().to_string().into(),
            _ => message,
        };
        if answer.is_data() && socket.send(answer).await.is_err() {
            return;
        }
    }
}

async fn by_hyper(mut request: Request<Incoming>) -> Result<http::Response<String>, Infallible> {
    async fn serve(upgrading: Upgrading) {
        echo(upgrading.await.unwrap()).await;
    }
    Ok(match upgrade(&mut request, &config()) {
        Ok((response, upgrading)) => {
            tokio::spawn(serve(upgrading));
            response
        }
        Err(refused) => refused.response(),
    })
}

async fn by_axum(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["chat"]).origin(config().origin).deflate(DeflateOptions::default()).on_upgrade(echo)
}

/// Serves on a free port, over both versions of HTTP.
pub(crate) async fn serve(by: By) -> SocketAddr {
    match by {
        By::Hyper => listen(service_fn(by_hyper)).await,
        By::Tower => {
            let service = WebSocketService::new(|socket, _: request::Parts| echo(socket)).config(config());
            listen(hyper_service(service)).await
        }
        By::Axum => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = Router::new().route("/", any(by_axum));
            tokio::spawn(async move { axum::serve(listener, app).await });
            address
        }
    }
}

/// Makes a service of hyper from a tower service.
pub(crate) fn hyper_service<S>(service: S) -> hyper_util::service::TowerToHyperService<S> {
    hyper_util::service::TowerToHyperService::new(service)
}

pub(crate) async fn listen<S, B>(service: S) -> SocketAddr
where
    S: hyper::service::Service<Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().enable_connect_protocol();
                builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
            });
        }
    });
    address
}

/// A client's connection, which sends one request after another.
pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    pub(crate) async fn http1(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self::Http1(send)
    }

    pub(crate) async fn http2(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let executor = TokioExecutor::new();
        let (send, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        // The server's settings come with its first frames, before the first answer.
        let mut client = Self::Http2(send);
        let plain = Request::get("http://a/").body(Empty::new()).unwrap();
        client.send(plain).await;
        client
    }

    pub(crate) async fn send(&mut self, request: Request<Empty<Bytes>>) -> http::Response<Incoming> {
        let answer = match self {
            Self::Http1(send) => within(send.send_request(request)).await,
            Self::Http2(send) => within(send.send_request(request)).await,
        };
        answer.unwrap()
    }

    /// A request for a WebSocket in the form of this version of HTTP.
    pub(crate) fn request(&self) -> request::Builder {
        let builder = Request::builder().header("sec-websocket-version", "13");
        match self {
            Self::Http1(_) => builder
                .uri("/")
                .header("host", "chat.example")
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            Self::Http2(_) => builder
                .method("CONNECT")
                .uri("http://chat.example/")
                .extension(hyper::ext::Protocol::from_static("websocket")),
        }
    }

    /// Opens a WebSocket.
    pub(crate) async fn open(
        &mut self,
        request: request::Builder,
    ) -> WebSocketStream<TokioIo<hyper::upgrade::Upgraded>> {
        let response = self.send(request.body(Empty::new()).unwrap()).await;
        assert_eq!(response.status(), if matches!(self, Self::Http1(_)) { 101 } else { 200 });
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        WebSocketStream::from_raw(TokioIo::new(upgraded), Role::Client, &Config::default())
    }
}

/// The text of an answer.
pub(crate) async fn text<B: hyper::body::Body>(response: http::Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    let body = within(response.into_body().collect()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// Calls a service with a request that no HTTP server received.
pub(crate) async fn call<S>(mut service: S, request: Request<Body>) -> S::Response
where
    S: Service<Request<Body>, Error = Infallible>,
{
    service.call(request).await.unwrap()
}
