//! Compressed messages are written here (RFC 7692 §7.2.1).

use std::fmt;

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateFlush};

use super::{
    DeflateOptions, DeflateParameters, MIN_WINDOW_BITS,
    pool::{self, DeflateKind},
    recent::{History, Ticket},
};
use crate::{FrameHeader, Opcode, Prepared, Role, encode_frame, encode_frame_masked, mask};

/// The end of each compressed message, which is not sent.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// An empty message (§7.2.3.6).
const EMPTY: [u8; 1] = [0x00];
/// The number of bytes that a compressor refers back to when its tables were made again. A quarter of the
/// largest window costs a quarter of the time and the memory. Messages that are alike mostly follow each
/// other.
const HISTORY: usize = 8 << 10;
/// For a message of at most so many bytes, the output buffer has room for the worst case.
const SURE_FIT: usize = 64 << 10;

/// Compresses the messages that this end sends.
///
/// It holds nothing until it compresses. From then on, where context is taken over, it holds the end of the
/// text that it compressed, until [`forget`](Self::forget) or until it is dropped. zlib's state, [of several
/// hundred KiB](super), belongs to the thread. The thread keeps the states of the connections that were busy
/// last. The state of a connection that often changes its thread is made anew each time.
pub struct Deflater {
    /// The earlier messages, where there are any.
    context: Option<Box<Context>>,
    kind: DeflateKind,
    keeps_context: bool,
    threshold: usize,
}

/// The memory of earlier messages.
struct Context {
    /// Finds the state that knows all of them, if the thread still has it.
    ticket: Ticket,
    history: History,
}

impl Deflater {
    /// A compressor for the messages that this end sends.
    ///
    /// It compresses nothing where a server bounds a client's window to 8 bits, because zlib has no window so
    /// small.
    pub fn new(role: Role, parameters: DeflateParameters, options: &DeflateOptions) -> Self {
        let options = options.clamped();
        let window_bits = parameters.send_window_bits(role);
        let kind = DeflateKind { window_bits, level: options.level, memory_level: options.memory_level };
        let keeps_context = !parameters.sends_without_context(role);
        let threshold = if window_bits < MIN_WINDOW_BITS { usize::MAX } else { options.threshold };
        Self { context: None, kind, keeps_context, threshold }
    }

    /// Appends a message as one frame, masked if `key` is given. The message is compressed, except where it
    /// is below the threshold, and where compression does not make it smaller and no context depends on it.
    ///
    /// Send the frames in the order in which they were encoded.
    pub fn encode_frame(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
        self.compress(opcode, payload, |compressed| match (compressed, key) {
            (Some(compressed), key) => {
                let mut header = FrameHeader::new(opcode, compressed.len()).rsv1();
                if let Some(key) = key {
                    header = header.masked(key);
                    mask(compressed, key, 0);
                }
                out.reserve(header.as_bytes().len() + compressed.len());
                out.extend_from_slice(header.as_bytes());
                out.extend_from_slice(compressed);
            }
            (None, None) => encode_frame(out, opcode, payload),
            (None, Some(key)) => encode_frame_masked(out, opcode, payload, key),
        });
    }

