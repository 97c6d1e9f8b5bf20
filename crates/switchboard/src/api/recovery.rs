//! Recovery of connection state: a client whose connection was lost gets its sockets back, with the events that
//! it has missed. The hub keeps the events and the sessions (`switchboard_hub`'s histories); here sockets become
//! sessions, and sessions become sockets again.
//!
//! On the wire it is [Socket.IO's
//! recovery](https://socket.io/docs/v4/connection-state-recovery): the answer to CONNECT holds a `pid`, each event
//! that is kept ends with its position, and the client shows both in the `auth` of its next CONNECT.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use switchboard_hub::{
    Broadcast, HistoryOptions, Opened, Position, RoomName, SessionState, SessionToken, Store, StoreWriter,
    Target, Worker,
};
use switchboard_protocol::socketio::ArgsError;
use tokio::sync::oneshot;

use super::joining::Joining;
use super::local::{LocalSocket, Presence};
use super::namespace::{Namespace, NamespaceInner};
use super::remote::read_data;
use super::socket::{SharedData, Socket, SocketShared};
use super::sockets::Sockets;
use crate::event::Event;
use crate::states::States;
use crate::{DisconnectReason, EmitError, SocketId};

/// How connection state is recovered: see [`Builder::recovery`](crate::Builder::recovery). All bounds are those of
/// one namespace.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{RecoveryOptions, Socket, Switchboard};
///
/// # fn main() -> std::io::Result<()> {
/// let mut recovery = RecoveryOptions::default();
/// recovery.window = Duration::from_secs(60);
/// let io = Switchboard::builder().workers(1).recovery(recovery).build()?;
/// io.root().on_connect(|socket: Socket| {
///     if socket.recovered() {
///         return Ok(()); // it is in its rooms, and has got what it had missed
///     }
///     socket.join("news")
/// });
/// io.root().on_expired(|session| println!("{} does not come back", session.id()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecoveryOptions {
    /// How long a client may be away (`maxDisconnectionDuration`). Default 2 minutes.
    pub window: Duration,
    /// Bytes of the events that are kept. Default 64 MiB; the oldest are forgotten first. A client that has missed
    /// one of these gets a new session.
    pub max_bytes: usize,
    /// Bytes of the rooms and data of the clients that are away. Default 64 MiB; the oldest
    /// [expire](Namespace::on_expired) first.
    pub max_session_bytes: usize,
    /// Bytes of missed events that one client may get. Default 8 MiB; a client that has missed more gets a new
    /// session.
    pub max_missed_bytes: usize,
    /// Whether a client that comes back passes by [`middleware`](Namespace::middleware) (`skipMiddlewares`).
    /// Default: yes. Handlers of [`on_connect`](Namespace::on_connect) are called at all times.
    pub skip_middleware: bool,
    /// Where events and sessions outlive the process. Default: nowhere.
    pub(crate) store: Option<StoreWriter>,
}

impl RecoveryOptions {
    /// Keeps events and sessions in a store too, so that clients are recovered after the server was started again,
    /// also if it was killed. A store may be shared by all namespaces of one server, but not by two servers that run
    /// at once.
    ///
    /// No event goes out, and no handler's acknowledgement behind it, before the store has it. Rooms and
    /// [data](Socket::set_data) of sockets are stored when they change; values of other types are not.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(StoreWriter::new(store));
        self
    }
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            max_bytes: 64 << 20,
            max_session_bytes: 64 << 20,
            max_missed_bytes: 8 << 20,
            skip_middleware: true,
            store: None,
        }
    }
}

/// What is told of sessions whose clients have not come back.
pub(super) type OnExpired = Arc<dyn Fn(&ExpiredSession) + Send + Sync>;

/// The session of a client that has not come back within the window: see [`Namespace::on_expired`].
#[derive(Debug)]
pub struct ExpiredSession {
    state: SessionState,
    data: Option<Box<RawValue>>,
}

impl ExpiredSession {
    fn new(state: SessionState) -> Self {
        let data = read_json(&state.data);
        Self { state, data }
    }

    /// The id of its socket.
    pub fn id(&self) -> SocketId {
        self.state.id
    }

    /// The rooms that it was in, that of its own id not among them.
    pub fn rooms(&self) -> &[RoomName] {
        &self.state.rooms
    }

    /// What was kept on it with [`Socket::set_data`]; `null` where nothing was.
    ///
    /// # Errors
    /// [`ArgsError::Data`]: it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        read_data(self.data.as_deref())
    }
}

