//! TLS by rustls: the trusted certificates, and the handshake.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{ClientIo, ConnectError, url::Host};

/// A WebSocket begins as HTTP/1.1 (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The root certificates that are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Roots {
    /// The certificates that the system trusts, or the files and folders that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. They are read once in the life of the program.
    #[default]
    Platform,
    /// The certificates that Mozilla trusted when the program was built. The system has no effect.
    #[cfg(feature = "webpki-roots")]
    Mozilla,
}

/// The certificates that a client trusts, and the rules.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    Roots(Roots),
    Config(Arc<ClientConfig>),
}

impl Default for Trust {
    fn default() -> Self {
        Self::Roots(Roots::default())
    }
}

impl Trust {
    /// A configuration of the caller. It must not promise HTTP/2.
    pub(super) fn config(mut config: Arc<ClientConfig>) -> Self {
        if config.alpn_protocols != [ALPN] {
            Arc::make_mut(&mut config).alpn_protocols = vec![ALPN.to_vec()];
        }
        Self::Config(config)
    }

    async fn get(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        match self {
            Self::Config(config) => Ok(config.clone()),
            Self::Roots(Roots::Platform) => platform().await,
            #[cfg(feature = "webpki-roots")]
            Self::Roots(Roots::Mozilla) => {
                static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
                let roots = || webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
                Ok(CONFIG.get_or_init(|| trusting(roots())).clone())
            }
        }
    }

    /// Does the handshake over `io`. `to` names the peer in errors.
    pub(super) async fn connect(
        &self,
        io: ClientIo,
        host: &Host,
        to: &str,
    ) -> Result<ClientIo, ConnectError> {
        let failed = |source| ConnectError::Tls { to: to.to_owned(), source };
        let name = match host {
            // The last dot of a name is for the resolver only (RFC 6066 §3).
            Host::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
            // An address has no SNI, but the certificate must be for the address.
            Host::Ip(address) => ServerName::IpAddress(IpAddr::into(*address)),
        };
        let connector = TlsConnector::from(self.get().await?);
        let stream = connector.connect(name, io).await.map_err(failed)?;
        Ok(ClientIo::Tls(Box::new(stream)))
    }
}

/// Trusts the certificates that the system trusts. The configuration is shared, so that sessions are resumed.
/// It is read in another thread, because it reads files.
async fn platform() -> Result<Arc<ClientConfig>, ConnectError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let missing = |what: String| ConnectError::Roots { what };
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let found = found.map_err(|error| missing(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that cannot be read. The others are enough.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(missing(format!("the system has none. {}", errors.join("; "))));
    }
    Ok(CONFIG.get_or_init(|| trusting(roots)).clone())
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[expect(clippy::expect_used, reason = "the provider has suites for both versions")]
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring does TLS 1.2 and 1.3");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}
