//! The client: from a URL to a WebSocket, also over TLS and through proxies.
//!
//! A [`Client`] holds the options. It takes these steps, each with a limit of its own, and all within one
//! limit:
//!
//! 1. It resolves the name, and connects to one of the addresses (`eyeballs`), or to the proxy.
//! 2. It asks the proxy for a connection (`proxy`).
//! 3. It does the handshake of TLS (`tls`).
//! 4. It asks for the WebSocket (RFC 6455 §4.1).
//! 5. It begins anew at the target of a redirect, if redirects are enabled (`redirect`).

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
/// A client can be kept, and can connect any number of times. [`connect`](Self::connect) reports a fault of
/// the URL or of an option.
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

/// The proxy to connect through.
#[derive(Clone, Debug)]
enum Via {
    None,
    Proxy(Box<Proxy>),
    Environment,
}

/// The address of the host.
#[derive(Clone, Debug)]
enum At {
    Resolved,
    Addresses(Vec<SocketAddr>),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// The first option that is not valid. [`Client::connect`] reports it.
#[derive(Clone, Debug)]
enum Mistake {
    Header(String),
    Proxy(ProxyUrlError),
}

impl Client {
    /// A client of `url`: `ws://` or `http://`, which mean the same, or `wss://` or `https://`, which mean
    /// TLS.
    ///
    /// A user and a password in the URL are sent as Basic authorization (RFC 7617), unless there is a header
    /// `Authorization`. The path and the query may hold any text: characters that a URL does not allow are
    /// percent-encoded as UTF-8. Write a host that is not ASCII in Punycode. A fragment is refused (RFC 6455
    /// §3).
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

    /// Sets all options of [`Config`]: limits, buffers, time-outs, headers and subprotocols. They replace the
    /// options that were set before.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a header to the request. A header of the handshake itself (`Host`, `Upgrade`, `Connection`,
    /// `Sec-WebSocket-*`) is an error of [`connect`](Self::connect).
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let name = name.try_into().map_err(Into::into);
        match name.and_then(|name| Ok((name, value.try_into().map_err(Into::into)?))) {
            Ok((name, mut value)) => {
                // `Debug` does not show it.
                if [header::AUTHORIZATION, header::COOKIE].contains(&name) {
                    value.set_sensitive(true);
                }
                self.config.headers.append(name, value);
            }
            Err(error) => self.mistake(Mistake::Header(error.to_string())),
        }
        self
    }

    /// Offers a subprotocol, after those that were offered before. [`WebSocketStream::protocol`] is the one
    /// that the server selected. A server that selects one that was not offered is an error.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.config.protocols.push(name.into());
        self
    }

    /// Offers to compress messages (permessage-deflate, RFC 7692): [`Config::deflate`]. Default: no offer.
    /// [`WebSocketStream::deflate`] tells whether the server accepted.
    pub fn deflate(mut self, options: DeflateOptions) -> Self {
        self.config.deflate = Some(options);
        self
    }

    /// Connects through a [`Proxy`], or through the proxy of a URL. By default there is no proxy, whatever
    /// the environment names.
    pub fn proxy<P: TryInto<Proxy, Error: Into<ProxyUrlError>>>(mut self, proxy: P) -> Self {
        match proxy.try_into() {
            Ok(proxy) => self.proxy = Via::Proxy(Box::new(proxy)),
            Err(error) => self.mistake(Mistake::Proxy(error.into())),
        }
        self
    }

    /// Connects through the proxy that the environment names, if any: `https_proxy` for `wss`, `http_proxy`
    /// for `ws`, otherwise `all_proxy`. All but `http_proxy` may be written in capitals too. There is no
    /// proxy for this machine, and for hosts in the list `no_proxy`: names with all names below them,
    /// addresses, networks such as `10.0.0.0/8`, or `*`.
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

    /// Uses TLS with this `config`, for a client's certificate or for roots of one's own. Its ALPN is set to
    /// `http/1.1`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
        self.trust = tls::Trust::config(config);
        self
    }

    /// Connects to this address instead of the addresses of the URL's host. Call it several times for several
    /// addresses: the first one that connects is used (RFC 8305). The rest, TLS too, follows the URL.
    /// Redirects to other origins are resolved. A proxy that resolves names itself does not get the address.
    pub fn address(mut self, address: SocketAddr) -> Self {
        match &mut self.at {
            At::Addresses(addresses) => addresses.push(address),
            at => *at = At::Addresses(vec![address]),
        }
        self
    }

    /// Connects to a Unix-domain socket, without a proxy. The rest, TLS too, follows the URL, whose host need
    /// not exist (`ws://localhost/path`). The host of a redirect to another origin is resolved.
    #[cfg(unix)]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.at = At::Unix(path.into());
        self
    }

    /// Follows up to `limit` redirects, one after another. Default none: the answer is [`Error::Rejected`].
    ///
    /// A redirect from `wss` to `ws` is not followed: see [`allow_downgrade`](Self::allow_downgrade). After a
    /// redirect to another origin the client does not send the headers `Authorization` and `Cookie` any more,
    /// nor the user of the URL.
    pub fn redirects(mut self, limit: usize) -> Self {
        self.redirects.limit = limit;
        self
    }

    /// Allows a redirect from `wss` to `ws`. Default false.
    pub fn allow_downgrade(mut self, allow: bool) -> Self {
        self.redirects.downgrade = allow;
        self
    }

    /// The time to resolve the name and to connect to one of its addresses. Default 10 seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The time of the handshake of TLS. Default 10 seconds.
    pub fn tls_timeout(mut self, limit: Duration) -> Self {
        self.tls_timeout = limit;
        self
    }

    /// The time in which the server must answer the handshake, and the time in which a proxy must open a
    /// connection: [`Config::handshake_timeout`]. Default 10 seconds.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.config.handshake_timeout = limit;
        self
    }

    /// The time of all steps together, redirects too. Default 30 seconds.
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
    /// Cancel safe: a dropped call closes the connections that it has opened.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] for every step before the request for the WebSocket; [`Error::Rejected`] for an
    /// HTTP answer that is no WebSocket; [`Error::Handshake`] for a WebSocket that does not fit the request,
    /// and for a URL or an option that is not valid.
    pub async fn connect(&self) -> Result<WebSocketStream<ClientIo>, Error> {
        Ok(self.connect_response().await?.0)
    }
}
