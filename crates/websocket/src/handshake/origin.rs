//! Which pages may open a WebSocket (RFC 6455 §10.2). A browser sends a page's cookies with the handshake of
//! any other site's page too, so a server that asks nothing lets every page act as its user.

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, HOST},
};

use super::list;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

type Allowed = dyn Fn(Option<&HeaderValue>) -> bool + Send + Sync;

/// Decides whether a request's `Origin` is let in.
///
/// The default, [`same_host`](Self::same_host), lets in pages of the host and port that the request was sent to, and
/// programs, which send no `Origin`; and pages that a browser says are of the origin they ask ([`is_of_own_page`]), behind
/// whatever proxy. What is not let in is refused with 403
/// ([`HandshakeError::Origin`](super::server::HandshakeError::Origin)), before it is a WebSocket.
///
/// ```
/// use switchboard_websocket::OriginCheck;
///
/// let ours = OriginCheck::list(["https://app.example", "https://*.example.org", "http://localhost:*"]);
/// let by_length = OriginCheck::new(|origin| origin.is_none_or(|origin| origin.len() < 20));
/// # let _ = (ours, by_length);
/// ```
#[derive(Clone)]
pub struct OriginCheck {
    kind: Kind,
    forwarded: bool,
}

#[derive(Clone)]
enum Kind {
    SameHost,
    Any,
    List(Arc<[String]>),
    Check(Arc<Allowed>),
}

impl Default for OriginCheck {
    fn default() -> Self {
        Self::same_host()
    }
}

impl OriginCheck {
    const fn of(kind: Kind) -> Self {
        Self { kind, forwarded: false }
    }

    /// Lets in the host and port that the request was sent to, and programs. The scheme may differ: a proxy
    /// may have ended TLS.
    pub const fn same_host() -> Self {
        Self::of(Kind::SameHost)
    }

    /// Lets in everyone: for services that know their users by something else than cookies, such as a
    /// token in the first message.
    pub const fn any() -> Self {
        Self::of(Kind::Any)
    }

    /// Lets in these origins (`https://example.org`, `http://localhost:8080`, in any case) and those that match a pattern
    /// (`https://*.example.org`, `http://localhost:*`; see [`matches()`]), besides what [`same_host`](Self::same_host) does.
    pub fn list<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self::of(Kind::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Lets in the origins for which `allowed` is true, and no others. A request without one gives `None`.
    pub fn new(allowed: impl Fn(Option<&HeaderValue>) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Kind::Check(Arc::new(allowed)))
    }

    /// Takes the host that a proxy names in `X-Forwarded-Host` or `Forwarded` (RFC 7239) for the request's own too.
    /// Only for a server that nobody reaches but through a proxy which sets that header. A page can set neither of
    /// them on a WebSocket, so that cross-site pages stay out even where a proxy passes a client's own header on.
    #[must_use]
    pub const fn trust_forwarded_host(mut self) -> Self {
        self.forwarded = true;
        self
    }

    /// Whether `origin` is let in; `authority` is that of the request's URI, where it has one (HTTP/2), which
    /// counts before the `Host` among its `headers`.
    pub fn allows(&self, origin: Option<&HeaderValue>, authority: Option<&str>, headers: &HeaderMap) -> bool {
        let listed: &[String] = match &self.kind {
            Kind::Any => return true,
            Kind::Check(allowed) => return allowed(origin),
            Kind::List(list) => list,
            Kind::SameHost => &[],
        };
        let Some(origin) = origin else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        listed.iter().any(|listed| matches(listed, origin))
            || is_of_own_page(headers)
            || authority.or_else(host).is_some_and(|host| is_same_host(origin, host))
            || self.forwarded && forwarded_hosts(headers).any(|host| is_same_host(origin, host))
    }
}

impl fmt::Debug for OriginCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::SameHost => f.write_str("OriginCheck(same host)"),
            Kind::Any => f.write_str("OriginCheck(any)"),
            Kind::List(list) => f.debug_tuple("OriginCheck").field(list).finish(),
            Kind::Check(_) => f.write_str("OriginCheck(..)"),
        }
    }
}

