//! The steps of a [`Client`].

use std::{io, net::SocketAddr};

use http::response;
use tokio::net::{TcpStream, lookup_host};

use super::{
    At, Client, ClientIo, ConnectError, Proxy, Step, Via,
    clock::Clock,
    eyeballs::{self, Dial},
    redirect::forget_secrets,
    url::{Host, Target},
};
use crate::{Config, Error, WebSocketStream, stream::ask};

impl WebSocketStream<ClientIo> {
    /// Opens a connection to a `ws://` or `wss://` URL. [`Client`] has more options than [`Config`]. All
    /// steps, from the resolution of the name on, have [`Config::handshake_timeout`] together.
    ///
    /// Cancel safe: a dropped call closes the connections that it has opened.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn connect(url: &str, config: &Config) -> Result<Self, Error> {
        Client::new(url).config(config.clone()).timeout(config.handshake_timeout).connect().await
    }
}

impl Client {
    /// As [`connect`](Self::connect), and returns the server's answer too, with its headers.
    ///
    /// Cancel safe: a dropped call closes the connections that it has opened.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_response(&self) -> Result<(WebSocketStream<ClientIo>, response::Parts), Error> {
        self.check()?;
        let clock = Clock::start(self.timeout);
        let first = Target::parse(&self.url)?;
        let mut target = first.clone();
        let mut headers = self.config.headers.clone();
        let mut followed = 0;
        loop {
            let at = if target.is_same_origin(&first) { &self.at } else { &At::Resolved };
            let to = target.to_string();
            let io = self.open(&target, &to, at, &clock).await?;
            let (uri, sent) = target.clone().request(&headers);
            let asked = ask(io, &uri, &sent, &self.config);
            let answer = match clock.step(Step::Handshake, &to, self.config.handshake_timeout, asked).await {
                Err(Error::Rejected(answer)) => answer,
                Err(Error::Io(source)) => return Err(ConnectError::Io { to, source }.into()),
                done => return done,
            };
            let next = self.redirects.follow(&target, followed, answer)?;
            if !next.is_same_origin(&target) {
                forget_secrets(&mut headers);
            }
            target = next;
            followed += 1;
        }
    }

    /// A connection to the target, through the proxy if there is one, and within TLS if the URL asks for it.
    async fn open(&self, target: &Target, to: &str, at: &At, clock: &Clock) -> Result<ClientIo, Error> {
        #[cfg(unix)]
        if let At::Unix(path) = at {
            let connecting = async {
                let failed = |source| ConnectError::Unix { path: path.clone(), source };
                Ok::<_, Error>(ClientIo::Unix(tokio::net::UnixStream::connect(path).await.map_err(failed)?))
            };
            let io = clock.step(Step::Connect, to, self.connect_timeout, connecting).await?;
            return self.secured(io, target, to, clock).await;
        }
        let environment;
        let proxy = match &self.proxy {
            Via::None => None,
            Via::Proxy(proxy) => Some(&**proxy),
            Via::Environment => {
                environment = Proxy::from_environment(target).map_err(ConnectError::from)?;
                environment.as_ref()
            }
        };
        let io = match proxy {
            Some(proxy) => self.tunnel(proxy, target, to, at, clock).await?,
            None => self.tcp(&target.host, target.port, to, at, clock).await?,
        };
        self.secured(io, target, to, clock).await
    }

    async fn secured(
        &self,
        io: ClientIo,
        target: &Target,
        to: &str,
        clock: &Clock,
    ) -> Result<ClientIo, Error> {
        if target.secure { self.tls_over(io, &target.host, to, clock).await } else { Ok(io) }
    }

    #[cfg(feature = "tls")]
    async fn tls_over(&self, io: ClientIo, host: &Host, to: &str, clock: &Clock) -> Result<ClientIo, Error> {
        Ok(clock.step(Step::Tls, to, self.tls_timeout, self.trust.connect(io, host, to)).await?)
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "its twin with TLS waits")]
    async fn tls_over(&self, _: ClientIo, _: &Host, to: &str, _: &Clock) -> Result<ClientIo, Error> {
        Err(ConnectError::NoTls { to: to.to_owned() }.into())
    }

    /// A connection to the target through a proxy.
    async fn tunnel(
        &self,
        proxy: &Proxy,
        target: &Target,
        to: &str,
        at: &At,
        clock: &Clock,
    ) -> Result<ClientIo, Error> {
        let place = proxy.place();
        let mut io = self.tcp(&proxy.host, proxy.port, &place, &At::Resolved, clock).await?;
        if proxy.is_secure() {
            io = self.tls_over(io, &proxy.host, &place, clock).await?;
        }
        let (mut host, mut port) = (target.host.clone(), target.port);
        if proxy.resolves_here()
            && let Some(address) = self.addresses(&host, port, to, at, clock).await?.first()
        {
            (host, port) = (Host::Ip(address.ip()), address.port());
        }
        let opening = async {
            let opened = proxy.open(&mut io, &host, port, self.config.head_limits).await;
            let failed = |source| ConnectError::Proxy { proxy: proxy.to_string(), to: to.to_owned(), source };
            opened.map_err(failed)
        };
        clock.step(Step::Proxy, &place, self.config.handshake_timeout, opening).await?;
        Ok(io)
    }

    /// A TCP connection to the first address of a host that accepts one.
    async fn tcp(&self, host: &Host, port: u16, to: &str, at: &At, clock: &Clock) -> Result<ClientIo, Error> {
        let (end, _) = clock.end_of(self.connect_timeout);
        let addresses = self.addresses(host, port, to, at, clock).await?;
        let connected = eyeballs::race(&Tcp, addresses, end).await;
        Ok(connected.map_err(|failures| ConnectError::Tcp { to: to.to_owned(), failures })?)
    }

    /// The addresses of a host; at least one.
    async fn addresses(
        &self,
        host: &Host,
        port: u16,
        to: &str,
        at: &At,
        clock: &Clock,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let At::Addresses(addresses) = at {
            return Ok(addresses.clone());
        }
        let name = match host {
            Host::Ip(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name.as_str(),
        };
        let resolving = async {
            let failed = |source| ConnectError::Resolve { host: name.to_owned(), source };
            let addresses: Vec<_> = lookup_host((name, port)).await.map_err(failed)?.collect();
            if addresses.is_empty() { Err(failed(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
        };
        Ok(clock.step(Step::Resolve, to, self.connect_timeout, resolving).await?)
    }
}

struct Tcp;

impl Dial for Tcp {
    type Io = ClientIo;

    async fn dial(&self, address: SocketAddr) -> io::Result<ClientIo> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(ClientIo::Tcp(stream))
    }
}
