//! SOCKS5 (RFC 1928), without authorization or with user and password (RFC 1929).

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
    // The code comes first: some proxies send no more than these bytes with a refusal.
    if code != 0 {
        return Err(ProxyError::Reply { code });
    }
    // Where the proxy connects from is of no use here, and followed by the server's bytes.
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

/// Whether user and password can be sent: each has a length of one byte that is not 0 (RFC 1929 §2).
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
        // Some proxies answer with the version of SOCKS here.
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

/// What a reply says (§6).
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
