//! What old clients send, and what of their sockets it is for.

use std::rc::Rc;

use switchboard_hub::Worker;
use switchboard_protocol::socketio::{event_name, is_reserved, replace_unpaired_surrogates};
use switchboard_protocol::socketio06::{self, Message};
use switchboard_protocol::socketio09::{
    Advice, Packet, PacketType, Reason, acknowledged, decode, event_json, namespace, payload, write_ack,
    write_connect, write_error,
};

use super::Version;
use super::session::OldSession;
use crate::DisconnectReason;
use crate::api::queue::count_dropped;
use crate::api::sockets::{Incoming, Membership};

/// Events for namespaces that the client is joining. Clients of 0.9 do not wait until they have joined.
#[derive(Default)]
pub(super) struct Early {
    events: Vec<EarlyEvent>,
    bytes: usize,
    /// The client is not read, as there are too many.
    pub(super) holds_back: bool,
}

struct EarlyEvent {
    namespace: Box<str>,
    json: Box<str>,
    ack: Option<u64>,
}

impl Early {
    fn has(&self, namespace: &str) -> bool {
        self.events.iter().any(|event| &*event.namespace == namespace)
    }
}

impl OldSession {
    /// The text of one message of a WebSocket. `false`: it breaks the protocol.
    pub(super) fn on_text(self: &Rc<Self>, worker: &Rc<Worker>, text: &str) -> bool {
        match self.version {
            Version::V06 => self.on_body(worker, text),
            Version::V09 => {
                let text = &*replace_unpaired_surrogates(text);
                decode(text).is_ok_and(|packet| self.on_packet(worker, &packet)) || count_parse_error()
            }
        }
    }

    /// Packets or frames, one after another. `false`: they break the protocol.
    pub(super) fn on_body(self: &Rc<Self>, worker: &Rc<Worker>, body: &str) -> bool {
        // Escapes become no longer or shorter by this, so the lengths stay true.
        let body = &*replace_unpaired_surrogates(body);
        let mut is_read = true;
        match self.version {
            Version::V09 => {
                for packet in payload::decode(body) {
                    is_read = is_read && packet.is_ok_and(|packet| self.on_packet(worker, &packet));
                    if !is_read || !self.is_open() {
                        break;
                    }
                }
            }
            Version::V06 => {
                for message in socketio06::decode(body) {
                    is_read = is_read && message.is_ok_and(|message| self.on_frame(worker, &message));
                    if !is_read || !self.is_open() {
                        break;
                    }
                }
            }
        }
        is_read || count_parse_error()
    }

    /// A POST whose body is not in the form that it should have. Its client is told to begin anew.
    pub(super) fn on_unreadable(self: &Rc<Self>, worker: &Rc<Worker>) {
        count_parse_error();
        if self.version == Version::V09 {
            let mut packet = Vec::new();
            write_error(&mut packet, "/", Reason::Other, Advice::Reconnect);
            self.tell(worker, &packet);
        }
        self.close(worker, DisconnectReason::ParseError);
    }

    fn on_frame(self: &Rc<Self>, worker: &Rc<Worker>, message: &Message<'_>) -> bool {
        worker.stats().messages_received.add(1);
        if let Message::Heartbeat(number) = message {
            if number.parse() == Ok(self.heartbeats()) {
                self.on_heartbeat(worker);
            }
            return true;
        }
        let mut json = Vec::new();
        socketio06::event_json(message, &mut json).is_ok() && self.on_event(worker, "/", json, None)
    }

    fn on_packet(self: &Rc<Self>, worker: &Rc<Worker>, packet: &Packet<'_>) -> bool {
        worker.stats().messages_received.add(1);
        match packet.kind {
            PacketType::Heartbeat => self.on_heartbeat(worker),
            PacketType::Disconnect if packet.endpoint.is_empty() => self.client_leaves(worker),
            PacketType::Disconnect => {
                if let Some(sockets) = self.sockets() {
                    sockets.leave(worker, packet.endpoint);
                }
            }
            PacketType::Connect => self.on_connect(worker, packet),
            PacketType::Message | PacketType::Json | PacketType::Event => {
                return self.on_event_packet(worker, packet);
            }
            PacketType::Ack => {
                let Ok((id, args)) = acknowledged(packet) else { return false };
                // Ours begin with 1.
                if let (Some(sockets), Some(id)) = (self.sockets(), id.checked_sub(1)) {
                    sockets.ack(worker, namespace(packet.endpoint), id, args, Vec::new());
                }
            }
            // What only servers send means nothing here.
            PacketType::Error | PacketType::Noop => {}
        }
        true
    }

