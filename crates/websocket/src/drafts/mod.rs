//! The protocols of browsers before RFC 6455, for servers that still let them in.
//!
//! | protocol | announces itself by | spoken by |
//! |---|---|---|
//! | [`hixie`]-75 | no key at all | Chrome 4, Safari 5.0 |
//! | [`hixie`]-76 (hybi-00) | `Sec-WebSocket-Key1` and `-Key2` | Chrome 6–13, Safari 5.0.1–5.1, iOS 4.2–5, Firefox 4, Flash (web-socket-js) |
//! | [`hybi`]-07 | `Sec-WebSocket-Version: 7` | Firefox 6 |
//! | [`hybi`]-08 to -12 | `Sec-WebSocket-Version: 8` | Chrome 14–15, Firefox 7–10, `ws` 0.4 of npm |
//!
//! The later ones differ from RFC 6455 in a number and a header, so that they are an [`Upgrade`] as any
//! other. The earlier ones have a handshake and a framing of their own. [`Request::check`] tells them apart,
//! and [`AnyDecoder`] reads the frames of both.

pub mod hixie;
pub mod hybi;

use http::{HeaderValue, request::Parts};

use crate::{
    Decoder, Message, OwnedMessage, ProtocolError,
    handshake::server::{HandshakeError, Upgrade},
};

/// A request for a WebSocket of any of these protocols, or of RFC 6455. It is in order and can be answered.
///
/// ```
/// use switchboard_websocket::drafts::Request;
///
/// let (parts, ()) = http::Request::get("/demo")
///     .header("Host", "example.com")
///     .header("Upgrade", "WebSocket")
///     .header("Connection", "Upgrade")
///     .header("Origin", "http://example.com")
///     .header("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5")
///     .header("Sec-WebSocket-Key2", "12998 5 Y3 1  .P00")
///     .body(()).unwrap().into_parts();
///
/// let Request::Hixie(upgrade) = Request::check(&parts).unwrap() else { panic!("has two keys") };
/// let challenge = upgrade.challenge().unwrap();
/// assert_eq!(&challenge.answer(*b"^n:ds[4U"), b"8jKS'y:G*Co,Wxa-");
/// ```
#[derive(Clone, Debug)]
pub enum Request<'a> {
    /// RFC 6455, or one of the drafts [`hybi`]-07 to -12, which have the same framing.
    Rfc6455(Upgrade<'a>),
    /// One of the drafts [`hixie`]-75 and -76.
    Hixie(hixie::Upgrade<'a>),
}

impl<'a> Request<'a> {
    /// Checks a request by the rules of its protocol. The caller checks the origin, which [`origin`] finds.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] that names the fault and has the answer. A request for another version gets a 426
    /// with `Sec-WebSocket-Version: 13, 8, 7`.
    pub fn check(parts: &'a Parts) -> Result<Self, HandshakeError> {
        if hixie::Upgrade::is_asked_for(parts) {
            hixie::Upgrade::check(parts).map(Self::Hixie)
        } else {
            hybi::check(parts).map(Self::Rfc6455)
        }
    }

    /// Selects the first of the client's subprotocols that is `supported`, and names it in the answer.
    pub fn select(&mut self, supported: &[impl AsRef<str>]) -> Option<&'a str> {
        match self {
            Self::Rfc6455(upgrade) => upgrade.select(supported),
            Self::Hixie(upgrade) => upgrade.select(supported),
        }
    }
}

/// The origin of the page that sends a request: `Origin`, or the `Sec-WebSocket-Origin` of clients before
/// version 13. No page can set either header.
pub fn origin(headers: &http::HeaderMap) -> Option<&HeaderValue> {
    headers.get(http::header::ORIGIN).or_else(|| headers.get(hybi::ORIGIN))
}

/// Decodes the bytes of a peer, in the framing that both ends agreed on.
///
/// It is not larger than a [`Decoder`]: the rare decoder is boxed.
#[derive(Debug)]
pub enum AnyDecoder {
    /// The frames of RFC 6455.
    Rfc6455(Decoder),
    /// The frames of hixie-75 and -76.
    Hixie(Box<hixie::Decoder>),
}

impl AnyDecoder {
    /// As [`Decoder::decode`] and [`hixie::Decoder::decode`].
    ///
    /// # Errors
    ///
    /// The same.
    #[inline]
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        match self {
            Self::Rfc6455(decoder) => decoder.decode(input, pos),
            Self::Hixie(decoder) => decoder.decode(input, pos),
        }
    }

    /// As [`Decoder::decode_owned`] and [`hixie::Decoder::decode_owned`].
    ///
    /// # Errors
    ///
    /// The same.
    #[inline]
    pub fn decode_owned(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
    ) -> Result<Option<OwnedMessage>, ProtocolError> {
        match self {
            Self::Rfc6455(decoder) => decoder.decode_owned(input, pos),
            Self::Hixie(decoder) => decoder.decode_owned(input, pos),
        }
    }

    /// As [`Decoder::room`]. There is none for the frames of hixie, which do not announce their length.
    #[inline]
    pub fn room(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Rfc6455(decoder) => decoder.room(),
            Self::Hixie(_) => None,
        }
    }

    /// As [`Decoder::fill`].
    pub fn fill(&mut self, n: usize) {
        if let Self::Rfc6455(decoder) = self {
            decoder.fill(n);
        }
    }

    /// As [`Decoder::is_idle`] and [`hixie::Decoder::is_idle`].
    #[inline]
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Rfc6455(decoder) => decoder.is_idle(),
            Self::Hixie(decoder) => decoder.is_idle(),
        }
    }

    /// As [`Decoder::unfinished_message`] and [`hixie::Decoder::unfinished_message`].
    #[inline]
    pub fn unfinished_message(&self) -> Option<usize> {
        match self {
            Self::Rfc6455(decoder) => decoder.unfinished_message(),
            Self::Hixie(decoder) => decoder.unfinished_message(),
        }
    }

    /// As [`Decoder::held_bytes`] and [`hixie::Decoder::held_bytes`].
    #[inline]
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Rfc6455(decoder) => decoder.held_bytes(),
            Self::Hixie(decoder) => decoder.held_bytes(),
        }
    }

    /// As [`Decoder::shrink`] and [`hixie::Decoder::shrink`].
    #[inline]
    pub fn shrink(&mut self) {
        match self {
            Self::Rfc6455(decoder) => decoder.shrink(),
            Self::Hixie(decoder) => decoder.shrink(),
        }
    }
}

impl From<Decoder> for AnyDecoder {
    fn from(decoder: Decoder) -> Self {
        Self::Rfc6455(decoder)
    }
}

impl From<hixie::Decoder> for AnyDecoder {
    fn from(decoder: hixie::Decoder) -> Self {
        Self::Hixie(Box::new(decoder))
    }
}
