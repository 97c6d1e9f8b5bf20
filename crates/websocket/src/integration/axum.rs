//! WebSockets in axum: an extractor with the names of axum's own.
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
use super::{asks, connect_protocol, hyper::Upgrading, judge, refuse};
use crate::{
    Config, Error, Limits, OriginCheck, WhenFull,
    deflate::DeflateOptions,
    handshake::server::{HandshakeError, Upgrade},
};

/// Extracts a request for a WebSocket, over HTTP/1.1 (GET) or HTTP/2 (extended CONNECT): route it with `any`, to have
/// both. As `Option<WebSocketUpgrade>` it is `None` for a request that asks for none.
///
/// Set what differs from the default [`Config`], then return what [`on_upgrade`](Self::on_upgrade) gives.
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
    // The rest, which the configuration has a say in, is judged by `on_upgrade`.
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
    /// Takes a whole configuration at once. What was set before is replaced.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Pages of which origins may connect. Default: those of the request's own host and port. Others are
    /// answered 403 by [`on_upgrade`](Self::on_upgrade).
    pub fn origin(mut self, origin: OriginCheck) -> Self {
        self.config.origin = origin;
        self
    }

    /// The subprotocols that are spoken here. The answer names the first of the client's that is among them. Default: none.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.config.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The subprotocols that the client speaks, the one it likes best first.
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

    /// Bytes asked for in one read. The buffer is there only while something is read. Default 16 KiB.
    pub fn read_buffer_size(mut self, bytes: usize) -> Self {
        self.config.read_buffer_bytes = bytes;
        self
    }

    /// Bytes that may wait to be written. Default 1 MiB.
    pub fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.config.max_write_buffer_bytes = bytes;
        self
    }

    /// What happens to a message that is fed beyond that. Default: [`WhenFull::Refuse`], it is given back.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.config.when_full = when_full;
        self
    }

    /// A function that is told when the connection ended before it was a WebSocket. Default: nobody is told.
    pub fn on_failed_upgrade<C>(self, callback: C) -> WebSocketUpgrade<C>
    where
        C: FnOnce(Error) + Send + 'static,
    {
        let Self { request, on_upgrade, config, .. } = self;
        WebSocketUpgrade { request, on_upgrade, config, failed: callback }
    }

    /// Answers the request, and gives the connection to `callback` in a task of its own. The callback is not called where
    /// the answer is a refusal, as for an [`origin`](Self::origin) that is not let in.
    #[must_use = "the connection is a WebSocket when this response was returned"]
    pub fn on_upgrade<C, Fut>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
        F: OnFailedUpgrade,
    {
        let Self { request, on_upgrade, config, failed } = self;
        let (response, agreed) = match judge(&request, &config) {
            Ok(judged) => judged,
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

/// What is told when the connection ended before it was a WebSocket: a function, for
/// [`WebSocketUpgrade::on_failed_upgrade`].
pub trait OnFailedUpgrade: Send + 'static {
    /// Tells it.
    fn call(self, error: Error);
}

impl<C: FnOnce(Error) + Send + 'static> OnFailedUpgrade for C {
    fn call(self, error: Error) {
        self(error);
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreFailedUpgrade;

impl OnFailedUpgrade for IgnoreFailedUpgrade {
    fn call(self, _error: Error) {}
}

/// A request that is none for a WebSocket, or not in order.
#[derive(Clone, Debug)]
pub struct WebSocketUpgradeRejection {
    error: HandshakeError,
    version: Version,
}

impl WebSocketUpgradeRejection {
    /// What is wrong with it.
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
