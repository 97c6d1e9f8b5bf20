//! A raw WebSocket endpoint: its path, options and functions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use switchboard_hub::{Variant, Worker};
use switchboard_websocket::Limits;
use switchboard_websocket::deflate::DeflateOptions;

use super::dialect::RawDialect;
use super::session::{RawSession, WebSocket};
use crate::api::namespace::{Namespace, NamespaceInner};
use crate::engineio::more_than_nothing;
use crate::functions::replace;
use crate::handshake::{Handshake, KeepHeaders};
use crate::http::admission::AllowRequest;
use crate::http::cors::Origins;
use crate::message::{IntoResult, Message};
use crate::transport::connection::Opened;
use crate::{CloseCode, Result};

/// The options of a raw WebSocket endpoint.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebSocketOptions {
    /// Subprotocols it speaks; the first of the client's that is among them is selected. Default: none.
    pub protocols: Vec<String>,
    /// Bytes of a message. Default 64 MiB; a larger one closes the connection with 1009.
    pub max_message_bytes: usize,
    /// Frames of a message, empty ones too. Default 16 384, as in `ws`; more close the connection with 1008.
    pub max_fragments: usize,
    /// Bytes that may wait to be written to one client. Default 128 MiB: an echo of the largest message fits. A client that lets more
    /// wait is disconnected. One that lets 256 KiB wait is not read until it takes some, so answers alone do not get so far.
    pub max_outbox_bytes: usize,
    /// Compression (permessage-deflate, RFC 7692) for clients that offer it. Default: none. Its memory is told in the documentation of
    /// [`DeflateOptions`]; with context taken over, a compressor that was idle between two pings gives its own back.
    pub per_message_deflate: Option<DeflateOptions>,
    /// How often a client is pinged; one of which nothing has come since the ping before, not even a pong, is cut. Default 30 s. `None`:
    /// never, so that a client which has vanished is noticed only when the kernel gives up what is sent to it.
    pub ping_interval: Option<Duration>,
    /// How long a message may take to arrive, from its first byte to its last; one of which 64 KiB more have come has the whole time
    /// again. Default 60 s; then the connection is closed with 1008. `None`: any time.
    pub message_timeout: Option<Duration>,
    /// How long a client of a closing connection may take none of the bytes that wait for it, and how long it may take to answer the
    /// close after them. Default 30 s; then its connection is cut. `None`: any time.
    pub close_timeout: Option<Duration>,
    /// Pages of which origins may connect. Default: those of the server's own host.
    pub origins: Origins,
    /// A check of one's own on each handshake. Default: none.
    pub allow_request: Option<AllowRequest>,
    /// Which headers a handshake keeps.
    pub keep_headers: KeepHeaders,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self {
            protocols: Vec::new(),
            max_message_bytes: 64 << 20,
            max_fragments: Limits::DEFAULT.max_fragments,
            max_outbox_bytes: 128 << 20,
            per_message_deflate: None,
            ping_interval: Some(Duration::from_secs(30)),
            message_timeout: Some(Duration::from_secs(60)),
            close_timeout: Some(Duration::from_secs(30)),
            origins: Origins::default(),
            allow_request: None,
            keep_headers: KeepHeaders::default(),
        }
    }
}

impl WebSocketOptions {
    /// # Errors
    /// What makes no sense, by name.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        more_than_nothing("max_message_bytes", self.max_message_bytes != 0)?;
        more_than_nothing("max_fragments", self.max_fragments != 0)?;
        more_than_nothing("max_outbox_bytes", self.max_outbox_bytes != 0)?;
        more_than_nothing("ping_interval", self.ping_interval != Some(Duration::ZERO))?;
        more_than_nothing("message_timeout", self.message_timeout != Some(Duration::ZERO))
    }
}

impl std::fmt::Debug for WebSocketOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketOptions")
            .field("protocols", &self.protocols)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

/// An event of a namespace that the service shows.
#[derive(Clone)]
pub(crate) struct Bridge {
    pub(crate) namespace: Arc<NamespaceInner>,
    pub(crate) event: Arc<str>,
    pub(crate) variant: Variant,
}

/// The functions of a service, and what it shows.
#[derive(Clone)]
pub(crate) struct Functions {
    pub(crate) settings: Arc<Settings>,
    own: OwnFunctions,
    pub(crate) bridge: Option<Bridge>,
}

type OwnFunctions = crate::functions::Functions<WebSocket, Option<CloseCode>>;

/// What is set once for all.
pub(crate) struct Settings {
    pub(crate) path: String,
    pub(crate) options: WebSocketOptions,
}

