//! Namespaces: handlers, middleware, and the start of broadcasts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use serde::Serialize;
use switchboard_hub::{Command, Hub, RoomName, ScopeId};
use tokio::sync::mpsc;

use super::extract::{Connecting, Disconnected};
use super::family::Family;
use super::handler::{
    AnyEventHandler, AnySocketHandler, EventHandler, SocketHandler, event_handler, socket_handler,
};
use super::namespaces::Namespaces;
use super::operator::BroadcastOperator;
use super::options::SocketIoOptions;
use super::rates::NamespaceRates;
use super::recovery::RecoveryOptions;
use super::remote::RemoteSocket;
use super::report::{ErrorContext, HandlerKind, LogLimit, check_registration};
use super::room_events::WatchedRooms;
use super::socket::Socket;
use super::table::{Registered, Table};
use crate::error::Reply;
use crate::event::EventScope;
use crate::rooms::Rooms;
use crate::states::SharedStates;
use crate::{EmitError, Error};

pub(crate) struct NamespaceInner {
    pub(crate) name: Arc<str>,
    pub(crate) scope: ScopeId,
    pub(crate) hub: Arc<Hub>,
    pub(crate) states: Arc<SharedStates>,
    pub(crate) table: ArcSwap<Table>,
    /// The namespace as its events know it.
    pub(crate) events: Arc<EventScope>,
    pub(crate) options: Arc<SocketIoOptions>,
    pub(crate) ordered_broadcasts: AtomicBool,
    pub(super) rates: ArcSwap<NamespaceRates>,
    /// Whether there are, or were, handlers of outgoing events.
    pub(super) tells_outgoing: AtomicBool,
    /// The server's namespaces whose rooms are watched.
    pub(super) rooms: Arc<WatchedRooms>,
    /// Set if connection state is recovered.
    pub(crate) recovery: OnceLock<RecoveryOptions>,
    /// Of a child, its parent's: clients that make namespaces cannot fill the log.
    pub(crate) log: Arc<LogLimit>,
    pub(super) family: Family,
}

impl std::fmt::Debug for NamespaceInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(&self.name).finish()
    }
}

impl NamespaceInner {
    pub(super) fn new(name: &str, server: &Namespaces) -> Arc<Self> {
        Self::with(name, server.scope(name), server, Family::default(), Arc::default())
    }

    /// A parent: no client can be in it.
    pub(super) fn new_parent(name: &str, server: &Namespaces) -> Arc<Self> {
        Self::with(name, ScopeId::EMPTY, server, Family::parent(), Arc::default())
    }

    /// A child, with its parent's functions.
    pub(super) fn new_child(name: &str, server: &Namespaces, parent: &Arc<Self>) -> Arc<Self> {
        let family = Family::child(parent, server.cleanup());
        let child = Self::with(name, server.scope(name), server, family, Arc::clone(&parent.log));
        child.begin_as_child();
        child
    }

    fn with(
        name: &str,
        scope: ScopeId,
        server: &Namespaces,
        family: Family,
        log: Arc<LogLimit>,
    ) -> Arc<Self> {
        let key = server.scope_name(name);
        let name = Arc::from(name);
        let namespace = Arc::new(Self {
            events: EventScope::new(&name, &key, &server.dialects),
            name,
            scope,
            hub: Arc::clone(&server.hub),
            states: Arc::clone(&server.states),
            table: ArcSwap::default(),
            options: Arc::clone(&server.options),
            ordered_broadcasts: AtomicBool::new(server.options.ordered_broadcasts),
            rates: ArcSwap::default(),
            tells_outgoing: AtomicBool::new(false),
            rooms: Arc::clone(&server.rooms),
            recovery: OnceLock::new(),
            log,
            family,
        });
        if let Some(recovery) = &server.options.recovery {
            namespace.keep_history(recovery.clone());
        }
        namespace
    }
}

