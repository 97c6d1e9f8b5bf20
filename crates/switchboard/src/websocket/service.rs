//! A raw WebSocket endpoint: its path, options and functions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use switchboard_hub::{Variant, Worker};
use switchboard_websocket::Limits;
use switchboard_websocket::deflate::DeflateOptions;

use super::dialect::RawDialect;
use super::session::{RawSession, WebSocket};
use crate::Result;
use crate::api::namespace::{Namespace, NamespaceInner};
use crate::error::more_than_nothing;
use crate::handshake::{Handshake, KeepHeaders};
use crate::http::admission::AllowRequest;
use crate::http::cors::Origins;
use crate::message::Message;
use crate::service::Service;
use crate::transport::connection::{ConnectionTask, Opened};

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
    /// Bytes that may wait to be written to one client. Default 128 MiB: an echo of the largest message fits.
    /// A client that lets more wait is disconnected. One that lets 256 KiB wait is not read until it takes
    /// some, so answers alone do not get so far.
    pub max_outbox_bytes: usize,
    /// Compression (permessage-deflate, RFC 7692) for clients that offer it. Default: none. Its memory is
    /// told in the documentation of [`DeflateOptions`]; with context taken over, a compressor that was idle
    /// between two pings gives its own back.
    pub per_message_deflate: Option<DeflateOptions>,
    /// How often a client is pinged; one of which nothing has come since the ping before, not even a pong, is
    /// cut. Default 30 s. `None`: never, so that a client which has vanished is noticed only when the kernel
    /// gives up what is sent to it.
    pub ping_interval: Option<Duration>,
    /// How long a message may take to arrive, from its first byte to its last; one of which 64 KiB more have
    /// come has the whole time again. Default 60 s; then the connection is closed with 1008. `None`: any
    /// time.
    pub message_timeout: Option<Duration>,
    /// How long a client of a closing connection may take none of the bytes that wait for it, and how long it
    /// may take to answer the close after them. Default 30 s; then its connection is cut. `None`: any time.
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

/// A raw service, mounted at its path.
pub(crate) struct RawService {
    settings: Arc<Settings>,
    service: WebSocketService,
}

/// What a raw service has besides its functions.
#[derive(Clone)]
pub struct RawSettings {
    pub(crate) fixed: Arc<Settings>,
    pub(crate) bridge: Option<Bridge>,
}

impl RawService {
    pub(crate) fn new(path: &str, options: WebSocketOptions) -> Self {
        let settings = Arc::new(Settings { path: path.to_owned(), options });
        let service = Service::new(RawSettings { fixed: Arc::clone(&settings), bridge: None });
        Self { settings, service }
    }

    pub(crate) fn service(&self) -> WebSocketService {
        self.service.clone()
    }

    pub(crate) fn options(&self) -> &WebSocketOptions {
        &self.settings.options
    }

    /// Starts a connection on its worker.
    pub(crate) fn open(
        &self,
        worker: &Rc<Worker>,
        handshake: Handshake,
        opened: Opened<'_>,
    ) -> Option<ConnectionTask> {
        RawSession::open(worker, Guard::into_inner(self.service.functions()), handshake, opened)
    }
}

impl Bridge {
    /// Sends a message as the event, to all of the namespace and of the service.
    pub(crate) fn publish(&self, message: Message<'_>) -> Result {
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
pub type WebSocketService = Service<WebSocket>;

impl Service<WebSocket> {
    /// Makes its clients members of a namespace, who see one event of it: the event's first argument comes to
    /// them as a message (a string as text, binary as binary, anything else as JSON), and a message of theirs
    /// goes as that event to the whole namespace and to all clients of the service, the sender among them,
    /// unless [`on_message`](Self::on_message) is set to do otherwise. They may [join](WebSocket::join) the
    /// namespace's rooms.
    pub fn share(&self, namespace: &Namespace, event: &str) -> &Self {
        namespace.inner.keep();
        let dialect = namespace.inner.events.dialects.add(RawDialect);
        let bridge = Bridge {
            namespace: Arc::clone(&namespace.inner),
            event: event.into(),
            variant: namespace.inner.events.view(dialect, event),
        };
        self.change(|functions| functions.settings.bridge = Some(bridge.clone()))
    }
}
