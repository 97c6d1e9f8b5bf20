//! Sockets over Engine.IO's sessions: how Socket.IO's packets are written to one client.

use std::rc::Rc;
use std::time::Instant;

use switchboard_hub::{HubError, Key, Place, Session, Worker};
use switchboard_protocol::engineio::Version;
use switchboard_protocol::socketio::{
    self, PacketType, connect_error, connect_reply, connect_reply_with_pid, write_head,
};
use switchboard_websocket::Opcode;

use crate::api::carrier::{Carrier, Head, Kind, Outgoing};
use crate::engineio::begin_message;
use crate::engineio::session::{EngineSession, Sending};
use crate::handshake::Handshake;
use crate::{DisconnectReason, Error, SocketId};

fn packet_type(kind: Kind) -> PacketType {
    match kind {
        Kind::Event => PacketType::Event,
        Kind::Ack => PacketType::Ack,
    }
}

/// An event that is not to be acknowledged may be dropped.
#[inline]
pub(super) fn place(head: Head<'_>) -> Place {
    if head.kind == Kind::Event && head.id.is_none() { Place::Droppable } else { Place::Kept }
}

impl EngineSession {
    /// Queues a packet that is no event: a client that cannot be told will find out.
    fn tell(self: &Rc<Self>, worker: &Rc<Worker>, write: impl FnOnce(&mut Vec<u8>)) {
        worker.with_scratch(|packet| {
            begin_message(packet);
            write(packet);
            let _full = EngineSession::send(self, worker, Opcode::Text, packet, Sending::default());
        });
    }

    /// Queues an event or an acknowledgement, and its attachments behind it.
    #[inline(never)]
    fn send_with_attachments(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        out: Outgoing<'_>,
        key: Option<&Key>,
    ) -> Result<(), HubError> {
        let Outgoing { head, packet, attachments, compress, .. } = out;
        // Known only now, and stands before the rest: the packet's type, then how many there are.
        let mut binary = Vec::with_capacity(8);
        write_head(&mut binary, packet_type(head.kind).with_attachments(), attachments.len(), "/", None);
        packet.splice(1..=1, binary);
        match key {
            Some(key) => EngineSession::send_conflated(self, worker, key, Opcode::Text, packet, compress)?,
            None => {
                EngineSession::send(
                    self,
                    worker,
                    Opcode::Text,
                    packet,
                    Sending { compress, place: place(head) },
                )?;
            }
        }
        let sending = Sending { compress, place: Place::Follows };
        let mut attachments = attachments.iter();
        attachments.try_for_each(|bytes| EngineSession::send(self, worker, Opcode::Binary, bytes, sending))
    }
}

impl Carrier for EngineSession {
    fn session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }

    fn as_session(&self) -> &dyn Session {
        self
    }

    fn handshake(&self) -> &Handshake {
        EngineSession::handshake(self)
    }

    fn is_open(&self) -> bool {
        EngineSession::is_open(self)
    }

    #[inline]
    fn begin(&self, packet: &mut Vec<u8>, head: Head<'_>) {
        begin_message(packet);
        write_head(packet, packet_type(head.kind), 0, head.namespace, head.id);
    }

    fn send(self: Rc<Self>, worker: &Rc<Worker>, out: Outgoing<'_>) -> Result<(), HubError> {
        if out.attachments.is_empty() {
            let sending = Sending { compress: out.compress, place: place(out.head) };
            return self.send_inlined(worker, Opcode::Text, out.packet, sending);
        }
        self.send_with_attachments(worker, out, None)
    }

    fn send_conflated(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        key: &Key,
        out: Outgoing<'_>,
    ) -> Result<(), HubError> {
        if out.attachments.is_empty() {
            return EngineSession::send_conflated(&self, worker, key, Opcode::Text, out.packet, out.compress);
        }
        self.send_with_attachments(worker, out, Some(key))
    }

    fn connected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId) {
        self.tell(worker, |packet| connect_reply(packet, namespace, id.as_str()));
    }

    fn can_recover(&self) -> bool {
        // Clients of Socket.IO 1 and 2 know nothing of it.
        self.speaks(Version::V4)
    }

    fn connected_with_token(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId, token: &str) {
        self.tell(worker, |packet| connect_reply_with_pid(packet, namespace, id.as_str(), token));
    }

    fn refused(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, error: &Error) {
        self.tell(worker, |packet| {
            // What was a JSON value serialises.
            let _never = connect_error(packet, namespace, error.public_message(), error.data());
        });
    }

    fn disconnected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str) {
        self.tell(worker, |packet| socketio::disconnect(packet, namespace));
    }

    fn pause(&self) {
        EngineSession::pause(self);
    }

    fn resume(self: Rc<Self>, worker: &Rc<Worker>) {
        EngineSession::resume(&self, worker);
    }

    fn close(self: Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        EngineSession::close(&self, worker, reason);
    }

    fn arm(&self, worker: &Worker, deadline: Instant) {
        EngineSession::arm(self, worker, deadline);
    }
}
