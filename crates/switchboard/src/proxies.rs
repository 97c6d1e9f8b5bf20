//! The proxies that the server trusts to say a client's address (`X-Forwarded-For`), whether it came over TLS
//! (`X-Forwarded-Proto`), and the host that it asked for (`X-Forwarded-Host`).
//!
//! The server ignores `Forwarded` (RFC 7239). A proxy that writes the `X-Forwarded-` headers passes
//! `Forwarded` on as its client sent it, so a server that read both would believe clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use thiserror::Error;

use crate::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The headers of proxies that are read.
pub(crate) const FORWARDED: [HeaderName; 3] = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST];

/// The greatest number of elements read from one header. No chain of proxies is longer.
const MAX_ELEMENTS: usize = 32;

/// The proxies that are trusted to name their clients. The default trusts none.
///
/// For a request from a trusted proxy, the client's address is the rightmost address of `X-Forwarded-For`
/// that is not a trusted proxy's. If there is none (all are trusted, or an element is not an address), it is
/// the last address that was understood. Without the header it is the address of the connection. An address
/// may have a port, brackets, quotes and a zone; without a port, the port is 0. `Forwarded` (RFC 7239) is
/// ignored.
///
/// ```
/// use switchboard::TrustedProxies;
///
/// let proxies = TrustedProxies::loopback().and(TrustedProxies::list(["10.1.0.0/16", "2001:db8::7"])?);
/// # Ok::<_, switchboard::InvalidNetwork>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    hops: usize,
    unix: bool,
}

/// A string that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no address and no network, such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidNetwork(String);

impl TrustedProxies {
    /// No proxies.
    pub fn none() -> Self {
        Self::default()
    }

    /// Proxies on this machine: `127.0.0.0/8` and `::1`.
    pub fn loopback() -> Self {
        Self::of(&[Network::v4([127, 0, 0, 0], 8), Network::v6(Ipv6Addr::LOCALHOST, 128)])
    }

    /// Proxies on this machine, and proxies with private or link-local addresses: `10.0.0.0/8`,
    /// `172.16.0.0/12`, `192.168.0.0/16`, `169.254.0.0/16`, `fc00::/7`, `fe80::/10`. Use it only if all
    /// connections from such addresses come from proxies: any other program there could claim any address.
    pub fn private() -> Self {
        Self::loopback().and(Self::of(&[
            Network::v4([10, 0, 0, 0], 8),
            Network::v4([172, 16, 0, 0], 12),
            Network::v4([192, 168, 0, 0], 16),
            Network::v4([169, 254, 0, 0], 16),
            Network::v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
            Network::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        ]))
    }

    /// Proxies with these addresses or in these networks: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
    ///
    /// # Errors
    /// [`InvalidNetwork`] for the first string that is neither.
    pub fn list<S: AsRef<str>>(networks: impl IntoIterator<Item = S>) -> Result<Self, InvalidNetwork> {
        let networks: Result<_, _> = networks.into_iter().map(|network| network.as_ref().parse()).collect();
        Ok(Self { networks: networks?, ..Self::default() })
    }

    /// The last `hops` proxies, whatever their addresses. It is for platforms whose proxies have no fixed
    /// addresses and cannot be bypassed.
    pub fn hops(hops: usize) -> Self {
        Self { hops, ..Self::default() }
    }

    /// Proxies that connect to a [Unix-domain socket](crate::ListenAddress::unix): all programs that may
    /// write to its file.
    pub fn unix() -> Self {
        Self { unix: true, ..Self::default() }
    }

