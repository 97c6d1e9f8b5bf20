//! An HTTP answer that was not asked for. Its head and the first bytes of its body (RFC 9112 §6) are kept to
//! tell the reason.

use std::{error::Error, fmt, time::Duration};

use bytes::BytesMut;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    response::Parts,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// The most bytes of a body that are kept.
const MAX_BODY: usize = 4096;
/// The most bytes of a body in an error's text.
const SHOWN: usize = 200;
/// The most time to wait for the end of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A server's answer with another status than 101, or a proxy's with another than 2xx.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejection {
    /// The status and headers.
    pub head: Parts,
    /// The first bytes of the body: at most 4096, and those that came within a second.
    pub body: Vec<u8>,
}

impl Rejection {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Reads the body as far as it comes. `body` has the bytes that came with the head.
    pub(crate) async fn read<S: AsyncRead + Unpin>(head: Parts, mut body: BytesMut, io: &mut S) -> Self {
        let chunked = head.headers.contains_key(TRANSFER_ENCODING);
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let want = if chunked { MAX_BODY } else { announced.unwrap_or(MAX_BODY).min(MAX_BODY) };
        let reading = async {
            while body.len() < want && !(chunked && is_last_chunk_in(&body)) {
                if !matches!(io.read_buf(&mut body).await, Ok(1..)) {
                    break;
                }
            }
        };
        // A body that is cut short or late is better than none.
        let _ = timeout(BODY_TIMEOUT, reading).await;
        body.truncate(want);
        let body = if chunked { without_chunks(&body).0 } else { body.to_vec() };
        Self { head, body }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head.status)?;
        let shown = String::from_utf8_lossy(self.body.get(..SHOWN).unwrap_or(&self.body));
        let shown = shown.trim();
        if shown.is_empty() {
            return Ok(());
        }
        // The text of a peer must not move a terminal's cursor.
        write!(f, ": {}", shown.replace(char::is_control, " "))?;
        if self.body.len() > SHOWN { f.write_str("…") } else { Ok(()) }
    }
}

impl Error for Rejection {}

/// Whether a chunked body is whole. Its chunks are only parsed where it may end.
fn is_last_chunk_in(body: &[u8]) -> bool {
    body.ends_with(b"\r\n\r\n") && without_chunks(body).1
}

/// The data of a chunked body (RFC 9112 §7.1), as far as it is in order, and whether its last chunk has come.
fn without_chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(end + 1);
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digits = line.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
        let length = match digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()) {
            Some(length @ 1..) => length,
            Some(0) => return (out, true),
            None => break,
        };
        let data = behind.get(..length).unwrap_or(behind);
        out.extend_from_slice(data);
        let behind = behind.get(data.len()..).unwrap_or_default();
        rest = behind.strip_prefix(b"\r\n").unwrap_or_default();
    }
    (out, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(headers: &[(&'static str, &str)], with_head: &[u8], later: &[u8]) -> Rejection {
        let mut response = http::Response::builder().status(403);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let mut later = later;
        Rejection::read(response.body(()).unwrap().into_parts().0, with_head.into(), &mut later).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_kept_as_far_as_it_came() {
        let length = [("content-length", "5")];
        assert_eq!(read(&length, b"ab", b"cdefg").await.body, b"abcde");
        assert_eq!(read(&length, b"ab", b"").await.body, b"ab");
        assert_eq!(read(&[], b"", b"to the end").await.body, b"to the end");
        assert_eq!(read(&[("content-length", "99999999999999999999")], b"a", b"b").await.body, b"ab");
        assert_eq!(read(&[], b"", &[b'x'; 10_000]).await.body.len(), MAX_BODY);
        assert_eq!(read(&length, &[b'x'; 10_000], b"").await.body.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunked_body_is_put_together() {
        let table: [(&[u8], &[u8]); 6] = [
            (b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
            (b"3\r\nab", b"ab"),
            (b"3\r\nabcd", b"abc"),
            (b"ffffffffffffffffff\r\nabc", b""),
            (b"nonsense", b""),
            (b"", b""),
        ];
        for (bytes, expected) in table {
            assert_eq!(
                read(&[("transfer-encoding", "chunked")], b"", bytes).await.body,
                expected,
                "{bytes:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_looks_like_the_last_chunk_does_not_end_a_body() {
        let chunked = [("transfer-encoding", "chunked")];
        let whole = b"8\r\nab0\r\n\r\nc\r\n0\r\nX: y\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(read(&chunked, &whole[..cut], &whole[cut..]).await.body, b"ab0\r\n\r\nc", "{cut}");
        }
        // The read ends with the last chunk, also where the connection stays open.
        let (mut io, _open) = tokio::io::duplex(64);
        let (mut head, ()) = http::Response::builder().status(404).body(()).unwrap().into_parts();
        head.headers.insert(TRANSFER_ENCODING, http::HeaderValue::from_static("chunked"));
        let start = tokio::time::Instant::now();
        assert_eq!(Rejection::read(head, whole.as_slice().into(), &mut io).await.body.len(), 8);
        assert!(start.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_not_awaited_for_long() {
        let (mut io, _open) = tokio::io::duplex(64);
        let (head, ()) = http::Response::builder().status(404).body(()).unwrap().into_parts();
        let start = tokio::time::Instant::now();
        let rejection = Rejection::read(head, b"no\x1b[2Jt here\n".as_slice().into(), &mut io).await;
        assert_eq!(start.elapsed(), BODY_TIMEOUT);
        assert_eq!(rejection.to_string(), "404 Not Found: no [2Jt here");
    }
}
