//! Answers as bytes of HTTP/1.1, for the ways that do without hyper.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use http::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};

use super::Answer;
use crate::transport::wire::Wire;

/// The head of an answer as it is.
pub(crate) fn write_head<B>(response: &Response<B>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in response.headers() {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// An answer as it goes out, with its date and its length; a body in pieces follows as chunks. `kept_for`:
/// how long the connection is kept, if it does not end with the answer.
pub(crate) fn write_answer(answer: &Answer, kept_for: Option<Duration>, out: &mut Vec<u8>) {
    write_head(answer, out);
    // The head's empty line comes behind these.
    out.truncate(out.len().saturating_sub(2));
    match kept_for {
        _ if answer.headers().contains_key(CONNECTION) => {}
        None => out.extend_from_slice(b"connection: close\r\n"),
        Some(time) => {
            out.extend_from_slice(b"connection: keep-alive\r\nkeep-alive: timeout=");
            out.extend_from_slice(itoa::Buffer::new().format(time.as_secs()).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    write_date(answer, out);
    let Some(body) = answer.body().as_whole() else {
        return out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    };
    if !answer.headers().contains_key(CONTENT_LENGTH) {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// The head of a streaming answer over HTTP/1, as it goes out, with its date. The connection ends with the
/// answer.
pub(crate) fn write_streaming_head<B>(response: &Response<B>, wire: Wire, out: &mut Vec<u8>) {
    write_head(response, out);
    // The head's empty line comes behind these.
    out.truncate(out.len().saturating_sub(2));
    if !response.headers().contains_key(CONNECTION) {
        out.extend_from_slice(b"connection: close\r\n");
    }
    write_date(response, out);
    out.extend_from_slice(if wire == Wire::Chunks {
        &b"transfer-encoding: chunked\r\n\r\n"[..]
    } else {
        b"\r\n"
    });
}

fn write_date<B>(response: &Response<B>, out: &mut Vec<u8>) {
    if !response.headers().contains_key(DATE) {
        out.extend_from_slice(b"date: ");
        with_date(|date| out.extend_from_slice(date));
        out.extend_from_slice(b"\r\n");
    }
}

/// The date as HTTP has it, which is put into words once a second.
fn with_date(f: impl FnOnce(&[u8])) {
    thread_local! {
        static WORDS: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WORDS.with_borrow_mut(|(of, words)| {
        if *of != seconds || words.is_empty() {
            (*of, *words) = (seconds, httpdate::fmt_http_date(now));
        }
        f(words.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::http::plain;

    #[test]
    fn an_answer_tells_its_length_its_date_and_how_long_the_connection_is_kept() {
        for (kept_for, told) in [
            (None, "connection: close"),
            (Some(Duration::from_secs(65)), "connection: keep-alive\r\nkeep-alive: timeout=65"),
        ] {
            let mut out = Vec::new();
            write_answer(&plain(StatusCode::OK, "words"), kept_for, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.ends_with("\r\ncontent-length: 5\r\n\r\nwords"), "{text}");
            assert!(text.contains(&format!("\r\n{told}\r\ndate: ")), "{text}");
            assert!(text.contains(" GMT\r\n"), "{text}");
        }
    }
}