    /// The proxies of both lists.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.networks.extend(others.networks);
        self.hops = self.hops.max(others.hops);
        self.unix |= others.unix;
        self
    }

    fn of(networks: &[Network]) -> Self {
        Self { networks: networks.to_vec(), ..Self::default() }
    }

    /// Whether no proxy is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.hops == 0 && !self.unix
    }

    /// Whether the proxy at the other end of the connection is trusted.
    pub(crate) fn trusts_peer(&self, peer: Peer) -> bool {
        // A proxy that named the client by the PROXY protocol counts as the first hop. So the named peer is
        // not trusted merely as the last hop.
        self.unix && peer.unix || self.trusts(peer.ip(), usize::from(peer.named))
    }

    /// Whether a proxy is trusted, if `hops` trusted proxies stand between it and the server.
    fn trusts(&self, address: Option<IpAddr>, hops: usize) -> bool {
        let known = |address: IpAddr| self.networks.iter().any(|network| network.contains(address));
        hops < self.hops || address.is_some_and(|address| known(address.to_canonical()))
    }

    /// The client behind the proxies.
    pub(crate) fn resolve(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        let before = usize::from(peer.named);
        if self.is_empty() || !self.trusts_peer(peer) {
            return peer;
        }
        let mut resolved = Peer { proxied: true, ..peer };
        let mut hops = 1;
        for element in from_the_right(headers, FORWARDED_FOR) {
            let Some(address) = parse_address(element) else { break };
            resolved.address = Some(address);
            if !self.trusts(Some(address.ip()), before + hops) {
                break;
            }
            hops += 1;
        }
        // If each proxy appends its value, there are as many values as hops. If a proxy replaces the header,
        // there is one value.
        if let Some(scheme) = from_the_right(headers, FORWARDED_PROTO).take(hops).last() {
            resolved.secure = ["https", "wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure));
        }
        resolved
    }
}

/// The hosts that proxies name in `X-Forwarded-Host`. Read them only from trusted proxies
/// ([`Peer::proxied`]).
pub(crate) fn forwarded_hosts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    from_the_right(headers, FORWARDED_HOST)
}

/// The elements of a list that may be spread over several header lines, last first, bounded in number. A
/// header that is not text ends the list.
fn from_the_right(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).iter().rev();
    lines
        .map_while(|line| line.to_str().ok())
        .flat_map(|line| line.rsplit(',').map(str::trim))
        .take(MAX_ELEMENTS)
}

/// An address with or without a port: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`,
/// `[2001:db8::7]:4711`. Quotes around it, as in `Forwarded`, are allowed. A zone (`fe80::7%eth0`) has a
/// meaning only on the proxy's machine, so it is left out.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let without_zone = text.split_once('%').map(|(address, zone)| {
        let behind = zone.find(']').and_then(|at| zone.get(at..)).unwrap_or_default();
        format!("{address}{behind}")
    });
    let text = without_zone.as_deref().unwrap_or(text);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(bracketed).map(|ip| SocketAddr::new(ip, 0));
    let address = address.or_else(|| text.parse().ok())?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Addresses with a common prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Network {
    /// The prefix's bits. For IPv4 they are the high 32.
    bits: u128,
    prefix: u32,
    v6: bool,
}

impl Network {
    const fn v4(octets: [u8; 4], prefix: u32) -> Self {
        Self { bits: (u32::from_be_bytes(octets) as u128) << 96, prefix, v6: false }
    }

    const fn v6(address: Ipv6Addr, prefix: u32) -> Self {
        Self { bits: address.to_bits(), prefix, v6: true }
    }