fn read_json(bytes: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(bytes).ok()
}

impl Namespace {
    /// Recovers connection state in this namespace, also where the server does not; see
    /// [`Builder::recovery`](crate::Builder::recovery). To be called before clients come, once: options that the
    /// namespace has already stay.
    pub fn recovery(&self, options: RecoveryOptions) -> &Self {
        self.inner.keep_history(options);
        self
    }

    /// Returns when the events that this thread has sent in this namespace so far are on their way to all sockets
    /// of this node and, if there is a [store](RecoveryOptions::store), stored. Cancel safe.
    ///
    /// # Errors
    /// [`EmitError::Hub`]: a worker's inbox is full, or it has stopped.
    pub async fn saved(&self) -> Result<(), EmitError> {
        Ok(self.inner.hub.saved(self.inner.scope).await?)
    }

    /// Calls the function with each session whose client has not come back in time, so that it is over. (Its
    /// `on_disconnect` was called when its connection was lost.) Sessions that were ended on purpose, by the
    /// client or by the server, do not expire. It is called on a worker's thread, and must not block.
    pub fn on_expired(&self, function: impl Fn(&ExpiredSession) + Send + Sync + 'static) -> &Self {
        self.inner.change(|table| table.expired.push(Arc::new(function)));
        self
    }
}

impl NamespaceInner {
    pub(super) fn keep_history(self: &Arc<Self>, recovery: RecoveryOptions) {
        if self.recovery.get().is_some() {
            return;
        }
        if self.is_parent() {
            for child in self.children() {
                child.keep_history(recovery.clone());
            }
            // Children that come take the options from here.
            let _set_before = self.recovery.set(recovery);
            return;
        }
        let mut options = HistoryOptions::default();
        options.window = recovery.window;
        options.confirmed_after = self.options.confirmed_after;
        options.max_bytes = recovery.max_bytes;
        options.max_session_bytes = recovery.max_session_bytes;
        options.max_missed_bytes = recovery.max_missed_bytes;
        let namespace = Arc::downgrade(self);
        options.on_expired = Some(Arc::new(move |state| {
            let Some(namespace) = namespace.upgrade() else { return };
            let session = ExpiredSession::new(state);
            tracing::debug!(namespace = &*namespace.name, socket = %session.id(), "a session has expired");
            for function in &namespace.table.load().expired {
                function(&session);
            }
        }));
        options.store.clone_from(&recovery.store);
        let events = Arc::clone(&self.events);
        options.read_payload = Some(Arc::new(move |bytes| {
            let event = Event::read(bytes, |_| Some(Arc::clone(&events)))?;
            Some(Arc::new(event))
        }));
        match self.hub.keep_history(self.scope, options) {
            Ok(_) => drop(self.recovery.set(recovery)),
            Err(error) => {
                metrics::counter!("switchboard_store_errors_total").increment(1);
                tracing::error!(%error, namespace = &*self.name, "no connection state is recovered");
            }
        }
    }

    pub(super) fn skips_middleware(&self) -> bool {
        self.recovery.get().is_some_and(|recovery| recovery.skip_middleware)
    }
}

impl Socket {
    /// Sends an event by the history, so that the client gets it also if its connection is lost meanwhile.
    pub(super) fn emit_kept<T: Serialize>(
        &self,
        event: &str,
        args: &T,
        key: Option<Arc<str>>,
        compress: bool,
    ) -> Result<(), EmitError> {
        let namespace = &self.shared.namespace;
        let payload = Arc::new(Event::new(&namespace.events, event, args, compress)?);
        let target = Target {
            rooms: std::iter::once(RoomName::from(self.id().as_str())).collect(),
            local: true,
            ..Target::all(namespace.scope)
        };
        let ordered = namespace.ordered_broadcasts.load(std::sync::atomic::Ordering::Relaxed);
        Ok(namespace.hub.broadcast(Broadcast { target, payload, volatile: false, key, ordered })?)
    }
}

// The end of a connection.

impl LocalSocket {
    /// The socket ends: its session is kept for its client, or is over.
    pub(super) fn keep_session(&self, worker: &Worker, reason: DisconnectReason) {
        let namespace = &self.socket.shared.namespace;
        if namespace.recovery.get().is_none() || !self.carrier.can_recover() {
            return;
        }
        if !reason.is_recoverable() {
            return namespace.hub.end_session(namespace.scope, self.socket.id());
        }
        let rooms = self.socket.shared.key.get().and_then(|key| worker.rooms_of(*key));
        let state = self.socket.session_state(rooms.unwrap_or_default());
        namespace.hub.park_session(namespace.scope, worker.id(), state);
    }
}

