//! The proxy that the environment names, in the way of curl and others: `https_proxy` for `wss`, `http_proxy`
//! for `ws`, `all_proxy` for both, and `no_proxy` for hosts without a proxy. All but `http_proxy` may be in
//! capitals too.

use std::net::IpAddr;

use super::{Proxy, ProxyUrlError};
use crate::client::url::{Host, Target};

/// The proxy for `target`. `lookup` returns the values of variables.
pub(super) fn proxy(
    lookup: impl Fn(&str) -> Option<String>,
    target: &Target,
) -> Result<Option<Proxy>, ProxyUrlError> {
    // A CGI program gets HTTP_PROXY in capitals from the `Proxy` header of a request.
    let names: &[&str] = if target.secure { &["https_proxy", "HTTPS_PROXY"] } else { &["http_proxy"] };
    let mut values = names.iter().chain(&["all_proxy", "ALL_PROXY"]).filter_map(|name| lookup(name));
    let Some(url) = values.find(|url| !url.trim().is_empty()) else { return Ok(None) };
    let without = lookup("no_proxy").or_else(|| lookup("NO_PROXY")).unwrap_or_default();
    if is_local(&target.host) || is_listed(&without, target) {
        return Ok(None);
    }
    let url = url.trim();
    if url.contains("://") { url.parse() } else { format!("http://{url}").parse() }.map(Some)
}

/// This machine. A proxy would take these names for itself.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Name(name) => name.trim_end_matches('.') == "localhost",
        Host::Ip(address) => address.is_loopback(),
    }
}

/// Whether the list in `no_proxy` has the target: `*`, names with all names below them, addresses and
/// networks. A name and an address may have a port.
fn is_listed(list: &str, target: &Target) -> bool {
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Host::Ip(address) = target.host
            && is_within(address, entry)
        {
            return true;
        }
        let (place, port) = match entry.rsplit_once(':') {
            Some((place, port)) if !place.contains(':') || place.ends_with(']') => (place, port.parse().ok()),
            _ => (entry, None),
        };
        if port.is_some_and(|port: u16| port != target.port) {
            return false;
        }
        match &target.host {
            Host::Ip(address) => is_within(*address, place),
            Host::Name(name) => is_at_or_below(name.trim_end_matches('.'), place),
        }
    })
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
    !domain.is_empty()
        && name.strip_suffix(domain.as_str()).is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// Whether an address is `network`: an address, or one with a prefix length behind a slash.
fn is_within(address: IpAddr, network: &str) -> bool {
    let (network, length) =
        network.split_once('/').map_or((network, None), |(network, length)| (network, Some(length)));
    let network = network.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let Ok(network) = network else { return false };
    let ((address, width), (network, network_width)) = (bits(address), bits(network));
    let Some(length) = length.map_or(Some(width), |length| length.parse::<u32>().ok()) else { return false };
    // A prefix of length 0 shifts all 128 bits out: no bit is left that could differ.
    width == network_width
        && length <= width
        && (address ^ network).checked_shr(128 - length).unwrap_or_default() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn chosen(variables: Variables<'_>, url: &str) -> Option<String> {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        proxy(lookup, &Target::parse(url).unwrap()).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_scheme_says_which_variable() {
        let all = [("https_proxy", "http://s"), ("http_proxy", "http://p:1"), ("ALL_PROXY", "socks5h://a")];
        let table: [(Variables<'_>, &str, Option<&str>); 9] = [
            (&all, "wss://x/", Some("http://s:80")),
            (&all, "ws://x/", Some("http://p:1")),
            (&all[2..], "wss://x/", Some("socks5h://a:1080")),
            (&all[2..], "ws://x/", Some("socks5h://a:1080")),
            (&[("HTTPS_PROXY", "p:8080")], "wss://x/", Some("http://p:8080")),
            (&[("HTTPS_PROXY", "p:8080")], "ws://x/", None),
            (&[("HTTP_PROXY", "p:8080")], "ws://x/", None),
            (&[("https_proxy", " "), ("all_proxy", "q")], "wss://x/", Some("http://q:80")),
            (&[], "wss://x/", None),
        ];
        for (variables, url, expected) in table {
            assert_eq!(chosen(variables, url).as_deref(), expected, "{variables:?} {url}");
        }
    }

    #[test]
    fn some_hosts_need_no_proxy() {
        let table = [
            ("*", "wss://x/", true),
            ("a.example, b.example", "wss://b.example/", true),
            ("example", "wss://a.example/", true),
            (".example", "wss://a.example/", true),
            ("*.example", "wss://A.Example./", true),
            ("Example.", "wss://a.example/", true),
            ("example", "wss://anexample/", false),
            (".", "wss://example/", false),
            ("a.example", "wss://example/", false),
            ("example:443", "wss://example/", true),
            ("example:444", "wss://example/", false),
            ("192.0.2.1", "wss://192.0.2.1/", true),
            ("192.0.2.1:443", "wss://192.0.2.1/", true),
            ("192.0.2.1:80", "wss://192.0.2.1/", false),
            ("192.0.2.0/25", "wss://192.0.2.127/", true),
            ("192.0.2.0/25", "wss://192.0.2.128/", false),
            ("0.0.0.0/0", "wss://192.0.2.128/", true),
            ("192.0.2.0/33", "wss://192.0.2.0/", false),
            ("192.0.2.0/x", "wss://192.0.2.0/", false),
            ("2001:db8::/32", "wss://[2001:db8:1::1]/", true),
            ("2001:db8::/32", "wss://[2001:db9::1]/", false),
            ("::/0", "wss://192.0.2.1/", false),
            ("[2001:db8::1]:443", "wss://[2001:db8::1]/", true),
            ("2001:db8::1", "wss://[2001:db8::1]/", true),
            ("", "wss://localhost/", true),
            ("", "wss://127.8.8.8/", true),
            ("", "wss://[::1]/", true),
        ];
        for (list, url, without) in table {
            let variables = [("all_proxy", "http://p"), ("no_proxy", list)];
            assert_eq!(chosen(&variables, url).is_none(), without, "{list} {url}");
        }
    }
}
