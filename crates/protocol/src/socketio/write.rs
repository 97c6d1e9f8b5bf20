//! Packets without arguments, and the head of packets with arguments.

use serde::Serialize;

use super::error::WriteError;
use super::json::is_plain;
use super::packet::PacketType;

/// Appends the head of a packet, all that comes before the JSON: type, attachments, namespace and
/// acknowledgement id.
///
/// `attachments` is written only for binary types. The namespace is not checked: one with a comma would be
/// read back differently.
// Into each caller, where most of it is known not to be needed.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: 20 instructions of each event")]
pub fn write_head(
    out: &mut Vec<u8>,
    kind: PacketType,
    attachments: usize,
    namespace: &str,
    ack: Option<u64>,
) {
    out.push(kind.digit());
    if kind.is_binary() {
        write_number(out, attachments);
        out.push(b'-');
    }
    if namespace != "/" && !namespace.is_empty() {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = ack {
        write_number(out, id);
    }
}

pub(super) fn write_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the client's CONNECT; `auth` must serialise as an object.
///
/// # Errors
/// [`WriteError::Serialize`]; `out` then has its old content.
pub fn connect<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    namespace: &str,
    auth: Option<&T>,
) -> Result<(), WriteError> {
    let start = out.len();
    write_head(out, PacketType::Connect, 0, namespace, None);
    if let Some(auth) = auth
        && let Err(error) = serde_json::to_writer(&mut *out, auth)
    {
        out.truncate(start);
        return Err(WriteError::Serialize(error));
    }
    Ok(())
}

/// Appends the server's answer to CONNECT: `{"sid":…}`, the socket's id.
pub fn connect_reply(out: &mut Vec<u8>, namespace: &str, sid: &str) {
    write_head(out, PacketType::Connect, 0, namespace, None);
    out.extend_from_slice(b"{\"sid\":");
    write_string(out, sid);
    out.push(b'}');
}

/// As [`connect_reply`], of a session that can be recovered: `{"sid":…,"pid":…}`. The `pid` is a secret.
pub fn connect_reply_with_pid(out: &mut Vec<u8>, namespace: &str, sid: &str, pid: &str) {
    connect_reply(out, namespace, sid);
    out.pop();
    out.extend_from_slice(b",\"pid\":");
    write_string(out, pid);
    out.push(b'}');
}

/// Appends `CONNECT_ERROR`: `{"message":…}`, with `"data":…` if there is any.
///
/// # Errors
/// [`WriteError::Serialize`] if `data` does not serialise; `out` then has its old content.
pub fn connect_error<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    namespace: &str,
    message: &str,
    data: Option<&T>,
) -> Result<(), WriteError> {
    let start = out.len();
    write_head(out, PacketType::ConnectError, 0, namespace, None);
    out.extend_from_slice(b"{\"message\":");
    write_string(out, message);
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        if let Err(error) = serde_json::to_writer(&mut *out, data) {
            out.truncate(start);
            return Err(WriteError::Serialize(error));
        }
    }
    out.push(b'}');
    Ok(())
}

/// Appends DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>, namespace: &str) {
    write_head(out, PacketType::Disconnect, 0, namespace, None);
}

/// Appends a JSON string.
#[inline]
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}
