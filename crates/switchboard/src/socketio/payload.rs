//! An event on its way to many, before it is written in anyone's form.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use switchboard_hub::{Framing, Payload, Variant};
use switchboard_protocol::engineio::payload::SEPARATOR;
use switchboard_protocol::socketio::{
    Binary, PacketType, WriteError, event_name, from_args, write_args, write_head,
};

use super::server::SocketIo;
use crate::engineio::session::PAYLOAD;
use crate::transport::wire::{HIXIE, uncompressed, write_binary, write_text};

/// Members that are Socket.IO sockets.
pub(crate) const SOCKETIO: Variant = Variant(0);

/// Members that see one event of the namespace as plain WebSocket messages: this number and those above it, one for each event
/// that has such a view.
pub(crate) const FIRST_VIEW: u32 = 1;

/// An event with its arguments, written once.
pub(crate) struct EventPayload {
    namespace: Arc<str>,
    /// `["event",argument,…]`
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    /// The view that shows this event, where there is one.
    view: Option<Variant>,
    /// Whether connections that compress are to compress it.
    compress: bool,
}

impl EventPayload {
    pub(crate) fn new<T: Serialize + ?Sized>(
        namespace: &Arc<str>,
        event: &str,
        args: &T,
        view: Option<Variant>,
        compress: bool,
    ) -> Result<Self, WriteError> {
        let mut json = Vec::with_capacity(128);
        let mut attachments = Vec::new();
        write_args(&mut json, &mut attachments, Some(event), args)?;
        Ok(Self { namespace: Arc::clone(namespace), json, attachments, view, compress })
    }

    /// Reads an event that another node has [written](Payload::write). `None`: it is none, or its namespace is not known here.
    pub(crate) fn read(bytes: &[u8], server: &SocketIo) -> Option<Self> {
        let (&compress, rest) = bytes.split_first()?;
        let (name, rest) = take_part(rest)?;
        let (json, mut rest) = take_part(rest)?;
        let mut attachments = Vec::new();
        while !rest.is_empty() {
            let attachment;
            (attachment, rest) = take_part(rest)?;
            attachments.push(Bytes::copy_from_slice(attachment));
        }
        let namespace = server.namespace(std::str::from_utf8(name).ok()?)?;
        let (event, _) = event_name(std::str::from_utf8(json).ok()?).ok()?;
        Some(Self {
            namespace: Arc::clone(&namespace.name),
            json: json.to_vec(),
            attachments,
            view: namespace.view(&event),
            compress: compress != 0,
        })
    }

    fn encode_socketio(&self, framing: Framing, out: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(self.json.len() + self.namespace.len() + 16);
        text.push(b'4');
        write_event(&mut text, &self.namespace, None, &self.json, self.attachments.len());
        write_text(framing, out, &text);
        for attachment in &self.attachments {
            if framing == PAYLOAD {
                out.push(SEPARATOR);
            }
            write_binary(framing, out, attachment);
        }
    }

    /// The event's first argument as a WebSocket message: a string as text, binary as binary, anything else as JSON.
    fn encode_view(&self, framing: Framing, out: &mut Vec<u8>) -> bool {
        let Ok(json) = std::str::from_utf8(&self.json) else { return false };
        let Ok((_, offset)) = event_name(json) else { return false };
        if let Ok(text) = from_args::<std::borrow::Cow<'_, str>>(json, offset, &self.attachments) {
            write_text(framing, out, text.as_bytes());
        } else if let Ok(binary) = from_args::<Binary>(json, offset, &self.attachments) {
            if framing == HIXIE {
                metrics::counter!("switchboard_binary_not_sent_total").increment(1);
                tracing::debug!("binary was not sent to WebSockets that only take text");
                return false;
            }
            write_binary(framing, out, &binary);
        } else if let Ok(value) = from_args::<&serde_json::value::RawValue>(json, offset, &self.attachments) {
            write_text(framing, out, value.get().as_bytes());
        } else {
            return false;
        }
        true
    }
}

impl Payload for EventPayload {
    fn encode(&self, variant: Variant, framing: Framing, out: &mut Vec<u8>) -> bool {
        let framing = if self.compress { framing } else { uncompressed(framing) };
        if variant == SOCKETIO {
            self.encode_socketio(framing, out);
            true
        } else {
            self.view == Some(variant) && self.encode_view(framing, out)
        }
    }

    fn is_plain(&self) -> bool {
        !self.compress
    }

    fn bytes(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.compress));
        put_part(out, self.namespace.as_bytes());
        put_part(out, &self.json);
        for attachment in &self.attachments {
            put_part(out, attachment);
        }
    }
}

/// Appends a part of an event between nodes: its length in 8 bytes, then its bytes.
fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend((part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

/// The first part, and the bytes behind it.
fn take_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Appends an event's packet text.
pub(crate) fn write_event(
    out: &mut Vec<u8>,
    namespace: &str,
    ack: Option<u64>,
    json: &[u8],
    attachments: usize,
) {
    let kind = if attachments == 0 { PacketType::Event } else { PacketType::BinaryEvent };
    write_head(out, kind, attachments, namespace, ack);
    out.extend_from_slice(json);
}
