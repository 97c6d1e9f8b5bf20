//! Opening a connection: the handshake, over a socket.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{Uri, request};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Config, Error, WebSocketStream};
use crate::{
    Role,
    handshake::{
        client::{ClientError, Handshake},
        head::{Head, HeadError},
        server::{HandshakeError, Upgrade},
    },
};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Reads a request and answers it, as a server.
    ///
    /// Not cancel safe: a connection whose `accept` was dropped is to be dropped too.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a request that is not in order, which has been answered so;
    /// [`Error::HandshakeTimeout`], [`Error::ConnectionLost`], [`Error::Io`].
    pub async fn accept(io: S, config: &Config) -> Result<Self, Error> {
        Ok(Self::accept_request(io, config).await?.0)
    }

    /// As [`accept`](Self::accept), and gives the request too.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn accept_request(io: S, config: &Config) -> Result<(Self, request::Parts), Error> {
        within(config.handshake_timeout, accept(io, config)).await
    }

    /// Asks for a WebSocket at `url` over a connection that is there already, as a client: the way to go
    /// over TLS, a proxy or a Unix socket. Of the URL the host, path and query are used.
    ///
    /// Not cancel safe: a connection whose handshake was dropped is to be dropped too.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for an answer that is not in order; [`Error::HandshakeTimeout`],
    /// [`Error::ConnectionLost`], [`Error::Io`].
    pub async fn connect_over(io: S, url: &str, config: &Config) -> Result<Self, Error> {
        let uri = parse_url(url)?;
        within(config.handshake_timeout, ask(io, &uri, config)).await
    }
}

impl WebSocketStream<TcpStream> {
    /// Opens a connection to a `ws://` URL, without delay of small writes (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// As [`connect_over`](Self::connect_over), and [`ClientError::Url`] for another scheme: for `wss://` open
    /// a TLS stream and use [`connect_over`](Self::connect_over).
    pub async fn connect(url: &str, config: &Config) -> Result<Self, Error> {
        let uri = parse_url(url)?;
        if uri.scheme_str() != Some("ws") {
            return Err(url_error("is not ws://"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = (host, uri.port_u16().unwrap_or(80));
        within(config.handshake_timeout, async {
            let io = TcpStream::connect(address).await?;
            io.set_nodelay(true)?;
            ask(io, &uri, config).await
        })
        .await
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(time, work).await.unwrap_or(Err(Error::HandshakeTimeout))
}

fn url_error(what: &'static str) -> Error {
    Error::Handshake(ClientError::Url { what })
}

fn parse_url(url: &str) -> Result<Uri, Error> {
    // A fragment is no part of a WebSocket's URL (RFC 6455 §3).
    if url.contains('#') {
        return Err(url_error("has a fragment"));
    }
    let uri: Uri = url.parse().map_err(|_| url_error("is malformed"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(url_error("has no host"));
    }
    Ok(uri)
}

async fn accept<S>(mut io: S, config: &Config) -> Result<(WebSocketStream<S>, request::Parts), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    let mut head = Head::new(config.head_limits);
    let request = read_head(&mut io, &mut buffer, |bytes| head.request(bytes)).await?;
    let mut answer = Vec::new();
    let judged = request.map_err(HandshakeError::Head).and_then(|parts| {
        let protocol = judge(&parts, config, &mut answer)?;
        Ok((parts, protocol))
    });
    if let Err(error) = &judged {
        error.write_response(&mut answer);
    }
    io.write_all(&answer).await?;
    io.flush().await?;
    match judged {
        Ok((parts, protocol)) => {
            let mut stream = WebSocketStream::from_parts(io, buffer, Role::Server, config);
            stream.protocol = protocol;
            Ok((stream, parts))
        }
        Err(error) => {
            io.shutdown().await?;
            Err(Error::Refused(error))
        }
    }
}

/// Judges a request, writes the answer if it is in order, and gives the subprotocol.
fn judge(
    parts: &request::Parts,
    config: &Config,
    answer: &mut Vec<u8>,
) -> Result<Option<String>, HandshakeError> {
    let mut upgrade = Upgrade::check(parts)?;
    upgrade.check_origin(&config.origin)?;
    let protocol = upgrade.select(&config.protocols).map(str::to_owned);
    upgrade.write_response(answer, &config.headers);
    Ok(protocol)
}

async fn ask<S>(mut io: S, uri: &Uri, config: &Config) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = Handshake::new(&config.protocols)?;
    let mut request = Vec::new();
    handshake.write_request(&mut request, uri, &config.headers)?;
    io.write_all(&request).await?;
    io.flush().await?;
    let mut buffer = BytesMut::new();
    let mut head = Head::new(config.head_limits);
    let response = read_head(&mut io, &mut buffer, |bytes| head.response(bytes)).await??;
    let protocol = handshake.check(&response)?.map(str::to_owned);
    let mut stream = WebSocketStream::from_parts(io, buffer, Role::Client, config);
    stream.protocol = protocol;
    Ok(stream)
}

/// Reads until `parse` finds a head, or refuses it, and leaves in the buffer what came behind it.
async fn read_head<S, T>(
    io: &mut S,
    buffer: &mut BytesMut,
    mut parse: impl FnMut(&[u8]) -> Result<Option<(T, usize)>, HeadError>,
) -> Result<Result<T, HeadError>, Error>
where
    S: AsyncRead + Unpin,
{
    loop {
        buffer.reserve(1024);
        if io.read_buf(buffer).await? == 0 {
            return Err(Error::ConnectionLost);
        }
        match parse(buffer) {
            Ok(Some((parts, len))) => {
                buffer.advance(len);
                // What held the head is not kept for what little may have come behind it.
                *buffer = BytesMut::from(&buffer[..]);
                return Ok(Ok(parts));
            }
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}
