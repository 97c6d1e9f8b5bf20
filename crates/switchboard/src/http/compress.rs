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

/// How a client takes compressed answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// The best of those that a request accepts.
    pub(super) fn of(request: &HeaderMap) -> Option<Self> {
        if accepts(request, "gzip") {
            return Some(Self::Gzip);
        }
        accepts(request, "deflate").then_some(Self::Deflate)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// Compresses an answer from the threshold on.
pub(super) fn compress(threshold: usize, coding: Coding, mut answer: Answer) -> Answer {
    if answer.body().len() < threshold || answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let (level, body) = (Compression::fast(), answer.body());
    let compressed = match coding {
        Coding::Gzip => write(GzEncoder::new(Vec::new(), level), body, GzEncoder::finish),
        Coding::Deflate => write(DeflateEncoder::new(Vec::new(), level), body, DeflateEncoder::finish),
    };
    if let Ok(body) = compressed {
        *answer.body_mut() = Bytes::from(body);
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
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
