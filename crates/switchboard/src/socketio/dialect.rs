//! How Socket.IO writes events for its members.

use std::io::Write;

use switchboard_protocol::socketio::{PacketType, write_head};

use crate::engineio;
use crate::event::{Dialect, Event, Messages};

/// Events as Socket.IO's packets, in messages of Engine.IO.
pub(crate) struct SocketIoDialect;

impl Dialect for SocketIoDialect {
    fn write(&self, event: &Event, _view: u16, out: &mut Messages<'_>) -> bool {
        let (json, attachments) = (event.json_bytes(), event.attachments());
        let mut text = Vec::with_capacity(json.len() + event.namespace().len() + 16);
        engineio::begin_message(&mut text);
        let kind = if attachments.is_empty() { PacketType::Event } else { PacketType::BinaryEvent };
        write_head(&mut text, kind, attachments.len(), event.namespace(), None);
        match (event.position(), json.split_last()) {
            (Some(position), Some((b']', arguments))) => {
                // The client keeps the last argument of the last event, if it is a string.
                text.extend_from_slice(arguments);
                let _never = write!(text, ",\"{position}\"]");
            }
            _ => text.extend_from_slice(json),
        }
        out.utf8(&text);
        for attachment in attachments {
            out.binary(attachment);
        }
        true
    }
}
