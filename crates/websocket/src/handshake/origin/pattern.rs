//! Origins in one form, and patterns of them ([RFC 6454](https://www.rfc-editor.org/rfc/rfc6454),
//! [HTML, origins](https://html.spec.whatwg.org/multipage/browsers.html#concept-origin)).

use std::{borrow::Cow, fmt, net::Ipv6Addr, str::FromStr};

use thiserror::Error;

/// The origin of a page without one: of a sandboxed frame, a `data:` URL, and in most browsers of a local
/// file.
const OPAQUE: &str = "null";

/// One origin, or a pattern of origins, in the form that origins are compared in: scheme and host in small
/// letters, and no port where it is the default port of the scheme.
///
/// | written as | matches |
/// |---|---|
/// | `https://app.example`, `https://App.Example:443/` | pages of this host, over TLS, on port 443 |
/// | `http://localhost:8080` | pages of this host and port |
/// | `https://*.example.org` | pages of all hosts below this domain, not of the domain itself |
/// | `http://localhost:*` | pages of this host on any port; it may follow `*.example.org` too |
/// | `null` | pages without an origin: sandboxed frames, `data:` URLs, local files in most browsers |
/// | `file://` | local files in Android's WebView and Cordova; Arduino's WebSocket client |
/// | `capacitor://localhost`, `chrome-extension://abc` | pages of apps and extensions, which have schemes of their own |
///
/// ```
/// use switchboard_websocket::handshake::origin::OriginPattern;
///
/// let pattern: OriginPattern = "https://App.example:443".parse().unwrap();
/// assert_eq!(pattern.to_string(), "https://app.example");
/// assert!(pattern.matches("https://app.example"));
/// assert!(!pattern.matches("https://app.example:8443"));
///
/// let error = "app.example".parse::<OriginPattern>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"no origin can match "app.example": it has no scheme, such as https://"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Opaque,
    Named { scheme: Box<str>, host: Host, port: Port },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Is(Box<str>),
    /// All hosts below this domain.
    Below(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Port {
    /// `None` is the default port of the scheme, or no port where the scheme has none.
    Is(Option<u16>),
    Any,
}

/// A text that no origin can match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no origin can match {origin:?}: {fault}")]
pub struct OriginError {
    /// The text.
    pub origin: String,
    /// What is wrong with it.
    pub fault: OriginFault,
}

/// Why no origin can match a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum OriginFault {
    /// It is `*` alone. [`OriginCheck::any`](super::OriginCheck::any) lets in every origin.
    #[error("a list of origins has no `*`; there is an option of its own for every origin")]
    Every,
    /// It has no `://`.
    #[error("it has no scheme, such as https://")]
    NoScheme,
    /// Its scheme is none: a letter, then letters, digits, `+`, `-` and `.` (RFC 3986 §3.1).
    #[error("its scheme is malformed")]
    Scheme,
    /// Its scheme is `ws` or `wss`, which is that of the connection and not of the page.
    #[error("pages have the scheme http:// or https://, also those that open WebSockets")]
    WebSocketScheme,
    /// It has no host.
    #[error("it has no host")]
    NoHost,
    /// Its host has characters that browsers send in another form, or not at all.
    #[error("its host is malformed")]
    Host,
    /// Its host is not ASCII. Browsers send such a name in the form that begins with `xn--`.
    #[error("its host is not ASCII; browsers send the form that begins with xn--")]
    NotAscii,
    /// `*` is in a place where it means nothing.
    #[error("`*.` stands before a domain and `:*` behind a host; there is no other place for `*`")]
    Wildcard,
    /// Its port is no number up to 65535.
    #[error("its port is malformed")]
    Port,
    /// It has a user. Origins have none.
    #[error("an origin has no user")]
    User,
    /// It has more than a `/` behind the host: a path, a query or a fragment. Origins have none.
    #[error("an origin ends with its host and port, and has no path")]
    Path,
}

impl OriginPattern {
    /// Whether an origin, as a request has it, is this one or matches this pattern.
    pub fn matches(&self, origin: &str) -> bool {
        let Kind::Named { scheme, host, port } = &self.0 else { return origin == OPAQUE };
        let Ok(origin) = Origin::split(origin) else { return false };
        origin.scheme.eq_ignore_ascii_case(scheme)
            && (*port == Port::Any || *port == Port::Is(origin.port))
            && host.matches(&origin.normal_host())
    }