    fn on_connect(self: &Rc<Self>, worker: &Rc<Worker>, packet: &Packet<'_>) {
        let (endpoint, query) = packet.split_query();
        let Some(sockets) = self.sockets() else { return };
        let namespace = namespace(endpoint);
        if sockets.membership(namespace) == Membership::Joined {
            let mut again = Vec::new();
            write_connect(&mut again, namespace);
            return self.tell(worker, &again);
        }
        let auth: serde_json::Map<_, _> = form_urlencoded::parse(query.as_bytes())
            .map(|(key, value)| (key.into_owned(), serde_json::Value::String(value.into_owned())))
            .collect();
        let auth = if auth.is_empty() { String::new() } else { serde_json::Value::Object(auth).to_string() };
        // It is JSON.
        let _asked = sockets.connect(worker, namespace, &auth);
    }

    fn on_event_packet(self: &Rc<Self>, worker: &Rc<Worker>, packet: &Packet<'_>) -> bool {
        let mut json = Vec::new();
        if event_json(packet, &mut json).is_err() {
            return false;
        }
        let namespace = namespace(packet.endpoint);
        let is_for_us = self.sockets().is_some_and(|sockets| {
            matches!(sockets.membership(namespace), Membership::Joined | Membership::Joining)
        });
        if let (Some(id), false, true) = (packet.id, packet.data_ack, is_for_us) {
            let mut ack = Vec::new();
            write_ack(&mut ack, namespace, id, b"", &[]);
            self.tell(worker, &ack);
        }
        self.on_event(worker, namespace, json, packet.id.filter(|_| packet.data_ack))
    }

    /// An event, `["event",argument,…]`. `false`: it has no name.
    fn on_event(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        namespace: &str,
        json: Vec<u8>,
        ack: Option<u64>,
    ) -> bool {
        // It was made of text.
        let json = String::from_utf8(json).unwrap_or_default();
        if !is_taken(&json) {
            count_dropped(1, "reserved");
            return true;
        }
        let Some(sockets) = self.sockets() else { return true };
        let waits_behind = self.early.borrow().has(namespace);
        match sockets.membership(namespace) {
            Membership::Joined if !waits_behind => {
                let event = Incoming { json: &json, attachments: &[], ack };
                return sockets.event(worker, namespace, event).is_ok();
            }
            Membership::Joined | Membership::Joining => self.hold(namespace, json, ack),
            Membership::None | Membership::Left => {
                count_dropped(1, "disconnected");
                tracing::debug!(namespace, "an event for a namespace that was not joined");
            }
        }
        true
    }

    /// Holds an event until its namespace is joined. Beyond the bound the client is not read.
    fn hold(&self, namespace: &str, json: String, ack: Option<u64>) {
        let most = self.old.namespaces.options.max_held_bytes;
        let mut early = self.early.borrow_mut();
        early.bytes += json.len() + namespace.len() + size_of::<EarlyEvent>();
        early.events.push(EarlyEvent { namespace: namespace.into(), json: json.into(), ack });
        if early.bytes >= most && !early.holds_back {
            early.holds_back = true;
            drop(early);
            self.stop_reading();
        }
    }

    /// A namespace was joined, or refused: the events that wait for it have their turn after what goes on now.
    pub(super) fn release_early(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.early.borrow().events.is_empty() {
            return;
        }
        let (me, worker) = (Rc::downgrade(self), Rc::clone(worker));
        tokio::task::spawn_local(async move {
            if let Some(me) = me.upgrade() {
                me.deliver_early(&worker);
            }
        });
    }

    fn deliver_early(self: &Rc<Self>, worker: &Rc<Worker>) {
        let Early { events, holds_back, .. } = self.early.take();
        let mut is_read = true;
        for EarlyEvent { namespace, json, ack } in events {
            is_read = is_read && self.on_event(worker, &namespace, json.into_string().into_bytes(), ack);
        }
        if holds_back {
            self.read_on();
        }
        if !is_read {
            self.close(worker, DisconnectReason::ParseError);
        }
    }
}

fn count_parse_error() -> bool {
    metrics::counter!("switchboard_parse_errors_total").increment(1);
    tracing::debug!("not a packet");
    false
}

/// Whether an event goes to handlers. Names of the library's own events do not, as in Node.
fn is_taken(json: &str) -> bool {
    event_name(json).is_ok_and(|(name, _)| !is_reserved(&name))
}
