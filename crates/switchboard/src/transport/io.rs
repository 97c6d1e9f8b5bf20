//! The byte stream of a WebSocket connection: a stream of our own listener, or of an outer server.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::stream::{Detached, Stream};
use super::tcp::Tcp;
use crate::transport::connection_limit::Permit;

/// A byte stream of any kind.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A byte stream on one worker, with its permit. Closing the stream releases the permit.
pub(crate) enum Io {
    /// A stream that our listener accepted, or a TCP stream that another server handed over.
    Own(Stream, #[expect(dead_code, reason = "held until the stream is dropped")] Permit),
    /// Any other stream of another server. The whole stream is boxed, so that our own streams need no room
    /// for a discriminant.
    Boxed(Box<(Pin<Box<dyn Duplex>>, Permit)>),
    /// The stream is closed.
    Closed,
}

impl Io {
    #[inline]
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Io::Own(stream, _) => stream.poll_recv(cx, buffer),
            Io::Boxed(boxed) => {
                let mut buffer = ReadBuf::new(buffer);
                boxed.0.as_mut().poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
            Io::Closed => Poll::Ready(Ok(0)),
        }
    }

    /// Whether the last read took all bytes and none have come since. If so, the task is woken when bytes
    /// come. `false` also if only a read can tell.
    #[inline]
    pub(crate) fn is_read_out(&self, cx: &mut Context<'_>) -> bool {
        matches!(self, Io::Own(Stream::Tcp(stream), _) if stream.poll_read_ready(cx).is_pending())
    }

