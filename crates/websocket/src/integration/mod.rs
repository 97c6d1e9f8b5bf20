//! WebSockets within the HTTP server of another crate: [`hyper`], [`tower`] or [`axum`]. Each has a Cargo
//! feature of its name, and each works over HTTP/1.1 and HTTP/2.
//!
//! One function checks requests for all three, by one [`Config`]. A request that is not in order is refused:
//! 400 for a malformed one, 403 for an origin that is not let in ([`OriginCheck`](crate::OriginCheck), on by
//! default), 405 with `Allow`, 426 with `Sec-WebSocket-Version`, 501 for another `:protocol`.
//!
//! HTTP/2 clients must be told that they may ask for WebSockets (RFC 8441). hyper's and hyper-util's HTTP/2
//! builders do it with `enable_connect_protocol()`. `axum::serve` does it by itself, with axum's feature
//! `http2`.

#[cfg(feature = "axum")]
pub mod axum;
pub mod hyper;
#[cfg(feature = "tower")]
pub mod tower;
mod upgraded;

use http::{Extensions, Response, request::Parts};
#[cfg(any(feature = "axum", feature = "tower"))]
use http::{Version, header::CONNECTION};

use self::hyper::Upgrading;
pub use self::upgraded::{ReadHalf, Upgraded, WriteHalf};
#[cfg(any(feature = "axum", feature = "tower"))]
use crate::handshake::server::Upgrade;
use crate::{Config, WebSocketStream, handshake::server::HandshakeError, stream::Agreed};

/// A WebSocket connection that came to an HTTP server.
pub type WebSocket = WebSocketStream<Upgraded>;

/// Checks a request, and returns the answer and the future of the connection.
fn accept(parts: &mut Parts, config: &Config) -> Result<(Response<String>, Upgrading), HandshakeError> {
    let on_upgrade = parts.extensions.remove::<::hyper::upgrade::OnUpgrade>();
    let (response, agreed) = check(parts, config)?;
    let on_upgrade = on_upgrade.ok_or(HandshakeError::NotUpgradable)?;
    Ok((response, Upgrading::new(on_upgrade, agreed, config)))
}

fn check(parts: &Parts, config: &Config) -> Result<(Response<String>, Agreed), HandshakeError> {
    let (upgrade, agreed) = Agreed::check(parts, connect_protocol(&parts.extensions), config)?;
    let mut response = upgrade.response().map(|()| String::new());
    response.headers_mut().extend(config.headers.clone());
    Ok((response, agreed))
}

/// The `:protocol` of an extended CONNECT.
fn connect_protocol(extensions: &Extensions) -> Option<&str> {
    extensions.get::<::hyper::ext::Protocol>().map(::hyper::ext::Protocol::as_str)
}

/// The answer to a request that is not in order.
#[cfg(any(feature = "axum", feature = "tower"))]
fn refuse(error: &HandshakeError, version: Version) -> Response<String> {
    let mut response = error.response();
    if version > Version::HTTP_11 {
        // HTTP/1.1 alone has this header (RFC 9113 §8.2.2).
        response.headers_mut().remove(CONNECTION);
    }
    response
}

/// Whether a request asks for a WebSocket, in order or not.
#[cfg(any(feature = "axum", feature = "tower"))]
fn asks(parts: &Parts) -> bool {
    match parts.version {
        Version::HTTP_2 | Version::HTTP_3 => connect_protocol(&parts.extensions) == Some("websocket"),
        _ => Upgrade::is_asked_for(&parts.headers),
    }
}
