//! One raw WebSocket connection over the hub, and the handle users have to it.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use switchboard_hub::{
    Endpoint, Hub, HubError, MemberId, MemberKey, Outbox, Session, SessionKey, Worker, WorkerId,
};
use switchboard_websocket::{FrameHeader, Opcode, encode_frame};

use super::CloseCode;
use super::service::RawSettings;
use crate::EmitError;
use crate::functions::guarded;
use crate::handshake::Handshake;
use crate::message::{AsMessage, Message};
use crate::rooms::Rooms;
use crate::service::{Functions, ServiceSession, ServiceSocket, settle};
use crate::transport::connection::{
    Connection, ConnectionEnd, ConnectionOwner, ConnectionTask, Opened, Timeouts,
};
use crate::transport::wire::{Wire, write_own};

/// A client whose socket takes no more is not read while so many bytes wait for it.
const HOLD_BACK_AT: usize = 256 << 10;

/// Messages from this length on are written from where they lie rather than copied, where nothing waits
/// before them. Several shorter ones are better copied, and written at once.
const LONG_MESSAGE: usize = 32 << 10;

/// A client of a raw WebSocket service. Cloning gives another handle to it, which may go to any thread and
/// does not keep the connection.
#[derive(Clone)]
pub struct WebSocket {
    hub: Arc<Hub>,
    handshake: Handshake,
    session: SessionKey,
    member: Option<Arc<(MemberKey, MemberId)>>,
    worker: WorkerId,
    wire: Wire,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("worker", &self.worker)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl WebSocket {
    /// The request it began with.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The subprotocol that was selected.
    pub fn protocol(&self) -> Option<&str> {
        self.handshake.protocol()
    }

    /// Whether it can be sent binary messages. Clients of the [drafts](crate::Builder::drafts) hixie-75 and
    /// -76 only take text.
    pub fn takes_binary(&self) -> bool {
        self.wire.has_binary()
    }

    /// Its id in the namespace it shares, if its service [shares one](crate::WebSocketService::share).
    pub fn id(&self) -> Option<crate::SocketId> {
        self.member.as_ref().map(|member| member.1)
    }

    /// Sends a message. It is queued when this returns. On the thread of the connection's worker this acts at
    /// once; from elsewhere the message is copied and goes through the worker's inbox, in order for each
    /// calling thread.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Hub`] where the client's outbox or the worker's inbox is
    /// full; [`EmitError::TextOnly`] for a binary message to a client that [takes none](Self::takes_binary).
    pub fn send(&self, message: impl AsMessage) -> Result<(), EmitError> {
        self.send_on(self.wire, message.as_message())
    }

    /// As [`send`](Self::send), but the message goes uncompressed also where the connection
    /// [compresses](crate::WebSocketOptions::per_message_deflate): for what is compressed already, such as
    /// pictures.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_uncompressed(&self, message: impl AsMessage) -> Result<(), EmitError> {
        self.send_on(self.wire.uncompressed(), message.as_message())
    }

    fn send_on(&self, wire: Wire, message: Message<'_>) -> Result<(), EmitError> {
        let key = self.session;
        let (opcode, bytes) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(_) if !wire.has_binary() => return Err(EmitError::TextOnly),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
        };
        if let Some(worker) = self.hub.here_in_order().filter(|worker| worker.id() == self.worker) {
            return Ok(write_message(&worker, key, wire, opcode, bytes)?);
        }
        let bytes = bytes.to_vec();
        self.hub.run_holding(self.worker, bytes.len(), move |worker| {
            // A connection that is gone by then has told its service so.
            let _gone = write_message(worker, key, wire, opcode, &bytes);
        })?;
        Ok(())
    }

    /// Closes the connection with a code and a reason of at most 123 bytes, behind what waits.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Hub`] where the worker's inbox is full.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), EmitError> {
        let key = self.session;
        let reason = reason.to_owned();
        self.hub.run_on(self.worker, move |worker| {
            if let Some(session) = worker.session(key)
                && let Some(raw) = session.as_any().downcast_ref::<RawSession>()
            {
                raw.close(worker, code, &reason);
            }
        })?;
        Ok(())
    }

    /// Joins rooms of the namespace that its service shares.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`] also where the service shares none; [`EmitError::Hub`] where it is in as
    /// many rooms as may be.
    pub fn join(&self, rooms: impl Rooms) -> Result<(), EmitError> {
        self.each_room(rooms, Worker::join)
    }

    /// Leaves rooms.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn leave(&self, rooms: impl Rooms) -> Result<(), EmitError> {
        self.each_room(rooms, Worker::leave)
    }

    fn each_room(
        &self,
        rooms: impl Rooms,
        act: fn(&Worker, MemberKey, &str) -> Result<bool, HubError>,
    ) -> Result<(), EmitError> {
        let (key, _) = **self.member.as_ref().ok_or(EmitError::Disconnected)?;
        let rooms: Vec<_> = rooms.into_rooms().collect();
        for room in &rooms {
            self.hub.announce_room(room);
        }
        let act_on_all =
            move |worker: &Rc<Worker>| rooms.iter().try_for_each(|room| act(worker, key, room).map(drop));
        if let Some(worker) = self.hub.here_in_order().filter(|worker| worker.id() == self.worker) {
            return Ok(act_on_all(&worker)?);
        }
        self.hub.run_on(self.worker, move |worker| {
            if let Err(error) = act_on_all(worker) {
                tracing::debug!(%error, "a room was not joined or left");
            }
        })?;
        Ok(())
    }
}

