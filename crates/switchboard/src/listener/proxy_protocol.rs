//! The PROXY protocol's header, by which a proxy of TCP connections says whom it speaks for. Sans-I/O: bytes
//! in, an address out.
//!
//! [The PROXY protocol, versions 1 and 2](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// A header of version 1, its line end included, is no longer (section 2.1).
const MAX_V1: usize = 107;

/// What a header of version 2 may hold behind its first 16 bytes. The protocol lets it be 64 KiB; what
/// proxies send, certificates' names among it, is far below this.
const MAX_V2: usize = 4096;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whom the proxy speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A client at this address.
    Client(SocketAddr),
    /// The proxy itself (a health check), or a client whose address it does not say.
    Unsaid,
}

/// Why the first bytes of a connection are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum ProxyError {
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    #[error("the PROXY protocol header is malformed: {0}")]
    Malformed(&'static str),
    #[error("the connection comes from an address that is no trusted proxy's")]
    Untrusted,
    #[error("the PROXY protocol header is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads the header at the beginning of `bytes`: whom it names, and its length. `None`: it is not whole yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Source, usize)>, ProxyError> {
    if begins(bytes, V1) {
        parse_v1(bytes)
    } else if begins(bytes, V2) {
        parse_v2(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether `bytes` begin so, as far as they go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, with)| byte == with)
}

/// Section 2.1: one line of text.
fn parse_v1(bytes: &[u8]) -> Result<Option<(Source, usize)>, ProxyError> {
    let window = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_V1 { Ok(None) } else { Err(ProxyError::TooLong(MAX_V1)) };
    };
    let line = bytes.get(V1.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(ProxyError::Malformed("not text"))?;
    let mut words = line.split(' ');
    let source = match words.next() {
        // Whatever else is on the line is to be ignored.
        Some("UNKNOWN") => return Ok(Some((Source::Unsaid, end + 2))),
        Some("TCP4") => v1_source::<Ipv4Addr>(words),
        Some("TCP6") => v1_source::<Ipv6Addr>(words),
        _ => return Err(ProxyError::Malformed("an unknown protocol")),
    };
    Ok(Some((Source::Client(source?), end + 2)))
}

/// Source address, destination address, source port, destination port, and no more.
fn v1_source<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Result<SocketAddr, ProxyError>
where
    A: FromStr + Into<IpAddr>,
{
    let mut address = || words.next()?.parse::<A>().ok();
    let (source, destination) = (address(), address());
    let mut port = || {
        let word = words.next()?;
        let canonical =
            word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse::<u16>().ok().filter(|_| canonical)
    };
    match (source, destination, port(), port(), words.next()) {
        (Some(source), Some(_), Some(port), Some(_), None) => Ok(SocketAddr::new(source.into(), port)),
        _ => Err(ProxyError::Malformed("not two addresses and two ports")),
    }
}

/// Section 2.2: 16 bytes, then addresses and TLVs as long as they say.
fn parse_v2(bytes: &[u8]) -> Result<Option<(Source, usize)>, ProxyError> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let [.., command, family, high, low] = *head;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_V2 {
        return Err(ProxyError::TooLong(MAX_V2));
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Malformed("an unknown version or command")),
    };
    let Some(block) = rest.get(..len) else { return Ok(None) };
    let source = match family {
        // LOCAL: whatever else the header says is to be ignored. Then families that name no TCP address.
        _ if local => Some(Source::Unsaid),
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(Source::Unsaid),
        0x11 => v2_source::<4, 12>(block),
        0x21 => v2_source::<16, 36>(block),
        _ => return Err(ProxyError::Malformed("an unknown family")),
    };
    let source = source.ok_or(ProxyError::Malformed("too short for its addresses"))?;
    Ok(Some((source, 16 + len)))
}

