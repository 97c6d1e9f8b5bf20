//! A connection and its halves as [`Stream`] and [`Sink`], for code that combines such types. The calls of
//! [`WebSocketStream`], [`Reader`] and [`Writer`] do the same, and are simpler.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Error, Reader, WebSocketStream, Writer};
use crate::{CloseCode, OwnedMessage};

/// The two tasks that may wait for the writes of one stream, where `futures_util::StreamExt::split` has split
/// a connection. The reading task writes too (pongs), but a stream wakes only the task that polled it last.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    reading: AtomicWaker,
    sending: AtomicWaker,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    Reading,
    Sending,
}

impl Tasks {
    /// Notes that `task` waits, and returns a waker for both tasks.
    pub(super) fn waker(self: &Arc<Self>, task: Task, cx: &Context<'_>) -> Waker {
        match task {
            Task::Reading => self.reading.register(cx.waker()),
            Task::Sending => self.sending.register(cx.waker()),
        }
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reading.wake();
        self.sending.wake();
    }
}

/// The messages of [`WebSocketStream::recv`], until the connection is over.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocketStream<S> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.tasks.get_or_insert_default();
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocketStream<S> {
    fn is_terminated(&self) -> bool {
        matches!(self.end, End::Over)
    }
}

/// It is not ready while [`Config::max_write_buffer_bytes`](crate::Config::max_write_buffer_bytes) or more
/// wait to be written. [`Config::when_full`](crate::Config::when_full) has no effect: nothing is dropped
/// here. Closing sends a Close frame with [`CloseCode::Normal`], unless one was sent before, and flushes. The
/// [`Stream`] then gives the peer's answer.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<OwnedMessage> for WebSocketStream<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.outbound.is_full() { self.poll_write_all(cx) } else { Poll::Ready(Ok(())) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
        if matches!(self.end, End::Over) {
            return Err(Error::Closed);
        }
        self.outbound.push(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write_all(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.outbound.is_closed() && matches!(self.end, End::Open) {
            self.outbound.close(Some(CloseCode::Normal), "")?;
        }
        self.poll_write_all(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tasks.get_or_insert_default();
        self.poll_flush_for(Task::Sending, cx).map_err(Error::Io)
    }
}

/// The messages of [`Reader::recv`], until the connection is over.
impl<R: AsyncRead + Unpin> Stream for Reader<R> {
    type Item = Result<OwnedMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl<R: AsyncRead + Unpin> FusedStream for Reader<R> {
    fn is_terminated(&self) -> bool {
        self.is_over
    }
}

/// As the [`Sink`] of a [`WebSocketStream`]. The reader's answers go out with each message and each flush,
/// and while [`Writer::answer`] is awaited. They do not go out by themselves.
impl<W: AsyncWrite + Unpin> Sink<OwnedMessage> for Writer<W> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.queue_answers();
        if self.outbound.is_full() { self.poll_write_all(cx) } else { Poll::Ready(Ok(())) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), Error> {
        self.outbound.push(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write_all(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.queue_answers();
        if !self.outbound.is_closed() {
            self.outbound.close(Some(CloseCode::Normal), "")?;
        }
        self.poll_write_all(cx)
    }
}
