//! A socket as users hold it: a handle that may go to any thread, and does not keep the session alive.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use switchboard_hub::{HubError, MemberId as SocketId, MemberKey, RoomName, Worker};
use switchboard_protocol::socketio::{ArgsError, WriteError};
use tokio::sync::oneshot;

use super::ack::AckFuture;
use super::emitter::{ConflatedEmitter, Emitter};
use super::ending::RoomsAtEnd;
use super::local::LocalSocket;
use super::namespace::{Namespace, NamespaceInner};
use super::operator::BroadcastOperator;
use super::remote::read_data;
use crate::EmitError;
use crate::handshake::Handshake;
use crate::rooms::Rooms;
use crate::states::States;

pub(crate) struct SocketShared {
    pub(crate) namespace: Arc<NamespaceInner>,
    pub(crate) id: SocketId,
    /// Set when the socket has become a member of its namespace.
    pub(crate) key: OnceLock<MemberKey>,
    pub(crate) connected: AtomicBool,
    pub(crate) handshake: Handshake,
    pub(crate) auth: Option<Box<str>>,
    /// Its client was away, and has got back what it had.
    pub(crate) recovered: bool,
    pub(super) data: OnceLock<Box<Mutex<States>>>,
}

impl SocketShared {
    pub(crate) fn new(
        namespace: &Arc<NamespaceInner>,
        id: SocketId,
        handshake: &Handshake,
        auth: &str,
    ) -> Arc<Self> {
        Arc::new(Self {
            namespace: Arc::clone(namespace),
            id,
            key: OnceLock::new(),
            connected: AtomicBool::new(false),
            handshake: handshake.clone(),
            auth: (!auth.is_empty()).then(|| auth.into()),
            recovered: false,
            data: OnceLock::new(),
        })
    }
}

/// Data of a socket that other workers and nodes see.
pub(super) struct SharedData(pub(super) Box<serde_json::value::RawValue>);

/// One client in one namespace. Cloning gives another handle to it.
///
/// A handle may be kept and used anywhere; it does not keep the connection, and after the disconnect its
/// methods fail with [`EmitError::Disconnected`]. On the thread of the socket's worker (in handlers, for one)
/// a call acts at once; from elsewhere it goes through the worker's inbox, in order for each calling thread.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{AckError, Binary, Socket};
///
/// async fn greet(socket: Socket) -> Result<(), AckError> {
///     socket.emit("hello", ())?;
///     socket.emit("picture", ("cat.png", Binary::from(vec![1, 2, 3])))?; // a tuple is the argument list
///     socket.volatile().emit("position", (1.5, 2.5))?;
///     socket.to(["hall", "lobby"]).emit("joined", socket.id())?;
///     let (name, age): (String, u32) = socket.timeout(Duration::from_secs(5)).emit_with_ack("who are you?", ()).await?;
///     socket.insert((name, age));
///     socket.once("bye", |socket: Socket| socket.disconnect(false))?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Socket {
    pub(crate) shared: Arc<SocketShared>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.shared.id)
            .field("namespace", &self.shared.namespace.name)
            .finish()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        self.shared.id == other.shared.id
    }
}

impl Eq for Socket {}

impl Socket {
    /// The socket of a member, on its worker's thread.
    pub(crate) fn find(worker: &Worker, key: MemberKey) -> Option<Self> {
        let endpoint = worker.endpoint(key)?;
        let local = endpoint.as_any().downcast_ref::<LocalSocket>()?;
        Some(local.socket.clone())
    }

