//! The sockets of one client: the namespaces it is in, and what it has under way there.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;
use switchboard_hub::{Endpoint, Variant, Worker};
use switchboard_protocol::socketio::{DecodeError, event_name};

use super::carrier::Carrier;
use super::joining::Joining;
use super::local::LocalSocket;
use super::namespace::NamespaceInner;
use super::namespaces::Namespaces;
use super::options::SocketIoOptions;
use super::parents::AskingForChild;
use super::queue::{AuthCharge, EventRef, JoinCharge, Load, count_dropped};
use super::socket::{Socket, SocketShared};
use super::socket_ids::new_socket_id;
use crate::handshake::Handshake;
use crate::refusals::{Refused, RefusedKind};
use crate::{DisconnectReason, Error};

/// The sockets of one client, on its worker: what the client sends comes here. Made by
/// [`Switchboard::sockets`](crate::Switchboard::sockets).
///
/// It lives as long as the session that carries it, which tells it of its end.
pub struct Sockets {
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) carrier: Rc<dyn Carrier>,
    variant: Variant,
    pub(super) all: RefCell<SmallVec<[Rc<LocalSocket>; 1]>>,
    /// When the client must have joined a namespace; `None` once it has.
    join_by: Cell<Option<Instant>>,
    /// Reasons for which the client is not read.
    held_back: Cell<usize>,
    /// What its sockets have under way; made when one first has.
    load: OnceCell<Rc<Load>>,
    /// What most clients have not.
    rare: RefCell<Option<Box<Rare>>>,
    pub(super) me: Weak<Sockets>,
}

#[derive(Default)]
struct Rare {
    /// Namespaces that the server has disconnected it from, and that it has not joined again.
    left: VecDeque<Arc<str>>,
    /// Namespaces that it asks for, and that are not there yet.
    asking: Vec<Box<str>>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("namespaces", &self.all.borrow().len()).finish_non_exhaustive()
    }
}

/// A client's part in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Membership {
    /// It is not in it.
    None,
    /// It has asked to join, and middleware has not decided yet.
    Joining,
    /// It is in it.
    Joined,
    /// The server has disconnected it. What it sent before it knew is no fault of its own.
    Left,
}

/// An event that a client sent.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its name and arguments: `["event",argument,…]`. Its syntax is checked when it is read.
    pub json: &'a str,
    /// What the placeholders in the arguments stand for.
    pub attachments: &'a [Bytes],
    /// The id that it is to be acknowledged with, if it is.
    pub ack: Option<u64>,
}

impl Sockets {
    pub(crate) fn new(namespaces: &Arc<Namespaces>, carrier: Rc<dyn Carrier>, variant: Variant) -> Rc<Self> {
        let join_by = Worker::deadline(namespaces.options.connect_timeout);
        Rc::new_cyclic(|me| Self {
            namespaces: Arc::clone(namespaces),
            carrier,
            variant,
            all: RefCell::default(),
            join_by: Cell::new(Some(join_by)),
            held_back: Cell::new(0),
            load: OnceCell::new(),
            rare: RefCell::default(),
            me: Weak::clone(me),
        })
    }

    pub(crate) fn options(&self) -> &SocketIoOptions {
        &self.namespaces.options
    }

    // What the client sends.

    /// Its part in a namespace.
    pub fn membership(&self, namespace: &str) -> Membership {
        match self.socket(namespace) {
            Some(socket) if socket.socket.is_connected() => Membership::Joined,
            Some(_) => Membership::Joining,
            None if self.is_asking(namespace) => Membership::Joining,
            None if self.has_left(namespace) => Membership::Left,
            None => Membership::None,
        }
    }

    /// The client asks to join a namespace; `auth` is a JSON object, or empty. It is told by
    /// [`Carrier::connected`] or [`Carrier::refused`], now or later. One that it has joined, or is joining,
    /// stays as it is.
    ///
    /// # Errors
    /// `auth` is no JSON.
    pub fn connect(&self, worker: &Rc<Worker>, name: &str, auth: &str) -> Result<(), serde_json::Error> {
        if self.socket(name).is_some() || self.is_asking(name) {
            return Ok(());
        }
        let namespace = self.namespaces.namespace(name);
        if namespace.is_none() && !self.namespaces.has_parents() {
            self.refuse(worker, name, &Error::new("Invalid namespace"));
            return Ok(());
        }
        if !self.admit_connect(worker, name, namespace.as_deref()) {
            return Ok(());
        }
        let joins = self.load.get().map_or(0, |load| load.joins());
        if self.all.borrow().len().max(joins) >= self.namespaces.options.max_namespaces {
            self.refuse(worker, name, &Error::new("too many namespaces"));
            return Ok(());
        }
        serde_json::from_str::<serde::de::IgnoredAny>(if auth.is_empty() { "{}" } else { auth })?;
        let charge = if auth.is_empty() { None } else { AuthCharge::new(self.load(), auth.len()) };
        if charge.is_none() && !auth.is_empty() {
            self.refuse(worker, name, &Error::new("too much auth"));
            return Ok(());
        }
        if let Some(namespace) = namespace {
            self.join(worker, &namespace, auth, charge);
        } else {
            self.rare.borrow_mut().get_or_insert_default().asking.push(name.into());
            AskingForChild::start(worker, self, name, auth, charge);
        }
        Ok(())
    }