    /// The plain TCP socket, if it is one.
    #[inline]
    pub(super) fn as_tcp(&self) -> Option<Tcp<'_>> {
        match self {
            Io::Own(Stream::Tcp(stream), _) => Some(Tcp(stream)),
            _ => None,
        }
    }

    /// Whether our listener accepted the stream, or it is one of the same kind: a read that does not fill its
    /// buffer has taken all that had come.
    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Io::Own(..))
    }

    /// Whether the peer has closed its end, as far as the reactor knows without a read.
    pub(crate) fn is_read_closed(&mut self) -> bool {
        matches!(self, Io::Own(stream, _) if stream.is_read_closed())
    }

    /// Whether it is enough to close the stream at its end, once the written bytes are taken.
    pub(crate) fn ends_when_closed(&self) -> bool {
        matches!(self, Io::Own(stream, _) if !stream.is_buffered())
    }

    /// Asks the kernel to detect a dead peer, for protocols without pings. For a stream of another server
    /// this is that server's task.
    pub(crate) fn keep_alive(&self) {
        if let Io::Own(stream, _) = self
            && let Err(error) = stream.keep_alive()
        {
            tracing::debug!(%error, "keep-alive could not be turned on for a connection");
        }
    }

    /// Writes, if the stream needs no flush after a write.
    pub(crate) fn poll_write_now(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Io::Own(stream, _) if !stream.is_buffered() => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Own(..) | Io::Boxed(..) | Io::Closed => Poll::Ready(Ok(0)),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Io::Own(stream, _) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Boxed(boxed) if boxed.0.is_write_vectored() => {
                boxed.0.as_mut().poll_write_vectored(cx, slices)
            }
            Io::Boxed(boxed) => boxed.0.as_mut().poll_write(cx, &end_to_end(slices)),
            Io::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Own(stream, _) => Pin::new(stream).poll_flush(cx),
            Io::Closed => Poll::Ready(Ok(())),
            Io::Boxed(boxed) => boxed.0.as_mut().poll_flush(cx),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Own(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Io::Boxed(boxed) => boxed.0.as_mut().poll_shutdown(cx),
            Io::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// The greatest size, in bytes, of one write to a stream without vectored writes. An HTTP/2 stream copies the
/// bytes into frames.
const WRITE_UP_TO: usize = 64 << 10;

/// Copies the slices, up to the size of one write.
fn end_to_end<'a>(slices: &'a [io::IoSlice<'_>]) -> Cow<'a, [u8]> {
    match slices {
        [first, ..] if slices.len() == 1 || first.len() >= WRITE_UP_TO => {
            Cow::Borrowed(first.get(..WRITE_UP_TO).unwrap_or(first))
        }
        _ => {
            let mut bytes = Vec::with_capacity(WRITE_UP_TO.min(slices.iter().map(|slice| slice.len()).sum()));
            for slice in slices {
                let room = WRITE_UP_TO.saturating_sub(bytes.len());
                bytes.extend_from_slice(slice.get(..room).unwrap_or(slice));
            }
            Cow::Owned(bytes)
        }
    }
}

/// A byte stream on its way to its worker, with the bytes that were read from it already.
pub(crate) struct Handover {
    pub(crate) io: HandoverIo,
    pub(crate) unread: Bytes,
}

pub(crate) enum HandoverIo {
    /// Removed from one reactor, to be registered with another.
    Own(Detached, Permit),
    Boxed(Pin<Box<dyn Duplex>>, Permit),
}

impl Handover {
    /// Removes a stream from this thread's reactor.
    pub(crate) fn own(stream: impl Into<Stream>, unread: Bytes, permit: Permit) -> io::Result<Self> {
        Ok(Self { io: HandoverIo::Own(stream.into().detach()?, permit), unread })
    }

    /// A stream without a reactor of its own.
    pub(crate) fn boxed(stream: impl Duplex + 'static, permit: Permit) -> Self {
        Self { io: HandoverIo::Boxed(Box::pin(stream), permit), unread: Bytes::new() }
    }

    /// Takes apart hyper's upgraded connection. A stream of our listener, and any TCP stream, is registered
    /// anew with a worker. Any other stream (HTTP/2, another server's TLS) keeps the reactor of the server
    /// that accepted it. `permit` is for a stream of another server.
    pub(crate) fn upgraded(upgraded: Upgraded, permit: Permit) -> io::Result<Self> {
        let upgraded = match upgraded.downcast::<TokioIo<super::rewind::Rewind>>() {
            Ok(parts) => {
                let (stream, unread, own) = parts.io.into_inner().into_parts();
                // The bytes in hyper's buffer came before the bytes that are still to be read again.
                return Self::own(stream, join(parts.read_buf, unread), own);
            }
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return Self::own(parts.io.into_inner(), parts.read_buf, permit),
            Err(upgraded) => upgraded,
        };
        match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => Self::own(parts.io.into_inner(), parts.read_buf, permit),
            Err(upgraded) => Ok(Self {
                io: HandoverIo::Boxed(Box::pin(TokioIo::new(upgraded)), permit),
                unread: Bytes::new(),
            }),
        }
    }

    /// Registers the stream with this thread's reactor.
    pub(crate) fn register(self) -> io::Result<(Io, Bytes)> {
        let io = match self.io {
            HandoverIo::Own(stream, permit) => Io::Own(stream.attach()?, permit),
            HandoverIo::Boxed(stream, permit) => Io::Boxed(Box::new((stream, permit))),
        };
        Ok((io, self.unread))
    }
}

fn join(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        second
    } else if second.is_empty() {
        first
    } else {
        [first, second].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    #[test]
    fn slices_are_laid_end_to_end_up_to_a_bound() {
        let (small, half, large) = (vec![1; 10], vec![2; WRITE_UP_TO / 2], vec![3; WRITE_UP_TO + 1]);
        for (slices, expected) in [
            (vec![&small], small.clone()),
            (vec![&small, &small], [small.clone(), small.clone()].concat()),
            (vec![&large], vec![3; WRITE_UP_TO]),
            (vec![&large, &small], vec![3; WRITE_UP_TO]),
            (vec![&small, &large], [small.clone(), vec![3; WRITE_UP_TO - 10]].concat()),
            (vec![&half, &half, &small], vec![2; WRITE_UP_TO]),
        ] {
            let slices: Vec<_> = slices.into_iter().map(|slice| IoSlice::new(slice)).collect();
            assert_eq!(end_to_end(&slices), expected);
        }
    }
}
