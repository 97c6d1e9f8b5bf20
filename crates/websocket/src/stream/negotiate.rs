//! The result of a handshake: a server and a client agree by their [`Config`]s. It is the same over every
//! version of HTTP.

use bytes::BytesMut;
use http::{Version, request::Parts};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Config, WebSocketStream};
use crate::{
    Role,
    deflate::DeflateParameters,
    handshake::server::{HandshakeError, Upgrade},
};

/// The choices that the answer to a handshake names.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(super) protocol: Option<String>,
    pub(super) deflate: Option<DeflateParameters>,
}

impl Agreed {
    /// Checks a request. `connect_protocol` is the `:protocol` of an extended CONNECT.
    pub(crate) fn check<'a>(
        parts: &'a Parts,
        connect_protocol: Option<&str>,
        config: &Config,
    ) -> Result<(Upgrade<'a>, Self), HandshakeError> {
        let mut upgrade = match parts.version {
            Version::HTTP_2 | Version::HTTP_3 => Upgrade::check_connect(parts, connect_protocol)?,
            _ => Upgrade::check(parts)?,
        };
        upgrade.check_origin(&config.origin)?;
        let protocol = upgrade.select(&config.protocols).map(str::to_owned);
        let deflate = config.deflate.as_ref().and_then(|options| upgrade.accept_deflate(options));
        Ok((upgrade, Self { protocol, deflate }))
    }

    /// One end of the connection. `read` has the bytes that were read behind the handshake.
    pub(crate) fn into_stream<S>(
        self,
        io: S,
        read: BytesMut,
        role: Role,
        config: &Config,
    ) -> WebSocketStream<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = WebSocketStream::from_parts(io, read, role, config);
        stream.protocol = self.protocol;
        match (self.deflate, &config.deflate) {
            (Some(parameters), Some(options)) => stream.with_deflate(parameters, options),
            _ => stream,
        }
    }
}
