//! The stream below a connection that came from hyper.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, tcp},
};

use crate::Split;

/// A connection that came from hyper. It is the TCP connection itself where hyper served plain HTTP/1.1.
/// Otherwise it is hyper's own stream (TLS, a Unix socket, a stream of HTTP/2).
///
/// [Split](crate::WebSocketStream::split), the halves of a TCP connection have no lock between them. The
/// halves of other streams share a lock, which is held only while one of them is polled.
pub struct Upgraded(Kind);

enum Kind {
    Tcp(TcpStream),
    Other(TokioIo<hyper::upgrade::Upgraded>),
}

impl Upgraded {
    /// Takes the connection, and the bytes that hyper has read behind the request. A TCP connection is set to
    /// send small writes without delay (`TCP_NODELAY`).
    pub(super) fn new(upgraded: hyper::upgrade::Upgraded) -> (Self, BytesMut) {
        // hyper-util's builder for both versions wraps the connection. hyper's own does not.
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return (Self::tcp(parts.io), parts.read_buf.into()),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Self::tcp(parts.io), parts.read_buf.into()),
            Err(upgraded) => (Self(Kind::Other(TokioIo::new(upgraded))), BytesMut::new()),
        }
    }

    fn tcp(io: TokioIo<TcpStream>) -> Self {
        let stream = io.into_inner();
        // A failure shows when the connection is used.
        let _ = stream.set_nodelay(true);
        Self(Kind::Tcp(stream))
    }

    /// The TCP connection, if it is one.
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Kind::Tcp(stream) => Some(stream),
            Kind::Other(_) => None,
        }
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp(stream) => f.debug_tuple("Upgraded").field(stream).finish(),
            Kind::Other(_) => f.write_str("Upgraded(..)"),
        }
    }
}

/// The half of an [`Upgraded`] connection that reads.
#[derive(Debug)]
pub struct ReadHalf(Half<tcp::OwnedReadHalf, tokio::io::ReadHalf<TokioIo<hyper::upgrade::Upgraded>>>);

/// The half of an [`Upgraded`] connection that writes.
#[derive(Debug)]
pub struct WriteHalf(Half<tcp::OwnedWriteHalf, tokio::io::WriteHalf<TokioIo<hyper::upgrade::Upgraded>>>);

#[derive(Debug)]
enum Half<T, O> {
    Tcp(T),
    Other(O),
}

impl Split for Upgraded {
    type ReadHalf = ReadHalf;
    type WriteHalf = WriteHalf;

    fn split(self) -> (ReadHalf, WriteHalf) {
        match self.0 {
            Kind::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf(Half::Tcp(read)), WriteHalf(Half::Tcp(write)))
            }
            Kind::Other(io) => {
                let (read, write) = tokio::io::split(io);
                (ReadHalf(Half::Other(read)), WriteHalf(Half::Other(write)))
            }
        }
    }
}

/// Implements a trait with calls to the inner stream.
macro_rules! pass_on_reads {
    ($name:ty, $kind:ident) => {
        impl AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match &mut self.0 {
                    $kind::Tcp(io) => Pin::new(io).poll_read(cx, buf),
                    $kind::Other(io) => Pin::new(io).poll_read(cx, buf),
                }
            }
        }
    };
}

macro_rules! pass_on_writes {
    ($name:ty, $kind:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match &mut self.0 {
                    $kind::Tcp(io) => Pin::new(io).poll_write(cx, buf),
                    $kind::Other(io) => Pin::new(io).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match &mut self.0 {
                    $kind::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
                    $kind::Other(io) => Pin::new(io).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match &self.0 {
                    $kind::Tcp(io) => io.is_write_vectored(),
                    $kind::Other(io) => io.is_write_vectored(),
                }
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut self.0 {
                    $kind::Tcp(io) => Pin::new(io).poll_flush(cx),
                    $kind::Other(io) => Pin::new(io).poll_flush(cx),
                }
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut self.0 {
                    $kind::Tcp(io) => Pin::new(io).poll_shutdown(cx),
                    $kind::Other(io) => Pin::new(io).poll_shutdown(cx),
                }
            }
        }
    };
}

pass_on_reads!(Upgraded, Kind);
pass_on_writes!(Upgraded, Kind);
pass_on_reads!(ReadHalf, Half);
pass_on_writes!(WriteHalf, Half);
