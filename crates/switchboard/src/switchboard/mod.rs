//! The server as users hold it, and its options.

mod builder;
pub(crate) mod extract;
mod namespaces;
mod servers;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use switchboard_hub::{Bus, Hub};
use tokio::net::ToSocketAddrs;

pub use builder::Builder;
pub(crate) use builder::senseless;
use extract::WeakSwitchboard;

use crate::api::carrier::Carrier;
use crate::api::namespaces::{FromNodes, Namespaces};
use crate::api::sockets::Sockets;
use crate::door::service::{NotFound, SwitchboardLayer, SwitchboardService};
use crate::engineio::{Application, EngineOptions, EngineServer, EngineService};
use crate::event::{Dialect, DialectId};
use crate::http::body::Fallback;
use crate::http::files::Files;
use crate::http::mount::Mount;
use crate::listener::{ListenAddress, Listening};
use crate::server::{KeepAlive, Server, shut_down};
use crate::socketio::parser::Parser;
use crate::socketio::server::SocketIo;
use crate::socketio09::{OldClientOptions, OldClients};
use crate::websocket::{RawService, WebSocketOptions, WebSocketService};

/// A realtime server: namespaces of Socket.IO, bare Engine.IO services and raw WebSocket services, on one
/// port, in one set of rooms.
///
/// It runs its own worker threads from the moment it is built. [`listen`](Self::listen) lets them accept
/// connections. Mounted with [`layer`](Self::layer) in axum or another server, that server accepts them.
/// Cloning gives another handle. When the last handle is dropped (layers and listeners have theirs), the
/// workers stop.
#[derive(Clone)]
pub struct Switchboard {
    server: KeepAlive,
    namespaces: Arc<Namespaces>,
    /// The options that Engine.IO has here.
    engine: Arc<EngineOptions>,
}

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchboard").field("workers", &self.server.hub.workers()).finish_non_exhaustive()
    }
}

