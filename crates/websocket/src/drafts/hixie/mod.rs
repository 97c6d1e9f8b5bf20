//! The earlier drafts, hixie-75 and hixie-76 (`draft-hixie-thewebsocketprotocol`; the latter is also
//! hybi-00).
//!
//! - [`Upgrade`] checks a request and writes the answer. In hixie-76 the answer has a body, which answers the
//!   [`Challenge`]. The client sends eight bytes for it behind its head. Send the head of the answer before
//!   these bytes come, because some proxies hold them back until they have seen it.
//! - [`Decoder`], [`encode_text`] and [`encode_close`] are the framing of both drafts: text between `00` and
//!   `FF`, no other messages, no pings, and `FF 00` for a close without a code. hixie-75 has no close: its
//!   connections just end.

mod decode;
mod handshake;

pub use decode::Decoder;
pub use handshake::{Challenge, KEY_BODY_BYTES, Upgrade, Version};

/// The byte that begins a text frame.
const TEXT: u8 = 0x00;
/// The byte that ends a text frame, and that begins a close. No UTF-8 has it.
const END: u8 = 0xFF;

/// Appends a text frame.
pub fn encode_text(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(TEXT);
    out.extend_from_slice(text.as_bytes());
    out.push(END);
}

/// Appends a close. It carries neither a code nor a reason.
pub fn encode_close(out: &mut Vec<u8>) {
    out.extend_from_slice(&[END, 0]);
}
