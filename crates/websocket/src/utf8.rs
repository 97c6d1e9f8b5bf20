//! UTF-8 checked as it streams (RFC 6455 §8.1): a bad byte is known when the input it came in is used up, and a code point may be
//! split between frames and between reads.

use simdutf8::{basic, compat};

use crate::buffer::Buffer;

/// Text that comes in pieces. They are checked together when the input ends or the text does: small ones are not
/// worth a check each.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer {
    buffer: Buffer,
    /// Bytes that are checked: whole code points.
    checked: usize,
}

/// A whole text. What says where it is bad is slower, and so asked only when it is.
#[inline]
pub(crate) fn check_whole(bytes: &[u8]) -> Result<&str, BadUtf8> {
    basic::from_utf8(bytes).map_err(|_| BadUtf8 { offset: first_bad(bytes) })
}

fn first_bad(bytes: &[u8]) -> usize {
    compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len)
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
    pub(crate) fn new(buffer: Buffer) -> Self {
        Self { buffer, checked: 0 }
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The buffer, to add bytes to.
    pub(crate) fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Fails if no text could begin with what has come so far.
    pub(crate) fn check(&mut self) -> Result<(), BadUtf8> {
        let rest = self.buffer.as_slice().get(self.checked..).unwrap_or_default();
        let (whole, split) = rest.split_at_checked(rest.len() - split_len(rest)).unwrap_or_default();
        if basic::from_utf8(whole).is_err() {
            return Err(BadUtf8 { offset: self.checked + first_bad(whole) });
        }
        self.checked += whole.len();
        if split.is_empty() {
            return Ok(());
        }
        match std::str::from_utf8(split) {
            Err(error) if error.error_len().is_some() => Err(BadUtf8 { offset: self.checked }),
            _ => Ok(()),
        }
    }

    /// Checks the text, which is all there: it must not end within a code point.
    pub(crate) fn finish(&mut self) -> Result<(), BadUtf8> {
        self.check()?;
        if self.checked == self.len() { Ok(()) } else { Err(BadUtf8 { offset: self.checked }) }
    }

    /// The text as far as it is checked: all of it behind [`finish`](Self::finish).
    pub(crate) fn text(&self) -> &str {
        let text = self.buffer.as_slice().get(..self.checked).unwrap_or_default();
        // SAFETY: `checked` grows in `check` alone, by as many bytes as were found to be UTF-8 there, each where the bytes before
        // it ended; and the buffer is only appended to. To check all of it again would halve the speed of long texts.
        #[allow(unsafe_code)]
        unsafe {
            std::str::from_utf8_unchecked(text)
        }
    }

    /// Gives the text away, as far as it is checked.
    pub(crate) fn into_text(self) -> String {
        let Self { buffer, checked } = self;
        let mut text = buffer.into_vec();
        text.truncate(checked);
        // SAFETY: as in `text`.
        #[allow(unsafe_code)]
        unsafe {
            String::from_utf8_unchecked(text)
        }
    }
}

/// How many bytes at the end may be the beginning of a code point that is not whole: 0 to 3.
fn split_len(bytes: &[u8]) -> usize {
    let lead_of = |len: usize| match bytes.len().checked_sub(len).and_then(|at| bytes.get(at)) {
        Some(0xC0..) if len == 1 => true,
        Some(0xE0..) if len == 2 => true,
        Some(0xF0..) if len == 3 => true,
        _ => false,
    };
    (1..=3).find(|&len| lead_of(len)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the safe twin of what `TextBuffer` does, which checks all that has come with each piece.
    fn checked_again(bytes: &[u8]) -> Result<usize, BadUtf8> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.len()),
            Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
            Err(error) => Err(BadUtf8 { offset: error.valid_up_to() }),
        }
    }

    fn agrees(bytes: &[u8], pieces: &[usize]) {
        let mut text = TextBuffer::new(Buffer::default());
        let mut pushed = 0;
        for piece in pieces.iter().cycle() {
            let end = (pushed + piece).min(bytes.len());
            text.buffer().push(&bytes[pushed..end]);
            pushed = end;
            let expected = checked_again(&bytes[..pushed]);
            assert_eq!(text.check().map(|()| text.checked), expected);
            if expected.is_err() {
                return;
            }
            assert_eq!(text.text().as_bytes(), &bytes[..text.checked]);
            if pushed == bytes.len() {
                break;
            }
        }
        let whole = std::str::from_utf8(bytes);
        assert_eq!(text.finish().is_ok(), whole.is_ok());
        if let Ok(whole) = whole {
            assert_eq!(text.into_text(), whole);
        }
    }

    #[test]
    fn each_bad_beginning_of_a_code_point_is_known_at_its_first_bad_byte() {
        for bytes in [
            &b"\xC0"[..],
            b"\xC1",
            b"\xF5",
            b"\xFF",
            b"\x80",
            b"\xE0\x80",
            b"\xED\xA0",
            b"\xF0\x80",
            b"\xF4\x90",
            b"\xE2\x28",
            b"\xF0\x9F\x28",
            b"\xF0\x9F\x98\xF0",
            b"a\xC3",
            b"\xE2\x82",
            b"\xF0\x9F\x98",
        ] {
            for piece in 1..=4 {
                agrees(bytes, &[piece]);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_judged_as_the_standard_library_does(
            text in "\\PC{0,60}",
            flip in any::<(bool, prop::sample::Index, u8)>(),
            pieces in prop::collection::vec(1usize..20, 1..10),
        ) {
            let mut bytes = text.into_bytes();
            let (flipped, at, with) = flip;
            if flipped && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            agrees(&bytes, &pieces);
        }
    }
}
