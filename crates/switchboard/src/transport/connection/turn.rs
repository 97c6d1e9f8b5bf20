//! How much one connection handles before the others have their turn.

use switchboard_hub::WorkerId;

/// Bytes that a connection handles in one turn. HTTP/2 connections read as much.
pub(super) const TURN_BYTES: usize = 64 << 10;

/// A message counts as so many bytes at least, so that a turn ends after 1024 of them, however short they
/// are.
const MESSAGE_BYTES: usize = 64;

/// One turn of a connection's task.
pub(super) struct Turn {
    /// Bytes that may still be handled.
    left: usize,
    /// The inbox that a handler found full.
    pub(super) full_inbox: Option<WorkerId>,
    /// Whether a text or binary message was complete, of what came last.
    pub(super) completed_message: bool,
    /// Bytes of an unfinished message that had come before.
    pub(super) message_before: Option<usize>,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { left: TURN_BYTES, full_inbox: None, completed_message: false, message_before: None }
    }

    /// Bytes have been read.
    #[inline]
    pub(super) fn count_read(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// A frame is handled. `inflated`: the bytes of a compressed message, which the size of a read does not
    /// bound.
    #[inline]
    pub(super) fn count_frame(&mut self, inflated: usize) {
        self.left = self.left.saturating_sub(inflated.max(MESSAGE_BYTES));
    }

    /// Whether nothing more is to be handled in this turn.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.left == 0 || self.full_inbox.is_some()
    }
}
