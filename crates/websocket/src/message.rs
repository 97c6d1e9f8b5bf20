//! Messages: the decoder gives borrowed ones, the stream gives owned ones.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::{CloseCode, CloseFrame, Opcode, OwnedCloseFrame, ProtocolError, utf8::check_whole};

/// A whole message, or a control frame, as [`Decoder::decode`](crate::Decoder::decode) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping: answer it with a pong of the same payload (RFC 6455 §5.5.2).
    Ping(&'a [u8]),
    /// A pong, asked for or not.
    Pong(&'a [u8]),
    /// The peer closes. Nothing after it means anything.
    Close(Option<CloseFrame<'a>>),
}

impl<'a> Message<'a> {
    /// Makes a message of one whole frame, whose payload is not masked any more.
    pub(crate) fn parse(opcode: Opcode, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        Ok(match opcode {
            Opcode::Text => Self::Text(check_whole(payload)?),
            Opcode::Binary => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong(payload),
            Opcode::Close => Self::Close(CloseFrame::parse(payload)?),
            Opcode::Continuation => return Err(ProtocolError::UnexpectedContinuation),
        })
    }
}

/// A message that owns its payload. A [`WebSocketStream`](crate::WebSocketStream) gives and takes such
/// messages.
///
/// ```
/// use switchboard_websocket::OwnedMessage;
///
/// let message = OwnedMessage::from("hello");
/// assert_eq!(message.as_str(), Some("hello"));
/// assert_eq!(message.as_bytes(), b"hello");
/// assert_eq!(message.into_text(), Ok("hello".to_owned()));
/// assert_eq!(OwnedMessage::binary(*b"\x01\x02").into_bytes(), [1, 2]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping. The stream answers the pings that it receives.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The peer closes. It may have given a code and a reason.
    Close(Option<OwnedCloseFrame>),
}

impl OwnedMessage {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Binary(bytes.into())
    }

    /// A Close frame. A reason over 123 bytes is cut when the frame is sent.
    pub fn close(code: CloseCode, reason: impl Into<String>) -> Self {
        Self::Close(Some(OwnedCloseFrame { code, reason: reason.into() }))
    }

    /// Whether this is a text message.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    pub const fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Whether this is a text or binary message, and no control frame.
    pub const fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// Whether the peer closes.
    pub const fn is_close(&self) -> bool {
        matches!(self, Self::Close(_))
    }

    /// The text of a text message; `None` for all others.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The payload. The payload of a close is its reason.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
            Self::Close(frame) => frame.as_ref().map_or(&[], |frame| frame.reason.as_bytes()),
        }
    }

    /// The length of the payload in bytes: see [`as_bytes`](Self::as_bytes).
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The text of a text message, without a copy.
    ///
    /// # Errors
    ///
    /// The message itself, where it is no text message.
    pub fn into_text(self) -> Result<String, Self> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other),
        }
    }

    /// The payload, without a copy. The payload of a close is its reason.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
            Self::Close(frame) => frame.map(|frame| frame.reason.into_bytes()).unwrap_or_default(),
        }
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Message::Close(frame) => Self::Close(frame.map(OwnedCloseFrame::from)),
        }
    }
}

macro_rules! from_payload {
    ($($payload:ty => $variant:ident),* $(,)?) => {$(
        impl From<$payload> for OwnedMessage {
            fn from(payload: $payload) -> Self {
                Self::$variant(payload.into())
            }
        }
    )*};
}

from_payload! {
    String => Text,
    &str => Text,
    Box<str> => Text,
    Cow<'_, str> => Text,
    Vec<u8> => Binary,
    &[u8] => Binary,
    Box<[u8]> => Binary,
    Bytes => Binary,
    BytesMut => Binary,
}

impl<const N: usize> From<[u8; N]> for OwnedMessage {
    fn from(bytes: [u8; N]) -> Self {
        Self::Binary(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for OwnedMessage {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Binary(bytes.to_vec())
    }
}

impl From<OwnedCloseFrame> for OwnedMessage {
    fn from(frame: OwnedCloseFrame) -> Self {
        Self::Close(Some(frame))
    }
}
