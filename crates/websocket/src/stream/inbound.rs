//! The reading half of a connection: the decoder, a buffer that exists only while it holds bytes, and the
//! time that a message may take.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Sleep, sleep},
};

use super::{Config, Error};
use crate::{Decoder, OwnedMessage, ProtocolError, Role, deflate::Inflater};

/// A message gets its whole time again each time so many more of its bytes have come. So long messages can
/// come over slow networks, and a peer that holds our memory has to send so many bytes within each
/// [`Config::message_timeout`].
const PROGRESS: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Inbound {
    decoder: Decoder,
    buffer: BytesMut,
    /// Bytes of the buffer that are decoded.
    pos: usize,
    read_bytes: usize,
    message_timeout: Option<Duration>,
    /// Runs while a message is unfinished and the connection waits for the peer.
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Bytes of the message when the timer started.
    bytes: usize,
}

impl Inbound {
    /// `read` has the bytes that came behind the handshake.
    pub(super) fn new(role: Role, read: BytesMut, config: &Config) -> Self {
        // A copy, because the allocation of these bytes may be much larger.
        let buffer = BytesMut::from(&read[..]);
        drop(read);
        Self {
            decoder: Decoder::new(role, config.limits),
            buffer,
            pos: 0,
            read_bytes: config.read_buffer_bytes.max(1),
            message_timeout: config.message_timeout,
            timer: None,
        }
    }

    /// Takes compressed messages too.
    pub(super) fn inflate(&mut self, inflater: Inflater) {
        self.decoder.set_inflater(inflater);
    }

    /// The next message among the bytes that were read.
    pub(super) fn next(&mut self) -> Result<Option<OwnedMessage>, ProtocolError> {
        let message = self.decoder.decode_owned(&mut self.buffer, &mut self.pos)?;
        match &message {
            None => self.discard(),
            // The next message has a time of its own.
            Some(message) if message.is_data() => self.timer = None,
            Some(_) => {}
        }
        Ok(message)
    }

    /// Forgets the bytes that were read.
    pub(super) fn discard(&mut self) {
        self.buffer.clear();
        self.pos = 0;
    }

    /// Forgets an unfinished message, and decodes nothing more.
    pub(super) fn end(&mut self) {
        self.decoder.end();
        self.timer = None;
    }

    /// Reads once, after [`next`](Self::next) returned `None`. `0` is the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Error::MessageTimeout`] when the peer has sent no more of a message in time, and [`Error::Io`].
    pub(super) fn poll_read<R>(&mut self, cx: &mut Context<'_>, io: &mut R) -> Poll<Result<usize, Error>>
    where
        R: AsyncRead + Unpin,
    {
        self.buffer.reserve(self.read_bytes);
        // This future holds nothing between polls, so that each poll can make a new one.
        match pin!(io.read_buf(&mut self.buffer)).poll(cx) {
            Poll::Ready(Ok(read)) => Poll::Ready(Ok(read)),
            // TLS reports an end without its closing message this way. An end without a Close frame is an
            // error in any case.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::Io(error))),
            Poll::Pending => {
                self.buffer = BytesMut::new();
                self.decoder.shrink();
                self.poll_overdue(cx).map(Err)
            }
        }
    }

    /// Ready when the time of the unfinished message is over.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let (Some(limit), Some(bytes)) = (self.message_timeout, self.decoder.unfinished_message()) else {
            self.timer = None;
            return Poll::Pending;
        };
        self.timer.take_if(|timer| bytes.saturating_sub(timer.bytes) >= PROGRESS);
        let timer = self.timer.get_or_insert_with(|| Timer { sleep: Box::pin(sleep(limit)), bytes });
        ready!(timer.sleep.as_mut().poll(cx));
        Poll::Ready(Error::MessageTimeout { limit })
    }
}