    fn bits(address: IpAddr) -> (u128, bool) {
        match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, false),
            IpAddr::V6(address) => (address.to_bits(), true),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (bits, v6) = Self::bits(address);
        let differ = (bits ^ self.bits).checked_shr(128 - self.prefix).unwrap_or(0);
        v6 == self.v6 && differ == 0
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if self.v6 {
            IpAddr::V6(Ipv6Addr::from_bits(self.bits))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits((self.bits >> 96) as u32))
        };
        write!(f, "{address}/{}", self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.trim().parse().map_err(|_| invalid())?;
        let (bits, v6) = Self::bits(address);
        let longest = if v6 { 128 } else { 32 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.trim().parse().map_err(|_| invalid()))?;
        if prefix > longest {
            return Err(invalid());
        }
        Ok(Self { bits, prefix, v6 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap())
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_a_trusted_proxys() {
        let private = TrustedProxies::private;
        let list = |list: &[&str]| TrustedProxies::list(list).unwrap();
        for (proxies, peer_address, forwarded, client) in [
            (TrustedProxies::none(), "127.0.0.1:5", &["192.0.2.1"][..], "127.0.0.1:5"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &[], "127.0.0.1:5"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["192.0.2.1"], "192.0.2.1:0"),
            (TrustedProxies::loopback(), "[::1]:5", &["192.0.2.1:77"], "192.0.2.1:77"),
            (TrustedProxies::loopback(), "[::ffff:127.0.0.1]:5", &["2001:db8::1"], "[2001:db8::1]:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["[2001:db8::1]"], "[2001:db8::1]:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["[2001:db8::1]:77"], "[2001:db8::1]:77"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["::ffff:192.0.2.1"], "192.0.2.1:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["fe80::1%eth0"], "[fe80::1]:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["fe80::1%25"], "[fe80::1]:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["[fe80::1%eth0]:77"], "[fe80::1]:77"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["\"[2001:db8::1]:77\""], "[2001:db8::1]:77"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["\"192.0.2.1\""], "192.0.2.1:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["\"192.0.2.1"], "127.0.0.1:5"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["%eth0"], "127.0.0.1:5"),
            (TrustedProxies::loopback(), "192.0.2.9:5", &["192.0.2.1"], "192.0.2.9:5"),
            // The client's own claims stand to the left of the proxy's value.
            (TrustedProxies::loopback(), "127.0.0.1:5", &["6.6.6.6, 192.0.2.1"], "192.0.2.1:0"),
            (TrustedProxies::loopback(), "127.0.0.1:5", &["6.6.6.6", "192.0.2.1"], "192.0.2.1:0"),
            (private(), "10.0.0.1:5", &["192.0.2.1 , 10.0.0.2,172.16.3.4"], "192.0.2.1:0"),
            (private(), "172.32.0.1:5", &["192.0.2.1"], "172.32.0.1:5"),
            (private(), "[fd00::1]:5", &["192.0.2.1"], "192.0.2.1:0"),
            (private(), "10.0.0.1:5", &["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
            (list(&["192.0.2.0/25"]), "192.0.2.127:5", &["192.0.2.128, 192.0.2.1"], "192.0.2.128:0"),
            (list(&["192.0.2.7"]), "192.0.2.8:5", &["192.0.2.1"], "192.0.2.8:5"),
            (list(&["0.0.0.0/0"]), "192.0.2.8:5", &["2001:db8::1"], "[2001:db8::1]:0"),
            (list(&["2001:db8::/32"]), "[2001:db8:5::1]:5", &["192.0.2.1"], "192.0.2.1:0"),
            (TrustedProxies::hops(1), "192.0.2.8:5", &["192.0.2.2, 192.0.2.1"], "192.0.2.1:0"),
            (TrustedProxies::hops(2), "192.0.2.8:5", &["192.0.2.2, 192.0.2.1"], "192.0.2.2:0"),
            // An element that is not an address ends the chain: the result is the last address that was
            // understood.
            (private(), "10.0.0.1:5", &["unknown"], "10.0.0.1:5"),
            (private(), "10.0.0.1:5", &["192.0.2.1, , 10.0.0.2"], "10.0.0.2:0"),
            (private(), "10.0.0.1:5", &["192.0.2.1:99999"], "10.0.0.1:5"),
            (private(), "10.0.0.1:5", &["[192.0.2.1]"], "10.0.0.1:5"),
            (private(), "10.0.0.1:5", &["_hidden, 192.0.2.1"], "192.0.2.1:0"),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
            let resolved = proxies.resolve(peer(peer_address), &headers(&lines));
            assert_eq!(
                resolved.address,
                Some(client.parse().unwrap()),
                "{proxies:?} {peer_address} {forwarded:?}"
            );
        }
    }

    #[test]
    fn whether_the_client_is_on_tls_is_said_by_trusted_proxies_only() {
        for (peer_address, lines, secure) in [
            ("10.0.0.1:5", &[("x-forwarded-proto", "https")][..], true),
            ("10.0.0.1:5", &[("x-forwarded-proto", "HTTPS")], true),
            ("10.0.0.1:5", &[("x-forwarded-proto", "wss")], true),
            ("10.0.0.1:5", &[("x-forwarded-proto", "http")], false),
            ("10.0.0.1:5", &[], false),
            ("192.0.2.1:5", &[("x-forwarded-proto", "https")], false),
            // The client claims TLS; its only proxy says the truth.
            ("10.0.0.1:5", &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https, http")], false),
            // Two proxies, and the outer one ended TLS.
            (
                "10.0.0.1:5",
                &[("x-forwarded-for", "192.0.2.1, 10.0.0.2"), ("x-forwarded-proto", "https, http")],
                true,
            ),
            (
                "10.0.0.1:5",
                &[("x-forwarded-for", "192.0.2.1, 10.0.0.2"), ("x-forwarded-proto", "https")],
                true,
            ),
            ("10.0.0.1:5", &[("forwarded", "for=192.0.2.1;proto=https")], false),
        ] {
            let resolved = TrustedProxies::private().resolve(peer(peer_address), &headers(lines));
            assert_eq!(resolved.secure, secure, "{peer_address} {lines:?}");
        }
    }

    #[test]
    fn a_client_that_the_proxy_protocol_names_is_heard_only_if_it_is_a_proxy_itself() {
        let lines = headers(&[("x-forwarded-for", "6.6.6.6, 192.0.2.1")]);
        let client = Peer { named: true, ..peer("192.0.2.9:5") };
        for (proxies, heard) in [
            (TrustedProxies::hops(1), "192.0.2.9:5"),
            (TrustedProxies::hops(2), "192.0.2.1:0"),
            (TrustedProxies::loopback(), "192.0.2.9:5"),
            (TrustedProxies::list(["192.0.2.9"]).unwrap(), "192.0.2.1:0"),
        ] {
            assert_eq!(proxies.resolve(client, &lines).address, Some(heard.parse().unwrap()), "{proxies:?}");
        }
    }

    #[test]
    fn a_list_takes_addresses_and_networks() {
        for (text, expected) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("::1", Some("::1/128")),
            ("fe80::/10", Some("fe80::/10")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0/8", None),
            ("localhost", None),
            ("", None),
        ] {
            let parsed = text.parse::<Network>().ok().map(|network| format!("{network:?}"));
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
        let error = TrustedProxies::list(["::1", "proxy.example"]).unwrap_err();
        assert!(error.to_string().contains("proxy.example"));
    }

    #[test]
    fn a_request_whose_address_is_unknown_is_trusted_by_the_count_of_hops_only() {
        let lines = headers(&[("x-forwarded-for", "192.0.2.1")]);
        assert_eq!(TrustedProxies::private().resolve(Peer::default(), &lines).address, None);
        assert!(TrustedProxies::hops(1).resolve(Peer::default(), &lines).address.is_some());
    }

    #[test]
    fn a_chain_without_end_is_followed_for_a_bounded_way() {
        let chain = ["10.0.0.2"; 1000].join(", ");
        let resolved =
            TrustedProxies::private().resolve(peer("10.0.0.1:5"), &headers(&[("x-forwarded-for", &chain)]));
        assert_eq!(resolved.address, Some("10.0.0.2:0".parse().unwrap()));
        assert_eq!(
            from_the_right(&headers(&[("x-forwarded-for", &chain)]), FORWARDED_FOR).count(),
            MAX_ELEMENTS
        );
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_hides_the_address_its_proxy_saw(said in "[ -~]{0,60}") {
            let value = format!("{said}, 192.0.2.1");
            let resolved = TrustedProxies::private().resolve(peer("10.0.0.1:5"), &headers(&[("x-forwarded-for", &value)]));
            prop_assert_eq!(resolved.address, Some("192.0.2.1:0".parse().unwrap()));
        }
    }
}
