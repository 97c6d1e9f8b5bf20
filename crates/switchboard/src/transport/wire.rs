//! The framing of packets on a connection: by RFC 6455, with or without compression; by the drafts hixie-75
//! and -76, whose frames are text only; or as the body of a streaming answer.

use super::codec::Codec;
use super::deflate::{Compression, OwnDeflater};
use super::framing::{BYTES, CHUNKS, HIXIE, LAST_CHUNK, WEBSOCKET, write_binary, write_text};
use switchboard_hub::{Framing, Outbox};
use switchboard_websocket::drafts::hixie;
use switchboard_websocket::{CloseCode, Decoder, Limits, Opcode, Role, encode_close, encode_frame};

/// The framing of a connection's packets: that of a WebSocket, as its handshake agreed on, or of a streaming
/// answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// RFC 6455, or a draft with the same frames.
    #[default]
    Rfc6455,
    /// RFC 6455 with compressed messages.
    Deflate(Compression),
    /// The drafts hixie-75 and -76: text only, and no pings.
    Hixie(hixie::Version),
    /// The body of an answer over HTTP/1.1: each packet is a chunk. The peer sends nothing.
    Chunks,
    /// The body of an answer, which another server frames, or which ends with its connection. The peer sends
    /// nothing.
    Bytes,
}

impl Wire {
    /// The framing of the connection's packets, for [`Outbox::new`].
    pub fn framing(self) -> Framing {
        match self {
            Wire::Rfc6455 => WEBSOCKET,
            Wire::Deflate(compression) => compression.framing(),
            Wire::Hixie(_) => HIXIE,
            Wire::Chunks => CHUNKS,
            Wire::Bytes => BYTES,
        }
    }

    pub(crate) fn decoder(self, limits: Limits) -> Codec {
        match self {
            Wire::Rfc6455 => Codec::Rfc6455(Decoder::new(Role::Server, limits)),
            Wire::Deflate(compression) => {
                Codec::Rfc6455(Decoder::new(Role::Server, limits).with_inflater(compression.inflater()))
            }
            Wire::Hixie(_) => Codec::Hixie(Box::new(hixie::Decoder::new(limits))),
            Wire::Chunks | Wire::Bytes => Codec::Silent,
        }
    }

    /// Whether a message may arrive in fewer bytes than its length.
    pub(crate) fn is_compressed(self) -> bool {
        matches!(self, Wire::Deflate(_))
    }

    /// The compressor for messages to this client alone, if the connection has a context.
    pub(crate) fn own_deflater(self) -> Option<Box<OwnDeflater>> {
        match self {
            Wire::Deflate(compression) => compression.own(),
            Wire::Rfc6455 | Wire::Hixie(_) | Wire::Chunks | Wire::Bytes => None,
        }
    }

    /// The same wire without compression: uncompressed messages may stand between compressed ones at any
    /// time.
    pub(crate) fn uncompressed(self) -> Self {
        match self {
            Wire::Deflate(_) => Wire::Rfc6455,
            Wire::Rfc6455 | Wire::Hixie(_) | Wire::Chunks | Wire::Bytes => self,
        }
    }

    /// Appends a close. In the drafts a close has neither code nor reason, and in a streaming answer it is
    /// the end of the body.
    pub(crate) fn encode_close(self, out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
        match (self, code) {
            (Wire::Rfc6455 | Wire::Deflate(_), Some(code)) => encode_close(out, None, code, reason),
            (Wire::Rfc6455 | Wire::Deflate(_), None) => encode_frame(out, Opcode::Close, &[]),
            // Peers that do not know this frame skip it.
            (Wire::Hixie(_), _) => hixie::encode_close(out),
            (Wire::Chunks, _) => out.extend_from_slice(LAST_CHUNK),
            (Wire::Bytes, _) => {}
        }
    }

    /// Whether the peer answers a ping.
    pub(crate) fn has_pings(self) -> bool {
        matches!(self, Wire::Rfc6455 | Wire::Deflate(_))
    }

    /// Whether the peer answers a close, other than by the end of the connection.
    pub(crate) fn answers_closes(self) -> bool {
        !matches!(self, Wire::Hixie(hixie::Version::Hixie75) | Wire::Chunks | Wire::Bytes)
    }

    /// Whether binary messages can be sent.
    pub(crate) fn has_binary(self) -> bool {
        !matches!(self, Wire::Hixie(_))
    }
}

/// Appends a message to one client alone.
#[inline]
pub(crate) fn write_own(
    own: Option<&OwnDeflater>,
    outbox: &Outbox,
    out: &mut Vec<u8>,
    opcode: Opcode,
    bytes: &[u8],
) {
    // A message of a backlog may be dropped: none may refer to another one.
    if own.is_some() && outbox.has_backlog() {
        outbox.note_shared();
        return write_own(None, outbox, out, opcode, bytes);
    }
    match own {
        Some(deflater) => deflater.encode_frame(outbox, out, opcode, bytes),
        None if opcode == Opcode::Text => write_text(outbox.framing(), out, bytes),
        None => write_binary(outbox.framing(), out, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_is_laid_as_its_framing_has_it() {
        for (wire, code, bytes) in [
            (Wire::Rfc6455, Some(CloseCode::Normal), &b"\x88\x02\x03\xE8"[..]),
            (Wire::Rfc6455, None, b"\x88\x00"),
            (Wire::Hixie(hixie::Version::Hixie76), Some(CloseCode::Normal), b"\xFF\x00"),
            (Wire::Hixie(hixie::Version::Hixie75), None, b"\xFF\x00"),
        ] {
            let mut out = Vec::new();
            wire.encode_close(&mut out, code, "");
            assert_eq!(out, bytes, "{wire:?}");
        }
    }
}
