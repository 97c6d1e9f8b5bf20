//! A session of an old client over the hub: one conversation, over whichever transport its client opened last.

mod closing;
mod owner;
mod transport;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use switchboard_hub::{HubError, Key, Outbox, Place, Session, SessionKey, Worker, WorkerId};
use switchboard_protocol::engineio::SessionId;
use switchboard_protocol::socketio06;
use switchboard_protocol::socketio09::Rules;
use switchboard_websocket::Opcode;

use super::answers::PollForm;
use super::input::Early;
use super::request::write_id;
use super::{OldClients, Version};
use crate::api::carrier::Carrier;
use crate::api::sockets::Sockets;
use crate::engineio::TooManySessions;
use crate::handshake::Handshake;
use crate::http::mount::{Abandoned, Reply, SessionKeyBytes};
use crate::transport::connection::Connection;
use crate::transport::framing::{BYTES, OLD_PAYLOAD, uncompressed, write_text};
use crate::transport::wire::write_own;

/// The sessions of a worker by their ids.
#[derive(Default)]
struct Registry {
    sessions: RefCell<HashMap<SessionId, Rc<OldSession>, foldhash::fast::RandomState>>,
}

/// The session of an id, if it is one of this protocol. It may be closing.
pub(super) fn find(worker: &Worker, version: Version, sid: &SessionId) -> Option<Rc<OldSession>> {
    let session = worker.extension::<Registry>().sessions.borrow().get(sid).cloned();
    session.filter(|session| session.version == version)
}

/// What is done if the caller of a GET goes away.
pub(super) fn abandoned_by(sid: &SessionId) -> Abandoned {
    let key = sid.as_str().as_bytes().first_chunk().copied().unwrap_or_default();
    let tell = |worker: &Rc<Worker>, key: &SessionKeyBytes| {
        let sid = std::str::from_utf8(key).ok().and_then(SessionId::parse);
        let session = sid.and_then(|sid| worker.extension::<Registry>().sessions.borrow().get(&sid).cloned());
        if let Some(session) = session {
            session.drop_abandoned_poll(worker);
        }
    };
    Abandoned::Session { worker: WorkerId(sid.worker()), key, tell }
}

/// The way on which packets reach the client now.
enum Transport {
    /// None: the client has yet to open one, or is between two polls.
    None,
    /// A poll that waits.
    Poll {
        reply: Reply,
        form: PollForm,
    },
    /// A page or an answer of parts, which carries nothing from the client.
    Stream(Rc<Connection>),
    WebSocket(Rc<Connection>),
}

/// How a packet is sent.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    /// Compressed where the connection compresses.
    pub(super) compress: bool,
    /// What becomes of it where the outbox is full.
    pub(super) place: Place,
    /// Of an event that tells the newest state of its key's subject.
    pub(super) key: Option<&'a Key>,
}

/// One session of an old client, on its worker.
pub(super) struct OldSession {
    sid: SessionId,
    pub(super) version: Version,
    key: Cell<Option<SessionKey>>,
    outbox: Outbox,
    pub(super) old: Arc<OldClients>,
    transport: RefCell<Transport>,
    /// The times of the session. Borrowed for one call at a time, in which no other code is called.
    rules: RefCell<Rules>,
    /// There from the first transport on, until the end.
    sockets: RefCell<Option<Rc<Sockets>>>,
    handshake: Handshake,
    /// Handlers have more to do than may wait.
    paused: Cell<bool>,
    /// A POST whose packets were handled, and that is answered when the session takes input again.
    post: Cell<Option<Reply>>,
    pub(super) early: RefCell<Early>,
    /// Heartbeats that were sent. 0.6 has them numbered.
    heartbeats: Cell<u64>,
    me: Weak<OldSession>,
}

impl OldSession {
    /// Opens a session that has no transport yet.
    pub(super) fn open(
        worker: &Rc<Worker>,
        old: &Arc<OldClients>,
        version: Version,
        sid: SessionId,
        handshake: Handshake,
    ) -> Result<Rc<Self>, TooManySessions> {
        old.engine.sessions.enter(handshake.address().map(|address| address.ip()))?;
        handshake.set_on_websocket(false);
        let framing = if version == Version::V09 { OLD_PAYLOAD } else { BYTES };
        let session = Rc::new_cyclic(|me| Self {
            sid,
            version,
            key: Cell::new(None),
            outbox: Outbox::new(old.engine.options.outbox_limit(), framing),
            old: Arc::clone(old),
            transport: RefCell::new(Transport::None),
            rules: RefCell::new(Rules::new(worker.elapsed(), old.times(version))),
            sockets: RefCell::default(),
            handshake,
            paused: Cell::new(false),
            post: Cell::default(),
            early: RefCell::default(),
            heartbeats: Cell::new(0),
            me: Weak::clone(me),
        });
        session.key.set(Some(worker.add_session(Rc::clone(&session) as Rc<dyn Session>)));
        let registry = worker.extension::<Registry>();
        registry.sessions.borrow_mut().insert(sid, Rc::clone(&session));
        metrics::counter!("switchboard_sessions_opened_total").increment(1);
        metrics::gauge!("switchboard_sessions").increment(1.0);
        session.arm_deadline(worker);
        Ok(session)
    }

