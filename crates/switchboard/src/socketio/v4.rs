//! Clients of Socket.IO protocols 3 and 4, which are those of Socket.IO 1 and 2: what they do otherwise.
//!
//! [Socket.IO protocol 4](https://github.com/socketio/socket.io/blob/main/docs/socket.io-protocol/v4.md). Packets,
//! sockets and sessions are those of protocol 5 ([`Client`], [`EngineSession`]). See
//! [`switchboard_protocol::socketio::v4`] for the differences.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use switchboard_hub::{HubError, Key, Place, Session, Worker};
use switchboard_protocol::engineio::{Query, v3};
use switchboard_protocol::socketio::v4::{self, AckForm};
use switchboard_protocol::socketio::{Packet, PacketType, replace_unpaired_surrogates, write_head};
use switchboard_websocket::Opcode;

use super::client::Client;
use super::server::SocketIo;
use crate::api::carrier::{Carrier, Head, Kind, Outgoing};
use crate::engineio::application::Conversation;
use crate::engineio::begin_message;
use crate::engineio::session::{EngineSession, Sending};
use crate::event::{Dialect, Event, Messages};
use crate::handshake::Handshake;
use crate::{DisconnectReason, Error, SocketId};

/// Events as packets of protocol 4: JSON in ASCII, and binary messages of Engine.IO protocol 3.
pub(super) struct DialectV4;

impl Dialect for DialectV4 {
    fn write(&self, event: &Event, _view: u16, out: &mut Messages<'_>) -> bool {
        let (json, attachments) = (event.json_bytes(), event.attachments());
        let mut text = Vec::with_capacity(json.len() + event.namespace().len() + 16);
        begin_message(&mut text);
        let kind = if attachments.is_empty() { PacketType::Event } else { PacketType::BinaryEvent };
        write_head(&mut text, kind, attachments.len(), event.namespace(), None);
        v4::write_ascii(json, &mut text);
        out.utf8(&text);
        for attachment in attachments {
            out.binary_v3(attachment);
        }
        true
    }
}

/// The Socket.IO side of one session.
pub(super) struct ClientV4 {
    client: Client,
    carrier: Rc<CarrierV4>,
}

impl ClientV4 {
    pub(super) fn open(server: &SocketIo, session: &Rc<EngineSession>) -> Rc<Self> {
        let acks = if may_count(session.handshake()) { Acks::Unknown } else { Acks::Known(AckForm::Typed) };
        let carrier = Rc::new(CarrierV4 { session: Rc::clone(session), acks: Cell::new(acks) });
        let as_carrier = Rc::clone(&carrier) as Rc<dyn Carrier>;
        Rc::new(Self { client: Client::new(server, session, as_carrier, server.dialect_v4), carrier })
    }
}

impl Conversation for ClientV4 {
    /// The client is in namespace `/` without asking.
    fn opened(&self, worker: &Rc<Worker>) {
        if let Err(error) = self.client.sockets().connect(worker, "/", "") {
            self.client.parse_error(worker, &error);
        }
    }

    fn text(&self, worker: &Rc<Worker>, text: &str) {
        if let Some(form) = AckForm::of(text) {
            self.carrier.acks.set(Acks::Known(form));
        }
        let text = &*replace_unpaired_surrogates(text);
        let packet = match v4::decode(text, self.client.limits()) {
            Ok(packet) => packet,
            Err(error) => return self.client.parse_error(worker, &error),
        };
        if packet.kind != PacketType::Connect {
            return self.client.start(worker, &packet);
        }
        let (namespace, query) = packet.split_query();
        let auth = v4::auth_of_query(query);
        self.client.start(worker, &Packet { namespace, data: &auth, ..packet });
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        self.client.binary(worker, bytes);
    }

    fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.client.closed(worker, reason);
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        self.client.on_timer(worker, now)
    }
}

/// What is known of the form of a client's acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acks {
    /// Nothing: they are sent in both forms, of which each client reads one and ignores the other. A client of
    /// protocol 3 would read the common form for ever.
    Unknown,
    Known(AckForm),
}

/// Whether a request may come from a client of 1.0.0 to 1.0.2: it announces protocol 2 of Engine.IO, as these do in
/// browsers, or it has the time stamp of early clients and takes no binary payloads, as these in Node.
fn may_count(handshake: &Handshake) -> bool {
    let (_, query) = handshake.url().split_once('?').unwrap_or_default();
    let asked = Query::parse(query);
    asked.eio.as_deref() == Some("2") || asked.b64 && v3::is_early(query)
}

