//! One session's Socket.IO packets, and what of its sockets they are for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use switchboard_hub::{ScopeId, Worker};
use switchboard_protocol::engineio::Version;
use switchboard_protocol::socketio::{
    Assembler, Limits, Packet, PacketType, Started, WholePacket, decode, replace_unpaired_surrogates,
};

use super::server::SocketIo;
use crate::DisconnectReason;
use crate::api::carrier::Carrier;
use crate::api::local::LocalSocket;
use crate::api::queue::count_dropped;
use crate::api::sockets::{Incoming, Membership, Sockets};
use crate::engineio::application::Conversation;
use crate::engineio::session::EngineSession;
use crate::event::DialectId;
use crate::refusals::RefusedKind;

/// The Socket.IO side of one session.
pub(crate) struct Client {
    session: Rc<EngineSession>,
    sockets: Rc<Sockets>,
    assembler: RefCell<Assembler>,
    /// When the next attachment of a packet must have come.
    attachment_due: Cell<Option<Instant>>,
    /// The namespace of a CONNECT that no other packet has followed yet.
    connecting: Cell<Option<ScopeId>>,
}

impl Client {
    pub(crate) fn open(server: &SocketIo, session: &Rc<EngineSession>) -> Rc<Self> {
        let carrier = Rc::clone(session) as Rc<dyn Carrier>;
        Rc::new(Self::new(server, session, carrier, server.dialect))
    }

