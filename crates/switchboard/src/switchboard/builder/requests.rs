//! Requests: those that are let in, functions around each of them, and headers.

use http::HeaderMap;
use http::request::Parts;

use super::Builder;
use crate::engineio::SessionCookie;
use crate::handshake::{KeepHeaders, Peer};
use crate::http::admission::{AllowRequest, IntoAllowed};
use crate::http::cors::Origins;
use crate::http::hooks::{HeadersHook, RefusedHook, RefusedRequest};
use crate::refusals::{Refusals, Refused};

impl Builder {
    /// A check on each session before it opens. It returns `Ok(())`, or [`Allowed`](crate::Allowed) with
    /// values that handlers get by [`Extension`](crate::Extension). Its error is the message of a 403, or a
    /// [`Refusal`](crate::Refusal) with any status and headers. Default: none.
    pub fn allow_request<R: IntoAllowed>(
        mut self,
        check: impl Fn(&Parts, Peer) -> R + Send + Sync + 'static,
    ) -> Self {
        self.engine.allow_request = Some(AllowRequest::new(check));
        self
    }

    /// As [`allow_request`](Self::allow_request), of a check that takes time. The request waits for it, up to
    /// [`decision_timeout`](crate::ListenerOptions::decision_timeout).
    pub fn allow_request_async<R, F>(
        mut self,
        check: impl Fn(Parts, Peer) -> F + Send + Sync + 'static,
    ) -> Self
    where
        R: IntoAllowed,
        F: Future<Output = R> + Send + 'static,
    {
        self.engine.allow_request = Some(AllowRequest::from_async(check));
        self
    }

    /// Adds headers to the answer that opens a session (`initial_headers`).
    pub fn initial_headers(mut self, add: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.engine.initial_headers = Some(HeadersHook::new(add));
        self
    }

    /// Adds headers to each answer to a request of a session, the first among them (`headers`).
    pub fn headers(mut self, add: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.engine.headers = Some(HeadersHook::new(add));
        self
    }

    /// Calls a function for each request that is refused by its head (`connection_error`).
    pub fn on_connection_error(mut self, tell: impl Fn(&RefusedRequest<'_>) + Send + Sync + 'static) -> Self {
        self.engine.connection_error = Some(RefusedHook::new(tell));
        self
    }

    /// Calls a function for whatever the server refuses or drops: connections, requests, CONNECTs, packets,
    /// events beyond a rate or without a handler, events to clients that do not read. It runs on the thread
    /// that refuses, and must not wait. (A request of a session that is not known is counted only.)
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let io = switchboard::Switchboard::builder()
    ///     .on_refused(|refused| eprintln!("{:?} of {:?}: {}", refused.kind, refused.address, refused.reason))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_refused(mut self, tell: impl Fn(&Refused<'_>) + Send + Sync + 'static) -> Self {
        self.shared = Some("on_refused");
        self.refusals = Refusals::new(tell);
        self
    }

    /// The headers of the request that a socket's handshake keeps.
    pub fn keep_headers(mut self, keep: KeepHeaders) -> Self {
        self.engine.keep_headers = keep;
        self
    }

    /// The origins of pages that may connect, and read the answers (CORS). Default: the server's own host.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.engine.origins = origins;
        self
    }

    /// The cookie that the first answer on polling sets: it holds the session's id, for balancers that keep a
    /// client's requests on one server. Default: none.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.engine.cookie = Some(cookie);
        self
    }
}