/// A namespace: a path of its own for events, with its own sockets, handlers and rooms. Cloning gives another
/// handle to it.
///
/// A *parent* stands for all namespaces of a [pattern](crate::Switchboard::of_pattern), its children, which
/// clients make by connecting. Its handlers serve them all, and what is sent to it goes to them all.
///
/// Handlers are registered once, for all its sockets; sockets that are connected already have those that are
/// added later, too.
///
/// ```
/// use serde::Deserialize;
/// use switchboard::{Auth, Data, DisconnectReason, Error, Socket, Switchboard};
///
/// #[derive(Deserialize)]
/// struct Credentials {
///     name: String,
/// }
/// struct Name(String);
///
/// # fn main() -> switchboard::Result {
/// let io = Switchboard::builder().workers(1).build()?;
/// let chat = io.of("/chat");
/// chat.middleware(|socket: Socket, Auth(credentials): Auth<Credentials>| {
///     if credentials.name.is_empty() {
///         return Err(Error::new("a name, please").with_data("name"));
///     }
///     socket.insert(Name(credentials.name));
///     Ok(())
/// });
/// chat.on_connect(|socket: Socket| socket.join("lobby"));
/// chat.on("say", |socket: Socket, Data(text): Data<String>| socket.to("lobby").emit("said", (socket.id(), text)));
/// chat.on_disconnect(|socket: Socket, reason: DisconnectReason| {
///     let name = socket.get::<Name>();
///     socket.to("lobby").emit("left", (name.as_ref().map(|name| name.0.as_str()), reason.as_str()))
/// });
/// chat.on_error(|context, error| eprintln!("{} {:?}: {error}", context.socket().id(), context.event()));
/// chat.to(["lobby", "hall"]).except("quiet").emit("news", "hello")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Namespace {
    pub(crate) inner: Arc<NamespaceInner>,
}

impl Namespace {
    /// Its name, such as `/` or `/chat`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Handles an event. Registering another handler for the same event replaces the first.
    ///
    /// Events of one socket are handled in the order they came: a plain handler runs in place, an async one
    /// holds back the further events of its socket until it is done. An async handler that holds back events
    /// for [some seconds](crate::SocketIoOptions::held_warning) is named in the log.
    ///
    /// The handler's return value is the acknowledgement, which is sent whenever the client asks for one:
    ///
    /// - a value is the one argument of the client's callback, and what `emitWithAck` gives;
    /// - a tuple or an array is several arguments; **`emitWithAck` gives the first of them only**. A list as one
    ///   argument is a `Vec`, or a tuple within a tuple: `((a, b),)`;
    /// - nothing (`()`) is a callback without arguments;
    /// - an `Err` goes to [`on_error`](Self::on_error). The client gets no acknowledgement, and meets its
    ///   time-out, unless the error has a [reply](crate::Error::with_reply) or the namespace [makes
    ///   one](Self::on_error_reply).
    ///
    /// To send it later, or not at all, take an [`Ack`](crate::Ack). A handler that panics closes its socket.
    pub fn on<M>(&self, event: &str, handler: impl EventHandler<M>) -> &Self {
        self.register(event, handler, false)
    }

    /// As [`on`](Self::on), but further events of the socket do not wait for an async handler to be done.
    pub fn on_concurrent<M>(&self, event: &str, handler: impl EventHandler<M>) -> &Self {
        self.register(event, handler, true)
    }

    fn register<M>(&self, event: &str, handler: impl EventHandler<M>, concurrent: bool) -> &Self {
        check_registration(&self.inner, HandlerKind::Event, Some(event), &handler.requirements());
        let registered = Registered { handler: event_handler(handler), concurrent };
        self.inner.change(|table| {
            table.events.insert(event.into(), registered);
        });
        for namespace in self.inner.members() {
            namespace.hand_over_early(event);
        }
        self
    }

    pub(super) fn early<M>(&self, kind: HandlerKind, handler: impl EventHandler<M>) -> AnyEventHandler {
        check_registration(&self.inner, kind, None, &handler.requirements());
        event_handler(handler)
    }

    fn socket_handler<C, M>(
        &self,
        kind: HandlerKind,
        handler: impl SocketHandler<C, M>,
    ) -> AnySocketHandler<C> {
        check_registration(&self.inner, kind, None, &handler.requirements());
        socket_handler(handler)
    }

    /// Takes back the handler of an event; those of single sockets stay.
    pub fn off(&self, event: &str) -> &Self {
        self.inner.change(|table| {
            table.events.remove(event);
        });
        self
    }

