//! What old clients are answered, beside packets.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use switchboard_protocol::socketio09::{Advice, Reason, write_error, write_jsonp};
use switchboard_protocol::{socketio06, socketio09};

use super::Version;
use crate::http::{Answer, answer, plain, refused};
use crate::transport::framing::Page;

const SCRIPT: &str = "text/javascript; charset=UTF-8";

/// The form in which a poll is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PollForm {
    Xhr,
    /// By a script with this index among those of its page.
    Script(Box<str>),
}

/// The answer to a poll.
pub(super) fn polled(version: Version, form: &PollForm, body: &str) -> Answer {
    let script = |write: fn(&mut Vec<u8>, &str, &str), index: &str| {
        let mut script = Vec::with_capacity(body.len() + body.len() / 8 + 24);
        write(&mut script, index, body);
        script_answer(SCRIPT, script)
    };
    match (version, form) {
        (_, PollForm::Xhr) => {
            answer(StatusCode::OK, "text/plain; charset=UTF-8", Bytes::copy_from_slice(body.as_bytes()))
        }
        (Version::V09, PollForm::Script(index)) => script(write_jsonp, index),
        (Version::V06, PollForm::Script(index)) => script(socketio06::write_jsonp, index),
    }
}

fn script_answer(content_type: &'static str, script: Vec<u8>) -> Answer {
    let mut answer = answer(StatusCode::OK, content_type, script);
    // Old browsers of Microsoft take the call for a reflected one.
    answer.headers_mut().insert(HeaderName::from_static("x-xss-protection"), HeaderValue::from_static("0"));
    answer
}

/// The answer to a POST.
pub(super) fn posted(version: Version) -> Answer {
    match version {
        Version::V09 => answer(StatusCode::OK, "text/plain; charset=UTF-8", Bytes::from_static(b"1")),
        Version::V06 => answer(StatusCode::OK, "text/plain", Bytes::from_static(b"ok")),
    }
}

/// The error packet that tells a client of 0.9 to begin anew.
pub(super) fn not_handshaken() -> String {
    let mut packet = Vec::new();
    write_error(&mut packet, "/", Reason::ClientNotHandshaken, Advice::Reconnect);
    String::from_utf8(packet).unwrap_or_default()
}

/// The answer to a request of a session that is not known. 0.6 has no words for it.
pub(super) fn unknown(version: Version, form: Option<&PollForm>) -> Answer {
    refused("socketio09", "unknown session");
    match (version, form) {
        (Version::V09, Some(form)) => polled(version, form, &not_handshaken()),
        (Version::V09, None) => plain(StatusCode::BAD_REQUEST, not_handshaken()),
        (Version::V06, _) => closing(StatusCode::BAD_REQUEST),
    }
}

/// An answer without a word, behind which the connection ends.
pub(super) fn closing(status: StatusCode) -> Answer {
    crate::http::body_refused(status)
}

/// The answer to a handshake of 0.9. A script is told errors, too, with a 200.
pub(super) fn handshake(index: Option<&str>, result: Result<&str, (StatusCode, &'static str)>) -> Answer {
    let Some(index) = index else {
        return match result {
            Ok(words) => answer(StatusCode::OK, "text/plain", Bytes::copy_from_slice(words.as_bytes())),
            Err((status, words)) => answer(status, "text/plain", Bytes::from_static(words.as_bytes())),
        };
    };
    let mut script = Vec::with_capacity(128);
    match result {
        Ok(words) => write_jsonp(&mut script, index, words),
        Err((_, words)) => {
            let mut error = Vec::new();
            socketio09::write_js_string(&mut error, words);
            script.extend_from_slice(format!("io.j[{index}](new Error(").as_bytes());
            script.extend_from_slice(&error);
            script.extend_from_slice(b"));");
        }
    }
    script_answer("application/javascript", script)
}

/// The answer at the bare path.
pub(super) fn welcome() -> Answer {
    plain(StatusCode::OK, "Welcome to socket.io.")
}

/// The answer to a client of a protocol that there is not.
pub(super) fn other_protocol() -> Answer {
    refused("socketio09", "protocol version");
    plain(StatusCode::INTERNAL_SERVER_ERROR, "Protocol version not supported.")
}

/// The answer to a page whose origin is not let in.
pub(super) fn bad_origin(origin: &str) -> Answer {
    refused("http", "origin");
    plain(StatusCode::FORBIDDEN, format!("origin {origin} is not allowed: see the option `origins`\n"))
}

/// The head of an answer that streams.
pub(super) fn streamed(page: Page) -> Response<()> {
    let content_type = match page {
        Page::Htmlfile09 => "text/html; charset=UTF-8",
        Page::Htmlfile06 => "text/html",
        Page::Multipart06 => "multipart/x-mixed-replace;boundary=\"socketio\"",
    };
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
