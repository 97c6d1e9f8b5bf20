//! Who may read our answers from a page of another origin (CORS), and who may open a WebSocket from one.
//!
//! [Fetch, CORS protocol](https://fetch.spec.whatwg.org/#http-cors-protocol);
//! [RFC 6455, 10.2](https://www.rfc-editor.org/rfc/rfc6455#section-10.2).

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, HOST, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use switchboard_websocket::drafts;
use switchboard_websocket::handshake::origin::{is_of_own_page, is_same_host, matches};

use super::{Answer, Body};
use crate::Peer;
use crate::functions::guarded;
use crate::proxies::forwarded_hosts;

/// A function that decides on an origin.
type OriginCheck = dyn Fn(&str) -> bool + Send + Sync;

/// Pages of which origins may talk to the server.
///
/// The default, [`same`](Self::same), lets in pages of the host and port that the request was sent to, and clients that are no browsers
/// (they send no `Origin`). Pages of other origins get a 403, on every transport alike.
///
/// Behind a proxy that hands on another `Host`, a page is known for one of ours by what its browser says of the request
/// (`Sec-Fetch-Site: same-origin`), and the WebSocket that a session of Engine.IO goes over to by the session, if that is how it began.
#[derive(Clone)]
pub struct Origins {
    kind: Kind,
    credentials: bool,
}

#[derive(Clone)]
enum Kind {
    Same,
    Any,
    List(Arc<[String]>),
    Check(Arc<OriginCheck>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::same()
    }
}

impl std::fmt::Debug for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Same => f.write_str("same"),
            Kind::Any => f.write_str("any"),
            Kind::List(list) => list.fmt(f),
            Kind::Check(_) => f.write_str("check"),
        }
    }
}

impl Origins {
    /// The request's own host and port only.
    pub fn same() -> Self {
        Self { kind: Kind::Same, credentials: false }
    }

    /// Every origin.
    pub fn any() -> Self {
        Self { kind: Kind::Any, credentials: false }
    }

    /// These origins (`https://example.org`, `http://localhost:8080`) and those that match a pattern (`https://*.example.org` for all
    /// below that domain, `http://localhost:*` for all ports), and the request's own host and port.
    pub fn list<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self { kind: Kind::List(origins.into_iter().map(Into::into).collect()), credentials: false }
    }

    /// Those that `check` lets in, and the request's own host and port.
    pub fn check(check: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Check(Arc::new(check)), credentials: false }
    }

    /// Lets pages of these origins send cookies with their requests (`withCredentials`). Default: off.
    #[must_use]
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// Whether a request is let in. Requests without an `Origin` are: no browser's page is behind them, or one of our own host.
    pub(crate) fn allow(&self, parts: &Parts, peer: Peer) -> bool {
        let Some(origin) = drafts::origin(&parts.headers) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        self.is_listed(origin) || is_of_own_page(&parts.headers) || is_same(origin, parts, peer)
    }

    /// The origin of a request that is not let in by it.
    pub(crate) fn stranger<'a>(&self, parts: &'a Parts, peer: Peer) -> Option<&'a str> {
        let origin = drafts::origin(&parts.headers).and_then(|origin| origin.to_str().ok());
        (!self.allow(parts, peer)).then(|| origin.unwrap_or("(not text)"))
    }

    fn is_listed(&self, origin: &str) -> bool {
        match &self.kind {
            Kind::Same => false,
            Kind::Any => true,
            Kind::List(list) => list.iter().any(|listed| matches(listed, origin)),
            Kind::Check(check) => check(origin),
        }
    }

    /// Adds what lets a page of another origin read the answer. Nothing for one of the request's own.
    /// `origin` is the request's.
    pub(crate) fn add_headers(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        let is_listed = |origin| guarded(|| self.is_listed(origin)).unwrap_or(false);
        if !origin.to_str().is_ok_and(is_listed) {
            return;
        }
        if matches!(self.kind, Kind::Any) && !self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to a preflight request.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> Answer {
        let mut answer = Response::new(Body::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        self.add_preflight_headers(request, answer.headers_mut());
        answer
    }

    fn add_preflight_headers(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        self.add_headers(request.get(ORIGIN), answer);
        if answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST,OPTIONS"));
            if let Some(headers) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
                answer.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
            }
        }
    }
}

