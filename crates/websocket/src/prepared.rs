//! A message that many connections send, encoded once for all of them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{Opcode, OwnedMessage, encode_frame, frame::MAX_HEADER};

/// Windows that a frame may be compressed for: of 9 to 15 bits.
const WINDOWS: usize = 7;

/// A text or binary message as a frame that any number of server connections send, each by reference: see
/// [`WebSocketStream::feed_prepared`](crate::WebSocketStream::feed_prepared).
///
/// Connections that agreed on compression without context takeover for the server share a compressed
/// frame too, which is made when the first of them sends it, once for each window size that occurs. What is peculiar to
/// a connection is encoded for it: a client masks each frame with a key of its own, and a compressor that
/// keeps context writes what no other can.
///
/// Cloning it costs a reference count.
///
/// ```
/// use switchboard_websocket::Prepared;
///
/// let news = Prepared::text("hello");
/// assert_eq!(news.frame(), &b"\x81\x05hello"[..]);
/// ```
#[derive(Clone)]
pub struct Prepared {
    inner: Arc<Inner>,
}

struct Inner {
    opcode: Opcode,
    frame: Bytes,
    payload: Bytes,
    /// Compressed frames by window; an empty one was no shorter.
    deflated: [OnceLock<Bytes>; WINDOWS],
}

impl Prepared {
    /// A text message.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::new(Opcode::Text, text.as_ref().as_bytes())
    }

    /// A binary message.
    pub fn binary(bytes: impl AsRef<[u8]>) -> Self {
        Self::new(Opcode::Binary, bytes.as_ref())
    }

    fn new(opcode: Opcode, payload: &[u8]) -> Self {
        let mut frame = Vec::with_capacity(MAX_HEADER + payload.len());
        encode_frame(&mut frame, opcode, payload);
        let frame = Bytes::from(frame);
        let payload = frame.slice(frame.len() - payload.len()..);
        Self { inner: Arc::new(Inner { opcode, frame, payload, deflated: Default::default() }) }
    }

    /// The whole frame as a server sends it, not compressed.
    pub fn frame(&self) -> &Bytes {
        &self.inner.frame
    }

    /// The message itself.
    pub fn payload(&self) -> &Bytes {
        &self.inner.payload
    }

    /// Whether it is text or binary.
    pub fn opcode(&self) -> Opcode {
        self.inner.opcode
    }

    /// The message as one connection would get it alone: a copy.
    pub(crate) fn to_message(&self) -> OwnedMessage {
        let payload = self.payload().to_vec();
        match self.opcode() {
            // It was made of text.
            Opcode::Text => OwnedMessage::Text(String::from_utf8(payload).unwrap_or_default()),
            _ => OwnedMessage::Binary(payload),
        }
    }

    /// The frame compressed for a window, made with `deflate` when it is first asked for; the plain frame where
    /// that is no longer.
    pub(crate) fn deflated(&self, window_bits: u8, deflate: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        let slot = usize::from(window_bits).checked_sub(9).and_then(|at| self.inner.deflated.get(at));
        let deflated = slot.map(|slot| slot.get_or_init(|| deflate(self)));
        deflated.filter(|frame| !frame.is_empty()).unwrap_or(self.frame())
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("opcode", &self.opcode())
            .field("bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
