//! One session's Socket.IO packets: which namespaces it is in, and what goes to which socket.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;
use switchboard_hub::{ScopeId, Worker};
use switchboard_protocol::socketio::{
    Assembler, Packet, PacketType, Started, connect_error, connect_reply, decode, event_name,
    replace_unpaired_surrogates,
};
use switchboard_websocket::Opcode;

use super::server::SocketIo;
use crate::api::ack::deadline;
use crate::api::dispatch::holding_back;
use crate::api::extract::Connecting;
use crate::api::handler::{AnySocketHandler, Extracted, HandlerCall, Outcome};
use crate::api::local::LocalSocket;
use crate::api::namespace::{NamespaceInner, Table};
use crate::api::queue::{AuthCharge, EventRef, JoinCharge, Load, count_dropped};
use crate::api::report::{ErrorContext, HandlerKind};
use crate::api::socket::{Socket, SocketShared};
use crate::engineio::application::Conversation;
use crate::engineio::session::{EngineSession, Sending};
use crate::functions::{caught, caught_future};
use crate::{DisconnectReason, Error};

/// The Socket.IO side of one session.
pub(crate) struct Client {
    server: Arc<SocketIo>,
    session: Rc<EngineSession>,
    sockets: RefCell<SmallVec<[Rc<LocalSocket>; 1]>>,
    assembler: RefCell<Assembler>,
    /// When the client must have joined a namespace; `None` once it has.
    join_by: Cell<Option<Instant>>,
    /// Sockets whose held events are as many as may be: the client is not read.
    held_back: Cell<usize>,
    /// What its sockets have under way; made when one first has.
    load: OnceCell<Rc<Load>>,
    /// The namespace of a CONNECT that no other packet has followed yet.
    connecting: Cell<Option<ScopeId>>,
    /// Namespaces that the server has disconnected it from, and that it has not joined again.
    #[expect(clippy::box_collection, reason = "most clients need no more than the pointer")]
    left: RefCell<Option<Box<Vec<ScopeId>>>>,
    me: Weak<Client>,
}

impl Client {
    pub(crate) fn open(server: &Arc<SocketIo>, session: &Rc<EngineSession>) -> Rc<Self> {
        let join_by = deadline(Worker::clock(), server.options.connect_timeout);
        Rc::new_cyclic(|me| Self {
            server: Arc::clone(server),
            session: Rc::clone(session),
            sockets: RefCell::default(),
            assembler: RefCell::default(),
            join_by: Cell::new(Some(join_by)),
            held_back: Cell::new(0),
            load: OnceCell::new(),
            connecting: Cell::new(None),
            left: RefCell::default(),
            me: Weak::clone(me),
        })
    }

    /// Forgets a socket that leaves.
    pub(crate) fn remove(&self, socket: &LocalSocket) {
        self.sockets.borrow_mut().retain(|other| !std::ptr::eq(&raw const **other, socket));
    }

    /// Forgets a socket that the server disconnects. Its client does not know yet, and may have sent more to it.
    pub(crate) fn remove_disconnected(&self, socket: &LocalSocket) {
        self.remove(socket);
        self.left.borrow_mut().get_or_insert_default().push(socket.scope());
    }

    fn has_left(&self, namespace: &str) -> bool {
        let left = self.left.borrow();
        let namespace = self.server.namespace(namespace);
        left.as_ref().zip(namespace).is_some_and(|(left, namespace)| left.contains(&namespace.scope))
    }

    /// What its sockets have under way.
    pub(crate) fn load(&self) -> Rc<Load> {
        Rc::clone(self.load.get_or_init(|| Load::new(&self.server.options, &self.me)))
    }

    /// Whether a socket that leaves may have events handled after its end.
    pub(crate) fn may_leave_over(&self, worker: &Worker) -> bool {
        self.session.is_open() || self.load().outlives_client(worker)
    }

    /// One more of its sockets can take no more events.
    pub(crate) fn hold_back(&self) {
        self.held_back.set(self.held_back.get() + 1);
        self.session.pause();
    }

    /// One fewer; with the last one the client is read again.
    pub(crate) fn let_go(&self, worker: &Rc<Worker>) {
        self.held_back.set(self.held_back.get().saturating_sub(1));
        if self.held_back.get() == 0 {
            self.session.resume(worker);
        }
    }

