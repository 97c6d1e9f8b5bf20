//! How long a connection is kept for a request, and how its client is told so.

use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use hyper::body::Incoming;
use switchboard_hub::Worker;
use tokio::time::Instant;

use crate::server::options::ListenerOptions;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What an answer over HTTP/1.1 says of its connection: for how long it is kept.
pub(super) struct KeepAliveHeader(Option<HeaderValue>);

impl KeepAliveHeader {
    pub(super) fn new(options: &ListenerOptions) -> Self {
        let seconds = options.keep_alive_timeout.as_secs();
        Self(HeaderValue::from_str(&format!("timeout={seconds}")).ok())
    }

    /// The header for the answer to a request, whose client may want no other.
    pub(super) fn of(&self, request: &Request<Incoming>) -> Option<HeaderValue> {
        let is_kept = request.version() == Version::HTTP_11 && !request.headers().contains_key(CONNECTION);
        self.0.clone().filter(|_| is_kept)
    }

    pub(super) fn add(header: Option<HeaderValue>, answer: &mut HeaderMap) {
        if let Some(header) = header
            && !answer.contains_key(CONNECTION)
        {
            answer.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
            answer.insert(KEEP_ALIVE, header);
        }
    }
}

/// How long a connection may be idle.
pub(super) struct Patience {
    /// Before its first request.
    first: Duration,
    /// Between two requests.
    kept: Duration,
}

impl Patience {
    pub(super) fn new(options: &ListenerOptions) -> Self {
        Self { first: options.head_timeout, kept: options.keep_alive_timeout }
    }

    /// How often to look whether the time is over.
    pub(super) fn step(&self) -> Duration {
        self.first.min(self.kept)
    }

    /// When to look again, if a connection is idle `since`; `None` when its time is over.
    pub(super) fn next_look(&self, since: Option<Instant>, is_kept: bool) -> Option<Instant> {
        let now = Instant::now();
        let next = Worker::deadline_from(now, self.step());
        let Some(since) = since else { return Some(next) };
        let end = Worker::deadline_from(since, if is_kept { self.kept } else { self.first });
        (end > now).then_some(end.min(next))
    }
}
