//! Taking TLS connections at an address.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use rustls::{HandshakeKind, ServerConfig};
use thiserror::Error;

use super::certificates::{Certificates, provider};
use super::session::Session;
use super::{Tls, TlsStream};
use crate::transport::stream::Stream;

/// The names of HTTP/2 and HTTP/1.1 (RFC 7301, 6; RFC 9113, 3.2).
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why a handshake came to nothing.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    /// One side broke or refused it; what for is in the message.
    #[error("the TLS handshake failed: {0}")]
    Tls(rustls::Error),
    #[error("the connection was lost in the TLS handshake: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    /// As its counter has it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            // A client that does not trust our certificate, for one.
            Self::Tls(rustls::Error::AlertReceived(_)) => "refused by the client",
            Self::Tls(rustls::Error::InvalidMessage(_)) => "not TLS",
            Self::Tls(_) => "refused",
            Self::Io(_) => "connection lost",
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(error) => Self::Tls(error),
            Err(error) => Self::Io(error),
        }
    }
}

/// Makes connections TLS ones.
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    reload_interval: Duration,
    plain_too: bool,
}

impl Acceptor {
    /// `http2`: whether HTTP/2 is offered.
    pub(crate) fn new(tls: Tls, http2: bool) -> io::Result<Self> {
        let config = match tls.config {
            Some(config) => config,
            None => configure(Arc::clone(&tls.certificates), http2).map_err(io::Error::other)?,
        };
        Ok(Self {
            config,
            certificates: tls.certificates,
            reload_interval: tls.reload_interval,
            plain_too: tls.plain_too,
        })
    }

    /// Whether those that do not speak TLS are answered, too.
    pub(crate) fn plain_too(&self) -> bool {
        self.plain_too
    }

    /// Shakes hands. `hello`: what was read already. The timeout is the caller's; dropped, the connection is
    /// closed.
    pub(crate) async fn accept(&self, stream: Stream, hello: Bytes) -> Result<Stream, HandshakeError> {
        let session = Session::new(Arc::clone(&self.config)).map_err(HandshakeError::Tls)?;
        let mut stream = TlsStream::new(stream, session);
        stream.handshake(hello).await?;
        let kind = match stream.handshake_kind() {
            Some(HandshakeKind::Resumed) => "resumed",
            _ => "full",
        };
        metrics::counter!("switchboard_tls_handshakes_total", "kind" => kind).increment(1);
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// How often files are to be looked at, if there are any.
    pub(crate) fn reload_interval(&self) -> Option<Duration> {
        (self.certificates.are_files() && !self.reload_interval.is_zero()).then_some(self.reload_interval)
    }

    /// Looks at the files of an acceptor every `interval`, for as long as it is there.
    pub(crate) async fn keep_fresh(acceptor: Weak<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let Some(acceptor) = acceptor.upgrade() else { return };
            let certificates = Arc::clone(&acceptor.certificates);
            drop(acceptor);
            // What fails is logged and counted where it does. Files may be slow to read.
            let _logged = tokio::task::spawn_blocking(move || certificates.reload()).await;
        }
    }
}

fn configure(certificates: Arc<Certificates>, http2: bool) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // The first that a client knows, too, is taken.
    let offered = if http2 { &[HTTP2, HTTP1][..] } else { &[HTTP1] };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    // Tickets that only this process can open: nothing is kept for clients that may come again.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Arc::new(config))
}
