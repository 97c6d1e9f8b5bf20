//! A message for many connections, encoded once for all of them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{Opcode, OwnedMessage, encode_frame, frame::MAX_HEADER};

/// The window sizes that a frame may be compressed for: 9 to 15 bits.
const WINDOWS: usize = 7;

/// A text or binary message as a frame that any number of server connections send by reference: see
/// [`WebSocketStream::feed_prepared`](crate::WebSocketStream::feed_prepared).
///
/// Connections that agreed on compression without context takeover for the server share a compressed frame
/// too. It is made when the first of them sends it, once for each window size. Two kinds of connections get a
/// frame of their own: a client masks each frame with a new key, and a compressor that keeps context refers
/// to its own earlier messages.
///
/// A clone costs a reference count.
///
/// ```
/// use switchboard_websocket::Prepared;
///
/// let news = Prepared::text("hello");
/// assert_eq!(news.frame(), &b"\x81\x05hello"[..]);
/// ```
#[derive(Clone)]
pub struct Prepared {
    encoded: Arc<Encoded>,
}

struct Encoded {
    opcode: Opcode,
    frame: Bytes,
    payload: Bytes,
    /// The compressed frame for each window. It is empty where compression did not make the message shorter.
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
        Self { encoded: Arc::new(Encoded { opcode, frame, payload, deflated: Default::default() }) }
    }

    /// The whole frame as a server sends it, not compressed.
    pub fn frame(&self) -> &Bytes {
        &self.encoded.frame
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.encoded.payload
    }

    /// The opcode: text or binary.
    pub fn opcode(&self) -> Opcode {
        self.encoded.opcode
    }

    /// A copy of the message, for one connection.
    pub(crate) fn to_message(&self) -> OwnedMessage {
        let payload = self.payload().to_vec();
        match self.opcode() {
            // The payload was made of text.
            Opcode::Text => OwnedMessage::Text(String::from_utf8(payload).unwrap_or_default()),
            _ => OwnedMessage::Binary(payload),
        }
    }

    /// The frame that is compressed for a window. `deflate` makes it for the first connection that asks.
    /// Where it is not shorter, this is the plain frame.
    pub(crate) fn deflated(&self, window_bits: u8, deflate: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        let slot = usize::from(window_bits).checked_sub(9).and_then(|at| self.encoded.deflated.get(at));
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
