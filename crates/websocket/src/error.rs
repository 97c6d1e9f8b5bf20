//! The rules that a peer can break, and the close code that answers each.

use thiserror::Error;

use crate::{CloseCode, Opcode};

/// A peer broke the protocol or a limit. The connection is over: send a Close frame with the
/// [`close_code`](Self::close_code), and end it (RFC 6455 §7.1.7, "fail the connection").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set. No extension that was negotiated defines the bit for this frame (§5.2).
    #[error("reserved bits {bits:03b} are set without a meaning")]
    ReservedBits {
        /// RSV1, RSV2 and RSV3. RSV1 is the highest of the three bits.
        bits: u8,
    },
    /// An opcode that the standard keeps for later (§5.2).
    #[error("opcode {opcode:#x} is reserved")]
    ReservedOpcode {
        /// The four bits as they came.
        opcode: u8,
    },
    /// In the [hixie](crate::drafts::hixie) drafts: a frame that is neither text nor a close.
    #[error("a frame of type {kind:#04x} is neither text nor a close")]
    UnknownFrame {
        /// The first byte of the frame; or 0xFF where a close had a length other than 0.
        kind: u8,
    },
    /// A client's frame came without a mask (§5.1).
    #[error("a client's frame is not masked")]
    UnmaskedFrame,
    /// A server's frame came with a mask (§5.1).
    #[error("a server's frame is masked")]
    MaskedFrame,
    /// A control frame without FIN (§5.5).
    #[error("a {opcode:?} frame is fragmented")]
    FragmentedControl {
        /// Which control frame.
        opcode: Opcode,
    },
    /// A control frame with more than 125 bytes (§5.5).
    #[error("a {opcode:?} frame announces more than 125 bytes")]
    ControlTooLong {
        /// Which control frame.
        opcode: Opcode,
    },
    /// A 64-bit length with its highest bit set (§5.2).
    #[error("a frame's length {length} is over 2^63")]
    LengthTooLarge {
        /// The length as announced.
        length: u64,
    },
    /// A length that was written in more bytes than it needs (§5.2).
    #[error("a frame's length {length} is not in its shortest form")]
    NonMinimalLength {
        /// The length as announced.
        length: u64,
    },
    /// A continuation frame with no message to continue (§5.4).
    #[error("a continuation frame came without a message to continue")]
    UnexpectedContinuation,
    /// A new message began before the last fragment of another (§5.4).
    #[error("a {opcode:?} frame came before the end of a message in fragments")]
    ExpectedContinuation {
        /// What came instead.
        opcode: Opcode,
    },
    /// A frame over [`Limits::max_frame_bytes`](crate::Limits::max_frame_bytes).
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    FrameTooLarge {
        /// The length as announced.
        length: u64,
        /// The limit it is over.
        limit: usize,
    },
    /// A message over [`Limits::max_message_bytes`](crate::Limits::max_message_bytes).
    #[error("a message of {length} bytes or more is over the limit of {limit}")]
    MessageTooLarge {
        /// The bytes of the message that have come, and those that the current frame announces. Of a
        /// compressed message: the inflated bytes at which it was refused.
        length: u64,
        /// The limit it is over.
        limit: usize,
    },
    /// A message in more frames than [`Limits::max_fragments`](crate::Limits::max_fragments).
    #[error("a message comes in more than {limit} fragments")]
    TooManyFragments {
        /// The limit it is over.
        limit: usize,
    },
    /// A text message that is not UTF-8 (§8.1).
    #[error("a text message is not UTF-8 at byte {offset}")]
    InvalidUtf8 {
        /// Where in the message the bad sequence begins.
        offset: usize,
    },
    /// A compressed message that does not inflate (RFC 7692 §7.2.2).
    #[error("a compressed message does not inflate")]
    InvalidDeflate,
    /// A Close frame with a body of one byte (§5.5.1).
    #[error("a close frame has one byte, which is half of a code")]
    TruncatedCloseCode,
    /// A close code that may not be sent (§7.4).
    #[error("close code {code} may not be sent")]
    InvalidCloseCode {
        /// The code as it came.
        code: u16,
    },
    /// The reason of a Close frame is not UTF-8 (§5.5.1).
    #[error("a close reason is not UTF-8 at byte {offset}")]
    InvalidCloseReason {
        /// Where in the reason the bad sequence begins.
        offset: usize,
    },
}

impl ProtocolError {
    /// The code to close the connection with: 1007 for bad UTF-8 and bad compressed data, 1009 for a frame or
    /// message that is too long, 1008 for too many fragments, 1002 for every other error.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 { .. } | Self::InvalidCloseReason { .. } | Self::InvalidDeflate => {
                CloseCode::InvalidPayload
            }
            Self::FrameTooLarge { .. } | Self::MessageTooLarge { .. } => CloseCode::MessageTooBig,
            Self::TooManyFragments { .. } => CloseCode::PolicyViolation,
            _ => CloseCode::ProtocolError,
        }
    }
}