/// The first of two addresses of `A` bytes, and the first of the two ports behind them; what is behind all
/// `ALL` bytes are TLVs, not looked at.
fn v2_source<const A: usize, const ALL: usize>(block: &[u8]) -> Option<Source>
where
    [u8; A]: Into<IpAddr>,
{
    let addresses = block.first_chunk::<ALL>()?;
    let address: IpAddr = (*addresses.first_chunk::<A>()?).into();
    let [high, low] = *addresses.get(2 * A..)?.first_chunk::<2>()?;
    Some(Source::Client(SocketAddr::new(address, u16::from_be_bytes([high, low]))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = V2.to_vec();
        bytes.extend([command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    const TCP4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    fn tcp6() -> Vec<u8> {
        let mut block = Ipv6Addr::from_str("2001:db8::7").unwrap().octets().to_vec();
        block.extend(Ipv6Addr::LOCALHOST.octets());
        block.extend([0x12, 0x67, 0, 80]);
        block
    }

    fn good() -> Vec<(Vec<u8>, Source)> {
        let client = |address: &str| Source::Client(address.parse().unwrap());
        let mut with_tlv = TCP4.to_vec();
        with_tlv.extend([0x04, 0, 3, 1, 2, 3]);
        let longest_unknown = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_V1 - 16));
        assert_eq!(longest_unknown.len(), MAX_V1);
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), client("192.0.2.7:4711")),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
                client("255.255.255.255:65535"),
            ),
            (b"PROXY TCP6 2001:db8::7 ::1 0 80\r\n".to_vec(), client("[2001:db8::7]:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unsaid),
            (longest_unknown.into_bytes(), Source::Unsaid),
            (v2(0x21, 0x11, &TCP4), client("192.0.2.7:4711")),
            (v2(0x21, 0x21, &tcp6()), client("[2001:db8::7]:4711")),
            (v2(0x21, 0x11, &with_tlv), client("192.0.2.7:4711")),
            (v2(0x20, 0x11, &TCP4), Source::Unsaid),
            (v2(0x20, 0x00, &[]), Source::Unsaid),
            (v2(0x20, 0xff, &[]), Source::Unsaid),
            (v2(0x21, 0x00, &[1, 2, 3]), Source::Unsaid),
            (v2(0x21, 0x31, &[0; 216]), Source::Unsaid),
            (v2(0x20, 0x00, &[0; MAX_V2]), Source::Unsaid),
        ]
    }

    #[test]
    fn headers_of_both_versions_name_the_client() {
        for (mut bytes, source) in good() {
            let len = bytes.len();
            bytes.extend(b"GET / HTTP/1.1\r\n");
            assert_eq!(parse(&bytes), Ok(Some((source, len))), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_no_header_are_refused() {
        let too_long = |version: &[u8]| ProxyError::TooLong(if version == V1 { MAX_V1 } else { MAX_V2 });
        for (bytes, error) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), Some(ProxyError::Missing)),
            (b"PROXX".to_vec(), Some(ProxyError::Missing)),
            (b"\r\n\r\n\0\r\nQUIX".to_vec(), Some(ProxyError::Missing)),
            (b"PROXY TCP5 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), None),
            (b"PROXY \r\n".to_vec(), None),
            (b"PROXY\r\n".to_vec(), Some(ProxyError::Missing)),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80 9\r\n".to_vec(), None),
            (b"PROXY TCP4  192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), None),
            (b"PROXY TCP4 2001:db8::7 ::1 4711 80\r\n".to_vec(), None),
            (b"PROXY TCP6 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 +4711 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 04711 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.02.7 10.0.0.1 4711 80\r\n".to_vec(), None),
            (b"PROXY TCP4 \xff\r\n".to_vec(), None),
            ([V1, &[b'x'; 101]].concat(), Some(too_long(V1))),
            (v2(0x21, 0x11, &TCP4[..11]), None),
            (v2(0x21, 0x21, &TCP4), None),
            (v2(0x21, 0x41, &tcp6()), None),
            (v2(0x22, 0x11, &TCP4), None),
            (v2(0x11, 0x11, &TCP4), None),
            (v2(0x21, 0x11, &[0; MAX_V2 + 1])[..16].to_vec(), Some(too_long(V2))),
        ] {
            let parsed = parse(&bytes);
            let expected = match error {
                Some(error) => parsed == Err(error),
                None => matches!(parsed, Err(ProxyError::Malformed(_))),
            };
            assert!(expected, "{}: {parsed:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_header_that_is_not_whole_is_waited_for() {
        assert_eq!(parse(b""), Ok(None));
        for (bytes, source) in good() {
            for at in 0..bytes.len() {
                assert_eq!(parse(&bytes[..at]), Ok(None), "{} of {}", at, bytes.escape_ascii());
            }
            assert_eq!(parse(&bytes), Ok(Some((source, bytes.len()))));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_of_bounded_length_or_an_error(
            version in prop::sample::select(vec![&b""[..], V1, b"PROXY TCP4 ", b"PROXY TCP6 ", V2, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
            end in prop::sample::select(vec![&b""[..], b"\r\n"]),
        ) {
            let bytes = [version, &rest, end].concat();
            match parse(&bytes) {
                Ok(Some((_, len))) => prop_assert!(len <= bytes.len() && len <= 16 + MAX_V2),
                Ok(None) => prop_assert!(bytes.len() < 16 + MAX_V2),
                Err(_) => {}
            }
            // What is decided does not change with the bytes behind.
            if let Ok(Some(decided)) = parse(&bytes) {
                prop_assert_eq!(parse(&[&bytes[..], b"\r\nmore"].concat()), Ok(Some(decided)));
            }
        }

        #[test]
        fn any_split_of_a_header_comes_to_the_same(which in 0_usize..14, split in any::<prop::sample::Index>()) {
            let (bytes, source) = good().swap_remove(which);
            let at = split.index(bytes.len());
            prop_assert_eq!(parse(&bytes[..at]), Ok(None));
            prop_assert_eq!(parse(&bytes), Ok(Some((source, bytes.len()))));
        }
    }
}
