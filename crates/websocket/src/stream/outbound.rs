//! The writing half of a connection: frames that wait to be written, in bounded memory.
//!
//! Small frames are gathered in one chunk; a large payload stays where it is and is written behind its
//! header by a vectored write.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{Config, Error, WhenFull, keys};
use crate::{
    CloseCode, FrameHeader, MAX_CONTROL_PAYLOAD, Opcode, OwnedMessage, Role, encode_close, encode_frame,
    encode_frame_masked, frame::MAX_HEADER, mask,
};

/// From this many bytes a payload is not copied.
const APART: usize = 8 << 10;
/// A chunk of small frames that has grown to this gets no more.
const CHUNK: usize = 64 << 10;
/// Chunks given to one vectored write.
const SLICES: usize = 16;

#[derive(Debug)]
pub(super) struct Outbound {
    role: Role,
    limit: usize,
    when_full: WhenFull,
    /// Messages that were dropped for want of room.
    dropped: u64,
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    written: usize,
    /// Bytes that wait, over all chunks.
    pending: usize,
    /// Whether a Close frame was queued: nothing may follow it.
    closed: bool,
    /// What writing failed with; nothing can be written any more.
    broken: Option<io::ErrorKind>,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// A payload by itself, which nothing is appended to.
    apart: bool,
}

