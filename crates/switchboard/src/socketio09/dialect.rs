//! How events are written for the members that old clients are.

use switchboard_protocol::{socketio06, socketio09};

use crate::event::{Dialect, Event, Messages};

/// Events as packets of protocol 1.
pub(super) struct Dialect09;

impl Dialect for Dialect09 {
    fn write(&self, event: &Event, _view: u16, out: &mut Messages<'_>) -> bool {
        let mut text = Vec::with_capacity(event.json().len() + event.namespace().len() + 32);
        let is_event =
            socketio09::write_event(&mut text, event.namespace(), None, event.json(), event.attachments());
        if is_event {
            out.utf8(&text);
        }
        is_event
    }
}

/// Events as frames of 0.6.
pub(super) struct Dialect06;

impl Dialect for Dialect06 {
    fn write(&self, event: &Event, _view: u16, out: &mut Messages<'_>) -> bool {
        let mut text = Vec::with_capacity(event.json().len() + 48);
        let is_event = socketio06::write_event(&mut text, event.json(), event.attachments());
        if is_event {
            out.utf8(&text);
        }
        is_event
    }
}
