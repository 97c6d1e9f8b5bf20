//! The earlier drafts, hixie-75 and hixie-76 (`draft-hixie-thewebsocketprotocol`, the latter also hybi-00).
//!
//! - [`Upgrade`] judges a request and writes the answer. In hixie-76 the answer has a body, the
//!   [`Challenge`]'s, for which the client sends eight bytes behind its head. The head of the answer is to be
//!   sent before these come: some proxies hold them back until they have seen it.
//! - [`Decoder`], [`encode_text`] and [`encode_close`] are the framing, which is the same in both: text
//!   between `00` and `FF`, nothing but text, no pings, and `FF 00` for a close without a code (which
//!   hixie-75 does not know: its connections just end).

mod decode;
mod handshake;

pub use decode::Decoder;
pub use handshake::{Challenge, KEY_BODY_BYTES, Upgrade, Version};

/// The byte that begins a text frame.
const TEXT: u8 = 0x00;
/// The byte that ends a text frame, which no UTF-8 has, and that begins a close.
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
