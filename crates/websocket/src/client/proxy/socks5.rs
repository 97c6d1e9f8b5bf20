//! SOCKS5 (RFC 1928), without authorization, or with a user and a password (RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ProxyError;
use crate::client::url::{Credentials, Host};

const VERSION: u8 = 5;
const NO_AUTHORIZATION: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xFF;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// Asks for a connection to `host`, by its name if it has one.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    host: &Host,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyError> {
    let methods: &[u8] = match credentials {
        None => &[VERSION, 1, NO_AUTHORIZATION],
        Some(_) => &[VERSION, 2, NO_AUTHORIZATION, USER_PASSWORD],
    };
    send(io, methods).await?;
    let [version, method] = receive(io).await?;
    if version != VERSION {
        return Err(ProxyError::NotSocks5);
    }
    match (method, credentials) {
        (NO_AUTHORIZATION, _) => {}
        (USER_PASSWORD, Some(credentials)) => authorize(io, credentials).await?,
        (NONE_ACCEPTABLE, _) => return Err(ProxyError::Method { offered: credentials.is_some() }),
        _ => return Err(ProxyError::NotSocks5),
    }
    send(io, &request(host, port)?).await?;
    let [version, code, _, address] = receive(io).await?;
    if version != VERSION {
        return Err(ProxyError::NotSocks5);
    }
    // The code is checked first, because some proxies send only these bytes with a refusal.
    if code != 0 {
        return Err(ProxyError::Reply { code });
    }
    // The address that the proxy connects from is skipped. The server's bytes follow it.
    let rest = match address {
        IPV4 => 4,
        IPV6 => 16,
        DOMAIN => usize::from(receive::<_, 1>(io).await?[0]),
        _ => return Err(ProxyError::NotSocks5),
    };
    let mut bound = [0; 255 + 2];
    io.read_exact(bound.get_mut(..rest + 2).unwrap_or_default()).await?;
    Ok(())
}

/// Whether the user and the password can be sent. The length of each is one byte that is not 0 (RFC 1929 §2).
pub(super) fn fits(credentials: &Credentials) -> bool {
    [&credentials.user, &credentials.password].iter().all(|text| (1..=255).contains(&text.len()))
}

async fn authorize<S>(io: &mut S, credentials: &Credentials) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = vec![1];
    for text in [&credentials.user, &credentials.password] {
        bytes.push(u8::try_from(text.len()).map_err(|_| ProxyError::Credentials)?);
        bytes.extend_from_slice(text);
    }
    send(io, &bytes).await?;
    match receive(io).await? {
        // Some proxies send the version of SOCKS here.
        [1 | VERSION, 0] => Ok(()),
        [1 | VERSION, _] => Err(ProxyError::Credentials),
        _ => Err(ProxyError::NotSocks5),
    }
}

fn request(host: &Host, port: u16) -> Result<Vec<u8>, ProxyError> {
    let mut bytes = vec![VERSION, CONNECT, 0];
    match host {
        Host::Ip(IpAddr::V4(address)) => {
            bytes.push(IPV4);
            bytes.extend(address.octets());
        }
        Host::Ip(IpAddr::V6(address)) => {
            bytes.push(IPV6);
            bytes.extend(address.octets());
        }
        Host::Name(name) => {
            let length = u8::try_from(name.len()).map_err(|_| ProxyError::Reply { code: 8 })?;
            bytes.extend([DOMAIN, length]);
            bytes.extend(name.as_bytes());
        }
    }
    bytes.extend(port.to_be_bytes());
    Ok(bytes)
}

/// The meaning of a reply (§6).
pub(super) fn reply(code: u8) -> String {
    let said = match code {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "it cannot reach the network",
        4 => "it cannot reach the host",
        5 => "the connection was refused",
        6 => "the connection took too long (TTL)",
        7 => "it does not know the command",
        8 => "it does not take this kind of address",
        _ => return format!("it replied {code}"),
    };
    said.to_owned()
}

async fn send<S: AsyncWrite + Unpin>(io: &mut S, bytes: &[u8]) -> Result<(), ProxyError> {
    io.write_all(bytes).await?;
    Ok(io.flush().await?)
}