    /// Disconnects all its sockets, then closes the session.
    pub(crate) fn disconnect_all(&self, worker: &Rc<Worker>) {
        let sockets = self.sockets.borrow().clone();
        for socket in sockets.iter().filter(|socket| socket.socket.is_connected()) {
            socket.disconnect_alone(worker, self);
        }
        self.session.close(worker, DisconnectReason::ForcedServerClose);
    }

    fn socket(&self, namespace: &str) -> Option<Rc<LocalSocket>> {
        self.sockets.borrow().iter().find(|socket| socket.namespace() == namespace).cloned()
    }

    fn parse_error(&self, worker: &Rc<Worker>, error: &dyn std::error::Error) {
        tracing::debug!(%error, "not a packet");
        metrics::counter!("switchboard_parse_errors_total").increment(1);
        self.session.close(worker, DisconnectReason::ParseError);
    }

    fn on_packet(&self, worker: &Rc<Worker>, packet: &Packet<'_>, attachments: Vec<Bytes>) {
        let socket = self.socket(packet.namespace);
        let connecting = self.connecting.take();
        match (packet.kind, socket) {
            (PacketType::Connect, None) => self.connect(worker, packet),
            (PacketType::Connect, Some(socket))
                if !socket.socket.is_connected() || connecting == Some(socket.scope()) =>
            {
                // A client that connects, disconnects and connects again before it was answered sends CONNECT twice, and nothing
                // between. One answer is for both.
                self.connecting.set(connecting);
                metrics::counter!("switchboard_packets_out_of_place_total").increment(1);
                tracing::debug!(namespace = packet.namespace, "a namespace that is being joined already");
            }
            (PacketType::Event | PacketType::BinaryEvent, Some(socket)) if socket.socket.is_connected() => {
                match event_name(packet.data) {
                    Ok((name, offset)) => {
                        let event = EventRef {
                            name: &name,
                            data: packet.data,
                            offset,
                            attachments: &attachments,
                            ack: packet.ack,
                        };
                        socket.on_event(worker, event);
                    }
                    Err(error) => self.parse_error(worker, &error),
                }
            }
            (PacketType::Ack | PacketType::BinaryAck, Some(socket)) => {
                if let Some(id) = packet.ack {
                    socket.on_ack(worker, id, packet.data, attachments);
                } else {
                    tracing::debug!("an acknowledgement without an id");
                }
            }
            (PacketType::Disconnect, Some(socket)) => {
                self.remove(&socket);
                socket.leave(worker, DisconnectReason::ClientNamespaceDisconnect);
            }
            (kind, None) if kind != PacketType::ConnectError && self.has_left(packet.namespace) => {
                if matches!(kind, PacketType::Event | PacketType::BinaryEvent) {
                    count_dropped(1, "disconnected");
                }
                tracing::debug!(
                    ?kind,
                    namespace = packet.namespace,
                    "a packet for a socket that was disconnected"
                );
            }
            // A namespace that was not joined, one that was already, or what only servers send.
            (kind, _) => {
                metrics::counter!("switchboard_packets_out_of_place_total").increment(1);
                tracing::debug!(?kind, namespace = packet.namespace, "a packet out of place");
                self.session.close(worker, DisconnectReason::ForcedServerClose);
            }
        }
    }

    // Joining a namespace.

