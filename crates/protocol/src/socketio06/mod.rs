//! Socket.IO 0.6: frames `~m~<length>~m~<data>`, one after another. The length counts UTF-16 code units, as
//! JavaScript does.
//!
//! Source: socket.io 0.6.17 and the browser client that it serves. There are only messages: no rooms, events
//! or acknowledgements. An event is a message `{"name":"event","args":[argument,…]}` here, in both
//! directions; the event `message` with one argument is that argument.

use bytes::Bytes;

use crate::socketio09::payload::{split_utf16, utf16_len};
use crate::socketio09::{
    Packet, PacketType, event_json as event_of, single_message, write_event as event_to,
};

const FRAME: &str = "~m~";
const JSON: &str = "~j~";
const HEARTBEAT: &str = "~h~";

/// The boundary of `multipart/x-mixed-replace`.
pub const BOUNDARY: &str = "socketio";

/// How an answer of parts begins.
pub const MULTIPART_HEAD: &str = "--socketio\n";

/// How the page of htmlfile begins. The spaces let a browser show it at once.
pub const HTMLFILE_HEAD: &str = concat!(
    "<html><body>",
    "                                                                                ",
    "                                                                                ",
    "                                                                                ",
    "    "
);

/// The reason why a text is not a row of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of Socket.IO 0.6")]
pub struct NotAFrame;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// JSON, whose syntax has not been checked.
    Json(&'a str),
    /// A heartbeat, or the answer to one, with its number.
    Heartbeat(&'a str),
}

/// Decodes frames in order. A text without any has none. The iterator ends after the first error.
pub fn decode(text: &str) -> Frames<'_> {
    Frames { rest: text }
}

/// Frames; made by [`decode`].
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Message<'a>, NotAFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = std::mem::take(&mut self.rest);
        if text.is_empty() {
            return None;
        }
        let Some((data, rest)) = split_frame(text) else { return Some(Err(NotAFrame)) };
        self.rest = rest;
        Some(Ok(if let Some(json) = data.strip_prefix(JSON) {
            Message::Json(json)
        } else if let Some(number) = data.strip_prefix(HEARTBEAT) {
            Message::Heartbeat(number)
        } else {
            Message::Text(data)
        }))
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

/// The first frame's data, and what is behind it.
fn split_frame(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.strip_prefix(FRAME)?.split_once(FRAME)?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    split_utf16(rest, length.parse().ok()?)
}

/// Appends a frame.
pub fn write_frame(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(FRAME.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(utf16_len(data)).as_bytes());
    out.extend_from_slice(FRAME.as_bytes());
    out.extend_from_slice(data.as_bytes());
}

/// Appends the frame of a heartbeat.
pub fn write_heartbeat(out: &mut Vec<u8>, number: u64) {
    write_frame(out, &format!("{HEARTBEAT}{number}"));
}

/// Appends the frame of an event, `json` being `["event",argument,…]`. Bytes are `{"base64":"…"}`.
///
/// `false`: `json` is no event, and nothing was appended.
pub fn write_event(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) -> bool {
    // The packets of 0.9 hold the same data behind their heads.
    let mut packet = Vec::with_capacity(json.len() + 32);
    if !event_to(&mut packet, "/", None, json, attachments) {
        return false;
    }
    let is_text = packet.first() == Some(&PacketType::Message.digit());
    let data = std::str::from_utf8(&packet).unwrap_or_default().get("0:::".len()..).unwrap_or_default();
    if is_text && !data.starts_with(JSON) && !data.starts_with(HEARTBEAT) {
        write_frame(out, data);
    } else if is_text {
        // A text that would be taken for JSON or a heartbeat goes as JSON.
        write_frame(out, &format!("{JSON}{}", single_message(json).unwrap_or_default()));
    } else {
        write_frame(out, &format!("{JSON}{data}"));
    }
    true
}

/// Appends the event that a message is, as `["event",argument,…]`: JSON of the form
/// `{"name":"event","args":[argument,…]}` is that event, and anything else the event `message`.
///
/// # Errors
/// [`NotAFrame`]: the message is no JSON, or is a heartbeat. Nothing was appended.
pub fn event_json(message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), NotAFrame> {
    let packet = |kind, data| Packet { kind, id: None, data_ack: false, endpoint: "", data };
    match *message {
        Message::Text(text) => event_of(&packet(PacketType::Message, text), out).map_err(|_| NotAFrame),
        Message::Json(json) => {
            if is_event(json) && event_of(&packet(PacketType::Event, json), out).is_ok() {
                return Ok(());
            }
            event_of(&packet(PacketType::Json, json), out).map_err(|_| NotAFrame)
        }
        Message::Heartbeat(_) => Err(NotAFrame),
    }
}

/// The two fields of an event, and no other.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Event<'a> {
    #[serde(borrow, rename = "name")]
    _name: std::borrow::Cow<'a, str>,
    #[serde(rename = "args")]
    _args: Vec<serde::de::IgnoredAny>,
}

fn is_event(json: &str) -> bool {
    serde_json::from_str::<Event<'_>>(json).is_ok()
}

/// Appends frames as a script of htmlfile's page. Nothing in it ends the script, or is markup.
pub fn write_script(out: &mut Vec<u8>, frames: &str) {
    out.extend_from_slice(b"<script>parent.s._(");
    crate::socketio09::write_markup_safe(out, frames);
    out.extend_from_slice(b", document);</script>");
}

/// Appends frames as a part of an answer of parts.
pub fn write_part(out: &mut Vec<u8>, frames: &str) {
    out.extend_from_slice(b"Content-Type: text/plain\n\n");
    out.extend_from_slice(frames.as_bytes());
    out.extend_from_slice(b"\n--socketio\n");
}

/// Appends the answer to a JSONP request: `io.JSONP[<index>]._("…");`.
pub fn write_jsonp(out: &mut Vec<u8>, index: &str, frames: &str) {
    out.extend_from_slice(b"io.JSONP[");
    out.extend_from_slice(index.as_bytes());
    out.extend_from_slice(b"]._(");
    crate::socketio09::write_js_string(out, frames);
    out.extend_from_slice(b");");
}
