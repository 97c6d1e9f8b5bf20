//! What a client's connection runs over: TCP or a Unix-domain socket, within TLS or not.

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

/// What a connection of [`Client`](crate::client::Client) runs over.
///
/// A WebSocket through a proxy is over the proxy's connection; one within TLS, which may be within TLS again if the
/// proxy is `https://`, is over [`Tls`](Self::Tls).
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientIo {
    /// TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// TLS over one of these. Boxed, so that a connection without it is not bigger for it.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<ClientIo>>),
}

impl ClientIo {
    /// The TCP connection below everything, for its addresses and options. `None` over a Unix-domain socket.
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

/// Calls a method of what the enum holds, pinned.
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
    /// Of TCP.
    Tcp(tcp::OwnedReadHalf),
    /// Of a Unix-domain socket.
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    /// Of TLS: both directions share its state, so this half takes a lock for the time of a poll.
    #[cfg(feature = "tls")]
    Tls(tokio::io::ReadHalf<Box<TlsStream<ClientIo>>>),
}

/// The half of a [`ClientIo`] that writes.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientWriteHalf {
    /// Of TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// Of a Unix-domain socket.
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    /// Of TLS: both directions share its state, so this half takes a lock for the time of a poll.
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
