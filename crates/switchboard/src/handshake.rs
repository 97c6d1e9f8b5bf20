//! What is kept of the request a conversation began with: one allocation of exactly its size.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;
use http::request::Parts;
use switchboard_websocket::handshake::origin::is_of_own_page;

/// Where a request came from, as the listener or the outer server knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Peer {
    /// The address of the client: of the connection, or what a trusted proxy says.
    pub address: Option<SocketAddr>,
    /// Whether the connection (or the client's, to a trusted proxy) is encrypted.
    pub secure: bool,
    /// Whether a [trusted proxy](crate::TrustedProxies) handed on the request, whose headers about the client are heard.
    pub proxied: bool,
    /// Whether a PROXY protocol header names the address.
    pub(crate) named: bool,
    /// Whether it came by a Unix-domain socket, and so has no address.
    pub(crate) unix: bool,
}

impl Peer {
    /// A peer at an address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    /// A peer of a Unix-domain socket.
    pub(crate) fn unix() -> Self {
        Self { unix: true, ..Self::default() }
    }

    /// The address without its port.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }
}

/// Which request headers [`Handshake`] keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepHeaders {
    /// All but those that only concern the connection or the encoding of the response: `Accept*`, `Cache-Control`,
    /// `Connection`, `Content-*`, `DNT`, `Keep-Alive`, `Pragma`, `Sec-*`, `TE`, `Transfer-Encoding`, `Upgrade*`.
    #[default]
    Default,
    /// All.
    All,
    /// None.
    None,
    /// These.
    Only(Vec<HeaderName>),
}

impl KeepHeaders {
    fn keeps(&self, name: &HeaderName) -> bool {
        const PASSING: [&str; 11] = [
            "accept",
            "cache-control",
            "connection",
            "content-",
            "dnt",
            "keep-alive",
            "pragma",
            "sec-",
            "te",
            "transfer-encoding",
            "upgrade",
        ];
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.contains(name),
            Self::Default => {
                let name = name.as_str();
                !PASSING.iter().any(|passing| name.starts_with(passing) && (*passing != "te" || name == "te"))
            }
        }
    }
}

/// The request a conversation began with. Cloning shares it.
#[derive(Clone)]
pub struct Handshake {
    inner: Arc<Inner>,
}

struct Inner {
    peer: Peer,
    time: SystemTime,
    /// The URL, then a line `name:value` for each header.
    text: Box<[u8]>,
    url: u32,
    /// A browser said that it was a page's to its own origin.
    of_own_page: bool,
}

impl Handshake {
    pub(crate) fn new(parts: &Parts, peer: Peer, keep: &KeepHeaders) -> Self {
        let url = parts.uri.path_and_query().map_or("/", |url| url.as_str());
        let kept = || parts.headers.iter().filter(|(name, _)| keep.keeps(name));
        let size =
            kept().map(|(name, value)| name.as_str().len() + value.len() + 2).sum::<usize>() + url.len();
        let mut text = Vec::with_capacity(size);
        text.extend_from_slice(url.as_bytes());
        for (name, value) in kept() {
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        let text = text.into_boxed_slice();
        let (time, url) = (SystemTime::now(), url.len() as u32);
        let of_own_page = is_of_own_page(&parts.headers);
        Self { inner: Arc::new(Inner { peer, time, text, url, of_own_page }) }
    }

    /// Whether a browser said that the request was a page's to its own origin.
    pub(crate) fn is_of_own_page(&self) -> bool {
        self.inner.of_own_page
    }

    /// The path and query that were asked for.
    pub fn url(&self) -> &str {
        let url = self.inner.text.get(..self.inner.url as usize).unwrap_or_default();
        std::str::from_utf8(url).unwrap_or_default()
    }

    /// The value of a parameter of the query, decoded; the last where it is there more than once.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.url().split_once('?')?;
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// A header's value, if it was kept ([`KeepHeaders`]) and is text; the first where there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The headers that were kept and are text, in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        // Values of headers hold no line feeds: `http` has checked that.
        self.inner
            .text
            .split(|byte| *byte == b'\n')
            .skip(1)
            .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'))
    }

    /// Where the request came from.
    pub fn peer(&self) -> Peer {
        self.inner.peer
    }

    /// The client's address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.peer.address
    }

    /// When it came.
    pub fn time(&self) -> SystemTime {
        self.inner.time
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        let path = self.url().split('?').next().unwrap_or_default();
        f.debug_struct("Handshake")
            .field("path", &path)
            .field("peer", &self.inner.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
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
        let handshake = Handshake::new(&request.into_parts().0, Peer::default(), &KeepHeaders::Default);
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&name=J%C3%BCrgen+B&name=last");
        assert_eq!(handshake.query("name").as_deref(), Some("last"));
        assert_eq!(handshake.header("user-agent"), Some("x: y"));
        assert_eq!(handshake.header("sec-websocket-key"), None);
        let names: Vec<_> = handshake.headers().map(|(name, _)| name).collect();
        assert_eq!(names, ["user-agent", "telemetry"]);
    }
}
