//! The server as users hold it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use switchboard_hub::{Command, Hub, Worker, WorkerId};
use tokio::net::ToSocketAddrs;
use tokio::sync::{oneshot, watch};

use crate::builder::Builder;
use crate::engineio::{Application, EngineOptions, EngineServer, EngineService};
use crate::functions::replace;
use crate::http::routes::Routes;
use crate::http::service::{NotFound, SwitchboardLayer, SwitchboardService};
use crate::listener::gate::Gate;
use crate::listener::sockets::SocketFile;
use crate::listener::{Fallback, ListenAddress, ListenerOptions, Listening};
use crate::proxies::TrustedProxies;
use crate::socketio::namespace::Namespace;
use crate::socketio::server::SocketIo;
use crate::transport::link::cut_closing;
use crate::websocket::{RawService, WebSocketOptions, WebSocketService};

/// What all parts of a server share.
pub(crate) struct Inner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) routes: ArcSwap<Routes>,
    pub(crate) socketio: Arc<SocketIo>,
    pub(crate) engine: EngineOptions,
    pub(crate) proxies: TrustedProxies,
    pub(crate) listener: ListenerOptions,
    /// Whether the drafts before RFC 6455 are spoken.
    pub(crate) drafts: bool,
    pub(crate) gate: Arc<Gate>,
    pub(crate) fallback: OnceLock<Fallback>,
    /// Set when the server is shutting down: nothing new begins.
    pub(crate) closing: AtomicBool,
    /// Tells accept loops and connections of the same.
    pub(crate) closed: watch::Sender<bool>,
    /// Files of Unix-domain sockets, which are removed when it is.
    pub(crate) socket_files: Mutex<Vec<SocketFile>>,
}

impl Inner {
    /// Removes the file when the server shuts down.
    pub(crate) fn keep_socket_file(&self, file: SocketFile) {
        let mut files = self.socket_files.lock().unwrap_or_else(PoisonError::into_inner);
        // One that came too late goes at once.
        if !self.closing.load(Ordering::Acquire) {
            files.push(file);
        }
    }

    /// Accepts no more.
    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.socket_files.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.closed.send_replace(true);
    }

    fn add_route(&self, add: impl Fn(&mut Routes)) {
        replace(&self.routes, add);
    }

    pub(crate) fn add_engine(&self, options: EngineOptions, application: Arc<dyn Application>) {
        let server = Arc::new(EngineServer { options, application, hub: Arc::clone(&self.hub) });
        self.add_route(|routes| routes.add_engine(Arc::clone(&server)));
    }
}

/// Stops the workers when the last handle to the server goes.
struct StopOnDrop(Arc<Inner>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.close();
        // A worker whose inbox is full this moment goes with the process.
        let _full = self.0.hub.send_all(|| Command::Stop);
    }
}

/// A realtime server: namespaces of Socket.IO, bare Engine.IO services and raw WebSocket services, on one port, in one set of rooms.
///
/// It runs its own worker threads from the moment it is built. [`listen`](Self::listen) lets them accept connections; mounted with
/// [`layer`](Self::layer) in axum or another server, that server accepts them. Cloning gives another handle; with the last one (layers and
/// listeners have theirs) the workers stop.
#[derive(Clone)]
pub struct Switchboard {
    stop: Arc<StopOnDrop>,
}

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchboard").field("workers", &self.inner().hub.workers()).finish_non_exhaustive()
    }
}

