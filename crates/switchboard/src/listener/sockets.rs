//! The sockets of an address, one for each worker.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::address::Place;
use crate::Peer;
use crate::server::socket_file::SocketFile;
use crate::transport::stream::Stream;

/// Where a server listens, now that it does.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The sockets of one address.
pub(super) struct Sockets {
    pub(super) bound: Bound,
    /// One for each worker.
    pub(super) each: Vec<StdListener>,
    /// The file to be removed at the end.
    pub(super) file: Option<SocketFile>,
}

impl Sockets {
    /// Bounds what the kernel takes of each connection before it is sent. Accepted connections inherit it.
    ///
    /// # Errors
    /// Those of setting a socket's option.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn set_max_unsent_bytes(&self, bytes: u32) -> io::Result<()> {
        self.each.iter().try_for_each(|listener| match listener {
            StdListener::Tcp(listener) => SockRef::from(listener).set_tcp_notsent_lowat(bytes),
            StdListener::Unix(_) => Ok(()),
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "it does something elsewhere")]
    pub(super) fn set_max_unsent_bytes(&self, _bytes: u32) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that is not registered with a reactor yet.
pub(super) enum StdListener {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

impl StdListener {
    /// Registers it with this thread's reactor.
    pub(super) fn attach(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// A socket that a worker accepts at.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((stream.into(), Peer::new(address)))
            }
            Self::Unix(listener) => {
                let (stream, _unnamed) = listener.accept().await?;
                Ok((stream.into(), Peer::unix()))
            }
        }
    }
}

/// Listens at a place, with a socket for each worker.
pub(super) async fn open(
    place: Place,
    mode: Option<u32>,
    backlog: u32,
    workers: usize,
) -> io::Result<Sockets> {
    match place {
        Place::Host(host) => {
            let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
            first_of(&addresses, backlog, workers)
        }
        Place::Addresses(addresses) => first_of(&addresses, backlog, workers),
        Place::Unix(path) => {
            let (listener, file) = bind_unix(&path, mode, backlog)?;
            let each = share_unix(&listener, workers)?;
            Ok(Sockets { bound: Bound::Unix(path), each, file: Some(file) })
        }
        Place::TcpListener(listener) => {
            let bound = Bound::Tcp(listener.local_addr()?);
            listener.set_nonblocking(true)?;
            // Accepted connections inherit it.
            SockRef::from(&listener).set_tcp_nodelay(true)?;
            let share = || listener.try_clone().map(StdListener::Tcp);
            Ok(Sockets { bound, each: (0..workers).map(|_| share()).collect::<Result<_, _>>()?, file: None })
        }
        Place::UnixListener(listener) => {
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
            listener.set_nonblocking(true)?;
            Ok(Sockets { bound: Bound::Unix(path), each: share_unix(&listener, workers)?, file: None })
        }
    }
}

/// Each worker gets the same socket, as there is no `SO_REUSEPORT` for Unix-domain sockets. The first free
/// worker takes the next connection.
fn share_unix(listener: &StdUnixListener, workers: usize) -> io::Result<Vec<StdListener>> {
    (0..workers).map(|_| listener.try_clone().map(StdListener::Unix)).collect()
}

fn first_of(addresses: &[SocketAddr], backlog: u32, workers: usize) -> io::Result<Sockets> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
    for address in addresses {
        match bind_tcp(*address, backlog, workers) {
            Ok(sockets) => return Ok(sockets),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_tcp(address: SocketAddr, backlog: u32, workers: usize) -> io::Result<Sockets> {
    let address = claim(address)?;
    let bind = || bind_one(address, backlog).map(StdListener::Tcp);
    let each = (0..workers).map(|_| bind()).collect::<Result<_, _>>()?;
    Ok(Sockets { bound: Bound::Tcp(address), each, file: None })
}

/// The address with its port, if nobody listens there: with `SO_REUSEPORT` alone a second server would share
/// the first one's connections, in silence.
fn claim(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // What is left of connections that have ended is no hindrance.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    std::net::TcpListener::from(socket).local_addr()
}

fn bind_one(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<(StdUnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::at(path)?;
    if let Some(mode) = mode {
        // Nobody can connect before the socket listens.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok((socket.into(), file))
}

/// Removes the file of a socket that nobody listens to. One that somebody listens to is left for `bind` to
/// stumble over.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "there is a file that is no socket")),
        Err(_) => return Ok(()),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server with a full backlog is one, too.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing a socket that nobody listens to");
            fs::remove_file(path)
        }
        _ => Ok(()),
    }
}
