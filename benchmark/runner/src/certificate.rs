//! The certificate that servers show on TLS: made anew for each run, for `localhost`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// The name in it.
pub const NAME: &str = "localhost";

/// A certificate and its key in files, and what a client needs that trusts it.
#[derive(Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client: Arc<ClientConfig>,
    pem: (String, String),
}

impl Certificate {
    /// Makes one for `folder`: a key on P-256, as most public ones have today.
    pub fn make(folder: &Path) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
        Ok(Self {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            client: client(cert.der().clone())?,
            pem: (cert.pem(), signing_key.serialize_pem()),
        })
    }

    /// Writes the files. Whoever only lists what there is leaves them to a run that may be under way.
    pub fn write(&self) -> Result<()> {
        fs::write(&self.cert, &self.pem.0).context("writing the certificate")?;
        fs::write(&self.key, &self.pem.1).context("writing its key")
    }
}

/// Trusts `root` alone, and resumes no session: each connection pays for its handshake.
fn client(root: rustls::pki_types::CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    use super::*;

    #[test]
    fn a_client_trusts_a_server_that_shows_the_certificate() {
        let folder = std::env::temp_dir().join(format!("switchboard-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = Certificate::make(&folder).unwrap();
        files.write().unwrap();
        let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();
        let mut client = ClientConnection::new(files.client, NAME.try_into().unwrap()).unwrap();
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
            wire.clear();
        }
    }
}
