//! A client's byte stream: TCP, or TLS over it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_reuseaddr, set_tcp_congestion};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, recv, send, socket};
use rustls::{ClientConfig, ClientConnection};

use crate::certificate;

/// Connects; the socket blocks.
pub(super) fn dial(server: SocketAddr) -> Result<TcpStream> {
    prepared(TcpStream::connect(server).context("connecting")?)
}

/// Connects from a loopback address of its own, so that the ports of one do not run out while those of closed
/// connections wait.
pub(super) fn dial_from(from: Ipv4Addr, server: SocketAddr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(from, 0)).context("binding to an address of 127.0.0.0/8")?;
    rustix::net::connect(&socket, &server).context("connecting")?;
    prepared(socket.into())
}

fn prepared(socket: TcpStream) -> Result<TcpStream> {
    socket.set_nodelay(true)?;
    // The load's side alone: the cheapest congestion control there is, where the system's own may pace its
    // packets with timers. The servers' side is left as the system has it.
    let _ = set_tcp_congestion(&socket, "reno");
    Ok(socket)
}

/// What one read brought.
pub(super) struct Received {
    pub bytes: usize,
    /// Whether there may be more, as far as this read tells.
    pub more: bool,
}

/// A connected stream. It blocks until [`Self::stop_blocking`].
pub(super) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsSocket>),
}

pub(super) struct TlsSocket {
    tcp: TcpStream,
    tls: ClientConnection,
}

impl Socket {
    /// Connects, and shakes hands for TLS where a configuration is given.
    pub(super) fn open(server: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let mut tcp = dial(server)?;
        let Some(config) = tls else { return Ok(Self::Tcp(tcp)) };
        let mut tls = ClientConnection::new(Arc::clone(config), certificate::NAME.try_into()?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).context("the handshake of TLS")?;
        }
        Ok(Self::Tls(Box::new(TlsSocket { tcp, tls })))
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(socket) => &socket.tcp,
        }
    }

    pub(super) fn stop_blocking(&self) -> Result<()> {
        Ok(self.tcp().set_nonblocking(true)?)
    }

    /// Sends what the stream takes of `bytes`; how many those are.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Tcp(tcp) => send(tcp, bytes, SendFlags::NOSIGNAL),
            Self::Tls(socket) => socket.send(bytes),
        }
    }

    /// Sends on what [`Self::send`] has taken and the system has not.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(socket) => socket.flush(),
        }
    }

    /// Reads into `buffer`; no bytes: the server has closed.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Errno> {
        match self {
            Self::Tcp(tcp) => {
                let room = buffer.len();
                let (_, bytes) = recv(tcp, buffer, RecvFlags::empty())?;
                Ok(Received { bytes, more: bytes == room })
            }
            Self::Tls(socket) => socket.receive(buffer),
        }
    }
}

impl TlsSocket {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.flush()?;
        let taken = self.tls.writer().write(bytes).map_err(|_| Errno::IO)?;
        match self.flush() {
            Ok(()) | Err(Errno::AGAIN) => Ok(taken),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp).map_err(|error| errno(&error))?;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Errno> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(bytes) => return Ok(Received { bytes, more: true }),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Errno::IO),
            }
            if self.tls.read_tls(&mut self.tcp).map_err(|error| errno(&error))? == 0 {
                return Ok(Received { bytes: 0, more: false });
            }
            self.tls.process_new_packets().map_err(|_| Errno::PROTO)?;
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
