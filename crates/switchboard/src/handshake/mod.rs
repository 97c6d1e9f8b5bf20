//! The request that a conversation began with, as it is kept: its own parts, and parts that it shares with
//! requests of the same text.

mod keep;
mod node;
mod peer;

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use http::Extensions;
use http::request::Parts;
use switchboard_websocket::handshake::origin::is_of_own_page;

pub use self::keep::KeepHeaders;
use self::keep::is_common;
pub use self::peer::Peer;
use crate::interned::Interned;

/// The request that a conversation began with. Cloning shares it.
#[derive(Clone)]
pub struct Handshake {
    inner: Arc<Inner>,
}

/// It is kept as long as the connection: text that many connections share is kept once, the rest without
/// gaps.
struct Inner {
    /// Nanoseconds since 1970.
    time: u64,
    url: Interned,
    /// A line feed and `name:value` for each header that is [common](is_common).
    common: Interned,
    /// An address of IPv6 ([`OWN_ADDRESS`] bytes); then as in `common` for each other header, and one without
    /// a name for the subprotocol. A value that is not UTF-8 has a second line behind its text: a space in
    /// place of the name, then the bytes as they came.
    own: Box<[u8]>,
    v4: Option<Ipv4Addr>,
    port: u16,
    facts: Facts,
    /// What `allow_request` gave the session.
    values: Option<Box<Extensions>>,
}

/// What an address of IPv6 takes: itself, flow information, scope.
const OWN_ADDRESS: usize = 16 + 4 + 4;

/// What is so of a request, in one byte.
struct Facts(AtomicU8);

impl Facts {
    const V6: u8 = 1;
    const SECURE: u8 = 1 << 1;
    const PROXIED: u8 = 1 << 2;
    const NAMED: u8 = 1 << 3;
    const UNIX: u8 = 1 << 4;
    /// A browser said that it was a page's to its own origin.
    const OF_OWN_PAGE: u8 = 1 << 5;
    /// The conversation is on a WebSocket now.
    const ON_WEBSOCKET: u8 = 1 << 6;

    fn of(facts: [(u8, bool); 6]) -> Self {
        let facts = facts.into_iter().filter(|(_, is_so)| *is_so);
        Self(AtomicU8::new(facts.fold(0, |facts, (fact, _)| facts | fact)))
    }

    fn has(&self, fact: u8) -> bool {
        self.0.load(Ordering::Relaxed) & fact != 0
    }

    fn set(&self, fact: u8, is_so: bool) {
        if is_so {
            self.0.fetch_or(fact, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!fact, Ordering::Relaxed);
        }
    }
}

impl Handshake {
    /// What is kept of a request. `protocol`: the subprotocol that was selected.
    pub fn new(parts: &Parts, peer: Peer, keep: &KeepHeaders, protocol: Option<&str>) -> Self {
        let url = parts.uri.path_and_query().map_or("/", |url| url.as_str());
        let v6 = match peer.address {
            Some(SocketAddr::V6(address)) => Some(address),
            _ => None,
        };
        // It is copied to a place of its size when that is known.
        let mut own = Vec::with_capacity(512);
        if let Some(address) = v6 {
            own.extend_from_slice(&address.ip().octets());
            own.extend_from_slice(&address.flowinfo().to_ne_bytes());
            own.extend_from_slice(&address.scope_id().to_ne_bytes());
        }
        let common = Interned::written(|common| {
            for (name, value) in parts.headers.iter().filter(|(name, _)| keep.keeps(name)) {
                if is_common(name.as_str()) {
                    write_line(common, name.as_str(), value.as_bytes());
                } else {
                    write_line(&mut own, name.as_str(), value.as_bytes());
                }
            }
        });
        if let Some(protocol) = protocol {
            write_line(&mut own, "", protocol.as_bytes());
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let facts = Facts::of([
            (Facts::V6, v6.is_some()),
            (Facts::SECURE, peer.secure),
            (Facts::PROXIED, peer.proxied),
            (Facts::NAMED, peer.named),
            (Facts::UNIX, peer.unix),
            (Facts::OF_OWN_PAGE, is_of_own_page(&parts.headers)),
        ]);
        let v4 = match peer.address {
            Some(SocketAddr::V4(address)) => Some(*address.ip()),
            _ => None,
        };
        let inner = Inner {
            time: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            url: Interned::written(|out| out.extend_from_slice(url.as_bytes())),
            common,
            own: own.as_slice().into(),
            v4,
            port: peer.address.map_or(0, |address| address.port()),
            facts,
            values: None,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The conversation is on another transport.
    pub(crate) fn set_on_websocket(&self, is: bool) {
        self.inner.facts.set(Facts::ON_WEBSOCKET, is);
    }

    /// The name of the transport that the conversation is on now, for those who know that it is open.
    pub(crate) fn transport(&self) -> &'static str {
        if self.inner.facts.has(Facts::ON_WEBSOCKET) { "websocket" } else { "polling" }
    }

    /// The same with values of the user's, before it is shared.
    pub(crate) fn with_values(mut self, values: Extensions) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner).filter(|_| !values.is_empty()) {
            inner.values = Some(Box::new(values));
        }
        self
    }

