//! Bounds on the memory that a peer may take.

/// Bounds on the messages of a peer. A message over a bound is a [`ProtocolError`](crate::ProtocolError) that
/// names the limit and the value, and the connection is closed with the error's
/// [`close_code`](crate::ProtocolError::close_code).
///
/// A length that a peer announces reserves no memory: memory grows with the bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Payload bytes of one message, over all its fragments. Default 64 MiB.
    pub max_message_bytes: usize,
    /// Payload bytes of one frame. Default 64 MiB.
    pub max_frame_bytes: usize,
    /// Frames of one message. Empty frames count too. Default 16 384, as in `ws`.
    pub max_fragments: usize,
}

impl Limits {
    /// The default limits, for use in constants.
    pub const DEFAULT: Self =
        Self { max_message_bytes: 64 << 20, max_frame_bytes: 64 << 20, max_fragments: 16 << 10 };

    /// The same limits with another bound for the bytes of a message.
    #[must_use]
    pub const fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// The same limits with another bound for the bytes of a frame.
    #[must_use]
    pub const fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// The same limits with another bound for the frames of a message.
    #[must_use]
    pub const fn max_fragments(mut self, fragments: usize) -> Self {
        self.max_fragments = fragments;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
