//! The client's side of the handshake (RFC 6455 §4.1): a request out, an answer in.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{
    HeaderMap, HeaderName, StatusCode, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    response::Parts,
};
use thiserror::Error;

use crate::deflate::{self, DeflateOptions, DeflateParameters};

use super::{VERSION, accept_key, has_token, head::HeadError, is_token, write_request_headers};

/// The headers that a caller may not set.
const OWN: [HeaderName; 10] = [
    HOST,
    UPGRADE,
    CONNECTION,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_ACCEPT,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
];

/// The reason why a connection did not become a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The bytes are no response.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// No WebSocket can be opened at the URL.
    #[error("the URL {what}")]
    Url {
        /// The fault of the URL.
        what: &'static str,
    },
    /// A subprotocol's name that is not a token.
    #[error("the subprotocol {name:?} is not a token")]
    ProtocolName {
        /// The name.
        name: String,
    },
    /// A header to be sent belongs to the handshake.
    #[error("the header {name} belongs to the handshake")]
    Header {
        /// Its name.
        name: HeaderName,
    },
    /// The server ended the connection before its answer was whole.
    #[error("the server ended the connection without an answer")]
    NoAnswer,
    /// The system gave no random bytes.
    #[error("no random bytes for the key: {0}")]
    Random(getrandom::Error),
    /// The server answered with another status than 101.
    #[error("the server answered {status}")]
    Status {
        /// The status of the answer.
        status: StatusCode,
    },
    /// The answer's `Upgrade` is not `websocket`.
    #[error("the answer does not upgrade to websocket")]
    Upgrade,
    /// The answer's `Connection` has no `upgrade`.
    #[error("the answer's Connection header does not contain upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` does not answer the key that was sent.
    #[error("the answer's Sec-WebSocket-Accept does not match the key")]
    Accept,
    /// The server selected a subprotocol that was not offered, or several.
    #[error("the server selected a subprotocol that was not offered")]
    Protocol,
    /// The server uses an extension that was not offered, or in a way that was not offered.
    #[error("the server uses an extension that was not offered, or in another way than offered")]
    Extension,
}

/// One handshake: the key that was sent, and the subprotocols that were offered.
#[derive(Clone, Debug)]
pub struct Handshake {
    key: [u8; 24],
    protocols: Vec<String>,
    deflate: Option<DeflateOptions>,
}

impl Handshake {
    /// A handshake with a random key that offers `protocols`, the best one first.
    ///
    /// # Errors
    ///
    /// [`ClientError::ProtocolName`] for a name that is no token, [`ClientError::Random`].
    pub fn new(protocols: &[impl AsRef<str>]) -> Result<Self, ClientError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(ClientError::Random)?;
        Self::with_nonce(nonce, protocols)
    }

    /// A handshake with a given nonce, for tests. The nonce of a real handshake is random (RFC 6455 §4.1).
    ///
    /// # Errors
    ///
    /// [`ClientError::ProtocolName`] for a name that is no token.
    pub fn with_nonce(nonce: [u8; 16], protocols: &[impl AsRef<str>]) -> Result<Self, ClientError> {
        if let Some(name) = protocols.iter().map(AsRef::as_ref).find(|name| !is_token(name.as_bytes())) {
            return Err(ClientError::ProtocolName { name: name.to_owned() });
        }
        let mut key = [0; 24];
        let written = BASE64.encode_slice(nonce, &mut key);
        debug_assert_eq!(written.ok(), Some(24), "16 bytes are 24 in base64");
        Ok(Self {
            key,
            protocols: protocols.iter().map(|name| name.as_ref().to_owned()).collect(),
            deflate: None,
        })
    }

    /// The same handshake with an offer of permessage-deflate. [`deflate`](Self::deflate) then gives the
    /// server's choice.
    #[must_use]
    pub fn offer_deflate(mut self, options: DeflateOptions) -> Self {
        self.deflate = Some(options);
        self
    }

    /// Appends the request for `uri` as HTTP/1.1 bytes, with `extra` headers, such as cookies and `Origin`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`] if the URL has no host; [`ClientError::Header`] if an extra header belongs to the
    /// handshake, or announces a body.
    pub fn write_request(&self, out: &mut Vec<u8>, uri: &Uri, extra: &HeaderMap) -> Result<(), ClientError> {
        if let Some(name) = OWN.iter().find(|name| extra.contains_key(*name)) {
            return Err(ClientError::Header { name: name.clone() });
        }
        let authority = uri.authority().ok_or(ClientError::Url { what: "has no host" })?;
        // A user and a password in the URL belong to `Authorization`, not to `Host`.
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let slash = if target.starts_with('/') { "" } else { "/" };
        out.extend_from_slice(format!("GET {slash}{target} HTTP/1.1\r\nHost: {host}\r\n").as_bytes());
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
        out.extend_from_slice(&self.key);
        out.extend_from_slice(format!("\r\nSec-WebSocket-Version: {VERSION}\r\n").as_bytes());
        if !self.protocols.is_empty() {
            let offer = self.protocols.join(", ");
            out.extend_from_slice(format!("Sec-WebSocket-Protocol: {offer}\r\n").as_bytes());
        }
        if let Some(options) = &self.deflate {
            out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            out.extend_from_slice(deflate::offer(options).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        write_request_headers(out, extra);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Checks the answer (RFC 6455 §4.1), and returns the subprotocol that the server selected.
    ///
    /// # Errors
    ///
    /// A [`ClientError`] that names the fault.
    pub fn check(&self, response: &Parts) -> Result<Option<&str>, ClientError> {
        let headers = &response.headers;
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::Status { status: response.status });
        }
        if !has_token(headers, &UPGRADE, "websocket") {
            return Err(ClientError::Upgrade);
        }
        if !has_token(headers, &CONNECTION, "upgrade") {
            return Err(ClientError::Connection);
        }
        let accept = accept_key(&self.key);
        if headers.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value.as_bytes() != accept) {
            return Err(ClientError::Accept);
        }
        self.deflate(response)?;
        let mut selected = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        match (selected.next(), selected.next()) {
            (None, _) => Ok(None),
            (Some(name), None) => {
                let offered = self.protocols.iter().find(|known| known.as_bytes() == name.as_bytes());
                offered.map(|known| Some(known.as_str())).ok_or(ClientError::Protocol)
            }
            _ => Err(ClientError::Protocol),
        }
    }

    /// The compression that the server agreed to. `None` if the server declined, or none was offered.
    ///
    /// # Errors
    ///
    /// [`ClientError::Extension`] where the answer does not fit the offer (RFC 7692 §7).
    pub fn deflate(&self, response: &Parts) -> Result<Option<DeflateParameters>, ClientError> {
        deflate::check_answer(&response.headers, self.deflate.as_ref()).map_err(|_| ClientError::Extension)
    }
}