/// The same packet with its JSON in ASCII.
fn in_ascii(out: Outgoing<'_>) -> Outgoing<'_> {
    if !out.json().is_ascii() {
        let json = out.packet.split_off(out.json_at);
        v4::write_ascii(&json, out.packet);
    }
    out
}

/// The session, as it carries sockets of such a client.
struct CarrierV4 {
    session: Rc<EngineSession>,
    acks: Cell<Acks>,
}

impl CarrierV4 {
    /// Queues a packet that is no event: a client that cannot be told will find out.
    fn tell(&self, worker: &Rc<Worker>, write: impl FnOnce(&mut Vec<u8>)) {
        worker.with_scratch(|packet| {
            begin_message(packet);
            write(packet);
            let _full = EngineSession::send(&self.session, worker, Opcode::Text, packet, Sending::default());
        });
    }

    /// Queues an acknowledgement for a client that may not know the common form.
    fn send_counted(
        &self,
        worker: &Rc<Worker>,
        out: &Outgoing<'_>,
        also_typed: bool,
    ) -> Result<(), HubError> {
        let Outgoing { head, attachments, compress, .. } = out;
        let mut sending = Sending { compress: *compress, place: Place::Kept };
        let mut send = |opcode, bytes: &[u8]| {
            let sent = EngineSession::send(&self.session, worker, opcode, bytes, sending);
            sending.place = Place::Follows;
            sent
        };
        let (count, namespace, id) = (attachments.len(), head.namespace, head.id);
        let mut packet = Vec::with_capacity(out.json().len() + namespace.len() + 32);
        for is_typed in [true, false] {
            if is_typed && !also_typed {
                continue;
            }
            packet.clear();
            begin_message(&mut packet);
            let write = if is_typed { v4::write_typed_ack } else { v4::write_counted_ack };
            write(&mut packet, count, namespace, id);
            packet.extend_from_slice(out.json());
            send(Opcode::Text, &packet)?;
        }
        attachments.iter().try_for_each(|bytes| send(Opcode::Binary, bytes))
    }
}

impl Carrier for CarrierV4 {
    fn session(self: Rc<Self>) -> Rc<dyn Session> {
        Rc::clone(&self.session) as Rc<dyn Session>
    }

    fn as_session(&self) -> &dyn Session {
        &*self.session
    }

    fn handshake(&self) -> &Handshake {
        self.session.handshake()
    }

    fn is_open(&self) -> bool {
        self.session.is_open()
    }

    fn begin(&self, packet: &mut Vec<u8>, head: Head<'_>) {
        Carrier::begin(&*self.session, packet, head);
    }

    fn send(self: Rc<Self>, worker: &Rc<Worker>, out: Outgoing<'_>) -> Result<(), HubError> {
        let out = in_ascii(out);
        match self.acks.get() {
            Acks::Unknown if out.head.kind == Kind::Ack => self.send_counted(worker, &out, true),
            Acks::Known(AckForm::Counted) if out.head.kind == Kind::Ack => {
                self.send_counted(worker, &out, false)
            }
            _ => Carrier::send(Rc::clone(&self.session), worker, out),
        }
    }

    fn send_conflated(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        key: &Key,
        out: Outgoing<'_>,
    ) -> Result<(), HubError> {
        Carrier::send_conflated(Rc::clone(&self.session), worker, key, in_ascii(out))
    }

    /// The client does not hear the socket's id: it makes one of the session's.
    fn connected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, _id: SocketId) {
        self.tell(worker, |packet| write_head(packet, PacketType::Connect, 0, namespace, None));
    }

    /// What such a client takes for its socket's id: the session's in `/` (in 1.x everywhere), and with the
    /// name of the namespace before it elsewhere.
    fn own_rooms(&self, namespace: &str) -> Vec<String> {
        let sid = self.session.sid();
        let mut rooms = vec![sid.to_owned()];
        if namespace != "/" {
            rooms.push(format!("{namespace}#{sid}"));
        }
        rooms
    }

    /// As Node does: the data of the error, or else its message.
    fn refused(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, error: &Error) {
        self.tell(worker, |packet| match error.data() {
            Some(data) => v4::error(packet, namespace, data),
            None => v4::error(packet, namespace, error.public_message()),
        });
    }

    fn disconnected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str) {
        Carrier::disconnected(Rc::clone(&self.session), worker, namespace);
    }

    fn pause(&self) {
        EngineSession::pause(&self.session);
    }

    fn resume(self: Rc<Self>, worker: &Rc<Worker>) {
        EngineSession::resume(&self.session, worker);
    }

    fn close(self: Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        EngineSession::close(&self.session, worker, reason);
    }

    fn arm(&self, worker: &Worker, deadline: Instant) {
        EngineSession::arm(&self.session, worker, deadline);
    }
}
