//! The pages that may open a WebSocket (RFC 6455 §10.2). A browser sends the cookies of a site with the
//! handshakes of other sites' pages too. So every page could act as the site's user on a server that does not
//! check the origin.

mod pattern;

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, HOST, ORIGIN},
};

use super::list;
use crate::drafts::hybi;
use pattern::Origin;
pub use pattern::{OriginError, OriginFault, OriginPattern};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The headers that decide on the origin of a request: all that an [`OriginCheck`] reads, and
/// [`drafts::origin`](crate::drafts::origin).
pub const ORIGIN_HEADERS: [HeaderName; 6] =
    [ORIGIN, hybi::ORIGIN, HOST, SEC_FETCH_SITE, X_FORWARDED_HOST, FORWARDED];

type IsListed = dyn Fn(&str) -> bool + Send + Sync;
type IsAllowed = dyn Fn(Option<&HeaderValue>) -> bool + Send + Sync;

/// Decides whether a request's `Origin` is let in.
///
/// The default, [`same_host`](Self::same_host), lets in pages of the host and port that the request was sent
/// to, and programs, which send no `Origin`. It also lets in pages that a browser says are of the origin they
/// ask ([`is_of_own_page`]), so that it works behind any proxy. A request of another origin is refused with
/// 403 ([`HandshakeError::Origin`](super::server::HandshakeError::Origin)), before it is a WebSocket.
///
/// ```
/// use switchboard_websocket::OriginCheck;
///
/// let ours = OriginCheck::list(["https://app.example", "https://*.example.org", "http://localhost:*"])?;
/// let by_domain = OriginCheck::listed_by(|origin| origin.ends_with(".example.org"));
/// let programs = OriginCheck::new(|origin| origin.is_none());
/// # let _ = (ours, by_domain, programs);
/// # Ok::<(), switchboard_websocket::handshake::origin::OriginError>(())
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
    List(Arc<[OriginPattern]>),
    ListedBy(Arc<IsListed>),
    Check(Arc<IsAllowed>),
}

/// The facts about a request that decide on its origin.
#[derive(Clone, Copy, Debug)]
pub struct OriginRequest<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The authority of the request's URI, where it has one (HTTP/2, HTTP/3). It counts before the header
    /// `Host`.
    pub authority: Option<&'a str>,
    /// Whether the client is known to use TLS all the way to this server or to a proxy before it. A host
    /// without a port is then on port 443, and a page of `http://` without a port is of another origin.
    /// `false` where that is not known.
    pub secure: bool,
    /// Whether a trusted proxy has handed the request on. Its `X-Forwarded-Host` and `Forwarded` (RFC 7239)
    /// may name the request's host then. See [`OriginCheck::trust_forwarded_host`].
    pub proxied: bool,
}

impl<'a> OriginRequest<'a> {
    /// A request of which only the headers are known.
    pub const fn new(headers: &'a HeaderMap) -> Self {
        Self { headers, authority: None, secure: false, proxied: false }
    }
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

    /// Lets in pages of the host and port that the request was sent to, and programs. The scheme may differ,
    /// because a proxy may have ended TLS.
    pub const fn same_host() -> Self {
        Self::of(Kind::SameHost)
    }

    /// Lets in every origin. This is for services that know their users by something else than cookies, such
    /// as a token in the first message.
    pub const fn any() -> Self {
        Self::of(Kind::Any)
    }

    /// Lets in these origins, and those that [`same_host`](Self::same_host) lets in. [`OriginPattern`] says
    /// how an origin or a pattern is written.
    ///
    /// # Errors
    ///
    /// [`OriginError`] for a text that no origin can match.
    pub fn list<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Result<Self, OriginError> {
        let patterns: Result<_, _> = origins.into_iter().map(|origin| origin.as_ref().parse()).collect();
        Ok(Self::of(Kind::List(patterns?)))
    }

