//! The request heads of an HTTP/1 connection, found among its bytes on their way to hyper.
//!
//! hyper refuses a request target with `"`, `<` or `>` in it. Some clients send these bytes, and other
//! servers serve them. So they are percent-encoded before hyper reads them. Nothing else of the bytes
//! changes.
//!
//! A body may look like a head. Therefore the end of each body is known exactly, by the rules of [RFC 9112,
//! 6](https://www.rfc-editor.org/rfc/rfc9112#section-6). At the first request whose end is in doubt, and at
//! one that may end HTTP, the search ends for good, and hyper reads the bytes as they came.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use switchboard_websocket::handshake::head::encode_target;

/// Bytes of a line that are looked at. No line that tells the length of a body is longer.
const LINE_BYTES: usize = 128;

/// Finds the request targets of a connection, and encodes them.
#[derive(Debug, Default)]
pub(crate) struct RequestHeads {
    at: Place,
    body: BodyLength,
    /// The begin of the current line, if the line began in an earlier read. At most [`LINE_BYTES`] and one.
    line: Vec<u8>,
}

/// The part of a request that the next byte belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Method,
    Target,
    Version,
    Field,
    /// So many bytes of a body, or of a chunk with its line end, are still to come.
    Body {
        left: u64,
        is_chunk: bool,
    },
    ChunkSize,
    Trailer,
    /// The next head cannot be found any more.
    Lost,
}

/// The length of a body, as the fields tell it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum BodyLength {
    #[default]
    None,
    Bytes(u64),
    Chunked,
    /// The bytes behind the head may not be HTTP, or two parsers may disagree on the end of the body.
    Unknown,
}

impl RequestHeads {
    /// The bytes as hyper is to read them. `None`: as they are. A target becomes three times as long at most.
    pub(crate) fn encode(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut encoded: Option<Vec<u8>> = None;
        let (mut at, mut copied) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let part = match self.at {
                Place::Lost => break,
                Place::Target => self.target(rest),
                _ => {
                    at += self.skip(rest);
                    continue;
                }
            };
            if let Cow::Owned(target) = encode_target(part) {
                let out = encoded.get_or_insert_default();
                out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
                out.extend_from_slice(&target);
                copied = at + part.len();
            }
            at += part.len();
        }
        let mut encoded = encoded?;
        encoded.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        Some(encoded)
    }

    /// The part of the bytes that belongs to the target.
    fn target<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr2(b' ', b'\n', bytes);
        if let Some(end) = end {
            // A line without a version is not a request of HTTP/1.
            self.at = if bytes.get(end) == Some(&b' ') { Place::Version } else { Place::Lost };
        }
        bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default()
    }

    /// Goes on to the end of a part, or of the bytes. Returns the number of bytes up to there.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self.at {
            Place::Method => self.skip_method(bytes),
            Place::Body { left, is_chunk } => {
                let skipped = left.min(bytes.len() as u64);
                self.at = match left - skipped {
                    0 if is_chunk => Place::ChunkSize,
                    0 => Place::Method,
                    left => Place::Body { left, is_chunk },
                };
                // It is not more than the bytes.
                skipped as usize
            }
            Place::Version | Place::Field | Place::ChunkSize | Place::Trailer => self.skip_line(bytes),
            Place::Target | Place::Lost => bytes.len(),
        }
    }

    fn skip_method(&mut self, bytes: &[u8]) -> usize {
        // Empty lines before a request are skipped (RFC 9112, 2.2).
        if self.line.is_empty() && matches!(bytes.first(), Some(b'\r' | b'\n')) {
            return 1;
        }
        let Some(end) = memchr2(b' ', b'\n', bytes) else {
            self.keep(bytes);
            return bytes.len();
        };
        self.keep(bytes.get(..end).unwrap_or_default());
        // A tunnel may begin behind the head of a CONNECT.
        self.body = if self.line == b"CONNECT" { BodyLength::Unknown } else { BodyLength::None };
        self.at = if bytes.get(end) == Some(&b' ') { Place::Target } else { Place::Lost };
        self.line.clear();
        end + 1
    }

    /// Goes on to the end of a line, and looks at the line.
    fn skip_line(&mut self, bytes: &[u8]) -> usize {
        let Some(end) = memchr(b'\n', bytes) else {
            self.keep(bytes);
            return bytes.len();
        };
        let here = bytes.get(..end).unwrap_or_default();
        if self.line.is_empty() {
            self.line_ends(here);
        } else {
            self.keep(here);
            let line = std::mem::take(&mut self.line);
            self.line_ends(&line);
        }
        end + 1
    }

    /// Keeps the begin of a line for the read that ends the line.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (LINE_BYTES + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn line_ends(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.at = match self.at {
            Place::Version => Place::Field,
            Place::Field if line.is_empty() => self.head_ends(),
            Place::Field => {
                self.body = self.body.with_field(line);
                Place::Field
            }
            Place::ChunkSize => match chunk_size(line) {
                Some(0) => Place::Trailer,
                // The line end behind the chunk belongs to it.
                Some(size) => Place::Body { left: size + 2, is_chunk: true },
                None => Place::Lost,
            },
            Place::Trailer if line.is_empty() => Place::Method,
            place => place,
        };
    }

    fn head_ends(&mut self) -> Place {
        match self.body {
            BodyLength::None | BodyLength::Bytes(0) => Place::Method,
            BodyLength::Bytes(left) => Place::Body { left, is_chunk: false },
            BodyLength::Chunked => Place::ChunkSize,
            BodyLength::Unknown => Place::Lost,
        }
    }
}

