//! One Socket.IO packet's text: `<type>[<attachments>-][<namespace>,][<ack id>][JSON]`. Protocol 5,
//! section "Packet encoding".

use super::error::DecodeError;

/// The type of a packet. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Joins a namespace, or confirms that it was joined.
    Connect = 0,
    /// Leaves a namespace.
    Disconnect = 1,
    /// An event: its name and its arguments.
    Event = 2,
    /// The acknowledgement of an event: its arguments.
    Ack = 3,
    /// The server refuses a namespace.
    ConnectError = 4,
    /// An event with attachments.
    BinaryEvent = 5,
    /// An acknowledgement with attachments.
    BinaryAck = 6,
}

impl PacketType {
    /// Whether attachments follow as binary messages.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }

    /// The binary type for an event or an acknowledgement; otherwise the same type.
    #[must_use]
    pub const fn with_attachments(self) -> Self {
        match self {
            Self::Event => Self::BinaryEvent,
            Self::Ack => Self::BinaryAck,
            other => other,
        }
    }

    /// Whether a payload that begins with this character fits the type. `None`: there is no payload.
    #[inline]
    pub(super) const fn takes(self, first: Option<u8>) -> bool {
        match self {
            Self::Connect => matches!(first, None | Some(b'{')),
            Self::Disconnect => first.is_none(),
            Self::Event | Self::BinaryEvent => matches!(first, Some(b'[')),
            Self::Ack | Self::BinaryAck => matches!(first, None | Some(b'[')),
            Self::ConnectError => matches!(first, None | Some(b'{' | b'"')),
        }
    }

    /// The type's character on the wire.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }
}

/// A packet's parts, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The packet's type.
    pub kind: PacketType,
    /// The namespace, `/` if the packet names none. Clients of protocols 3 and 4 append a query string, see
    /// [`split_query`](Self::split_query). In protocol 5 a query string is part of the name, as in Node.
    pub namespace: &'a str,
    /// The id of the acknowledgement that the sender of an event asks for, or the id of this acknowledgement.
    pub ack: Option<u64>,
    /// The number of binary messages that follow and belong to this packet.
    pub attachments: usize,
    /// The payload's raw JSON, empty if there is none. Its first character fits the packet's type. Its syntax
    /// has not been checked.
    pub data: &'a str,
}

/// The limits on a peer's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most attachments of one packet. Default: 10, as in Node.
    pub max_attachments: usize,
    /// The most bytes of all attachments of one packet. Default: 10 000 000, which is Node's total with its
    /// defaults: ten attachments in messages of at most 1 000 000 bytes.
    pub max_attachment_bytes: usize,
    /// The most levels of arrays and objects that an argument may nest. Default: [`DEFAULT_MAX_DEPTH`]; Node
    /// has no limit. Reading a level takes up to 3 KiB of the stack.
    pub max_depth: usize,
}

/// The default number of levels that an argument may nest: 512. A document's tree takes two levels for each
/// element that encloses another.
pub const DEFAULT_MAX_DEPTH: usize = 512;

impl Default for Limits {
    fn default() -> Self {
        Self { max_attachments: 10, max_attachment_bytes: 10_000_000, max_depth: DEFAULT_MAX_DEPTH }
    }
}

impl<'a> Packet<'a> {
    /// The namespace's path, and the query string after it, which may be empty.
    pub fn split_query(&self) -> (&'a str, &'a str) {
        self.namespace.split_once('?').unwrap_or((self.namespace, ""))
    }
}

/// Decodes the text of one packet.
///
/// The payload's first character is checked against the packet's type, and so are the parts that the type
/// requires. The reader of the payload checks its JSON: [`from_args`](super::from_args),
/// [`validate`](super::validate) or serde. A binary packet has at least one attachment, as in Node.
///
/// # Errors
/// [`DecodeError`]. Node closes the connection with `parse error`. Node silently drops an event without
/// payload; here it is an error.
#[inline]
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
    let (&digit, _) = text.as_bytes().split_first().ok_or(DecodeError::UnknownType)?;
    let kind = match digit {
        b'0' => PacketType::Connect,
        b'1' => PacketType::Disconnect,
        b'2' => PacketType::Event,
        b'3' => PacketType::Ack,
        b'4' => PacketType::ConnectError,
        b'5' => PacketType::BinaryEvent,
        b'6' => PacketType::BinaryAck,
        _ => return Err(DecodeError::UnknownType),
    };
    let mut rest = text.get(1..).unwrap_or_default();
    let mut attachments = 0;
    if kind.is_binary() {
        (attachments, rest) = split_attachments(rest, limits)?;
        if attachments == 0 {
            return Err(DecodeError::Attachments);
        }
    }
    decode_rest(kind, attachments, rest)
}

/// Decodes what stands behind the type and the number of attachments.
#[inline]
pub(super) fn decode_rest(
    kind: PacketType,
    attachments: usize,
    mut rest: &str,
) -> Result<Packet<'_>, DecodeError> {
    let mut namespace = "/";
    if rest.as_bytes().first() == Some(&b'/') {
        (namespace, rest) = match memchr::memchr(b',', rest.as_bytes()) {
            Some(comma) => (rest.get(..comma).unwrap_or_default(), rest.get(comma + 1..).unwrap_or_default()),
            None => (rest, ""),
        };
    }
    let mut ack = None;
    if rest.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        let (id, after) = split_number(rest).ok_or(DecodeError::AckId)?;
        ack = Some(id);
        rest = after;
    }
    if !kind.takes(rest.trim_ascii_start().bytes().next()) {
        return Err(DecodeError::Payload);
    }
    Ok(Packet { kind, namespace, ack, attachments, data: rest })
}

/// Splits `<attachments>-` off.
pub(super) fn split_attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || text.as_bytes().get(digits) != Some(&b'-') {
        return Err(DecodeError::Attachments);
    }
    let limit = limits.max_attachments;
    let got =
        split_number(text).map_or(usize::MAX, |(number, _)| usize::try_from(number).unwrap_or(usize::MAX));
    if got > limit {
        return Err(DecodeError::TooManyAttachments { got, limit });
    }
    Ok((got, text.get(digits + 1..).unwrap_or_default()))
}

/// Splits off the decimal number at the start of `text`. `None` if it does not fit.
#[inline]
fn split_number(text: &str) -> Option<(u64, &str)> {
    let mut number = 0_u64;
    let mut length = 0;
    for digit in text.bytes().take_while(u8::is_ascii_digit) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        length += 1;
    }
    Some((number, text.get(length..)?))
}
