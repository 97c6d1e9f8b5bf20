//! permessage-deflate: messages compressed one by one ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)).
//!
//! - [`DeflateOptions`] is what an end wants, [`DeflateParameters`] what both agreed on:
//!   [`Upgrade::accept_deflate`](crate::handshake::server::Upgrade::accept_deflate) on a server,
//!   [`Handshake::offer_deflate`](crate::handshake::client::Handshake::offer_deflate) on a client;
//! - an [`Inflater`] makes a [`Decoder`](crate::Decoder) read compressed messages;
//! - a [`Deflater`] writes them as frames.
//!
//! A [`WebSocketStream`](crate::WebSocketStream) does all of it by [`Config::deflate`](crate::Config::deflate).
//!
//! # Context takeover
//!
//! Each end's compressor may refer to the messages before (*context takeover*), which makes small ones that
//! are alike much smaller, and costs both ends memory for as long as the connection lasts. Without it each message stands
//! by itself: the memory is the thread's and serves all its connections in turn, and one
//! compressed message serves many connections ([`Prepared`](crate::Prepared)). By default nothing is taken over.
//!
//! # Memory
//!
#![doc = include_str!("memory.md")]
//!
//! # Limits
//!
//! [`Limits::max_message_bytes`](crate::Limits::max_message_bytes) bounds a message as it is when inflated, and holds
//! while it is: a message over it is refused (with 1009) at the first byte that is too many, and no buffer is made
//! that is larger than the limit. [`max_frame_bytes`](crate::Limits::max_frame_bytes) bounds frames as they come.

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

/// What an end wants of permessage-deflate. As pleases both it becomes [`DeflateParameters`].
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
    /// The server's messages are compressed each by itself. A server tells the client so; a client asks for it.
    /// Default true.
    pub server_no_context_takeover: bool,
    /// The client's messages are compressed each by itself. A server demands it; a client promises it.
    /// Default true.
    pub client_no_context_takeover: bool,
    /// How far back the server's compressor refers at most, as a power of two: 9 to 15 (others are taken for the nearest).
    /// A server keeps to it; a client asks for it, and servers that cannot decline to compress. Default 15.
    pub server_max_window_bits: u8,
    /// How far back the client's compressor refers at most, as a power of two: 9 to 15. A client keeps to it; a
    /// server demands it of clients that can, and takes the others as they are. Default 15.
    pub client_max_window_bits: u8,
    /// Payloads with fewer bytes are sent as they are. Default 1024, as in `ws` and Engine.IO: below it the
    /// network seldom gains what compressing costs.
    pub threshold: usize,
    /// How hard the compressor tries: 0 (not at all), 1 (fast) to 9 (small). Default 1, which leaves 34 % of a JSON of
    /// 1 KiB in 2.4 µs, where 6 leaves 27 % in 8.8 µs (without context; `cargo bench --bench deflate`).
    pub level: u8,
    /// How much the compressor holds back to find common bytes in, 1 to 9, beside its window. Default 8, as in zlib.
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

    /// The same options with each number taken for the nearest that it may be.
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

/// The smallest window that is compressed with. RFC 7692 knows one of 8 too; zlib cannot, and a compressor
/// that says 8 and uses 9 writes what others cannot read.
const MIN_WINDOW_BITS: u8 = 9;
/// The largest window there is.
const MAX_WINDOW_BITS: u8 = 15;

/// What both ends agreed on (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeflateParameters {
    /// The server's messages refer to nothing before them.
    pub server_no_context_takeover: bool,
    /// The client's messages refer to nothing before them.
    pub client_no_context_takeover: bool,
    /// How far back the server's messages refer at most: 8 to 15.
    pub server_max_window_bits: u8,
    /// How far back the client's messages refer at most: 8 to 15.
    pub client_max_window_bits: u8,
}

impl DeflateParameters {
    /// Whether what this end sends refers to nothing before it.
    pub const fn sends_without_context(&self, role: Role) -> bool {
        match role {
            Role::Server => self.server_no_context_takeover,
            Role::Client => self.client_no_context_takeover,
        }
    }

    /// How far back this end's compressor may refer.
    pub const fn send_window_bits(&self, role: Role) -> u8 {
        match role {
            Role::Server => self.server_max_window_bits,
            Role::Client => self.client_max_window_bits,
        }
    }
}
