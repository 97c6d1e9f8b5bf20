//! The handshake, over a socket.

use std::{io::ErrorKind, time::Duration};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, StatusCode, Uri, request, response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{Config, Error, WebSocketStream, negotiate::Agreed};
use crate::{
    Role,
    client::{Rejection, Target},
    handshake::{
        client::{ClientError, Handshake},
        head::{Head, HeadError, HeadLimits},
        server::HandshakeError,
    },
};

/// Interim answers that may come. After more of them the connection is given up.
const MAX_INTERIM: usize = 8;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Reads a request and answers it, as a server.
    ///
    /// Not cancel safe: drop the connection whose `accept` was dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a request that is not in order, after the answer was sent;
    /// [`Error::HandshakeTimeout`], [`Error::ConnectionLost`], [`Error::Io`].
    pub async fn accept(io: S, config: &Config) -> Result<Self, Error> {
        Ok(Self::accept_request(io, config).await?.0)
    }

    /// As [`accept`](Self::accept), and returns the request too.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn accept_request(io: S, config: &Config) -> Result<(Self, request::Parts), Error> {
        within(config.handshake_timeout, accept(io, config)).await
    }

    /// Asks for a WebSocket at `url`, as a client, over a connection that exists already. The scheme and the
    /// port of the URL only go into the request. [`Client`](crate::client::Client) opens the connection too.
    ///
    /// Not cancel safe: drop the connection whose handshake was dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] for another status than 101; [`Error::Handshake`] for an answer that is not in
    /// order, for no answer, and for a URL or a header that no request can have; [`Error::HandshakeTimeout`],
    /// [`Error::Io`].
    pub async fn connect_over(io: S, url: &str, config: &Config) -> Result<Self, Error> {
        let (uri, headers) = Target::parse(url)?.request(&config.headers);
        Ok(within(config.handshake_timeout, ask(io, &uri, &headers, config)).await?.0)
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(time, work).await.unwrap_or(Err(Error::HandshakeTimeout))
}

async fn accept<S>(mut io: S, config: &Config) -> Result<(WebSocketStream<S>, request::Parts), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    let mut head = Head::new(config.head_limits);
    let request = read_head(&mut io, &mut buffer, |bytes| head.request(bytes)).await?;
    let mut answer = Vec::new();
    let checked = request.map_err(HandshakeError::Head).and_then(|parts| {
        let (upgrade, agreed) = Agreed::check(&parts, None, config)?;
        upgrade.write_response(&mut answer, &config.headers);
        Ok((parts, agreed))
    });
    if let Err(error) = &checked {
        error.write_response(&mut answer);
    }
    io.write_all(&answer).await?;
    io.flush().await?;
    match checked {
        Ok((parts, agreed)) => Ok((agreed.into_stream(io, buffer, Role::Server, config), parts)),
        Err(error) => {
            io.shutdown().await?;
            Err(Error::Refused(error))
        }
    }
}

/// Asks for a WebSocket at `uri`, and returns the answer with it.
pub(crate) async fn ask<S>(
    mut io: S,
    uri: &Uri,
    headers: &HeaderMap,
    config: &Config,
) -> Result<(WebSocketStream<S>, response::Parts), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(&config.protocols)?;
    if let Some(options) = config.deflate {
        handshake = handshake.offer_deflate(options);
    }
    let mut request = Vec::new();
    handshake.write_request(&mut request, uri, headers)?;
    io.write_all(&request).await?;
    io.flush().await?;
    let mut buffer = BytesMut::new();
    let response = match read_response(&mut io, &mut buffer, config.head_limits).await {
        Err(Error::ConnectionLost) => return Err(ClientError::NoAnswer.into()),
        read => read??,
    };
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Rejected(Box::new(Rejection::read(response, buffer, &mut io).await)));
    }
    let protocol = handshake.check(&response)?.map(str::to_owned);
    let agreed = Agreed { protocol, deflate: handshake.deflate(&response)? };
    Ok((agreed.into_stream(io, buffer, Role::Client, config), response))
}

/// Reads the head of an answer, after the interim answers that may come before it (RFC 9110 §15.2). The bytes
/// behind the head stay in the buffer.
pub(crate) async fn read_response<S: AsyncRead + Unpin>(
    io: &mut S,
    buffer: &mut BytesMut,
    limits: HeadLimits,
) -> Result<Result<response::Parts, HeadError>, Error> {
    for _ in 0..=MAX_INTERIM {
        let mut head = Head::new(limits);
        let response = match read_head(io, buffer, |bytes| head.response(bytes)).await? {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Ok(response));
        }
    }
    Ok(Err(HeadError::Malformed { what: "interim answers without end" }))
}

/// Reads until `parse` finds a head or refuses it. The bytes behind the head stay in the buffer.
async fn read_head<S, T>(
    io: &mut S,
    buffer: &mut BytesMut,
    mut parse: impl FnMut(&[u8]) -> Result<Option<(T, usize)>, HeadError>,
) -> Result<Result<T, HeadError>, Error>
where
    S: AsyncRead + Unpin,
{
    loop {
        if !buffer.is_empty() {
            match parse(buffer) {
                Ok(Some((parts, len))) => {
                    buffer.advance(len);
                    // The memory of the head is not kept for the few bytes behind it.
                    *buffer = BytesMut::from(&buffer[..]);
                    return Ok(Ok(parts));
                }
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        buffer.reserve(1024);
        match io.read_buf(buffer).await {
            Ok(1..) => {}
            Ok(0) => return Err(Error::ConnectionLost),
            // TLS reports an end without its closing message this way.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Error::ConnectionLost),
            Err(error) => return Err(error.into()),
        }
    }
}
