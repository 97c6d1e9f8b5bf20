//! The client: from a URL to a WebSocket, over TLS and proxies where they are.
//!
//! [`Client`] says what to connect to and how. What it does then, in this order, each step with a limit of its own and all
//! within one: resolve the name and connect to one of its addresses (`eyeballs`), or to the proxy's; ask the proxy (`proxy`);
//! shake hands for TLS (`tls`); ask for the WebSocket (RFC 6455 §4.1); and begin anew where it is sent elsewhere, if that was
//! asked for (`redirect`).

mod clock;
mod connect;
mod error;
mod eyeballs;
mod io;
mod proxy;
mod redirect;
mod rejection;
#[cfg(feature = "tls")]
mod tls;
mod url;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, header};
#[cfg(feature = "tls")]
pub use rustls;

pub use error::{ConnectError, RedirectError, Step};
pub use io::{ClientIo, ClientReadHalf, ClientWriteHalf};
pub use proxy::{Proxy, ProxyError, ProxyUrlError};
pub use rejection::Rejection;
#[cfg(feature = "tls")]
pub use tls::Roots;
pub(crate) use url::Target;

use crate::{Config, Error, WebSocketStream, deflate::DeflateOptions};
use redirect::Redirects;

/// Opens connections to one URL.
///
/// ```no_run
/// use switchboard_websocket::client::Client;
///
/// # async fn run() -> Result<(), switchboard_websocket::Error> {
/// let mut socket = Client::new("wss://example.org/chat")
///     .header("Authorization", "Bearer abc")
///     .subprotocol("chat.v2")
///     .proxy("socks5h://proxy.example")
///     .connect()
///     .await?;
/// socket.send("hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// It can be kept, and connected as often as need be. What is wrong with the URL or an option is said by
/// [`connect`](Self::connect).
#[derive(Clone, Debug)]
#[must_use = "a client does nothing until `connect` is awaited"]
pub struct Client {
    url: String,
    config: Config,
    proxy: Via,
    at: At,
    #[cfg(feature = "tls")]
    trust: tls::Trust,
    redirects: Redirects,
    connect_timeout: Duration,
    tls_timeout: Duration,
    timeout: Duration,
    mistake: Option<Mistake>,
}

/// Through which proxy.
#[derive(Clone, Debug)]
enum Via {
    None,
    Proxy(Box<Proxy>),
    Environment,
}

