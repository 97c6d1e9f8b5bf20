//! Packets as [MessagePack](https://github.com/msgpack/msgpack/blob/master/spec.md), as
//! `socket.io-msgpack-parser` 3 writes them: each packet is one binary message, a map of `type` (0 to 4),
//! `nsp`, `data` and `id`. Other keys are skipped.
//!
//! [`decode`] turns the data into JSON, with placeholders for binary values, and [`encode`] turns it back. So
//! the rest of this crate reads it as it reads the packets of the default parser. The differences between the
//! two formats:
//!
//! - A number without a fraction is an integer in JSON. A number that is not finite is `null`.
//! - A date (the extension types -1 and 0) is the text that `JSON.stringify` makes of it in JavaScript.
//! - `undefined` (the extension type 0 in one byte) is left out of an object, and is `null` in an array.
//! - The content of an `ArrayBuffer` or a typed array (the extension type 0 in any other length) is binary.
//! - Any other extension is an array of its type and its bytes, as in Node.
//! - Bytes of a text that are not UTF-8 are replaced by U+FFFD.

mod date;
mod decode;
mod encode;
mod read;

pub use decode::{MsgPackLimits, decode};
pub use encode::encode;

use super::error::DecodeError;

/// The reason why bytes are not a packet. Node closes the connection with `parse error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgPackError {
    /// The bytes end within a value.
    #[error("the packet ends within a value")]
    Truncated,
    /// Bytes follow the packet.
    #[error("{0} bytes follow the packet")]
    Trailing(usize),
    /// The byte 0xc1, which begins no value.
    #[error("the byte 0xc1 begins no value")]
    Reserved,
    /// A part of the packet is missing or has a wrong type.
    #[error("the packet's `{0}` is missing or of a wrong type")]
    Part(&'static str),
    /// The key of a map is neither text nor an integer.
    #[error("the key of a map is neither text nor an integer")]
    Key,
    /// The data nests too deep.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The greatest number of levels allowed.
        limit: usize,
    },
    /// The data has too many binary values.
    #[error("more than {limit} binary values")]
    TooManyBinaryValues {
        /// The greatest number allowed.
        limit: usize,
    },
    /// The packet's parts do not fit together.
    #[error(transparent)]
    Packet(#[from] DecodeError),
}
