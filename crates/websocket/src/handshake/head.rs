//! The head of an HTTP/1.1 request or response (RFC 9112 §2), among bytes that come in pieces.
//!
//! A head is parsed once, when its last byte has come. Until then each piece is only searched for the empty
//! line, from the place where the last search stopped. So a head that comes byte by byte costs no more than
//! one that comes whole.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, request, response};
use memchr::memmem;
use thiserror::Error;

/// A head with more header lines is refused, also where [`HeadLimits::max_headers`] is higher.
const MAX_HEADERS: usize = 128;
const END: &[u8] = b"\r\n\r\n";
/// It is made once, because to make it costs as much as a search.
static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(END));

/// Bounds on the head of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadLimits {
    /// Bytes of the whole head, with its empty line. Default 16 KiB.
    pub max_bytes: usize,
    /// Header lines. Default 100, at most 128.
    pub max_headers: usize,
}

impl HeadLimits {
    /// The default limits, for use in constants.
    pub const DEFAULT: Self = Self { max_bytes: 16 << 10, max_headers: 100 };

    /// The same limits with another bound for the bytes of a head.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The same limits with another bound for the lines of a head.
    #[must_use]
    pub const fn max_headers(mut self, headers: usize) -> Self {
        self.max_headers = headers;
        self
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A head that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The head is over [`HeadLimits::max_bytes`]. It need not be whole.
    #[error("the head is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit it is over.
        limit: usize,
    },
    /// The head has more lines than [`HeadLimits::max_headers`].
    #[error("the head has more than {limit} header lines")]
    TooManyHeaders {
        /// The limit it is over.
        limit: usize,
    },
    /// The bytes are no head.
    #[error("the head is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl HeadError {
    /// The status of the answer to such a request: 431 for a head over a limit, otherwise 400.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

const fn malformed(what: &'static str) -> HeadError {
    HeadError::Malformed { what }
}

/// Names of headers, made once to be looked up often: see [`Head::request_with`].
#[derive(Clone, Debug, Default)]
pub struct HeaderNames {
    /// The names of each length, with the first byte beside them: a name of another header mostly differs in one
    /// of the two.
    by_length: Vec<Vec<(u8, HeaderName)>>,
}

impl HeaderNames {
    /// The name that a header line has, in any case of letters.
    pub fn get(&self, line: &str) -> Option<&HeaderName> {
        let first = line.as_bytes().first()?.to_ascii_lowercase();
        let mut names = self.by_length.get(line.len())?.iter();
        let is_it =
            |(begins, name): &&(u8, HeaderName)| *begins == first && name.as_str().eq_ignore_ascii_case(line);
        names.find(is_it).map(|(_, name)| name)
    }
}

impl FromIterator<HeaderName> for HeaderNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let mut all = Self::default();
        for name in names {
            let length = name.as_str().len();
            if all.by_length.len() <= length {
                all.by_length.resize_with(length + 1, Vec::new);
            }
            let begins = name.as_str().as_bytes().first().copied().unwrap_or_default();
            if let Some(names) = all.by_length.get_mut(length) {
                names.push((begins, name));
            }
        }
        all
    }
}

/// Reads one head from a buffer that grows. Call it each time bytes were appended.
///
/// ```
/// use switchboard_websocket::handshake::head::{Head, HeadLimits};
///
/// let mut head = Head::new(HeadLimits::default());
/// let mut buffer = b"GET /chat HTTP/1.1\r\nHost: exam".to_vec();
/// assert!(head.request(&buffer).unwrap().is_none());
/// buffer.extend_from_slice(b"ple.org\r\n\r\n");
/// let (parts, len) = head.request(&buffer).unwrap().unwrap();
/// assert_eq!((parts.uri.path(), len), ("/chat", buffer.len()));
/// ```
#[derive(Debug)]
pub struct Head {
    limits: HeadLimits,
    /// Bytes of the buffer that have been searched for the end of the head.
    searched: usize,
}

impl Head {
    /// A reader of one head.
    pub const fn new(limits: HeadLimits) -> Self {
        Self { limits, searched: 0 }
    }

    /// The parts of the request at the beginning of `buffer`, and the bytes of its head. The bytes behind the
    /// head are not read. `None` while the head is incomplete.
    ///
    /// The values of the headers share one allocation of the head's size.
    ///
    /// # Errors
    ///
    /// A [`HeadError`] when the head is malformed or over a limit. A head over a limit is refused before its
    /// end.
    pub fn request(&mut self, buffer: &[u8]) -> Result<Option<(request::Parts, usize)>, HeadError> {
        self.request_with(buffer, |_target| None::<fn(&str) -> Option<HeaderName>>)
    }

