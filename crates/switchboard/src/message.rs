//! A message of a service of plain messages, and the results that its functions may return.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

/// A message, borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Binary.
    Binary(&'a [u8]),
}

impl Message<'_> {
    /// The message's bytes, for text and binary alike.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// A message that owns its bytes and so may outlive the read buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedMessage {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Vec<u8>),
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

/// A value that can be sent as a message: text, bytes, and types that own or refer to either.
pub trait AsMessage {
    /// The value as a message.
    fn as_message(&self) -> Message<'_>;
}

impl<T: AsMessage + ?Sized> AsMessage for &T {
    fn as_message(&self) -> Message<'_> {
        T::as_message(self)
    }
}

impl AsMessage for Message<'_> {
    fn as_message(&self) -> Message<'_> {
        *self
    }
}

impl AsMessage for OwnedMessage {
    fn as_message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

macro_rules! as_message {
    ($($kind:ident: $($type:ty),+;)+) => {
        $($(
            impl AsMessage for $type {
                fn as_message(&self) -> Message<'_> {
                    Message::$kind(self)
                }
            }
        )+)+
    };
}

as_message! {
    Text: str, String, Box<str>, Arc<str>, Cow<'_, str>;
    Binary: [u8], Vec<u8>, Box<[u8]>, Arc<[u8]>, Cow<'_, [u8]>, Bytes;
}

impl<const N: usize> AsMessage for [u8; N] {
    fn as_message(&self) -> Message<'_> {
        Message::Binary(self)
    }
}

/// A result that a function of a raw service may return: nothing, or a `Result` of nothing. An error closes
/// the connection with 1011.
pub trait IntoResult {
    /// The value as a result.
    ///
    /// # Errors
    /// The function's own error.
    fn into_result(self) -> crate::Result;
}

impl IntoResult for () {
    fn into_result(self) -> crate::Result {
        Ok(())
    }
}

impl<E: Into<crate::Error>> IntoResult for Result<(), E> {
    fn into_result(self) -> crate::Result {
        self.map_err(Into::into)
    }
}
