//! The addresses at which the server listens, and TLS there: options for TLS and Unix-domain sockets, and
//! sockets that the service manager passes in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use switchboard::{ListenAddress, Tls};

/// TLS, and sockets other than a TCP port.
#[derive(Debug, Clone, Args)]
pub struct Sockets {
    /// Listen on a Unix-domain socket at this path, instead of the address and port [default: none].
    #[arg(long, env = "SWITCHBOARD_UNIX", value_name = "PATH")]
    pub unix: Option<PathBuf>,

    /// Permissions of the Unix-domain socket's file, in octal, such as 660 [default: as the umask has it].
    #[arg(long, env = "SWITCHBOARD_UNIX_MODE", value_name = "MODE", requires = "unix", value_parser = mode)]
    pub unix_mode: Option<u32>,

    /// Speak TLS with the certificate and its chain in this PEM file; the file is read again when it changes.
    /// Several files, separated by commas, are for clients that ask for different names [default: no TLS].
    #[arg(
        long,
        env = "SWITCHBOARD_TLS_CERTIFICATE",
        value_name = "FILE",
        value_delimiter = ',',
        requires = "tls_key",
        group = "tls"
    )]
    pub tls_certificate: Vec<PathBuf>,

    /// The private keys in PEM, one for each certificate [default: none].
    #[arg(
        long,
        env = "SWITCHBOARD_TLS_KEY",
        value_name = "FILE",
        value_delimiter = ',',
        requires = "tls_certificate"
    )]
    pub tls_key: Vec<PathBuf>,

    /// Speak TLS with a self-signed certificate for `localhost` and the address, made at the start: for
    /// development.
    #[arg(long, env = "SWITCHBOARD_TLS_SELF_SIGNED", group = "tls")]
    pub tls_self_signed: bool,

    /// Also answer clients without TLS on the same port.
    #[arg(long, env = "SWITCHBOARD_TLS_PLAIN_TOO", requires = "tls")]
    pub tls_plain_too: bool,
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permissions are up to three octal digits, such as 660".to_owned())
}

impl Sockets {
    /// The addresses to listen at: the sockets that were `passed` in if there are any, else the path of a
    /// Unix-domain socket if it is given, else `address`.
    ///
    /// # Errors
    /// The errors of certificates that cannot be used; [`InvalidInput`](io::ErrorKind::InvalidInput) if the
    /// number of certificates and of keys differs.
    pub fn addresses(
        &self,
        passed: Vec<ListenAddress>,
        address: SocketAddr,
    ) -> io::Result<Vec<ListenAddress>> {
        let addresses = match &self.unix {
            _ if !passed.is_empty() => passed,
            Some(path) => {
                vec![self.unix_mode.into_iter().fold(ListenAddress::unix(path), ListenAddress::mode)]
            }
            None => vec![address.into()],
        };
        let Some(tls) = self.tls(address.ip())? else { return Ok(addresses) };
        Ok(addresses.into_iter().map(|address| address.tls(tls.clone())).collect())
    }

    fn tls(&self, address: IpAddr) -> io::Result<Option<Tls>> {
        if self.tls_certificate.len() != self.tls_key.len() {
            let message = "give as many --tls-key as --tls-certificate";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut pairs = self.tls_certificate.iter().zip(&self.tls_key);
        let tls = match pairs.next() {
            Some((certificate, key)) => {
                let first = Tls::files(certificate, key)?;
                Some(pairs.try_fold(first, |tls, (certificate, key)| tls.and_files(certificate, key))?)
            }
            None if self.tls_self_signed => {
                let loopback = ["localhost", "127.0.0.1", "::1"].map(ToOwned::to_owned);
                let own = (!address.is_unspecified() && !address.is_loopback()).then(|| address.to_string());
                Some(Tls::self_signed(loopback.into_iter().chain(own))?)
            }
            None => None,
        };
        Ok(tls.map(|tls| tls.plain_too(self.tls_plain_too)))
    }
}
