//! The server's side of the handshake: a request in, an answer out. Over HTTP/1.1 it is an upgrade (RFC 6455
//! §4.2), over HTTP/2 an extended CONNECT (RFC 8441 §5), and over HTTP/3 the same (RFC 9220).

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
    uri::Authority,
};
use thiserror::Error;

use crate::deflate::{self, DeflateOptions, DeflateParameters};

use super::{
    VERSION, accept_key, has_token,
    head::HeadError,
    is_token, list,
    origin::{OriginCheck, OriginRequest},
    write_headers,
};

/// The reason why a request does not become a WebSocket. [`response`](Self::response) is its answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The bytes are no request: 400, or 431 over a limit.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Another method than GET: 405 with `Allow: GET`.
    #[error("a request for a WebSocket has the method GET, not {method}")]
    Method {
        /// The method of the request.
        method: Method,
    },
    /// Another method than CONNECT over HTTP/2 or later: 405 with `Allow: CONNECT`.
    #[error("a request for a WebSocket over HTTP/2 has the method CONNECT, not {method}")]
    NotConnect {
        /// The method of the request.
        method: Method,
    },
    /// An extended CONNECT for another protocol than `websocket`, or a CONNECT without a protocol: 501 (RFC
    /// 9220 §3).
    #[error("the :protocol pseudo-header does not ask for websocket")]
    ConnectProtocol,
    /// Another version of HTTP than the handshake is for: 400.
    #[error(
        "a WebSocket is asked for over HTTP/1.1, or by an extended CONNECT over HTTP/2, not over {version:?}"
    )]
    HttpVersion {
        /// The version of the request.
        version: Version,
    },
    /// No `Host`, or more than one: 400 (RFC 9112 §3.2).
    #[error("a request has one Host header")]
    Host,
    /// The request has a body, whose bytes would be taken for frames: 400.
    #[error("a request for a WebSocket has no body")]
    Body,
    /// A header that belongs to HTTP/1.1 came over HTTP/2: 400 (RFC 9113 §8.2.2).
    #[error("a request over HTTP/2 has no Connection, Upgrade or Transfer-Encoding header")]
    ConnectionHeader,
    /// No `websocket` among the values of `Upgrade`: 400.
    #[error("the Upgrade header does not ask for websocket")]
    Upgrade,
    /// No `upgrade` among the values of `Connection`: 400.
    #[error("the Connection header does not contain upgrade")]
    Connection,
    /// No protocol version, or one that is not supported: 426 with `Sec-WebSocket-Version`.
    #[error("the Sec-WebSocket-Version is not one of: {supported}")]
    WebSocketVersion {
        /// The supported versions: `13`, with the [drafts](crate::drafts) `13, 8, 7`.
        supported: &'static str,
    },
    /// No key, several keys, or a key that is not 16 bytes in base64: 400.
    #[error("the Sec-WebSocket-Key is not one key of 16 bytes")]
    Key,
    /// In [hixie-76](crate::drafts::hixie): the request has not one `Sec-WebSocket-Key1` and one `-Key2`, or
    /// the number in a key is not divisible by its spaces: 400.
    #[error(
        "Sec-WebSocket-Key1 and Sec-WebSocket-Key2 are not one key each with a number that its spaces divide"
    )]
    HixieKeys,
    /// In the [hixie](crate::drafts::hixie) drafts: the request has no `Origin`: 400.
    #[error("the Origin header is missing")]
    NoOrigin,
    /// A subprotocol's name that is not a token: 400.
    #[error("the Sec-WebSocket-Protocol header is not a list of tokens")]
    Protocol,
    /// The HTTP server cannot give the connection away: 500. It must serve the connection with upgrades, and
    /// an upgrade can be taken once.
    #[error("the connection cannot be upgraded: the server does not serve it with upgrades")]
    NotUpgradable,
    /// The [`OriginCheck`] did not let the origin in: 403.
    #[error("the origin is not allowed: see the option `origin` of the server")]
    Origin,
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(error) => error.status(),
            Self::Method { .. } | Self::NotConnect { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ConnectProtocol => StatusCode::NOT_IMPLEMENTED,
            Self::WebSocketVersion { .. } => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The header that belongs to the status: `Allow` for 405, `Sec-WebSocket-Version` for 426.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method { .. } => Some((ALLOW, HeaderValue::from_static("GET"))),
            Self::NotConnect { .. } => Some((ALLOW, HeaderValue::from_static("CONNECT"))),
            Self::WebSocketVersion { supported } => {
                Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static(supported)))
            }
            _ => None,
        }
    }

    /// The answer: the status, the headers, and the error's text. It has a `Connection` header, which must be
    /// taken off for a request over HTTP/2.
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

    /// Appends the answer as HTTP/1.1 bytes. Close the connection after it.
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

