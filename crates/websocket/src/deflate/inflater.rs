//! Compressed messages are read here, as their bytes come (RFC 7692 §7.2.2).

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{
    DeflateParameters, MAX_WINDOW_BITS, pool,
    recent::{History, Ticket},
};
use crate::Role;

/// The end of each compressed message, which a sender leaves out and a receiver appends (§7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// An empty last block. Behind it a message ends, if it was whole.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// The size of the first buffer.
const FIRST_BUFFER: usize = 4 << 10;

/// Inflates the peer's compressed messages, for a [`Decoder`](crate::Decoder).
///
/// It holds nothing until a compressed message comes. While a message comes it holds zlib's state, [of some
/// 48 KiB](super). Where the peer takes context over, it holds the end of the inflated text until it is
/// dropped, and the thread keeps the states of the connections that were busy last.
pub struct Inflater {
    /// The state of the unfinished message.
    state: Option<Box<Inflate>>,
    /// The earlier messages, where there are any.
    context: Option<Box<Context>>,
    keeps_context: bool,
    /// The largest distance that the peer may refer back to, as a power of two.
    window_bits: u8,
    /// No byte of the unfinished message has come yet.
    is_empty: bool,
    /// The bytes that have come end with a last block.
    is_at_end: bool,
    /// The last compressed bytes of the message.
    last: [u8; TAIL.len()],
}

/// The memory of earlier messages.
struct Context {
    /// Finds the state that knows all of them, if the thread still has it.
    ticket: Ticket,
    history: History,
    /// The place in the unfinished message where the text begins that may be referred to.
    from: usize,
}

/// The reason why a message does not inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// It is not deflate data.
    Malformed,
    /// It is longer than the limit.
    TooLarge,
}

impl Inflater {
    /// An inflater for the messages of the peer of this end.
    pub fn new(role: Role, parameters: DeflateParameters) -> Self {
        let (no_context, window_bits) = match role {
            Role::Server => (parameters.client_no_context_takeover, parameters.client_max_window_bits),
            Role::Client => (parameters.server_no_context_takeover, parameters.server_max_window_bits),
        };
        let window_bits = window_bits.min(MAX_WINDOW_BITS);
        let keeps_context = !no_context;
        Self {
            state: None,
            context: None,
            keeps_context,
            window_bits,
            is_empty: true,
            is_at_end: false,
            last: [0; TAIL.len()],
        }
    }

    /// Inflates the next bytes of a message, to at most `limit` bytes in all.
    pub(crate) fn push(
        &mut self,
        input: &[u8],
        out: &mut Inflated,
        limit: usize,
    ) -> Result<(), InflateError> {
        if input.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        self.note_last(input);
        self.run(input, out, limit)
    }

    /// Inflates the rest when all bytes of a message have come.
    pub(crate) fn finish(&mut self, out: &mut Inflated, limit: usize) -> Result<(), InflateError> {
        // An empty message is the byte 00 (§7.2.3.6). A message without any byte is taken as empty too.
        let is_empty = std::mem::replace(&mut self.is_empty, true);
        // A message that ends with a last block is whole too, also without the byte that should follow it
        // (§7.2.3.4).
        let is_at_end = std::mem::take(&mut self.is_at_end);
        // Some senders do not leave the tail out. zlib takes the tail twice without an error.
        let has_tail = std::mem::take(&mut self.last) == TAIL;
        if !is_empty && !is_at_end {
            self.run(&TAIL, out, limit)?;
            if !self.keeps_context {
                self.check_whole(has_tail, out, limit)?;
            }
        }
        if let Some(state) = self.state.take() {
            if self.keeps_context {
                // Behind a second tail the state is within a block that has no end.
                self.remember((!has_tail).then_some(state), out.as_slice());
            } else {
                pool::put_inflate(state);
            }
        }
        Ok(())
    }

    /// Fails if a message was cut short. The state is of no use after it, so that this is only called where
    /// nothing needs the state.
    fn check_whole(&mut self, has_tail: bool, out: &mut Inflated, limit: usize) -> Result<(), InflateError> {
        match self.run(&LAST_BLOCK, out, limit) {
            Ok(()) if std::mem::take(&mut self.is_at_end) => Ok(()),
            // The message ends with a flush, so that all bytes before it were inflated.
            Err(InflateError::Malformed) if has_tail => Ok(()),
            Ok(()) => Err(InflateError::Malformed),
            Err(error) => Err(error),
        }
    }

    /// Keeps the last compressed bytes of the message.
    fn note_last(&mut self, input: &[u8]) {
        if let Some(last) = input.last_chunk() {
            self.last = *last;
            return;
        }
        for &byte in input {
            self.last.rotate_left(1);
            self.last[TAIL.len() - 1] = byte;
        }
    }