    /// The value of this type that [`allow_request`](crate::AllowRequest) gave the session.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.inner.values.as_ref()?.get()
    }

    /// A name for the conversation that tells nothing of its secrets. Clones have the same, others have another.
    pub(crate) fn tag(&self) -> String {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut tag = format!("{:016x}", KEYS.hash_one((Arc::as_ptr(&self.inner).addr(), self.inner.time)));
        tag.truncate(12);
        tag
    }

    /// Whether a browser said that the request was a page's to its own origin.
    pub(crate) fn is_of_own_page(&self) -> bool {
        self.inner.facts.has(Facts::OF_OWN_PAGE)
    }

    /// The subprotocol that was selected for a WebSocket (`Sec-WebSocket-Protocol`).
    pub fn protocol(&self) -> Option<&str> {
        let (_, protocol) = self.lines().find(|(name, _)| name.is_empty())?;
        std::str::from_utf8(protocol).ok()
    }

    /// The path and query that were asked for.
    pub fn url(&self) -> &str {
        std::str::from_utf8(self.inner.url.as_bytes()).unwrap_or_default()
    }

    /// The value of a parameter of the query, decoded; the last where it is there more than once.
    pub fn query(&self, name: &str) -> Option<String> {
        self.query_pairs().filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// The parameters of the query in their order, decoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let (_, query) = self.url().split_once('?').unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
    }

    /// The value of a cookie, without the quotes that may be around it; it is not decoded. The first where
    /// there are several of that name: browsers send the one with the longest path first. `None` also where
    /// the header `Cookie` is not [kept](KeepHeaders).
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers().filter(|(header, _)| *header == "cookie");
        let mut pairs =
            cookies.flat_map(|(_, cookies)| cookies.split(';')).filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
        let value = value.trim();
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }

    /// A header's value, if it was kept ([`KeepHeaders`]); the first where there are several. Bytes that are
    /// not UTF-8 are replaced by U+FFFD: [`header_bytes`](Self::header_bytes) has them as they came.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The bytes of a header's value, as they came; the first where there are several.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let is_asked_for = |key: &[u8]| key.eq_ignore_ascii_case(name.as_bytes());
        let mut lines = self.lines().skip_while(|(key, _)| *key == NOT_TEXT || !is_asked_for(key));
        let (_, text) = lines.next()?;
        lines.next().filter(|(key, _)| *key == NOT_TEXT).map_or(Some(text), |(_, bytes)| Some(bytes))
    }

    /// The headers that were kept, their values as [`header`](Self::header) gives them. Those that many
    /// clients send alike come first; apart from that they are in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let headers = self.lines().filter(|(name, _)| !name.is_empty() && *name != NOT_TEXT);
        headers.filter_map(move |(name, value)| Some((text(name)?, text(value)?)))
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let own = self
            .inner
            .own
            .get(if self.inner.facts.has(Facts::V6) { OWN_ADDRESS } else { 0 }..)
            .unwrap_or_default();
        // Values of headers hold no line feeds: `http` has checked that.
        [self.inner.common.as_bytes(), own]
            .into_iter()
            .flat_map(|lines| lines.split(|byte| *byte == b'\n').skip(1))
            .filter_map(|line| {
                let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
                Some((name, value.get(1..)?))
            })
    }

    /// Where the request came from.
    pub fn peer(&self) -> Peer {
        let has = |fact| self.inner.facts.has(fact);
        let (secure, proxied) = (has(Facts::SECURE), has(Facts::PROXIED));
        let (named, unix) = (has(Facts::NAMED), has(Facts::UNIX));
        Peer { address: self.address(), secure, proxied, named, unix }
    }

    /// The client's address.
    pub fn address(&self) -> Option<SocketAddr> {
        let Inner { v4, port, facts, own, .. } = &*self.inner;
        if facts.has(Facts::V6) {
            let (ip, rest) = own.split_first_chunk::<16>()?;
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (flow, scope) = (u32::from_ne_bytes(*flow), u32::from_ne_bytes(*rest.first_chunk::<4>()?));
            return Some(SocketAddrV6::new(Ipv6Addr::from(*ip), *port, flow, scope).into());
        }
        v4.map(|ip| SocketAddr::from((ip, *port)))
    }

    /// When it came.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.inner.time)
    }
}