    /// Gives the payload of a compressed frame to `take`, or `None` if the message is sent without
    /// compression.
    pub(crate) fn compress<T>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        take: impl FnOnce(Option<&mut [u8]>) -> T,
    ) -> T {
        if opcode.is_control() || payload.len() < self.threshold {
            return take(None);
        }
        if payload.is_empty() {
            return take(Some(&mut { EMPTY }));
        }
        let mut state = self.resume();
        let mut buffer = pool::take_buffer();
        let len = deflate(&mut state, payload, &mut buffer);
        let helps = len.is_some_and(|len| self.keeps_context || len < payload.len());
        let compressed = len.filter(|_| helps).and_then(|len| buffer.get_mut(..len));
        // Later messages must not refer to a message that is not sent in this form.
        if self.keeps_context && compressed.is_some() {
            self.remember(state, payload);
        } else {
            self.context = None;
            pool::put_deflate(self.kind, state);
        }
        let taken = take(compressed);
        pool::put_buffer(buffer);
        taken
    }

    /// A state that refers to the earlier messages, if there are any.
    #[expect(clippy::unnecessary_box_returns, reason = "it is the box that is kept")]
    fn resume(&self) -> Box<Deflate> {
        let Some(context) = &self.context else { return pool::take_deflate(self.kind) };
        pool::resume_deflate(context.ticket).unwrap_or_else(|| {
            let mut state = pool::take_deflate(self.kind);
            // A state that does not take the dictionary refers to nothing, which is right too.
            let _taken = state.set_dictionary(context.history.last(self.history()));
            state
        })
    }

    fn history(&self) -> usize {
        HISTORY.min(1 << self.kind.window_bits)
    }

    fn remember(&mut self, state: Box<Deflate>, payload: &[u8]) {
        let length = self.history();
        let new = || Box::new(Context { ticket: Ticket::new(), history: History::default() });
        let context = self.context.get_or_insert_with(new);
        context.history.push(payload, length);
        pool::keep_deflate(&mut context.ticket, self.kind, state);
    }

    /// The frame of a message for many connections, in the form of this connection, if other connections
    /// share it. Where context is kept no frame is shared.
    pub fn prepared<'a>(&self, message: &'a Prepared) -> Option<&'a Bytes> {
        if self.keeps_context {
            return None;
        }
        if !self.compresses(message.payload().len()) {
            return Some(message.frame());
        }
        let mut once =
            Self { context: None, kind: self.kind, keeps_context: false, threshold: self.threshold };
        Some(message.deflated(self.kind.window_bits, |message| {
            once.compress(message.opcode(), message.payload(), |compressed| match compressed {
                Some(compressed) => {
                    let header = FrameHeader::new(message.opcode(), compressed.len()).rsv1();
                    [header.as_bytes(), compressed].concat().into()
                }
                None => Bytes::new(),
            })
        }))
    }

    /// Forgets the earlier messages and frees their memory: the next message refers to nothing before it.
    /// Call it where the peer was sent a compressed message that another compressor made, and where the
    /// memory is worth more than the compression. The peer need not know of it.
    pub fn forget(&mut self) {
        if let Some(context) = self.context.take()
            && let Some(state) = pool::resume_deflate(context.ticket)
        {
            pool::put_deflate(self.kind, state);
        }
    }

    /// Whether it holds memory between messages.
    pub fn holds_state(&self) -> bool {
        self.context.is_some()
    }

    /// Whether its messages refer to the messages before them.
    pub fn keeps_context(&self) -> bool {
        self.keeps_context
    }

    /// Whether a message of this length is compressed.
    pub fn compresses(&self, len: usize) -> bool {
        len >= self.threshold
    }
}

/// Compresses into `buffer`, which it makes long enough. Returns the number of bytes without the tail.
fn deflate(state: &mut Deflate, mut input: &[u8], buffer: &mut Vec<u8>) -> Option<usize> {
    let first = if input.len() <= SURE_FIT { input.len() + input.len() / 8 + 64 } else { input.len() / 2 };
    if buffer.len() < first {
        buffer.resize(first, 0);
    }
    let mut len = 0;
    loop {
        let before = (state.total_in(), state.total_out());
        let room = buffer.get_mut(len..).unwrap_or_default();
        let full = room.len();
        state.compress(input, room, DeflateFlush::SyncFlush).ok()?;
        let taken = (state.total_in() - before.0) as usize;
        let given = (state.total_out() - before.1) as usize;
        input = input.get(taken..).unwrap_or_default();
        len += given;
        if input.is_empty() && given < full {
            break;
        }
        buffer.resize(buffer.len() * 2, 0);
    }
    buffer.get(..len)?.strip_suffix(&TAIL).map(<[u8]>::len)
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("holds_state", &self.context.is_some())
            .field("keeps_context", &self.keeps_context)
            .field("kind", &self.kind)
            .field("threshold", &self.threshold)
            .finish()
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        self.forget();
    }
}
