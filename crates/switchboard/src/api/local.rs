//! A socket on its worker: what it sends, and the acknowledgements it awaits. How its events reach handlers
//! is in [`dispatch`](super::dispatch).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use switchboard_hub::{Asking, Endpoint, HubError, Key, ScopeId, Worker};
use switchboard_protocol::socketio::Args;
use tokio::sync::Notify;

use super::ack::{AckReply, Acks};
use super::carrier::{Carrier, Head, Kind, Outgoing};
use super::emitter::held_bytes;
use super::handler::AnyEventHandler;
use super::options::SocketIoOptions;
use super::own::Own;
use super::queue::{AuthCharge, Queue};
use super::remote::write_snapshot;
use super::socket::Socket;
use super::sockets::Sockets;
use crate::error::Reply;
use crate::event::Event;
use crate::{AckError, DisconnectReason};

/// Handlers of one socket alone that see all its events. Replaced as a whole when one is added: an event on
/// its way keeps those it met.
#[derive(Clone, Default)]
pub(crate) struct EarlyHandlers {
    pub(crate) any: Vec<AnyEventHandler>,
    pub(crate) middleware: Vec<AnyEventHandler>,
    /// Those of events that are sent.
    pub(crate) outgoing: Vec<AnyEventHandler>,
}

/// How a packet is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// Dropped where the transport does not take it at once.
    pub(crate) volatile: bool,
    /// Compressed where the connection compresses.
    pub(crate) compress: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Self { volatile: false, compress: true }
    }
}

/// One socket, on its worker's thread.
pub(crate) struct LocalSocket {
    me: Weak<LocalSocket>,
    pub(crate) socket: Socket,
    pub(crate) carrier: Rc<dyn Carrier>,
    pub(crate) sockets: Weak<Sockets>,
    /// Events that wait for a handler to be done.
    pub(crate) queue: Queue,
    acks: RefCell<Option<Box<Acks>>>,
    pub(super) own: RefCell<Option<Box<Own>>>,
    pub(super) own_early: RefCell<Option<Arc<EarlyHandlers>>>,
    pub(crate) presence: Cell<Presence>,
    /// Told of each event that is handled after the socket's end.
    pub(crate) handled: RefCell<Option<Rc<Notify>>>,
    _auth: Option<Rc<AuthCharge>>,
}

/// Whether a socket is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    /// It has left its namespace; its events are still handled.
    Ending,
    Gone,
}

