//! The URL of a WebSocket (RFC 6455 §3, RFC 3986): its host and port, TLS or not, the path, and the user.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};

use crate::handshake::client::ClientError;

/// The host of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A name, in lower case.
    Name(String),
    Ip(IpAddr),
}

impl fmt::Display for Host {
    /// In the form of a URL: an IPv6 address is in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A user and a password. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// The value of `Authorization` or `Proxy-Authorization` (RFC 7617).
    pub(super) fn basic(&self) -> Result<HeaderValue, ClientError> {
        if self.user.contains(&b':') {
            return Err(bad("has a user name with a colon, which Basic authorization cannot carry"));
        }
        let pair = [&self.user, b":".as_slice(), &self.password].concat();
        let value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair)));
        let mut value = value.map_err(|_| bad("has a user that is no header's value"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The pieces of `scheme://user:password@host:port/rest`.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    /// In lower case.
    pub(super) scheme: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) host: Host,
    pub(super) port: Option<u16>,
    /// Path and query.
    pub(super) rest: &'a str,
}

impl<'a> Pieces<'a> {
    pub(super) fn parse(url: &'a str) -> Result<Self, ClientError> {
        let (scheme, rest) = url.split_once("://").ok_or(bad("has no scheme"))?;
        // The URL of a WebSocket has no fragment (RFC 6455 §3).
        if rest.contains('#') {
            return Err(bad("has a fragment"));
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place)?;
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            credentials: user.map(credentials).transpose()?,
            host: parse_host(host)?,
            port,
            rest,
        })
    }
}

const fn bad(what: &'static str) -> ClientError {
    ClientError::Url { what }
}

fn split_port(place: &str) -> Result<(&str, Option<u16>), ClientError> {
    // The colons of an IPv6 address are within brackets.
    let after = place.rfind(']').unwrap_or(0);
    let Some(colon) = place.get(after..).and_then(|end| end.find(':')).map(|at| at + after) else {
        return Ok((place, None));
    };
    let (host, port) = place.split_at(colon);
    match port.trim_start_matches(':') {
        "" if port == ":" => Ok((host, None)),
        digits if digits.len() + 1 == port.len() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|&port| port != 0);
            Ok((host, Some(port.ok_or(bad("has a port that is none"))?)))
        }
        _ => Err(bad("has a port that is none")),
    }
}

fn parse_host(host: &str) -> Result<Host, ClientError> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address.map(|ip| Host::Ip(ip.into())).ok_or(bad("has an IPv6 address that is none"));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return if address.is_ipv4() {
            Ok(Host::Ip(address))
        } else {
            Err(bad("has an IPv6 address without brackets"))
        };
    }
    if host.is_empty() {
        return Err(bad("has no host"));
    }
    if !host.is_ascii() {
        return Err(bad("has a host that is not ASCII: write it in Punycode (xn--)"));
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(bad("has a host that is no name"));
    }
    // A host that ends in a number is meant as an IPv4 address. Some resolvers would take it for one
    // (0x7f.1).
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    if hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(bad("has an IPv4 address that is none"));
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

fn credentials(userinfo: &str) -> Result<Credentials, ClientError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let decode = |text| percent_decode(text).ok_or(bad("has a user with a broken percent-encoding"));
    Ok(Credentials { user: decode(user)?, password: decode(password)? })
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

/// Percent-encodes the characters that a path or query does not allow, as UTF-8: `/räume`. Characters that
/// are encoded already stay as they are.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
            );
        }
    }
    out
}

/// The target of a request for a WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(super) secure: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// The header for the user and the password of the URL.
    pub(super) authorization: Option<HeaderValue>,
    /// The URL without user and default port, for the request.
    pub(super) uri: Uri,
}