    /// Calls the handler with every event, first of all and in the order of registration. What it returns is
    /// no acknowledgement; an `Err` of its goes to [`on_error`](Self::on_error), and the event goes on.
    pub fn on_any<M>(&self, handler: impl EventHandler<M>) -> &Self {
        let handler = self.early(HandlerKind::Any, handler);
        self.inner.change(|table| table.any.push(handler));
        self
    }

    /// As [`on_any`](Self::on_any), before those that were registered so far.
    pub fn prepend_any<M>(&self, handler: impl EventHandler<M>) -> &Self {
        let handler = self.early(HandlerKind::Any, handler);
        self.inner.change(|table| table.any.insert(0, handler));
        self
    }

    /// Takes back all handlers of [`on_any`](Self::on_any); those of single sockets stay.
    pub fn off_any(&self) -> &Self {
        self.inner.change(|table| table.any.clear());
        self
    }

    /// Calls the handler with every event, before the event's own handler; an `Err` of its stops the event
    /// and goes to [`on_error`](Self::on_error) (`socket.use` of Node). What it returns is no
    /// acknowledgement.
    pub fn event_middleware<M>(&self, middleware: impl EventHandler<M>) -> &Self {
        let middleware = self.early(HandlerKind::EventMiddleware, middleware);
        self.inner.change(|table| table.event_middleware.push(middleware));
        self
    }

    /// Calls the handler for each socket that asks to connect, in the order of registration; an `Err` refuses
    /// it, and is sent to it as `CONNECT_ERROR` with its [data](crate::Error::with_data) and, if it was made
    /// by [`Error::new`](crate::Error::new), its message (`namespace.use` of Node). The client sees any other
    /// error as `internal error`; [`on_error`](Self::on_error) or the log has it.
    ///
    /// The socket is not connected yet: it has its id, handshake and auth, and values may be
    /// [kept](Socket::insert) on it, but emitting, joining rooms and registering handlers fail with
    /// [`EmitError::Disconnected`]; [`on_connect`](Self::on_connect) is the place for those.
    pub fn middleware<M>(&self, middleware: impl SocketHandler<Connecting, M>) -> &Self {
        let middleware = self.socket_handler(HandlerKind::Middleware, middleware);
        self.inner.change(|table| table.middleware.push(middleware));
        self
    }

    /// Calls the handler for each socket that has connected.
    ///
    /// Its arguments are extracted before CONNECT is answered: one that fails is a `CONNECT_ERROR`, as an
    /// error of [`middleware`](Self::middleware) is. Events of the socket wait until it has returned; an
    /// `Err` from it disconnects the socket.
    pub fn on_connect<M>(&self, handler: impl SocketHandler<Connecting, M>) -> &Self {
        let handler = self.socket_handler(HandlerKind::Connect, handler);
        self.inner.change(|table| table.connect.push(handler));
        self
    }

    /// Calls the handler for each socket that was disconnected, with the
    /// [`DisconnectReason`](crate::DisconnectReason). The socket is still in its rooms, as in Node's
    /// `disconnecting`: [`Socket::rooms`] gives them up to the first time an async handler waits, and
    /// broadcasts with [`Socket::to`] go to the others in them. Emitting to it fails.
    pub fn on_disconnect<M>(&self, handler: impl SocketHandler<Disconnected, M>) -> &Self {
        let handler = self.socket_handler(HandlerKind::Disconnect, handler);
        self.inner.change(|table| table.disconnect.push(handler));
        self
    }

