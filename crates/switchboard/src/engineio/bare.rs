//! A bare Engine.IO service: messages over sessions, without Socket.IO.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use switchboard_hub::{Hub, Place, Worker, WorkerId};
use switchboard_protocol::engineio::SessionId;
use switchboard_websocket::Opcode;

use super::application::{Application, Conversation};
use super::session::{EngineSession, Registry, Sending};
use crate::handshake::Handshake;
use crate::message::{AsMessage, Message, OwnedMessage};
use crate::service::{Service, ServiceSession, ServiceSocket};
use crate::states::States;
use crate::{DisconnectReason, EmitError};

/// A bare Engine.IO endpoint, to be given its functions. Made by
/// [`Switchboard::engine`](crate::Switchboard::engine).
pub type EngineService = Service<EngineSocket>;

impl ServiceSocket for EngineSocket {
    type End = DisconnectReason;
    type Settings = Arc<Hub>;
}

/// A session of a bare Engine.IO service. Cloning gives another handle to it, which may go to any thread and
/// does not keep the session. Handles to the same session are equal.
#[derive(Clone)]
pub struct EngineSocket {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Arc<Hub>,
    sid: SessionId,
    handshake: Handshake,
    values: Mutex<States>,
}

impl PartialEq for EngineSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for EngineSocket {}

impl Hash for EngineSocket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All of an id would let its reader act as the client.
        f.debug_tuple("EngineSocket").field(&self.id().get(..4)).finish()
    }
}

impl EngineSocket {
    /// The session's id, of 20 characters. It is a secret between the server and the client: who knows it can
    /// act as the client.
    pub fn id(&self) -> &str {
        self.shared.sid.as_str()
    }

    /// The request the session began with.
    pub fn handshake(&self) -> &Handshake {
        &self.shared.handshake
    }

    /// The name of the transport that is used now, `polling` or `websocket`, or was used last. On any thread.
    pub fn transport(&self) -> &'static str {
        self.shared.handshake.transport()
    }

    /// Keeps a value on the session, one of each type; returns the one that it replaces.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        self.values().insert(value)
    }

    /// The value of a type that is kept on the session.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.values().get()
    }

    /// Takes the value of a type off the session.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.values().remove()
    }

    fn values(&self) -> MutexGuard<'_, States> {
        self.shared.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) -> WorkerId {
        WorkerId(self.shared.sid.worker())
    }

    /// Sends a message. It is queued when this returns; from a thread that is not the session's worker's it
    /// goes through that worker's inbox.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Hub`] where the client's outbox or the worker's inbox is
    /// full.
    pub fn send(&self, message: impl AsMessage) -> Result<(), EmitError> {
        self.send_with(message.as_message(), true)
    }

    /// As [`send`](Self::send), but the message goes uncompressed also where the connection compresses (`{
    /// compress: false }` of Node): for what is compressed already, such as pictures. The answer of a long
    /// poll is compressed if any message in it is to be.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_uncompressed(&self, message: impl AsMessage) -> Result<(), EmitError> {
        self.send_with(message.as_message(), false)
    }

    fn send_with(&self, message: Message<'_>, compress: bool) -> Result<(), EmitError> {
        let (hub, sid) = (&self.shared.hub, self.shared.sid);
        if let Some(worker) = hub.here().filter(|worker| worker.id() == self.worker()) {
            let session = worker.extension::<Registry>().get(&sid).ok_or(EmitError::Disconnected)?;
            return send(&worker, &session, message, compress);
        }
        let message = OwnedMessage::from(message);
        hub.run_holding(self.worker(), message.as_message().as_bytes().len(), move |worker| {
            if let Some(session) = worker.extension::<Registry>().get(&sid) {
                // A client that does not read is disconnected, which its service is told.
                let _full = send(worker, &session, message.as_message(), compress);
            }
        })?;
        Ok(())
    }

    /// Closes the session.
    ///
    /// # Errors
    /// [`EmitError::Hub`] where the worker's inbox is full.
    pub fn close(&self) -> Result<(), EmitError> {
        let sid = self.shared.sid;
        self.shared.hub.run_on(self.worker(), move |worker| {
            if let Some(session) = worker.extension::<Registry>().get(&sid) {
                session.close(worker, DisconnectReason::ForcedClose);
            }
        })?;
        Ok(())
    }
}

fn send(
    worker: &Rc<Worker>,
    session: &Rc<EngineSession>,
    message: Message<'_>,
    compress: bool,
) -> Result<(), EmitError> {
    let sending = Sending { compress, place: Place::Droppable };
    match message {
        Message::Binary(bytes) => session.send(worker, Opcode::Binary, bytes, sending)?,
        Message::Text(text) => worker.with_scratch(|packet| {
            packet.push(b'4');
            packet.extend_from_slice(text.as_bytes());
            session.send(worker, Opcode::Text, packet, sending)
        })?,
    }
    Ok(())
}

impl Application for EngineService {
    fn open(&self, worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation> {
        let functions = self.functions();
        let shared = Shared {
            hub: Arc::clone(&functions.settings),
            sid: session.sid,
            handshake: session.handshake().clone(),
            values: Mutex::default(),
        };
        let conversation = Rc::new_cyclic(|me| BareConversation {
            me: Weak::clone(me),
            service: self.clone(),
            socket: EngineSocket { shared: Arc::new(shared) },
            session: Rc::downgrade(session),
            waits: Cell::new(false),
            held: RefCell::default(),
        });
        functions.on_connect(&*conversation, worker);
        conversation
    }
}

/// One session of the service.
struct BareConversation {
    me: Weak<Self>,
    service: EngineService,
    socket: EngineSocket,
    session: Weak<EngineSession>,
    /// A function waits: messages that come with the one it is for are held. They are bounded by what one
    /// read, or one POST, brings.
    waits: Cell<bool>,
    held: RefCell<VecDeque<OwnedMessage>>,
}

impl BareConversation {
    fn on_message(&self, worker: &Rc<Worker>, message: Message<'_>) {
        if self.waits.get() {
            self.held.borrow_mut().push_back(message.into());
        } else if let Some(me) = self.me.upgrade() {
            self.waits.set(self.service.functions().on_message(&me, worker, message));
        }
    }
}

impl ServiceSession<EngineSocket> for BareConversation {
    fn socket(&self) -> Option<&EngineSocket> {
        Some(&self.socket)
    }

    fn fail(&self, worker: &Rc<Worker>) {
        if let Some(session) = self.session.upgrade() {
            session.close(worker, DisconnectReason::ForcedClose);
        }
    }

    fn pause(&self, _worker: &Rc<Worker>) {
        if let Some(session) = self.session.upgrade() {
            session.pause();
        }
    }

    fn resume(self: Rc<Self>, worker: &Rc<Worker>) {
        self.waits.set(false);
        // A session that has closed hears no more.
        let Some(session) = self.session.upgrade().filter(|session| session.is_open()) else { return };
        while !self.waits.get() {
            let Some(message) = self.held.borrow_mut().pop_front() else { return session.resume(worker) };
            self.on_message(worker, message.as_message());
        }
    }
}

impl Conversation for BareConversation {
    fn text(&self, worker: &Rc<Worker>, text: &str) {
        self.on_message(worker, Message::Text(text));
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        self.on_message(worker, Message::Binary(bytes));
    }

    fn closed(&self, _worker: &Rc<Worker>, reason: DisconnectReason) {
        self.service.functions().on_close(&self.socket, reason);
    }

    fn on_timer(&self, _worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
        None
    }
}