    /// The first transport has opened: the client joins `/` without asking. 0.6 is told its id before that.
    fn begin(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.sockets.borrow().is_some() || !self.is_open() {
            return;
        }
        if self.version == Version::V06 {
            let mut frame = Vec::new();
            socketio06::write_frame(&mut frame, &write_id(self.version, &self.sid));
            self.tell(worker, &frame);
        }
        let carrier = Rc::clone(self) as Rc<dyn Carrier>;
        let variant = self.old.dialect(self.version).variant();
        let sockets = Sockets::new(&self.old.namespaces, carrier, variant);
        *self.sockets.borrow_mut() = Some(Rc::clone(&sockets));
        // No `auth` is no wrong `auth`.
        let _joined = sockets.connect(worker, "/", "");
        if let Some(sockets) = self.sockets()
            && let Some(deadline) = sockets.on_timer(worker, Worker::clock())
        {
            self.arm(worker, deadline);
        }
    }

    pub(super) fn sockets(&self) -> Option<Rc<Sockets>> {
        self.sockets.borrow().clone()
    }

    /// Whether the session still takes packets.
    pub(super) fn is_open(&self) -> bool {
        self.rules.borrow().is_open()
    }

    /// The request that the session began with.
    pub(super) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The span of the session. Anyone who knows its whole id can act as its client: only its first
    /// characters are shown.
    pub(super) fn span(&self) -> tracing::Span {
        tracing::debug_span!("session", sid = self.sid.as_str().get(..4), transport = "socket.io 0.x")
    }

    /// Makes sure that the timer is called at `deadline` at the latest.
    pub(super) fn arm(&self, worker: &Worker, deadline: Instant) {
        if let Some(key) = self.key.get() {
            worker.arm(key, deadline);
        }
    }

    fn arm_deadline(&self, worker: &Worker) {
        if let Some(deadline) = self.deadline(worker) {
            self.arm(worker, deadline);
        }
    }

    /// When the rules ask to be called next.
    fn deadline(&self, worker: &Worker) -> Option<Instant> {
        self.rules.borrow().deadline().map(|deadline| worker.origin() + deadline)
    }

    /// Queues a packet of 0.9, or a frame of 0.6.
    ///
    /// # Errors
    /// [`HubError::OutboxFull`], and [`HubError::Gone`] for a session that has closed.
    pub(super) fn send(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        packet: &[u8],
        sending: Sending<'_>,
    ) -> Result<(), HubError> {
        if !self.is_open() {
            return Err(HubError::Gone);
        }
        let Sending { compress, place, key } = sending;
        // Not borrowed while it is written: a full outbox is flushed.
        let connection = match &*self.transport.borrow() {
            Transport::WebSocket(connection) if compress && connection.own_deflater().is_some() => {
                Some(Rc::clone(connection))
            }
            _ => None,
        };
        let own = connection.as_ref().and_then(|connection| connection.own_deflater());
        let encode = |out: &mut Vec<u8>| match own {
            Some(_) => write_own(own, &self.outbox, out, Opcode::Text, packet),
            None if compress => write_text(self.outbox.framing(), out, packet),
            None => write_text(uncompressed(self.outbox.framing()), out, packet),
        };
        let session = Rc::clone(self) as Rc<dyn Session>;
        match key {
            Some(key) => worker.write_conflated(&session, key, encode),
            None => worker.write_packet(&self.outbox, || Rc::clone(&session), place, encode),
        }
    }

    /// Queues what is no event: a client that cannot be told will find out.
    pub(super) fn tell(self: &Rc<Self>, worker: &Rc<Worker>, packet: &[u8]) {
        let sending = Sending { compress: true, place: Place::Kept, key: None };
        let _full = self.send(worker, packet, sending);
    }

    // Input.

    /// Takes no more input until [`resume`](Self::resume).
    pub(super) fn pause(&self) {
        self.paused.set(true);
        self.stop_reading();
    }

    /// Whether it takes no input: for its handlers, or for what they are not ready for.
    fn is_paused(&self) -> bool {
        self.paused.get() || self.early.borrow().holds_back
    }

    pub(super) fn stop_reading(&self) {
        if let Transport::WebSocket(connection) = &*self.transport.borrow() {
            connection.pause();
        }
    }

    /// Takes input again.
    pub(super) fn resume(&self) {
        self.paused.set(false);
        self.read_on();
    }

    /// Takes input again, unless there is another reason not to.
    pub(super) fn read_on(&self) {
        if self.is_paused() {
            return;
        }
        if let Transport::WebSocket(connection) = &*self.transport.borrow() {
            connection.resume();
        }
        self.answer_post();
    }

    /// The client answered a heartbeat.
    pub(super) fn on_heartbeat(&self, worker: &Rc<Worker>) {
        self.rules.borrow_mut().on_heartbeat(worker.elapsed());
        self.arm_deadline(worker);
    }

    /// How many heartbeats were sent.
    pub(super) fn heartbeats(&self) -> u64 {
        self.heartbeats.get()
    }
}