/// Queues a message for a session of this worker. Inlined, because each answer of a handler comes here.
#[inline(always)]
fn write_message(
    worker: &Rc<Worker>,
    key: SessionKey,
    wire: Wire,
    opcode: Opcode,
    bytes: &[u8],
) -> Result<(), HubError> {
    let session = worker.session(key).ok_or(HubError::Gone)?;
    if wire != Wire::Rfc6455 {
        return write_rare(worker, &session, opcode, bytes);
    }
    if bytes.len() >= LONG_MESSAGE {
        let header = FrameHeader::new(opcode, bytes.len());
        return worker.write_long(&session, header.as_bytes(), bytes);
    }
    worker.write(&session, |out| encode_frame(out, opcode, bytes))
}

/// As [`write_message`], of a connection that compresses, or speaks a draft.
fn write_rare(
    worker: &Rc<Worker>,
    session: &Rc<dyn Session>,
    opcode: Opcode,
    bytes: &[u8],
) -> Result<(), HubError> {
    worker.write(session, |out| {
        let raw = session.as_any().downcast_ref::<RawSession>();
        let connection = raw.and_then(RawSession::connection);
        let own = connection.as_ref().and_then(|connection| connection.own_deflater());
        write_own(own, session.outbox(), out, opcode, bytes);
    })
}

/// The connection, on its worker.
pub(crate) struct RawSession {
    outbox: Outbox,
    /// Those that were set when the connection began: nothing shared is read for a message.
    functions: Arc<Functions<WebSocket>>,
    /// There before anything is asked of it.
    socket: OnceCell<WebSocket>,
    /// Never taken but to be looked at, until the connection has ended.
    connection: Cell<Option<Rc<Connection>>>,
}

impl RawSession {
    pub(crate) fn open(
        worker: &Rc<Worker>,
        functions: Arc<Functions<WebSocket>>,
        handshake: Handshake,
        opened: Opened<'_>,
    ) -> Option<ConnectionTask> {
        let (wire, limits) = (opened.wire, functions.settings.fixed.limits());
        let options = &functions.settings.fixed.options;
        let (max_outbox_bytes, ping_interval) = (options.max_outbox_bytes, options.ping_interval);
        let session = Rc::new(Self {
            outbox: Outbox::new(max_outbox_bytes, wire.framing()),
            functions,
            socket: OnceCell::new(),
            connection: Cell::default(),
        });
        let owner = Rc::clone(&session) as Rc<dyn ConnectionOwner>;
        let (connection, task) = Connection::start(worker, opened, limits, owner);
        session.connection.set(Some(connection));
        let key = worker.add_session(Rc::clone(&session) as Rc<dyn Session>);
        let hub = Arc::clone(worker.hub());
        let member = session.join_namespace(worker);
        let socket = WebSocket { hub, handshake, session: key, member, worker: worker.id(), wire };
        let _socket = session.socket.get_or_init(|| socket);
        if let Some(interval) = ping_interval {
            worker.arm(key, Worker::deadline(interval));
        }
        metrics::counter!("switchboard_websockets_opened_total").increment(1);
        metrics::gauge!("switchboard_websockets").increment(1.0);
        session.functions.on_connect(&*session, worker);
        task
    }