impl LocalSocket {
    pub(crate) fn new(
        socket: Socket,
        carrier: &Rc<dyn Carrier>,
        sockets: &Weak<Sockets>,
        auth: Option<Rc<AuthCharge>>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            socket,
            carrier: Rc::clone(carrier),
            sockets: Weak::clone(sockets),
            queue: Queue::default(),
            acks: RefCell::default(),
            own: RefCell::default(),
            own_early: RefCell::default(),
            presence: Cell::new(Presence::Here),
            handled: RefCell::default(),
            _auth: auth,
        })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.socket.shared.namespace.name
    }

    pub(crate) fn scope(&self) -> ScopeId {
        self.socket.shared.namespace.scope
    }

    pub(crate) fn options(&self) -> &SocketIoOptions {
        &self.socket.shared.namespace.options
    }

    /// Whether it is in its namespace, or on its way there.
    pub(crate) fn is_here(&self) -> bool {
        self.presence.get() == Presence::Here
    }

    /// Whether it has left, and none of its events is to be handled any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.presence.get() == Presence::Gone
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    // Sending.

    /// Whether no more than half of the bytes that may wait for the client do.
    pub(crate) fn has_room(&self) -> bool {
        self.carrier.as_session().outbox().has_room()
    }

    /// Closes the session.
    pub(crate) fn close(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        Rc::clone(&self.carrier).close(worker, reason);
    }

    pub(crate) fn head(&self, kind: Kind, id: Option<u64>) -> Head<'_> {
        Head { kind, namespace: self.namespace(), id }
    }

    /// Queues a packet: what its carrier has begun, then JSON, which begins at `json_at`.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: 30 instructions of each event, since it has two callers"
    )]
    pub(crate) fn send_packet(
        &self,
        worker: &Rc<Worker>,
        head: Head<'_>,
        packet: &mut Vec<u8>,
        json_at: usize,
        attachments: &[Bytes],
        sending: Sending,
    ) -> Result<(), HubError> {
        if self.socket.shared.namespace.tells_outgoing.load(Ordering::Relaxed) && head.kind == Kind::Event {
            self.tell_outgoing(worker, packet.get(json_at..).unwrap_or_default(), attachments);
            // A handler may have disconnected it.
            if !self.is_here() {
                return Err(HubError::Gone);
            }
        }
        if sending.volatile && !self.carrier.as_session().writable() {
            worker.stats().volatile_dropped.add(1);
            return Ok(());
        }
        let compress = sending.compress;
        Rc::clone(&self.carrier).send(worker, Outgoing { head, packet, json_at, attachments, compress })
    }

    /// Queues a packet whose JSON was written before.
    pub(crate) fn send_json(
        &self,
        worker: &Rc<Worker>,
        head: Head<'_>,
        json: &[u8],
        attachments: &[Bytes],
        sending: Sending,
    ) -> Result<(), HubError> {
        worker.with_scratch(|packet| {
            self.carrier.begin(packet, head);
            let json_at = packet.len();
            packet.extend_from_slice(json);
            self.send_packet(worker, head, packet, json_at, attachments, sending)
        })
    }

    /// Queues an event that takes the place of the one with the same key that waits.
    pub(crate) fn send_conflated(
        &self,
        worker: &Rc<Worker>,
        key: &Key,
        json: &[u8],
        attachments: &[Bytes],
        compress: bool,
    ) -> Result<(), HubError> {
        let head = self.head(Kind::Event, None);
        worker.with_scratch(|packet| {
            self.carrier.begin(packet, head);
            let json_at = packet.len();
            packet.extend_from_slice(json);
            let out = Outgoing { head, packet, json_at, attachments, compress };
            Rc::clone(&self.carrier).send_conflated(worker, key, out)
        })
    }

    /// Queues an event whose acknowledgement goes to `reply`.
    pub(crate) fn send_with_ack(
        &self,
        worker: &Rc<Worker>,
        json: &[u8],
        attachments: &[Bytes],
        compress: bool,
        timeout: Duration,
        reply: AckReply,
    ) {
        let deadline = Worker::deadline(timeout);
        let limit = self.options().max_pending_acks;
        let inserted = self.acks.borrow_mut().get_or_insert_default().insert(deadline, timeout, reply, limit);
        let id = match inserted {
            Ok(id) => id,
            Err(reply) => {
                metrics::counter!("switchboard_acks_refused_total").increment(1);
                return reply.send(Err(AckError::TooMany(limit)));
            }
        };
        self.carrier.arm(worker, deadline);
        let head = self.head(Kind::Event, Some(id));
        let sent = self.send_json(worker, head, json, attachments, Sending { volatile: false, compress });
        if let Err(error) = sent
            && let Some(reply) = self.take_ack(id)
        {
            reply.send(Err(AckError::Emit(error.into())));
        }
    }

    fn take_ack(&self, id: u64) -> Option<AckReply> {
        self.acks.borrow_mut().as_mut()?.take(id)
    }

    /// Queues an acknowledgement.
    pub(crate) fn send_ack(
        &self,
        worker: &Rc<Worker>,
        id: u64,
        reply: &Reply,
    ) -> Result<(), crate::EmitError> {
        let reply = reply.written();
        if worker.has_own_ordered() {
            // The broadcasts of the handler come first.
            let (json, attachments) = (reply.json.clone(), reply.attachments.clone());
            let bytes = held_bytes(&json, &attachments);
            return self.socket.on_worker_holding(bytes, move |worker, local| {
                let head = local.head(Kind::Ack, Some(id));
                Ok(local.send_json(worker, head, &json, &attachments, Sending::default())?)
            });
        }
        let head = self.head(Kind::Ack, Some(id));
        Ok(self.send_json(worker, head, &reply.json, &reply.attachments, Sending::default())?)
    }

    /// An acknowledgement has come.
    pub(crate) fn on_ack(&self, worker: &Rc<Worker>, id: u64, data: &str, attachments: Vec<Bytes>) {
        let Some(reply) = self.take_ack(id) else {
            metrics::counter!("switchboard_acks_unawaited_total").increment(1);
            tracing::debug!(id, "an acknowledgement that nobody awaits");
            return;
        };
        match Args::parse_within(data, 0, attachments, self.options().packets.max_depth) {
            Ok(args) => reply.send(Ok(args)),
            Err(error) => {
                metrics::counter!("switchboard_parse_errors_total").increment(1);
                reply.send(Err(error.into()));
                self.close(worker, DisconnectReason::ParseError);
            }
        }
    }

    /// Fails the acknowledgements and drops the early events whose time is over; returns when the next one's
    /// is.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let acks = self.acks.borrow_mut().as_mut().and_then(|acks| acks.expire(now));
        acks.into_iter().chain(self.expire_early(now)).min()
    }

    // Handlers of its own that see all events.

    /// The socket's own handlers that see all its events, as they are now.
    pub(crate) fn own_early(&self) -> Option<Arc<EarlyHandlers>> {
        self.own_early.borrow().clone()
    }

    pub(crate) fn change_own_early<R>(&self, change: impl FnOnce(&mut EarlyHandlers) -> R) -> R {
        change(Arc::make_mut(self.own_early.borrow_mut().get_or_insert_default()))
    }

    pub(crate) fn drop_acks(&self) {
        drop(self.acks.take());
    }
}

