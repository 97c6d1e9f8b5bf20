//! Where a server listens: TCP addresses, Unix-domain sockets, and sockets that a service manager has passed
//! in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::{env, fmt, io};

use crate::transport::tls::Tls;

/// Where to listen: a TCP address, a Unix-domain socket, or a socket that is there already.
///
/// Made of a string (`127.0.0.1:3000`, `localhost:3000`, `[::]:3000`, `unix:/run/switchboard.sock`), of what
/// `std::net` calls an address, of a listener of `std`, or by [`passed`](Self::passed).
///
/// ```no_run
/// use switchboard::{ListenAddress, Switchboard};
///
/// # async fn run() -> std::io::Result<()> {
/// let io = Switchboard::builder().build()?;
/// io.bind("127.0.0.1:3000").await?;
/// io.bind(ListenAddress::unix("/run/switchboard.sock").mode(0o660)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nobody listens there until it is given to `listen` or `bind`"]
pub struct ListenAddress {
    pub(super) place: Place,
    pub(super) mode: Option<u32>,
    pub(super) tls: Option<Tls>,
    name: Option<String>,
}

#[derive(Debug)]
pub(super) enum Place {
    /// A host and a port, to be looked up.
    Host(String),
    /// The first of these that can be had.
    Addresses(Vec<SocketAddr>),
    Unix(PathBuf),
    TcpListener(std::net::TcpListener),
    UnixListener(UnixListener),
}

impl ListenAddress {
    fn of(place: Place) -> Self {
        Self { place, mode: None, tls: None, name: None }
    }

    /// A host or address with a port, or `unix:` and a path.
    pub fn new(address: impl Into<String>) -> Self {
        let address = address.into();
        match address.strip_prefix("unix:") {
            Some(path) => Self::unix(path),
            None => Self::of(Place::Host(address)),
        }
    }

    /// A Unix-domain socket at a path.
    ///
    /// A socket file that another server left there, and that nobody listens to any more, is replaced;
    /// anything else there is an [`AddrInUse`](io::ErrorKind::AddrInUse). The file is removed when the server
    /// shuts down, if it is still the same. Clients have no address: they are not counted for the bound of
    /// [connections from one address](crate::ListenerOptions::max_connections_per_address), and trusted as
    /// proxies only [if asked for](crate::TrustedProxies::unix).
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::Unix(path.into()))
    }

    /// The sockets that the service manager has passed in, in its order: systemd's socket activation, by
    /// `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`. None where they are not for this process. Only the
    /// first call gets them, as it removes the variables: to be made before the program starts threads that
    /// read its environment.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where one is no stream socket, TCP or Unix.
    ///
    /// See [`sd_listen_fds(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html).
    pub fn passed() -> io::Result<Vec<Self>> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut sockets = listenfd::ListenFd::from_env();
        let mut passed = Vec::with_capacity(sockets.len());
        for number in 0..sockets.len() {
            let place = match sockets.take_unix_listener(number) {
                Ok(listener) => listener.map(Place::UnixListener),
                Err(_not_unix) => sockets.take_tcp_listener(number)?.map(Place::TcpListener),
            };
            let name = names.next().map(ToOwned::to_owned);
            passed.extend(place.map(|place| Self { name, ..Self::of(place) }));
        }
        Ok(passed)
    }

    /// The name that the service manager gave to a socket it [passed](Self::passed) in
    /// (`FileDescriptorName=`).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The permissions of a Unix-domain socket's file, such as `0o660`: who may write to it may connect.
    /// Default: as the umask has it. They are set before anyone can connect. Nothing else has them.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// TLS on this address.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl fmt::Display for ListenAddress {
    /// As it was given: `localhost:3000`, `unix:/run/switchboard.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(host) => f.write_str(host),
            Place::Addresses(addresses) => {
                let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&shown.join(", "))
            }
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::TcpListener(_) | Place::UnixListener(_) => {
                write!(
                    f,
                    "a socket that was passed in{}",
                    self.name().map(|name| format!(" as {name}")).unwrap_or_default()
                )
            }
        }
    }
}

impl From<&str> for ListenAddress {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

impl From<String> for ListenAddress {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}

impl From<&String> for ListenAddress {
    fn from(address: &String) -> Self {
        Self::new(address)
    }
}

impl From<(&str, u16)> for ListenAddress {
    fn from((host, port): (&str, u16)) -> Self {
        // A bare IPv6 address has no brackets here.
        host.parse::<IpAddr>()
            .map_or_else(|_name| Self::new(format!("{host}:{port}")), |address| Self::from((address, port)))
    }
}

impl From<&[SocketAddr]> for ListenAddress {
    /// The first of these that can be had.
    fn from(addresses: &[SocketAddr]) -> Self {
        Self::of(Place::Addresses(addresses.to_vec()))
    }
}

impl From<std::net::TcpListener> for ListenAddress {
    /// A socket that listens already. The workers share it.
    fn from(listener: std::net::TcpListener) -> Self {
        Self::of(Place::TcpListener(listener))
    }
}

impl From<UnixListener> for ListenAddress {
    /// A socket that listens already. The workers share it; its file is not removed.
    fn from(listener: UnixListener) -> Self {
        Self::of(Place::UnixListener(listener))
    }
}

macro_rules! from_address {
    ($($type:ty),+) => {$(
        impl From<$type> for ListenAddress {
            fn from(address: $type) -> Self {
                Self::of(Place::Addresses(vec![address.into()]))
            }
        }
    )+};
}

from_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    ([u8; 4], u16)
);
