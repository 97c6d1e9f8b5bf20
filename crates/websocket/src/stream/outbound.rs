//! The writing half of a connection: frames that wait to be written, in bounded memory.
//!
//! Small frames are gathered in one chunk. A large payload stays in its own memory, and a vectored write
//! sends it behind its header.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::{Config, Error, WhenFull, keys};
use crate::{
    CloseCode, FrameHeader, MAX_CONTROL_PAYLOAD, Opcode, OwnedMessage, Prepared, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater},
    encode_close, encode_frame, encode_frame_masked,
    frame::MAX_HEADER,
    mask,
};

/// A payload of at least so many bytes is not copied.
const APART: usize = 8 << 10;
/// A chunk of small frames takes no more frames from this size on.
const CHUNK: usize = 64 << 10;
/// The chunks of one vectored write.
const SLICES: usize = 16;

#[derive(Debug)]
pub(super) struct Outbound {
    role: Role,
    limit: usize,
    when_full: WhenFull,
    /// Messages that were dropped because there was no room.
    dropped: u64,
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    written: usize,
    /// Bytes that wait, in all chunks.
    pending: usize,
    /// Bytes that were written since the beginning.
    sent: u64,
    /// For each automatic pong that waits: the value of `sent` when it will be written.
    pongs: VecDeque<u64>,
    max_pongs: usize,
    /// Present where compression was negotiated.
    compression: Option<Box<Compression>>,
    /// Whether a Close frame was queued. Nothing may follow it.
    closed: bool,
    /// The error of a failed write. Nothing can be written any more.
    broken: Option<io::ErrorKind>,
}

#[derive(Debug)]
enum Chunk {
    /// Small frames, one behind the other.
    Frames(Vec<u8>),
    /// One payload, which nothing is appended to.
    Apart(Vec<u8>),
    /// A frame that other connections send too.
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Frames(bytes) | Self::Apart(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
struct Compression {
    parameters: DeflateParameters,
    deflater: Deflater,
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
            sent: 0,
            pongs: VecDeque::new(),
            max_pongs: config.max_pending_pongs.max(1),
            compression: None,
            closed: false,
            broken: None,
        }
    }

    /// Compresses from now on.
    pub(super) fn compress(&mut self, parameters: DeflateParameters, options: &DeflateOptions) {
        let deflater = Deflater::new(self.role, parameters, options);
        self.compression = Some(Box::new(Compression { parameters, deflater }));
    }

    /// The parameters that both ends agreed on.
    pub(super) fn deflate(&self) -> Option<DeflateParameters> {
        self.compression.as_ref().map(|compression| compression.parameters)
    }

    /// Frees the memory of a compressor that keeps context.
    pub(super) fn forget_context(&mut self) {
        if let Some(compression) = &mut self.compression {
            compression.deflater.forget();
        }
    }

    /// The number of messages that were dropped because there was no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a Close frame was queued.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the bytes that wait have reached the limit.
    pub(super) fn is_full(&self) -> bool {
        self.pending >= self.limit
    }

    /// Whether a message fits behind the bytes that wait.
    pub(super) fn has_room(&self, message: &OwnedMessage) -> bool {
        self.has_room_for(payload_len(message))
    }

