//! The options of a server.

mod bounds;
mod namespaces;
mod requests;

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use switchboard_hub::{Hub, HubOptions, NodeId};
use switchboard_websocket::deflate::DeflateOptions;
use tokio::sync::watch;

use super::Switchboard;
use crate::api::namespaces::Namespaces;
use crate::api::options::SocketIoOptions;
use crate::api::recovery::RecoveryOptions;
use crate::engineio::EngineOptions;
use crate::http::files::ClientFile;
use crate::proxies::TrustedProxies;
use crate::refusals::Refusals;
use crate::server::Server;
use crate::server::options::ListenerOptions;
use crate::socketio::parser::Parser;
use crate::socketio09::OldClientOptions;
use crate::states::States;
use crate::transport::connection_limit::ConnectionLimit;

/// The options of a server, each with its default. Made by [`Switchboard::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    pub(super) engine: EngineOptions,
    pub(super) socketio: SocketIoOptions,
    hub: HubOptions,
    listener: ListenerOptions,
    proxies: TrustedProxies,
    pub(super) states: States,
    drafts: bool,
    pub(super) old: OldClientOptions,
    refusals: Refusals,
    pub(super) parser: Option<Arc<dyn Parser>>,
    /// An option that was set, and that further servers share.
    pub(super) shared: Option<&'static str>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            engine: EngineOptions::new("/socket.io"),
            socketio: SocketIoOptions::default(),
            hub: HubOptions::default(),
            listener: ListenerOptions::default(),
            proxies: TrustedProxies::default(),
            states: States::default(),
            drafts: false,
            old: OldClientOptions::default(),
            refusals: Refusals::default(),
            parser: None,
            shared: None,
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("engine", &self.engine)
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The path of Socket.IO. Default `/socket.io`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.engine.path = path.into();
        self
    }

    /// Worker threads, 1 to 256. Default: the number of cores.
    pub fn workers(mut self, workers: usize) -> Self {
        self.shared = Some("workers");
        self.hub.workers = workers;
        self
    }

    /// This process's number among the processes that a [bus](crate::Switchboard::attach_bus) connects.
    /// Default 0. Ids of sockets name it.
    pub fn node(mut self, node: u16) -> Self {
        self.shared = Some("node");
        self.hub.node = NodeId(node);
        self
    }

    /// How often the server pings. Default 25 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.engine.ping_interval = interval;
        self
    }

    /// How long a client has to answer a ping. Default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.engine.ping_timeout = timeout;
        self
    }

    /// How long a client has to join a first namespace. Default 45 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.socketio.connect_timeout = timeout;
        self
    }

    /// How long an upgrade from polling to WebSocket may take. Default 10 s.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.engine.upgrade_timeout = timeout;
        self
    }

    /// How long the body of a POST may take to arrive. Default 30 s; then the session is closed.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.engine.body_timeout = timeout;
        self
    }

    /// How long a message may take to arrive over WebSocket, from its first byte to its last; one of which 64
    /// KiB more have come has the whole time again. Default 60 s; then the connection is closed with 1008.
    /// `None`: any time.
    pub fn message_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.engine.message_timeout = timeout;
        self
    }

    /// How long a client of a closing WebSocket may take none of the bytes that wait for it, and how long it
    /// may take to answer the close after them. Default 30 s; then its connection is cut. `None`: any time.
    pub fn close_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.engine.close_timeout = timeout;
        self
    }

    /// The size in bytes from which the answer of a long poll is compressed, for clients that accept gzip or
    /// deflate (`httpCompression`). `None`: never. Default 1024.
    pub fn http_compression(mut self, threshold: Option<usize>) -> Self {
        self.engine.http_compression = threshold;
        self
    }

    /// Compresses WebSocket messages of Socket.IO and Engine.IO for clients that offer it
    /// (`perMessageDeflate`). Default: no. A broadcast is compressed once for all.
    pub fn per_message_deflate(mut self, options: DeflateOptions) -> Self {
        self.engine.per_message_deflate = Some(options);
        self
    }

    /// Whether broadcasts are ordered in all namespaces; see
    /// [`Namespace::ordered_broadcasts`](crate::Namespace::ordered_broadcasts). Default: no.
    pub fn ordered_broadcasts(mut self, ordered: bool) -> Self {
        self.socketio.ordered_broadcasts = ordered;
        self
    }

    /// Recovers connection state: a client whose connection was lost gets back its sockets with their ids, rooms
    /// and data, and the events that it has missed (`connectionStateRecovery`). Default: no. For single
    /// namespaces there is [`Namespace::recovery`](crate::Namespace::recovery).
    pub fn recovery(mut self, options: RecoveryOptions) -> Self {
        self.socketio.recovery = Some(options);
        self
    }

    /// All options of the Socket.IO layer at once. Those that were set one by one before are replaced.
    pub fn socketio(mut self, options: SocketIoOptions) -> Self {
        self.socketio = options;
        self
    }

    /// How Socket.IO's packets are written (`parser`), such as [`MsgPack`](crate::MsgPack). All clients of
    /// this path must have the same. Default: text, with attachments.
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.parser = Some(Arc::new(parser));
        self
    }

    /// The transports that are on. Default: both.
    pub fn transports(mut self, polling: bool, websocket: bool) -> Self {
        (self.engine.polling, self.engine.websocket) = (polling, websocket);
        self
    }

    /// Whether a session may go from polling to WebSocket. Default: yes.
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.engine.allow_upgrades = allow;
        self
    }

    /// Files served below the path: [`ClientFiles`](crate::ClientFiles), or any others. Default: none.
    pub fn client_files(mut self, files: impl IntoIterator<Item = ClientFile>) -> Self {
        self.engine.client_files = files.into_iter().collect();
        self
    }

    /// A value that handlers get with [`State`](crate::State), one of each type. A value that holds the
    /// server is given to [`Switchboard::state`].
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.insert(state);
        self
    }

    /// Proxies that the server believes about a client's address (`X-Forwarded-For`, `X-Forwarded-Proto`).
    /// Default: none.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.shared = Some("trusted_proxies");
        self.proxies = proxies;
        self
    }

    /// Whether clients of older Socket.IO are served, on the same path, in the same namespaces and rooms. Default: no.
    ///
    /// - Those of Socket.IO 1 and 2: Engine.IO protocol 3 with Socket.IO protocols 3 and 4 (`allowEIO3`).
    /// - Those of Socket.IO 0.6 and of 0.7 to 0.9: over WebSocket, htmlfile, xhr-multipart, xhr-polling and
    ///   jsonp-polling, as far as [`transports`](Self::transports) and [`jsonp`](Self::jsonp) have them on.
    ///
    /// The same bounds, checks and hooks hold for them. Things that they cannot say have a translation, which
    /// [Clients](https://docs.rs/crate/switchboard/latest/source/docs/clients.md) has. Their times are
    /// [`old_client_options`](Self::old_client_options).
    pub fn old_clients(mut self, served: bool) -> Self {
        self.engine.old_clients = served;
        self
    }

    /// Whether polling works by scripts (JSONP): for pages whose browsers cannot ask another origin in any other
    /// way, such as Internet Explorer 8 and 9. Default: no.
    ///
    /// [`origins`](Self::origins) holds for scripts too. Browsers send no `Origin` with them, so a page is known by
    /// `Sec-Fetch-Site: same-origin` or by its `Referer`. A request without either is refused, unless every origin
    /// is let in. A browser sends its cookies with a script, whatever
    /// [`Origins::credentials`](crate::Origins::credentials) says.
    pub fn jsonp(mut self, served: bool) -> Self {
        self.engine.jsonp = served;
        self
    }

    /// Whether clients of the WebSocket drafts before RFC 6455 are served, on every path: hybi-07 to -12
    /// (Firefox 6 to 10, Chrome 14 and 15), hixie-75 and hixie-76 (Safari up to 5.1, Chrome up to 13, Flash);
    /// and whether the listener answers Flash players that ask it for their [socket
    /// policy](ListenerOptions::flash_policy). Default: no; such a client gets a 426.
    ///
    /// Clients of hixie-75 and -76 only take text: in raw WebSocket services binary for them is [an
    /// error](crate::EmitError::TextOnly), in Engine.IO and Socket.IO it goes as base64. They are not pinged,
    /// as they have no pings, and their close has no code. The same checks of origin, path and
    /// [`allow_request`](Self::allow_request) hold for them all.
    pub fn drafts(mut self, drafts: bool) -> Self {
        self.shared = Some("drafts");
        self.drafts = drafts;
        self
    }

    /// The times of sessions of Socket.IO 0.9 and 0.6, where [`old_clients`](Self::old_clients) are served.
    pub fn old_client_options(mut self, options: OldClientOptions) -> Self {
        self.old = options;
        self
    }

    /// The options of the server's own listener.
    pub fn listener(mut self, options: ListenerOptions) -> Self {
        self.shared = Some("listener");
        self.listener = options;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// The errors of starting threads; [`InvalidInput`](io::ErrorKind::InvalidInput) for options that make no
    /// sense, with a message that names them.
    pub fn build(mut self) -> io::Result<Switchboard> {
        self.check().map_err(senseless)?;
        self.complete(self.refusals.clone());
        crate::metrics::describe();
        let hub = Hub::start(&self.hub)?;
        let namespaces = Namespaces::new(self.socketio, &hub, self.states);
        let connections =
            ConnectionLimit::new(self.listener.max_connections, self.listener.max_connections_per_address);
        let server = Server {
            hub,
            mounts: ArcSwap::default(),
            proxies: self.proxies,
            listener: self.listener,
            drafts: self.drafts,
            refusals: self.refusals,
            connections,
            fallback: std::sync::OnceLock::new(),
            closing: AtomicBool::new(false),
            idle_end: watch::Sender::new(false),
            socket_files: Mutex::default(),
        };
        let old = self.engine.old_clients.then_some(self.old);
        Ok(Switchboard::new(server, &namespaces, self.engine, self.parser, old))
    }

    /// Sets the options of Socket.IO that follow from others.
    pub(super) fn complete(&mut self, refusals: Refusals) {
        self.socketio.refusals = refusals;
        // A ping that came just before the end, the next one, and the wait for its answer.
        self.socketio.confirmed_after =
            self.engine.ping_interval.saturating_mul(2).saturating_add(self.engine.ping_timeout);
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.hub.workers == 0 || self.hub.workers > 256 {
            return Err("`workers` must be from 1 to 256".to_owned());
        }
        if self.socketio.packets.max_depth > 2000 {
            return Err(
                "`max_depth` must be at most 2000: a level takes up to 3 KiB of a worker's stack".to_owned()
            );
        }
        self.old.check()?;
        self.engine.check()
    }
}

/// The error for options that make no sense.
pub(crate) fn senseless(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
