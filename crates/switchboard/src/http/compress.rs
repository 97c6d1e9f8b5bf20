//! Compressing the answers of long polls for clients that take it (`httpCompression` of Node).
//!
//! [RFC 9110, 12.5.3](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3).

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

use super::Answer;
use crate::engineio::EngineServer;

/// Compresses an answer from the threshold on, if the client takes it.
pub(super) fn compress(server: &EngineServer, request: &HeaderMap, mut answer: Answer) -> Answer {
    let Some(threshold) = server.options.http_compression else { return answer };
    if answer.body().len() < threshold || answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let taken = |coding| accepts(request, coding);
    let (coding, body) = if taken("gzip") {
        ("gzip", write(GzEncoder::new(Vec::new(), Compression::fast()), answer.body(), GzEncoder::finish))
    } else if taken("deflate") {
        (
            "deflate",
            write(
                DeflateEncoder::new(Vec::new(), Compression::fast()),
                answer.body(),
                DeflateEncoder::finish,
            ),
        )
    } else {
        return answer;
    };
    if let Ok(body) = body {
        *answer.body_mut() = Bytes::from(body);
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        answer.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    answer
}

fn write<W: Write>(
    mut encoder: W,
    body: &[u8],
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    encoder.write_all(body)?;
    finish(encoder)
}

/// Whether a coding is listed, and not with a weight of nothing.
fn accepts(request: &HeaderMap, coding: &str) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight =
            parameters.trim().strip_prefix("q=").map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
        name.trim().eq_ignore_ascii_case(coding) && weight > 0.0
    })
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;

    use super::*;

    #[test]
    fn a_coding_is_taken_if_it_is_listed_with_some_weight() {
        for (header, taken) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.2", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, *", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(accepts(&request, "gzip"), taken, "{header}");
        }
    }
}