    fn parse(text: &str) -> Result<Self, OriginFault> {
        match text {
            OPAQUE => return Ok(Self(Kind::Opaque)),
            "*" => return Err(OriginFault::Every),
            _ => {}
        }
        if text.starts_with("*:") {
            return Err(OriginFault::Wildcard);
        }
        let host_of_any_port = text.strip_suffix(":*").or_else(|| text.strip_suffix(":*/"));
        let (text, any_port) = (host_of_any_port.unwrap_or(text), host_of_any_port.is_some());
        let origin = Origin::split(text)?;
        if any_port && behind_host(origin.authority).is_some() {
            return Err(OriginFault::Port);
        }
        let scheme = origin.scheme.to_ascii_lowercase();
        if scheme == "ws" || scheme == "wss" {
            return Err(OriginFault::WebSocketScheme);
        }
        let host = if let Some(domain) = origin.host.strip_prefix("*.") {
            check_host(&scheme, domain)?;
            Host::Below(domain.to_ascii_lowercase().into())
        } else {
            check_host(&scheme, origin.host)?;
            Host::Is(origin.normal_host().to_ascii_lowercase().into())
        };
        let port = if any_port { Port::Any } else { Port::Is(origin.port) };
        Ok(Self(Kind::Named { scheme: scheme.into(), host, port }))
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    /// Parses an origin or a pattern. White space around it, and one `/` behind it, mean nothing.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let text = text.trim();
        Self::parse(text).map_err(|fault| OriginError { origin: text.to_owned(), fault })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind::Named { scheme, host, port } = &self.0 else { return f.write_str(OPAQUE) };
        write!(f, "{scheme}://")?;
        match host {
            Host::Is(host) => f.write_str(host)?,
            Host::Below(domain) => write!(f, "*.{domain}")?,
        }
        match port {
            Port::Is(None) => Ok(()),
            Port::Is(Some(port)) => write!(f, ":{port}"),
            Port::Any => f.write_str(":*"),
        }
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Is(known) => host.eq_ignore_ascii_case(known),
            Self::Below(domain) => {
                let Some(at) = host.len().checked_sub(domain.len()) else { return false };
                let Some((labels, rest)) = host.split_at_checked(at) else { return false };
                rest.eq_ignore_ascii_case(domain) && labels.strip_suffix('.').is_some_and(is_name)
            }
        }
    }
}

/// An origin, taken apart and not yet in one form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    scheme: &'a str,
    /// Host and port as they came.
    authority: &'a str,
    host: &'a str,
    /// `None` for the default port of the scheme.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// Takes an origin apart. One `/` behind it means nothing: some programs send it.
    pub(super) fn split(text: &'a str) -> Result<Self, OriginFault> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginFault::NoScheme)?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(known) {
            return Err(OriginFault::Scheme);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(OriginFault::Path);
        }
        if authority.contains('@') {
            return Err(OriginFault::User);
        }
        let (host, port) = split_authority(authority)?;
        if host.is_empty() && (port.is_some() || default_port(scheme).is_some()) {
            return Err(OriginFault::NoHost);
        }
        let port = port.filter(|port| Some(*port) != default_port(scheme));
        Ok(Self { scheme, authority, host, port })
    }

    /// Whether its scheme is one of the web's, and `host`, of a request over it, names its host and port.
    pub(super) fn is_at(&self, host: &str) -> bool {
        let (Some(default), Ok((host, port))) = (default_port(self.scheme), split_authority(host)) else {
            return false;
        };
        self.port.unwrap_or(default) == port.unwrap_or(default)
            && self.normal_host().eq_ignore_ascii_case(&normal_host(host))
    }

    /// Whether it is on port 80, where pages come without TLS.
    pub(super) fn is_on_default_port_of_http(&self) -> bool {
        default_port(self.scheme) == Some(80) && self.port.is_none()
    }

    fn normal_host(&self) -> Cow<'a, str> {
        normal_host(self.host)
    }
}

/// The default port of the schemes of pages, and of `ws` and `wss`, which some programs send as their
/// origin's.
fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") || is("wss") {
        Some(443)
    } else if is("http") || is("ws") {
        Some(80)
    } else {
        None
    }
}

/// Host and port of `host[:port]`.
fn split_authority(authority: &str) -> Result<(&str, Option<u16>), OriginFault> {
    let Some(port) = behind_host(authority) else { return Ok((authority, None)) };
    let host = authority.get(..authority.len() - port.len() - 1).unwrap_or_default();
    // `u16` would take a sign too.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(OriginFault::Port);
    }
    Ok((host, Some(port.parse().map_err(|_| OriginFault::Port)?)))
}

/// What stands behind the last colon, if that is not within the brackets of an IPv6 address.
fn behind_host(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    (!port.contains(']')).then_some(port)
}

/// The host; of an IPv6 address, its shortest form, which browsers send.
fn normal_host(host: &str) -> Cow<'_, str> {
    match ipv6(host) {
        Some(address) => Cow::Owned(format!("[{address}]")),
        None => Cow::Borrowed(host),
    }
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Refuses a host, or the domain of a pattern, that browsers do not send so.
fn check_host(scheme: &str, host: &str) -> Result<(), OriginFault> {
    if host.contains('*') {
        return Err(OriginFault::Wildcard);
    }
    if !host.is_ascii() {
        return Err(OriginFault::NotAscii);
    }
    if host.starts_with('[') {
        return ipv6(host).map(|_| ()).ok_or(OriginFault::Host);
    }
    if default_port(scheme).is_none() {
        // An app's own scheme, whose hosts are no names of machines. `file://` has none.
        let good = host.bytes().all(|byte| byte.is_ascii_graphic() && !b":[]".contains(&byte));
        return if good { Ok(()) } else { Err(OriginFault::Host) };
    }
    // Browsers take a host whose last label is a number for an IPv4 address, and send that in full.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let good = if is_number {
        host.parse::<std::net::Ipv4Addr>().is_ok()
    } else {
        // A name may end with the dot of the root.
        is_name(host.strip_suffix('.').unwrap_or(host))
    };
    if good { Ok(()) } else { Err(OriginFault::Host) }
}

/// Whether these are labels of a domain's name.
fn is_name(labels: &str) -> bool {
    labels.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}
