//! The framing of packets on a WebSocket connection: by RFC 6455, with or without compression, or by the
//! drafts hixie-75 and -76, whose frames are text only.

use super::deflate::{Compression, OwnDeflater};
use super::framing::{HIXIE, WEBSOCKET, write_binary, write_text};
use switchboard_hub::{Framing, Outbox};
use switchboard_websocket::drafts::{AnyDecoder, hixie};
use switchboard_websocket::{CloseCode, Decoder, Limits, Opcode, Role, encode_close, encode_frame};

/// The framing and compression that the WebSocket handshake agreed on.
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
}

impl Wire {
    /// The framing of the connection's packets, for [`Outbox::new`].
    pub fn framing(self) -> Framing {
        match self {
            Wire::Rfc6455 => WEBSOCKET,
            Wire::Deflate(compression) => compression.framing(),
            Wire::Hixie(_) => HIXIE,
        }
    }

    pub(crate) fn decoder(self, limits: Limits) -> AnyDecoder {
        match self {
            Wire::Rfc6455 => Decoder::new(Role::Server, limits).into(),
            Wire::Deflate(compression) => {
                Decoder::new(Role::Server, limits).with_inflater(compression.inflater()).into()
            }
            Wire::Hixie(_) => hixie::Decoder::new(limits).into(),
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
            Wire::Rfc6455 | Wire::Hixie(_) => None,
        }
    }

    /// The same wire without compression: uncompressed messages may stand between compressed ones at any
    /// time.
    pub(crate) fn uncompressed(self) -> Self {
        match self {
            Wire::Deflate(_) => Wire::Rfc6455,
            Wire::Rfc6455 | Wire::Hixie(_) => self,
        }
    }

    /// Appends a close. In the drafts a close has neither code nor reason.
    pub(crate) fn encode_close(self, out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
        match (self, code) {
            (Wire::Rfc6455 | Wire::Deflate(_), Some(code)) => encode_close(out, None, code, reason),
            (Wire::Rfc6455 | Wire::Deflate(_), None) => encode_frame(out, Opcode::Close, &[]),
            // Peers that do not know this frame skip it.
            (Wire::Hixie(_), _) => hixie::encode_close(out),
        }
    }

    /// Whether the peer answers a ping.
    pub(crate) fn has_pings(self) -> bool {
        !matches!(self, Wire::Hixie(_))
    }

    /// Whether the peer answers a close, other than by the end of the connection.
    pub(crate) fn answers_closes(self) -> bool {
        self != Wire::Hixie(hixie::Version::Hixie75)
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
