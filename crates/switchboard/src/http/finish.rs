//! The last touch to the answer of a request that a worker answers: CORS headers, further headers,
//! compression.

use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Answer;
use super::compress::{Coding, compress};
use super::cors::Origins;
use super::script::Script;

/// Marks an answer that is not to be compressed.
#[derive(Clone, Copy)]
pub(crate) struct Uncompressed;

/// What becomes of the body of an answer.
#[derive(Debug, Default)]
enum NewBody {
    #[default]
    Same,
    /// It is the string of a call.
    Script(Box<Script>),
    /// It is written in another form, of this type.
    Recoded(&'static str, fn(&[u8]) -> Vec<u8>),
}

/// Headers and compression that an answer gets on its way out. Default: none.
#[derive(Debug, Default)]
pub struct Finish {
    /// The origin of the page that asks, and those that may read the answer.
    cors: Option<(Origins, HeaderValue)>,
    /// From how many bytes on it is compressed, and how.
    compress: Option<(usize, Coding)>,
    headers: Option<Box<HeaderMap>>,
    /// What becomes of the body, if it is a success.
    body: NewBody,
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

    /// The same, whose answer is a script that calls a function with the body as a string (JSONP), if it is a
    /// success. `head` is the script up to the string, `foot` the rest of it.
    #[must_use]
    pub fn script(mut self, head: impl Into<String>, foot: &'static str) -> Self {
        self.body = NewBody::Script(Box::new(Script { head: head.into(), foot }));
        self
    }

    /// The same, whose body is written in another form and sent as this type, if the answer is a success.
    #[must_use]
    pub fn recode(mut self, content_type: &'static str, recode: fn(&[u8]) -> Vec<u8>) -> Self {
        self.body = NewBody::Recoded(content_type, recode);
        self
    }

    /// Gives an answer what it gets on its way out.
    pub(crate) fn touch(&mut self, answer: &mut Answer) {
        match std::mem::take(&mut self.body) {
            NewBody::Same => {}
            NewBody::Script(script) => script.wrap(answer),
            NewBody::Recoded(content_type, recode) => {
                if let Some(body) = answer.body().as_whole().filter(|_| answer.status() == StatusCode::OK) {
                    *answer.body_mut() = recode(body).into();
                    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
                }
            }
        }
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
