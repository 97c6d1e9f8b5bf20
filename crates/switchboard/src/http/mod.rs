//! Reading and answering requests. It knows no protocol: these are mounted at paths ([`mount`]).

pub(crate) mod admission;
pub(crate) mod body;
mod compress;
pub(crate) mod cors;
mod etag;
pub(crate) mod files;
pub(crate) mod finish;
pub(crate) mod hixie;
pub(crate) mod hooks;
pub(crate) mod http2;
pub(crate) mod mount;
pub(crate) mod request_body;
mod script;
pub(crate) mod streams;
pub(crate) mod upgrade;
pub(crate) mod wire;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

pub use body::Body;

/// An answer.
pub type Answer = Response<Body>;

pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
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

/// An error in plain words.
pub(crate) fn plain(status: StatusCode, body: impl Into<Body>) -> Answer {
    answer(status, "text/plain; charset=UTF-8", body)
}

/// An answer without a body to a request whose own is not read to its end: the connection ends with it.
pub(crate) fn body_refused(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The reason of an answer that refuses a request, for those who are told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedFor(pub(crate) &'static str);

/// Gives the answer that refuses a request its reason, if it has none.
pub(crate) fn refusing(mut answer: Answer, reason: &'static str) -> Answer {
    answer.extensions_mut().get_or_insert_with(|| RefusedFor(reason));
    answer
}

pub(crate) fn refused(layer: &'static str, reason: &'static str) {
    metrics::counter!("switchboard_requests_refused_total", "layer" => layer, "reason" => reason)
        .increment(1);
    tracing::debug!(layer, reason, "request refused");
}