impl Switchboard {
    /// The options, each with its default.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        server: Server,
        namespaces: &Arc<Namespaces>,
        engine: EngineOptions,
        parser: Option<Arc<dyn Parser>>,
        old: Option<OldClientOptions>,
    ) -> Self {
        Self::with_namespaces(KeepAlive::new(server), namespaces, engine, parser, old)
    }

    fn with_namespaces(
        server: KeepAlive,
        namespaces: &Arc<Namespaces>,
        engine: EngineOptions,
        parser: Option<Arc<dyn Parser>>,
        old: Option<OldClientOptions>,
    ) -> Self {
        let io = Self { server, namespaces: Arc::clone(namespaces), engine: Arc::new(engine) };
        namespaces.states.insert(WeakSwitchboard::new(&io));
        let old = |engine: &Arc<EngineServer>| {
            Some(Arc::new(OldClients::new(engine, old?, namespaces)) as Arc<dyn Mount>)
        };
        io.add_engine(EngineOptions::clone(&io.engine), Arc::new(SocketIo::new(namespaces, parser)), old);
        io
    }

    /// `beside`: a protocol that is served beside Engine.IO at its path, and takes a request before it.
    fn add_engine(
        &self,
        mut options: EngineOptions,
        application: Arc<dyn Application>,
        beside: impl FnOnce(&Arc<EngineServer>) -> Option<Arc<dyn Mount>>,
    ) {
        options.refusals = self.server.refusals.clone();
        let engine = Arc::new(EngineServer::new(options, application, Arc::clone(&self.server.hub)));
        let options = &engine.options;
        let files = Files { files: Arc::clone(&options.client_files), origins: options.origins.clone() };
        let path = options.path.clone();
        let beside = beside(&engine);
        let files = Arc::new(files) as Arc<dyn Mount>;
        let mounts: Vec<_> = [Some(files), beside, Some(engine)].into_iter().flatten().collect();
        self.server.mount(&path, &mounts);
    }

    /// Connects this server to other nodes by a bus: from then on broadcasts, joins, leaves and disconnects
    /// go to the sockets of all nodes, unless they are [local](crate::BroadcastOperator::local). Each node of
    /// a bus has a [number](Builder::node) of its own. Returns `false` where there is a bus already; that one
    /// stays.
    ///
    /// The bus hands messages of other nodes to the [hub](Self::hub).
    pub fn attach_bus(&self, bus: Arc<dyn Bus>) -> bool {
        self.server.hub.attach(bus, Arc::new(FromNodes(Arc::downgrade(&self.namespaces))))
    }

    /// The workers, as a bus and other crates of Switchboard know them.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.server.hub
    }

    /// Gives a value that handlers get with [`State`](crate::State), one of each type. It does what
    /// [`Builder::state`] does, for values that need the server. Give it before you register the handlers
    /// that ask for it. It replaces an earlier value of the same type.
    ///
    /// A value that holds the server keeps it running: its workers end by [`shutdown`](Self::shutdown), and
    /// not when the last other handle is dropped. A handler that needs the server alone takes it as an
    /// argument of the type `Switchboard`.
    ///
    /// ```
    /// use switchboard::{Data, Socket, State, Switchboard};
    ///
    /// struct App {
    ///     io: Switchboard,
    ///     name: String,
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// io.state(App { io: io.clone(), name: "the square".to_owned() });
    /// io.root().on_connect(|socket: Socket, app: State<App>| socket.emit("welcome", &app.name));
    /// io.root().on("tell all", |app: State<App>, Data(text): Data<String>| app.io.of("/news").emit("told", text));
    /// io.root().on("tell all, too", |io: Switchboard, Data(text): Data<String>| io.of("/news").emit("told", text));
    /// # io.shutdown(std::time::Duration::ZERO).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn state<T: Send + Sync + 'static>(&self, state: T) -> &Self {
        self.namespaces.states.insert(state);
        self
    }

    /// Adds a [dialect](crate::protocol::Dialect), one of each type: how a protocol of one's own writes
    /// events for its members.
    pub fn dialect<D: Dialect>(&self, dialect: D) -> DialectId {
        self.namespaces.dialects.add(dialect)
    }

    /// The sockets of a client of another protocol, on the worker's thread of its session. The session gives
    /// them the packets of the client. `carrier` is the session; broadcasts are written in `dialect`.
    pub fn sockets(&self, carrier: Rc<dyn Carrier>, dialect: DialectId) -> Rc<Sockets> {
        Sockets::new(&self.namespaces, carrier, dialect.variant())
    }

    /// A raw WebSocket service at a path, with default options. It replaces the one that was there. A missing
    /// leading slash is added.
    pub fn websocket(&self, path: &str) -> WebSocketService {
        self.add_websocket(path, WebSocketOptions::default())
    }

    /// A raw WebSocket service at a path. One that was there is replaced. A missing leading slash is added.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for options that make no sense, with a message that
    /// names them.
    pub fn websocket_with(&self, path: &str, options: WebSocketOptions) -> io::Result<WebSocketService> {
        options.check().map_err(senseless)?;
        Ok(self.add_websocket(path, options))
    }

    fn add_websocket(&self, path: &str, options: WebSocketOptions) -> WebSocketService {
        let path = with_slash(path);
        let raw = RawService::new(&path, options);
        let service = raw.service();
        self.server.mount(&path, &[Arc::new(raw) as Arc<dyn Mount>]);
        service
    }

    /// A bare Engine.IO service at a path, with the server's own Engine.IO options. It replaces the one that
    /// was there. A missing leading slash is added.
    pub fn engine(&self, path: &str) -> EngineService {
        let options = EngineOptions::clone(&self.engine);
        self.add_service(EngineOptions {
            path: with_slash(path).into_owned(),
            client_files: Arc::from([]),
            ..options
        })
    }

    /// A bare Engine.IO service with options of its own. One at the same path is replaced.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for options that make no sense, with a message that
    /// names them.
    pub fn engine_with(&self, options: EngineOptions) -> io::Result<EngineService> {
        options.check().map_err(senseless)?;
        Ok(self.add_service(options))
    }

    fn add_service(&self, options: EngineOptions) -> EngineService {
        let service = EngineService::new(Arc::clone(&self.server.hub));
        self.add_engine(options, Arc::new(service.clone()), |_| None);
        service
    }

    /// Mounts protocols of one's own at a path, in place of whatever was there; of several the first that
    /// [takes](crate::protocol::Mount::takes) a request has it. See [`protocol`](crate::protocol).
    pub fn mount(&self, path: &str, protocols: &[Arc<dyn Mount>]) {
        self.server.mount(path, protocols);
    }

    /// The options that Engine.IO has here, to derive others from.
    pub fn engine_options(&self) -> EngineOptions {
        EngineOptions::clone(&self.engine)
    }

    /// Sets the service for the requests on the server's own listener that are not for Switchboard, such as
    /// an axum `Router`. Only the first call counts. Without a fallback such requests get a 404.
    pub fn fallback<S, R>(&self, service: S) -> &Self
    where
        S: tower_service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<R>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        R: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if self.server.fallback.set(Fallback::new(service)).is_err() {
            tracing::warn!("a fallback was set already: the second one is not used");
        }
        self
    }

    /// A tower layer that puts Switchboard in front of a service, in axum for example.
    pub fn layer(&self) -> SwitchboardLayer {
        SwitchboardLayer::new(self.server.clone())
    }

    /// A tower service that is Switchboard alone: other requests get a 404.
    pub fn service(&self) -> SwitchboardService<NotFound> {
        SwitchboardService::new(self.server.clone(), NotFound)
    }

    /// Listens on an address and serves until [`shutdown`](Self::shutdown) is done.
    ///
    /// # Errors
    /// The errors of binding.
    pub async fn listen(&self, address: impl Into<ListenAddress>) -> io::Result<()> {
        self.bind(address).await?.done().await;
        Ok(())
    }

    /// Listens on an address and serves until `signal` is ready, then [shuts down](Self::shutdown) within
    /// `deadline`. The signal's output is ignored.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use switchboard::Switchboard;
    ///
    /// #[tokio::main]
    /// async fn main() -> std::io::Result<()> {
    ///     let io = Switchboard::builder().build()?;
    ///     io.listen_until("0.0.0.0:3000", tokio::signal::ctrl_c(), Duration::from_secs(10)).await
    /// }
    /// ```
    ///
    /// # Errors
    /// The errors of binding.
    pub async fn listen_until(
        &self,
        address: impl Into<ListenAddress>,
        signal: impl Future,
        deadline: Duration,
    ) -> io::Result<()> {
        let listening = self.bind(address).await?;
        tokio::select! {
            // Another handle has shut the server down.
            () = listening.done() => {}
            _ = signal => {
                self.shutdown(deadline).await;
            }
        }
        Ok(())
    }

    /// Listens on an address. Each worker accepts connections from now on. It may be called for several
    /// addresses.
    ///
    /// # Errors
    /// The errors of binding.
    pub async fn bind(&self, address: impl Into<ListenAddress>) -> io::Result<Listening> {
        Listening::start(self.server.clone(), address.into()).await
    }

    /// Listens on an address for Flash players that ask for their [socket
    /// policy](crate::ListenerOptions::flash_policy), and for nothing else. They ask on port 843 first.
    /// Returns the address, with the port that the system chose where port 0 was asked for. It works without
    /// [`drafts`](Builder::drafts), by which the server's other ports answer Flash players, too.
    ///
    /// # Errors
    /// The errors of binding; ports below 1024 need a privilege.
    pub async fn bind_flash_policy(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for address in tokio::net::lookup_host(address).await? {
            match crate::listener::flash::start(&self.server, address).await {
                Ok(address) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Shuts down: closes all sessions with `server shutting down` (WebSocket code 1001), stops accepting,
    /// answers the requests that wait, and waits until their connections have ended, for `deadline` at most.
    /// Connections that are left then are cut, and the workers stop. Returns whether all ended by themselves.
    /// Connections that another server accepted are closed and awaited, too; that server goes on.
    ///
    /// A client on polling that is between two polls fetches the packets that wait for it, and then the
    /// close. It has 30 seconds for that, within `deadline`. While packets wait so, connections are accepted
    /// and kept, and all requests but those of such sessions are answered with a 503 that ends their
    /// connection. Where no packets wait, the listening sockets are closed at once.
    ///
    /// Must be called in a Tokio runtime. Cancel safe: if the future is dropped, the shutdown goes on.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let shutting_down = tokio::spawn(shut_down(Arc::clone(&self.server), deadline));
        // It does not panic, and ends before its deadline unless the runtime does.
        shutting_down.await.unwrap_or(false)
    }

    /// The address that a peer's request came from, by the options about proxies.
    pub fn client_address(&self, peer: SocketAddr, headers: &http::HeaderMap) -> SocketAddr {
        self.server.proxies.resolve(crate::Peer::new(peer), headers).address.unwrap_or(peer)
    }
}

fn with_slash(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) }
}
