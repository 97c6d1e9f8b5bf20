//! Proxies. A client connects to a proxy, and asks it for a connection to the server.

mod environment;
mod http_connect;
mod socks5;

use std::{convert::Infallible, fmt, io, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue, header::PROXY_AUTHORIZATION};
use thiserror::Error;

use super::{
    ClientIo, Rejection,
    url::{Credentials, Host, Pieces, Target},
};
use crate::handshake::{
    client::ClientError,
    head::{HeadError, HeadLimits},
};

/// A proxy that opens connections to servers: HTTP with `CONNECT` (RFC 9110 §9.3.6), or SOCKS5 (RFC 1928).
///
/// It is written as a URL:
///
/// | URL | the proxy | who resolves the server's name |
/// |---|---|---|
/// | `http://[user:password@]host[:8080]` | HTTP; port 80 by default | the proxy |
/// | `https://[user:password@]host[:port]` | HTTP within TLS; port 443 by default | the proxy |
/// | `socks5://[user:password@]host[:port]` | SOCKS5; port 1080 by default | this machine |
/// | `socks5h://[user:password@]host[:port]` | SOCKS5; port 1080 by default | the proxy |
///
/// The user and the password are percent-decoded. They are sent as Basic authorization (RFC 7617), or by RFC
/// 1929 for SOCKS5. `Debug` and errors do not show them.
///
/// ```
/// use switchboard_websocket::client::Proxy;
///
/// let proxy: Proxy = "socks5h://me:secret@proxy.example".parse()?;
/// assert_eq!(proxy.to_string(), "socks5h://proxy.example:1080");
/// # Ok::<(), switchboard_websocket::client::ProxyUrlError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    kind: Kind,
    pub(super) host: Host,
    pub(super) port: u16,
    credentials: Option<Credentials>,
    headers: HeaderMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Socks5,
    Socks5h,
}

impl Proxy {
    /// Adds a header to the request to an HTTP proxy, for instance another kind of authorization.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Whether the connection to the proxy uses TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.kind == Kind::Https
    }

    /// Whether this machine resolves the server's name.
    pub(super) fn resolves_here(&self) -> bool {
        self.kind == Kind::Socks5
    }

    /// The proxy as `host:port`, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Asks for a connection to `host` and `port`, over a connection to the proxy.
    pub(super) async fn open(
        &self,
        io: &mut ClientIo,
        host: &Host,
        port: u16,
        limits: HeadLimits,
    ) -> Result<(), ProxyError> {
        match self.kind {
            Kind::Http | Kind::Https => {
                let mut headers = self.headers.clone();
                if let Some(credentials) = &self.credentials {
                    let value = credentials.basic().map_err(|_| ProxyError::Credentials)?;
                    headers.insert(PROXY_AUTHORIZATION, value);
                }
                http_connect::open(io, &format!("{host}:{port}"), &headers, limits).await
            }
            Kind::Socks5 | Kind::Socks5h => socks5::open(io, host, port, self.credentials.as_ref()).await,
        }
    }

    /// The proxy that the environment names for `target`.
    pub(super) fn from_environment(target: &Target) -> Result<Option<Self>, ProxyUrlError> {
        environment::proxy(|name| std::env::var(name).ok(), target)
    }
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    /// # Errors
    ///
    /// [`ProxyUrlError`] for a text that is no URL, for another scheme, for a path, and for a user that
    /// cannot be sent.
    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        let bad = |what| ProxyUrlError { what };
        let pieces = Pieces::parse(url).map_err(|error| match error {
            ClientError::Url { what } => bad(what),
            _ => bad("is malformed"),
        })?;
        let (kind, default) = match pieces.scheme.as_str() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" => (Kind::Socks5, 1080),
            "socks5h" => (Kind::Socks5h, 1080),
            _ => return Err(bad("is not http://, https://, socks5:// or socks5h://")),
        };
        if !matches!(pieces.rest, "" | "/") {
            return Err(bad("has a path"));
        }
        if let Some(credentials) = &pieces.credentials {
            let fits = match kind {
                Kind::Http | Kind::Https => credentials.basic().is_ok(),
                Kind::Socks5 | Kind::Socks5h => socks5::fits(credentials),
            };
            if !fits {
                return Err(bad("has a user or password that cannot be sent"));
            }
        }
        let port = pieces.port.unwrap_or(default);
        Ok(Self { kind, host: pieces.host, port, credentials: pieces.credentials, headers: HeaderMap::new() })
    }
}

impl TryFrom<&str> for Proxy {
    type Error = ProxyUrlError;

    fn try_from(url: &str) -> Result<Self, ProxyUrlError> {
        url.parse()
    }
}

impl TryFrom<String> for Proxy {
    type Error = ProxyUrlError;

    fn try_from(url: String) -> Result<Self, ProxyUrlError> {
        url.parse()
    }
}

/// The URL of a proxy is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the proxy's URL {what}")]
#[non_exhaustive]
pub struct ProxyUrlError {
    /// The fault.
    pub what: &'static str,
}

impl From<Infallible> for ProxyUrlError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for Proxy {
    /// `scheme://host:port`, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
            Kind::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// The reason why a proxy did not open a connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The connection to the proxy failed.
    #[error(transparent)]
    Io(io::Error),
    /// The proxy ended the connection before its answer was whole. Some do this instead of a refusal.
    #[error("it ended the connection")]
    Ended,
    /// An HTTP proxy answered with another status than 2xx: 407 if it requires a user and a password.
    #[error("it answered {0}")]
    Refused(Box<Rejection>),
    /// An HTTP proxy's answer is no response.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The proxy sent bytes behind its answer. The server cannot have sent them, because nothing was asked of
    /// it yet.
    #[error("it sent bytes behind its answer")]
    Trailing,
    /// The answer is not SOCKS5. Most often it is another kind of proxy.
    #[error("it does not speak SOCKS5")]
    NotSocks5,
    /// A SOCKS5 proxy accepts no way of authorization that was offered.
    #[error("{}", if *.offered { "it does not accept a user and a password" } else { "it requires a user and a password" })]
    Method {
        /// Whether a user and password were offered.
        offered: bool,
    },
    /// A SOCKS5 proxy refused the user and the password.
    #[error("it refused the user and the password")]
    Credentials,
    /// A SOCKS5 proxy did not open the connection.
    #[error("{}", socks5::reply(*.code))]
    Reply {
        /// Its reply (RFC 1928 §6).
        code: u8,
    },
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Ended } else { Self::Io(error) }
    }
}