impl Target {
    /// Reads a URL with scheme `ws`, `wss`, `http` or `https`; the last two mean the first two.
    pub(crate) fn parse(url: &str) -> Result<Self, ClientError> {
        let pieces = Pieces::parse(url)?;
        let secure = match pieces.scheme.as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(bad("is not ws://, wss://, http:// or https://")),
        };
        let authorization = pieces.credentials.as_ref().map(Credentials::basic).transpose()?;
        Self::new(secure, pieces.host, pieces.port, authorization, pieces.rest)
    }

    fn new(
        secure: bool,
        host: Host,
        port: Option<u16>,
        authorization: Option<HeaderValue>,
        rest: &str,
    ) -> Result<Self, ClientError> {
        let (scheme, default) = if secure { ("wss", 443) } else { ("ws", 80) };
        let port = port.unwrap_or(default);
        let authority = if port == default { host.to_string() } else { format!("{host}:{port}") };
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let uri = Uri::builder().scheme(scheme).authority(authority);
        let uri = uri.path_and_query(format!("{slash}{}", percent_encode(rest))).build();
        Ok(Self { secure, host, port, authorization, uri: uri.map_err(|_| bad("is malformed"))? })
    }

    /// The URI and the headers of the request: `headers`, and the user of the URL unless the headers name
    /// one.
    pub(crate) fn request(self, headers: &HeaderMap) -> (Uri, HeaderMap) {
        let mut headers = headers.clone();
        if let Some(authorization) = self.authorization {
            headers.entry(AUTHORIZATION).or_insert(authorization);
        }
        (self.uri, headers)
    }

    /// Whether both have the same scheme, host and port (RFC 6454 §5).
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// The target of the `reference` of a `Location`, seen from here (RFC 3986 §5.2). Its fragment has no
    /// meaning for a WebSocket.
    pub(super) fn join(&self, reference: &str) -> Result<Self, ClientError> {
        let reference = reference.split('#').next().unwrap_or_default();
        if has_scheme(reference) {
            let there = Self::parse(reference)?;
            // A server does not choose our user.
            return if there.authorization.is_some() { Err(bad("has a user")) } else { Ok(there) };
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return self.join(&format!("{}://{rest}", if self.secure { "wss" } else { "ws" }));
        }
        let (path, query) = reference.find('?').map_or((reference, ""), |at| reference.split_at(at));
        let here = self.uri.path();
        let rest = if path.starts_with('/') {
            without_dots(path) + query
        } else if !path.is_empty() {
            let folder = here.rfind('/').and_then(|end| here.get(..=end)).unwrap_or("/");
            without_dots(&format!("{folder}{path}")) + query
        } else if query.is_empty() {
            self.uri.path_and_query().map_or("/", |same| same.as_str()).to_owned()
        } else {
            format!("{here}{query}")
        };
        Self::new(self.secure, self.host.clone(), Some(self.port), self.authorization.clone(), &rest)
    }
}