    /// Its id, public and unique. It differs in each namespace, and is not the session's id, which is a
    /// secret.
    pub fn id(&self) -> SocketId {
        self.shared.id
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> Namespace {
        Namespace { inner: Arc::clone(&self.shared.namespace) }
    }

    /// Whether it is connected, as far as this thread knows.
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Acquire)
    }

    /// Whether its client was away for some time and has got back its id, its rooms, its
    /// [data](Self::data) and the events that it had missed (`socket.recovered` of Node). See
    /// [`Builder::recovery`](crate::Builder::recovery).
    pub fn recovered(&self) -> bool {
        self.shared.recovered
    }

    /// The request that its session began with.
    pub fn handshake(&self) -> &Handshake {
        &self.shared.handshake
    }

    /// The value of this type that [`allow_request`](crate::Builder::allow_request) gave the session.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.handshake().extension()
    }

    /// What the client sent to authenticate itself, as JSON; `{}` where it sent nothing. See
    /// [`Auth`](crate::Auth).
    pub fn auth(&self) -> &str {
        self.shared.auth.as_deref().unwrap_or("{}")
    }

    /// The same, read with serde, as the argument [`Auth`](crate::Auth) of a handler gives it.
    ///
    /// # Errors
    /// What the client sent is not a `T`.
    pub fn auth_as<T: DeserializeOwned>(&self) -> crate::Result<T> {
        Ok(serde_json::from_str(self.auth())?)
    }

    /// Keeps a value of your own on the socket, one of each type; returns the one that was kept before.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        self.values().insert(value)
    }

    /// The value of a type that is kept on the socket.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.values().get()
    }

    /// Takes the value of a type off the socket.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.values().remove()
    }

    /// Keeps data on the socket that other workers and nodes see, too:
    /// [`RemoteSocket::data`](crate::RemoteSocket::data) (`socket.data` of Node). What was kept so before is
    /// replaced.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let io = switchboard::Switchboard::builder().workers(1).build()?;
    /// # use switchboard::Socket;
    /// io.of("/chat").on("call me", |socket: Socket, switchboard::Data(name): switchboard::Data<String>| {
    ///     socket.set_data(serde_json::json!({"name": name}))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WriteError::Serialize`]: it does not serialise as JSON; what was kept stays.
    pub fn set_data<T: Serialize>(&self, data: T) -> Result<(), WriteError> {
        let data = serde_json::value::to_raw_value(&data).map_err(WriteError::Serialize)?;
        self.insert(SharedData(data));
        self.save_data();
        Ok(())
    }

    /// What was kept with [`set_data`](Self::set_data); `null` where nothing was.
    ///
    /// # Errors
    /// [`ArgsError::Data`]: it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        read_data(self.shared_data().as_ref().map(|data| &*data.0))
    }

    pub(super) fn shared_data(&self) -> Option<Arc<SharedData>> {
        self.get()
    }

    fn values(&self) -> std::sync::MutexGuard<'_, States> {
        self.shared.data.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` with the socket's own state: at once on its worker's thread, through the inbox from elsewhere
    /// (its result is then dropped).
    pub(crate) fn on_worker(
        &self,
        f: impl FnOnce(&Rc<Worker>, &LocalSocket) -> Result<(), EmitError> + Send + 'static,
    ) -> Result<(), EmitError> {
        self.on_worker_holding(0, f)
    }

    /// As [`on_worker`](Self::on_worker), of an `f` that holds so many bytes.
    pub(crate) fn on_worker_holding(
        &self,
        bytes: usize,
        f: impl FnOnce(&Rc<Worker>, &LocalSocket) -> Result<(), EmitError> + Send + 'static,
    ) -> Result<(), EmitError> {
        let key = self.key()?;
        if let Some(worker) = self.worker(key) {
            return with_local(&worker, key, |local| f(&worker, local));
        }
        let scope = self.shared.namespace.scope;
        self.shared.namespace.hub.run_in_scope(scope, key.worker, bytes, move |worker| {
            // The caller is gone; what fails now has its own trace where it failed.
            let _late = with_local(worker, key, |local| f(worker, local));
        })?;
        Ok(())
    }

    /// The socket's worker, if this is its thread, and nothing waits in its inbox that is to come first.
    pub(super) fn worker(&self, key: MemberKey) -> Option<Rc<Worker>> {
        self.shared.namespace.hub.here_in_order().filter(|worker| worker.id() == key.worker)
    }

    pub(super) fn key(&self) -> Result<MemberKey, EmitError> {
        self.shared.key.get().copied().filter(|_| self.is_connected()).ok_or(EmitError::Disconnected)
    }

    /// Sends an event. A tuple is the argument list; anything else is one argument.
    ///
    /// It is queued when this returns, and written in the order of the calls.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Arguments`] where they do not serialise; [`EmitError::Hub`]
    /// where the client's outbox or (from another thread) the worker's inbox is full.
    pub fn emit<T: Serialize>(&self, event: &str, args: T) -> Result<(), EmitError> {
        self.emitter().emit(event, args)
    }

    /// Sends an event, and awaits its acknowledgement for 60 s; see [`timeout`](Self::timeout). The event is
    /// sent at once.
    ///
    /// A handler may await its own client. Registered with [`on`](Namespace::on), it holds back the further
    /// events of that client until the answer is there or the time is over; register it with
    /// [`on_concurrent`](Namespace::on_concurrent) where they are to go on, and where the client sends an
    /// event, rather than the acknowledgement, to be awaited.
    ///
    /// # Errors
    /// The future's: [`AckError`](crate::AckError).
    pub fn emit_with_ack<R: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> AckFuture<R> {
        self.emitter().emit_with_ack(event, args)
    }

    /// Sends with another time-out for the acknowledgement.
    pub fn timeout(&self, timeout: Duration) -> Emitter<'_> {
        self.emitter().timeout(timeout)
    }

    /// Sends what may be dropped where the transport does not take it at once.
    pub fn volatile(&self) -> Emitter<'_> {
        self.emitter().volatile()
    }

    /// Sends an event that tells the newest state of a subject, such as a price: it takes the place of the
    /// event of the same key that waits for this client, which is not sent then. A client that reads slowly
    /// gets the newest state when its turn comes, and nothing grows meanwhile. The first of them that finds
    /// nothing waiting is on its way at once, and is not replaced.
    ///
    /// Keys belong to the namespace. Give all events about one subject the same key, those that end it among
    /// them: the order of events with different keys may change.
    ///
    /// ```
    /// # fn tell(socket: switchboard::Socket) -> switchboard::Result {
    /// socket.conflate("price of tea").emit("price", ("tea", 4.2))?;
    /// socket.to("prices").conflate("price of tea").emit("price", ("tea", 4.2))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn conflate<'a>(&'a self, key: &'a str) -> ConflatedEmitter<'a> {
        self.emitter().conflate(key)
    }

    /// Sends with or without compression, where the connection has any: by permessage-deflate
    /// ([`per_message_deflate`](crate::Builder::per_message_deflate)) a packet of `compress(false)` goes as
    /// it is, with its attachments, and the answer of a long poll
    /// ([`http_compression`](crate::Builder::http_compression)) is compressed if any packet in it is to be.
    /// Default: with. `false` spares the work for what is compressed already, such as pictures.
    pub fn compress(&self, compress: bool) -> Emitter<'_> {
        self.emitter().compress(compress)
    }

    fn emitter(&self) -> Emitter<'_> {
        Emitter::new(self)
    }

    /// Returns when no more than half of the bytes that [may wait](crate::Builder::max_outbox_bytes) for the
    /// client do: for a sender of more than fits at once. Cancel safe.
    ///
    /// ```
    /// # async fn send(socket: switchboard::Socket, pieces: Vec<switchboard::Binary>) -> Result<(), switchboard::EmitError> {
    /// for piece in pieces {
    ///     socket.ready().await?;
    ///     socket.emit("piece", piece)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EmitError::Disconnected`], also where it is disconnected meanwhile; [`EmitError::Hub`] where the
    /// worker's inbox is full.
    pub async fn ready(&self) -> Result<(), EmitError> {
        let (told, ready) = oneshot::channel();
        self.on_worker(move |worker, local| {
            if local.has_room() {
                let _gone = told.send(());
                return Ok(());
            }
            let (local, worker) = (local.weak(), Rc::clone(worker));
            tokio::task::spawn_local(async move {
                let here = || local.upgrade().filter(|local| local.is_here());
                worker
                    .wait_for_room(|| told.is_closed() || here().is_none_or(|local| local.has_room()))
                    .await;
                if here().is_some() {
                    let _gone = told.send(());
                }
            });
            Ok(())
        })?;
        ready.await.map_err(|_gone| EmitError::Disconnected)
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send<T: Serialize>(&self, args: T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Joins rooms.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Hub`] where it is in as many rooms as may be.
    pub fn join(&self, rooms: impl Rooms) -> Result<(), EmitError> {
        self.each_room(rooms, switchboard_hub::Worker::join)
    }

    /// Leaves rooms.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn leave(&self, rooms: impl Rooms) -> Result<(), EmitError> {
        self.each_room(rooms, switchboard_hub::Worker::leave)
    }

    fn each_room(
        &self,
        rooms: impl Rooms,
        act: fn(&Worker, MemberKey, &str) -> Result<bool, HubError>,
    ) -> Result<(), EmitError> {
        let key = self.key()?;
        let rooms: Vec<_> = rooms.into_rooms().collect();
        for room in &rooms {
            self.shared.namespace.hub.announce_room(room);
        }
        self.on_worker(move |worker, _| {
            rooms.iter().try_for_each(|room| act(worker, key, room).map(drop)).map_err(EmitError::from)
        })
    }

    /// The rooms it is in, that of its own id first. In `on_disconnect` it still has them, until that handler
    /// first waits. On its worker's thread the answer is there at once. Cancel safe.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Hub`] where the worker's inbox is full.
    pub async fn rooms(&self) -> Result<Vec<RoomName>, EmitError> {
        // Whether it is connected does not matter: while it is told of its disconnect it has its rooms, and
        // is not.
        let key = *self.shared.key.get().ok_or(EmitError::Disconnected)?;
        let here = self.worker(key).map(|worker| worker.rooms_of(key));
        let rooms = if let Some(rooms) = here {
            rooms.or_else(|| self.get::<RoomsAtEnd>().map(|at_end| at_end.0.clone()))
        } else {
            let (reply, rooms) = oneshot::channel();
            self.shared.namespace.hub.run_on(key.worker, move |worker| {
                let _gone = reply.send(worker.rooms_of(key));
            })?;
            rooms.await.ok().flatten()
        };
        let own = std::iter::once(self.shared.id.as_str().into());
        Ok(own.chain(rooms.ok_or(EmitError::Disconnected)?).collect())
    }

    /// The sockets in these rooms, without this one.
    pub fn to(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn within(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// The sockets that are not in these rooms, without this one.
    pub fn except(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// All sockets of this node, without this one.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// All sockets of the namespace, without this one.
    pub fn broadcast(&self) -> BroadcastOperator {
        BroadcastOperator::new(&self.shared.namespace, Some(self.shared.id))
    }

    /// Disconnects it from the namespace; `close` disconnects the client's sockets in other namespaces too,
    /// and closes the connection. `on_disconnect` hears of
    /// [`ServerNamespaceDisconnect`](crate::DisconnectReason::ServerNamespaceDisconnect).
    ///
    /// # Errors
    /// [`EmitError::Disconnected`] where it was so already.
    pub fn disconnect(&self, close: bool) -> Result<(), EmitError> {
        use switchboard_hub::Endpoint;
        self.on_worker(move |_, local| {
            local.disconnect(close);
            Ok(())
        })
    }

    /// The name of the transport that is used now, `polling` or `websocket`; `None` where it is not
    /// connected. On any thread.
    pub fn transport(&self) -> Option<&'static str> {
        self.is_connected().then(|| self.shared.handshake.transport())
    }
}

/// Runs `f` with a socket's own state, on its worker's thread.
pub(super) fn with_local<T>(
    worker: &Worker,
    key: MemberKey,
    f: impl FnOnce(&LocalSocket) -> Result<T, EmitError>,
) -> Result<T, EmitError> {
    let endpoint = worker.endpoint(key).ok_or(EmitError::Disconnected)?;
    f(endpoint.as_any().downcast_ref::<LocalSocket>().ok_or(EmitError::Disconnected)?)
}
