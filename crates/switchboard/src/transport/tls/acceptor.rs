//! Accepts TLS connections at an address.

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

/// The reason why a handshake failed.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    /// One side broke the protocol or refused the handshake; the message says why.
    #[error("the TLS handshake failed: {0}")]
    Tls(rustls::Error),
    #[error("the connection was lost in the TLS handshake: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    /// The label of its counter.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            // For example, the client does not trust our certificate.
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

/// Turns accepted connections into TLS connections.
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

    /// Whether clients without TLS are answered, too.
    pub(crate) fn plain_too(&self) -> bool {
        self.plain_too
    }

    /// Does the handshake. `hello` holds the bytes that were read already. The caller limits the time;
    /// dropping the future closes the connection.
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

    /// How often the certificate's files are checked, if there are any.
    pub(crate) fn reload_interval(&self) -> Option<Duration> {
        (self.certificates.are_files() && !self.reload_interval.is_zero()).then_some(self.reload_interval)
    }

    /// Checks the files of an acceptor at every `interval`, as long as the acceptor exists.
    pub(crate) async fn keep_fresh(acceptor: Weak<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let Some(acceptor) = acceptor.upgrade() else { return };
            let certificates = Arc::clone(&acceptor.certificates);
            drop(acceptor);
            // The check logs and counts its own failures. Files may be slow to read.
            let _logged = tokio::task::spawn_blocking(move || certificates.reload()).await;
        }
    }
}

fn configure(certificates: Arc<Certificates>, http2: bool) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // The first protocol of this list that the client offers too is chosen.
    let offered = if http2 { &[HTTP2, HTTP1][..] } else { &[HTTP1] };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    // Tickets hold the state of clients that may return, so the server keeps none. Only this process can open
    // them.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Arc::new(config))
}
