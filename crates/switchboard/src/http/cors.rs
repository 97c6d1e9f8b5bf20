//! Who may read our answers from a page of another origin (CORS), and who may open a WebSocket from one.
//!
//! [Fetch, CORS protocol](https://fetch.spec.whatwg.org/#http-cors-protocol);
//! [RFC 6455, 10.2](https://www.rfc-editor.org/rfc/rfc6455#section-10.2).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, REFERER, VARY,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use switchboard_websocket::handshake::origin::{OriginRequest, is_of_own_page};
use switchboard_websocket::{OriginCheck, OriginError, drafts};

use super::{Answer, Body};
use crate::Peer;
use crate::functions::guarded;

/// The origins whose pages may talk to the server.
///
/// The default, [`same`](Self::same), lets in pages of the host and port that the request was sent to, and
/// clients that are no browsers (they send no `Origin`). A page of another origin gets a 403, on every
/// transport alike.
///
/// A proxy may change `Host`. Behind it a page of our own is known by its browser's word (`Sec-Fetch-Site:
/// same-origin`). The WebSocket of an Engine.IO session is let in too if the session began that way.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    check: OriginCheck,
    credentials: bool,
}

impl Origins {
    const fn of(check: OriginCheck) -> Self {
        Self { check, credentials: false }
    }

    /// The request's own host and port only.
    pub fn same() -> Self {
        Self::of(OriginCheck::same_host())
    }

    /// Every origin.
    pub fn any() -> Self {
        Self::of(OriginCheck::any())
    }

    /// These origins (`https://example.org`, `http://localhost:8080`, `file://`, `null`) and those that match
    /// a pattern (`https://*.example.org` for all hosts below that domain, `http://localhost:*` for all
    /// ports), and the request's own host and port. [`OriginPattern`](crate::OriginPattern) has the whole
    /// list of forms.
    ///
    /// # Errors
    ///
    /// [`OriginError`] for a text that no origin can match, such as `example.org` or
    /// `https://example.org/chat`.
    pub fn list<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Result<Self, OriginError> {
        OriginCheck::list(origins).map(Self::of)
    }

    /// The origins for which `check` is true, and the request's own host and port.
    pub fn check(check: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::of(OriginCheck::listed_by(check))
    }

    /// Lets pages of these origins send cookies with their requests (`withCredentials`). Default: off.
    #[must_use]
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// Whether a request is let in. A request without an `Origin` is: it comes from a program, or from a page
    /// of our own host.
    pub(crate) fn allow(&self, parts: &Parts, peer: Peer) -> bool {
        self.check.allows(drafts::origin(&parts.headers), &Self::request(parts, peer))
    }

    fn request(parts: &Parts, peer: Peer) -> OriginRequest<'_> {
        OriginRequest {
            authority: parts.uri.authority().map(Authority::as_str),
            secure: peer.secure,
            proxied: peer.proxied,
            ..OriginRequest::new(&parts.headers)
        }
    }

    /// The origin of a request that is not let in by it.
    pub(crate) fn stranger<'a>(&self, parts: &'a Parts, peer: Peer) -> Option<&'a str> {
        let origin = drafts::origin(&parts.headers).and_then(|origin| origin.to_str().ok());
        (!self.allow(parts, peer)).then(|| origin.unwrap_or("(not text)"))
    }

    /// The origin of a script's request (JSONP) that is not let in by it. Browsers send no `Origin` with a script, so
    /// the page is known by `Sec-Fetch-Site: same-origin`, or by `Referer`. A request that has none of the three is
    /// let in only if every origin is: the page may have hidden its own.
    pub(crate) fn stranger_by_script<'a>(&self, parts: &'a Parts, peer: Peer) -> Option<&'a str> {
        let headers = &parts.headers;
        if self.check.is_any() || is_of_own_page(headers) || headers.contains_key(ORIGIN) {
            return self.stranger(parts, peer);
        }
        let Some(origin) = headers.get(REFERER).and_then(origin_of) else { return Some("(not told)") };
        let request = Self::request(parts, peer);
        let is_let_in =
            HeaderValue::from_str(origin).is_ok_and(|value| self.check.allows(Some(&value), &request));
        (!is_let_in).then_some(origin)
    }

    /// Adds what lets a page of another origin read the answer. Nothing for one of the request's own.
    /// `origin` is the request's.
    pub(crate) fn add_headers(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        if !guarded(|| self.check.is_listed(origin)).unwrap_or(false) {
            return;
        }
        if self.check.is_any() && !self.credentials {
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

/// The origin of the URL in a `Referer`.
fn origin_of(referer: &HeaderValue) -> Option<&str> {
    let url = referer.to_str().ok()?;
    let authority = url.find("://")? + "://".len();
    let end = url.get(authority..)?.find(['/', '?', '#']).map_or(url.len(), |len| authority + len);
    url.get(..end)
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

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
        let list = Origins::list(["https://app.example:443", "https://*.apps.example", "file://"]).unwrap();
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
            (list.clone(), Some("file://"), true),
            (list.clone(), Some("null"), false),
            (list, Some("https://app.example.evil"), false),
            (check.clone(), Some("https://a.example"), true),
            (check, Some("https://a.test"), false),
            (Origins::any(), Some("null"), true),
        ] {
            assert_eq!(origins.allow(&request(origin), Peer::default()), allowed, "{origins:?} {origin:?}");
        }
    }

    #[test]
    fn the_page_of_a_script_is_known_by_its_browsers_word_or_by_its_address() {
        let list = || Origins::list(["https://app.example"]).unwrap();
        let own = Some("http://chat.example:3000/page?a=b");
        for (origins, site, referer, origin, allowed) in [
            (Origins::same(), Some("same-origin"), None, None, true),
            (Origins::same(), None, own, None, true),
            (Origins::same(), None, Some("http://chat.example:3000"), None, true),
            (Origins::same(), None, None, None, false),
            (Origins::same(), Some("cross-site"), None, None, false),
            (Origins::same(), Some("none"), None, None, false),
            (Origins::same(), Some("cross-site"), Some("https://evil.example/"), None, false),
            (Origins::same(), None, Some("https://evil.example/http://chat.example:3000/"), None, false),
            (Origins::same(), None, Some("https://evil.example?://chat.example:3000"), None, false),
            (Origins::same(), None, Some("https://evil.example@chat.example:3000/"), None, false),
            (Origins::same(), None, Some("chat.example:3000"), None, false),
            // A form says its origin.
            (Origins::same(), None, own, Some("https://evil.example"), false),
            (Origins::same(), None, None, Some("http://chat.example:3000"), true),
            (list(), Some("cross-site"), Some("https://app.example/page"), None, true),
            (list(), Some("cross-site"), Some("https://app.example.evil/page"), None, false),
            (list(), Some("cross-site"), None, None, false),
            (Origins::any(), Some("cross-site"), None, None, true),
            (Origins::any(), None, None, None, true),
        ] {
            let mut parts = request(origin);
            for (name, value) in [("sec-fetch-site", site), ("referer", referer)] {
                parts.headers.extend(
                    value.map(|value| (http::HeaderName::from_static(name), HeaderValue::from_static(value))),
                );
            }
            let stranger = origins.stranger_by_script(&parts, Peer::default());
            assert_eq!(stranger.is_none(), allowed, "{origins:?} {site:?} {referer:?} {origin:?}");
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
