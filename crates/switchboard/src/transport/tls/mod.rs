//! TLS on our own listener: the certificates, the offered protocols, and the stream inside. rustls implements
//! the protocol.
//!
//! [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446) (1.3), [RFC
//! 5246](https://www.rfc-editor.org/rfc/rfc5246) (1.2), [RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)
//! (ALPN).

mod acceptor;
mod certificates;
mod session;
mod stream;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use acceptor::{Acceptor, HandshakeError};
use certificates::{Certificates, Source};
pub(crate) use stream::{DetachedTls, TlsStream};

/// TLS at an address of the server: its certificates, and whether clients without TLS are answered there too.
/// Give it to [`ListenAddress::tls`](crate::ListenAddress::tls).
///
/// TLS 1.3 and 1.2 with rustls's choice of ciphers, ALPN, and resumption by tickets. Cloning shares the
/// certificates.
///
/// ```no_run
/// use switchboard::{ListenAddress, Switchboard, Tls};
///
/// # async fn run() -> std::io::Result<()> {
/// let io = Switchboard::builder().build()?;
/// let tls = Tls::files("fullchain.pem", "privkey.pem")?;
/// io.listen(ListenAddress::new("0.0.0.0:443").tls(tls)).await
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it takes effect when it is given to an address"]
pub struct Tls {
    certificates: Arc<Certificates>,
    config: Option<Arc<rustls::ServerConfig>>,
    plain_too: bool,
    reload_interval: Duration,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificates", &self.certificates)
            .field("own_config", &self.config.is_some())
            .field("plain_too", &self.plain_too)
            .field("reload_interval", &self.reload_interval)
            .finish()
    }
}

impl Tls {
    fn of(certificates: Certificates) -> Self {
        Self {
            certificates: Arc::new(certificates),
            config: None,
            plain_too: false,
            reload_interval: Duration::from_secs(10),
        }
    }

    /// A certificate with its chain, and its private key, from files in PEM. The files are read now and again
    /// after each change; a change of a symbolic link in their path counts too (Kubernetes and certbot
    /// replace files so). New connections get the new certificate. If new files are broken or do not match,
    /// the failure is logged and counted, and the old certificate stays.
    ///
    /// # Errors
    /// Errors of reading the files; [`InvalidData`](io::ErrorKind::InvalidData) if they hold no certificate,
    /// no key, or the key of another certificate. The message names the file.
    pub fn files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self::of(Certificates::load(Source::Files(certificate.into(), key.into()))?))
    }

    /// A certificate with its chain, and its private key, in PEM.
    ///
    /// # Errors
    /// The same as for [`files`](Self::files).
    pub fn pem(certificate: &[u8], key: &[u8]) -> io::Result<Self> {
        Ok(Self::of(Certificates::load(Source::Pem(certificate.into(), key.into()))?))
    }

    /// A self-signed certificate for these names and addresses, made by this call, for development. Browsers
    /// warn about it, and other clients must be told to accept it. It exists only as long as the process.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a string that is not a valid name.
    pub fn self_signed<S: Into<String>>(names: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let names = names.into_iter().map(Into::into).collect();
        Ok(Self::of(Certificates::load(Source::self_signed(names)?)?))
    }

    /// A configuration of rustls, for features that have no option here, such as client certificates. Its
    /// ALPN protocols should be among those that the server speaks, `h2` and `http/1.1`. No files are read
    /// again.
    pub fn config(config: Arc<rustls::ServerConfig>) -> Self {
        Self { config: Some(config), ..Self::of(Certificates::none()) }
    }

    /// A further certificate and key from files. A client gets the first certificate that fits the name it
    /// asks for (SNI). If none fits, it gets the first of all.
    ///
    /// # Errors
    /// The same as for [`files`](Self::files).
    pub fn and_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> io::Result<Self> {
        let more = Certificates::load(Source::Files(certificate.into(), key.into()))?;
        self.certificates = Arc::new(self.certificates.and(more));
        Ok(self)
    }

    /// Whether clients that do not speak TLS are answered on the same port too. Default: no; they get a 400
    /// that says so.
    pub fn plain_too(mut self, plain_too: bool) -> Self {
        self.plain_too = plain_too;
        self
    }

    /// How often the files are checked for changes. Default: 10 s. Zero means never.
    pub fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// Checks the files now. Returns whether there is a new certificate. The new certificate applies to all
    /// clones.
    ///
    /// # Errors
    /// The same as for [`files`](Self::files), if the files have changed. The old certificate then stays.
    pub fn reload(&self) -> io::Result<bool> {
        self.certificates.reload()
    }
}