/// Whether an origin is the host and port that the request was sent to, whatever the scheme: a proxy may have ended TLS. Where TLS is known
/// to go all the way, a host without a port is on 443, which no page of `http://` without a port came from. A trusted proxy may say in
/// `X-Forwarded-Host` which host that was; no browser's page can.
fn is_same(origin: &str, parts: &Parts, peer: Peer) -> bool {
    let is_same_host = |origin: &str, host: &str| {
        is_same_host(origin, host) && !(peer.secure && on_default_port_of_http(origin))
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
        .is_some_and(|host| is_same_host(origin, host))
        || peer.proxied && forwarded_hosts(&parts.headers).any(|host| is_same_host(origin, host))
}

/// Whether it is an origin on port 80, as browsers write it.
fn on_default_port_of_http(origin: &str) -> bool {
    const SCHEME: &str = "http://";
    let scheme = origin.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let authority = origin.get(SCHEME.len()..).unwrap_or_default();
    // An IPv6 address has colons within its brackets.
    let behind_host = authority.rsplit(']').next().unwrap_or_default();
    scheme && (!behind_host.contains(':') || behind_host.ends_with(":80"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: Option<&str>) -> Parts {
        let mut request = http::Request::get("/").header(HOST, "chat.example:3000");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn origins_are_let_in_by_their_rule() {
        let list = Origins::list(["https://app.example", "https://*.apps.example"]);
        let check = Origins::check(|origin| origin.ends_with(".example"));
        for (origins, origin, allowed) in [
            (Origins::same(), None, true),
            (Origins::same(), Some("http://chat.example:3000"), true),
            (Origins::same(), Some("https://CHAT.example:3000"), true),
            (Origins::same(), Some("http://chat.example"), false),
            (Origins::same(), Some("http://chat.example:3000.evil.example"), false),
            (Origins::same(), Some("null"), false),
            (list.clone(), Some("https://app.example"), true),
            (list.clone(), Some("https://one.apps.example"), true),
            (list.clone(), Some("https://apps.example"), false),
            (list.clone(), Some("http://chat.example:3000"), true),
            (list, Some("https://app.example.evil"), false),
            (check.clone(), Some("https://a.example"), true),
            (check, Some("https://a.test"), false),
            (Origins::any(), Some("null"), true),
        ] {
            assert_eq!(origins.allow(&request(origin), Peer::default()), allowed, "{origins:?} {origin:?}");
        }
    }

    #[test]
    fn over_tls_a_page_of_the_other_default_port_is_anothers() {
        let secure = Peer { secure: true, ..Peer::default() };
        for (host, origin, over_tls, without) in [
            ("chat.example", "https://chat.example", true, true),
            ("chat.example:443", "https://chat.example", true, true),
            ("chat.example", "http://chat.example", false, true),
            ("chat.example:80", "http://chat.example", false, true),
            ("chat.example:3000", "http://chat.example:3000", true, true),
            ("[::1]", "https://[::1]", true, true),
            ("[::1]", "HTTP://[::1]", false, true),
            ("[::1]:3000", "http://[::1]:3000", true, true),
        ] {
            let mut parts = request(Some(origin));
            parts.headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(Origins::same().allow(&parts, secure), over_tls, "{host} {origin}");
            assert_eq!(Origins::same().allow(&parts, Peer::default()), without, "{host} {origin}");
        }
    }

    #[test]
    fn no_header_lets_others_read_unless_they_are_listed() {
        let mut answer = HeaderMap::new();
        Origins::same().add_headers(request(Some("https://evil.example")).headers.get(ORIGIN), &mut answer);
        assert!(answer.is_empty());
        Origins::any()
            .credentials(true)
            .add_headers(request(Some("https://a.example")).headers.get(ORIGIN), &mut answer);
        assert_eq!(answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://a.example");
        assert_eq!(answer.get(ACCESS_CONTROL_ALLOW_CREDENTIALS).unwrap(), "true");
    }

    #[test]
    fn a_host_that_was_forwarded_counts_behind_a_trusted_proxy_only() {
        let mut parts = request(Some("https://public.example"));
        parts.headers.insert("x-forwarded-host", HeaderValue::from_static("public.example"));
        assert!(!Origins::same().allow(&parts, Peer::default()));
        let proxied = Peer { proxied: true, ..Peer::default() };
        assert!(Origins::same().allow(&parts, proxied));
        parts.headers.insert(ORIGIN, HeaderValue::from_static("https://chat.example:3000"));
        assert!(Origins::same().allow(&parts, proxied));
        parts.headers.insert(ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!Origins::same().allow(&parts, proxied));
    }
}
