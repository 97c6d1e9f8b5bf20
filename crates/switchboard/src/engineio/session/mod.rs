//! An Engine.IO session over the hub: one conversation, which may begin on polling and go on over WebSocket.
//!
//! [Engine.IO protocol
//! 4](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v4-current.md), and [protocol
//! 3](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v3.md). The session's rules know
//! its version. It decides on the framing of polling, on the form of binary messages ([`v3`]), and on nothing
//! else here.

mod closing;
mod owner;
mod upgrade;
mod v3;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use switchboard_hub::{Framing, HubError, Key, Outbox, Place, Session, SessionKey, Worker};
use switchboard_protocol::engineio::{
    Ending, OpenPacket, Packet, Received, ServerSession, SessionId, Version,
};
use switchboard_websocket::Opcode;

use super::application::Conversation;
use super::ids::new_id;
use super::polling::Polling;
use super::{EngineOptions, EngineServer, TooManySessions};
use crate::DisconnectReason;
use crate::handshake::Handshake;
use crate::transport::connection::{Connection, ConnectionOwner, ConnectionTask, Opened};
use crate::transport::framing::{PAYLOAD, PAYLOAD_V3, uncompressed, write_binary, write_text};
use crate::transport::wire::write_own;

/// The sessions of a worker by their ids.
#[derive(Default)]
pub(crate) struct Registry {
    sessions: RefCell<HashMap<SessionId, Rc<EngineSession>, foldhash::fast::RandomState>>,
    opened: Cell<u64>,
}

/// How many sessions a worker has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionCounts {
    /// Open now.
    pub(crate) open: usize,
    /// Those of them that are on polling.
    pub(crate) polling: usize,
    /// Opened since the worker's beginning.
    pub(crate) opened: u64,
}

impl Registry {
    pub(crate) fn get(&self, sid: &SessionId) -> Option<Rc<EngineSession>> {
        self.sessions.borrow().get(sid).cloned()
    }

    /// Counts the sessions of a worker.
    pub(crate) fn counts(worker: &Rc<Worker>) -> SessionCounts {
        let registry = worker.extension::<Self>();
        let sessions = registry.sessions.borrow();
        let polling = sessions.values().filter(|session| session.handshake.transport() == "polling").count();
        SessionCounts { open: sessions.len(), polling, opened: registry.opened.get() }
    }
}

/// How a packet is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// Compressed where the connection compresses.
    pub(crate) compress: bool,
    /// What becomes of it if the outbox is full. Attachments follow their packet.
    pub(crate) place: Place,
}

impl Default for Sending {
    fn default() -> Self {
        Self { compress: true, place: Place::Kept }
    }
}

pub(in crate::engineio) enum Transport {
    None,
    Polling(Polling),
    WebSocket(Rc<Connection>),
}

/// One Engine.IO session, on its worker.
pub(crate) struct EngineSession {
    pub(in crate::engineio) sid: SessionId,
    key: Cell<Option<SessionKey>>,
    pub(in crate::engineio) outbox: Outbox,
    pub(in crate::engineio) server: Arc<EngineServer>,
    pub(in crate::engineio) transport: RefCell<Transport>,
    /// The rules of the session. Borrowed for one call at a time, in which no other code is called.
    pub(in crate::engineio) rules: RefCell<ServerSession>,
    /// The connection that probes now.
    pub(in crate::engineio) probing: RefCell<Option<Rc<Connection>>>,
    conversation: RefCell<Option<Rc<dyn Conversation>>>,
    handshake: Handshake,
}

impl EngineSession {
    /// Opens a session over a WebSocket connection.
    pub(crate) fn open_websocket(
        worker: &Rc<Worker>,
        server: &Arc<EngineServer>,
        version: Version,
        handshake: Handshake,
        opened: Opened<'_>,
    ) -> Option<ConnectionTask> {
        // The handshake has passed this bound; another one may have been faster since.
        let generate = server.options.generate_id.as_ref();
        let sid = new_id(generate, version, worker.hub(), worker.id(), &handshake)?;
        let EngineOptions { ping_interval, ping_timeout, .. } = server.options;
        let rules = ServerSession::websocket(worker.elapsed(), version, ping_interval, ping_timeout);
        let session = Self::new(worker, server, sid, handshake, rules, opened.wire.framing()).ok()?;
        let limits = server.websocket_limits();
        let (connection, task) =
            Connection::start(worker, opened, limits, Rc::clone(&session) as Rc<dyn ConnectionOwner>);
        *session.transport.borrow_mut() = Transport::WebSocket(connection);
        session.start(worker, &[]);
        task
    }

