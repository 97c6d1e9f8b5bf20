//! One packet's text: `<type>:[<id>[+]]:[<endpoint>][:<data>]`.

/// The type of a packet. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Leaves an endpoint, or ends the session.
    Disconnect = 0,
    /// Joins an endpoint, or confirms that it was joined.
    Connect = 1,
    /// A heartbeat, or the answer to one.
    Heartbeat = 2,
    /// A message that is text.
    Message = 3,
    /// A message that is JSON.
    Json = 4,
    /// An event.
    Event = 5,
    /// An acknowledgement.
    Ack = 6,
    /// An error, which only servers send.
    Error = 7,
    /// Nothing: it ends a poll.
    Noop = 8,
}

impl PacketType {
    fn of(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Disconnect,
            b'1' => Self::Connect,
            b'2' => Self::Heartbeat,
            b'3' => Self::Message,
            b'4' => Self::Json,
            b'5' => Self::Event,
            b'6' => Self::Ack,
            b'7' => Self::Error,
            b'8' => Self::Noop,
            _ => return None,
        })
    }

    /// The type's character on the wire.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }
}

/// The reason why a text is not a packet of protocol 1, or why a body is not a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first character is missing, or is not a digit from 0 to 8.
    #[error("unknown packet type")]
    UnknownType,
    /// A colon is missing.
    #[error("the packet has too few colons")]
    Colon,
    /// The packet's id, or the id that an acknowledgement names, is missing or does not fit 64 bits.
    #[error("illegal packet id")]
    Id,
    /// The data is not what the packet's type requires.
    #[error("invalid data for a packet of this type")]
    Data,
    /// A length in a payload is missing, or reaches beyond the payload's end.
    #[error("illegal length in a payload")]
    Length,
}

/// A packet's parts, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The packet's type.
    pub kind: PacketType,
    /// The packet's id, if its sender asks for an acknowledgement.
    pub id: Option<u64>,
    /// Whether the application acknowledges, with data (`+` behind the id). Otherwise the receiver
    /// acknowledges at once.
    pub data_ack: bool,
    /// The endpoint, empty for the main one. A connect may have a query string behind it.
    pub endpoint: &'a str,
    /// What stands behind the endpoint. Empty if there is nothing.
    pub data: &'a str,
}

/// Decodes the text of one packet. A bare `0` is a disconnect, as clients in the field send it.
///
/// # Errors
/// [`DecodeError`]. Node drops such packets in silence.
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let digit = text.bytes().next().ok_or(DecodeError::UnknownType)?;
    let kind = PacketType::of(digit).ok_or(DecodeError::UnknownType)?;
    let rest = text.get(1..).unwrap_or_default();
    if rest.is_empty() && kind == PacketType::Disconnect {
        return Ok(Packet { kind, id: None, data_ack: false, endpoint: "", data: "" });
    }
    let rest = rest.strip_prefix(':').ok_or(DecodeError::Colon)?;
    let (id, rest) = rest.split_once(':').ok_or(DecodeError::Colon)?;
    let (id, data_ack) = id.strip_suffix('+').map_or((id, false), |id| (id, true));
    let id = if id.is_empty() { None } else { Some(number(id).ok_or(DecodeError::Id)?) };
    let (endpoint, data) = rest.split_once(':').unwrap_or((rest, ""));
    Ok(Packet { kind, id, data_ack: data_ack && id.is_some(), endpoint, data })
}

/// A decimal number of digits alone: `parse` would take a sign.
pub(super) fn number(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

impl<'a> Packet<'a> {
    /// The endpoint, and the query string of a connect (`1::/chat?x=1`, or `1::/chat:?x=1` as some clients
    /// write it), without the question mark.
    pub fn split_query(&self) -> (&'a str, &'a str) {
        let (endpoint, query) = self.endpoint.split_once('?').unwrap_or((self.endpoint, ""));
        if query.is_empty() {
            (endpoint, self.data.strip_prefix('?').unwrap_or(""))
        } else {
            (endpoint, query)
        }
    }
}