impl BodyLength {
    /// The length, after one more field. Each of the two fields that tell it may come once, and only one of
    /// them.
    fn with_field(self, line: &[u8]) -> Self {
        let Some((name, value)) = memchr(b':', line).and_then(|at| line.split_at_checked(at)) else {
            return if line.len() > LINE_BYTES { self } else { Self::Unknown };
        };
        // A line that continues the one before it.
        if matches!(name.first(), None | Some(b' ' | b'\t')) || name.eq_ignore_ascii_case(b"upgrade") {
            return Self::Unknown;
        }
        let is_length = name.eq_ignore_ascii_case(b"content-length");
        if !is_length && !name.eq_ignore_ascii_case(b"transfer-encoding") {
            return self;
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        match (self, is_length) {
            (Self::None, _) if line.len() > LINE_BYTES => Self::Unknown,
            (Self::None, true) => number(value, 10).map_or(Self::Unknown, Self::Bytes),
            (Self::None, false) if value.eq_ignore_ascii_case(b"chunked") => Self::Chunked,
            _ => Self::Unknown,
        }
    }
}

/// The size of a chunk. `None`: the line tells none, or is too long.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = memchr(b';', line).unwrap_or(line.len());
    number(line.get(..end)?.trim_ascii_end(), 16).filter(|_| line.len() <= LINE_BYTES)
}

