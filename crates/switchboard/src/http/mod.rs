//! The HTTP side: which requests are ours, what is answered to them, and the ways in (own listener, tower, hyper).

pub(crate) mod body;
mod compress;
pub(crate) mod cors;
pub(crate) mod decide;
pub(crate) mod etag;
mod finish;
pub(crate) mod hixie;
pub(crate) mod http2;
pub(crate) mod routes;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod wire;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use switchboard_protocol::engineio::ErrorCode;

/// A whole answer.
pub(crate) type Answer = Response<Bytes>;

/// Marks an answer to a poll that is not to be compressed.
#[derive(Clone, Copy)]
pub(crate) struct Uncompressed;

pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// 200 with text, never to be cached.
pub(crate) fn text(body: Bytes) -> Answer {
    let mut answer = answer(StatusCode::OK, "text/plain; charset=UTF-8", body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An error of Engine.IO, as Node words it.
pub(crate) fn engine_error(code: ErrorCode) -> Answer {
    refused("engine", code.message());
    engine_answer(code, Bytes::from_static(code.json_body().as_bytes()))
}

/// An error of Engine.IO with a message of its own.
pub(crate) fn engine_error_with(code: ErrorCode, message: &str) -> Answer {
    refused("engine", code.message());
    engine_answer(code, code.json_body_with(message).into())
}

fn engine_answer(code: ErrorCode, body: Bytes) -> Answer {
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    answer(status, "application/json", body)
}

/// An error in plain words.
pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=UTF-8", body.into())
}

/// An answer without a body to a request whose own is not read to its end: the connection ends with it.
pub(crate) fn body_refused(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

pub(crate) fn refused(layer: &'static str, reason: &'static str) {
    metrics::counter!("switchboard_requests_refused_total", "layer" => layer, "reason" => reason)
        .increment(1);
    tracing::debug!(layer, reason, "request refused");
}
