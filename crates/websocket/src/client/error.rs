//! The errors before a server is asked for a WebSocket.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use thiserror::Error;

use super::{
    proxy::{ProxyError, ProxyUrlError},
    rejection::Rejection,
};

/// The reason why a [`Client`](crate::client::Client) could not ask a server for a WebSocket, or got no
/// answer.
///
/// An answer that is no WebSocket is [`Error::Rejected`](crate::Error::Rejected), with its head, or
/// [`Error::Handshake`](crate::Error::Handshake).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of a host could not be resolved.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The error of the system's resolver.
        source: io::Error,
    },
    /// No address of the host accepted a connection.
    #[error("cannot connect to {to}: {}", list(failures))]
    Tcp {
        /// The server or the proxy, as `host:port`.
        to: String,
        /// Each address with its error. An address that had not failed when the time was over has
        /// [`io::ErrorKind::TimedOut`].
        failures: Vec<(SocketAddr, io::Error)>,
    },
    /// A Unix-domain socket did not accept a connection.
    #[error("cannot connect to {}: {source}", path.display())]
    Unix {
        /// The path of the socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A proxy did not open a connection.
    #[error("the proxy {proxy} did not connect to {to}: {source}")]
    Proxy {
        /// The proxy, as `scheme://host:port`.
        proxy: String,
        /// The server, as `host:port`.
        to: String,
        /// The reason.
        source: ProxyError,
    },
    /// The handshake of TLS failed. Most often the server's certificate is not trusted. The source is a
    /// `rustls::Error`, unless the connection failed: see [`tls`](Self::tls).
    #[error("the TLS handshake with {to} failed: {source}")]
    Tls {
        /// The server or the proxy, as `host:port`.
        to: String,
        /// The reason.
        source: io::Error,
    },
    /// There is no trusted root certificate.
    #[error("no root certificates: {what}")]
    Roots {
        /// The reason.
        what: String,
    },
    /// The URL is `wss://`, and the crate was built without its feature `tls`.
    #[error("{to} needs TLS, and this program was built without it (feature `tls` of switchboard-websocket)")]
    NoTls {
        /// The server or the proxy, as `host:port`.
        to: String,
    },
    /// The connection failed while the server was asked for a WebSocket.
    #[error("the connection to {to} failed during the handshake: {source}")]
    Io {
        /// The server, as `host:port`.
        to: String,
        /// The reason.
        source: io::Error,
    },
    /// A step took longer than its limit.
    #[error("{to}: {step} took longer than {limit:?}")]
    Timeout {
        /// The step.
        step: Step,
        /// The server or the proxy, as `host:port`.
        to: String,
        /// The limit: that of the step, or that of all steps.
        limit: Duration,
    },
    /// The server answered with a redirect, and the client did not follow it, though redirects are enabled.
    #[error("the client does not follow the redirect {answer}: {why}")]
    Redirect {
        /// The reason.
        why: RedirectError,
        /// The answer, with its `Location`.
        answer: Box<Rejection>,
    },
    /// The URL of a proxy is not valid. It was given to the client, or comes from the environment.
    #[error(transparent)]
    ProxyUrl(#[from] ProxyUrlError),
    /// A header that was set on the client is not valid.
    #[error("a header is not valid: {what}")]
    Header {
        /// The fault.
        what: String,
    },
}

impl ConnectError {
    /// The error of TLS, for instance `InvalidCertificate`.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&rustls::Error> {
        match self {
            Self::Tls { source, .. } => source.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

fn list(failures: &[(SocketAddr, io::Error)]) -> String {
    let each = failures.iter().map(|(address, error)| format!("{address}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}

/// A step on the way to a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The resolution of a name.
    Resolve,
    /// The connection to a Unix-domain socket. (For TCP see [`ConnectError::Tcp`], which has each address.)
    Connect,
    /// The connection of a proxy to the server.
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// The request for a WebSocket, and its answer.
    Handshake,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Proxy => "the proxy's answer",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the answer to the handshake",
        })
    }
}

/// The reason why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The limit of redirects is reached.
    #[error("the limit of {limit} redirects is reached")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// It leads from TLS to a connection without TLS.
    #[error("it leads from wss:// to ws://")]
    Downgrade,
    /// It has no `Location`, several, or one that is no URL of a WebSocket.
    #[error("its Location {what}")]
    Location {
        /// The fault of the `Location`.
        what: &'static str,
    },
}
