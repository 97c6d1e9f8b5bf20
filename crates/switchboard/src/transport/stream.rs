//! The byte streams that our own listener accepts. Each belongs to the reactor of one worker.

use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tcp;
use super::tls::{DetachedTls, TlsStream};

/// How long a peer without pings may be silent before the kernel probes it.
const SILENCE: Duration = Duration::from_secs(60);

/// A byte stream that our listener accepted.
pub(crate) enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A plain Unix-domain socket. Boxed, so that TCP streams need no room for the discriminant.
    Unix(Box<UnixStream>),
    /// TLS over one of the others. Boxed, because it is larger, and most servers leave TLS to a proxy.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Whether written bytes may wait for a flush.
    pub(crate) fn is_buffered(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads once into a buffer that is a slice. `Ok(0)`: the peer has closed its end.
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Self::Tcp(stream) = self {
            return tcp::poll_recv(stream, cx, buffer);
        }
        let mut buffer = ReadBuf::new(buffer);
        Pin::new(self).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Whether the TLS handshake agreed on HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.speaks_http2())
    }

    /// Whether the peer has closed its end, as far as the reactor knows without a read.
    pub(crate) fn is_read_closed(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = match self {
            Self::Tcp(stream) => std::pin::pin!(stream.ready(Interest::READABLE)).poll(&mut cx),
            Self::Unix(stream) => std::pin::pin!(stream.ready(Interest::READABLE)).poll(&mut cx),
            Self::Tls(stream) => return stream.is_read_closed(),
        };
        match ready {
            Poll::Ready(ready) => ready.map_or(true, tokio::io::Ready::is_read_closed),
            Poll::Pending => false,
        }
    }

    /// Asks the kernel to find out whether a silent peer is still there, for protocols without pings.
    pub(crate) fn keep_alive(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                let probes =
                    TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 6).with_retries(3);
                SockRef::from(stream).set_tcp_keepalive(&probes)
            }
            // The kernel knows both ends of a Unix-domain socket.
            Self::Unix(_) => Ok(()),
            Self::Tls(stream) => stream.keep_alive(),
        }
    }

    /// Removes the stream from this thread's reactor.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
            Self::Tls(stream) => Detached::Tls(Box::new(stream.detach()?)),
        })
    }
}

/// A byte stream on its way from one worker to another.
pub(crate) enum Detached {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
    Tls(Box<DetachedTls>),
}

impl Detached {
    /// Registers it with this thread's reactor.
    pub(crate) fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                let stream = TcpStream::from_std(stream)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Self::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Stream::from(UnixStream::from_std(stream)?)
            }
            Self::Tls(stream) => Stream::Tls(Box::new(stream.attach()?)),
        })
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(Box::new(stream))
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => tcp::poll_send(stream, cx, bytes),
            Self::Unix(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self.get_mut(), slices) {
            (Self::Tcp(stream), [one]) => tcp::poll_send(stream, cx, one),
            (Self::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(cx, slices),
            (Self::Unix(stream), _) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            (Self::Tls(stream), _) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // The kernel's sockets have no buffer in this process.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_looks_after_a_peer_that_has_no_pings() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (connected, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let _peer = connected.unwrap();
        let stream = Stream::from(accepted.unwrap().0);
        stream.keep_alive().unwrap();
        let Stream::Tcp(stream) = &stream else { panic!("it is TCP") };
        assert!(SockRef::from(stream).keepalive().unwrap());
        assert_eq!(SockRef::from(stream).tcp_keepalive_time().unwrap(), SILENCE);
    }
}