/// Whether an origin is of this host and port (`example.org:8080`), whatever its scheme; where either leaves the
/// port out it is that of the origin's scheme.
///
/// ```
/// use switchboard_websocket::handshake::origin::is_same_host;
///
/// assert!(is_same_host("https://Example.org", "example.org:443"));
/// assert!(!is_same_host("https://example.org:8443", "example.org"));
/// assert!(!is_same_host("null", "example.org"));
/// ```
pub fn is_same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    !host.is_empty() && bare(authority) == bare(host)
}

/// Whether a browser says that the request is one of a page to the page's own origin: `Sec-Fetch-Site: same-origin`
/// ([Fetch Metadata](https://www.w3.org/TR/fetch-metadata/)). It compares the URL that it asked for, so that this holds
/// behind a proxy that hands on another `Host`; and no page can set the header.
///
/// Browsers send it to `https://` and to their own machine; Chromium does not with WebSockets.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use switchboard_websocket::handshake::origin::is_of_own_page;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("sec-fetch-site", HeaderValue::from_static("same-site"));
/// assert!(!is_of_own_page(&headers));
/// headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
/// assert!(is_of_own_page(&headers));
/// ```
pub fn is_of_own_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    sites.next().is_some_and(|site| site == "same-origin") && sites.next().is_none()
}

/// Whether an origin is the one named, in any case, or matches the pattern: `*.` before a host stands for one or more
/// labels, `:*` behind it for any port and for none.
///
/// ```
/// use switchboard_websocket::handshake::origin::matches;
///
/// assert!(matches("https://*.example.org", "https://a.b.example.org"));
/// assert!(!matches("https://*.example.org", "https://example.org"));
/// assert!(!matches("https://*.example.org", "https://a.example.org:8443"));
/// assert!(matches("http://localhost:*", "http://localhost:5173"));
/// ```
pub fn matches(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    if pattern == origin {
        return true;
    }
    let (Some((pattern_scheme, pattern)), Some((scheme, authority))) =
        (pattern.split_once("://"), origin.split_once("://"))
    else {
        return false;
    };
    let (pattern, authority) = match pattern.strip_suffix(":*") {
        Some(pattern) => (pattern, without_port(authority)),
        None => (pattern, authority),
    };
    let same = match pattern.strip_prefix("*.").filter(|domain| !domain.is_empty()) {
        Some(domain) => {
            authority.strip_suffix(domain).and_then(|host| host.strip_suffix('.')).is_some_and(is_name)
        }
        None => pattern == authority,
    };
    same && pattern_scheme == scheme
}

fn without_port(authority: &str) -> &str {
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    // An IPv6 address has colons within its brackets.
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { authority }
}

