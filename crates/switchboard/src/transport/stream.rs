//! The byte streams that our own listener accepts: what a connection is read from and written to, on one worker's reactor.

use std::io;
use std::net::TcpStream as StdTcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A byte stream that our listener accepted.
pub(crate) enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// Whether the peer has closed its end, as far as the reactor knows without reading.
    pub(crate) fn is_read_closed(&self) -> bool {
        let Self::Tcp(stream) = self;
        let ready = std::pin::pin!(stream.ready(Interest::READABLE));
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready.map_or(true, tokio::io::Ready::is_read_closed),
            Poll::Pending => false,
        }
    }

    /// Takes it off this thread's reactor.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        let Self::Tcp(stream) = self;
        Ok(Detached::Tcp(stream.into_std()?))
    }
}

/// A byte stream on its way from one worker to another.
pub(crate) enum Detached {
    Tcp(StdTcpStream),
}

impl Detached {
    /// Registers it with this thread's reactor.
    pub(crate) fn attach(self) -> io::Result<Stream> {
        let Self::Tcp(stream) = self;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self::Tcp(stream) = self.get_mut();
        match slices {
            [one] => Pin::new(stream).poll_write(cx, one),
            _ => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_shutdown(cx)
    }
}
