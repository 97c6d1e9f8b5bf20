//! The last touch to the answer of a request that a worker answers: CORS headers, further headers,
//! compression.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use super::Answer;
use super::compress::{Coding, compress};
use super::cors::Origins;

/// Marks an answer that is not to be compressed.
#[derive(Clone, Copy)]
pub(crate) struct Uncompressed;

/// Headers and compression that an answer gets on its way out. Default: none.
#[derive(Debug, Default)]
pub struct Finish {
    /// The origin of the page that asks, and those that may read the answer.
    cors: Option<(Origins, HeaderValue)>,
    /// From how many bytes on it is compressed, and how.
    compress: Option<(usize, Coding)>,
    headers: Option<Box<HeaderMap>>,
}

impl Finish {
    /// CORS headers for the answer to a request with these headers, where its page is of listed origins.
    #[must_use]
    pub fn new(origins: &Origins, request: &HeaderMap) -> Self {
        let cors = request.get(ORIGIN).and_then(|origin| {
            // A copy: the value itself may share a buffer with all the others.
            let origin = HeaderValue::from_bytes(origin.as_bytes()).ok()?;
            Some((origins.clone(), origin))
        });
        Self { cors, ..Self::default() }
    }

    /// The same, which compresses the answer from so many bytes on, if the client takes that.
    #[must_use]
    pub fn compress(mut self, threshold: Option<usize>, request: &HeaderMap) -> Self {
        self.compress = threshold.and_then(|threshold| Some((threshold, Coding::of(request)?)));
        self
    }

    /// The same with further headers.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = (!headers.is_empty()).then(|| Box::new(headers));
        self
    }

    /// Gives an answer what it gets on its way out.
    pub(crate) fn touch(&mut self, answer: &mut Answer) {
        if let Some((origins, origin)) = &self.cors {
            origins.add_headers(Some(origin), answer.headers_mut());
        }
        if let Some(headers) = self.headers.take() {
            answer.headers_mut().extend(*headers);
        }
        if let Some((threshold, coding)) = self.compress
            && answer.extensions_mut().remove::<Uncompressed>().is_none()
        {
            compress(threshold, coding, answer);
        }
    }
}