    /// Lets in the origins for which `is_listed` is true, and those that [`same_host`](Self::same_host) lets
    /// in. The function gets the origin as the request has it.
    pub fn listed_by(is_listed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Kind::ListedBy(Arc::new(is_listed)))
    }

    /// Lets in the origins for which `allowed` is true, and no others. A request without an origin gives
    /// `None`.
    pub fn new(allowed: impl Fn(Option<&HeaderValue>) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Kind::Check(Arc::new(allowed)))
    }

    /// Lets in the host that a proxy names in `X-Forwarded-Host` or `Forwarded` (RFC 7239) too, as if each
    /// request were [`proxied`](OriginRequest::proxied). This is for a server that clients reach only through
    /// a proxy which sets that header. A page can set neither header on a WebSocket, so that pages of other
    /// sites stay out even where a proxy hands on a client's own header.
    #[must_use]
    pub const fn trust_forwarded_host(mut self) -> Self {
        self.forwarded = true;
        self
    }

    /// Whether every origin is let in: see [`any`](Self::any).
    pub const fn is_any(&self) -> bool {
        matches!(self.kind, Kind::Any)
    }

    /// Whether this origin is let in for every host of a request: it is in the [`list`](Self::list), or the
    /// function that was given is true for it. A server that answers by CORS calls this.
    pub fn is_listed(&self, origin: &HeaderValue) -> bool {
        match &self.kind {
            Kind::SameHost => false,
            Kind::Any => true,
            Kind::Check(allowed) => allowed(Some(origin)),
            Kind::List(list) => {
                origin.to_str().is_ok_and(|origin| list.iter().any(|one| one.matches(origin)))
            }
            Kind::ListedBy(is_listed) => origin.to_str().is_ok_and(is_listed.as_ref()),
        }
    }

    /// Whether a request with this origin is let in. [`drafts::origin`](crate::drafts::origin) finds the
    /// origin of a request.
    pub fn allows(&self, origin: Option<&HeaderValue>, request: &OriginRequest<'_>) -> bool {
        if let Kind::Check(allowed) = &self.kind {
            return allowed(origin);
        }
        let Some(origin) = origin else { return true };
        self.is_listed(origin)
            || is_of_own_page(request.headers)
            || origin.to_str().is_ok_and(|origin| self.is_own(origin, request))
    }

    /// Whether an origin has the host and port that a request was sent to.
    fn is_own(&self, origin: &str, request: &OriginRequest<'_>) -> bool {
        let Ok(origin) = Origin::split(origin) else { return false };
        if request.secure && origin.is_on_default_port_of_http() {
            return false;
        }
        let headers = request.headers;
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let forwarded = self.forwarded || request.proxied;
        request.authority.or_else(host).is_some_and(|host| origin.is_at(host))
            || forwarded && forwarded_hosts(headers).any(|host| origin.is_at(host))
    }
}

impl fmt::Debug for OriginCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::SameHost => f.write_str("OriginCheck(same host)"),
            Kind::Any => f.write_str("OriginCheck(any)"),
            Kind::List(list) => {
                f.write_str("OriginCheck")?;
                f.debug_list().entries(list.iter().map(ToString::to_string)).finish()
            }
            Kind::ListedBy(_) => f.write_str("OriginCheck(listed by a function)"),
            Kind::Check(_) => f.write_str("OriginCheck(..)"),
        }
    }
}

/// Whether an origin of `http://` or `https://` has this host and port (`example.org:8080`). The scheme does
/// not matter. A port that is left out is the default port of the origin's scheme.
///
/// ```
/// use switchboard_websocket::handshake::origin::is_same_host;
///
/// assert!(is_same_host("https://Example.org", "example.org:443"));
/// assert!(!is_same_host("https://example.org:8443", "example.org"));
/// assert!(!is_same_host("null", "example.org"));
/// ```
pub fn is_same_host(origin: &str, host: &str) -> bool {
    Origin::split(origin).is_ok_and(|origin| origin.is_at(host))
}

/// Whether the browser says that a page sent the request to the page's own origin: `Sec-Fetch-Site:
/// same-origin` ([Fetch Metadata](https://www.w3.org/TR/fetch-metadata/)). The browser compares the URL that
/// it asked for, so that this is right behind a proxy that changes `Host`. No page can set the header.
///
/// Browsers send the header to `https://` and to their own machine. Chromium does not send it with
/// WebSockets.
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

/// The hosts that clients asked for, as proxies name them in `X-Forwarded-Host` and in `Forwarded`.
fn forwarded_hosts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let hosts = list(headers, &X_FORWARDED_HOST).filter_map(|host| std::str::from_utf8(host).ok());
    let elements = list(headers, &FORWARDED).filter_map(|element| std::str::from_utf8(element).ok());
    let pairs = elements.flat_map(|element| element.split(';')).filter_map(|pair| pair.split_once('='));
    let of_rfc_7239 = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("host"));
    hosts.chain(of_rfc_7239.map(|(_, host)| host.trim().trim_matches('"')))
}
