//! A connection of HTTP requests, by way of hyper.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::FallbackBody;
use super::rewind::Rewind;
use crate::Peer;
use crate::http::serve::{Served, serve as serve_request};
use crate::http::service::ResponseBody;
use crate::http::{Answer, plain};
use crate::switchboard::Inner;

/// Bytes of a body that are read in one piece, unless heads may be longer.
const READ_BUFFER: usize = 64 << 10;

/// Serves requests until the connection ends or becomes another.
pub(super) async fn serve(inner: &Arc<Inner>, stream: Rewind, peer: Peer) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let inner = Arc::clone(inner);
        let peer = inner.proxies.resolve(peer, request.headers());
        request.extensions_mut().insert(peer);
        if let Some(address) = peer.address {
            request.extensions_mut().insert(address);
        }
        let serving = serve_request(&inner, request, peer);
        async move {
            Ok::<_, Infallible>(match serving.await {
                Served::Answer(answer) => own(answer),
                Served::Pass(request) => fallback(&inner, request).await,
            })
        }
    });
    let options = &inner.listener;
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_headers(options.max_headers)
        .max_header_size(options.max_head_bytes)
        .max_buf_size(options.max_head_bytes.max(READ_BUFFER))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut closed = inner.closed.subscribe();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closed.wait_for(|closed| *closed) => {
            // One that is idle ends at once, another with the answer to its request.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        count(&error);
    }
}

fn count(error: &hyper::Error) {
    let reason = match error {
        error if error.is_timeout() => {
            return metrics::counter!("switchboard_head_timeouts_total").increment(1);
        }
        error if error.is_parse_too_large() => "head too large",
        error if error.is_parse() => "not HTTP",
        error if error.is_incomplete_message() => "incomplete request",
        _ => "connection lost",
    };
    metrics::counter!("switchboard_http_errors_total", "reason" => reason).increment(1);
    tracing::debug!(%error, reason, "an HTTP connection failed");
}

fn own(answer: Answer) -> Response<ResponseBody<FallbackBody>> {
    answer.map(|body| Either::Left(Full::new(body)))
}

async fn fallback(inner: &Inner, request: Request<Incoming>) -> Response<ResponseBody<FallbackBody>> {
    let Some(fallback) = inner.fallback.get() else {
        return own(plain(StatusCode::NOT_FOUND, "not found\n"));
    };
    match fallback.call(request).await {
        Ok(response) => response.map(Either::Right),
        Err(error) => {
            metrics::counter!("switchboard_fallback_errors_total").increment(1);
            tracing::warn!(%error, "the fallback service failed");
            own(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
        }
    }
}
