//! How raw WebSocket services show an event of a namespace.

use std::borrow::Cow;

use switchboard_protocol::socketio::Binary;

use crate::event::{Dialect, Event, Messages};

/// The first argument of the one event that a view shows: a string as text, binary as binary, anything else
/// as JSON.
pub(crate) struct RawDialect;

impl Dialect for RawDialect {
    fn write(&self, event: &Event, view: u16, out: &mut Messages<'_>) -> bool {
        if !event.is_shown_by(view) {
            return false;
        }
        if let Ok(text) = event.args::<Cow<'_, str>>() {
            out.text(&text);
        } else if let Ok(binary) = event.args::<Binary>() {
            if !out.takes_binary() {
                metrics::counter!("switchboard_binary_not_sent_total").increment(1);
                tracing::debug!("binary was not sent to WebSockets that only take text");
                return false;
            }
            out.binary(&binary);
        } else if let Ok(value) = event.args::<&serde_json::value::RawValue>() {
            out.text(value.get());
        } else {
            return false;
        }
        true
    }
}
