//! TLS on our own listener: whose certificates, what is offered, and the stream inside. The protocol itself
//! is rustls's.
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

/// TLS on an address of the server: whose certificate, and whether clients without TLS are answered there,
/// too. Given to [`ListenAddress::tls`](crate::ListenAddress::tls).
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

    /// A certificate with its chain, and its private key, from files in PEM. They are read now, and again
    /// when they have changed (be it that a symbolic link on their way points elsewhere, as Kubernetes and
    /// certbot do it): new connections get the new certificate. New files that are broken, or do not match
    /// each other, are logged and counted, and the old certificate stays.
    ///
    /// # Errors
    /// Those of reading the files; [`InvalidData`](io::ErrorKind::InvalidData) where they hold no
    /// certificate, no key, or the key of another certificate. The message names the file.
    pub fn files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self::of(Certificates::load(Source::Files(certificate.into(), key.into()))?))
    }

    /// A certificate with its chain, and its private key, in PEM.
    ///
    /// # Errors
    /// As those of [`files`](Self::files).
    pub fn pem(certificate: &[u8], key: &[u8]) -> io::Result<Self> {
        Ok(Self::of(Certificates::load(Source::Pem(certificate.into(), key.into()))?))
    }

    /// A certificate made this moment for these names and addresses, signed by itself: for development.
    /// Browsers warn of it, and other clients have to be told to take it. It ends with the process.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a name that none can be.
    pub fn self_signed<S: Into<String>>(names: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let names = names.into_iter().map(Into::into).collect();
        Ok(Self::of(Certificates::load(Source::self_signed(names)?)?))
    }

    /// A configuration of rustls's, for what is not offered here: client certificates, for one. Its ALPN
    /// protocols are to be among those that the server speaks, `h2` and `http/1.1`. Nothing is read again.
    pub fn config(config: Arc<rustls::ServerConfig>) -> Self {
        Self { config: Some(config), ..Self::of(Certificates::none()) }
    }

    /// A further certificate and key from files. A client gets the first certificate that is for the name it
    /// asks for (SNI), and the first of all where none is.
    ///
    /// # Errors
    /// As those of [`files`](Self::files).
    pub fn and_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> io::Result<Self> {
        let more = Certificates::load(Source::Files(certificate.into(), key.into()))?;
        self.certificates = Arc::new(self.certificates.and(more));
        Ok(self)
    }

    /// Whether clients that do not speak TLS are answered on the same port as well. Default: no; they get a
    /// 400 that says so.
    pub fn plain_too(mut self, plain_too: bool) -> Self {
        self.plain_too = plain_too;
        self
    }

    /// How often files are looked at for changes. Default 10 s; zero is never.
    pub fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// Looks at the files now. Returns whether there is a new certificate; it counts for all clones of this.
    ///
    /// # Errors
    /// As those of [`files`](Self::files), where the files have changed; the old certificate stays.
    pub fn reload(&self) -> io::Result<bool> {
        self.certificates.reload()
    }
}