async fn receive<S: AsyncRead + Unpin, const N: usize>(io: &mut S) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    type User<'a> = Option<(&'a str, &'a str)>;

    /// The result of a request for `host`, port 258, to a proxy that sends `answers` and nothing more, and
    /// the request that the proxy got.
    async fn talk(answers: &[u8], host: &str, user: User<'_>) -> (Result<(), ProxyError>, Vec<u8>) {
        let (mut ours, mut proxy) = duplex(4096);
        proxy.write_all(answers).await.unwrap();
        proxy.shutdown().await.unwrap();
        let host = host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Ip);
        let credentials =
            user.map(|(user, password)| Credentials { user: user.into(), password: password.into() });
        let result = open(&mut ours, &host, 258, credentials.as_ref()).await;
        drop(ours);
        let mut told = Vec::new();
        proxy.read_to_end(&mut told).await.unwrap();
        (result, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_sent_as_a_name_or_as_an_address() {
        let table: [(&str, &[u8]); 3] = [
            ("a.example", b"\x03\x09a.example\x01\x02"),
            ("192.0.2.1", b"\x01\xc0\x00\x02\x01\x01\x02"),
            ("2001:db8::1", b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02"),
        ];
        for (host, address) in table {
            let (result, told) = talk(b"\x05\x00\x05\0\0\x01\0\0\0\0\0\0", host, None).await;
            assert!(result.is_ok(), "{host}: {result:?}");
            assert_eq!(told, [b"\x05\x01\x00\x05\x01\x00", address].concat(), "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_offered_and_sent_where_it_is_wanted() {
        let user = Some(("me", "secret"));
        let request = b"\x05\x01\x00\x03\x01a\x01\x02".as_slice();
        let sent = [b"\x05\x02\x00\x02\x01\x02me\x06secret", request].concat();
        for answer in [b"\x05\x02\x01\x00", b"\x05\x02\x05\x00"] {
            let answers = [answer.as_slice(), b"\x05\0\0\x01\0\0\0\0\0\0"].concat();
            let (result, told) = talk(&answers, "a", user).await;
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(told, sent);
        }
        let (result, told) = talk(b"\x05\x00\x05\0\0\x01\0\0\0\0\0\0", "a", user).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(told, [b"\x05\x02\x00\x02", request].concat(), "not to a proxy that does not ask");
    }

    #[tokio::test(start_paused = true)]
    async fn every_form_of_a_bound_address_is_read_to_its_end() {
        for bound in [
            b"\x01\0\0\0\0".as_slice(),
            &[4; 17],
            b"\x03\0",
            b"\x03\x04name",
            &[[3, 255].as_slice(), &[b'x'; 255]].concat(),
        ] {
            let answer = [b"\x05\x00\x05\0\0", bound, b"\0\x50"].concat();
            assert!(talk(&answer, "a", None).await.0.is_ok(), "{bound:?}");
            let (cut, _) = talk(&answer[..answer.len() - 1], "a", None).await;
            assert!(matches!(cut, Err(ProxyError::Ended)), "{cut:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_why() {
        let user = Some(("me", "secret"));
        let table: [(&[u8], User<'_>, &str); 10] = [
            (b"\x05\xff", None, "it requires a user and a password"),
            (b"\x05\xff", user, "it does not accept a user and a password"),
            (b"\x05\x02\x01\x01", user, "it refused the user and the password"),
            (b"\x05\x02", None, "it does not speak SOCKS5"),
            (b"\x05\x01", user, "it does not speak SOCKS5"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, "it does not speak SOCKS5"),
            (b"\x05\x02HTTP", user, "it does not speak SOCKS5"),
            (b"\x05\x00\x04\0\0\x01", None, "it does not speak SOCKS5"),
            (b"\x05\x00\x05\0\0\x02\0\0", None, "it does not speak SOCKS5"),
            (b"\x05\x00\x05\x63\0\x01", None, "it replied 99"),
        ];
        for (answers, user, why) in table {
            let (result, _) = talk(answers, "a", user).await;
            assert_eq!(result.unwrap_err().to_string(), why, "{answers:?}");
        }
        for code in 1..=8 {
            let (result, _) = talk(&[5, 0, 5, code, 0, 1], "a", None).await;
            assert!(matches!(result, Err(ProxyError::Reply { code: got }) if got == code), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_do_not_fit_are_not_sent() {
        let (result, told) = talk(b"\x05\x00", &"a".repeat(256), None).await;
        assert!(matches!(result, Err(ProxyError::Reply { code: 8 })), "{result:?}");
        assert_eq!(told, b"\x05\x01\x00");
        let credentials = |user: &str| Credentials { user: user.into(), password: b"x".to_vec() };
        assert!(fits(&credentials(&"u".repeat(255))));
        assert!(!fits(&credentials(&"u".repeat(256))) && !fits(&credentials("")));
    }
}