    /// Opens a session on polling. The open packet waits in its outbox.
    pub(crate) fn open_polling(
        worker: &Rc<Worker>,
        server: &Arc<EngineServer>,
        sid: SessionId,
        version: Version,
        handshake: Handshake,
    ) -> Result<Rc<Self>, TooManySessions> {
        let EngineOptions { ping_interval, ping_timeout, .. } = server.options;
        let rules = ServerSession::polling(worker.elapsed(), version, ping_interval, ping_timeout);
        let framing = if version == Version::V3 { PAYLOAD_V3 } else { PAYLOAD };
        let session = Self::new(worker, server, sid, handshake, rules, framing)?;
        *session.transport.borrow_mut() = Transport::Polling(Polling::default());
        let upgrades: &[&str] = if server.options.upgrades() { &["websocket"] } else { &[] };
        session.start(worker, upgrades);
        Ok(session)
    }

    fn new(
        worker: &Rc<Worker>,
        server: &Arc<EngineServer>,
        sid: SessionId,
        handshake: Handshake,
        rules: ServerSession,
        framing: Framing,
    ) -> Result<Rc<Self>, TooManySessions> {
        if worker.extension::<Registry>().get(&sid).is_some() {
            tracing::error!("`generate_id` made the id of another session: the new session is refused");
            return Err(TooManySessions::IdTaken);
        }
        server.sessions.enter(handshake.address().map(|address| address.ip()))?;
        handshake.set_on_websocket(!rules.is_polling());
        let session = Rc::new(Self {
            sid,
            key: Cell::new(None),
            outbox: Outbox::new(server.options.outbox_limit(), framing),
            server: Arc::clone(server),
            transport: RefCell::new(Transport::None),
            rules: RefCell::new(rules),
            probing: RefCell::default(),
            conversation: RefCell::default(),
            handshake,
        });
        session.key.set(Some(worker.add_session(Rc::clone(&session) as Rc<dyn Session>)));
        let registry = worker.extension::<Registry>();
        registry.sessions.borrow_mut().insert(session.sid, Rc::clone(&session));
        registry.opened.set(registry.opened.get() + 1);
        metrics::counter!("switchboard_sessions_opened_total").increment(1);
        metrics::gauge!("switchboard_sessions").increment(1.0);
        Ok(session)
    }

    fn start(self: &Rc<Self>, worker: &Rc<Worker>, upgrades: &[&str]) {
        let options = &self.server.options;
        let open = OpenPacket {
            sid: self.sid.as_str(),
            upgrades,
            ping_interval: options.ping_interval,
            ping_timeout: options.ping_timeout,
            max_payload: options.max_payload,
        };
        worker.with_scratch(|packet| {
            open.encode(packet);
            let _full = self.send(worker, Opcode::Text, packet, Sending::default());
        });
        let conversation = self.server.application.open(worker, self);
        if !self.is_open() {
            return;
        }
        let conversation = self.with_own_texts(conversation);
        let first = conversation.on_timer(worker, Worker::clock());
        *self.conversation.borrow_mut() = Some(conversation);
        if let Some(deadline) = first {
            self.arm(worker, deadline);
        }
        self.arm_deadline(worker);
        if self.speaks(Version::V3)
            && let Some(conversation) = self.conversation()
        {
            conversation.opened(worker);
        }
    }

    fn conversation(&self) -> Option<Rc<dyn Conversation>> {
        self.conversation.borrow().clone()
    }

    /// When the session's rules ask to be called next.
    fn deadline(&self, worker: &Worker) -> Option<Instant> {
        self.rules.borrow().deadline().map(|deadline| worker.origin() + deadline)
    }

    pub(in crate::engineio) fn arm_deadline(&self, worker: &Worker) {
        if let Some(deadline) = self.deadline(worker) {
            self.arm(worker, deadline);
        }
    }

    /// The request the session began with.
    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The session's id: a secret between the server and the client.
    pub(crate) fn sid(&self) -> &str {
        self.sid.as_str()
    }

    /// Makes sure the application's timer is called at `deadline` at the latest.
    pub(crate) fn arm(&self, worker: &Worker, deadline: Instant) {
        if let Some(key) = self.key.get() {
            worker.arm(key, deadline);
        }
    }

    /// Whether a request that names this version may be the session's.
    pub(crate) fn speaks(&self, version: Version) -> bool {
        self.version() == version
    }

    pub(crate) fn version(&self) -> Version {
        self.rules.borrow().version()
    }

    /// Whether the session still takes packets.
    pub(crate) fn is_open(&self) -> bool {
        self.rules.borrow().is_open()
    }

    /// The span of the session on a transport. Anyone who knows a session's whole id can act as its client:
    /// only its first characters are shown.
    pub(crate) fn span_on(&self, transport: &'static str) -> tracing::Span {
        tracing::debug_span!("session", sid = self.sid.as_str().get(..4), transport)
    }

    /// Queues one packet; of a text one the type character is included.
    pub(crate) fn send(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        opcode: Opcode,
        bytes: &[u8],
        sending: Sending,
    ) -> Result<(), HubError> {
        self.send_inlined(worker, opcode, bytes, sending)
    }