/// In place of a name: the line holds the bytes of the value before it, which is not UTF-8. No header is
/// called so.
const NOT_TEXT: &[u8] = b" ";

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut write = |name: &[u8], value: &[u8]| {
        out.push(b'\n');
        out.extend_from_slice(name);
        out.push(b':');
        out.extend_from_slice(value);
    };
    // Looked at as a whole: to look for what is not UTF-8 takes ten times as long, and hardly any value has
    // it.
    if value.is_ascii() || std::str::from_utf8(value).is_ok() {
        write(name.as_bytes(), value);
    } else {
        write(name.as_bytes(), String::from_utf8_lossy(value).as_bytes());
        write(NOT_TEXT, value);
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        let path = self.url().split('?').next().unwrap_or_default();
        f.debug_struct("Handshake").field("path", &path).field("peer", &self.peer()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_handshake_shows_url_query_and_headers() {
        let request = http::Request::get("/socket.io/?EIO=4&name=J%C3%BCrgen+B&name=last")
            .header("User-Agent", "x: y")
            .header("Sec-WebSocket-Key", "secret")
            .header("TE", "trailers")
            .header("Telemetry", "kept")
            .body(())
            .unwrap();
        let handshake = Handshake::new(&request.into_parts().0, Peer::default(), &KeepHeaders::Default, None);
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&name=J%C3%BCrgen+B&name=last");
        assert_eq!(handshake.query("name").as_deref(), Some("last"));
        assert_eq!(handshake.header("user-agent"), Some("x: y"));
        assert_eq!(handshake.header("sec-websocket-key"), None);
        let names: Vec<_> = handshake.headers().map(|(name, _)| name).collect();
        assert_eq!(names, ["user-agent", "telemetry"]);
    }

    #[test]
    fn a_handshake_finds_cookies() {
        let request = http::Request::get("/")
            .header("Cookie", "a=1; b=\"2 \" ;c=x=y; a=later; d")
            .header("Cookie", "e=%20")
            .body(());
        let parts = request.unwrap().into_parts().0;
        let handshake = Handshake::new(&parts, Peer::default(), &KeepHeaders::Default, None);
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some("2 ")),
            ("c", Some("x=y")),
            ("d", None),
            ("e", Some("%20")),
            ("f", None),
        ] {
            assert_eq!(handshake.cookie(name), value, "{name}");
        }
        let handshake = Handshake::new(&parts, Peer::default(), &KeepHeaders::None, None);
        assert_eq!(handshake.cookie("a"), None);
    }

    #[test]
    fn a_handshake_serialises_as_nodes() {
        let request = http::Request::get("/socket.io/?EIO=4&room=a&room=b%26")
            .header("Host", "x")
            .header("Origin", "https://y")
            .header("Cookie", "a=1")
            .header("Cookie", "b=2")
            .body(());
        let peer = Peer { secure: true, ..Peer::new(([192, 0, 2, 1], 7).into()) };
        let parts = request.unwrap().into_parts().0;
        let json = serde_json::to_value(Handshake::new(&parts, peer, &KeepHeaders::Default, None)).unwrap();
        assert_eq!(
            json["headers"],
            serde_json::json!({"host": "x", "origin": "https://y", "cookie": "a=1; b=2"})
        );
        assert_eq!(json["query"], serde_json::json!({"EIO": "4", "room": ["a", "b&"]}));
        assert_eq!(json["url"], "/socket.io/?EIO=4&room=a&room=b%26");
        assert_eq!(
            (&json["address"], &json["xdomain"], &json["secure"]),
            (&"192.0.2.1".into(), &true.into(), &true.into())
        );
        let since = Duration::from_millis(json["issued"].as_u64().unwrap());
        let time = httpdate::parse_http_date(json["time"].as_str().unwrap()).unwrap();
        let issued = SystemTime::UNIX_EPOCH + since;
        assert!(issued.duration_since(time).unwrap() < Duration::from_secs(1));
    }

    #[test]
    fn a_handshake_keeps_its_peer_and_its_subprotocol() {
        let v6 = SocketAddr::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 3000, 10, 7));
        for address in [None, Some(SocketAddr::from(([192, 0, 2, 10], 80))), Some(v6)] {
            let peer = Peer { address, secure: true, unix: address.is_none(), ..Peer::default() };
            for protocol in [None, Some("chat")] {
                let request = http::Request::get("/").header("Cookie", "a=b").header("Host", "c:1").body(());
                let parts = request.unwrap().into_parts().0;
                let handshake = Handshake::new(&parts, peer, &KeepHeaders::All, protocol);
                assert_eq!((handshake.peer(), handshake.address()), (peer, address));
                assert_eq!(handshake.protocol(), protocol);
                let headers: Vec<_> = handshake.headers().collect();
                assert_eq!(headers, [("host", "c:1"), ("cookie", "a=b")]);
                assert!(handshake.time().elapsed().unwrap() < Duration::from_secs(60));
            }
        }
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_shown_with_its_bytes_replaced_and_can_be_had_as_it_came() {
        let mut request =
            http::Request::get("/").header("Host", "a").header("X-Last", "plain").body(()).unwrap();
        for (name, value) in [("cookie", &b"name=J\xFCrgen; id=7"[..]), ("user-agent", b"\xFF\xFE")] {
            let value = http::HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let handshake = Handshake::new(&request.into_parts().0, Peer::default(), &KeepHeaders::Default, None);
        for (name, text, bytes) in [
            ("cookie", "name=J\u{FFFD}rgen; id=7", &b"name=J\xFCrgen; id=7"[..]),
            ("user-agent", "\u{FFFD}\u{FFFD}", b"\xFF\xFE"),
            ("host", "a", b"a"),
            ("X-LAST", "plain", b"plain"),
        ] {
            assert_eq!((handshake.header(name), handshake.header_bytes(name)), (Some(text), Some(bytes)));
        }
        assert_eq!(handshake.headers().count(), 4);
    }

    #[test]
    fn a_peer_of_ipv4_is_shown_as_one() {
        for (address, shown) in [
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(Peer::new(address.parse().unwrap()).address, Some(shown.parse().unwrap()));
        }
    }

    #[test]
    fn headers_that_many_clients_send_alike_are_kept_once() {
        let from = |cookie: &str| {
            let request =
                http::Request::get("/chat").header("User-Agent", "the same").header("Cookie", cookie);
            let parts = request.body(()).unwrap().into_parts().0;
            Handshake::new(&parts, Peer::default(), &KeepHeaders::Default, None)
        };
        let (one, other) = (from("of=one"), from("of=another"));
        assert!(std::ptr::eq(one.url(), other.url()));
        assert!(std::ptr::eq(one.header("user-agent").unwrap(), other.header("user-agent").unwrap()));
        assert_eq!((one.header("cookie"), other.header("cookie")), (Some("of=one"), Some("of=another")));
        // Two counts come before it, and 8 bytes of the allocator's.
        assert!(size_of::<Inner>() <= 56, "{} bytes", size_of::<Inner>());
    }
}
