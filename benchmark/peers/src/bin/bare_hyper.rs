//! The polling floor: a bare hyper HTTP/1.1 server that answers every POST with `ok` and every other request
//! with one fixed body, which holds the event a polling client waits for.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

/// The very packet the load generator posts: `4` message, `2` event, name and 20 bytes of payload.
const POLLED: &[u8] = br#"42["echo","abcdefghijklmnopqrst"]"#;

fn main() -> std::io::Result<()> {
    peers::run(async {
        let listener = peers::listen_async();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let reply: &'static [u8] = if parts.method == Method::POST {
        // A message server must read what was posted; so does its floor.
        let _ = body.collect().await;
        b"ok"
    } else {
        POLLED
    };
    let mut response = Response::new(Full::new(Bytes::from_static(reply)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    Ok(response)
}