/// A request for a WebSocket that is in order and can be answered.
///
/// ```
/// use switchboard_websocket::{OriginCheck, handshake::server::Upgrade};
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
/// upgrade.check_origin(&OriginCheck::default()).unwrap();
/// assert_eq!(upgrade.select(&["superchat"]), Some("superchat"));
/// assert_eq!(upgrade.response().status(), 101);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'a> {
    /// The value of `Sec-WebSocket-Accept`; `None` for an extended CONNECT, which has no key.
    accept: Option<[u8; 28]>,
    /// The subprotocol of the answer. `None` until [`select`](Self::select) has found one.
    protocol: Option<&'a str>,
    /// The compression of the answer.
    deflate: Option<deflate::Answer>,
    /// The authority of the request's URI.
    authority: Option<&'a str>,
    headers: &'a HeaderMap,
}

impl<'a> Upgrade<'a> {
    /// Checks a request over HTTP/1.1 (RFC 6455 §4.2.1). [`check_origin`](Self::check_origin) checks its
    /// origin.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] that names the fault and has the answer.
    pub fn check(parts: &'a Parts) -> Result<Self, HandshakeError> {
        Self::check_versions(parts, is_standard, VERSION)
    }

    /// As [`check`](Self::check), for the versions for which `known` is true.
    pub(crate) fn check_versions(
        parts: &'a Parts,
        known: impl FnOnce(&[u8]) -> bool,
        supported: &'static str,
    ) -> Result<Self, HandshakeError> {
        check_upgrade(parts)?;
        let headers = &parts.headers;
        check_version(headers, known, supported)?;
        let accept = Some(accept_key(single_key(headers)?));
        check_protocols(headers)?;
        let authority = parts.uri.authority().map(Authority::as_str);
        Ok(Self { accept, protocol: None, deflate: None, authority, headers })
    }

    /// Checks an extended CONNECT over HTTP/2 (RFC 8441 §5) or HTTP/3 (RFC 9220). `protocol` is the value of
    /// the request's `:protocol`. hyper and h2 keep it in the request's extensions, as `ext::Protocol`. The
    /// server must have sent the setting `SETTINGS_ENABLE_CONNECT_PROTOCOL`.
    ///
    /// There are two differences from HTTP/1.1: there is no key, and the [answer](Self::response) is 200. The
    /// frames that follow on the stream are the same, and those of the client are masked.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] that names the fault and has the answer.
    ///
    /// ```
    /// use switchboard_websocket::handshake::server::Upgrade;
    ///
    /// let (parts, ()) = http::Request::connect("https://example.org/chat")
    ///     .version(http::Version::HTTP_2)
    ///     .header("Sec-WebSocket-Version", "13")
    ///     .body(()).unwrap().into_parts();
    /// assert_eq!(Upgrade::check_connect(&parts, Some("websocket")).unwrap().response().status(), 200);
    /// assert_eq!(Upgrade::check_connect(&parts, Some("other")).unwrap_err().status(), 501);
    /// ```
    pub fn check_connect(parts: &'a Parts, protocol: Option<&str>) -> Result<Self, HandshakeError> {
        let headers = &parts.headers;
        if parts.version != Version::HTTP_2 && parts.version != Version::HTTP_3 {
            return Err(HandshakeError::HttpVersion { version: parts.version });
        }
        if parts.method != Method::CONNECT {
            return Err(HandshakeError::NotConnect { method: parts.method.clone() });
        }
        if protocol != Some("websocket") {
            return Err(HandshakeError::ConnectProtocol);
        }
        if [CONNECTION, UPGRADE, TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name)) {
            return Err(HandshakeError::ConnectionHeader);
        }
        check_host(parts)?;
        // The request's DATA frames carry the WebSocket. A length would bound all of it.
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(HandshakeError::Body);
        }
        check_version(headers, is_standard, VERSION)?;
        check_protocols(headers)?;
        let authority = parts.uri.authority().map(Authority::as_str);
        Ok(Self { accept: None, protocol: None, deflate: None, authority, headers })
    }

    /// Whether a request of HTTP/1.1 asks for a WebSocket, in order or not: its `Upgrade` names `websocket`.
    /// A server may ignore other names (RFC 9110 §7.8), such as the `h2c` of clients that prefer HTTP/2.
    pub fn is_asked_for(headers: &HeaderMap) -> bool {
        has_token(headers, &UPGRADE, "websocket")
    }

    /// The `Origin` that a browser sends for a page (RFC 6455 §10.2), or the `Sec-WebSocket-Origin` of a
    /// browser that speaks a [draft](crate::drafts). A program sends none.
    pub fn origin(&self) -> Option<&'a HeaderValue> {
        crate::drafts::origin(self.headers)
    }

    /// Fails if the request's [`origin`](Self::origin) is not let in.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Origin`].
    pub fn check_origin(&self, origins: &OriginCheck) -> Result<(), HandshakeError> {
        let request = OriginRequest { authority: self.authority, ..OriginRequest::new(self.headers) };
        if origins.allows(self.origin(), &request) { Ok(()) } else { Err(HandshakeError::Origin) }
    }

    /// The subprotocols that the client offers, the best one first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        list(self.headers, &SEC_WEBSOCKET_PROTOCOL).filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Selects the first of the client's subprotocols that is `supported`, and names it in the answer. `None`
    /// leaves the answer without a subprotocol. A client that offered some may refuse that.
    pub fn select(&mut self, supported: &[impl AsRef<str>]) -> Option<&'a str> {
        self.protocol = self.protocols().find(|name| supported.iter().any(|known| known.as_ref() == *name));
        self.protocol
    }

    /// Accepts the client's first offer of permessage-deflate that fits `options`, and names it in the
    /// answer. `None`: the client has sent no offer that can be kept, and nothing is compressed.
    pub fn accept_deflate(&mut self, options: &DeflateOptions) -> Option<DeflateParameters> {
        self.deflate = deflate::accept(self.headers, options);
        self.deflate.map(|answer| answer.parameters)
    }

    /// The answer, for a host that writes it itself: 101 to an upgrade, 200 to an extended CONNECT.
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        let protocol = self.protocol.and_then(|name| HeaderValue::from_str(name).ok());
        if let Some(accept) = &self.accept {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.extend(HeaderValue::from_bytes(accept).ok().map(|value| (SEC_WEBSOCKET_ACCEPT, value)));
        }
        let headers = response.headers_mut();
        headers.extend(protocol.map(|value| (SEC_WEBSOCKET_PROTOCOL, value)));
        headers.extend(self.deflate.map(|answer| (SEC_WEBSOCKET_EXTENSIONS, answer.header())));
        response
    }

    /// Appends the answer as HTTP/1.1 bytes, with `extra` headers, such as cookies. The headers of the
    /// handshake must not be among them. For an extended CONNECT use [`response`](Self::response) instead.
    pub fn write_response(&self, out: &mut Vec<u8>, extra: &HeaderMap) {
        let Some(accept) = &self.accept else {
            debug_assert!(false, "an extended CONNECT has no HTTP/1.1 answer");
            return;
        };
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        out.extend_from_slice(accept);
        if let Some(protocol) = self.protocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        if let Some(answer) = &self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            out.extend_from_slice(answer.header().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        write_headers(out, extra);
        out.extend_from_slice(b"\r\n");
    }
}

