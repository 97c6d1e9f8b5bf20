//! WebSockets in axum: an extractor with the names of axum's own extractor.
//!
//! ```
//! use axum::{Router, response::Response, routing::any};
//! use switchboard_websocket::integration::axum::{WebSocket, WebSocketUpgrade};
//!
//! async fn chat(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.protocols(["chat"]).max_message_size(64 << 10).on_upgrade(echo)
//! }
//!
//! async fn echo(mut socket: WebSocket) {
//!     while let Ok(Some(message)) = socket.recv().await {
//!         if message.is_data() && socket.send(message).await.is_err() {
//!             return;
//!         }
//!     }
//! }
//!
//! # let app: Router =
//! Router::new().route("/chat", any(chat));
//! ```

use std::{error, fmt, future::Future};

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Request, Version, request::Parts};
use hyper::upgrade::OnUpgrade;

pub use super::WebSocket;
use super::{asks, check, connect_protocol, hyper::Upgrading, refuse};
use crate::{
    Config, Error, Limits, OriginCheck, WhenFull,
    deflate::DeflateOptions,
    handshake::server::{HandshakeError, Upgrade},
};

/// Extracts a request for a WebSocket, over HTTP/1.1 (GET) or HTTP/2 (extended CONNECT). Route it with `any`
/// to have both. `Option<WebSocketUpgrade>` is `None` for a request that asks for no WebSocket.
///
/// Set the options that differ from the default [`Config`], then return the response of
/// [`on_upgrade`](Self::on_upgrade).
#[must_use]
pub struct WebSocketUpgrade<F = IgnoreFailedUpgrade> {
    request: Parts,
    on_upgrade: OnUpgrade,
    config: Config,
    failed: F,
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        extract(parts).map_err(|error| WebSocketUpgradeRejection { error, version: parts.version })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Self::Rejection> {
        if !asks(parts) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

fn extract(parts: &mut Parts) -> Result<WebSocketUpgrade, HandshakeError> {
    // `on_upgrade` checks the rest, which depends on the configuration.
    match parts.version {
        Version::HTTP_2 | Version::HTTP_3 => {
            Upgrade::check_connect(parts, connect_protocol(&parts.extensions))?
        }
        _ => Upgrade::check(parts)?,
    };
    let on_upgrade = parts.extensions.remove().ok_or(HandshakeError::NotUpgradable)?;
    let (mut request, ()) = Request::new(()).into_parts();
    request.method = parts.method.clone();
    request.uri = parts.uri.clone();
    request.version = parts.version;
    request.headers = parts.headers.clone();
    if let Some(protocol) = parts.extensions.get::<hyper::ext::Protocol>() {
        request.extensions.insert(protocol.clone());
    }
    Ok(WebSocketUpgrade { request, on_upgrade, config: Config::default(), failed: IgnoreFailedUpgrade })
}

impl<F> WebSocketUpgrade<F> {
    /// Sets a whole configuration. It replaces the options that were set before.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The origins whose pages may connect. Default: pages of the request's own host and port.
    /// [`on_upgrade`](Self::on_upgrade) answers other pages with 403.
    pub fn origin(mut self, origin: OriginCheck) -> Self {
        self.config.origin = origin;
        self
    }

    /// The subprotocols that the server supports. The answer names the client's first one that is among them.
    /// Default: none.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.config.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The subprotocols that the client offers, the best one first.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &str> {
        self.upgrade().into_iter().flat_map(|upgrade| upgrade.protocols())
    }

    /// The subprotocol that the answer will name.
    pub fn selected_protocol(&self) -> Option<&str> {
        self.upgrade().and_then(|mut upgrade| upgrade.select(&self.config.protocols))
    }

    fn upgrade(&self) -> Option<Upgrade<'_>> {
        let request = &self.request;
        match connect_protocol(&request.extensions) {
            None => Upgrade::check(request).ok(),
            protocol => Upgrade::check_connect(request, protocol).ok(),
        }
    }

    /// Payload bytes of one message, over all its fragments. Default 64 MiB.
    pub fn max_message_size(self, bytes: usize) -> Self {
        self.limits(|limits| limits.max_message_bytes(bytes))
    }

    /// Payload bytes of one frame. Default 64 MiB.
    pub fn max_frame_size(self, bytes: usize) -> Self {
        self.limits(|limits| limits.max_frame_bytes(bytes))
    }

    fn limits(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        self.config.limits = change(self.config.limits);
        self
    }

    /// Compression (permessage-deflate), for clients that offer it. Default: none.
    pub fn deflate(mut self, options: DeflateOptions) -> Self {
        self.config.deflate = Some(options);
        self
    }

    /// Bytes that one read asks for. The buffer exists only while something is read. Default 16 KiB.
    pub fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.config.read_buffer_bytes = bytes;
        self
    }

    /// Bytes that may wait to be written. Default 1 MiB.
    pub fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.config.max_write_buffer_bytes = bytes;
        self
    }

    /// The action for a message without room. Default: [`WhenFull::Refuse`], which gives the message back.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.config.when_full = when_full;
        self
    }

    /// Sets a function that is called when the connection ends before it is a WebSocket. Default: none.
    pub fn on_failed_upgrade<C>(self, callback: C) -> WebSocketUpgrade<C>
    where
        C: FnOnce(Error) + Send + 'static,
    {
        let Self { request, on_upgrade, config, .. } = self;
        WebSocketUpgrade { request, on_upgrade, config, failed: callback }
    }

    /// Answers the request, and calls `callback` with the connection in a task of its own. The callback is
    /// not called where the answer is a refusal, as for an [`origin`](Self::origin) that is not let in.
    #[must_use = "the connection is a WebSocket when this response was returned"]
    pub fn on_upgrade<C, Fut>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
        F: OnFailedUpgrade,
    {
        let Self { request, on_upgrade, config, failed } = self;
        let (response, agreed) = match check(&request, &config) {
            Ok(checked) => checked,
            Err(error) => return refuse(&error, request.version).map(Body::from),
        };
        let upgrading = Upgrading::new(on_upgrade, agreed, &config);
        tokio::spawn(async move {
            match upgrading.await {
                Ok(socket) => callback(socket).await,
                Err(error) => failed.call(error),
            }
        });
        response.map(Body::from)
    }
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, config, .. } = self;
        f.debug_struct("WebSocketUpgrade")
            .field("request", request)
            .field("config", config)
            .finish_non_exhaustive()
    }
}

/// A function that is called when the connection ends before it is a WebSocket: see
/// [`WebSocketUpgrade::on_failed_upgrade`].
pub trait OnFailedUpgrade: Send + 'static {
    /// Calls the function.
    fn call(self, error: Error);
}

impl<C: FnOnce(Error) + Send + 'static> OnFailedUpgrade for C {
    fn call(self, error: Error) {
        self(error);
    }
}

/// Does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreFailedUpgrade;

impl OnFailedUpgrade for IgnoreFailedUpgrade {
    fn call(self, _error: Error) {}
}

/// A request that asks for no WebSocket, or is not in order.
#[derive(Clone, Debug)]
pub struct WebSocketUpgradeRejection {
    error: HandshakeError,
    version: Version,
}

impl WebSocketUpgradeRejection {
    /// The fault of the request.
    pub fn error(&self) -> &HandshakeError {
        &self.error
    }
}

impl fmt::Display for WebSocketUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl error::Error for WebSocketUpgradeRejection {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

impl IntoResponse for WebSocketUpgradeRejection {
    fn into_response(self) -> Response {
        refuse(&self.error, self.version).map(Body::from)
    }
}
