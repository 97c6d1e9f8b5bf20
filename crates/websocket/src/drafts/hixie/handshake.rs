//! The server's side of the handshake (hixie-75 §4, hixie-76 §5).

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};
use md5::{Digest, Md5};

use crate::handshake::{
    has_token, is_token, list,
    server::{HandshakeError, check_upgrade},
    write_headers,
};

/// Bytes that a client of hixie-76 sends behind the head of its request.
pub const KEY_BODY_BYTES: usize = 8;

const KEY1: HeaderName = HeaderName::from_static("sec-websocket-key1");
const KEY2: HeaderName = HeaderName::from_static("sec-websocket-key2");
static PROTOCOL_75: HeaderName = HeaderName::from_static("websocket-protocol");
static PROTOCOL_76: HeaderName = SEC_WEBSOCKET_PROTOCOL;

/// One of the two drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// hixie-75: no keys, and no close but the end of the connection.
    Hixie75,
    /// hixie-76, also known as hybi-00.
    Hixie76,
}

/// The challenge of hixie-76. Its answer proves that the server has read the two keys of the request and the
/// eight bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    numbers: [u32; 2],
}

impl Challenge {
    /// The body of the answer, for the bytes that came behind the request's head.
    pub fn answer(self, body: [u8; KEY_BODY_BYTES]) -> [u8; 16] {
        let mut hash = Md5::new();
        for number in self.numbers {
            hash.update(number.to_be_bytes());
        }
        hash.update(body);
        hash.finalize().into()
    }
}

/// A request for a WebSocket of hixie-75 or -76 that is in order and can be answered.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    challenge: Option<Challenge>,
    parts: &'a Parts,
    host: &'a str,
    origin: &'a HeaderValue,
    secure: bool,
    protocol: Option<&'a str>,
}

impl<'a> Upgrade<'a> {
    /// Whether a request asks for one of these drafts: for a WebSocket, without a version and without a key
    /// of the later protocols.
    pub fn is_asked_for(parts: &Parts) -> bool {
        let headers = &parts.headers;
        has_token(headers, &UPGRADE, "websocket")
            && !headers.contains_key(SEC_WEBSOCKET_VERSION)
            && !headers.contains_key(SEC_WEBSOCKET_KEY)
    }

    /// Checks a request. The caller checks the origin, which these drafts demand.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] that names the fault and has the answer.
    pub fn check(parts: &'a Parts) -> Result<Self, HandshakeError> {
        check_upgrade(parts)?;
        let headers = &parts.headers;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).ok_or(HandshakeError::Host)?;
        let origin = headers.get(ORIGIN).ok_or(HandshakeError::NoOrigin)?;
        let challenge = match (single(headers, &KEY1)?, single(headers, &KEY2)?) {
            (None, None) => None,
            (Some(first), Some(second)) => Some(Challenge { numbers: [number(first)?, number(second)?] }),
            _ => return Err(HandshakeError::HixieKeys),
        };
        let upgrade = Self { challenge, parts, host, origin, secure: false, protocol: None };
        if !list(headers, upgrade.protocol_header()).all(is_token) {
            return Err(HandshakeError::Protocol);
        }
        Ok(upgrade)
    }

    /// The draft that the client speaks.
    pub fn version(&self) -> Version {
        if self.challenge.is_some() { Version::Hixie76 } else { Version::Hixie75 }
    }

    /// The challenge, whose answer is the body of the server's answer. `None` in hixie-75, where there is no
    /// body.
    pub fn challenge(&self) -> Option<Challenge> {
        self.challenge
    }

    /// The subprotocols that the client offers, the best one first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        list(&self.parts.headers, self.protocol_header()).filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Selects the first of the client's subprotocols that is `supported`, and names it in the answer.
    pub fn select(&mut self, supported: &[impl AsRef<str>]) -> Option<&'a str> {
        self.protocol = self.protocols().find(|name| supported.iter().any(|known| known.as_ref() == *name));
        self.protocol
    }

    /// Sets whether the client came over TLS, to this server or to a proxy. The answer names the URL that the
    /// client asked for, `ws://` or `wss://`, and the client compares it. Default: without TLS.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets the host and port that the client asked for, where a proxy has changed `Host`.
    #[must_use]
    pub fn host(mut self, host: &'a str) -> Self {
        self.host = host;
        self
    }

    /// The reason phrase of the answer, behind 101. Clients of hixie-75 compare it.
    pub fn reason(&self) -> &'static str {
        match self.version() {
            Version::Hixie75 => "Web Socket Protocol Handshake",
            Version::Hixie76 => "WebSocket Protocol Handshake",
        }
    }

    /// The head of the answer, for a host that writes it itself. The host chooses the reason phrase and the
    /// case of the headers' names. Clients of hixie-75, which compare both, do not accept it.
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        self.each_line(|name, value| {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                headers.insert(name, value);
            }
        });
        response
    }

    /// Appends the head of the answer, with `extra` headers. In hixie-76 the [answer to the
    /// challenge](Challenge::answer) follows when the client's eight bytes have come.
    pub fn write_response(&self, out: &mut Vec<u8>, extra: &HeaderMap) {
        out.extend_from_slice(b"HTTP/1.1 101 ");
        out.extend_from_slice(self.reason().as_bytes());
        // hixie-75 demands these two lines first, and in this form.
        out.extend_from_slice(b"\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n");
        self.each_line(|name, value| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        });
        write_headers(out, extra);
        out.extend_from_slice(b"\r\n");
    }

    /// The headers of the answer that depend on the request.
    fn each_line(&self, mut line: impl FnMut(&'static str, &[u8])) {
        let [origin, location, protocol] = match self.version() {
            Version::Hixie75 => ["WebSocket-Origin", "WebSocket-Location", "WebSocket-Protocol"],
            Version::Hixie76 => ["Sec-WebSocket-Origin", "Sec-WebSocket-Location", "Sec-WebSocket-Protocol"],
        };
        line(origin, self.origin.as_bytes());
        let scheme = if self.secure { "wss" } else { "ws" };
        let target = self.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        line(location, format!("{scheme}://{}{target}", self.host).as_bytes());
        if let Some(selected) = self.protocol {
            line(protocol, selected.as_bytes());
        }
    }

    fn protocol_header(&self) -> &'static HeaderName {
        match self.version() {
            Version::Hixie75 => &PROTOCOL_75,
            Version::Hixie76 => &PROTOCOL_76,
        }
    }
}

/// The one value of a header; `None` where the header is missing.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, HandshakeError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
        _ => Err(HandshakeError::HixieKeys),
    }
}

/// The number of a key: its digits, read as one number, divided by the number of its spaces (hixie-76 §5.2).
fn number(key: &[u8]) -> Result<u32, HandshakeError> {
    let (mut digits, mut spaces) = (0_u32, 0_u32);
    for &byte in key {
        match byte {
            b'0'..=b'9' => {
                let longer = digits.checked_mul(10).and_then(|tens| tens.checked_add(u32::from(byte - b'0')));
                digits = longer.ok_or(HandshakeError::HixieKeys)?;
            }
            b' ' => spaces = spaces.saturating_add(1),
            _ => {}
        }
    }
    match (digits.checked_div(spaces), digits.checked_rem(spaces)) {
        (Some(number), Some(0)) => Ok(number),
        _ => Err(HandshakeError::HixieKeys),
    }
}
