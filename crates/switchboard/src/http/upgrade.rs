//! The handshake of a WebSocket as a decision: over HTTP/1.1, by extended CONNECT, and of the drafts before
//! RFC 6455.

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_VERSION;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use switchboard_websocket::deflate::DeflateOptions;
use switchboard_websocket::drafts::{self, hixie};
use switchboard_websocket::handshake::server::{HandshakeError, Upgrade as Rfc6455};

use super::hixie::DraftAnswer;
use super::http2::connect_protocol;
use super::mount::{RequestHead, Upgrade, UpgradeTarget};
use super::{Answer, plain, refused, refusing};
use crate::proxies::forwarded_hosts;
use crate::transport::deflate::Compression;
use crate::transport::wire::Wire;

/// A request for a WebSocket that is in order.
#[derive(Debug)]
pub struct WebSocketRequest<'a> {
    asked: drafts::Request<'a>,
    /// The draft before RFC 6455 that it is of.
    draft: Option<&'static str>,
}

impl<'a> WebSocketRequest<'a> {
    /// Judges a request for a WebSocket: over HTTP/1.1, by extended CONNECT, and of the drafts before RFC
    /// 6455 where these are on.
    ///
    /// # Errors
    /// The answer.
    pub fn check(head: &RequestHead<'a>) -> Result<Self, Answer> {
        Self::judge(head).map_err(|error| {
            refused("websocket", "bad handshake");
            refusing(error.response().map(Bytes::from).map(Into::into), "bad handshake")
        })
    }

    fn judge(head: &RequestHead<'a>) -> Result<Self, HandshakeError> {
        let parts = head.parts;
        let standard = |upgrade| Self { asked: drafts::Request::Rfc6455(upgrade), draft: None };
        if parts.version >= Version::HTTP_2 {
            return Rfc6455::check_connect(parts, connect_protocol(parts)).map(standard);
        }
        if !head.drafts {
            return Rfc6455::check(parts).map(standard);
        }
        Ok(match drafts::Request::check(parts)? {
            drafts::Request::Rfc6455(upgrade) => {
                let version = parts.headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
                let draft = match version {
                    Some(b"7") => Some("hybi-07"),
                    Some(b"8") => Some("hybi-08"),
                    _ => None,
                };
                Self { draft, ..standard(upgrade) }
            }
            drafts::Request::Hixie(upgrade) => {
                let draft = match upgrade.version() {
                    hixie::Version::Hixie75 => "hixie-75",
                    hixie::Version::Hixie76 => "hixie-76",
                };
                // The client compares the URL in the answer with the one it asked for. The leftmost proxy was
                // nearest to it.
                let forwarded = forwarded_hosts(&parts.headers).last().filter(|_| head.peer.proxied);
                let upgrade = upgrade.secure(head.peer.secure);
                let upgrade = if let Some(host) = forwarded { upgrade.host(host) } else { upgrade };
                Self { asked: drafts::Request::Hixie(upgrade), draft: Some(draft) }
            }
        })
    }

    /// Selects the first of the client's subprotocols that is supported, and names it in the answer.
    pub fn select(&mut self, supported: &[impl AsRef<str>]) -> Option<&'a str> {
        self.asked.select(supported)
    }

    /// The upgrade, with the answer of the protocol that was asked for, and these headers besides.
    pub fn accept<T: UpgradeTarget + 'static>(
        self,
        extra: HeaderMap,
        deflate: Option<&DeflateOptions>,
        target: impl FnOnce(Wire) -> T,
    ) -> Upgrade {
        if let Some(draft) = self.draft {
            metrics::counter!("switchboard_draft_handshakes_total", "draft" => draft).increment(1);
        }
        match self.asked {
            drafts::Request::Rfc6455(mut upgrade) => {
                let wire = Compression::accept(&mut upgrade, deflate).map_or(Wire::Rfc6455, Wire::Deflate);
                let mut response = upgrade.response();
                // Mostly there are none, and making room for none takes its time as well.
                if !extra.is_empty() {
                    response.headers_mut().extend(extra);
                }
                Upgrade { response, draft: None, streaming: None, target: Box::new(target(wire)) }
            }
            drafts::Request::Hixie(upgrade) => {
                let mut head = Vec::with_capacity(512);
                upgrade.write_response(&mut head, &extra);
                let mut response = upgrade.response();
                response.headers_mut().extend(extra);
                response.extensions_mut().insert(ReasonPhrase::from_static(upgrade.reason().as_bytes()));
                let draft = Box::new(DraftAnswer { head, challenge: upgrade.challenge() });
                let target = target(Wire::Hixie(upgrade.version()));
                Upgrade { response, draft: Some(draft), streaming: None, target: Box::new(target) }
            }
        }
    }
}

/// The answer to a page whose origin is not let in, in plain words.
pub(crate) fn refuse_origin(origin: &str) -> Answer {
    refused("http", "origin");
    let words = format!("origin {origin} is not allowed: see the option `origins`\n");
    refusing(plain(StatusCode::FORBIDDEN, words), "origin")
}