impl Switchboard {
    /// The options, each with its default.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { stop: Arc::new(StopOnDrop(Arc::new(inner))) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.stop.0
    }

    /// The namespace of this name, made at the first call. A missing leading slash is added.
    pub fn of(&self, name: &str) -> Namespace {
        Namespace { inner: self.inner().socketio.of(name) }
    }

    /// The namespace `/`.
    pub fn root(&self) -> Namespace {
        self.of("/")
    }

    /// A raw WebSocket service at a path, with default options. One that was there is replaced.
    pub fn websocket(&self, path: &str) -> WebSocketService {
        self.websocket_with(path, WebSocketOptions::default())
    }

    /// A raw WebSocket service at a path.
    pub fn websocket_with(&self, path: &str, options: WebSocketOptions) -> WebSocketService {
        let service = RawService::new(path, options);
        self.inner().add_route(|routes| routes.add_websocket(Arc::clone(&service)));
        WebSocketService::new(service)
    }

    /// A bare Engine.IO service at a path, with the server's own Engine.IO options. One that was there is replaced.
    pub fn engine(&self, path: &str) -> EngineService {
        let options = self.inner().engine.clone();
        self.engine_with(EngineOptions { path: path.to_owned(), client_files: Arc::from([]), ..options })
    }

    /// A bare Engine.IO service with options of its own.
    pub fn engine_with(&self, options: EngineOptions) -> EngineService {
        let service = EngineService::new(&self.inner().hub);
        self.inner().add_engine(options, Arc::new(service.clone()));
        service
    }

    /// The options that Engine.IO has here, to derive others from.
    pub fn engine_options(&self) -> EngineOptions {
        self.inner().engine.clone()
    }

    /// Sets the service that gets the requests which are not for Switchboard, on its own listener: an axum `Router`, for one. Only the first
    /// call counts. Without one they get a 404.
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
        if self.inner().fallback.set(Fallback::new(service)).is_err() {
            tracing::warn!("a fallback was set already: the second one is not used");
        }
        self
    }

    /// A tower layer that puts Switchboard in front of a service, in axum for one.
    pub fn layer(&self) -> SwitchboardLayer {
        SwitchboardLayer::new(self.clone())
    }

    /// A tower service that is Switchboard alone: other requests get a 404.
    pub fn service(&self) -> SwitchboardService<NotFound> {
        SwitchboardService::new(self.clone(), NotFound)
    }

    /// Listens on an address and serves until [`shutdown`](Self::shutdown) is done.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn listen(&self, address: impl Into<ListenAddress>) -> io::Result<()> {
        self.bind(address).await?.done().await;
        Ok(())
    }

    /// Listens on an address, one of several maybe: each worker accepts connections from now on.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn bind(&self, address: impl Into<ListenAddress>) -> io::Result<Listening> {
        Listening::start(self.clone(), address.into()).await
    }

    /// Listens on an address for Flash players that ask for their [socket policy](ListenerOptions::flash_policy), and for nothing else: they
    /// look for it on port 843 first. Returns the address; its port is known even where the one asked for was 0. Needs no
    /// [`drafts`](Builder::drafts), which lets the server's own ports answer them.
    ///
    /// # Errors
    /// Those of binding; ports below 1024 need a privilege.
    pub async fn bind_flash_policy(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for address in tokio::net::lookup_host(address).await? {
            match crate::listener::flash::start(self.inner(), address).await {
                Ok(address) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Shuts down: stops accepting, closes all sessions with `server shutting down` (WebSocket code 1001), answers the requests that wait, and
    /// waits until their connections have ended, `deadline` at most; what is left then is cut, and the workers stop. Returns whether all
    /// ended by themselves. Connections that another server accepted are closed and waited for likewise; that server goes on.
    ///
    /// Must be called in a Tokio runtime. Cancel safe: dropped, the shutting down goes on.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let shutting_down = tokio::spawn(shut_down(Arc::clone(self.inner()), deadline));
        // It does not panic, and ends before its deadline unless the runtime does.
        shutting_down.await.unwrap_or(false)
    }

    /// The address that a peer's request came from, as the options about proxies have it.
    pub fn client_address(&self, peer: SocketAddr, headers: &http::HeaderMap) -> SocketAddr {
        self.inner().proxies.resolve(crate::Peer::new(peer), headers).address.unwrap_or(peer)
    }
}

/// How often sessions are told of a shutdown: one that was being opened as the others were told is not missed.
const TELL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a worker has to cut its connections by itself. One that is stuck in a handler takes longer; then it is not waited for.
const CUT_TIME: Duration = Duration::from_secs(1);

async fn shut_down(inner: Arc<Inner>, deadline: Duration) -> bool {
    inner.close();
    let all = async {
        on_each_worker(&inner.hub, close_sessions).await;
        let mut again = tokio::time::interval(TELL_INTERVAL);
        loop {
            tokio::select! {
                () = inner.gate.emptied() => return,
                _ = again.tick() => on_each_worker(&inner.hub, close_sessions).await,
            }
        }
    };
    let ended = tokio::time::timeout(deadline, all).await.is_ok();
    if !ended {
        let left = inner.gate.open();
        metrics::counter!("switchboard_connections_cut_total").increment(left as u64);
        tracing::warn!(left, "connections are cut at the deadline");
        // Services are told of these ends, too: asked a second time, a worker has done what followed from the first.
        let cut = async {
            for _ in 0..2 {
                on_each_worker(&inner.hub, cut_closing).await;
            }
        };
        let _stuck = tokio::time::timeout(CUT_TIME, cut).await;
    }
    for number in 0..inner.hub.workers() {
        let inner = Arc::clone(&inner);
        // In a task of its own: a worker that is stuck in a handler does not hold up the others, nor the caller.
        tokio::spawn(async move { inner.hub.send_when_room(WorkerId(number as u8), Command::Stop).await });
    }
    ended
}

fn close_sessions(worker: &Rc<Worker>) {
    for session in worker.sessions() {
        session.shut_down(worker);
    }
}

/// Runs `f` on all workers. Returns when they have done so.
async fn on_each_worker(hub: &Hub, f: fn(&Rc<Worker>)) {
    let mut all_done = Vec::with_capacity(hub.workers());
    for number in 0..hub.workers() {
        let (done, is_done) = oneshot::channel::<()>();
        let run = Command::Run(Box::new(move |worker| {
            f(worker);
            drop(done);
        }));
        // A worker that has stopped has nothing left to do.
        let _stopped = hub.send_when_room(WorkerId(number as u8), run).await;
        all_done.push(is_done);
    }
    for done in all_done {
        let _dropped = done.await;
    }
}