    /// Whether a payload of this length fits behind the bytes that wait.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        self.pending == 0 || self.pending.saturating_add(MAX_HEADER + len) <= self.limit
    }

    /// Queues a message of the user, if there is room.
    pub(super) fn queue(&mut self, message: OwnedMessage) -> Result<(), Error> {
        if self.has_room(&message) || message.is_close() {
            return self.push(message);
        }
        self.refuse(message)
    }

    /// Queues a message for many connections, if there is room.
    pub(super) fn queue_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        if self.has_room_for(message.payload().len()) {
            return self.push_prepared(message);
        }
        self.refuse(message.to_message())
    }

    /// Takes the action that is set for a message without room.
    fn refuse(&mut self, message: OwnedMessage) -> Result<(), Error> {
        self.check_open()?;
        let (pending, limit) = (self.pending, self.limit);
        match self.when_full {
            WhenFull::Refuse => Err(Error::WriteBufferFull { message: Box::new(message), pending, limit }),
            WhenFull::DropNewest => {
                self.dropped += 1;
                Ok(())
            }
            WhenFull::Close => {
                self.close(Some(CloseCode::PolicyViolation), "too slow for the messages that are sent")?;
                Err(Error::TooSlow { pending, limit })
            }
        }
    }

    /// Queues a message of the user without a check for room, for callers that have waited for room.
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

    /// Queues the pong that answers a ping, without a check for room. The caller bounds the number of pongs.
    pub(super) fn pong(&mut self, payload: Vec<u8>) -> Result<(), Error> {
        self.check_open()?;
        self.frame(Opcode::Pong, payload)?;
        self.pongs.push_back(self.sent + self.pending as u64);
        Ok(())
    }

    /// The number of automatic pongs that are queued and not written.
    pub(super) fn pongs(&self) -> usize {
        self.pongs.len()
    }

    /// The number of automatic pongs that may wait.
    pub(super) fn max_pongs(&self) -> usize {
        self.max_pongs
    }

    /// Whether the pongs that wait have reached their limit.
    pub(super) fn is_full_of_pongs(&self) -> bool {
        self.pongs.len() >= self.max_pongs && !self.closed
    }

    /// Drops everything that waits, so that nothing is written any more. Returns the reason.
    pub(super) fn cut(&mut self) -> Error {
        self.give_up(io::ErrorKind::ConnectionAborted);
        Error::TooManyPongs { limit: self.max_pongs }
    }

    fn give_up(&mut self, kind: io::ErrorKind) {
        self.broken = Some(kind);
        self.chunks = VecDeque::new();
        self.pongs = VecDeque::new();
        self.pending = 0;
    }

    /// Queues a Close frame without a check for room. `None` gives a frame without a body.
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

    /// Queues a message for many connections, without a check for room.
    pub(super) fn push_prepared(&mut self, message: &Prepared) -> Result<(), Error> {
        self.check_open()?;
        if self.role == Role::Client {
            // Each frame of a client has a key of its own (RFC 6455 §5.3).
            return self.frame(message.opcode(), message.payload().to_vec());
        }
        let shared = match &mut self.compression {
            Some(compression) => compression.deflater.prepared(message),
            None => Some(message.frame()),
        };
        match shared {
            Some(frame) => self.push_shared(frame),
            None if self.compressed(message.opcode(), message.payload(), None) => {}
            None => self.push_shared(message.frame()),
        }
        Ok(())
    }

    fn push_shared(&mut self, frame: &Bytes) {
        if frame.len() < APART {
            self.chunk().extend_from_slice(frame);
        } else {
            self.chunks.push_back(Chunk::Shared(frame.clone()));
        }
        self.pending += frame.len();
    }

    fn frame(&mut self, opcode: Opcode, mut payload: Vec<u8>) -> Result<(), Error> {
        let key = self.key()?;
        if self.compression.is_some() && self.compressed(opcode, &payload, key) {
            return Ok(());
        }
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
        self.chunks.push_back(Chunk::Apart(payload));
        self.pending += header.as_bytes().len() + len;
        Ok(())
    }

    /// Queues a message in its compressed form. Returns whether it did: some messages are sent as they are.
    fn compressed(&mut self, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) -> bool {
        let Some(mut compression) = self.compression.take() else { return false };
        let compressed = compression.deflater.compress(opcode, payload, |compressed| {
            let Some(compressed) = compressed else { return false };
            let mut header = FrameHeader::new(opcode, compressed.len()).rsv1();
            if let Some(key) = key {
                header = header.masked(key);
                mask(compressed, key, 0);
            }
            let chunk = self.chunk();
            chunk.extend_from_slice(header.as_bytes());
            if compressed.len() < APART {
                chunk.extend_from_slice(compressed);
            } else {
                self.chunks.push_back(Chunk::Apart(compressed.to_vec()));
            }
            self.pending += header.as_bytes().len() + compressed.len();
            true
        });
        self.compression = Some(compression);
        compressed
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
        let open = matches!(self.chunks.back(), Some(Chunk::Frames(bytes)) if bytes.len() < CHUNK);
        if !open {
            self.chunks.push_back(Chunk::Frames(Vec::new()));
        }
        match self.chunks.back_mut() {
            Some(Chunk::Frames(bytes)) => bytes,
            _ => unreachable!("a chunk of frames is the last by now"),
        }
    }

    /// Writes until nothing waits. A caller that is dropped while it waits loses nothing: the next call
    /// writes the rest.
    pub(super) fn poll_flush<W>(&mut self, cx: &mut Context<'_>, io: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let flushed = ready!(self.poll_write_all(cx, io));
        if let Err(error) = &flushed {
            self.give_up(error.kind());
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
                *slice = IoSlice::new(chunk.as_slice().get(skip..).unwrap_or_default());
                skip = 0;
            }
            let slices = &slices[..self.chunks.len().min(SLICES)];
            // A stream without vectored writes takes the first slice.
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
        self.sent += written as u64;
        while self.pongs.front().is_some_and(|end| *end <= self.sent) {
            self.pongs.pop_front();
        }
        while let Some(chunk) = self.chunks.front() {
            if self.written < chunk.as_slice().len() {
                return;
            }
            self.written -= chunk.as_slice().len();
            self.chunks.pop_front();
        }
        // An idle connection holds no write buffer.
        self.chunks = VecDeque::new();
        self.pongs = VecDeque::new();
    }
}

fn payload_len(message: &OwnedMessage) -> usize {
    match message {
        OwnedMessage::Text(text) => text.len(),
        OwnedMessage::Binary(bytes) | OwnedMessage::Ping(bytes) | OwnedMessage::Pong(bytes) => bytes.len(),
        OwnedMessage::Close(_) => MAX_CONTROL_PAYLOAD,
    }
}