/// Whether these are labels of a domain's name.
fn is_name(labels: &str) -> bool {
    labels.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

/// The hosts that proxies say a client asked for, in `X-Forwarded-Host` and in `Forwarded`.
fn forwarded_hosts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let hosts = list(headers, &X_FORWARDED_HOST).filter_map(|host| std::str::from_utf8(host).ok());
    let elements = list(headers, &FORWARDED).filter_map(|element| std::str::from_utf8(element).ok());
    let pairs = elements.flat_map(|element| element.split(';')).filter_map(|pair| pair.split_once('='));
    let of_rfc_7239 = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("host"));
    hosts.chain(of_rfc_7239.map(|(_, host)| host.trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn allows(check: &OriginCheck, origin: Option<&str>, headers: &[(&'static str, &'static str)]) -> bool {
        let mut request = Request::new(());
        for &(name, value) in headers {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let origin = origin.and_then(|origin| HeaderValue::from_bytes(origin.as_bytes()).ok());
        check.allows(origin.as_ref(), None, request.headers())
    }

    #[test]
    fn an_origin_is_let_in_by_its_rule() {
        let list = OriginCheck::list(["https://app.example"]);
        let check = OriginCheck::new(|origin| origin.is_some_and(|origin| origin == "https://a.example"));
        let host: &[_] = &[("host", "chat.example:3000")];
        for (check, origin, expected) in [
            (OriginCheck::default(), None, true),
            (OriginCheck::default(), Some("http://chat.example:3000"), true),
            (OriginCheck::default(), Some("https://CHAT.example:3000"), true),
            (OriginCheck::default(), Some("http://chat.example"), false),
            (OriginCheck::default(), Some("http://chat.example:30"), false),
            (OriginCheck::default(), Some("http://chat.example:3000.evil.example"), false),
            (OriginCheck::default(), Some("http://evil.example"), false),
            (OriginCheck::default(), Some("null"), false),
            (OriginCheck::default(), Some(""), false),
            (OriginCheck::default(), Some("http://"), false),
            (OriginCheck::default(), Some("http://치즈.example"), false),
            (list.clone(), Some("HTTPS://APP.EXAMPLE"), true),
            (list.clone(), Some("http://app.example"), false),
            (list.clone(), Some("http://chat.example:3000"), true),
            (list.clone(), None, true),
            (list, Some("https://app.example.evil"), false),
            (check.clone(), Some("https://a.example"), true),
            (check.clone(), Some("http://chat.example:3000"), false),
            (check, None, false),
            (OriginCheck::any(), Some("null"), true),
        ] {
            assert_eq!(allows(&check, origin, host), expected, "{check:?} {origin:?}");
        }
        assert!(!allows(&OriginCheck::default(), Some("http://"), &[("host", "")]), "nowhere is no host");
    }

    #[test]
    fn an_origin_matches_its_pattern_and_nothing_else() {
        for (pattern, origin, expected) in [
            ("https://*.example.org", "https://a.example.org", true),
            ("https://*.Example.org", "HTTPS://a.B-c.example.ORG", true),
            ("https://*.example.org", "https://example.org", false),
            ("https://*.example.org", "https://.example.org", false),
            ("https://*.example.org", "https://a..example.org", false),
            ("https://*.example.org", "http://a.example.org", false),
            ("https://*.example.org", "https://a.example.org:8443", false),
            ("https://*.example.org", "https://evilexample.org", false),
            ("https://*.example.org", "https://a.example.org.evil", false),
            ("https://*.example.org", "https://evil/.example.org", false),
            ("https://*.example.org", "https://evil:1@x.example.org", false),
            ("https://*.example.org:8443", "https://a.example.org:8443", true),
            ("https://*.example.org:*", "https://a.example.org:8443", true),
            ("https://*.example.org:*", "https://a.example.org", true),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "http://localhost:1", true),
            ("http://localhost:*", "http://localhost:", false),
            ("http://localhost:*", "http://localhost:1.evil", false),
            ("http://localhost:*", "http://localhost.evil:1", false),
            ("http://[::1]:*", "http://[::1]:80", true),
            ("http://[::1]:*", "http://[::1]", true),
            ("*", "https://a.example", false),
            ("https://*", "https://a.example", false),
            ("https://*.", "https://a.", false),
            ("null", "null", true),
        ] {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_page_that_the_browser_says_is_of_our_own_origin_is_let_in_behind_any_proxy() {
        let check = OriginCheck::default();
        for (site, expected) in
            [("same-origin", true), ("same-site", false), ("cross-site", false), ("none", false), ("", false)]
        {
            let headers = [("host", "127.0.0.1:3000"), ("sec-fetch-site", site)];
            assert_eq!(allows(&check, Some("https://public.example"), &headers), expected, "{site}");
        }
        let twice = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert!(!allows(&check, Some("https://public.example"), &twice));
    }

    #[test]
    fn a_request_over_http_2_was_sent_to_its_authority() {
        let check = OriginCheck::default();
        let origin = HeaderValue::from_static("https://chat.example");
        let mut headers = HeaderMap::new();
        assert!(check.allows(Some(&origin), Some("chat.example"), &headers));
        headers.insert(HOST, HeaderValue::from_static("chat.example"));
        assert!(!check.allows(Some(&origin), Some("other.example"), &headers));
    }

    #[test]
    fn a_host_that_was_forwarded_counts_where_it_is_trusted_only() {
        let trusting = OriginCheck::default().trust_forwarded_host();
        for forwarded in [
            ("x-forwarded-host", "public.example"),
            ("x-forwarded-host", "inner.example, public.example:443"),
            ("forwarded", "for=192.0.2.1;host=public.example;proto=https"),
            ("forwarded", "for=192.0.2.1, For=192.0.2.2; Host=\"public.example\""),
        ] {
            let headers = [("host", "10.0.0.1:3000"), forwarded];
            assert!(allows(&trusting, Some("https://public.example"), &headers), "{forwarded:?}");
            assert!(!allows(&trusting, Some("https://evil.example"), &headers), "{forwarded:?}");
            assert!(!allows(&OriginCheck::default(), Some("https://public.example"), &headers));
        }
    }
}