impl Outbound {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        Self {
            role,
            limit: config.max_write_buffer_bytes,
            when_full: config.when_full,
            dropped: 0,
            chunks: VecDeque::new(),
            written: 0,
            pending: 0,
            closed: false,
            broken: None,
        }
    }

    /// How many messages were dropped for want of room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a Close frame was queued.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether so much waits that nothing more should be made to.
    pub(super) fn is_full(&self) -> bool {
        self.pending >= self.limit
    }

    /// Whether a message fits behind what waits.
    pub(super) fn has_room(&self, message: &OwnedMessage) -> bool {
        self.pending == 0 || self.pending.saturating_add(MAX_HEADER + payload_len(message)) <= self.limit
    }

    /// Queues a message of the user's, if there is room.
    pub(super) fn queue(&mut self, message: OwnedMessage) -> Result<(), Error> {
        if self.has_room(&message) || message.is_close() {
            return self.push(message);
        }
        self.check_open()?;
        let (pending, limit) = (self.pending, self.limit);
        match self.when_full {
            WhenFull::Refuse => Err(Error::WriteBufferFull { message: Box::new(message), pending, limit }),
            WhenFull::DropNewest => {
                self.dropped += 1;
                Ok(())
            }
            WhenFull::Close => {
                self.close(Some(CloseCode::PolicyViolation), "too slow for what is sent")?;
                Err(Error::TooSlow { pending, limit })
            }
        }
    }

    /// Queues a message of the user's, whatever waits: for callers that have waited for room.
    pub(super) fn push(&mut self, message: OwnedMessage) -> Result<(), Error> {
        self.check_open()?;
        match message {
            OwnedMessage::Close(Some(frame)) => self.close(Some(frame.code), &frame.reason),
            OwnedMessage::Close(None) => self.close(None, ""),
            OwnedMessage::Ping(payload) | OwnedMessage::Pong(payload)
                if payload.len() > MAX_CONTROL_PAYLOAD =>
            {
                Err(Error::ControlTooLong { length: payload.len() })
            }
            OwnedMessage::Text(text) => self.frame(Opcode::Text, text.into_bytes()),
            OwnedMessage::Binary(bytes) => self.frame(Opcode::Binary, bytes),
            OwnedMessage::Ping(payload) => self.frame(Opcode::Ping, payload),
            OwnedMessage::Pong(payload) => self.frame(Opcode::Pong, payload),
        }
    }

    /// Queues the pong that a ping asks for, whatever waits: who reads keeps this bounded by not reading
    /// while [`is_full`](Self::is_full).
    pub(super) fn pong(&mut self, payload: Vec<u8>) -> Result<(), Error> {
        self.check_open()?;
        self.frame(Opcode::Pong, payload)
    }

    /// Queues a Close frame, whatever waits; `None` has no body.
    pub(super) fn close(&mut self, code: Option<CloseCode>, reason: &str) -> Result<(), Error> {
        self.check_open()?;
        if let Some(code) = code.filter(|code| !code.is_valid_on_wire()) {
            return Err(Error::InvalidCloseCode { code });
        }
        let key = self.key()?;
        let chunk = self.chunk();
        let before = chunk.len();
        encode_close(chunk, key, code.unwrap_or(CloseCode::NoStatusReceived), reason);
        self.pending += chunk.len() - before;
        self.closed = true;
        Ok(())
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.broken {
            _ if self.closed => Err(Error::Closed),
            Some(kind) => Err(Error::Io(kind.into())),
            None => Ok(()),
        }
    }

    fn frame(&mut self, opcode: Opcode, mut payload: Vec<u8>) -> Result<(), Error> {
        let key = self.key()?;
        let len = payload.len();
        let chunk = self.chunk();
        let before = chunk.len();
        if len < APART {
            match key {
                None => encode_frame(chunk, opcode, &payload),
                Some(key) => encode_frame_masked(chunk, opcode, &payload, key),
            }
            self.pending += chunk.len() - before;
            return Ok(());
        }
        let mut header = FrameHeader::new(opcode, len);
        if let Some(key) = key {
            header = header.masked(key);
            mask(&mut payload, key, 0);
        }
        chunk.extend_from_slice(header.as_bytes());
        self.chunks.push_back(Chunk { bytes: payload, apart: true });
        self.pending += header.as_bytes().len() + len;
        Ok(())
    }

    /// The key of the next frame, if this end masks.
    fn key(&self) -> Result<Option<[u8; 4]>, Error> {
        match self.role {
            Role::Server => Ok(None),
            Role::Client => keys::next().map(Some).map_err(Error::Io),
        }
    }

    /// The chunk that small frames are appended to.
    fn chunk(&mut self) -> &mut Vec<u8> {
        let open = self.chunks.back().is_some_and(|chunk| !chunk.apart && chunk.bytes.len() < CHUNK);
        if !open {
            self.chunks.push_back(Chunk { bytes: Vec::new(), apart: false });
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last].bytes
    }

    /// Writes until nothing waits. Dropping a caller that waits for it loses nothing: what is not written
    /// goes out with the next call.
    pub(super) fn poll_flush<W>(&mut self, cx: &mut Context<'_>, io: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let flushed = ready!(self.poll_write_all(cx, io));
        if let Err(error) = &flushed {
            self.broken = Some(error.kind());
            self.chunks = VecDeque::new();
            self.pending = 0;
        }
        Poll::Ready(flushed)
    }

    fn poll_write_all<W>(&mut self, cx: &mut Context<'_>, io: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while self.pending > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut skip = self.written;
            for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slice = IoSlice::new(chunk.bytes.get(skip..).unwrap_or_default());
                skip = 0;
            }
            let slices = &slices[..self.chunks.len().min(SLICES)];
            // A stream that does not gather writes the first slice.
            match ready!(Pin::new(&mut *io).poll_write_vectored(cx, slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        Pin::new(io).poll_flush(cx)
    }

    fn advance(&mut self, written: usize) {
        self.pending = self.pending.saturating_sub(written);
        self.written += written;
        while let Some(chunk) = self.chunks.front() {
            if self.written < chunk.bytes.len() {
                return;
            }
            self.written -= chunk.bytes.len();
            self.chunks.pop_front();
        }
        // An idle connection holds no write buffer.
        self.chunks = VecDeque::new();
    }
}

fn payload_len(message: &OwnedMessage) -> usize {
    match message {
        OwnedMessage::Text(text) => text.len(),
        OwnedMessage::Binary(bytes) | OwnedMessage::Ping(bytes) | OwnedMessage::Pong(bytes) => bytes.len(),
        OwnedMessage::Close(_) => MAX_CONTROL_PAYLOAD,
    }
}
