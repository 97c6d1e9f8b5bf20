//! Binary packets: a text message, then as many binary messages as it announced. Protocol 5,
//! section "Packet encoding", with "attachments".

use bytes::Bytes;

use super::packet::{Limits, Packet, PacketType};

/// Puts the binary packets of one connection together. Between packets it is the size of a pointer.
///
/// Pass it every packet that came as text, and every binary message. After an error the connection
/// is broken: Node closes it with `parse error`.
#[derive(Debug, Default)]
pub struct Assembler(Option<Box<Pending>>);

#[derive(Debug)]
struct Pending {
    packet: OwnedPacket,
    attachments: Vec<Bytes>,
    /// Of the attachments so far.
    bytes: usize,
}

/// A packet that outlives the message it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedPacket {
    kind: PacketType,
    ack: Option<u64>,
    attachments: usize,
    /// The namespace, then the data.
    text: Box<str>,
    /// Where the data begins.
    data: usize,
}

/// A binary packet with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The packet.
    pub packet: OwnedPacket,
    /// Its attachments in order, as many as it announced.
    pub attachments: Vec<Bytes>,
}

/// What [`Assembler::start`] makes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The packet is whole as it is: it announces no attachments.
    Complete,
    /// The packet is kept until its attachments have come.
    Waiting,
}

/// Why messages do not make a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A text packet came before all attachments of the one before it.
    #[error("a packet came while attachments of another were awaited")]
    Interrupted,
    /// A binary message came that no packet has announced.
    #[error("a binary message that no packet announced")]
    NotAwaited,
    /// The attachments of a packet are too large together.
    #[error("attachments of {got} bytes, at most {limit} are allowed")]
    TooLarge {
        /// How many bytes had come.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
}

impl Assembler {
    /// An assembler that awaits nothing.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Whether attachments are awaited.
    pub const fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// A packet came as text. One that awaits attachments is copied and kept.
    ///
    /// # Errors
    /// [`AssembleError::Interrupted`] if attachments of another are awaited.
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

    /// A binary message came; the last one awaited completes the packet.
    ///
    /// # Errors
    /// [`AssembleError::NotAwaited`], and [`AssembleError::TooLarge`] over
    /// [`Limits::max_attachment_bytes`]; the packet is then dropped.
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
