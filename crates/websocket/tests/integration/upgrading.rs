//! The future of a connection, polled and dropped before it is ready.

use std::{convert::Infallible, future::poll_fn, pin::Pin, task::Poll};

use http::{Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, service::service_fn};
use switchboard_websocket::integration::hyper::{Upgrading, upgrade};
use tokio::io::AsyncReadExt;

use crate::harness::{Client, config, echo, listen, within};

/// Polls it before the request is answered, when it cannot be ready.
async fn poll_too_early(upgrading: &mut Upgrading) {
    let early = poll_fn(|cx| Poll::Ready(Pin::new(&mut *upgrading).poll(cx).is_ready())).await;
    assert!(!early, "a connection before it was answered");
}

async fn wait(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(match upgrade(&mut request, &config()) {
        Ok((response, mut upgrading)) => {
            for _ in 0..3 {
                poll_too_early(&mut upgrading).await;
            }
            tokio::spawn(async move { echo(upgrading.await.unwrap()).await });
            response
        }
        Err(refused) => refused.response(),
    })
}

async fn give_up(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(match upgrade(&mut request, &config()) {
        Ok((response, mut upgrading)) => {
            poll_too_early(&mut upgrading).await;
            drop(upgrading);
            response
        }
        Err(refused) => refused.response(),
    })
}

#[tokio::test]
async fn a_wait_for_a_connection_that_is_dropped_can_be_begun_again() {
    let address = listen(service_fn(wait)).await;
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let request = client.request();
        let mut socket = within(client.open(request)).await;
        within(socket.send("hello")).await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    }
}

#[tokio::test]
async fn a_connection_to_come_that_is_dropped_has_ended() {
    let address = listen(service_fn(give_up)).await;
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let request = client.request().body(Empty::new()).unwrap();
        let response = client.send(request).await;
        let upgraded = within(hyper::upgrade::on(response)).await.unwrap();
        let mut io = hyper_util::rt::TokioIo::new(upgraded);
        let mut bytes = Vec::new();
        let read = within(io.read_to_end(&mut bytes)).await;
        assert!(bytes.is_empty(), "{read:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_given_is_not_given_again() {
    async fn twice(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        Ok(match upgrade(&mut request, &config()) {
            Ok((response, mut upgrading)) => {
                tokio::spawn(async move {
                    let mut socket = (&mut upgrading).await.unwrap();
                    let again = (&mut upgrading).await.unwrap_err().to_string();
                    socket.send(again).await.unwrap();
                });
                response
            }
            Err(refused) => refused.response(),
        })
    }
    let mut client = Client::http1(listen(service_fn(twice)).await).await;
    let request = client.request();
    let mut socket = within(client.open(request)).await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some("the connection is closed".into()));
}
