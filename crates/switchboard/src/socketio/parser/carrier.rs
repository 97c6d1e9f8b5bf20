//! Sockets over a session whose packets a parser writes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use switchboard_hub::{HubError, Key, Place, Session, Worker};
use switchboard_protocol::socketio::{
    self, PacketType, WholePacket, connect_error, connect_reply, connect_reply_with_pid,
};
use switchboard_websocket::Opcode;

use super::Parser;
use crate::api::carrier::{Carrier, Head, Kind, Outgoing};
use crate::engineio::begin_message;
use crate::engineio::session::{EngineSession, Sending};
use crate::functions::guarded;
use crate::handshake::Handshake;
use crate::message::Message;
use crate::socketio::carrier::place;
use crate::{DisconnectReason, Error, SocketId};

/// A session whose packets a parser writes.
pub(crate) struct ParsedSession {
    pub(super) session: Rc<EngineSession>,
    pub(super) parser: Arc<dyn Parser>,
}

impl ParsedSession {
    /// `key`: that of an event which takes the place of an older one.
    fn send_packet(
        &self,
        worker: &Rc<Worker>,
        packet: &WholePacket<'_>,
        mut sending: Sending,
        mut key: Option<&Key>,
    ) -> Result<(), HubError> {
        let mut sent = Ok(());
        let mut send = |message: Message<'_>| {
            if sent.is_ok() {
                sent = self.send_message(worker, message, sending, key.take());
            }
            sending.place = Place::Follows;
        };
        let _panicked = guarded(|| self.parser.encode(packet, &mut send));
        sent
    }

    /// Queues an event or an acknowledgement.
    fn send_event(&self, worker: &Rc<Worker>, out: &Outgoing<'_>, key: Option<&Key>) -> Result<(), HubError> {
        let packet = WholePacket {
            kind: match out.head.kind {
                Kind::Event => PacketType::Event,
                Kind::Ack => PacketType::Ack,
            },
            namespace: out.head.namespace.into(),
            id: out.head.id,
            data: String::from_utf8_lossy(out.json()),
            attachments: out.attachments.into(),
        };
        let sending = Sending { compress: out.compress, place: place(out.head) };
        self.send_packet(worker, &packet, sending, key)
    }

    fn send_message(
        &self,
        worker: &Rc<Worker>,
        message: Message<'_>,
        sending: Sending,
        key: Option<&Key>,
    ) -> Result<(), HubError> {
        let send = |opcode, bytes: &[u8]| match key {
            Some(key) => {
                EngineSession::send_conflated(&self.session, worker, key, opcode, bytes, sending.compress)
            }
            None => EngineSession::send(&self.session, worker, opcode, bytes, sending),
        };
        match message {
            Message::Text(text) => worker.with_scratch(|packet| {
                begin_message(packet);
                packet.extend_from_slice(text.as_bytes());
                send(Opcode::Text, packet)
            }),
            Message::Binary(bytes) => send(Opcode::Binary, bytes),
        }
    }

    /// Queues a packet that is no event: a client that cannot be told will find out. `write` writes it as the
    /// default parser does, for the namespace `/`.
    fn tell(&self, worker: &Rc<Worker>, kind: PacketType, namespace: &str, write: impl FnOnce(&mut Vec<u8>)) {
        worker.with_scratch(|text| {
            write(text);
            // All before the data is the type.
            let data = String::from_utf8_lossy(text.get(1..).unwrap_or_default());
            let packet = WholePacket {
                kind,
                namespace: namespace.into(),
                id: None,
                data,
                attachments: [].as_slice().into(),
            };
            let _full = self.send_packet(worker, &packet, Sending::default(), None);
        });
    }
}

impl Carrier for ParsedSession {
    fn session(self: Rc<Self>) -> Rc<dyn Session> {
        Rc::clone(&self.session) as Rc<dyn Session>
    }

    fn as_session(&self) -> &dyn Session {
        &*self.session
    }

    fn handshake(&self) -> &Handshake {
        EngineSession::handshake(&self.session)
    }

    fn is_open(&self) -> bool {
        EngineSession::is_open(&self.session)
    }

    /// Nothing: the parser writes the packet as a whole.
    fn begin(&self, _packet: &mut Vec<u8>, _head: Head<'_>) {}

    fn send(self: Rc<Self>, worker: &Rc<Worker>, out: Outgoing<'_>) -> Result<(), HubError> {
        self.send_event(worker, &out, None)
    }

    fn send_conflated(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        key: &Key,
        out: Outgoing<'_>,
    ) -> Result<(), HubError> {
        self.send_event(worker, &out, Some(key))
    }

    fn connected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId) {
        self.tell(worker, PacketType::Connect, namespace, |out| connect_reply(out, "/", id.as_str()));
    }

    fn can_recover(&self) -> bool {
        true
    }

    fn connected_with_token(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId, token: &str) {
        self.tell(worker, PacketType::Connect, namespace, |out| {
            connect_reply_with_pid(out, "/", id.as_str(), token);
        });
    }

    fn refused(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, error: &Error) {
        self.tell(worker, PacketType::ConnectError, namespace, |out| {
            // What was a JSON value serialises.
            let _never = connect_error(out, "/", error.public_message(), error.data());
        });
    }

    fn disconnected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str) {
        self.tell(worker, PacketType::Disconnect, namespace, |out| socketio::disconnect(out, "/"));
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