    fn connect(&self, worker: &Rc<Worker>, packet: &Packet<'_>) {
        let Some(namespace) = self.server.namespace(packet.namespace) else {
            return self.refuse(worker, packet.namespace, &Error::new("Invalid namespace"));
        };
        let joins = self.load.get().map_or(0, |load| load.joins());
        if self.sockets.borrow().len().max(joins) >= self.server.options.max_namespaces {
            return self.refuse(worker, packet.namespace, &Error::new("too many namespaces"));
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(if packet.data.is_empty() {
            "{}"
        } else {
            packet.data
        }) {
            return self.parse_error(worker, &error);
        }
        let Some(id) = worker.new_member_id() else {
            return self.session.close(worker, DisconnectReason::ForcedServerClose);
        };
        let auth = if packet.data.is_empty() {
            None
        } else if let Some(auth) = AuthCharge::new(self.load(), packet.data.len()) {
            Some(auth)
        } else {
            return self.refuse(worker, packet.namespace, &Error::new("too much auth"));
        };
        self.connecting.set(Some(namespace.scope));
        if let Some(left) = self.left.borrow_mut().as_mut() {
            left.retain(|scope| *scope != namespace.scope);
        }
        let shared = SocketShared::new(&namespace, id, self.session.handshake(), packet.data);
        let local = LocalSocket::new(Socket { shared }, &self.session, &self.me, auth.clone());
        // Events wait until `on_connect` has returned.
        local.queue.set_busy(true);
        self.sockets.borrow_mut().push(Rc::clone(&local));
        let table = namespace.table.load();
        if table.middleware.is_empty() && table.connect.is_empty() {
            self.welcome(worker, &local, &namespace);
            local.release(worker);
            return;
        }
        let joining = Joining {
            worker: Rc::clone(worker),
            client: Weak::clone(&self.me),
            local: Rc::downgrade(&local),
            socket: local.socket.clone(),
            table: arc_swap::Guard::into_inner(table),
            _auth: auth,
        };
        // Most of this does not wait; what does goes on in a task.
        let mut joining = Box::pin(joining.run());
        if joining.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending() {
            let charge = JoinCharge::new(self.load());
            tokio::task::spawn_local(async move {
                joining.await;
                drop(charge);
            });
        }
    }

    /// Answers CONNECT: the socket is a member now.
    fn welcome(&self, worker: &Rc<Worker>, local: &Rc<LocalSocket>, namespace: &NamespaceInner) {
        self.join_by.set(None);
        let socket = &local.socket.shared;
        let session = Rc::clone(&self.session) as Rc<dyn switchboard_hub::Session>;
        let endpoint = Rc::clone(local) as Rc<dyn switchboard_hub::Endpoint>;
        worker.with_scratch(|packet| {
            packet.push(b'4');
            connect_reply(packet, &namespace.name, socket.id.as_str());
            let _full = self.session.send(worker, Opcode::Text, packet, Sending::default());
        });
        let key =
            worker.add_member(namespace.scope, socket.id, self.server.dialect.variant(), session, endpoint);
        let _unset_before = socket.key.set(key);
        socket.connected.store(true, Ordering::Release);
        tracing::debug!(namespace = &*namespace.name, socket = %socket.id, "socket connected");
        metrics::counter!("switchboard_sockets_connected_total").increment(1);
        metrics::gauge!("switchboard_sockets").increment(1.0);
    }

    /// Answers CONNECT with an error.
    fn refuse(&self, worker: &Rc<Worker>, namespace: &str, error: &Error) {
        metrics::counter!("switchboard_connects_refused_total").increment(1);
        tracing::debug!(namespace, %error, "connect refused");
        worker.with_scratch(|packet| {
            packet.push(b'4');
            // What was a JSON value serialises.
            let _never = connect_error(packet, namespace, error.public_message(), error.data());
            let _full = self.session.send(worker, Opcode::Text, packet, Sending::default());
        });
    }
}

/// A socket on its way into a namespace: middleware, extractors, the answer, `on_connect`.
///
/// It does not keep the client: where a middleware waits for ever, what is left of a client that has gone is this and the handle.
struct Joining {
    worker: Rc<Worker>,
    client: Weak<Client>,
    local: Weak<LocalSocket>,
    socket: Socket,
    table: Arc<Table>,
    /// The socket's, which may have gone before its middleware is done.
    _auth: Option<Rc<AuthCharge>>,
}

impl Joining {
    async fn run(self) {
        let admitted = self.admit().await;
        let namespace = &self.socket.shared.namespace;
        let handlers = {
            let Some((client, local)) = self.both() else { return };
            match admitted {
                Ok(handlers) => {
                    client.welcome(&self.worker, &local, namespace);
                    handlers
                }
                Err(error) => {
                    client.remove(&local);
                    return client.refuse(&self.worker, &namespace.name, &error);
                }
            }
        };
        for (handler, registered) in handlers.into_iter().zip(&self.table.connect) {
            let name = registered.type_name();
            let outcome = holding_back(&self.local, HandlerKind::Connect, None, name, call(handler)).await;
            let Some(local) = self.local.upgrade().filter(|local| !local.is_gone()) else { return };
            let context = self.error_context(HandlerKind::Connect, name);
            match outcome {
                Some(Ok(_)) => continue,
                Some(Err(error)) => context.report(&error),
                None => context.report_panic(),
            }
            return switchboard_hub::Endpoint::disconnect(&*local, false);
        }
        if let Some(local) = self.local.upgrade() {
            local.release(&self.worker);
        }
    }

