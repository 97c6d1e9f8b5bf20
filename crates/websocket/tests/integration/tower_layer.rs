//! The layer: WebSockets in front of another service.

use std::convert::Infallible;

use http::{Request, Response, request::Parts};
use http_body_util::Empty;
use hyper::body::Incoming;
use switchboard_websocket::integration::{WebSocket, tower::WebSocketService};
use tower_layer::Layer;

use crate::harness::{Client, hyper_service, listen, text, within};

#[derive(Clone)]
struct Pages;

impl tower_service::Service<Request<Incoming>> for Pages {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(Response::new(format!("a page at {}", request.uri().path()))))
    }
}

/// Sends the path of the request, and the value that middleware put into the request.
async fn greet(mut socket: WebSocket, parts: Parts) {
    socket.send(parts.uri.path()).await.unwrap();
    while let Ok(Some(_)) = socket.recv().await {}
}

#[tokio::test]
async fn requests_for_a_websocket_are_answered_and_others_passed_on() {
    let layer = WebSocketService::new(greet).into_layer().path("/socket");
    let address = listen(hyper_service(layer.layer(Pages))).await;
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let page = Request::get("http://chat.example/socket").header("host", "chat.example");
        let answer = client.send(page.body(Empty::new()).unwrap()).await;
        assert!(text(answer).await.ends_with("/socket"), "asked for with plain HTTP it is a page");

        let mut elsewhere = client.request().body(Empty::new()).unwrap();
        if matches!(client, Client::Http1(_)) {
            *elsewhere.uri_mut() = "/elsewhere".parse().unwrap();
            assert_eq!(text(client.send(elsewhere).await).await, "a page at /elsewhere");
        }

        let request = match &client {
            Client::Http1(_) => client.request().uri("/socket"),
            Client::Http2(_) => client.request().uri("http://chat.example/socket"),
        };
        let mut socket = client.open(request).await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("/socket".into()));
    }
}

#[tokio::test]
async fn a_websocket_that_is_not_in_order_is_not_passed_on() {
    let address = listen(hyper_service(WebSocketService::new(greet).into_layer().layer(Pages))).await;
    let mut client = Client::http1(address).await;
    let mut request = client.request().body(Empty::new()).unwrap();
    request.headers_mut().remove("sec-websocket-key");
    assert_eq!(client.send(request).await.status(), 400);
}