fn is_standard(version: &[u8]) -> bool {
    version == VERSION.as_bytes()
}

/// Fails if the version is not supported; over HTTP/2 too (RFC 8441 §5).
fn check_version(
    headers: &HeaderMap,
    known: impl FnOnce(&[u8]) -> bool,
    supported: &'static str,
) -> Result<(), HandshakeError> {
    if !headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| known(version.as_bytes())) {
        return Err(HandshakeError::WebSocketVersion { supported });
    }
    Ok(())
}

/// Checks the headers that every version of the protocol has.
pub(crate) fn check_upgrade(parts: &Parts) -> Result<(), HandshakeError> {
    let headers = &parts.headers;
    if parts.method != Method::GET {
        return Err(HandshakeError::Method { method: parts.method.clone() });
    }
    if parts.version != Version::HTTP_11 {
        return Err(HandshakeError::HttpVersion { version: parts.version });
    }
    check_host(parts)?;
    let length = headers.get(CONTENT_LENGTH).map_or(b"0".as_slice(), HeaderValue::as_bytes);
    if length != b"0" || headers.contains_key(TRANSFER_ENCODING) {
        return Err(HandshakeError::Body);
    }
    if !Upgrade::is_asked_for(headers) {
        return Err(HandshakeError::Upgrade);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(HandshakeError::Connection);
    }
    Ok(())
}

/// A request names its host once, in a header or in its URI.
fn check_host(parts: &Parts) -> Result<(), HandshakeError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let named = hosts.next().is_some() || parts.uri.authority().is_some();
    if named && hosts.next().is_none() { Ok(()) } else { Err(HandshakeError::Host) }
}

fn check_protocols(headers: &HeaderMap) -> Result<(), HandshakeError> {
    if list(headers, &SEC_WEBSOCKET_PROTOCOL).all(is_token) { Ok(()) } else { Err(HandshakeError::Protocol) }
}

/// The request's one key, if it decodes to 16 bytes. Clients of the drafts may send another length: `ws` 0.4
/// of npm sends a key of 15 bytes for version 8.
fn single_key(headers: &HeaderMap) -> Result<&[u8], HandshakeError> {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(HandshakeError::Key) };
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key.as_bytes(), &mut nonce) {
        Ok(16) => Ok(key.as_bytes()),
        Ok(1..) if headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") => {
            Ok(key.as_bytes())
        }
        _ => Err(HandshakeError::Key),
    }
}