    /// The client and its socket, unless it has gone meanwhile.
    fn both(&self) -> Option<(Rc<Client>, Rc<LocalSocket>)> {
        let (client, local) = (self.client.upgrade()?, self.local.upgrade()?);
        local.is_here().then_some((client, local))
    }

    /// Runs the middleware, then lets each `on_connect` take its arguments. Errors that the client is not told have been reported.
    async fn admit(&self) -> Result<Vec<Extracted>, Error> {
        let context = Connecting { socket: self.socket.clone() };
        let extract = |kind, handler: &AnySocketHandler<Connecting>| {
            self.judge(kind, handler, caught(|| handler.extract(&context)))
        };
        for middleware in &self.table.middleware {
            let extracted = extract(HandlerKind::Middleware, middleware)?;
            self.judge(HandlerKind::Middleware, middleware, call(extracted).await)?;
        }
        self.table.connect.iter().map(|handler| extract(HandlerKind::Connect, handler)).collect()
    }

    /// What a call came to (`None`: it panicked); what is the server's own affair is reported.
    fn judge<T>(
        &self,
        kind: HandlerKind,
        handler: &AnySocketHandler<Connecting>,
        outcome: Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let context = self.error_context(kind, handler.type_name());
        match outcome {
            Some(Err(error)) if !error.is_public() || error.wanted_type().is_some() => {
                context.report(&error);
                Err(error)
            }
            Some(outcome) => outcome,
            None => {
                context.report_panic();
                Err(Error::internal("a handler panicked"))
            }
        }
    }

    fn error_context(&self, kind: HandlerKind, handler: &'static str) -> ErrorContext<'_> {
        ErrorContext { socket: &self.socket, kind, event: None, handler }
    }
}

/// Calls a handler that has its arguments; `None` where it panicked.
async fn call(extracted: Extracted) -> Option<Outcome> {
    match caught(extracted.0)? {
        HandlerCall::Done(outcome) => Some(outcome),
        HandlerCall::Waits(waiting) => caught_future(waiting).await,
    }
}

impl Conversation for Client {
    fn text(&self, worker: &Rc<Worker>, text: &str) {
        // JavaScript may cut an emoji in half, which serde would not take.
        let text = &*replace_unpaired_surrogates(text);
        let packet = match decode(text, &self.server.options.packets) {
            Ok(packet) => packet,
            Err(error) => return self.parse_error(worker, &error),
        };
        let started = self.assembler.borrow_mut().start(&packet);
        match started {
            Ok(Started::Complete) => self.on_packet(worker, &packet, Vec::new()),
            Ok(Started::Waiting) => {}
            Err(error) => self.parse_error(worker, &error),
        }
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        let pushed =
            self.assembler.borrow_mut().push(Bytes::copy_from_slice(bytes), &self.server.options.packets);
        match pushed {
            Ok(Some(assembled)) => {
                self.on_packet(worker, &assembled.packet.as_packet(), assembled.attachments);
            }
            Ok(None) => {}
            Err(error) => self.parse_error(worker, &error),
        }
    }

    fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        let sockets = self.sockets.take();
        for socket in sockets {
            socket.leave(worker, reason);
        }
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        if self.join_by.get().is_some_and(|join_by| now >= join_by) {
            metrics::counter!("switchboard_connect_timeouts_total").increment(1);
            self.session.close(worker, DisconnectReason::ForcedServerClose);
            return None;
        }
        let acks = self.sockets.borrow().iter().filter_map(|socket| socket.expire_acks(now)).min();
        self.join_by.get().into_iter().chain(acks).min()
    }
}
