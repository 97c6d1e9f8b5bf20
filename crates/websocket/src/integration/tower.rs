//! WebSockets as a tower service, and as a layer in front of one.
//!
//! ```
//! use http::request::Parts;
//! use switchboard_websocket::integration::{WebSocket, tower::WebSocketService};
//!
//! async fn echo(mut socket: WebSocket, _request: Parts) {
//!     while let Ok(Some(message)) = socket.recv().await {
//!         if message.is_data() && socket.send(message).await.is_err() {
//!             return;
//!         }
//!     }
//! }
//!
//! let service = WebSocketService::new(echo);
//! # let app: axum::Router =
//! axum::Router::new().route_service("/echo", service);
//! ```

use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    TryFutureExt,
    future::{Either as EitherFuture, MapOk},
};
use http::{Request, Response, request::Parts};
use http_body_util::Either;
use tower_layer::Layer;
use tower_service::Service;

use super::{WebSocket, accept, asks, refuse};
use crate::{Config, Error};

/// Makes a WebSocket of every request that is in order, and calls a handler with it in a task of its own. All
/// other requests are refused. The handler also gets the request's parts with their extensions, such as the
/// parameters of the path and the values of middleware.
#[derive(Clone)]
pub struct WebSocketService<H> {
    handler: H,
    config: Arc<Config>,
    failed: Option<Arc<dyn Fn(Error) + Send + Sync>>,
}

impl<H> WebSocketService<H> {
    /// A service with the default [`Config`], which lets in pages of its own host and port only.
    pub fn new<Fut>(handler: H) -> Self
    where
        H: FnOnce(WebSocket, Parts) -> Fut,
    {
        Self { handler, config: Arc::default(), failed: None }
    }

    /// The same with another configuration: limits, subprotocols, origins and so on.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// The same with a function that is called for each connection that ends before it is a WebSocket.
    /// Default: none.
    #[must_use]
    pub fn on_failed_upgrade(mut self, failed: impl Fn(Error) + Send + Sync + 'static) -> Self {
        self.failed = Some(Arc::new(failed));
        self
    }

    /// The same as a layer: it answers requests for a WebSocket. All other requests go to the inner service.
    pub fn into_layer(self) -> WebSocketLayer<H> {
        WebSocketLayer { sockets: self, path: None }
    }
}

impl<H> fmt::Debug for WebSocketService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketService").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<H, Fut> WebSocketService<H>
where
    H: FnOnce(WebSocket, Parts) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn answer(&self, mut parts: Parts) -> Response<String> {
        let (response, upgrading) = match accept(&mut parts, &self.config) {
            Ok(accepted) => accepted,
            Err(error) => return refuse(&error, parts.version),
        };
        let (handler, failed) = (self.handler.clone(), self.failed.clone());
        tokio::spawn(async move {
            match (upgrading.await, failed) {
                (Ok(socket), _) => handler(socket, parts).await,
                (Err(error), Some(failed)) => failed(error),
                (Err(_), None) => {}
            }
        });
        response
    }
}

impl<H, Fut, B> Service<Request<B>> for WebSocketService<H>
where
    H: FnOnce(WebSocket, Parts) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.into_parts().0)))
    }
}

/// Puts a [`WebSocketService`] in front of another service: see [`WebSocketService::into_layer`].
#[derive(Clone, Debug)]
pub struct WebSocketLayer<H> {
    sockets: WebSocketService<H>,
    path: Option<Arc<str>>,
}

impl<H> WebSocketLayer<H> {
    /// The same for one path only. Default: every path.
    #[must_use]
    pub fn path(mut self, path: impl Into<Arc<str>>) -> Self {
        self.path = Some(path.into());
        self
    }
}

impl<H: Clone, S> Layer<S> for WebSocketLayer<H> {
    type Service = WebSocketOr<H, S>;

    fn layer(&self, inner: S) -> WebSocketOr<H, S> {
        WebSocketOr { layer: self.clone(), inner }
    }
}

/// A service with a [`WebSocketService`] in front of it: see [`WebSocketLayer`].
#[derive(Clone, Debug)]
pub struct WebSocketOr<H, S> {
    layer: WebSocketLayer<H>,
    inner: S,
}

/// The body of an answer: ours, or that of the inner service.
pub type ResponseBody<R> = Either<String, R>;

type Wrap<R> = fn(Response<R>) -> Response<ResponseBody<R>>;

impl<H, Fut, S, B, R> Service<Request<B>> for WebSocketOr<H, S>
where
    H: FnOnce(WebSocket, Parts) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = EitherFuture<Ready<Result<Self::Response, S::Error>>, MapOk<S::Future, Wrap<R>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let here = self.layer.path.as_deref().is_none_or(|path| path == parts.uri.path());
        if here && asks(&parts) {
            let answer = self.layer.sockets.answer(parts).map(Either::Left);
            return EitherFuture::Left(ready(Ok(answer)));
        }
        let wrap: Wrap<R> = |response| response.map(Either::Right);
        EitherFuture::Right(self.inner.call(Request::from_parts(parts, body)).map_ok(wrap))
    }
}
