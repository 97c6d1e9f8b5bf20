//! The stream below a client's WebSocket: TCP or a Unix-domain socket, with TLS or without.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::{UnixStream, unix};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, tcp},
};
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

use crate::Split;

/// The stream below a WebSocket of a [`Client`](crate::client::Client).
///
/// Through a proxy it is the connection to the proxy. With TLS it is [`Tls`](Self::Tls); where the proxy is
/// `https://` too, this is TLS within TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientIo {
    /// TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// TLS over one of the others. It is boxed, so that a connection without TLS is not larger because of it.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<ClientIo>>),
}

impl ClientIo {
    /// The TCP connection at the bottom, for its addresses and options. `None` over a Unix-domain socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_ref().0.tcp(),
        }
    }

    /// The TLS session with the server: its version, cipher suite and certificates. `None` without TLS.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        match self {
            Self::Tls(stream) => Some(stream.get_ref().1),
            _ => None,
        }
    }
}

/// Calls a pinned method of the value in the enum.
macro_rules! pinned {
    ($enum:ident, $self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $enum::Tcp(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
            #[cfg(unix)]
            $enum::Unix(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
            #[cfg(feature = "tls")]
            $enum::Tls(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
        }
    };
}

macro_rules! reads {
    ($enum:ident) => {
        impl AsyncRead for $enum {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                pinned!($enum, self, stream => stream.poll_read(cx, buffer))
            }
        }
    };
}

macro_rules! writes {
    ($enum:ident) => {
        impl AsyncWrite for $enum {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                pinned!($enum, self, stream => stream.poll_write(cx, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                pinned!($enum, self, stream => stream.poll_write_vectored(cx, slices))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                pinned!($enum, self, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                pinned!($enum, self, stream => stream.poll_shutdown(cx))
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $enum::Tcp(stream) => stream.is_write_vectored(),
                    #[cfg(unix)]
                    $enum::Unix(stream) => stream.is_write_vectored(),
                    #[cfg(feature = "tls")]
                    $enum::Tls(stream) => stream.is_write_vectored(),
                }
            }
        }
    };
}

reads!(ClientIo);
writes!(ClientIo);

/// The half of a [`ClientIo`] that reads.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientReadHalf {
    /// TCP.
    Tcp(tcp::OwnedReadHalf),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    /// TLS. Both directions share its state, so that each poll of this half takes a lock.
    #[cfg(feature = "tls")]
    Tls(tokio::io::ReadHalf<Box<TlsStream<ClientIo>>>),
}

/// The half of a [`ClientIo`] that writes.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientWriteHalf {
    /// TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    /// TLS. Both directions share its state, so that each poll of this half takes a lock.
    #[cfg(feature = "tls")]
    Tls(tokio::io::WriteHalf<Box<TlsStream<ClientIo>>>),
}

reads!(ClientReadHalf);
writes!(ClientWriteHalf);

impl Split for ClientIo {
    type ReadHalf = ClientReadHalf;
    type WriteHalf = ClientWriteHalf;

    fn split(self) -> (ClientReadHalf, ClientWriteHalf) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ClientReadHalf::Tcp(read), ClientWriteHalf::Tcp(write))
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ClientReadHalf::Unix(read), ClientWriteHalf::Unix(write))
            }
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let (read, write) = tokio::io::split(stream);
                (ClientReadHalf::Tls(read), ClientWriteHalf::Tls(write))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_tls_is_no_bigger_for_it() {
        assert!(size_of::<ClientIo>() <= size_of::<TcpStream>() + size_of::<usize>());
    }
}
