//! Switchboard as a tower layer and service: mounted in axum, or in anything that serves `http` requests.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use super::serve::{Served, serve};
use super::upgrade::stream_in_pieces;
use crate::handshake::Peer;
use crate::http::body::ResponseBody;
use crate::http::plain;
use crate::server::KeepAlive;

/// Puts Switchboard in front of a service: requests to its paths are answered by it, all others by the
/// service. Made by [`Switchboard::layer`](crate::Switchboard::layer).
#[derive(Clone)]
pub struct SwitchboardLayer {
    server: KeepAlive,
    address: FindAddress,
}

/// Finds the client's address among what the outer server knows of a request.
type FindAddress = fn(&http::Extensions) -> Option<SocketAddr>;

impl SwitchboardLayer {
    pub(crate) fn new(server: KeepAlive) -> Self {
        Self { server, address: plain_address }
    }

    /// Says where in a request's extensions the outer server puts the client's address. Default: as a
    /// [`Peer`] or a [`SocketAddr`].
    ///
    /// axum puts it there as `ConnectInfo`, when it serves with
    /// `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # use axum::{Router, extract::ConnectInfo};
    /// # let io = switchboard::Switchboard::builder().workers(1).build()?;
    /// let layer = io.layer().address_from(|extensions| extensions.get().map(|ConnectInfo(address)| *address));
    /// let service = Router::<()>::new().layer(layer).into_make_service_with_connect_info::<SocketAddr>();
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn address_from(mut self, find: fn(&http::Extensions) -> Option<SocketAddr>) -> Self {
        self.address = find;
        self
    }
}

fn plain_address(extensions: &http::Extensions) -> Option<SocketAddr> {
    extensions.get().copied()
}

impl<S> Layer<S> for SwitchboardLayer {
    type Service = SwitchboardService<S>;

    fn layer(&self, inner: S) -> SwitchboardService<S> {
        SwitchboardService { server: self.server.clone(), address: self.address, inner }
    }
}

/// Switchboard with a service behind it. Made by [`Switchboard::layer`](crate::Switchboard::layer) and
/// [`Switchboard::service`](crate::Switchboard::service).
///
/// The address of a client is taken from the request's extensions, where the outer server puts one: a
/// [`Peer`], or a [`SocketAddr`]; or where [`SwitchboardLayer::address_from`] says.
#[derive(Clone)]
pub struct SwitchboardService<S> {
    server: KeepAlive,
    address: FindAddress,
    inner: S,
}

impl<S> SwitchboardService<S> {
    pub(crate) fn new(server: KeepAlive, inner: S) -> Self {
        Self { server, address: plain_address, inner }
    }
}

impl<S, B, R> Service<Request<B>> for SwitchboardService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready is the one to be called; its clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let io = Arc::clone(&self.server);
        let peer = io.proxies.resolve(peer(request.extensions(), self.address), request.headers());
        // A shutdown waits for the answer.
        let permit = io.connections.enter_unlimited();
        let serving = serve(&io, request, peer);
        Box::pin(async move {
            match serving.await {
                Served::Answer(answer) => Ok(answer.map(ResponseBody::own)),
                Served::Stream(parts, asked) => {
                    Ok(stream_in_pieces(&io, parts, asked).await.map(ResponseBody::own))
                }
                Served::Pass(parts, body) => {
                    drop(permit);
                    Ok(inner.call(Request::from_parts(*parts, body)).await?.map(ResponseBody::inner))
                }
            }
        })
    }
}

fn peer(extensions: &http::Extensions, address: FindAddress) -> Peer {
    let given = extensions.get().copied();
    given.or_else(|| address(extensions).map(Peer::new)).unwrap_or_default()
}

/// Answers 404 to everything: the service behind Switchboard where there is no other.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        ready(Ok(plain(StatusCode::NOT_FOUND, "not found\n").map(|_words| Full::from("not found\n"))))
    }
}
