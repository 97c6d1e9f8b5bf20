//! A handshake that is dropped drops its connection too. It has sent at most the beginning of its text.

use std::pin::pin;

use switchboard_websocket::{Config, Error, WebSocketStream, handshake::accept_key};

use crate::{
    at_each_point,
    trickle::{Trickle, cut},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_while_it_shakes_hands_has_dropped_the_connection() {
    let points = at_each_point(async |polls| {
        let (io, outside) = Trickle::new(REQUEST, 1);
        let accepted = cut(WebSocketStream::accept(io, &Config::default()), polls).await;
        let output = String::from_utf8(outside.output()).unwrap();
        let line = outside.line();
        match &accepted {
            None => assert!(line.is_dropped && output.is_empty(), "after {polls} polls: {output}"),
            Some(socket) => {
                assert!(socket.is_ok() && !line.is_dropped);
                assert_eq!(output, ANSWER);
            }
        }
        accepted.is_some()
    })
    .await;
    assert!(points > REQUEST.len() + ANSWER.len(), "a wait for each byte");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_while_it_refuses_has_dropped_the_connection() {
    at_each_point(async |polls| {
        let (io, outside) = Trickle::new(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
        let refused = cut(WebSocketStream::accept(io, &Config::default()), polls).await;
        let line = outside.line();
        assert!(line.is_dropped);
        if let Some(refused) = &refused {
            assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
            assert!(line.output.starts_with(b"HTTP/1.1 405 ") && line.is_shut);
        }
        refused.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_while_it_shakes_hands_has_dropped_the_connection() {
    let points = at_each_point(async |polls| {
        let (io, outside) = Trickle::new(&[], 1);
        let config = Config::default();
        let mut connected = None;
        {
            let mut asking = pin!(WebSocketStream::connect_over(io, "ws://a.example/b", &config));
            for _ in 0..polls {
                connected = cut(asking.as_mut(), 1).await;
                if connected.is_some() {
                    break;
                }
                let mut line = outside.line();
                if line.input.is_empty() && line.output.ends_with(b"\r\n\r\n") {
                    line.input = answer(&line.output);
                }
            }
        }
        let line = outside.line();
        assert!(line.output.is_empty() || line.output.starts_with(b"GET /b HTTP/1.1\r\nHost: a.example\r\n"));
        assert!(line.output.windows(4).filter(|end| end == b"\r\n\r\n").count() <= 1, "one request");
        assert_eq!(line.is_dropped, connected.is_none(), "after {polls} polls");
        drop(line);
        connected.transpose().unwrap().is_some()
    })
    .await;
    assert!(points > REQUEST.len() + ANSWER.len(), "a wait for each byte");
}

/// The answer to a request.
fn answer(request: &[u8]) -> Vec<u8> {
    let request = std::str::from_utf8(request).unwrap();
    let (_, behind) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    let accept = accept_key(behind.split("\r\n").next().unwrap().as_bytes());
    ANSWER.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", std::str::from_utf8(&accept).unwrap()).into_bytes()
}