/// Where the host is.
#[derive(Clone, Debug)]
enum At {
    Resolved,
    Addresses(Vec<SocketAddr>),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// The first option that was none, for [`Client::connect`] to say.
#[derive(Clone, Debug)]
enum Mistake {
    Header(String),
    Proxy(ProxyUrlError),
}

impl Client {
    /// A client of `url`: `ws://` or `http://`, which mean the same, or `wss://` or `https://`, with TLS.
    ///
    /// A user and password in it go as Basic authorization (RFC 7617), unless there is a header `Authorization`. Path
    /// and query may hold any text: what a URL does not allow there is percent-encoded as UTF-8. A host that is not
    /// ASCII is to be given in Punycode. A fragment is refused (RFC 6455 §3).
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            config: Config::default(),
            proxy: Via::None,
            at: At::Resolved,
            #[cfg(feature = "tls")]
            trust: tls::Trust::default(),
            redirects: Redirects::default(),
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            mistake: None,
        }
    }

    /// Sets everything that [`Config`] has: limits, buffers, time-outs, and also headers and subprotocols, in place of
    /// those that were set before.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a header to the request. The handshake's own (`Host`, `Upgrade`, `Connection`, `Sec-WebSocket-*`) are an
    /// error of [`connect`](Self::connect).
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let name = name.try_into().map_err(Into::into);
        match name.and_then(|name| Ok((name, value.try_into().map_err(Into::into)?))) {
            Ok((name, mut value)) => {
                // Not to be shown by `Debug`.
                if [header::AUTHORIZATION, header::COOKIE].contains(&name) {
                    value.set_sensitive(true);
                }
                self.config.headers.append(name, value);
            }
            Err(error) => self.mistake(Mistake::Header(error.to_string())),
        }
        self
    }

    /// Offers a subprotocol, after those that were offered before. Which one the server took is
    /// [`WebSocketStream::protocol`]; one that was not offered is an error.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.config.protocols.push(name.into());
        self
    }

    /// Offers to compress messages (permessage-deflate, RFC 7692): [`Config::deflate`]. Default not. Whether the server
    /// took it is [`WebSocketStream::deflate`].
    pub fn deflate(mut self, options: DeflateOptions) -> Self {
        self.config.deflate = Some(options);
        self
    }

    /// Connects through a [`Proxy`], or one that is given by its URL. By default there is none, whatever the environment
    /// says.
    pub fn proxy<P: TryInto<Proxy, Error: Into<ProxyUrlError>>>(mut self, proxy: P) -> Self {
        match proxy.try_into() {
            Ok(proxy) => self.proxy = Via::Proxy(Box::new(proxy)),
            Err(error) => self.mistake(Mistake::Proxy(error.into())),
        }
        self
    }

    /// Connects through the proxy that the environment names, if any: `https_proxy` for `wss`, `http_proxy` for `ws`, else
    /// `all_proxy`; all but `http_proxy` in capitals too. Not to hosts that `no_proxy` lists (names with all below
    /// them, addresses, networks as `10.0.0.0/8`, or `*`), and not to this machine.
    pub fn proxy_from_environment(mut self) -> Self {
        self.proxy = Via::Environment;
        self
    }

    /// Trusts these root certificates. Default [`Roots::Platform`].
    #[cfg(feature = "tls")]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.trust = tls::Trust::Roots(roots);
        self
    }

    /// Does TLS as `config` says, with a client's certificate or roots of one's own. Its ALPN is set to `http/1.1`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
        self.trust = tls::Trust::config(config);
        self
    }

    /// Connects to this address in place of those that the URL's host resolves to; given several times, to the first
    /// of them that connects (RFC 8305). Everything else, TLS too, goes by the URL. Redirects to other origins are
    /// resolved. A proxy that resolves names itself is not told of it.
    pub fn address(mut self, address: SocketAddr) -> Self {
        match &mut self.at {
            At::Addresses(addresses) => addresses.push(address),
            at => *at = At::Addresses(vec![address]),
        }
        self
    }

    /// Connects to a Unix-domain socket, and through no proxy. Everything else, TLS too, goes by the URL, of which the
    /// host need not exist (`ws://localhost/path`). A redirect to another origin is not followed there but resolved.
    #[cfg(unix)]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.at = At::Unix(path.into());
        self
    }

    /// Follows up to `limit` redirects, one after another. By default none: the answer is
    /// [`Error::Rejected`].
    ///
    /// Never from `wss` to `ws`, see [`allow_downgrade`](Self::allow_downgrade). Once one has led to another origin, the
    /// headers `Authorization` and `Cookie` and what the URL's user made of the former are not sent any more.
    pub fn redirects(mut self, limit: usize) -> Self {
        self.redirects.limit = limit;
        self
    }

    /// Lets a redirect lead from `wss` to `ws`. Default false.
    pub fn allow_downgrade(mut self, allow: bool) -> Self {
        self.redirects.downgrade = allow;
        self
    }

    /// How long resolving the name and connecting to one of its addresses may take together. Default 10 seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long the handshake of TLS may take. Default 10 seconds.
    pub fn tls_timeout(mut self, limit: Duration) -> Self {
        self.tls_timeout = limit;
        self
    }

    /// How long the server may take to answer the handshake, and a proxy to open a connection:
    /// [`Config::handshake_timeout`]. Default 10 seconds.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.config.handshake_timeout = limit;
        self
    }

    /// How long everything may take together, redirects too. Default 30 seconds.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    fn mistake(&mut self, mistake: Mistake) {
        self.mistake.get_or_insert(mistake);
    }

    fn check(&self) -> Result<(), ConnectError> {
        match &self.mistake {
            None => Ok(()),
            Some(Mistake::Header(what)) => Err(ConnectError::Header { what: what.clone() }),
            Some(Mistake::Proxy(error)) => Err(error.clone().into()),
        }
    }

    /// Opens a WebSocket.
    ///
    /// Cancel safe: what a dropped call had opened is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] for everything up to asking for the WebSocket,
    /// [`Error::Rejected`] for an HTTP answer that is none,
    /// [`Error::Handshake`] for a WebSocket that is not the one asked for, and for a URL or an
    /// option that cannot be.
    pub async fn connect(&self) -> Result<WebSocketStream<ClientIo>, Error> {
        Ok(self.connect_response().await?.0)
    }
}
