//! How events are written by a parser.

use std::borrow::Cow;
use std::sync::Arc;

use switchboard_protocol::socketio::{PacketType, WholePacket};

use super::Parser;
use crate::engineio::begin_message;
use crate::event::{Dialect, Event, Messages};
use crate::functions::guarded;
use crate::message::Message;

/// The JSON of an event. Its position is the last argument, as in the default parser.
fn with_position(event: &Event) -> Cow<'_, str> {
    match (event.position(), event.json().strip_suffix(']')) {
        (Some(position), Some(arguments)) => Cow::Owned(format!("{arguments},\"{position}\"]")),
        _ => Cow::Borrowed(event.json()),
    }
}

/// Events as packets of a parser, in messages of Engine.IO.
pub(crate) struct ParserDialect(pub(crate) Arc<dyn Parser>);

impl Dialect for ParserDialect {
    fn write(&self, event: &Event, _view: u16, out: &mut Messages<'_>) -> bool {
        let packet = WholePacket {
            kind: PacketType::Event,
            namespace: event.namespace().into(),
            id: None,
            data: with_position(event),
            attachments: event.attachments().into(),
        };
        let mut any = false;
        let mut send = |message: Message<'_>| {
            any = true;
            match message {
                Message::Text(text) => {
                    let mut packet = Vec::with_capacity(text.len() + 1);
                    begin_message(&mut packet);
                    packet.extend_from_slice(text.as_bytes());
                    out.utf8(&packet);
                }
                Message::Binary(bytes) => out.binary(bytes),
            }
        };
        let panicked = guarded(|| self.0.encode(&packet, &mut send)).is_none();
        any && !panicked
    }
}
