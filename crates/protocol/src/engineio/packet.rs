//! One Engine.IO packet, as a WebSocket text frame or one element of a polling payload carries it:
//! a digit for the type, then the data. Protocol 4, section "Packet encoding".

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};

/// An Engine.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the server's handshake. Its data is the JSON of [`OpenPacket`](super::OpenPacket).
    Open(&'a str),
    /// `1`: the sender closes the session.
    Close,
    /// `2`: a heartbeat; with `probe` on another transport, the start of an upgrade.
    Ping(&'a str),
    /// `3`: the answer to a ping, with the ping's data.
    Pong(&'a str),
    /// `4`: a message.
    Message(&'a str),
    /// A binary message. It is a binary frame on WebSocket, and `b` and base64 where only text can be sent.
    Binary(Cow<'a, [u8]>),
    /// `5`: the client moves the session to the transport of this packet.
    Upgrade,
    /// `6`: nothing; it releases a pending poll.
    Noop,
}

/// Why a packet or a payload could not be decoded. Node closes the session with `parse error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A packet without a type. An empty payload is one such packet.
    #[error("empty packet")]
    Empty,
    /// The first byte names no packet type.
    #[error("unknown packet type {0:#04x}")]
    UnknownType(u8),
    /// The text after `b` is not base64.
    #[error("binary packet is not base64")]
    Base64,
    /// A length before a packet of a payload of protocol 3 is no number, or not that of the packet.
    #[error("malformed length in a payload")]
    Length,
    /// The text of a packet in a binary payload of protocol 3 is not UTF-8.
    #[error("text of a payload is not UTF-8")]
    Utf8,
    /// The data of an open packet is not the expected JSON.
    #[error("malformed open packet")]
    Open,
}

impl<'a> Packet<'a> {
    /// Decodes the text of one packet.
    ///
    /// Data after a `1`, `5` or `6` is ignored, as in Node. A client that must not send binary frames sends
    /// `b` and base64 on WebSocket too.
    ///
    /// # Errors
    /// [`DecodeError`] if the text is empty, has an unknown type, or is not base64 after `b`.
    #[inline]
    pub fn decode_text(text: &'a str) -> Result<Self, DecodeError> {
        let Some((&kind, _)) = text.as_bytes().split_first() else {
            return Err(DecodeError::Empty);
        };
        // If this is not a character boundary, the first character is not ASCII, so it is not a type.
        let Some(data) = text.get(1..) else {
            return Err(DecodeError::UnknownType(kind));
        };
        Ok(match kind {
            b'4' => Self::Message(data),
            b'0' => Self::Open(data),
            b'1' => Self::Close,
            b'2' => Self::Ping(data),
            b'3' => Self::Pong(data),
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            b'b' => Self::Binary(Cow::Owned(decode_base64(data)?)),
            _ => return Err(DecodeError::UnknownType(kind)),
        })
    }

    /// Appends the packet's text to `out`. A binary packet is written as `b` and base64.
    #[inline]
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        let (kind, data) = match self {
            Self::Message(data) => (b'4', *data),
            Self::Open(data) => (b'0', *data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', *data),
            Self::Pong(data) => (b'3', *data),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
            Self::Binary(bytes) => return encode_base64(b"b", bytes, out),
        };
        out.push(kind);
        out.extend_from_slice(data.as_bytes());
    }
}

/// Appends `head` and the base64 of `bytes`.
pub(super) fn encode_base64(head: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    let encoded = bytes.len().div_ceil(3).saturating_mul(4);
    out.extend_from_slice(head);
    let start = out.len();
    out.resize(start + encoded, b'=');
    if let Some(room) = out.get_mut(start..) {
        // There is exactly the room that padded base64 takes, so this cannot fail. If it failed, the written
        // part would be kept and the rest cut off.
        let written = general_purpose::STANDARD.encode_slice(bytes, room).unwrap_or(0);
        out.truncate(start + written);
    }
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Decodes base64 as Node does, as long as no data is lost: either alphabet, with or without padding, with
/// white space in between. Node also skips all other characters, which would give a message that nobody sent.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    if let Ok(bytes) = LENIENT_STANDARD.decode(text) {
        return Ok(bytes);
    }
    let plain: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    LENIENT_STANDARD.decode(plain).map_err(|_| DecodeError::Base64)
}
