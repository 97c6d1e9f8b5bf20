//! Texts that were encoded in UTF-8 twice.
//!
//! Clients of Socket.IO 1.0 run every string through a UTF-8 encoder before they send it, and their transport
//! does it again. Later clients of 1.x do so on polling in the string form alone, those of 2.x never. No
//! request says which client sent it, so the texts themselves decide.

use std::borrow::Cow;

/// What is known of the encoder of a client's texts on one transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// All texts so far were ASCII.
    #[default]
    Unknown,
    /// The texts are plain.
    Plain,
    /// The texts were encoded twice.
    Twice,
}

/// Decodes the texts of one client on one transport, whether they were encoded once or twice.
///
/// The first text that is not ASCII decides, and each later one that contradicts. A text that was encoded twice
/// has characters up to U+00FF alone, and these characters, taken as bytes, are UTF-8. A person's own text is
/// hardly ever so (`Ã©`, for example, is).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextDecoder(Encoding);

impl TextDecoder {
    /// What is known by now.
    pub fn encoding(self) -> Encoding {
        self.0
    }

    /// The client's own text.
    pub fn decode<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        if text.is_ascii() || self.0 == Encoding::Plain {
            return Cow::Borrowed(text);
        }
        let decoded = bytes_of(text).map(String::from_utf8);
        let decoded = match decoded {
            Some(Ok(decoded)) => Some(decoded),
            // Such clients write half of an emoji as bytes that are not UTF-8.
            Some(Err(bad)) if self.0 == Encoding::Twice => {
                Some(String::from_utf8_lossy(bad.as_bytes()).into())
            }
            Some(Err(_)) | None => None,
        };
        self.0 = if decoded.is_some() { Encoding::Twice } else { Encoding::Plain };
        decoded.map_or(Cow::Borrowed(text), Cow::Owned)
    }
}

/// The bytes that these characters stand for, one each. `None`: one of them is no byte.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect()
}
