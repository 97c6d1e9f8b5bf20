//! The opening handshake (RFC 6455 §4), on the parts of a request or response and without a socket:
//!
//! - [`head`] finds the end of a head among bytes that come in pieces, and parses it;
//! - [`server`] checks a request and writes the answer;
//! - [`origin`] decides which pages may ask;
//! - [`client`] writes a request and checks the answer.

pub mod client;
pub mod head;
pub mod origin;
pub mod server;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha1::{Digest, Sha1};

/// The version of the protocol that RFC 6455 describes.
pub const VERSION: &str = "13";

/// The text that §1.3 appends to a key before the hash.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
///
/// ```
/// use switchboard_websocket::handshake::accept_key;
/// assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = BASE64.encode_slice(digest, &mut accept);
    debug_assert_eq!(written.ok(), Some(28), "20 bytes are 28 in base64");
    accept
}

/// Whether a header that is a list of tokens has `token` in one of its lines, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a header that is a comma-separated list, from all its lines, without empty ones (RFC 9110
/// §5.6.1).
pub(crate) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether these bytes are a token (RFC 9110 §5.6.2), as the name of a subprotocol must be.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Appends the lines of a request's head. Each word of a name begins with a capital: case has no meaning
/// there (RFC 9110 §5.1), but some servers and proxies know names only in this form.
pub(crate) fn write_request_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        let mut begins = true;
        out.extend(name.as_str().bytes().map(|byte| {
            let byte = if begins { byte.to_ascii_uppercase() } else { byte };
            begins = byte == b'-';
            byte
        }));
        write_value(out, value);
    }
}

/// Appends the lines of an answer's head.
pub(crate) fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        write_value(out, value);
    }
}

fn write_value(out: &mut Vec<u8>, value: &HeaderValue) {
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
