//! Writing packets.

use bytes::Bytes;

use super::event::{Parts, parts, single_message, write_json_string, write_translated};
use super::packet::PacketType;
use super::script::escape_line_ends;

/// A heartbeat.
pub const HEARTBEAT: &str = "2::";

/// Nothing: the packet that ends a poll.
pub const NOOP: &str = "8::";

/// The reason of an error packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// None of those that the protocol has.
    Other,
    /// The transport is not supported.
    TransportNotSupported,
    /// The session is not known.
    ClientNotHandshaken,
    /// The endpoint may not be joined.
    Unauthorized,
}

/// What an error packet advises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    None,
    /// To begin a session anew.
    Reconnect,
}

/// The endpoint of a namespace: that of `/` is empty.
pub fn endpoint(namespace: &str) -> &str {
    if namespace == "/" { "" } else { namespace }
}

/// The namespace of an endpoint.
pub fn namespace(endpoint: &str) -> &str {
    if endpoint.is_empty() { "/" } else { endpoint }
}

fn head(out: &mut Vec<u8>, kind: PacketType, namespace: &str) {
    head_with_id(out, kind, None, namespace);
}

fn head_with_id(out: &mut Vec<u8>, kind: PacketType, id: Option<u64>, namespace: &str) {
    out.push(kind.digit());
    out.push(b':');
    if let Some(id) = id {
        out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
        out.push(b'+');
    }
    out.push(b':');
    out.extend_from_slice(endpoint(namespace).as_bytes());
}

/// Appends a connect.
pub fn write_connect(out: &mut Vec<u8>, namespace: &str) {
    head(out, PacketType::Connect, namespace);
}

/// Appends a disconnect.
pub fn write_disconnect(out: &mut Vec<u8>, namespace: &str) {
    head(out, PacketType::Disconnect, namespace);
}

/// Appends an error.
pub fn write_error(out: &mut Vec<u8>, namespace: &str, reason: Reason, advice: Advice) {
    head(out, PacketType::Error, namespace);
    let reason: &[u8] = match reason {
        Reason::Other => b":",
        Reason::TransportNotSupported => b":0",
        Reason::ClientNotHandshaken => b":1",
        Reason::Unauthorized => b":2",
    };
    out.extend_from_slice(reason);
    if advice == Advice::Reconnect {
        out.extend_from_slice(b"+0");
    }
}

/// Appends an event, `json` being `["event",argument,…]`. The event `message` with one argument is a message,
/// as Node's `send` writes it; a text argument goes as it is, any other one as JSON. With an `id` the client
/// is asked to acknowledge it with data. Bytes, which protocol 1 does not have, are `{"base64":"…"}`.
///
/// `false`: `json` is no event, and nothing was appended.
pub fn write_event(
    out: &mut Vec<u8>,
    namespace: &str,
    id: Option<u64>,
    json: &str,
    attachments: &[Bytes],
) -> bool {
    if let Some(value) = single_message(json) {
        return write_message(out, namespace, id, value, attachments);
    }
    let Some(Parts { name, args }) = parts(json) else { return false };
    head_with_id(out, PacketType::Event, id, namespace);
    out.extend_from_slice(br#":{"name":"#);
    write_json_string(out, &name);
    if !args.is_empty() {
        out.extend_from_slice(br#","args":["#);
        write_translated(out, args.as_bytes(), attachments);
        out.push(b']');
    }
    out.push(b'}');
    true
}

fn write_message(
    out: &mut Vec<u8>,
    namespace: &str,
    id: Option<u64>,
    value: &str,
    attachments: &[Bytes],
) -> bool {
    match serde_json::from_str::<String>(value) {
        Ok(text) => {
            head_with_id(out, PacketType::Message, id, namespace);
            out.push(b':');
            out.extend_from_slice(text.as_bytes());
        }
        Err(_not_text) => {
            head_with_id(out, PacketType::Json, id, namespace);
            out.push(b':');
            write_translated(out, value.as_bytes(), attachments);
        }
    }
    true
}

/// Appends an acknowledgement of the packet `id`; `json` is `[argument,…]`, or empty.
pub fn write_ack(out: &mut Vec<u8>, namespace: &str, id: u64, json: &[u8], attachments: &[Bytes]) {
    head(out, PacketType::Ack, namespace);
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    if !matches!(json.trim_ascii(), b"" | b"[]") {
        out.push(b'+');
        let before = out.len();
        write_translated(out, json, attachments);
        // Clients read up to the next end of a line, and take these two characters for one.
        escape_line_ends(out, before);
    }
}