    /// The same for sockets that a part of the session carries, and whose events are written in a dialect of theirs.
    pub(super) fn new(
        server: &SocketIo,
        session: &Rc<EngineSession>,
        carrier: Rc<dyn Carrier>,
        dialect: DialectId,
    ) -> Self {
        Self {
            session: Rc::clone(session),
            sockets: Sockets::new(&server.namespaces, carrier, dialect.variant()),
            assembler: RefCell::default(),
            attachment_due: Cell::new(None),
            connecting: Cell::new(None),
        }
    }

    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.sockets.options().packets
    }

    pub(super) fn parse_error(&self, worker: &Rc<Worker>, error: &dyn std::error::Error) {
        tracing::debug!(%error, "not a packet");
        metrics::counter!("switchboard_parse_errors_total").increment(1);
        EngineSession::close(&self.session, worker, DisconnectReason::ParseError);
    }

    /// An attachment is awaited, or another message of the same packet.
    pub(super) fn await_message(&self, worker: &Rc<Worker>) {
        let due = self.session.message_timeout().map(Worker::deadline);
        self.attachment_due.set(due);
        if let Some(due) = due {
            Carrier::arm(&*self.session, worker, due);
        }
    }

    /// Closes the session of a client that does not send the attachments which it has announced.
    fn check_attachments(&self, worker: &Rc<Worker>, now: Instant) {
        if self.attachment_due.get().is_none_or(|due| now < due) {
            return;
        }
        if self.session.is_unread() {
            // They cannot come.
            return self.await_message(worker);
        }
        self.attachment_due.set(None);
        metrics::counter!("switchboard_websocket_message_timeouts_total").increment(1);
        tracing::debug!("the attachments of a packet did not come in time");
        EngineSession::close(&self.session, worker, DisconnectReason::ParseError);
    }

    /// A packet that a parser has read.
    pub(super) fn on_whole_packet(&self, worker: &Rc<Worker>, whole: WholePacket<'_>) {
        self.attachment_due.set(None);
        if let Err(error) = whole.check() {
            return self.parse_error(worker, &error);
        }
        let WholePacket { kind, namespace, id: ack, data, attachments } = whole;
        let packet = Packet { kind, namespace: &namespace, ack, attachments: attachments.len(), data: &data };
        self.on_packet(worker, &packet, Some(attachments.into_owned()));
    }

    /// A packet has come, without its attachments.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: 20 instructions of each packet, since it has three callers"
    )]
    pub(super) fn start(&self, worker: &Rc<Worker>, packet: &Packet<'_>) {
        let started = self.assembler.borrow_mut().start(packet);
        match started {
            Ok(Started::Complete) => self.on_packet(worker, packet, None),
            Ok(Started::Waiting) => self.await_message(worker),
            Err(error) => self.parse_error(worker, &error),
        }
    }

    fn on_packet(&self, worker: &Rc<Worker>, packet: &Packet<'_>, attachments: Option<Vec<Bytes>>) {
        let socket = self.sockets.socket(packet.namespace);
        let connecting = self.connecting.take();
        if matches!(packet.kind, PacketType::Event | PacketType::BinaryEvent)
            && let Some(socket) = socket.as_ref().filter(|socket| socket.socket.is_connected())
        {
            let attachments = attachments.as_deref().unwrap_or_default();
            let event = Incoming { json: packet.data, attachments, ack: packet.ack };
            if let Err(error) = Sockets::event_of(worker, socket, event) {
                self.parse_error(worker, &error);
            }
        } else {
            self.on_other_packet(worker, packet, attachments, socket, connecting);
        }
    }

    /// A packet that is no event of a socket that is connected.
    #[inline(never)]
    fn on_other_packet(
        &self,
        worker: &Rc<Worker>,
        packet: &Packet<'_>,
        attachments: Option<Vec<Bytes>>,
        socket: Option<Rc<LocalSocket>>,
        connecting: Option<ScopeId>,
    ) {
        match (packet.kind, socket) {
            (PacketType::Connect, None) => {
                match self.sockets.connect(worker, packet.namespace, packet.data) {
                    Ok(()) => {
                        let socket = self.sockets.socket(packet.namespace);
                        self.connecting.set(socket.map(|socket| socket.scope()));
                    }
                    Err(error) => self.parse_error(worker, &error),
                }
            }
            (PacketType::Connect, Some(socket))
                if !socket.socket.is_connected() || connecting == Some(socket.scope()) =>
            {
                // A client that connects, disconnects and connects again before it was answered sends CONNECT
                // twice, and nothing between. One answer is for both.
                self.connecting.set(connecting);
                metrics::counter!("switchboard_packets_out_of_place_total").increment(1);
                tracing::debug!(namespace = packet.namespace, "a namespace that is being joined already");
            }
            (PacketType::Ack | PacketType::BinaryAck, Some(socket)) => {
                if let Some(id) = packet.ack {
                    socket.on_ack(worker, id, packet.data, attachments.unwrap_or_default());
                } else {
                    tracing::debug!("an acknowledgement without an id");
                }
            }
            (PacketType::Disconnect, Some(_)) => self.sockets.leave(worker, packet.namespace),
            (PacketType::Disconnect, None)
                if self.sockets.membership(packet.namespace) == Membership::Joining =>
            {
                self.sockets.leave(worker, packet.namespace);
            }
            (kind, None)
                if kind != PacketType::ConnectError
                    && self.sockets.membership(packet.namespace) == Membership::Left =>
            {
                if matches!(kind, PacketType::Event | PacketType::BinaryEvent) {
                    count_dropped(1, "disconnected");
                }
                tracing::debug!(
                    ?kind,
                    namespace = packet.namespace,
                    "a packet for a socket that was disconnected"
                );
            }
            // A client of 1.0 sends events before it is in a namespace, and servers of its time dropped them.
            (PacketType::Event | PacketType::BinaryEvent | PacketType::Disconnect, _)
            | (PacketType::Ack | PacketType::BinaryAck, None)
                if self.session.speaks(Version::V3) =>
            {
                count_dropped(1, "not joined");
                tracing::debug!(
                    namespace = packet.namespace,
                    "a packet for a namespace that the client is not in"
                );
            }
            // A namespace that was not joined, one that was already, or what only servers send.
            (kind, _) => {
                metrics::counter!("switchboard_packets_out_of_place_total").increment(1);
                tracing::debug!(?kind, namespace = packet.namespace, "a packet out of place");
                self.session.tell_refused(RefusedKind::Packet, "out of place", 1);
                EngineSession::close(&self.session, worker, DisconnectReason::ForcedServerClose);
            }
        }
    }
}

impl Conversation for Client {
    fn text(&self, worker: &Rc<Worker>, text: &str) {
        // JavaScript may cut an emoji in half, which serde would not take.
        let text = &*replace_unpaired_surrogates(text);
        match decode(text, self.limits()) {
            Ok(packet) => self.start(worker, &packet),
            Err(error) => self.parse_error(worker, &error),
        }
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        let pushed = self.assembler.borrow_mut().push(Bytes::copy_from_slice(bytes), self.limits());
        match pushed {
            Ok(Some(assembled)) => {
                self.attachment_due.set(None);
                self.on_packet(worker, &assembled.packet.as_packet(), Some(assembled.attachments));
            }
            Ok(None) => self.await_message(worker),
            Err(error) => self.parse_error(worker, &error),
        }
    }

    fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.sockets.closed(worker, reason);
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        self.check_attachments(worker, now);
        let sockets = self.sockets.on_timer(worker, now);
        self.attachment_due.get().into_iter().chain(sockets).min()
    }
}