impl Socket {
    /// The data of the socket has changed.
    pub(super) fn save_data(&self) {
        let is_stored = self.shared.namespace.recovery.get().is_some_and(|recovery| recovery.store.is_some());
        if let Some(&key) = self.shared.key.get().filter(|_| is_stored) {
            // A socket that is not connected any more has been stored.
            let _gone = self.on_worker(move |worker, _| Ok(worker.save_session(key)?));
        }
    }

    fn session_state(&self, rooms: Vec<RoomName>) -> SessionState {
        let data = self.shared_data().map(|data| data.0.get().as_bytes().to_vec());
        let values = self.shared.data.get().map(|values| {
            let values = values.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::new(values.clone()) as Arc<dyn std::any::Any + Send + Sync>
        });
        SessionState { id: self.id(), rooms, data: data.unwrap_or_default(), values }
    }
}

// The way back.

/// A session that a client has claimed.
pub(super) struct Claimed {
    token: SessionToken,
    state: SessionState,
    after: Position,
}

/// What `auth` says of a session that the client had.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow, default)]
    pid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    offset: Option<&'a RawValue>,
}

impl Asked<'_> {
    /// The token, and the last event that the client has got. `None`: it asks for no session, or for one that
    /// cannot be its.
    fn read(auth: &str) -> Option<(SessionToken, Option<Position>)> {
        let asked: Asked<'_> = serde_json::from_str(auth).ok()?;
        let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
        let token = SessionToken::parse(&text(asked.pid?)?)?;
        let offset = match asked.offset.and_then(text) {
            Some(offset) => Some(offset.parse().ok()?),
            None => None,
        };
        Some((token, offset))
    }
}

impl Sockets {
    /// Whether sockets of the namespace can be recovered for this client.
    pub(super) fn recovers(&self, namespace: &NamespaceInner) -> bool {
        namespace.recovery.get().is_some() && self.carrier.can_recover()
    }

    /// The socket of a claimed session takes the place of the new one.
    fn replace(&self, new: &Rc<LocalSocket>, recovered: &Rc<LocalSocket>) {
        new.presence.set(Presence::Gone);
        for socket in self.all.borrow_mut().iter_mut().filter(|socket| Rc::ptr_eq(socket, new)) {
            *socket = Rc::clone(recovered);
        }
    }

    /// The socket is a member now, with all that its session had; its client gets what it has missed, and then
    /// the answer to its CONNECT.
    fn welcome_back(&self, worker: &Rc<Worker>, local: &Rc<LocalSocket>, opening: &Opening, opened: &Opened) {
        let shared = &local.socket.shared;
        self.add_member(worker, local, &shared.namespace);
        if let (Some(state), Some(key)) = (&opening.claimed, shared.key.get()) {
            for room in &state.rooms {
                // It may be in as many rooms as it was.
                let _joined = worker.join(*key, room);
            }
            let missed: Vec<_> = opened.missed.iter().map(|(_, event)| Arc::clone(event)).collect();
            // A client that reads too little is closed by the worker.
            let _full = worker.deliver_missed(*key, &missed);
            metrics::counter!("switchboard_sockets_recovered_total").increment(1);
        }
        let token = opening.token.to_string();
        Rc::clone(&self.carrier).connected_with_token(worker, &shared.namespace.name, shared.id, &token);
    }
}

impl SocketShared {
    /// What a new socket is, with the id and the values of a session.
    fn recovered(&self, state: &SessionState) -> Arc<Self> {
        let values = state.values.as_ref().and_then(|values| values.downcast_ref::<States>());
        let values = values.cloned().unwrap_or_else(|| {
            let mut values = States::default();
            if let Some(data) = read_json(&state.data) {
                values.insert(SharedData(data));
            }
            values
        });
        Arc::new(Self {
            namespace: Arc::clone(&self.namespace),
            id: state.id,
            key: OnceLock::new(),
            connected: false.into(),
            handshake: self.handshake.clone(),
            auth: self.auth.clone(),
            recovered: true,
            data: OnceLock::from(Box::new(Mutex::new(values))),
        })
    }
}

/// The socket has gone meanwhile.
pub(super) struct Gone;

