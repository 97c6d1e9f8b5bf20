//! A message of a service of plain messages, and what its functions may return.

/// A message, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Binary.
    Binary(&'a [u8]),
}

impl Message<'_> {
    /// The message's bytes, whichever it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Message::Binary(bytes)
    }
}

/// What a function of a raw service may return: nothing, or a `Result` of nothing. An error closes the connection with 1011.
pub trait IntoResult {
    /// As a result.
    ///
    /// # Errors
    /// The function's own.
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
