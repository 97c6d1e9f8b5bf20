//! Socket.IO protocols 3 and 4, of Socket.IO 1 and 2, as far as they differ from protocol 5.
//!
//! The packets are those of protocol 5, with these differences:
//!
//! - A client is in namespace `/` without asking. The server's CONNECT has no data.
//! - CONNECT of another namespace has a query behind the name, which is read as `auth`: [`auth_of_query`].
//! - Type 4 is ERROR, with any JSON value: [`error`].
//! - Some clients decode UTF-8 once more than they should, so JSON is sent in ASCII: [`write_ascii`].
//! - A packet of type 5 or 6 may have no attachments: [`decode`].
//! - Protocol 3 (1.0.0 to 1.0.2) knows no type 6, and has a number of attachments in each ACK: [`AckForm`].
//!
//! The protocol's documents are `docs/socket.io-protocol/{v3,v4}.md` in the `socketio/socket.io` repository.

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::DecodeError;
use super::packet::{self, Limits, Packet, PacketType};
use super::write::{write_head, write_number};

/// How a client writes acknowledgements, and reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckForm {
    /// Protocol 4: as in protocol 5, type 3, or type 6 with attachments.
    Typed,
    /// Protocol 3: type 3 with the number of attachments, which may be 0: `3<n>-…`.
    Counted,
}

impl AckForm {
    /// The form of a packet's text, if it is an acknowledgement.
    pub fn of(text: &str) -> Option<Self> {
        match text.as_bytes().split_first()? {
            (b'6', _) => Some(Self::Typed),
            (b'3', rest) => {
                let first = rest.iter().find(|byte| !byte.is_ascii_digit());
                let is_counted = first == Some(&b'-') && rest.first() != Some(&b'-');
                Some(if is_counted { Self::Counted } else { Self::Typed })
            }
            _ => None,
        }
    }
}

/// Decodes the text of one packet as [`decode`](super::decode) does, with two exceptions:
///
/// - Acknowledgements of protocol 3 are read too.
/// - A number of attachments may be 0, as clients of 2.x send it after `socket.binary(true)`.
///
/// The type of the packet is [`BinaryEvent`](PacketType::BinaryEvent) or [`BinaryAck`](PacketType::BinaryAck) if
/// it has attachments, and only then.
///
/// # Errors
/// [`DecodeError`].
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
    let (plain, binary) = match text.as_bytes().first() {
        Some(b'5') => (PacketType::Event, PacketType::BinaryEvent),
        Some(b'6') => (PacketType::Ack, PacketType::BinaryAck),
        Some(b'3') if AckForm::of(text) == Some(AckForm::Counted) => (PacketType::Ack, PacketType::BinaryAck),
        _ => return super::decode(text, limits),
    };
    let (attachments, rest) = packet::split_attachments(text.get(1..).unwrap_or_default(), limits)?;
    packet::decode_rest(if attachments == 0 { plain } else { binary }, attachments, rest)
}

/// Appends the head of an acknowledgement of protocol 3: `3<n>-`, the namespace and the id.
pub fn write_counted_ack(out: &mut Vec<u8>, attachments: usize, namespace: &str, id: Option<u64>) {
    write_counts(out, PacketType::Ack, attachments, namespace, id);
}

/// Appends the head of an acknowledgement of type 6 whatever the number of attachments, which may be 0. Clients
/// of protocol 3 ignore it, and clients of protocol 4 take it.
pub fn write_typed_ack(out: &mut Vec<u8>, attachments: usize, namespace: &str, id: Option<u64>) {
    write_counts(out, PacketType::BinaryAck, attachments, namespace, id);
}

fn write_counts(out: &mut Vec<u8>, kind: PacketType, attachments: usize, namespace: &str, id: Option<u64>) {
    out.push(kind.digit());
    write_number(out, attachments);
    out.push(b'-');
    let start = out.len();
    write_head(out, PacketType::Ack, 0, namespace, id);
    out.remove(start);
}

/// Appends ERROR: the refusal of a namespace, with any value.
pub fn error<T: Serialize + ?Sized>(out: &mut Vec<u8>, namespace: &str, value: &T) {
    write_head(out, PacketType::ConnectError, 0, namespace, None);
    // What does not serialise is left out: the client then has an error without a value.
    if let Ok(json) = serde_json::to_vec(value) {
        write_ascii(&json, out);
    }
}

/// The query of a CONNECT as the JSON of `auth`: an object of strings, and a list of strings where a name comes
/// more than once. Empty for an empty query.
pub fn auth_of_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let mut auth = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = Value::String(value.into_owned());
        match auth.get_mut(&*name) {
            None => drop(auth.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(auth).to_string()
}

/// Appends JSON with each character that is not ASCII as an escape. It is the same JSON for every reader, and the
/// same text in each dialect of UTF-8. Bytes that are not UTF-8, which JSON does not have, become U+FFFD.
pub fn write_ascii(json: &[u8], out: &mut Vec<u8>) {
    if json.is_ascii() {
        return out.extend_from_slice(json);
    }
    out.reserve(json.len().saturating_mul(2));
    for char in String::from_utf8_lossy(json).chars() {
        if char.is_ascii() {
            out.push(char as u8);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                let digit = char::from_digit(u32::from(*unit >> shift & 15), 16).unwrap_or('0');
                out.push(digit as u8);
            }
        }
    }
}
