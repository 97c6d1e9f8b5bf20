//! The server's side of the handshake (RFC 6455 §4.2): a request in, an answer out.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use thiserror::Error;

use super::{VERSION, accept_key, has_token, head::HeadError, is_token, list, write_headers};

/// Why a request does not become a WebSocket. [`response`](Self::response) is its answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The bytes made no request: 400, or 431 over a limit.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Another method than GET: 405 with `Allow: GET`.
    #[error("a WebSocket is asked for with GET, not {method}")]
    Method {
        /// The method that came.
        method: Method,
    },
    /// Another version than HTTP/1.1: 400.
    #[error("a WebSocket is asked for over HTTP/1.1, not {version:?}")]
    HttpVersion {
        /// The version that came.
        version: Version,
    },
    /// No `Host`: 400.
    #[error("the Host header is missing")]
    Host,
    /// The request has a body, so what follows its head would be taken for frames: 400.
    #[error("a request for a WebSocket has no body")]
    Body,
    /// No `websocket` among the values of `Upgrade`: 400.
    #[error("the Upgrade header does not ask for websocket")]
    Upgrade,
    /// No `upgrade` among the values of `Connection`: 400.
    #[error("the Connection header does not have upgrade")]
    Connection,
    /// Another protocol version than 13, or none: 426 with `Sec-WebSocket-Version: 13`.
    #[error("the Sec-WebSocket-Version is not {VERSION}")]
    WebSocketVersion,
    /// No key, several, or one that is not 16 bytes in base64: 400.
    #[error("the Sec-WebSocket-Key is not one key of 16 bytes")]
    Key,
    /// A subprotocol's name that is not a token: 400.
    #[error("the Sec-WebSocket-Protocol header is not a list of tokens")]
    Protocol,
    /// The origin hook said no: 403.
    #[error("the origin is not allowed")]
    Origin,
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(error) => error.status(),
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The header that the status calls for, if any: `Allow` for 405, `Sec-WebSocket-Version` for 426.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method { .. } => Some((ALLOW, HeaderValue::from_static("GET"))),
            Self::WebSocketVersion => Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION))),
            _ => None,
        }
    }

    /// The answer: status, headers, and the error's words as text.
    pub fn response(&self) -> Response<String> {
        let body = self.to_string();
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.extend(self.header());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// Appends the answer as HTTP/1.1 bytes. The connection is to be closed after it.
    pub fn write_response(&self, out: &mut Vec<u8>) {
        let response = self.response();
        let status = response.status();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        write_headers(out, response.headers());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(response.body().as_bytes());
    }
}

/// A request for a WebSocket that is in order, ready to be answered.
///
/// ```
/// use switchboard_websocket::handshake::server::Upgrade;
///
/// let (parts, ()) = http::Request::get("/chat")
///     .header("Host", "example.org")
///     .header("Upgrade", "websocket")
///     .header("Connection", "keep-alive, Upgrade")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Protocol", "chat, superchat")
///     .body(()).unwrap().into_parts();
///
/// let mut upgrade = Upgrade::check(&parts).unwrap();
/// upgrade.check_origin(|origin| origin.is_none()).unwrap();
/// assert_eq!(upgrade.select(&["superchat"]), Some("superchat"));
/// assert_eq!(upgrade.response().status(), 101);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'a> {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// The subprotocol the answer names: `None` until [`select`](Self::select) found one.
    protocol: Option<&'a str>,
    headers: &'a HeaderMap,
}

impl<'a> Upgrade<'a> {
    /// Judges a request (RFC 6455 §4.2.1). The origin is for [`check_origin`](Self::check_origin).
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] that says what is missing and how to answer.
    pub fn check(parts: &'a Parts) -> Result<Self, HandshakeError> {
        let headers = &parts.headers;
        if parts.method != Method::GET {
            return Err(HandshakeError::Method { method: parts.method.clone() });
        }
        if parts.version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion { version: parts.version });
        }
        if !headers.contains_key(HOST) && parts.uri.authority().is_none() {
            return Err(HandshakeError::Host);
        }
        let length = headers.get(CONTENT_LENGTH).map_or(b"0".as_slice(), HeaderValue::as_bytes);
        if length != b"0" || headers.contains_key(TRANSFER_ENCODING) {
            return Err(HandshakeError::Body);
        }
        if !has_token(headers, &UPGRADE, "websocket") {
            return Err(HandshakeError::Upgrade);
        }
        if !has_token(headers, &CONNECTION, "upgrade") {
            return Err(HandshakeError::Connection);
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != VERSION.as_bytes()) {
            return Err(HandshakeError::WebSocketVersion);
        }
        let accept = accept_key(single_key(headers)?);
        if !list(headers, &SEC_WEBSOCKET_PROTOCOL).all(is_token) {
            return Err(HandshakeError::Protocol);
        }
        Ok(Self { accept, protocol: None, headers })
    }

    /// Asks `allowed` whether the request's `Origin` is one (RFC 6455 §10.2). Browsers always send one;
    /// `None` is a program.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Origin`] when it is not.
    pub fn check_origin(
        &self,
        allowed: impl FnOnce(Option<&HeaderValue>) -> bool,
    ) -> Result<(), HandshakeError> {
        if allowed(self.headers.get(ORIGIN)) { Ok(()) } else { Err(HandshakeError::Origin) }
    }

    /// The subprotocols that the client speaks, the one it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        list(self.headers, &SEC_WEBSOCKET_PROTOCOL).filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Selects the first of the client's subprotocols that is `supported`, and names it in the answer.
    /// `None` leaves the answer without one, which a client that asked for some may refuse.
    pub fn select(&mut self, supported: &[impl AsRef<str>]) -> Option<&'a str> {
        self.protocol = self.protocols().find(|name| supported.iter().any(|known| known.as_ref() == *name));
        self.protocol
    }

    /// The answer, for a host that writes it.
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.extend(HeaderValue::from_bytes(&self.accept).ok().map(|value| (SEC_WEBSOCKET_ACCEPT, value)));
        let protocol = self.protocol.and_then(|name| HeaderValue::from_str(name).ok());
        headers.extend(protocol.map(|value| (SEC_WEBSOCKET_PROTOCOL, value)));
        response
    }

    /// Appends the answer as HTTP/1.1 bytes, with `extra` headers (cookies and the like; none of the
    /// handshake's own).
    pub fn write_response(&self, out: &mut Vec<u8>, extra: &HeaderMap) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        if let Some(protocol) = self.protocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        write_headers(out, extra);
        out.extend_from_slice(b"\r\n");
    }
}

/// The request's one key, if it decodes to 16 bytes.
fn single_key(headers: &HeaderMap) -> Result<&[u8], HandshakeError> {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(HandshakeError::Key) };
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key.as_bytes(), &mut nonce) {
        Ok(16) => Ok(key.as_bytes()),
        _ => Err(HandshakeError::Key),
    }
}
