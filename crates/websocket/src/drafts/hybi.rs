//! The later drafts, hybi-07 to -12 (`draft-ietf-hybi-thewebsocketprotocol`): RFC 6455 with another version
//! number.
//!
//! hybi-07 announces version 7, hybi-08 to -12 announce version 8. Framing, masking, close codes and the
//! answer to the key are those of RFC 6455. The page's origin is in `Sec-WebSocket-Origin`. Their extensions
//! (`deflate-stream`, `x-webkit-deflate-frame`) are not negotiated, and so are off.

use http::{HeaderName, request::Parts};

use crate::handshake::{
    VERSION,
    server::{HandshakeError, Upgrade},
};

/// The versions that [`check`] takes, the newest one first.
pub const VERSIONS: &str = "13, 8, 7";

/// The header in which a client before version 13 names the origin of its page.
pub(crate) const ORIGIN: HeaderName = HeaderName::from_static("sec-websocket-origin");

/// Checks a request for RFC 6455 or one of these drafts.
///
/// # Errors
///
/// As [`Upgrade::check`]. A request for another version than 13, 8 and 7 gets a 426 that names these three.
pub fn check(parts: &Parts) -> Result<Upgrade<'_>, HandshakeError> {
    let known = |version: &[u8]| [VERSION.as_bytes(), b"8", b"7"].contains(&version);
    Upgrade::check_versions(parts, known, VERSIONS)
}