impl LocalSocket {
    /// Tells the client that it is in the namespace no more.
    pub(crate) fn disconnect_alone(&self, worker: &Rc<Worker>, sockets: &Sockets) {
        if !self.is_here() {
            return;
        }
        Rc::clone(&self.carrier).disconnected(worker, self.namespace());
        sockets.remove_disconnected(self);
        self.leave_at_once(worker);
    }
}

/// Its namespace may be empty then.
impl Drop for LocalSocket {
    fn drop(&mut self) {
        self.socket.shared.namespace.exit();
    }
}

impl Endpoint for LocalSocket {
    fn disconnect(&self, close: bool) {
        let Some(worker) = Worker::current() else { return };
        if !self.is_here() {
            return self.abandon_events(&worker);
        }
        let Some(sockets) = self.sockets.upgrade() else { return };
        if close {
            sockets.disconnect_all(&worker);
        } else {
            self.disconnect_alone(&worker, &sockets);
        }
    }

    fn session_data(&self, out: &mut Vec<u8>) {
        if let Some(data) = self.socket.shared_data() {
            out.extend_from_slice(data.0.get().as_bytes());
        }
    }

    fn supersede(&self) {
        if let Some(worker) = Worker::current() {
            self.close(&worker, DisconnectReason::ForcedServerClose);
        }
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        let data = self.socket.shared_data();
        write_snapshot(out, self.socket.handshake(), data.as_ref().map(|data| &*data.0));
    }

    fn ask(&self, worker: &Rc<Worker>, asking: &Asking<'_>) -> bool {
        let payload: &dyn Any = asking.payload;
        let Some(event) = payload.downcast_ref::<Event>().filter(|_| self.is_here()) else { return false };
        let (json, attachments) = (event.json_bytes(), event.attachments());
        let reply = AckReply::Many(asking.answer());
        self.send_with_ack(worker, json, attachments, event.compresses(), asking.timeout, reply);
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
