//! What a server and a client agree on, each by its [`Config`]: the same whatever carries the handshake.

use bytes::BytesMut;
use http::{Version, request::Parts};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Config, WebSocketStream};
use crate::{
    Role,
    deflate::DeflateParameters,
    handshake::server::{HandshakeError, Upgrade},
};

/// What the answer to a handshake says.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(super) protocol: Option<String>,
    pub(super) deflate: Option<DeflateParameters>,
}

impl Agreed {
    /// Judges a request. `connect_protocol` is the `:protocol` of an extended CONNECT.
    pub(crate) fn judge<'a>(
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

    /// An end of the connection; `read` is what was read of it behind the handshake.
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
