//! The facts that the extractor gives a handler.

use axum::{
    Router,
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
    routing::any,
};
use http::Request;
use switchboard_websocket::{
    OriginCheck,
    handshake::server::HandshakeError,
    integration::axum::{WebSocketUpgrade, WebSocketUpgradeRejection},
};
use tokio::{net::TcpListener, sync::mpsc};

use crate::harness::{Client, call, echo, text, within};

fn request() -> Request<Body> {
    Request::get("/")
        .header("host", "a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty())
        .unwrap()
}

async fn extract(request: Request<Body>) -> Result<WebSocketUpgrade, WebSocketUpgradeRejection> {
    WebSocketUpgrade::from_request_parts(&mut request.into_parts().0, &()).await
}

#[tokio::test]
async fn a_rejection_names_the_fault() {
    let mut post = request();
    *post.method_mut() = http::Method::POST;
    let rejection = extract(post).await.unwrap_err();
    assert_eq!(rejection.error(), &HandshakeError::Method { method: http::Method::POST });
    assert_eq!(rejection.to_string(), rejection.error().to_string());
    assert_eq!(rejection.into_response().status(), 405);
}

#[tokio::test]
async fn a_connection_that_cannot_be_upgraded_is_the_servers_fault() {
    let rejection = extract(request()).await.unwrap_err();
    assert_eq!(rejection.error(), &HandshakeError::NotUpgradable);
    assert_eq!(rejection.into_response().status(), 500);
}

#[tokio::test]
async fn a_page_and_a_websocket_share_a_path() {
    async fn either(upgrade: Option<WebSocketUpgrade>) -> Response {
        match upgrade {
            Some(upgrade) => upgrade.on_upgrade(echo),
            None => "a page".into_response(),
        }
    }
    let app = Router::new().route("/", any(either));
    let page = call(app.clone(), Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(text(page).await, "a page");
    let mut no_key = request();
    no_key.headers_mut().remove("sec-websocket-key");
    assert_eq!(call(app.clone(), no_key).await.status(), 400, "not in order is not none");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let request = client.request();
        let mut socket = client.open(request).await;
        within(socket.send("hello")).await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    }
}

#[tokio::test]
async fn a_handler_sees_the_request_and_sets_the_options_that_differ() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = async move |upgrade: WebSocketUpgrade| {
        tell.send(upgrade.requested_protocols().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        let upgrade = upgrade.protocols(["two", "three"]).origin(OriginCheck::any()).max_message_size(5);
        tell.send(upgrade.selected_protocol().into_iter().map(str::to_owned).collect()).unwrap();
        upgrade.on_upgrade(echo)
    };
    let app = Router::new().route("/", any(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let request = client.request().header("sec-websocket-protocol", "one, two").header("origin", "null");
        let mut socket = client.open(request).await;
        assert_eq!(told.recv().await.unwrap(), ["one", "two"]);
        assert_eq!(told.recv().await.unwrap(), ["two"]);
        within(socket.send("protocol?")).await.unwrap();
        let closed = within(socket.recv()).await.unwrap().unwrap();
        assert!(
            matches!(closed.as_bytes(), reason if reason.starts_with(b"a message of 9 bytes")),
            "{closed:?}"
        );
    }
}

#[tokio::test]
async fn a_handler_hears_of_an_upgrade_that_failed() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = async move |upgrade: WebSocketUpgrade| {
        let tell = tell.clone();
        // An answer that is dropped upgrades nothing.
        let _ =
            upgrade.on_failed_upgrade(move |error| tell.send(error.to_string()).unwrap()).on_upgrade(echo);
        "something else"
    };
    let app = Router::new().route("/", any(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = Client::http1(address).await;
    // The second request on the connection ends the future of the first one.
    for _ in 0..2 {
        let request = client.request().body(http_body_util::Empty::new()).unwrap();
        assert_eq!(text(client.send(request).await).await, "something else");
    }
    assert!(!within(told.recv()).await.unwrap().is_empty());
}
