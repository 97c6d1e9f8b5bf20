//! permessage-deflate: messages compressed one by one ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)).
//!
//! - [`DeflateOptions`] are the wishes of one end. Both ends agree on [`DeflateParameters`]: a server by
//!   [`Upgrade::accept_deflate`](crate::handshake::server::Upgrade::accept_deflate), a client by
//!   [`Handshake::offer_deflate`](crate::handshake::client::Handshake::offer_deflate).
//! - With an [`Inflater`] a [`Decoder`](crate::Decoder) reads compressed messages.
//! - A [`Deflater`] writes compressed frames.
//!
//! A [`WebSocketStream`](crate::WebSocketStream) does all of it where
//! [`Config::deflate`](crate::Config::deflate) is set.
//!
//! # Context takeover
//!
//! A compressor may refer to the messages before (*context takeover*). This makes small messages that are
//! alike much smaller, and costs both ends memory for as long as the connection lasts. Without it each
//! message stands by itself: the memory belongs to the thread and serves all its connections in turn, and one
//! compressed message serves many connections ([`Prepared`](crate::Prepared)). By default no context is taken
//! over.
//!
//! # Memory
#![doc = include_str!("memory.md")]
//!
//! # Limits
//!
//! [`Limits::max_message_bytes`](crate::Limits::max_message_bytes) bounds the inflated message while it is
//! inflated. A message over the limit is refused (with 1009) at the first byte over it, and no buffer is
//! larger than the limit. [`max_frame_bytes`](crate::Limits::max_frame_bytes) bounds the compressed frames.

mod deflater;
mod extensions;
mod inflater;
mod negotiation;
mod pool;
mod recent;

pub use deflater::Deflater;
pub use inflater::Inflater;
pub(crate) use inflater::{InflateError, Inflated};
pub(crate) use negotiation::{Answer, accept, check_answer, offer};

use crate::Role;

/// The wishes of one end for permessage-deflate. Both ends agree on [`DeflateParameters`] by them.
///
/// ```
/// use switchboard_websocket::deflate::DeflateOptions;
///
/// let options = DeflateOptions::default().context_takeover(true).level(6);
/// assert!(!options.server_no_context_takeover);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeflateOptions {
    /// The server's messages are each compressed by itself. A server tells the client so; a client asks for
    /// it. Default true.
    pub server_no_context_takeover: bool,
    /// The client's messages are each compressed by itself. A server demands it; a client promises it.
    /// Default true.
    pub client_no_context_takeover: bool,
    /// The largest distance that the server's compressor refers back to, as a power of two: 9 to 15 (other
    /// numbers count as the nearest of these). A server keeps to it. A client asks for it, and a server that
    /// cannot keep to it declines compression. Default 15.
    pub server_max_window_bits: u8,
    /// The largest distance that the client's compressor refers back to, as a power of two: 9 to 15. A client
    /// keeps to it. A server demands it of clients that know the parameter, and takes other clients without
    /// it. Default 15.
    pub client_max_window_bits: u8,
    /// Payloads with fewer bytes are not compressed. Default 1024, as in `ws` and Engine.IO: below it the
    /// network seldom gains as much as compression costs.
    pub threshold: usize,
    /// The effort of the compressor: 0 (none), 1 (fast) to 9 (small). Default 1. It leaves 34 % of a JSON of
    /// 1 KiB in 2.4 µs, and 6 leaves 27 % in 8.8 µs (without context; `cargo bench --bench deflate`).
    pub level: u8,
    /// The memory in which the compressor finds common bytes, besides its window: 1 to 9. Default 8, as in
    /// zlib.
    pub memory_level: u8,
}

impl DeflateOptions {
    /// The default options, for use in constants.
    pub const DEFAULT: Self = Self {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
        threshold: 1024,
        level: 1,
        memory_level: 8,
    };

    /// The same options with context taken over by both ends, or by none.
    #[must_use]
    pub const fn context_takeover(mut self, takeover: bool) -> Self {
        self.server_no_context_takeover = !takeover;
        self.client_no_context_takeover = !takeover;
        self
    }

    /// The same options with another bound for the windows of both ends.
    #[must_use]
    pub const fn max_window_bits(mut self, bits: u8) -> Self {
        self.server_max_window_bits = bits;
        self.client_max_window_bits = bits;
        self
    }

    /// The same options with another threshold.
    #[must_use]
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// The same options with another level.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// The same options with another memory level.
    #[must_use]
    pub const fn memory_level(mut self, level: u8) -> Self {
        self.memory_level = level;
        self
    }

    /// The same options, with each number set to the nearest one that is allowed.
    fn clamped(mut self) -> Self {
        self.server_max_window_bits = self.server_max_window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        self.client_max_window_bits = self.client_max_window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        self.level = self.level.min(9);
        self.memory_level = self.memory_level.clamp(1, 9);
        self
    }
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The smallest window that is compressed with. RFC 7692 also knows a window of 8 bits, but zlib does not: a
/// compressor that announces 8 and uses 9 writes messages that others cannot read.
const MIN_WINDOW_BITS: u8 = 9;
/// The largest window.
const MAX_WINDOW_BITS: u8 = 15;

/// The parameters that both ends agreed on (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeflateParameters {
    /// The server's messages refer to nothing before them.
    pub server_no_context_takeover: bool,
    /// The client's messages refer to nothing before them.
    pub client_no_context_takeover: bool,
    /// The largest distance that the server's messages refer back to, as a power of two: 8 to 15.
    pub server_max_window_bits: u8,
    /// The largest distance that the client's messages refer back to, as a power of two: 8 to 15.
    pub client_max_window_bits: u8,
}

impl DeflateParameters {
    /// Whether the messages of this end refer to nothing before them.
    pub const fn sends_without_context(&self, role: Role) -> bool {
        match role {
            Role::Server => self.server_no_context_takeover,
            Role::Client => self.client_no_context_takeover,
        }
    }

    /// The largest distance that this end's compressor may refer back to, as a power of two.
    pub const fn send_window_bits(&self, role: Role) -> u8 {
        match role {
            Role::Server => self.server_max_window_bits,
            Role::Client => self.client_max_window_bits,
        }
    }
}