    /// Calls the function with the errors of handlers and their extractors, and of middleware unless the
    /// error is a [message for the client](crate::Error::new). It replaces the log, and a function that was
    /// set before.
    ///
    /// Without it errors are warnings in the log, with the event, the namespace, the socket and the handler's
    /// type: 20 lines in a second at most, so that no client can fill the log; the next line says how many
    /// were left out.
    pub fn on_error(&self, function: impl Fn(&ErrorContext<'_>, &Error) + Send + Sync + 'static) -> &Self {
        self.inner.change(|table| table.error = Some(Arc::new(function)));
        self
    }

    /// Answers clients that asked for an acknowledgement with the function's return value where an event's
    /// handler, its extractors or its middleware fail, so that they need not wait for their time-out. A tuple
    /// is the argument list. An error that has a [reply](crate::Error::with_reply) of its own keeps that, and
    /// a handler that took the [`Ack`](crate::Ack) answers by itself. It replaces a function that was set
    /// before.
    ///
    /// ```
    /// use serde_json::json;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let io = switchboard::Switchboard::builder().workers(1).build()?;
    /// io.root().on_error_reply(|_, error| json!({"error": error.public_message()}));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_error_reply<R: Serialize>(
        &self,
        function: impl Fn(&ErrorContext<'_>, &Error) -> R + Send + Sync + 'static,
    ) -> &Self {
        let function = move |context: &ErrorContext<'_>, error: &Error| Reply::of(&function(context, error));
        self.inner.change(|table| table.error_reply = Some(Arc::new(function)));
        self
    }

    /// Whether broadcasts of the namespace are ordered. Default: as
    /// [`Builder::ordered_broadcasts`](crate::Builder::ordered_broadcasts) says; to be set before clients
    /// come.
    ///
    /// Handlers run on several threads, the workers. By default only the broadcasts of one thread arrive in
    /// the order of their calls: if two handlers take turns under a mutex, a socket may get the second one's
    /// event first. Ordered broadcasts arrive at each socket in the order of their calls wherever one call
    /// happened before the other: under a mutex, or because the second caller had been told of the first
    /// event (by its client, for one). Of two calls at the same time some sockets may get the first and some
    /// the second one first. What a handler sends to a socket behind its own broadcast comes behind it, as by
    /// default.
    ///
    /// The price: the worker's own sockets get the event by the worker's inbox too, behind what waits there.
    /// Until then what the thread asks of its own sockets goes that way as well; errors of theirs, such as a
    /// full outbox, are not the caller's then.
    pub fn ordered_broadcasts(&self, ordered: bool) -> &Self {
        for namespace in self.inner.members().iter().chain([&self.inner]) {
            namespace.ordered_broadcasts.store(ordered, Ordering::Relaxed);
        }
        self
    }

    /// Sends an event to all sockets of the namespace.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn emit<T: Serialize>(&self, event: &str, args: T) -> Result<(), EmitError> {
        self.all().emit(event, args)
    }

    /// All sockets of the namespace.
    pub fn all(&self) -> BroadcastOperator {
        BroadcastOperator::new(&self.inner, None)
    }

    /// The sockets in these rooms.
    pub fn to(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.all().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn within(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// The sockets that are not in these rooms.
    pub fn except(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.all().except(rooms)
    }

    /// All sockets; dropped for those whose transport does not take it at once.
    pub fn volatile(&self) -> BroadcastOperator {
        self.all().volatile()
    }

    /// All sockets; whether the event is compressed. See [`BroadcastOperator::compress`].
    pub fn compress(&self, compress: bool) -> BroadcastOperator {
        self.all().compress(compress)
    }

    /// All sockets of this node.
    pub fn local(&self) -> BroadcastOperator {
        self.all().local()
    }

    /// How many sockets are in the namespace. Cancel safe.
    ///
    /// # Errors
    /// As [`BroadcastOperator::count`].
    pub async fn count(&self) -> Result<u64, EmitError> {
        self.all().count().await
    }

    /// The rooms that have sockets on this node, in no order (`adapter.rooms` of Node, without the rooms that
    /// are sockets' ids). Cancel safe.
    ///
    /// # Errors
    /// [`EmitError::Hub`]: a worker's inbox is full, or it has stopped.
    pub async fn rooms(&self) -> Result<Vec<RoomName>, EmitError> {
        let mut all = HashSet::new();
        for namespace in self.inner.members() {
            let (reply, mut rooms) = mpsc::unbounded_channel();
            let scope = namespace.scope;
            namespace.hub.send_all(|| {
                let reply = reply.clone();
                Command::run(move |worker| {
                    let _gone = reply.send(worker.rooms_in(scope));
                })
            })?;
            drop(reply);
            while let Some(some) = rooms.recv().await {
                all.extend(some);
            }
        }
        Ok(all.into_iter().collect())
    }

    /// All sockets, of all workers and nodes.
    ///
    /// # Errors
    /// As [`BroadcastOperator::fetch_sockets`].
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, EmitError> {
        self.all().fetch_sockets().await
    }

    /// All sockets of this node, as handles.
    ///
    /// # Errors
    /// As [`BroadcastOperator::local_sockets`].
    pub async fn local_sockets(&self) -> Result<Vec<Socket>, EmitError> {
        self.all().local_sockets().await
    }
}