    /// As [`request`](Self::request), with some of the headers. `names` gets the request target and returns the
    /// function that knows the names of those headers, such as [`HeaderNames::get`]; `None` keeps all headers. A
    /// map of all headers is most of the cost of a head, so a server that knows which headers it reads should say
    /// so.
    ///
    /// The lines of other headers are still checked and counted.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn request_with<N>(
        &mut self,
        buffer: &[u8],
        names: impl FnOnce(&Uri) -> Option<N>,
    ) -> Result<Option<(request::Parts, usize)>, HeadError>
    where
        N: Fn(&str) -> Option<HeaderName>,
    {
        let Some(head) = self.whole(buffer)? else { return Ok(None) };
        let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(&head, lines_within(&mut lines, self.limits));
        check_end(status, &head, self.limits)?;
        let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes());
        let target = request.path.unwrap_or_default().as_bytes();
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = method.map_err(|_| malformed("method"))?;
        parts.uri = uri(&head, target)?;
        parts.version = version(request.version);
        parts.headers = match names(&parts.uri) {
            Some(names) => headers_named(&head, request.headers, names)?,
            None => headers(&head, request.headers)?,
        };
        Ok(Some((parts, head.len())))
    }

    /// The parts of the response at the beginning of `buffer`, and the bytes of its head. `None` while the
    /// head is incomplete.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn response(&mut self, buffer: &[u8]) -> Result<Option<(response::Parts, usize)>, HeadError> {
        let Some(head) = self.whole(buffer)? else { return Ok(None) };
        let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &head,
            lines_within(&mut lines, self.limits),
        );
        check_end(status, &head, self.limits)?;
        let (mut parts, ()) = http::Response::new(()).into_parts();
        let status = StatusCode::from_u16(response.code.unwrap_or_default());
        parts.status = status.map_err(|_| malformed("status"))?;
        parts.version = version(response.version);
        parts.headers = headers(&head, response.headers)?;
        Ok(Some((parts, head.len())))
    }

    /// The whole head, when its end has come. It is a copy in an allocation of its size.
    fn whole(&mut self, buffer: &[u8]) -> Result<Option<Bytes>, HeadError> {
        let limit = self.limits.max_bytes;
        let from = self.searched.saturating_sub(END.len() - 1);
        let unseen = buffer.get(from..).unwrap_or_default();
        let end = FINDER.find(unseen).map(|at| from + at + END.len());
        self.searched = buffer.len();
        if end.unwrap_or(buffer.len()) > limit {
            return Err(HeadError::TooLarge { limit });
        }
        Ok(end.and_then(|end| buffer.get(..end)).map(Bytes::copy_from_slice))
    }
}

fn lines_within<'a, 'b>(
    lines: &'a mut [MaybeUninit<httparse::Header<'b>>; MAX_HEADERS],
    limits: HeadLimits,
) -> &'a mut [MaybeUninit<httparse::Header<'b>>] {
    let max = limits.max_headers.min(MAX_HEADERS);
    lines.get_mut(..max).unwrap_or_default()
}

/// A head must end where its empty line was found. The parser also takes bare line feeds, which other parsers
/// do not take. A head that two parsers read differently can smuggle a request past one of them.
fn check_end(status: httparse::Result<usize>, head: &Bytes, limits: HeadLimits) -> Result<(), HeadError> {
    match status {
        Ok(httparse::Status::Complete(len)) if len == head.len() => Ok(()),
        Ok(_) | Err(httparse::Error::NewLine) => Err(malformed("line endings")),
        Err(httparse::Error::TooManyHeaders) => {
            Err(HeadError::TooManyHeaders { limit: limits.max_headers.min(MAX_HEADERS) })
        }
        Err(httparse::Error::HeaderName) => Err(malformed("header name")),
        Err(httparse::Error::HeaderValue) => Err(malformed("header value")),
        Err(httparse::Error::Status) => Err(malformed("status")),
        Err(httparse::Error::Token) => Err(malformed("first line")),
        Err(httparse::Error::Version) => Err(malformed("HTTP version")),
    }
}

fn uri(head: &Bytes, target: &[u8]) -> Result<Uri, HeadError> {
    Uri::from_maybe_shared(head.slice_ref(target))
        .or_else(|_| Uri::try_from(encode_target(target).as_ref()))
        .map_err(|_| malformed("request target"))
}

/// The request target with all bytes percent-encoded that no URI has (RFC 3986: `"`, `<`, `>`, and bytes that
/// are not ASCII). Clients should have encoded them. Several do not, and servers serve them.
///
/// ```
/// use switchboard_websocket::handshake::head::encode_target;
///
/// assert_eq!(*encode_target(b"/chat?name=\"J\xFC\""), *b"/chat?name=%22J%FC%22");
/// ```
pub fn encode_target(target: &[u8]) -> Cow<'_, [u8]> {
    let is_of_uri = |byte: &u8| byte.is_ascii() && !matches!(byte, b'"' | b'<' | b'>');
    if target.iter().all(is_of_uri) {
        return Cow::Borrowed(target);
    }
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for byte in target {
        if is_of_uri(byte) {
            encoded.push(*byte);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
            encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Cow::Owned(encoded)
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn headers(head: &Bytes, lines: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| malformed("header name"))?;
        headers.append(name, value(head, line)?);
    }
    Ok(headers)
}

/// The headers whose names are known.
fn headers_named(
    head: &Bytes,
    lines: &[httparse::Header<'_>],
    name: impl Fn(&str) -> Option<HeaderName>,
) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Some(name) = name(line.name) {
            headers.append(name, value(head, line)?);
        }
    }
    Ok(headers)
}

fn value(head: &Bytes, line: &httparse::Header<'_>) -> Result<HeaderValue, HeadError> {
    let value = if line.value.is_empty() { Bytes::new() } else { head.slice_ref(line.value) };
    HeaderValue::from_maybe_shared(value).map_err(|_| malformed("header value"))
}