    /// The client sent an event to a namespace that it [has joined](Membership::Joined); others are dropped.
    ///
    /// # Errors
    /// It has no name: the client breaks the protocol.
    pub fn event(
        &self,
        worker: &Rc<Worker>,
        namespace: &str,
        event: Incoming<'_>,
    ) -> Result<(), DecodeError> {
        let Some(socket) = self.socket(namespace).filter(|socket| socket.socket.is_connected()) else {
            count_dropped(1, "disconnected");
            return Ok(());
        };
        Self::event_of(worker, &socket, event)
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: 30 instructions of each event, since it has two callers"
    )]
    pub(crate) fn event_of(
        worker: &Rc<Worker>,
        socket: &Rc<LocalSocket>,
        event: Incoming<'_>,
    ) -> Result<(), DecodeError> {
        let Incoming { json: data, attachments, ack } = event;
        let (name, offset) = event_name(data)?;
        socket.on_event(worker, EventRef { name: &name, data, offset, attachments, ack });
        Ok(())
    }

    /// The client acknowledged an event; `json` is `[argument,…]`, or empty.
    pub fn ack(&self, worker: &Rc<Worker>, namespace: &str, id: u64, json: &str, attachments: Vec<Bytes>) {
        if let Some(socket) = self.socket(namespace) {
            socket.on_ack(worker, id, json, attachments);
        }
    }

    /// The client leaves a namespace.
    pub fn leave(&self, worker: &Rc<Worker>, namespace: &str) {
        if let Some(socket) = self.socket(namespace) {
            self.remove(&socket);
            socket.leave(worker, DisconnectReason::ClientNamespaceDisconnect);
        } else {
            self.end_asking(namespace);
        }
    }

    /// The session has ended: so have its sockets.
    pub fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        drop(self.rare.take());
        for socket in self.all.take() {
            socket.leave(worker, reason);
        }
    }

    /// A deadline may have come. Returns the next one.
    pub fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        if self.join_by.get().is_some_and(|join_by| now >= join_by) {
            metrics::counter!("switchboard_connect_timeouts_total").increment(1);
            self.close(worker, DisconnectReason::ForcedServerClose);
            return None;
        }
        let due = self.all.borrow().iter().filter_map(|socket| socket.expire(now)).min();
        self.join_by.get().into_iter().chain(due).min()
    }

    // Its sockets.

    #[inline]
    pub(crate) fn socket(&self, namespace: &str) -> Option<Rc<LocalSocket>> {
        self.all.borrow().iter().find(|socket| socket.namespace() == namespace).cloned()
    }

    /// Forgets a socket that leaves.
    pub(crate) fn remove(&self, socket: &LocalSocket) {
        self.all.borrow_mut().retain(|other| !std::ptr::eq(&raw const **other, socket));
    }

    /// Forgets a socket that the server disconnects. Its client does not know yet, and may have sent more to
    /// it.
    pub(crate) fn remove_disconnected(&self, socket: &LocalSocket) {
        self.remove(socket);
        let mut rare = self.rare.borrow_mut();
        let left = &mut rare.get_or_insert_default().left;
        if left.len() >= self.options().max_namespaces {
            left.pop_front();
        }
        left.push_back(Arc::clone(&socket.socket.shared.namespace.name));
    }

    fn has_left(&self, namespace: &str) -> bool {
        let rare = self.rare.borrow();
        rare.as_ref().is_some_and(|rare| rare.left.iter().any(|left| **left == *namespace))
    }

    fn is_asking(&self, namespace: &str) -> bool {
        let rare = self.rare.borrow();
        rare.as_ref().is_some_and(|rare| rare.asking.iter().any(|asking| **asking == *namespace))
    }

    /// The client asks for a namespace no more. Returns whether it did.
    pub(super) fn end_asking(&self, namespace: &str) -> bool {
        let mut rare = self.rare.borrow_mut();
        let Some(rare) = rare.as_mut() else { return false };
        let before = rare.asking.len();
        rare.asking.retain(|asking| **asking != *namespace);
        rare.asking.len() < before
    }

    pub(super) fn namespaces(&self) -> &Arc<Namespaces> {
        &self.namespaces
    }

    pub(super) fn handshake(&self) -> &Handshake {
        self.carrier.handshake()
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// What its sockets have under way.
    pub(crate) fn load(&self) -> Rc<Load> {
        Rc::clone(self.load.get_or_init(|| Load::new(&self.namespaces.options, &self.me)))
    }

    /// Whether a socket that leaves may have events handled after its end.
    pub(crate) fn may_leave_over(&self, worker: &Worker) -> bool {
        self.carrier.is_open() || self.load().outlives_client(worker)
    }

    /// One more reason not to read the client.
    pub(crate) fn hold_back(&self) {
        self.held_back.set(self.held_back.get() + 1);
        self.carrier.pause();
    }

    /// One fewer; with the last one the client is read again.
    pub(crate) fn let_go(&self, worker: &Rc<Worker>) {
        self.held_back.set(self.held_back.get().saturating_sub(1));
        if self.held_back.get() == 0 {
            Rc::clone(&self.carrier).resume(worker);
        }
    }

    /// Disconnects all its sockets, then closes the session.
    pub(crate) fn disconnect_all(&self, worker: &Rc<Worker>) {
        let sockets = self.all.borrow().clone();
        for socket in sockets.iter().filter(|socket| socket.socket.is_connected()) {
            socket.disconnect_alone(worker, self);
        }
        self.close(worker, DisconnectReason::ForcedServerClose);
    }

    pub(super) fn close(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        Rc::clone(&self.carrier).close(worker, reason);
    }

    // Joining a namespace.

    pub(super) fn join(
        &self,
        worker: &Rc<Worker>,
        namespace: &Arc<NamespaceInner>,
        auth: &str,
        charge: Option<Rc<AuthCharge>>,
    ) {
        let Some(id) = new_socket_id(worker, namespace, self.carrier.handshake()) else {
            return self.close(worker, DisconnectReason::ForcedServerClose);
        };
        if let Some(rare) = self.rare.borrow_mut().as_mut() {
            rare.left.retain(|left| **left != *namespace.name);
        }
        if !namespace.enter() {
            // It was removed this moment. Its `auth` was checked.
            drop(charge);
            let _made_anew = self.connect(worker, &namespace.name, auth);
            return;
        }
        let shared = SocketShared::new(namespace, id, self.carrier.handshake(), auth);
        let local = LocalSocket::new(Socket { shared }, &self.carrier, &self.me, charge.clone());
        self.meter(&local);
        // Events wait until `on_connect` has returned.
        local.queue.set_busy(true);
        self.all.borrow_mut().push(Rc::clone(&local));
        let table = namespace.table.load();
        let recovers = self.recovers(namespace);
        if table.middleware.is_empty() && table.connect.is_empty() && !recovers {
            self.welcome(worker, &local, namespace);
            local.release(worker);
            return;
        }
        let joining = Joining {
            worker: Rc::clone(worker),
            sockets: Weak::clone(&self.me),
            local: Rc::downgrade(&local),
            socket: local.socket.clone(),
            table: arc_swap::Guard::into_inner(table),
            auth: charge,
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

    /// The socket is a member now, and its client is told.
    pub(super) fn welcome(&self, worker: &Rc<Worker>, local: &Rc<LocalSocket>, namespace: &NamespaceInner) {
        Rc::clone(&self.carrier).connected(worker, &namespace.name, local.socket.id());
        self.add_member(worker, local, namespace);
    }

    /// The socket becomes a member.
    pub(super) fn add_member(
        &self,
        worker: &Rc<Worker>,
        local: &Rc<LocalSocket>,
        namespace: &NamespaceInner,
    ) {
        self.join_by.set(None);
        let socket = &local.socket.shared;
        let session = Rc::clone(&self.carrier).session();
        let endpoint = Rc::clone(local) as Rc<dyn Endpoint>;
        let key = worker.add_member(namespace.scope, socket.id, self.variant, session, endpoint);
        let _unset_before = socket.key.set(key);
        for room in self.carrier.own_rooms(&namespace.name) {
            // A socket that may be in no room can be sent to by its id alone.
            let _full = worker.join(key, &room);
        }
        socket.connected.store(true, Ordering::Release);
        tracing::debug!(namespace = &*namespace.name, socket = %socket.id, "socket connected");
        metrics::counter!("switchboard_sockets_connected_total").increment(1);
        metrics::gauge!("switchboard_sockets").increment(1.0);
    }

    /// The client is told that it was refused.
    pub(super) fn refuse(&self, worker: &Rc<Worker>, namespace: &str, error: &Error) {
        metrics::counter!("switchboard_connects_refused_total").increment(1);
        tracing::debug!(namespace, %error, "connect refused");
        let refusals = &self.options().refusals;
        if refusals.is_heard() {
            let address = self.carrier.handshake().address().map(|address| address.ip());
            let reason = error.public_message();
            let refused = Refused::new(RefusedKind::Connect, reason, address);
            refusals.tell(&Refused { namespace: Some(namespace), ..refused });
        }
        Rc::clone(&self.carrier).refused(worker, namespace, error);
    }
}
