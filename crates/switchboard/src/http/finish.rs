//! The last touch to the answer of a polling request: CORS headers and compression.

use std::sync::Arc;

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use super::compress::{Coding, compress};
use super::decide::{PollKind, PollRequest};
use super::{Answer, Uncompressed};
use crate::engineio::EngineServer;

/// What the answer to a polling request still needs to know of the request.
pub(super) struct Finish {
    server: Arc<EngineServer>,
    origin: Option<HeaderValue>,
    coding: Option<Coding>,
}

impl Finish {
    pub(super) fn of(poll: &PollRequest, request: &HeaderMap) -> Self {
        let server = Arc::clone(&poll.server);
        // A copy: the value itself may share a buffer with all the others.
        let origin = request.get(ORIGIN).and_then(|origin| HeaderValue::from_bytes(origin.as_bytes()).ok());
        // The answer to a POST says nothing that is worth it.
        let compresses = server.options.http_compression.is_some() && !matches!(poll.kind, PollKind::Post(_));
        let coding = compresses.then(|| Coding::of(request)).flatten();
        Self { server, origin, coding }
    }

    pub(super) fn answer(self, mut answer: Answer) -> Answer {
        let options = &self.server.options;
        options.origins.add_headers(self.origin.as_ref(), answer.headers_mut());
        match (options.http_compression, self.coding) {
            (Some(threshold), Some(coding)) if answer.extensions_mut().remove::<Uncompressed>().is_none() => {
                compress(threshold, coding, answer)
            }
            _ => answer,
        }
    }
}
