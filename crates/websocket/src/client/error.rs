//! What can go wrong before a server is asked for a WebSocket, and where.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use thiserror::Error;

use super::{
    proxy::{ProxyError, ProxyUrlError},
    rejection::Rejection,
};

/// Why [`Client`](crate::client::Client) did not come to ask a server for a WebSocket, or was not answered.
///
/// A server's answer that is no WebSocket is [`Error::Rejected`](crate::Error::Rejected), with its head, or
/// [`Error::Handshake`](crate::Error::Handshake).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of a host was not resolved.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system's resolver said.
        source: io::Error,
    },
    /// No address of the host took a connection.
    #[error("cannot connect to {to}: {}", list(failures))]
    Tcp {
        /// The server or the proxy, as `host:port`.
        to: String,
        /// Every address, and why it did not do. One that had not failed when the time was over has
        /// [`io::ErrorKind::TimedOut`].
        failures: Vec<(SocketAddr, io::Error)>,
    },
    /// A Unix-domain socket did not take a connection.
    #[error("cannot connect to {}: {source}", path.display())]
    Unix {
        /// The path of the socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A proxy did not open a connection.
    #[error("the proxy {proxy} did not connect to {to}: {source}")]
    Proxy {
        /// The proxy, as `scheme://host:port`.
        proxy: String,
        /// The server, as `host:port`.
        to: String,
        /// What it said.
        source: ProxyError,
    },
    /// TLS did not come about: most often the server's certificate is not to be trusted. The source is a
    /// `rustls::Error` if TLS was at fault and not the connection: see [`tls`](Self::tls).
    #[error("no TLS with {to}: {source}")]
    Tls {
        /// The server or the proxy, as `host:port`.
        to: String,
        /// Why not.
        source: io::Error,
    },
    /// There is no root certificate to trust.
    #[error("no root certificates: {what}")]
    Roots {
        /// What was found in their place.
        what: String,
    },
    /// A `wss://` URL, and the crate was built without its feature `tls`.
    #[error("{to} needs TLS, which this program was built without (feature `tls` of switchboard-websocket)")]
    NoTls {
        /// The server or the proxy, as `host:port`.
        to: String,
    },
    /// The connection failed while the server was asked for a WebSocket.
    #[error("the connection to {to} failed during the handshake: {source}")]
    Io {
        /// The server, as `host:port`.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// A step took longer than it may.
    #[error("{to}: {step} took longer than {limit:?}")]
    Timeout {
        /// What was not done in time.
        step: Step,
        /// The server or the proxy, as `host:port`.
        to: String,
        /// The limit that was met: the step's own, or the overall one.
        limit: Duration,
    },
    /// A redirect that is not followed, though redirects were asked for.
    #[error("the server sends elsewhere with {answer}, which is not followed: {why}")]
    Redirect {
        /// Why not.
        why: RedirectError,
        /// The answer, with its `Location`.
        answer: Box<Rejection>,
    },
    /// A proxy's URL that is none, given to the client or found in the environment.
    #[error(transparent)]
    ProxyUrl(#[from] ProxyUrlError),
    /// A header that was set on the client is none.
    #[error("a header is none: {what}")]
    Header {
        /// What is wrong with it.
        what: String,
    },
}

impl ConnectError {
    /// What TLS has against the server, for instance `InvalidCertificate`.
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
    /// Resolving a name.
    Resolve,
    /// Connecting to a Unix-domain socket. (Of TCP, [`ConnectError::Tcp`] tells each address.)
    Connect,
    /// Having a proxy open a connection.
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// Asking for a WebSocket, and being answered.
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

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were as many already as were asked for.
    #[error("{limit} redirects were followed already")]
    TooMany {
        /// How many were asked for.
        limit: usize,
    },
    /// It leads from TLS to a connection without.
    #[error("it leads from wss:// to ws://")]
    Downgrade,
    /// It has no `Location`, several, or one that is no URL of a WebSocket.
    #[error("its Location {what}")]
    Location {
        /// What is wrong with it.
        what: &'static str,
    },
}
