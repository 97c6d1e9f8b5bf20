//! Engine.IO protocol 3, of Socket.IO 1 and 2, as far as it differs from protocol 4: binary packets, payloads,
//! and texts that were encoded twice.
//!
//! The packets and the rules of a session are those of protocol 4. Clients that announce protocol 2 (browser
//! builds of Socket.IO 1.0) speak protocol 3. The behaviour is that of engine.io 6.6 with `allowEIO3`; see the
//! protocol's document, `docs/engine.io-protocol/v3.md` in the `socketio/socket.io` repository.

pub mod payload;
mod text;

use std::borrow::Cow;

use super::packet::{DecodeError, Packet};

pub use text::{Encoding, TextDecoder};

/// The byte before the data of a binary packet: the type of a message.
const BINARY_MESSAGE: u8 = 4;

/// Whether a request's query has the time stamp of clients up to Socket.IO 1.3: `t=<milliseconds>-<number>`. Later
/// ones write it in another form.
pub fn is_early(query: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        let stamp = value.split_once('-').filter(|_| name == "t");
        stamp.is_some_and(|(time, number)| is_number(time) && is_number(number))
    })
}

/// Decodes the text of one packet. It differs from [`Packet::decode_text`] in base64: `b` is followed by the
/// packet's type, which is `4`.
///
/// # Errors
/// [`DecodeError`] if the text is empty, has an unknown type, or is not `b4` and base64.
pub fn decode_text(text: &str) -> Result<Packet<'_>, DecodeError> {
    let Some(rest) = text.strip_prefix('b') else { return Packet::decode_text(text) };
    match rest.as_bytes().first() {
        Some(b'4') => {
            let base64 = rest.get(1..).unwrap_or_default();
            Ok(Packet::Binary(Cow::Owned(super::packet::decode_base64(base64)?)))
        }
        Some(&kind) => Err(DecodeError::UnknownType(kind)),
        None => Err(DecodeError::Empty),
    }
}

/// Decodes a binary packet: of a WebSocket's binary message, or of a binary payload. Its first byte is the
/// type of a message.
///
/// # Errors
/// [`DecodeError`] if it is empty or no message. (Node reads other types too; no client sends them in binary.)
pub fn decode_binary(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    match bytes.split_first() {
        Some((&BINARY_MESSAGE, data)) => Ok(Packet::Binary(Cow::Borrowed(data))),
        Some((&kind, _)) => Err(DecodeError::UnknownType(kind)),
        None => Err(DecodeError::Empty),
    }
}

/// Appends the packet's text to `out`. A binary packet is written as `b4` and base64.
pub fn encode_text(packet: &Packet<'_>, out: &mut Vec<u8>) {
    match packet {
        Packet::Binary(bytes) => super::packet::encode_base64(b"b4", bytes, out),
        other => other.encode_text(out),
    }
}

/// Appends a binary message as a binary message of a WebSocket carries it: the byte `04`, then the data.
pub fn encode_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 1);
    out.push(BINARY_MESSAGE);
    out.extend_from_slice(bytes);
}
