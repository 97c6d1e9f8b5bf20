//! Reading compressed messages (RFC 7692 §7.2.2), as their bytes come.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{
    DeflateParameters, MAX_WINDOW_BITS, pool,
    recent::{History, Ticket},
};
use crate::Role;

/// What a sender takes off the end of each message, and a receiver puts back (§7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// An empty block that is the last: a message that is whole before it is at its end behind it.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// The first buffer for what is inflated.
const FIRST_BUFFER: usize = 4 << 10;

/// Inflates what the peer compressed: to be given to a [`Decoder`](crate::Decoder).
///
/// It holds nothing until a compressed message comes. Then it holds zlib's state, [which is some 48 KiB](super), for as long as the message
/// comes. Where the peer takes context over, it holds the end of what has come for good, and the state as one of the thread's busiest.
pub struct Inflater {
    /// Of the message in progress.
    state: Option<Box<Inflate>>,
    /// What was before, where there is anything.
    context: Option<Box<Context>>,
    keeps_context: bool,
    /// How far back the peer may refer, as a power of two.
    window_bits: u8,
    /// The message in progress has brought no byte yet.
    is_empty: bool,
    /// What has come ends with a block that says it is the last.
    is_at_end: bool,
    /// The last compressed bytes that have come of the message.
    last: [u8; TAIL.len()],
}

/// What an inflater remembers.
struct Context {
    /// Finds the state that knows all of it, if the thread still has that.
    ticket: Ticket,
    history: History,
    /// Where in the message in progress that begins which may be referred to.
    from: usize,
}

/// Why a message does not inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// It is no deflate data.
    Malformed,
    /// It is more than the limit.
    TooLarge,
}

impl Inflater {
    /// An inflater for what the peer of this end sends.
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

    /// Inflates what is left when all bytes of a message have come.
    pub(crate) fn finish(&mut self, out: &mut Inflated, limit: usize) -> Result<(), InflateError> {
        // A message is the byte 00 if it is empty (§7.2.3.6); one without any byte is taken for that.
        let is_empty = std::mem::replace(&mut self.is_empty, true);
        // A message that ends with a last block, without the byte that should follow it (§7.2.3.4), is whole too.
        let is_at_end = std::mem::take(&mut self.is_at_end);
        // Some senders leave the tail where it is, and zlib takes it twice without an error.
        let has_tail = std::mem::take(&mut self.last) == TAIL;
        if !is_empty && !is_at_end {
            self.run(&TAIL, out, limit)?;
            if !self.keeps_context {
                self.check_whole(has_tail, out, limit)?;
            }
        }
        if let Some(state) = self.state.take() {
            if self.keeps_context {
                // Behind a second tail the state is within a block that does not go on.
                self.remember((!has_tail).then_some(state), out.as_slice());
            } else {
                pool::put_inflate(state);
            }
        }
        Ok(())
    }

    /// Fails if a message was cut short. It uses up the state, so that this is asked only where nothing needs the state
    /// any more.
    fn check_whole(&mut self, has_tail: bool, out: &mut Inflated, limit: usize) -> Result<(), InflateError> {
        match self.run(&LAST_BLOCK, out, limit) {
            Ok(()) if std::mem::take(&mut self.is_at_end) => Ok(()),
            // It ends with a flush, so that all before it was inflated.
            Err(InflateError::Malformed) if has_tail => Ok(()),
            Ok(()) => Err(InflateError::Malformed),
            Err(error) => Err(error),
        }
    }

    /// Keeps the last bytes of the message as it came.
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

    /// A state that knows what was before, if there is anything.
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

    /// Remembers a message; without a state, the next one is inflated with a state that is made again.
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
                // What follows a last block is a stream of its own (§7.2.3.4).
                state.reset(false);
                if self.keeps_context {
                    let context = self.context.get_or_insert_with(Context::new);
                    context.history.clear();
                    context.from = out.len;
                }
            } else if taken == 0 && given == 0 && !input.is_empty() {
                return Err(InflateError::Malformed);
            }
            // Where the room was just enough, zlib may hold back more.
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

/// A message as it is inflated, in a buffer of the thread's pool. All of the buffer was written some time, so that
/// it can be written again without making it.
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

    /// Memory that is held.
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

    /// Whether it is better given away than copied.
    pub(crate) fn is_large(&self) -> bool {
        self.len > 32 << 10 && self.len > self.buffer.len() / 2
    }

    /// The bytes, in a vector at most twice as long.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        if self.is_large() {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.truncate(self.len);
            return buffer;
        }
        self.as_slice().to_vec()
    }

    /// Room to write more in: some, unless the limit is reached.
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
