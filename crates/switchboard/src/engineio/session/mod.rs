//! An Engine.IO session over the hub: one conversation, which may begin on polling and go on over WebSocket.
//!
//! [Engine.IO protocol 4](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v4-current.md).

mod closing;
mod owner;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use switchboard_hub::{Framing, HubError, Outbox, Session, SessionKey, Worker};
use switchboard_protocol::engineio::{Heartbeat, OpenPacket, Packet, SessionId, Upgrade, payload};
use switchboard_websocket::Opcode;

use super::EngineServer;
use super::application::Conversation;
use super::polling::Polling;
use crate::DisconnectReason;
use crate::handshake::Handshake;
use crate::transport::connection::{Connection, ConnectionOwner, Opened};
use crate::transport::wire::{uncompressed, write_binary, write_own, write_text};

/// Packets laid out as a polling payload. (The other framings are those of WebSocket connections, in `transport::wire`.)
pub(crate) const PAYLOAD: Framing = Framing { id: 1, separator: Some(payload::SEPARATOR) };

/// The sessions of a worker by their ids.
#[derive(Default)]
pub(crate) struct Registry {
    sessions: RefCell<HashMap<SessionId, Rc<EngineSession>, foldhash::fast::RandomState>>,
}

impl Registry {
    pub(crate) fn get(&self, sid: &SessionId) -> Option<Rc<EngineSession>> {
        self.sessions.borrow().get(sid).cloned()
    }
}

/// How a packet is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// Compressed where the connection compresses.
    pub(crate) compress: bool,
    /// It belongs to the packet before it, as attachments do: it is taken where that one was.
    pub(crate) follows: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Self { compress: true, follows: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Closed, but its client on polling has not been told yet.
    Lingering,
    Closed,
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
    state: Cell<State>,
    pub(in crate::engineio) upgrade: RefCell<Upgrade>,
    /// The connection that probes now.
    pub(in crate::engineio) probing: RefCell<Option<Rc<Connection>>>,
    heartbeat: RefCell<Heartbeat>,
    /// A ping was sent that no pong has answered yet.
    awaits_pong: Cell<bool>,
    /// The application holds back more than it may: no input is taken, and its silence is not the peer's.
    paused: Cell<bool>,
    conversation: RefCell<Option<Rc<dyn Conversation>>>,
    handshake: Handshake,
}

impl EngineSession {
    /// Opens a session over a WebSocket connection.
    pub(crate) fn open_websocket(
        worker: &Rc<Worker>,
        server: &Arc<EngineServer>,
        handshake: Handshake,
        opened: Opened<'_>,
    ) {
        let Some(session) = Self::new(worker, server, handshake, opened.wire.framing()) else { return };
        let limits = server.websocket_limits();
        let connection =
            Connection::start(worker, opened, limits, Rc::clone(&session) as Rc<dyn ConnectionOwner>);
        *session.transport.borrow_mut() = Transport::WebSocket(connection);
        session.start(worker, &[]);
    }

    /// Opens a session on polling. The open packet waits in its outbox.
    pub(crate) fn open_polling(
        worker: &Rc<Worker>,
        server: &Arc<EngineServer>,
        handshake: Handshake,
    ) -> Option<Rc<Self>> {
        let session = Self::new(worker, server, handshake, PAYLOAD)?;
        *session.transport.borrow_mut() = Transport::Polling(Polling::default());
        let upgrades: &[&str] = if server.options.upgrades() { &["websocket"] } else { &[] };
        session.start(worker, upgrades);
        Some(session)
    }

