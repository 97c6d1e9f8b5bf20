//! Certificates with their keys: their sources, the choice for each client, and their replacement.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The greatest number of bytes read from a file. No chain of certificates is longer.
const MAX_FILE: u64 = 1 << 20;

/// The source of a certificate and its key.
#[derive(Clone)]
pub(super) enum Source {
    Files(PathBuf, PathBuf),
    Pem(Box<[u8]>, Box<[u8]>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(certificate, _) => certificate.fmt(f),
            Self::Pem(..) => f.write_str("given"),
        }
    }
}

impl Source {
    pub(super) fn self_signed(names: Vec<String>) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let key = rcgen::KeyPair::generate().map_err(invalid)?;
        let mut made = rcgen::CertificateParams::new(names).map_err(invalid)?;
        made.distinguished_name.push(rcgen::DnType::CommonName, "Switchboard, for development");
        let made = made.self_signed(&key).map_err(invalid)?;
        Ok(Self::Pem(made.pem().into_bytes().into(), key.serialize_pem().into_bytes().into()))
    }

    fn read(&self) -> io::Result<Pair> {
        match self {
            Self::Files(certificate, key) => {
                Ok(Pair { certificate: read_file(certificate)?, key: read_file(key)? })
            }
            Self::Pem(certificate, key) => Ok(Pair { certificate: certificate.to_vec(), key: key.to_vec() }),
        }
    }

    /// Adds the kind of source to an error's message.
    fn explain(&self, error: &dyn fmt::Display) -> io::Error {
        let message = match self {
            Self::Files(certificate, key) => {
                format!("{} with {}: {error}", certificate.display(), key.display())
            }
            Self::Pem(..) => error.to_string(),
        };
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A certificate and a key, as PEM.
#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn parse(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>()?;
        if chain.is_empty() {
            return Err("there is no certificate in PEM".into());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("there is no private key in PEM: {error}"))?;
        // Fails if the key belongs to another certificate.
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }
}

/// The state of the files at the last check. A different state is a change.
#[derive(PartialEq, Eq)]
enum Seen {
    Pair(Pair),
    Unreadable(io::ErrorKind, String),
}

/// A certificate in use, and its source.
struct Place {
    source: Source,
    seen: Mutex<Seen>,
    current: ArcSwap<CertifiedKey>,
}

/// The certificates of a server. The first one is for clients that name no host.
pub(super) struct Certificates {
    places: Vec<Arc<Place>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.iter().map(|place| &place.source)).finish()
    }
}

/// The program's choice of cryptography for all its TLS, or else ring.
pub(super) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

impl Certificates {
    pub(super) fn none() -> Self {
        Self { places: Vec::new() }
    }

    pub(super) fn load(source: Source) -> io::Result<Self> {
        let pair = source.read()?;
        let current = pair.parse(&provider()).map_err(|error| source.explain(&error))?;
        let seen = Mutex::new(Seen::Pair(pair));
        let current = ArcSwap::from_pointee(current);
        Ok(Self { places: vec![Arc::new(Place { source, seen, current })] })
    }

    pub(super) fn and(&self, more: Self) -> Self {
        Self { places: self.places.iter().cloned().chain(more.places).collect() }
    }

    /// Whether any certificate can change.
    pub(super) fn are_files(&self) -> bool {
        self.places.iter().any(|place| matches!(place.source, Source::Files(..)))
    }

    /// Replaces the certificates whose files have changed. Returns whether any was replaced, or the first
    /// error; other certificates may have been replaced in spite of an error.
    pub(super) fn reload(&self) -> io::Result<bool> {
        let taken: Vec<_> = self.places.iter().map(|place| place.reload()).collect();
        taken.into_iter().try_fold(false, |any, taken| Ok(any | taken?))
    }
}

impl Place {
    fn reload(&self) -> io::Result<bool> {
        // If two tasks check at the same time, the second one sees the state that the first one stored.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.source.read();
        let now = match read {
            Ok(pair) => Seen::Pair(pair),
            Err(error) => Seen::Unreadable(error.kind(), error.to_string()),
        };
        if *seen == now {
            return Ok(false);
        }
        let taken = match &now {
            Seen::Pair(pair) => pair.parse(&provider()).map_err(|error| self.source.explain(&error)),
            Seen::Unreadable(kind, error) => Err(io::Error::new(*kind, error.clone())),
        };
        *seen = now;
        match taken {
            Ok(key) => {
                self.current.store(Arc::new(key));
                metrics::counter!("switchboard_tls_reloads_total", "result" => "taken").increment(1);
                tracing::info!(source = ?self.source, "a new certificate");
                Ok(true)
            }
            Err(error) => {
                metrics::counter!("switchboard_tls_reloads_total", "result" => "failed").increment(1);
                tracing::error!(%error, "a new certificate cannot be used: the old one stays in use");
                Err(error)
            }
        }
    }

    fn is_for(&self, name: &ServerName<'_>) -> bool {
        let current = self.current.load();
        let Ok(certificate) = current.end_entity_cert() else { return false };
        ParsedCertificate::try_from(certificate)
            .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (first, others) = self.places.split_first()?;
        let name = if others.is_empty() { None } else { hello.server_name() };
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let fitting = name.and_then(|name| self.places.iter().find(|place| place.is_for(&name)));
        Some(fitting.unwrap_or(first).current.load_full())
    }
}
