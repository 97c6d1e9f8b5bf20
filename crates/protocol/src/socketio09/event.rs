//! Events, messages and acknowledgements: from the data of a packet to `["event",argument,…]`, and the
//! translation of bytes, which protocol 1 does not have.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::packet::{DecodeError, Packet, PacketType, number};
use crate::socketio::event_name;

/// The name of the event that a message is.
const MESSAGE: &str = "message";

/// What an event packet holds.
#[derive(Deserialize)]
struct EventData<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

/// Appends the event that a packet is, as `["event",argument,…]`. A [message](PacketType::Message) and a
/// [JSON message](PacketType::Json) are the event `message` with one argument. The syntax of the arguments is
/// checked.
///
/// # Errors
/// [`DecodeError::Data`]: the data is no event, or no JSON; or the packet is of another type. Nothing was
/// appended.
pub fn event_json(packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match packet.kind {
        PacketType::Message => {
            begin(out, MESSAGE);
            out.push(b',');
            write_json_string(out, packet.data);
            out.push(b']');
        }
        PacketType::Json => {
            let value: &RawValue = serde_json::from_str(packet.data).map_err(|_| DecodeError::Data)?;
            begin(out, MESSAGE);
            out.push(b',');
            out.extend_from_slice(value.get().as_bytes());
            out.push(b']');
        }
        PacketType::Event => {
            let event: EventData<'_> = serde_json::from_str(packet.data).map_err(|_| DecodeError::Data)?;
            let args = event.args.map_or("[]", RawValue::get);
            let args = args.strip_prefix('[').and_then(|args| args.strip_suffix(']'));
            let args = args.ok_or(DecodeError::Data)?.trim_ascii();
            begin(out, &event.name);
            if !args.is_empty() {
                out.push(b',');
                out.extend_from_slice(args.as_bytes());
            }
            out.push(b']');
        }
        _ => return Err(DecodeError::Data),
    }
    Ok(())
}

fn begin(out: &mut Vec<u8>, name: &str) {
    out.push(b'[');
    write_json_string(out, name);
}

/// Appends a text as a JSON string.
pub(crate) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // A text serialises, and a vector takes all.
    let _written = serde_json::to_writer(out, text);
}

/// The id that an acknowledgement names, and its arguments: a JSON array, or nothing.
///
/// # Errors
/// [`DecodeError::Id`]; [`DecodeError::Data`] if the arguments are not an array.
pub fn acknowledged<'a>(packet: &Packet<'a>) -> Result<(u64, &'a str), DecodeError> {
    let (id, args) = packet.data.split_once('+').unwrap_or((packet.data, ""));
    let id = number(id).ok_or(DecodeError::Id)?;
    let args = args.trim_ascii();
    if args.is_empty() || args.starts_with('[') { Ok((id, args)) } else { Err(DecodeError::Data) }
}

/// What an event, `["event",argument,…]`, is beside its JSON.
pub(super) struct Parts<'a> {
    pub(super) name: Cow<'a, str>,
    /// The arguments, without the brackets.
    pub(super) args: &'a str,
}

/// The parts of an event. An event without a name has none.
pub(super) fn parts(json: &str) -> Option<Parts<'_>> {
    let (name, offset) = event_name(json).ok()?;
    let rest = json.get(offset..)?.trim_ascii().strip_suffix(']')?.trim_ascii();
    Some(Parts { name, args: rest.strip_prefix(',').unwrap_or(rest).trim_ascii() })
}

/// What the event `message` with one argument carries: the argument's JSON.
pub(crate) fn single_message(json: &str) -> Option<&str> {
    let parts = parts(json).filter(|parts| parts.name == MESSAGE)?;
    // A second argument is behind the first one's value.
    let mut values = serde_json::Deserializer::from_str(parts.args).into_iter::<&RawValue>();
    let first = values.next()?.ok()?;
    (first.get().len() == parts.args.len()).then_some(parts.args)
}

/// What a writer of arguments puts in the place of each attachment.
const PLACEHOLDER: &[u8] = br#"{"_placeholder":true,"num":"#;

/// Appends JSON whose placeholders stand for `attachments`, with `{"base64":"…"}` in the place of each.
/// `json` is as [`write_args`](crate::socketio::write_args) writes it.
pub(crate) fn write_translated(out: &mut Vec<u8>, json: &[u8], attachments: &[Bytes]) {
    let mut rest = json;
    // The quotes of the pattern are not escaped, so it cannot stand within a string.
    while let Some(at) = memchr::memmem::find(rest, PLACEHOLDER).filter(|_| !attachments.is_empty()) {
        let (before, from) = rest.split_at(at);
        let behind = from.get(PLACEHOLDER.len()..).unwrap_or_default();
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (num, behind) = behind.split_at(digits);
        let num = std::str::from_utf8(num).ok().and_then(|num| num.parse::<usize>().ok());
        let bytes = num.and_then(|num| attachments.get(num));
        if let (Some(bytes), Some(behind)) = (bytes, behind.strip_prefix(b"}")) {
            out.extend_from_slice(before);
            out.extend_from_slice(br#"{"base64":""#);
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(br#""}"#);
            rest = behind;
        } else {
            let (as_it_is, behind) = rest.split_at(at + PLACEHOLDER.len());
            out.extend_from_slice(as_it_is);
            rest = behind;
        }
    }
    out.extend_from_slice(rest);
}