    fn new(
        worker: &Rc<Worker>,
        server: &Arc<EngineServer>,
        handshake: Handshake,
        framing: Framing,
    ) -> Option<Rc<Self>> {
        let mut random = [0; 14];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "no randomness for a session id");
            return None;
        }
        let options = &server.options;
        let session = Rc::new(Self {
            sid: SessionId::new(worker.id().0, random),
            key: Cell::new(None),
            outbox: Outbox::new(options.max_outbox_bytes, framing),
            server: Arc::clone(server),
            transport: RefCell::new(Transport::None),
            state: Cell::new(State::Open),
            upgrade: RefCell::new(if framing == PAYLOAD { Upgrade::new() } else { Upgrade::done() }),
            probing: RefCell::default(),
            heartbeat: RefCell::new(Heartbeat::pinging(
                worker.elapsed(),
                options.ping_interval,
                options.ping_timeout,
            )),
            awaits_pong: Cell::new(false),
            paused: Cell::new(false),
            conversation: RefCell::default(),
            handshake,
        });
        session.key.set(Some(worker.add_session(Rc::clone(&session) as Rc<dyn Session>)));
        let registry = worker.extension::<Registry>();
        registry.sessions.borrow_mut().insert(session.sid, Rc::clone(&session));
        metrics::counter!("switchboard_sessions_opened_total").increment(1);
        metrics::gauge!("switchboard_sessions").increment(1.0);
        Some(session)
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
        let first = conversation.on_timer(worker, Worker::clock());
        *self.conversation.borrow_mut() = Some(conversation);
        if let Some(deadline) = first {
            self.arm(worker, deadline);
        }
        self.arm_heartbeat(worker);
    }

    fn conversation(&self) -> Option<Rc<dyn Conversation>> {
        self.conversation.borrow().clone()
    }

    fn arm_heartbeat(&self, worker: &Worker) {
        let deadline = worker.origin() + self.heartbeat.borrow().deadline();
        self.arm(worker, deadline);
    }

    /// The request the session began with.
    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Makes sure the application's timer is called at `deadline` at the latest.
    pub(crate) fn arm(&self, worker: &Worker, deadline: Instant) {
        if let Some(key) = self.key.get() {
            worker.arm(key, deadline);
        }
    }

    /// Whether the session still takes packets.
    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// What is traced of the session on a transport. Whoever knows all of a session's id may act as its client: only its first characters
    /// are shown.
    pub(crate) fn span_on(&self, transport: &'static str) -> tracing::Span {
        tracing::debug_span!("session", sid = self.sid.as_str().get(..4), transport)
    }

    /// The transport's name, as Socket.IO users know it.
    pub(crate) fn transport_name(&self) -> &'static str {
        if self.outbox.framing() == PAYLOAD { "polling" } else { "websocket" }
    }

    /// Queues one packet; of a text one the type character is included.
    pub(crate) fn send(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        opcode: Opcode,
        bytes: &[u8],
        sending: Sending,
    ) -> Result<(), HubError> {
        if !self.is_open() {
            return Err(HubError::Gone);
        }
        if !sending.compress {
            return self.send_plain(worker, opcode, bytes, sending);
        }
        let transport = self.transport.borrow();
        let own = match &*transport {
            Transport::WebSocket(connection) => connection.own_deflater(),
            Transport::Polling(_) | Transport::None => None,
        };
        self.write(worker, sending, |out| write_own(own, &self.outbox, out, opcode, bytes))
    }

    /// A packet that goes uncompressed, unless a poll is answered with others that do not.
    fn send_plain(
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

    fn write(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        sending: Sending,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), HubError> {
        let session = Rc::clone(self) as Rc<dyn Session>;
        if sending.follows {
            worker.write_more(&session, encode);
            return Ok(());
        }
        worker.write(&session, encode)
    }

    /// Queues a packet that was laid for polling.
    fn send_again(self: &Rc<Self>, worker: &Rc<Worker>, packet: &str, plain: bool) {
        // It was taken once.
        let sending = Sending { compress: !plain, follows: true };
        let _closed = match Packet::decode_text(packet) {
            Ok(Packet::Binary(bytes)) => self.send(worker, Opcode::Binary, &bytes, sending),
            _ => self.send(worker, Opcode::Text, packet.as_bytes(), sending),
        };
    }

    /// Handles one packet of the session's own transport.
    pub(in crate::engineio) fn on_packet(self: &Rc<Self>, worker: &Rc<Worker>, packet: Packet<'_>) {
        let Some(conversation) = self.conversation() else { return };
        if self.awaits_pong.get() {
            self.heartbeat.borrow_mut().on_packet(worker.elapsed());
        }
        match packet {
            Packet::Message(text) => conversation.text(worker, text),
            Packet::Binary(bytes) => conversation.binary(worker, &bytes),
            Packet::Pong(_) => self.on_sign_of_life(worker),
            Packet::Close => {
                if let Transport::Polling(polling) = &*self.transport.borrow() {
                    polling.release_noop();
                }
                self.close(worker, DisconnectReason::TransportClose);
                // The client knows: nobody waits to be told.
                self.forget(worker);
            }
            // In protocol 4 only servers ping.
            Packet::Ping(_) => self.close(worker, DisconnectReason::TransportError),
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {}
        }
    }

    fn on_sign_of_life(&self, worker: &Worker) {
        self.awaits_pong.set(false);
        self.heartbeat.borrow_mut().on_pong(worker.elapsed());
        self.arm_heartbeat(worker);
    }

    /// Takes no more input until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.paused.set(true);
        if let Transport::WebSocket(connection) = &*self.transport.borrow() {
            connection.pause();
        }
    }

    /// Takes input again.
    pub(crate) fn resume(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.paused.replace(false) {
            match &*self.transport.borrow() {
                Transport::WebSocket(connection) => connection.resume(),
                Transport::Polling(polling) => polling.release_posts(),
                Transport::None => {}
            }
            self.on_sign_of_life(worker);
        }
    }

    pub(in crate::engineio) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Moves the session to a WebSocket connection whose probe has succeeded.
    pub(in crate::engineio) fn upgrade_to(self: &Rc<Self>, worker: &Rc<Worker>, connection: &Rc<Connection>) {
        let before =
            std::mem::replace(&mut *self.transport.borrow_mut(), Transport::WebSocket(Rc::clone(connection)));
        let waiting = worker.take(&self.outbox);
        self.outbox.set_framing(connection.wire().framing());
        let mut plain = 0;
        if let Transport::Polling(polling) = before {
            plain = polling.take_plain();
            polling.release_noop();
        }
        connection.set_owner(Rc::clone(self) as Rc<dyn ConnectionOwner>);
        if self.is_paused() {
            connection.pause();
        }
        // What waited for a poll goes on as frames.
        let waiting = std::str::from_utf8(&waiting).unwrap_or_default();
        let mut at = 0;
        for packet in waiting.split(char::from(payload::SEPARATOR)) {
            let end = at + packet.len();
            if !packet.is_empty() {
                self.send_again(worker, packet, end <= plain);
            }
            at = end + 1;
        }
        metrics::counter!("switchboard_upgrades_total").increment(1);
    }
}
