//! Binary packets: a text message, then the announced number of binary messages. Protocol 5, section "Packet
//! encoding", with "attachments".

use bytes::Bytes;

use super::packet::{Limits, Packet, PacketType};

/// Assembles the binary packets of one connection. Between packets it has the size of a pointer.
///
/// Pass it every packet that came as text, and every binary message. After an error the connection is broken;
/// Node closes it with `parse error`.
#[derive(Debug, Default)]
pub struct Assembler(Option<Box<Pending>>);

#[derive(Debug)]
struct Pending {
    packet: OwnedPacket,
    attachments: Vec<Bytes>,
    /// The size of the received attachments in bytes.
    bytes: usize,
}

/// A packet that outlives its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedPacket {
    kind: PacketType,
    ack: Option<u64>,
    attachments: usize,
    /// The namespace, then the data.
    text: Box<str>,
    /// The start of the data.
    data: usize,
}

/// A binary packet with all of its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The packet.
    pub packet: OwnedPacket,
    /// Its attachments in order. Their number is the announced one.
    pub attachments: Vec<Bytes>,
}

/// The result of [`Assembler::start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The packet is complete: it announces no attachments.
    Complete,
    /// The packet is kept until its attachments have come.
    Waiting,
}

/// The reason why messages do not form a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A text packet came before all attachments of the previous packet.
    #[error("a packet came while attachments of another were awaited")]
    Interrupted,
    /// A binary message came that no packet announced.
    #[error("a binary message that no packet announced")]
    NotAwaited,
    /// The attachments of a packet are too large in total.
    #[error("attachments of {got} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The number of bytes received.
        got: usize,
        /// The greatest number of bytes allowed.
        limit: usize,
    },
}

impl Assembler {
    /// An assembler that awaits no attachments.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Whether attachments are awaited.
    pub const fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// A packet came as text. If it awaits attachments, it is copied and kept.
    ///
    /// # Errors
    /// [`AssembleError::Interrupted`] if another packet awaits attachments.
    #[inline]
    pub fn start(&mut self, packet: &Packet<'_>) -> Result<Started, AssembleError> {
        if self.is_waiting() {
            return Err(AssembleError::Interrupted);
        }
        if packet.attachments == 0 {
            return Ok(Started::Complete);
        }
        self.0 =
            Some(Box::new(Pending { packet: OwnedPacket::from(packet), attachments: Vec::new(), bytes: 0 }));
        Ok(Started::Waiting)
    }

    /// A binary message came. The last awaited one completes the packet.
    ///
    /// # Errors
    /// [`AssembleError::NotAwaited`], and [`AssembleError::TooLarge`] above [`Limits::max_attachment_bytes`].
    /// The packet is then dropped.
    pub fn push(&mut self, message: Bytes, limits: &Limits) -> Result<Option<Assembled>, AssembleError> {
        let mut pending = self.0.take().ok_or(AssembleError::NotAwaited)?;
        pending.bytes = pending.bytes.saturating_add(message.len());
        if pending.bytes > limits.max_attachment_bytes {
            return Err(AssembleError::TooLarge { got: pending.bytes, limit: limits.max_attachment_bytes });
        }
        pending.attachments.push(message);
        if pending.attachments.len() < pending.packet.attachments {
            self.0 = Some(pending);
            return Ok(None);
        }
        Ok(Some(Assembled { packet: pending.packet, attachments: pending.attachments }))
    }
}

impl OwnedPacket {
    /// The packet's parts.
    pub fn as_packet(&self) -> Packet<'_> {
        let (namespace, data) = self.text.split_at_checked(self.data).unwrap_or_default();
        Packet { kind: self.kind, namespace, ack: self.ack, attachments: self.attachments, data }
    }
}

impl From<&Packet<'_>> for OwnedPacket {
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            kind: packet.kind,
            ack: packet.ack,
            attachments: packet.attachments,
            text: [packet.namespace, packet.data].concat().into(),
            data: packet.namespace.len(),
        }
    }
}
