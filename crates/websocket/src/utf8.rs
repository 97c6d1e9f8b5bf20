//! UTF-8 checked as it streams (RFC 6455 §8.1): a bad byte is known when it comes, and a code point may
//! be split between frames and between reads.

use simdutf8::compat;

/// Text that comes in pieces: what is checked, and the beginning of a code point that is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer {
    text: String,
    split: [u8; 4],
    split_len: usize,
}

/// Checks a text from `from` on as far as it has come, and returns how many bytes that are whole code points.
pub(crate) fn check_beginning(text: &[u8], from: usize) -> Result<usize, BadUtf8> {
    let rest = text.get(from..).unwrap_or_default();
    match compat::from_utf8(rest) {
        Ok(good) => Ok(good.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(error) => Err(BadUtf8 { offset: from + error.valid_up_to() }),
    }
}

/// Where in the text the first bad sequence begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadUtf8 {
    pub(crate) offset: usize,
}

impl TextBuffer {
    /// Bytes held, a split code point included.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.split_len
    }

    /// Appends the next piece, or fails if no text could begin with what has come so far.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), BadUtf8> {
        while self.split_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.join(byte)?;
            piece = rest;
        }
        match compat::from_utf8(piece) {
            Ok(text) => self.text.push_str(text),
            Err(error) => {
                let (good, rest) = piece.split_at_checked(error.valid_up_to()).unwrap_or_default();
                if error.error_len().is_some() {
                    return Err(BadUtf8 { offset: self.text.len() + good.len() });
                }
                // Checked just above, so this cannot fail; were it to, the text would be refused.
                let good = compat::from_utf8(good).map_err(|_| BadUtf8 { offset: self.text.len() })?;
                self.text.push_str(good);
                for (slot, byte) in self.split.iter_mut().zip(rest) {
                    *slot = *byte;
                }
                self.split_len = rest.len();
            }
        }
        Ok(())
    }

    /// Adds one byte to the split code point, and the code point to the text once it is whole.
    fn join(&mut self, byte: u8) -> Result<(), BadUtf8> {
        let bad = BadUtf8 { offset: self.text.len() };
        let Some(slot) = self.split.get_mut(self.split_len) else { return Err(bad) };
        *slot = byte;
        self.split_len += 1;
        match std::str::from_utf8(self.split.get(..self.split_len).unwrap_or_default()) {
            Ok(text) => {
                self.text.push_str(text);
                self.split_len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(bad),
        }
    }

    /// The text, or an error if it ends within a code point.
    pub(crate) fn finish(&self) -> Result<&str, BadUtf8> {
        if self.split_len > 0 { Err(BadUtf8 { offset: self.text.len() }) } else { Ok(&self.text) }
    }

    /// Gives the text away.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