    /// Becomes a member of the namespace that its service shares, if it shares one.
    fn join_namespace(self: &Rc<Self>, worker: &Worker) -> Option<Arc<(MemberKey, MemberId)>> {
        let bridge = self.functions.settings.bridge.as_ref()?;
        let id = worker.new_member_id()?;
        let (session, endpoint) = (Rc::clone(self) as Rc<dyn Session>, Rc::clone(self) as Rc<dyn Endpoint>);
        let key = worker.add_member(bridge.namespace.scope, id, bridge.variant, session, endpoint);
        Some(Arc::new((key, id)))
    }

    fn connection(&self) -> Option<Rc<Connection>> {
        let connection = self.connection.take();
        let shared = connection.clone();
        self.connection.set(connection);
        shared
    }

    fn close(&self, worker: &Rc<Worker>, code: CloseCode, reason: &str) {
        if let Some(connection) = self.connection() {
            connection.close(worker, Some(code), reason);
        }
    }
}

impl ServiceSocket for WebSocket {
    type End = Option<CloseCode>;
    type Settings = RawSettings;
}

impl ServiceSession<WebSocket> for RawSession {
    fn socket(&self) -> Option<&WebSocket> {
        self.socket.get()
    }

    fn fail(&self, worker: &Rc<Worker>) {
        self.close(worker, CloseCode::InternalError, "");
    }

    fn pause(&self, _worker: &Rc<Worker>) {
        if let Some(connection) = self.connection() {
            connection.pause();
        }
    }

    fn resume(self: Rc<Self>, _worker: &Rc<Worker>) {
        if let Some(connection) = self.connection() {
            connection.resume();
        }
    }
}

impl Session for RawSession {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Some(connection) = self.connection() {
            connection.flush(worker, &self.outbox);
        }
    }

    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        self.connection().map_or(0, |connection| connection.write_through(slices))
    }

    fn writable(&self) -> bool {
        self.connection().is_some_and(|connection| connection.writable())
    }

    fn overflow(&self, _worker: &Rc<Worker>) {
        tracing::warn!(
            bytes = self.outbox.bytes(),
            "a client does not read what is sent to it: cutting its connection"
        );
        if let Some(connection) = self.connection() {
            connection.abort();
        }
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        let interval = self.functions.settings.fixed.options.ping_interval?;
        let connection = self.connection().filter(|connection| connection.wire().has_pings())?;
        // One that is paused does not read, and so is not told of the peer's end.
        if connection.is_unread() && connection.has_lost_peer() {
            connection.abort();
            return None;
        }
        if !connection.take_alive() {
            metrics::counter!("switchboard_websocket_ping_timeouts_total").increment(1);
            connection.abort();
            return None;
        }
        connection.release_unused();
        connection.ping(worker);
        Some(Worker::deadline_from(now, interval))
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        self.close(worker, CloseCode::GoingAway, "server shutting down");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ConnectionOwner for RawSession {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, message: Message<'_>) {
        if self.functions.takes_messages() {
            // A connection that is paused hands over no message: none has to be held.
            let _waits = self.functions.on_message(&self, worker, message);
        } else if let Some(bridge) = &self.functions.settings.bridge {
            settle(&*self, worker, guarded(|| bridge.publish(message)));
        }
    }

    fn hold_back_at(&self) -> usize {
        HOLD_BACK_AT.min(self.outbox.limit() / 2)
    }

    fn timeouts(&self) -> Timeouts {
        let options = &self.functions.settings.fixed.options;
        Timeouts { message: options.message_timeout, close: options.close_timeout }
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, end: ConnectionEnd) {
        end.trace();
        let reason = end.as_str();
        let code = if let ConnectionEnd::Closed { code } = end { code } else { None };
        if let Some(socket) = self.socket.get() {
            self.functions.on_close(socket, code);
            if let Some(member) = &socket.member {
                worker.remove_member(member.0);
            }
            worker.remove_session(socket.session);
        }
        metrics::counter!("switchboard_websockets_closed_total", "reason" => reason).increment(1);
        metrics::gauge!("switchboard_websockets").decrement(1.0);
        drop(self.connection.take());
    }

    fn span(&self) -> tracing::Span {
        tracing::debug_span!("websocket", path = self.functions.settings.fixed.path)
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}

impl Endpoint for RawSession {
    fn disconnect(&self, _close: bool) {
        if let Some(worker) = Worker::current() {
            self.close(&worker, CloseCode::Normal, "");
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_idle_connection_are_small() {
        // The allocator's blocks are multiples of 16 bytes, of which it takes 8; a session has two counts
        // before it.
        assert!(size_of::<RawSession>() + 16 <= 104, "{} bytes", size_of::<RawSession>());
    }
}