impl fmt::Display for Target {
    /// `host:port`, always with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Takes `.` and `..` out of an absolute path (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.pop();
                }
                if is_last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_url_has_the_address_and_the_request() {
        let table = [
            ("ws://example.org", "example.org:80", "ws://example.org/"),
            ("wss://example.org", "example.org:443", "wss://example.org/"),
            ("http://example.org/a?b", "example.org:80", "ws://example.org/a?b"),
            ("HTTPS://EXAMPLE.org:443/", "example.org:443", "wss://example.org/"),
            ("ws://example.org:443/", "example.org:443", "ws://example.org:443/"),
            ("ws://example.org:/x", "example.org:80", "ws://example.org/x"),
            ("ws://example.org?q=1", "example.org:80", "ws://example.org/?q=1"),
            ("ws://127.0.0.1:9001/", "127.0.0.1:9001", "ws://127.0.0.1:9001/"),
            ("ws://[::1]", "[::1]:80", "ws://[::1]/"),
            ("wss://[2001:db8::1]:9001/x", "[2001:db8::1]:9001", "wss://[2001:db8::1]:9001/x"),
            ("ws://me:secret@example.org/", "example.org:80", "ws://example.org/"),
            ("ws://a@b@example.org/", "example.org:80", "ws://example.org/"),
            ("ws://a_b.local/", "a_b.local:80", "ws://a_b.local/"),
            ("ws://a/räume?x=é y%20z\r\n", "a:80", "ws://a/r%C3%A4ume?x=%C3%A9%20y%20z%0D%0A"),
        ];
        for (url, place, uri) in table {
            let target = target(url);
            assert_eq!((target.to_string().as_str(), target.uri.to_string().as_str()), (place, uri), "{url}");
            assert_eq!(target.secure, uri.starts_with("wss"), "{url}");
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused() {
        let long = format!("ws://a/{}", "x".repeat(70_000));
        let table = [
            ("", "scheme"),
            ("example.org", "scheme"),
            ("ftp://example.org/", "ws://"),
            ("ws:///path", "no host"),
            ("ws://:80/", "no host"),
            ("ws://user@/", "no host"),
            ("ws://a/#", "fragment"),
            ("ws://a#b", "fragment"),
            ("ws://a:0/", "port"),
            ("ws://a:65536/", "port"),
            ("ws://a:+1/", "port"),
            ("ws://a:1:2/", "port"),
            ("ws://a::1/", "port"),
            ("ws://[::1]:x/", "port"),
            ("ws://::1/", "port"),
            ("ws://[::1/", "port"),
            ("ws://[fe80::1%25eth0]/", "IPv6"),
            ("ws://[127.0.0.1]/", "IPv6"),
            ("ws://0x7f.1/", "IPv4"),
            ("ws://256.1.1.1/", "IPv4"),
            ("ws://2130706433/", "IPv4"),
            ("ws://bücher.example/", "Punycode"),
            ("ws://a b/", "no name"),
            ("ws://a%2fb/", "no name"),
            ("ws://a\r\nb/", "no name"),
            ("ws://u%zz@a/", "percent-encoding"),
            ("ws://u%2@a/", "percent-encoding"),
            ("ws://u%3Ax:y@a/", "colon"),
            (&long, "malformed"),
        ];
        for (url, what) in table {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(error.contains(what), "{url:.40}: {error}");
        }
    }

    #[test]
    fn a_user_in_the_url_becomes_basic_authorization() {
        let table = [
            ("ws://Aladdin:open%20sesame@a/", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("ws://me@a/", "Basic bWU6"),
            ("ws://me:p:q@a/", "Basic bWU6cDpx"),
        ];
        for (url, value) in table {
            let target = target(url);
            assert_eq!(
                target.authorization.as_ref().map(HeaderValue::as_bytes),
                Some(value.as_bytes()),
                "{url}"
            );
            let shown = format!("{target:?}");
            assert!(!shown.contains("Basic"), "a secret in {shown}");
        }
    }

    #[test]
    fn a_location_is_taken_from_where_it_was_given() {
        let base = target("wss://me:secret@a.example:8443/b/c/d?q");
        let table = [
            ("g", "wss://a.example:8443/b/c/g"),
            ("./g", "wss://a.example:8443/b/c/g"),
            ("g/", "wss://a.example:8443/b/c/g/"),
            ("/g", "wss://a.example:8443/g"),
            ("//g", "wss://g/"),
            ("?y", "wss://a.example:8443/b/c/d?y"),
            ("g?y/./x", "wss://a.example:8443/b/c/g?y/./x"),
            ("#s", "wss://a.example:8443/b/c/d?q"),
            ("", "wss://a.example:8443/b/c/d?q"),
            (".", "wss://a.example:8443/b/c/"),
            ("..", "wss://a.example:8443/b/"),
            ("../../../g", "wss://a.example:8443/g"),
            ("/./g/../h", "wss://a.example:8443/h"),
            ("https://other/x#y", "wss://other/x"),
            ("ws://other:81", "ws://other:81/"),
        ];
        for (location, uri) in table {
            let there = base.join(location).unwrap_or_else(|error| panic!("{location}: {error}"));
            assert_eq!(there.uri.to_string(), uri, "{location}");
            assert_eq!(there.authorization.is_some(), there.is_same_origin(&base), "{location}");
        }
        for location in ["wss://you:x@a.example:8443/", "mailto:me", "ftp://a/", "https://"] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }

    proptest::proptest! {
        /// Any URL and any `Location` is parsed or refused, and a parsed one can be asked for.
        #[test]
        fn any_text_is_read_or_refused(text in "(wss?://)?([a-z0-9.:@%\\[\\]]{0,12})([/?#.%:a\u{e4} \r\n]{0,12})", any in ".*") {
            let base = target("wss://a.example:8443/b/c?d");
            for text in [text, any] {
                for there in [Target::parse(&text), base.join(&text)].into_iter().flatten() {
                    proptest::prop_assert!(there.port != 0 && there.uri.path().starts_with('/'));
                    proptest::prop_assert!(there.uri.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
                    proptest::prop_assert!(Target::parse(&there.uri.to_string()).is_ok());
                }
            }
        }
    }
}
