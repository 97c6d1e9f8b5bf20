//! What Engine.IO answers to requests that it refuses.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use switchboard_protocol::engineio::ErrorCode;

use super::TooManySessions;
use crate::http::{Answer, RefusedFor, answer, plain, refused, refusing};

/// The code and the message of an answer that refuses a request, for those who are told of it.
#[derive(Clone)]
pub(super) struct RefusedAs {
    pub(super) code: ErrorCode,
    pub(super) message: Cow<'static, str>,
}

/// An error of Engine.IO, as Node words it.
pub(crate) fn engine_error(code: ErrorCode) -> Answer {
    refused("engine", code.message());
    engine_answer(code, Bytes::from_static(code.json_body().as_bytes()), code.message().into())
}

/// An error of Engine.IO with a message of its own.
pub(crate) fn engine_error_with(code: ErrorCode, message: &str) -> Answer {
    refused("engine", code.message());
    engine_answer(code, code.json_body_with(message).into(), message.to_owned().into())
}

fn engine_answer(code: ErrorCode, body: Bytes, message: Cow<'static, str>) -> Answer {
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = answer(status, "application/json", body);
    answer.extensions_mut().insert(RefusedAs { code, message });
    refusing(answer, code.message())
}

/// There is no place for another session.
pub(crate) fn too_many_sessions(bound: TooManySessions) -> Answer {
    refused("engine", bound.as_str());
    refusing(plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", bound.as_str())), bound.as_str())
}

/// The answer to a page whose origin is not let in.
pub(crate) fn refuse_origin(origin: &str) -> Answer {
    refused("http", "origin");
    let words = format!("origin {origin} is not allowed: see the option `origins`");
    let mut answer = engine_error_with(ErrorCode::Forbidden, &words);
    answer.extensions_mut().insert(RefusedFor("origin"));
    answer
}
