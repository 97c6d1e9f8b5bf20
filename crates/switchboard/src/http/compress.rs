//! Compressing the answers of long polls for clients that take it (`httpCompression` of Node).
//!
//! [RFC 9110, 12.5.3](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

use super::Answer;

/// Bytes of a header that is remembered.
const REMEMBERED_UP_TO: usize = 128;

thread_local! {
    /// The last header that was judged, and the result. Most clients send the same.
    static LAST: RefCell<(Vec<u8>, Option<Coding>)> = const { RefCell::new((Vec::new(), None)) };
}

/// How a client takes compressed answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// The one of those that a request accepts which it likes best: by weight, then named before `*`, then in
    /// its own order.
    pub(super) fn of(request: &HeaderMap) -> Option<Self> {
        let mut values = request.get_all(ACCEPT_ENCODING).iter();
        let asked = values.next()?.as_bytes();
        if values.next().is_some() || asked.len() > REMEMBERED_UP_TO {
            return Self::judge(request);
        }
        LAST.with_borrow_mut(|(last, coding)| {
            if last != asked {
                *coding = Self::judge(request);
                last.clear();
                last.extend_from_slice(asked);
            }
            *coding
        })
    }

    fn judge(request: &HeaderMap) -> Option<Self> {
        let liking = |coding: Self| Liking::of(request, coding.name()).map(|liking| (liking, coding));
        let (gzip, deflate) = (liking(Self::Gzip), liking(Self::Deflate));
        match (gzip, deflate) {
            (Some(gzip), Some(deflate)) => Some(if deflate.0 > gzip.0 { deflate.1 } else { gzip.1 }),
            (gzip, deflate) => gzip.or(deflate).map(|(_, coding)| coding),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// Compresses an answer from the threshold on.
pub(super) fn compress(threshold: usize, coding: Coding, answer: &mut Answer) {
    // One in pieces is of messages that are not to wait for each other.
    let Some(body) = answer.body().as_whole() else { return };
    if body.len() < threshold || answer.headers().contains_key(CONTENT_ENCODING) {
        return;
    }
    let level = Compression::fast();
    let compressed = match coding {
        Coding::Gzip => write(GzEncoder::new(Vec::new(), level), body, GzEncoder::finish),
        // HTTP's `deflate` is zlib's format (RFC 9110, 8.4.1.2).
        Coding::Deflate => write(ZlibEncoder::new(Vec::new(), level), body, ZlibEncoder::finish),
    };
    if let Ok(body) = compressed {
        *answer.body_mut() = body.into();
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        answer.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The one of `codings` that a request likes best by its weight; of equals the first. `None`: it accepts none.
pub(super) fn liked<'a, T>(
    request: &HeaderMap,
    codings: impl Iterator<Item = (&'a str, T)>,
) -> Option<(&'a str, T)> {
    let mut best: Option<(f32, (&str, T))> = None;
    for coding in codings {
        let Some(Liking { weight, .. }) = Liking::of(request, coding.0) else { continue };
        if best.as_ref().is_none_or(|(best, _)| weight > *best) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// Writes all of a body through an encoder.
pub(super) fn write<W: Write>(
    mut encoder: W,
    body: &[u8],
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    encoder.write_all(body)?;
    finish(encoder)
}

/// How much a request likes a coding that it accepts.
#[derive(Debug, PartialEq, PartialOrd)]
struct Liking {
    weight: f32,
    /// By its name, rather than as one of all.
    named: bool,
    earlier: Reverse<usize>,
}

impl Liking {
    fn of(request: &HeaderMap, coding: &str) -> Option<Self> {
        let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let items = values.flat_map(|value| value.split(',')).enumerate();
        let likings = items.filter_map(|(at, item)| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let (name, parameters) = (name.trim(), parameters.trim());
            let named = name.eq_ignore_ascii_case(coding);
            let weight = match parameters.split_at_checked(2) {
                Some((q, weight)) if q.eq_ignore_ascii_case("q=") => weight.trim().parse().unwrap_or(0.0),
                _ => 1.0,
            };
            (named || name == "*").then_some(Self { weight, named, earlier: Reverse(at) })
        });
        // What is said of a coding by its name counts more than what is said of all.
        let own = likings.max_by(|a, b| (a.named, &a.earlier).cmp(&(b.named, &b.earlier)))?;
        (own.weight > 0.0).then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};
    use http::StatusCode;

    use super::*;
    use crate::http::plain;

    #[test]
    fn the_coding_that_a_client_likes_best_is_taken_if_it_has_some_weight() {
        for (header, coding) in [
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("deflate, gzip", Some(Coding::Deflate)),
            ("deflate", Some(Coding::Deflate)),
            ("br;q=1.0, GZIP;q=0.2", Some(Coding::Gzip)),
            ("gzip;q=0.2, deflate; Q=0.3", Some(Coding::Deflate)),
            ("gzip;q=0", None),
            ("gzip;q=0, deflate", Some(Coding::Deflate)),
            ("gzip; q=0.0, *", Some(Coding::Deflate)),
            ("*", Some(Coding::Gzip)),
            ("*, deflate", Some(Coding::Deflate)),
            ("*;q=0", None),
            ("*;q=0, gzip", Some(Coding::Gzip)),
            ("gzip;q=heavy", None),
            ("gzip;q=NaN", None),
            ("x-gzip", None),
            ("identity", None),
            ("", None),
        ] {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(Coding::of(&request), coding, "{header}");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_long_header_of_one_client_is_not_taken_for_that_of_another() {
        let asks = |header: &str| {
            let header = HeaderValue::from_str(header).expect("a header's value");
            Coding::of(&HeaderMap::from_iter([(ACCEPT_ENCODING, header)]))
        };
        assert_eq!(asks(&format!("gzip{}", ", br".repeat(REMEMBERED_UP_TO))), Some(Coding::Gzip));
        assert_eq!(asks(""), None);
    }

    #[test]
    fn a_compressed_answer_is_of_the_format_that_its_header_names() {
        let words = "the same words, the same words, the same words".repeat(50);
        for coding in [Coding::Gzip, Coding::Deflate] {
            let mut answer = plain(StatusCode::OK, words.clone());
            compress(1024, coding, &mut answer);
            assert_eq!(answer.headers()[CONTENT_ENCODING], coding.name());
            assert!(answer.body().as_whole().unwrap().len() < words.len() / 10);
            let mut read = String::new();
            let done = match coding {
                Coding::Gzip => {
                    GzDecoder::new(&answer.body().as_whole().unwrap()[..]).read_to_string(&mut read)
                }
                Coding::Deflate => {
                    ZlibDecoder::new(&answer.body().as_whole().unwrap()[..]).read_to_string(&mut read)
                }
            };
            assert!(done.is_ok_and(|_| read == words), "{coding:?}");
        }
    }

    #[test]
    fn an_answer_is_compressed_from_the_threshold_on() {
        for (length, compressed) in [(1023, false), (1024, true)] {
            let mut answer = plain(StatusCode::OK, vec![b'a'; length]);
            compress(1024, Coding::Gzip, &mut answer);
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), compressed, "{length}");
        }
    }
}
