//! A stream whose first bytes are put back. It may encode the targets of requests on their way in, and limit
//! the time in which the peer must take written bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connection_limit::Permit;
use super::request_heads::RequestHeads;
use super::stream::Stream;

/// A stream whose first bytes were read already and are read again.
pub(crate) struct Rewind {
    unread: Bytes,
    stream: Stream,
    permit: Permit,
    heads: Option<Box<RequestHeads>>,
    write_deadline: Option<WriteDeadline>,
}

/// Ends a connection whose peer takes none of the written bytes.
struct WriteDeadline {
    timeout: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl WriteDeadline {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.timeout)));
        ready!(timer.as_mut().poll(cx));
        metrics::counter!("switchboard_write_timeouts_total").increment(1);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Rewind {
    pub(crate) fn new(stream: Stream, unread: Bytes, permit: Permit) -> Self {
        Self { unread, stream, permit, heads: None, write_deadline: None }
    }

    /// The same, with the [targets](RequestHeads) of its requests encoded.
    pub(crate) fn with_encoded_targets(mut self) -> Self {
        let mut heads = Box::<RequestHeads>::default();
        if let Some(encoded) = heads.encode(&self.unread) {
            self.unread = encoded.into();
        }
        self.heads = Some(heads);
        self
    }

    /// The same, with writes that fail if the peer takes no bytes for this time.
    pub(crate) fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_deadline = Some(WriteDeadline { timeout, timer: None });
        self
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut self.write_deadline {
            Some(deadline) => deadline.watch(cx, written),
            None => written,
        }
    }

    pub(crate) fn into_parts(self) -> (Stream, Bytes, Permit) {
        (self.stream, self.unread, self.permit)
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            let Some(encoded) = self.heads.as_mut().and_then(|heads| heads.encode(read)) else {
                return Poll::Ready(Ok(()));
            };
            self.unread = encoded.into();
            buffer.set_filled(before);
        }
        let n = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..n).unwrap_or_default());
        self.unread.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
