//! WebSockets in a service for hyper.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;

use super::{Upgraded, WebSocket};
use crate::{Config, Error, Role, handshake::server::HandshakeError, stream::Agreed};

/// Checks a request over HTTP/1.1 or HTTP/2, and returns the answer and a future of the connection. The
/// future is ready after the service has returned the answer, so await it in a task of its own.
///
/// hyper must serve with upgrades (`with_upgrades()`, `serve_connection_with_upgrades`), and for HTTP/2 with
/// `enable_connect_protocol()`.
///
/// ```
/// use http::{Request, Response};
/// use switchboard_websocket::{Config, Error, integration::hyper::{Upgrading, upgrade}};
///
/// async fn serve(
///     mut request: Request<hyper::body::Incoming>,
/// ) -> Result<Response<String>, std::convert::Infallible> {
///     Ok(match upgrade(&mut request, &Config::default()) {
///         Ok((response, upgrading)) => {
///             tokio::spawn(echo(upgrading));
///             response
///         }
///         Err(refused) => refused.response(),
///     })
/// }
///
/// async fn echo(upgrading: Upgrading) -> Result<(), Error> {
///     let mut socket = upgrading.await?;
///     while let Some(message) = socket.recv().await? {
///         if message.is_data() {
///             socket.send(message).await?;
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// A [`HandshakeError`] that names the fault and has the [answer](HandshakeError::response).
pub fn upgrade<B>(
    request: &mut Request<B>,
    config: &Config,
) -> Result<(Response<String>, Upgrading), HandshakeError> {
    // The parts are taken out of the request for the check, and put back.
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    std::mem::swap(&mut parts.headers, request.headers_mut());
    std::mem::swap(&mut parts.extensions, request.extensions_mut());
    let accepted = super::accept(&mut parts, config);
    *request.headers_mut() = parts.headers;
    *request.extensions_mut() = parts.extensions;
    accepted
}

/// A connection that becomes a [`WebSocket`] when its request is answered.
///
/// Cancel safe: poll it again after it was not ready. When it is dropped the connection ends.
///
/// # Errors
///
/// [`Error::Io`] when the connection ended before, or when another answer was sent than the one that came
/// with this; [`Error::Closed`] when it has been ready before.
#[derive(Debug)]
#[must_use = "a connection is a WebSocket when this was awaited"]
pub struct Upgrading {
    on_upgrade: OnUpgrade,
    agreed: Option<Agreed>,
    config: Box<Config>,
}

impl Upgrading {
    pub(super) fn new(on_upgrade: OnUpgrade, agreed: Agreed, config: &Config) -> Self {
        Self { on_upgrade, agreed: Some(agreed), config: Box::new(config.clone()) }
    }
}

impl Future for Upgrading {
    type Output = Result<WebSocket, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(agreed) = self.agreed.take() else { return Poll::Ready(Err(Error::Closed)) };
        let Poll::Ready(upgraded) = Pin::new(&mut self.on_upgrade).poll(cx) else {
            self.agreed = Some(agreed);
            return Poll::Pending;
        };
        let (io, read) = Upgraded::new(upgraded.map_err(io::Error::other)?);
        Poll::Ready(Ok(agreed.into_stream(io, read, Role::Server, &self.config)))
    }
}