impl Joining {
    /// Claims the session that the client shows in its `auth`, if any.
    pub(super) async fn claim(&mut self) -> Result<Option<Claimed>, Gone> {
        let shared = Arc::clone(&self.socket.shared);
        let namespace = &shared.namespace;
        let recovers = self.both().is_some_and(|(sockets, _)| sockets.recovers(namespace));
        let asked = shared.auth.as_deref().filter(|_| recovers).and_then(Asked::read);
        let Some((token, offset)) = asked else { return Ok(None) };
        let Some(claimed) = namespace.hub.claim_session(namespace.scope, token, offset).await else {
            metrics::counter!("switchboard_sockets_not_recovered_total").increment(1);
            tracing::debug!(namespace = &*namespace.name, "a session that is not there, or not any more");
            return Ok(None);
        };
        let (sockets, new) = self.both().ok_or(Gone)?;
        let socket = Socket { shared: shared.recovered(&claimed.state) };
        let local = LocalSocket::new(socket.clone(), &sockets.carrier, &sockets.me, self.auth.clone());
        sockets.meter(&local);
        local.queue.set_busy(true);
        sockets.replace(&new, &local);
        (self.local, self.socket) = (Rc::downgrade(&local), socket);
        Ok(Some(Claimed { token, state: claimed.state, after: claimed.after }))
    }

    /// Makes the socket a member with a session that can be recovered. `false`: it has gone, or was closed.
    pub(super) async fn open(&self, claimed: Option<Claimed>) -> bool {
        let shared = &self.socket.shared;
        let token =
            claimed.as_ref().map_or_else(|| SessionToken::random(shared.id), |claimed| Some(claimed.token));
        let Some(token) = token else { return self.close() };
        let after = claimed.as_ref().map(|claimed| claimed.after);
        let (done, opened) = oneshot::channel();
        let opening = Opening {
            namespace: Arc::clone(&shared.namespace),
            sockets: Weak::clone(&self.sockets),
            local: Weak::clone(&self.local),
            token,
            claimed: claimed.map(|claimed| claimed.state),
            done,
        };
        let openings = self.worker.extension::<Openings>();
        let number = openings.next.replace(openings.next.get().wrapping_add(1));
        openings.all.borrow_mut().insert(number, opening);
        let sent = shared.namespace.hub.open_session(
            shared.namespace.scope,
            self.worker.id(),
            token,
            after,
            self.socket.session_state(Vec::new()).data,
            move |worker, opened| Openings::finish(worker, number, opened),
        );
        if sent.is_err() {
            openings.all.borrow_mut().remove(&number);
            return self.close();
        }
        opened.await.unwrap_or(false)
    }

    /// The client is to come again. Always `false`.
    fn close(&self) -> bool {
        if let Some((sockets, _)) = self.both() {
            sockets.close(&self.worker, DisconnectReason::ForcedServerClose);
        }
        false
    }
}

/// A socket that waits for its place in the order of its namespace.
struct Opening {
    namespace: Arc<NamespaceInner>,
    sockets: Weak<Sockets>,
    local: Weak<LocalSocket>,
    token: SessionToken,
    claimed: Option<SessionState>,
    done: oneshot::Sender<bool>,
}

/// The sockets of a worker that wait so.
#[derive(Default)]
struct Openings {
    next: Cell<u64>,
    all: RefCell<HashMap<u64, Opening>>,
}

impl Openings {
    /// The home of the namespace's history has opened a session, or not.
    fn finish(worker: &Rc<Worker>, number: u64, opened: Option<Opened>) {
        let Some(opening) = worker.extension::<Self>().all.borrow_mut().remove(&number) else { return };
        let sockets = opening.sockets.upgrade();
        let here = sockets.zip(opening.local.upgrade()).filter(|(_, local)| local.is_here());
        let is_open = match (here, opened) {
            (Some((sockets, local)), Some(opened)) => {
                sockets.welcome_back(worker, &local, &opening, &opened);
                true
            }
            // Another connection of the client has been faster.
            (Some((sockets, _)), None) => {
                sockets.close(worker, DisconnectReason::ForcedServerClose);
                false
            }
            (None, Some(_)) => return opening.give_back(worker),
            (None, None) => return,
        };
        let _gone = opening.done.send(is_open);
    }
}

impl Opening {
    /// The client has gone before it was told: it may come again.
    fn give_back(self, worker: &Worker) {
        let (hub, scope) = (&self.namespace.hub, self.namespace.scope);
        match self.claimed {
            Some(state) => hub.park_session(scope, worker.id(), state),
            None => hub.end_session(scope, self.token.id()),
        }
    }
}
