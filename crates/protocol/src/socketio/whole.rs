//! A packet together with its attachments, as parsers other than the default one give and take it.

use std::borrow::Cow;

use bytes::Bytes;

use super::error::DecodeError;
use super::packet::PacketType;

/// A packet with everything that belongs to it. Its payload is JSON, whatever it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePacket<'a> {
    /// The packet's type. The types [`BinaryEvent`](PacketType::BinaryEvent) and
    /// [`BinaryAck`](PacketType::BinaryAck) belong to the default parser: an event with attachments is an
    /// [`Event`](PacketType::Event) here.
    pub kind: PacketType,
    /// The namespace: `/`, or a name with a slash before it.
    pub namespace: Cow<'a, str>,
    /// The id of the acknowledgement that the sender of an event asks for, or the id of this acknowledgement.
    pub id: Option<u64>,
    /// The payload's JSON, or empty. Binary data in it is `{"_placeholder":true,"num":n}`.
    pub data: Cow<'a, str>,
    /// The binary data that the placeholders stand for.
    pub attachments: Cow<'a, [Bytes]>,
}

impl WholePacket<'_> {
    /// Checks that the payload's first character fits the packet's type. The reader of the payload checks the
    /// rest of it.
    ///
    /// # Errors
    /// [`DecodeError::Payload`].
    pub fn check(&self) -> Result<(), DecodeError> {
        let first = self.data.trim_ascii_start().bytes().next();
        if self.kind.takes(first) { Ok(()) } else { Err(DecodeError::Payload) }
    }
}