/// Digits and nothing else, few enough for all sums of it.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let is_number = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_number)?, radix).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The bytes as hyper reads them, if so many come with each read.
    fn encoded(bytes: &[u8], each: usize) -> String {
        let mut heads = RequestHeads::default();
        let read = |part: &[u8]| heads.encode(part).unwrap_or_else(|| part.to_vec());
        String::from_utf8(bytes.chunks(each).flat_map(read).collect()).unwrap()
    }

    /// A request whose target the client has not encoded, and the same encoded.
    const RAW: &str = "GET /a?q=\"<é>\" HTTP/1.1\r\nhost: \"a\"\r\n\r\n";
    const ENCODED: &str = "GET /a?q=%22%3C%C3%A9%3E%22 HTTP/1.1\r\nhost: \"a\"\r\n\r\n";

    #[test]
    fn the_target_of_each_request_is_encoded_and_nothing_else() {
        for before in [
            "",
            "\r\n\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\ncontent-length: 0\n\n",
            "POST / HTTP/1.1\r\nContent-Length:  12 \r\n\r\nGET /\"a\" HTTP",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n\"\"\r\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
             1C\r\nGET /\"<chunk>\" HTTP/1.1\r\n\r\n\"\r\n5;x=\"y\"\r\n\"\"\r\n\"\r\n0\r\nx: \"y\"\r\n\r\n",
        ] {
            let (raw, right) = ([before, RAW, RAW].concat(), [before, ENCODED, ENCODED].concat());
            for each in [1, 2, 3, 7, 64, raw.len()] {
                assert_eq!(encoded(raw.as_bytes(), each), right, "{before:?} by {each}");
            }
        }
    }

    #[test]
    fn bytes_behind_a_request_whose_end_is_in_doubt_stay_as_they_are() {
        let long = format!("content-length: {}5", " ".repeat(LINE_BYTES));
        for (line, fields) in [
            ("GET / HTTP/1.1", "upgrade: websocket"),
            ("CONNECT a:1 HTTP/1.1", "host: a"),
            ("POST / HTTP/1.1", "content-length: 0\r\ncontent-length: 0"),
            ("POST / HTTP/1.1", "content-length: 0\r\ntransfer-encoding: chunked"),
            ("POST / HTTP/1.1", "transfer-encoding: chunked\r\ncontent-length: 0"),
            ("POST / HTTP/1.1", "transfer-encoding: gzip, chunked"),
            ("POST / HTTP/1.1", "content-length: +0"),
            ("POST / HTTP/1.1", "content-length: 0x0"),
            ("POST / HTTP/1.1", "content-length:"),
            ("POST / HTTP/1.1", "content-length: 0\r\n\t0"),
            ("POST / HTTP/1.1", "content-length: 9999999999999999999"),
            ("POST / HTTP/1.1", &long),
            ("POST / HTTP/1.1", "no field"),
            ("POST / HTTP/1.1", "transfer-encoding: chunked\r\n\r\n-0"),
            ("POST /", ""),
            ("POST", ""),
        ] {
            let raw = format!("{line}\r\n{fields}\r\n\r\n{RAW}");
            for each in [1, 5, raw.len()] {
                assert_eq!(encoded(raw.as_bytes(), each), raw, "{line} {fields} by {each}");
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut heads = RequestHeads::default();
        for part in ["GET / HTTP/1.1\r\n", "x: "].into_iter().chain([&*"y".repeat(64); 1024]) {
            assert_eq!(heads.encode(part.as_bytes()), None);
            assert!(heads.line.len() <= LINE_BYTES + 1);
        }
        heads.encode(b"\r\n\r\n");
        assert_eq!(heads.at, Place::Method);
    }

    /// A request with a body that may look like anything, and the same with its target encoded.
    fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let body = prop_oneof![vec(any::<u8>(), 0..40), Just(RAW.as_bytes().to_vec())];
        ("[a-z\"<>=?&é]{0,20}", body, any::<bool>(), 1..20_usize).prop_map(|(target, body, chunked, size)| {
            let with = |target: &[u8]| {
                let mut bytes = [b"POST /", target, b" HTTP/1.1\r\nX: \"<\r\n"].concat();
                if chunked {
                    bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(size) {
                        bytes.extend(format!("{:X};\"<\r\n", chunk.len()).bytes());
                        bytes.extend([chunk, b"\r\n"].concat());
                    }
                    bytes.extend(b"0\r\n\r\n");
                } else {
                    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
                    bytes.extend(&body);
                }
                bytes
            };
            (with(target.as_bytes()), with(&encode_target(target.as_bytes())))
        })
    }

    /// The bytes as they are read, if they come in these pieces and then all at once.
    fn read_in(pieces: &[usize], mut bytes: &[u8]) -> Vec<u8> {
        let mut heads = RequestHeads::default();
        let mut read = Vec::new();
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (part, rest) = bytes.split_at(piece.min(bytes.len()));
            read.extend(heads.encode(part).unwrap_or_else(|| part.to_vec()));
            bytes = rest;
        }
        read
    }

    proptest! {
        #[test]
        fn targets_alone_change_in_any_requests_in_any_pieces(
            requests in vec(request(), 1..5),
            pieces in vec(0..60_usize, 0..20),
        ) {
            let (raw, right): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
            prop_assert_eq!(read_in(&pieces, &raw.concat()), right.concat());
        }

        #[test]
        fn any_bytes_are_read_alike_in_any_pieces(
            bytes in "(GET |POST /\"|[ -~]{0,9}|content-length: ?[0-9]|transfer-encoding: chunked|\r\n|0|[\0-\u{fff}]){0,40}",
            pieces in vec(0..20_usize, 0..40),
        ) {
            prop_assert_eq!(read_in(&pieces, bytes.as_bytes()), read_in(&[], bytes.as_bytes()));
        }
    }
}