impl Settings {
    pub(crate) fn limits(&self) -> Limits {
        let max = self.options.max_message_bytes;
        let fragments = self.options.max_fragments;
        Limits::DEFAULT.max_message_bytes(max).max_frame_bytes(max).max_fragments(fragments)
    }
}

pub(crate) struct RawService {
    settings: Arc<Settings>,
    functions: ArcSwap<Functions>,
}

impl RawService {
    pub(crate) fn new(path: &str, options: WebSocketOptions) -> Arc<Self> {
        let settings = Arc::new(Settings { path: path.to_owned(), options });
        let (own, bridge) = (OwnFunctions::default(), None);
        let none = Functions { settings: Arc::clone(&settings), own, bridge };
        Arc::new(Self { settings, functions: ArcSwap::from_pointee(none) })
    }

    pub(crate) fn options(&self) -> &WebSocketOptions {
        &self.settings.options
    }

    /// Starts a connection on its worker.
    pub(crate) fn open(&self, worker: &Rc<Worker>, handshake: Handshake, opened: Opened<'_>) {
        RawSession::open(worker, self.functions.load_full(), handshake, opened);
    }
}

impl Functions {
    pub(crate) fn on_connect(&self, socket: &WebSocket) -> Result {
        self.own.on_connect(socket)
    }

    pub(crate) fn on_message(&self, socket: &WebSocket, message: Message<'_>) -> Result {
        match (self.own.on_message(socket, message), &self.bridge) {
            (Some(outcome), _) => outcome,
            (None, Some(bridge)) => bridge.publish(message),
            (None, None) => Ok(()),
        }
    }

    pub(crate) fn on_close(&self, socket: &WebSocket, code: Option<CloseCode>) {
        self.own.on_close(socket, code);
    }
}

impl Bridge {
    /// Sends a message as the event, to all of the namespace and of the service.
    fn publish(&self, message: Message<'_>) -> Result {
        let namespace = Namespace { inner: Arc::clone(&self.namespace) };
        match message {
            Message::Text(text) => namespace.emit(&self.event, text)?,
            Message::Binary(bytes) => namespace.emit(&self.event, crate::Binary::from(bytes.to_vec()))?,
        }
        Ok(())
    }
}

/// A raw WebSocket endpoint, to be given its functions: a connection has those that were set when it began.
/// Made by [`Switchboard::websocket`](crate::Switchboard::websocket).
#[derive(Clone)]
pub struct WebSocketService {
    inner: Arc<RawService>,
}

impl std::fmt::Debug for WebSocketService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WebSocketService").field(&self.inner.settings.path).finish()
    }
}

impl WebSocketService {
    pub(crate) fn new(inner: Arc<RawService>) -> Self {
        Self { inner }
    }

    fn change(&self, change: impl Fn(&mut Functions)) -> &Self {
        replace(&self.inner.functions, change);
        self
    }

    fn change_own(&self, change: impl Fn(&mut OwnFunctions)) -> &Self {
        self.change(|functions| change(&mut functions.own))
    }

    /// Calls the function for each client that has connected; its error closes the connection with 1011. Replaces an earlier one, as the
    /// others do.
    pub fn on_connect<R: IntoResult>(
        &self,
        function: impl Fn(&WebSocket) -> R + Send + Sync + 'static,
    ) -> &Self {
        self.change_own(OwnFunctions::with_connect(function))
    }

    /// Calls the function for each message, in order, in place: the message is borrowed from the read buffer. What has to wait goes into a
    /// task of the function's own. An error closes the connection with 1011.
    pub fn on_message<R: IntoResult>(
        &self,
        function: impl Fn(&WebSocket, Message<'_>) -> R + Send + Sync + 'static,
    ) -> &Self {
        self.change_own(OwnFunctions::with_message(function))
    }

    /// Calls the function when a connection has ended, with the code the peer closed it with, if it did.
    pub fn on_close(
        &self,
        function: impl Fn(&WebSocket, Option<CloseCode>) + Send + Sync + 'static,
    ) -> &Self {
        self.change_own(OwnFunctions::with_close(function))
    }

    /// Makes its clients members of a namespace, who see one event of it: the event's first argument comes to them as a message (a
    /// string as text, binary as binary, anything else as JSON), and a message of theirs goes as that event to the whole namespace and
    /// to all clients of the service, the sender among them, unless [`on_message`](Self::on_message) is set to do otherwise. They may
    /// [join](WebSocket::join) the namespace's rooms.
    pub fn share(&self, namespace: &Namespace, event: &str) -> &Self {
        let dialect = namespace.inner.events.dialects.add(RawDialect);
        let bridge = Bridge {
            namespace: Arc::clone(&namespace.inner),
            event: event.into(),
            variant: namespace.inner.events.view(dialect, event),
        };
        self.change(|functions| functions.bridge = Some(bridge.clone()))
    }
}