    /// A state that knows the earlier messages, if there are any.
    fn resume(context: Option<&Context>, window: usize) -> Result<Box<Inflate>, InflateError> {
        let Some(context) = context else { return Ok(pool::take_inflate()) };
        if let Some(state) = pool::resume_inflate(context.ticket) {
            return Ok(state);
        }
        let mut state = pool::take_inflate();
        let history = context.history.last(window);
        if !history.is_empty() {
            state.set_dictionary(history).map_err(|_| InflateError::Malformed)?;
        }
        Ok(state)
    }

    /// Remembers a message. Without a state, the next message is inflated by a state that is made again.
    fn remember(&mut self, state: Option<Box<Inflate>>, message: &[u8]) {
        let context = self.context.get_or_insert_with(Context::new);
        let from = std::mem::take(&mut context.from);
        context.history.push(message.get(from..).unwrap_or_default(), 1 << self.window_bits);
        if let Some(state) = state {
            pool::keep_inflate(&mut context.ticket, state);
        }
    }

    fn run(&mut self, mut input: &[u8], out: &mut Inflated, limit: usize) -> Result<(), InflateError> {
        let state = match self.state.take() {
            Some(state) => state,
            None => Self::resume(self.context.as_deref(), 1 << self.window_bits)?,
        };
        let state = self.state.insert(state);
        loop {
            let before = (state.total_in(), state.total_out());
            let room = out.room(input.len(), limit);
            let mut beyond = [0];
            let is_full = room.is_empty();
            let target = if is_full { beyond.as_mut_slice() } else { room };
            let len = target.len();
            let status = state
                .decompress(input, target, InflateFlush::SyncFlush)
                .map_err(|_| InflateError::Malformed)?;
            let taken = (state.total_in() - before.0) as usize;
            let given = (state.total_out() - before.1) as usize;
            if is_full && given > 0 {
                return Err(InflateError::TooLarge);
            }
            out.len += given;
            input = input.get(taken..).unwrap_or_default();
            self.is_at_end = status == Status::StreamEnd;
            if self.is_at_end {
                // The bytes behind a last block are a stream of their own (§7.2.3.4).
                state.reset(false);
                if self.keeps_context {
                    let context = self.context.get_or_insert_with(Context::new);
                    context.history.clear();
                    context.from = out.len;
                }
            } else if taken == 0 && given == 0 && !input.is_empty() {
                return Err(InflateError::Malformed);
            }
            // zlib may hold bytes back where the room was just enough.
            if input.is_empty() && (self.is_at_end || given < len) {
                return Ok(());
            }
        }
    }
}

impl Context {
    #[expect(clippy::unnecessary_box_returns, reason = "it is the box that is kept")]
    fn new() -> Box<Self> {
        Box::new(Self { ticket: Ticket::new(), history: History::default(), from: 0 })
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("holds_state", &self.state.is_some())
            .field("keeps_context", &self.keeps_context)
            .finish_non_exhaustive()
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        let kept = || pool::resume_inflate(self.context.as_ref()?.ticket);
        if let Some(state) = self.state.take().or_else(kept) {
            pool::put_inflate(state);
        }
    }
}

/// A message as it is inflated, in a buffer of the thread's pool. All bytes of the buffer are initialised,
/// because each was written before.
#[derive(Debug, Default)]
pub(crate) struct Inflated {
    buffer: Vec<u8>,
    len: usize,
}

impl Inflated {
    pub(crate) fn new() -> Self {
        Self { buffer: pool::take_buffer(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Frees room beyond twice the bytes that were inflated.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.len() > self.len * 2 {
            let inflated = self.as_slice().to_vec();
            pool::put_buffer(std::mem::replace(&mut self.buffer, inflated));
        }
    }

    /// Whether to give the buffer away instead of a copy.
    pub(crate) fn is_large(&self) -> bool {
        self.len > 32 << 10 && self.len > self.buffer.len() / 2
    }

    /// The bytes, in a vector that is at most twice as long.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        if self.is_large() {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.truncate(self.len);
            return buffer;
        }
        self.as_slice().to_vec()
    }

    /// Room for more bytes; none where the limit is reached.
    fn room(&mut self, coming: usize, limit: usize) -> &mut [u8] {
        if self.len == self.buffer.len() && self.len < limit {
            let more = self.buffer.len().max(FIRST_BUFFER).max(coming.saturating_mul(2));
            let grown = self.buffer.len().saturating_add(more).min(limit);
            self.buffer.reserve_exact(grown - self.buffer.len());
            self.buffer.resize(grown, 0);
        }
        let end = self.buffer.len().min(limit);
        self.buffer.get_mut(self.len..end).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Inflated {
    fn from(buffer: Vec<u8>) -> Self {
        Self { len: buffer.len(), buffer }
    }
}

impl Drop for Inflated {
    fn drop(&mut self) {
        pool::put_buffer(std::mem::take(&mut self.buffer));
    }
}
