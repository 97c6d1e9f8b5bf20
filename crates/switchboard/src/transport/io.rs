//! The byte stream below a WebSocket connection: one of our own listener's, or whatever an outer server has
//! accepted.

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
use crate::transport::connection_limit::Permit;

/// A byte stream that anything can be below of.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A byte stream, driven on one worker, with its place among the connections, which is given back when the
/// stream is closed.
pub(crate) enum Io {
    /// One that our listener accepted, or a TCP stream that another server gave away.
    Own(Stream, #[expect(dead_code, reason = "held until the stream is dropped")] Permit),
    /// Whatever another server has accepted. Boxed as a whole, so that one's own need no room for which of
    /// the two it is.
    Boxed(Box<(Pin<Box<dyn Duplex>>, Permit)>),
    /// The stream is closed.
    Closed,
}

impl Io {
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = match self {
            Io::Own(stream, _) => Pin::new(stream).poll_read(cx, &mut buffer),
            Io::Boxed(boxed) => boxed.0.as_mut().poll_read(cx, &mut buffer),
            Io::Closed => Poll::Ready(Ok(())),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Whether nothing has come since a read took all there was. The task is woken then when something does.
    /// `false` too where only a read finds that out.
    #[inline]
    pub(crate) fn is_read_out(&self, cx: &mut Context<'_>) -> bool {
        matches!(self, Io::Own(Stream::Tcp(stream), _) if stream.poll_read_ready(cx).is_pending())
    }

    /// Whether the peer has closed its end, as far as the reactor knows without reading.
    pub(crate) fn is_read_closed(&mut self) -> bool {
        matches!(self, Io::Own(stream, _) if stream.is_read_closed())
    }

    /// Whether closing it is all that its end needs, once what is written is taken.
    pub(crate) fn ends_when_closed(&self) -> bool {
        matches!(self, Io::Own(stream, _) if !stream.is_buffered())
    }

    /// Has the kernel look after a peer that has no pings. A stream that another server accepted is that
    /// server's to look after.
    pub(crate) fn keep_alive(&self) {
        if let Io::Own(stream, _) = self
            && let Err(error) = stream.keep_alive()
        {
            tracing::debug!(%error, "a connection is not looked after");
        }
    }

    /// Writes where that needs no flush afterwards.
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

/// Bytes of one write to a stream that takes one slice at a time: one of HTTP/2 copies it, and makes frames
/// of it.
const WRITE_UP_TO: usize = 64 << 10;

/// As much of the slices as is written at once.
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

/// A byte stream on its way to the worker that will drive it, with what was read of it already.
pub(crate) struct Handover {
    pub(crate) io: HandoverIo,
    pub(crate) unread: Bytes,
}

pub(crate) enum HandoverIo {
    /// Taken off one reactor, to be registered with another.
    Own(Detached, Permit),
    Boxed(Pin<Box<dyn Duplex>>, Permit),
}

impl Handover {
    /// Takes a stream off this thread's reactor.
    pub(crate) fn own(stream: impl Into<Stream>, unread: Bytes, permit: Permit) -> io::Result<Self> {
        Ok(Self { io: HandoverIo::Own(stream.into().detach()?, permit), unread })
    }

    /// Takes apart what hyper gives after an upgrade: what our listener accepted and TCP is registered anew
    /// with a worker, anything else (HTTP/2, another's TLS) keeps the reactor of the server that accepted it.
    /// `guest`: its place, where our own listener has not given it one.
    pub(crate) fn upgraded(upgraded: Upgraded, guest: Permit) -> io::Result<Self> {
        let upgraded = match upgraded.downcast::<TokioIo<super::rewind::Rewind>>() {
            Ok(parts) => {
                let (stream, unread, permit) = parts.io.into_inner().into_parts();
                // What hyper has read came before what was not read again yet.
                return Self::own(stream, join(parts.read_buf, unread), permit);
            }
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return Self::own(parts.io.into_inner(), parts.read_buf, guest),
            Err(upgraded) => upgraded,
        };
        match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => Self::own(parts.io.into_inner(), parts.read_buf, guest),
            Err(upgraded) => Ok(Self {
                io: HandoverIo::Boxed(Box::pin(TokioIo::new(upgraded)), guest),
                unread: Bytes::new(),
            }),
        }
    }

    /// Registers the stream with this thread's reactor.
    pub(crate) fn land(self) -> io::Result<(Io, Bytes)> {
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