    /// As [`send`](Self::send), compiled into its caller: for what is called for each packet of sockets.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured, with what it calls: 70 instructions of each event")]
    pub(crate) fn send_inlined(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        opcode: Opcode,
        bytes: &[u8],
        sending: Sending,
    ) -> Result<(), HubError> {
        if !self.is_open() {
            return Err(HubError::Gone);
        }
        self.queue(worker, opcode, bytes, sending)
    }

    /// As [`send`](Self::send), whether the session is open or not.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured, with what it calls: 70 instructions of each event")]
    fn queue(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        opcode: Opcode,
        bytes: &[u8],
        sending: Sending,
    ) -> Result<(), HubError> {
        if opcode == Opcode::Binary && self.speaks(Version::V3) {
            return self.queue_binary_v3(worker, bytes, sending);
        }
        if !sending.compress {
            return self.queue_plain(worker, opcode, bytes, sending);
        }
        let transport = self.transport.borrow();
        let own = match &*transport {
            Transport::WebSocket(connection) => connection.own_deflater(),
            Transport::Polling(_) | Transport::None => None,
        };
        self.write(worker, sending, |out| write_own(own, &self.outbox, out, opcode, bytes))
    }

    /// A packet that goes uncompressed, unless a poll is answered with others that do not.
    #[inline(never)]
    fn queue_plain(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        opcode: Opcode,
        bytes: &[u8],
        sending: Sending,
    ) -> Result<(), HubError> {
        let mut before = 0;
        self.write(worker, sending, |out| {
            before = self.outbox.bytes();
            let framing = uncompressed(self.outbox.framing());
            match opcode {
                Opcode::Text => write_text(framing, out, bytes),
                _ => write_binary(framing, out, bytes),
            }
        })?;
        self.note_plain(before);
        Ok(())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured, with what it calls: 70 instructions of each event")]
    fn write(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        sending: Sending,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), HubError> {
        worker.write_packet(&self.outbox, || Rc::clone(self) as Rc<dyn Session>, sending.place, encode)
    }

    /// As [`send`](Self::send), of a packet that takes the place of the one with the same key that waits.
    pub(crate) fn send_conflated(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        key: &Key,
        opcode: Opcode,
        bytes: &[u8],
        compress: bool,
    ) -> Result<(), HubError> {
        if !self.is_open() {
            return Err(HubError::Gone);
        }
        let transport = self.transport.borrow();
        let own = match &*transport {
            Transport::WebSocket(connection) if compress => connection.own_deflater(),
            _ => None,
        };
        let session = Rc::clone(self) as Rc<dyn Session>;
        worker.write_conflated(&session, key, |out| {
            if compress {
                return write_own(own, &self.outbox, out, opcode, bytes);
            }
            let framing = uncompressed(self.outbox.framing());
            match opcode {
                Opcode::Text => write_text(framing, out, bytes),
                _ => write_binary(framing, out, bytes),
            }
        })
    }

    /// Handles one packet of the session's own transport.
    pub(in crate::engineio) fn on_packet(self: &Rc<Self>, worker: &Rc<Worker>, packet: Packet<'_>) {
        let received = self.rules.borrow_mut().on_packet(&packet, || worker.elapsed());
        match (received, packet) {
            (Received::Deliver, Packet::Message(text)) => {
                if let Some(conversation) = self.conversation() {
                    conversation.text(worker, text);
                }
            }
            (Received::Deliver, Packet::Binary(bytes)) => {
                if let Some(conversation) = self.conversation() {
                    conversation.binary(worker, &bytes);
                }
            }
            (Received::Answer, Packet::Ping(data)) => worker.with_scratch(|packet| {
                Packet::Pong(data).encode_text(packet);
                let _full = self.send(worker, Opcode::Text, packet, Sending::default());
            }),
            (Received::Close(Ending::Peer), _) => {
                self.close_with(worker, DisconnectReason::TransportClose, Ending::Peer, None);
            }
            (Received::Close(_), _) => self.close(worker, DisconnectReason::TransportError),
            // A pong may have brought the next ping nearer.
            _ => self.arm_deadline(worker),
        }
    }

    /// Takes no more input until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.rules.borrow_mut().pause();
        if let Transport::WebSocket(connection) = &*self.transport.borrow() {
            connection.pause();
        }
    }

    /// Takes input again.
    pub(crate) fn resume(&self, worker: &Rc<Worker>) {
        if self.rules.borrow_mut().resume(worker.elapsed()) {
            match &*self.transport.borrow() {
                Transport::WebSocket(connection) => connection.resume(),
                Transport::Polling(polling) => polling.answer_post(),
                Transport::None => {}
            }
            self.arm_deadline(worker);
        }
    }
}
