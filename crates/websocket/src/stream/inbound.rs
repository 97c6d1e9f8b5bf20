//! The reading half of a connection: a buffer that is there only while something is in it, and the
//! decoder.

use std::{
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{Decoder, OwnedMessage, ProtocolError, deflate::Inflater};

#[derive(Debug)]
pub(super) struct Inbound {
    decoder: Decoder,
    buffer: BytesMut,
    /// What of the buffer is decoded.
    pos: usize,
    read_bytes: usize,
}

impl Inbound {
    /// `buffer` is what came behind the handshake.
    pub(super) fn new(decoder: Decoder, buffer: BytesMut, read_bytes: usize) -> Self {
        Self { decoder, buffer, pos: 0, read_bytes: read_bytes.max(1) }
    }

    /// Takes compressed messages too.
    pub(super) fn inflate(&mut self, inflater: Inflater) {
        self.decoder.set_inflater(inflater);
    }

    /// The next message among the bytes that were read.
    pub(super) fn next(&mut self) -> Result<Option<OwnedMessage>, ProtocolError> {
        let message = self.decoder.decode_owned(&mut self.buffer, &mut self.pos)?;
        if message.is_none() {
            self.discard();
        }
        Ok(message)
    }

    /// Forgets what was read.
    pub(super) fn discard(&mut self) {
        self.buffer.clear();
        self.pos = 0;
    }

    /// Reads once, after [`next`](Self::next) gave `None`. `0` is the end of the stream.
    pub(super) fn poll_read<R>(&mut self, cx: &mut Context<'_>, io: &mut R) -> Poll<io::Result<usize>>
    where
        R: AsyncRead + Unpin,
    {
        self.buffer.reserve(self.read_bytes);
        // This future holds nothing between polls, so it can be made anew for each.
        let read = pin!(io.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() {
            self.buffer = BytesMut::new();
        }
        match read {
            // So TLS says that the connection ended without a word. Without a Close frame an end is lost anyhow.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            read => read,
        }
    }
}
