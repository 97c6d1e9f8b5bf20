//! UTF-8 checked as it streams (RFC 6455 §8.1). A bad byte is found when its input is used up. A code point
//! may be split between frames and between reads.
//!
//! On x86-64 with AVX2 our own vectors ([`vectors`]) check a text. `simdutf8` checks it on other processors,
//! and finds the place where a text is bad.
//!
//! The table compares the speed of our vectors with that of `simdutf8` on 64 KiB at once, for a text in
//! pieces that are cut within code points (AMD EPYC, Zen 5; `cargo bench --bench codec -- utf8`):
//!
//! | pieces | ASCII | Korean |
//! |---|---|---|
//! | whole, and in halves | 1.1 to 1.3 | 1.35 |
//! | of 4 KiB | 1.1 | 1.3 |
//! | of 1460 bytes, and of 1 KiB | 0.95 to 1.0 | 1.2 |
//! | of 256 bytes | 0.6 | 0.95 |
//!
//! `simdutf8` on each such piece is slower in all of them: by a half for 1460 bytes of ASCII, by a tenth for
//! 256 bytes, and it has half our speed or less below 130 bytes.

use simdutf8::{basic, compat};

use crate::buffer::Buffer;

#[cfg(target_arch = "x86_64")]
mod vectors;

/// Text that comes in pieces. The pieces are checked together when the input ends or the text ends, because a
/// check of each small piece costs too much.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer {
    buffer: Buffer,
    progress: Progress,
}

/// The part of a growing text that is checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes that are checked. They are whole code points.
    checked: usize,
}

impl Progress {
    /// Fails if no text begins with `text`, which has all bytes that have come. It does not check again the
    /// bytes that were checked before.
    #[inline]
    pub(crate) fn check(&mut self, text: &[u8]) -> Result<(), BadUtf8> {
        #[cfg(target_arch = "x86_64")]
        if let Some(checked) = vectors::check(text, self.checked) {
            self.checked = checked;
            return Ok(());
        }
        self.check_plain(text)
    }

    /// The same check without our vectors. It also finds the place where a text is bad.
    #[inline(never)]
    fn check_plain(&mut self, text: &[u8]) -> Result<(), BadUtf8> {
        let rest = text.get(self.checked..).unwrap_or_default();
        let (whole, split) = rest.split_at_checked(rest.len() - split_len(rest)).unwrap_or_default();
        if basic::from_utf8(whole).is_err() {
            return Err(BadUtf8 { offset: self.checked + first_bad(whole) });
        }
        self.checked += whole.len();
        match std::str::from_utf8(split) {
            Err(error) if error.error_len().is_some() => Err(BadUtf8 { offset: self.checked }),
            _ => Ok(()),
        }
    }
}

/// Checks a whole text. The search for the place where it is bad is slower, and is only done for a bad text.
#[inline]
pub(crate) fn check_whole(bytes: &[u8]) -> Result<&str, BadUtf8> {
    #[cfg(target_arch = "x86_64")]
    if vectors::check(bytes, 0) == Some(bytes.len()) {
        // SAFETY: all of it is whole code points, as `vectors::check` has told.
        #[allow(unsafe_code, reason = "a second check would read the text again")]
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    basic::from_utf8(bytes).map_err(|_| BadUtf8 { offset: first_bad(bytes) })
}

fn first_bad(bytes: &[u8]) -> usize {
    compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len)
}

/// The place in the text where the first bad sequence begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadUtf8 {
    pub(crate) offset: usize,
}

impl TextBuffer {
    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The buffer, to add bytes to.
    pub(crate) fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Fails if no text begins with the bytes that have come.
    pub(crate) fn check(&mut self) -> Result<(), BadUtf8> {
        self.progress.check(self.buffer.as_slice())
    }

    /// Checks the whole text: it must not end within a code point.
    pub(crate) fn finish(&mut self) -> Result<(), BadUtf8> {
        self.check()?;
        let Progress { checked } = self.progress;
        if checked == self.len() { Ok(()) } else { Err(BadUtf8 { offset: checked }) }
    }

    /// The part of the text that is checked. After [`finish`](Self::finish) this is all of it.
    pub(crate) fn text(&self) -> &str {
        let text = self.buffer.as_slice().get(..self.progress.checked).unwrap_or_default();
        // SAFETY: `checked` grows in `Progress` alone, by as many bytes as were found to be whole code points
        // behind those that were checked before. The buffer is only appended to.
        #[allow(unsafe_code, reason = "a second check would read the text again")]
        unsafe {
            std::str::from_utf8_unchecked(text)
        }
    }

    /// Gives away the part of the text that is checked.
    pub(crate) fn into_text(self) -> String {
        let Self { buffer, progress: Progress { checked } } = self;
        let mut text = buffer.into_vec();
        text.truncate(checked);
        // SAFETY: as in `text`.
        #[allow(unsafe_code, reason = "as in `text`")]
        unsafe {
            String::from_utf8_unchecked(text)
        }
    }
}

/// The number of bytes at the end that may be the beginning of a code point: 0 to 3.
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

    /// The definition, and the safe twin: it checks all bytes that have come, with each piece.
    fn checked_again(bytes: &[u8]) -> Result<usize, BadUtf8> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.len()),
            Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
            Err(error) => Err(BadUtf8 { offset: error.valid_up_to() }),
        }
    }

    fn agrees(bytes: &[u8], pieces: &[usize]) {
        let mut text = TextBuffer::default();
        let mut plain = Progress::default();
        let mut pushed = 0;
        for piece in pieces.iter().cycle() {
            let end = (pushed + piece).min(bytes.len());
            text.buffer().push(&bytes[pushed..end]);
            pushed = end;
            let expected = checked_again(&bytes[..pushed]);
            assert_eq!(plain.check_plain(&bytes[..pushed]).map(|()| plain.checked), expected);
            assert_eq!(text.check().map(|()| text.progress.checked), expected);
            if expected.is_err() {
                break;
            }
            assert_eq!(text.text().as_bytes(), &bytes[..text.progress.checked]);
            if pushed == bytes.len() {
                break;
            }
        }
        let whole = std::str::from_utf8(bytes);
        assert_eq!(check_whole(bytes).ok(), whole.ok());
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

    /// Miri has no vectors, so that it runs the scalar check here.
    #[test]
    fn scalar_and_vector_checks_agree_on_texts_in_pieces_and_give_the_same_text() {
        for text in [
            "",
            "plain",
            "é",
            "가나다",
            "\u{10FFFF}a\u{7FF}\u{800}\u{FFFF}",
            "one é two 가 three \u{1F600} four",
        ] {
            for piece in 1..=5 {
                agrees(text.as_bytes(), &[piece]);
            }
            let cut = text.len().saturating_sub(1);
            agrees(&text.as_bytes()[..cut], &[3]);
            agrees(&[&text.as_bytes()[..cut], b"\xFF"].concat(), &[2, 1]);
        }
    }

    #[test]
    fn four_bytes_of_any_kinds_have_the_result_of_the_standard_library_at_any_end_of_a_vector() {
        const KINDS: [u8; 24] = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
            0xEE, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5, 0xF7, 0xFF,
        ];
        let korean = "가나다라마바사아자차카타파하".repeat(8).into_bytes();
        let pairs = || KINDS.iter().flat_map(|a| KINDS.map(|b| [*a, b]));
        for (turn, [a, b]) in pairs().enumerate() {
            // A code point begins here, near the ends of vectors and blocks.
            let at = [27, 30, 33, 60, 63, 66, 93, 126][turn % 8];
            let from = [0, at][turn / 8 % 2];
            for [c, d] in pairs() {
                let mut text = korean.clone();
                text[at..at + 4].copy_from_slice(&[a, b, c, d]);
                text.truncate(at + 4 + turn % 41);
                let mut progress = Progress { checked: from };
                let outcome = progress.check(&text).map(|()| progress.checked);
                assert_eq!(outcome, checked_again(&text), "{text:?}");
            }
        }
    }

    /// Long runs of code points of each length, most of them ASCII.
    fn long_text() -> impl Strategy<Value = String> {
        let run = (prop::sample::select(vec!["a", "b", "é", "가", "\u{10FFFF}", "한 글 "]), 0usize..400);
        prop::collection::vec(run.prop_map(|(character, times)| character.repeat(times)), 0..6)
            .prop_map(|runs| runs.concat())
    }

    /// Whether to change a byte of a text, its place, and the bits to change.
    type Flip = (bool, prop::sample::Index, u8);

    fn flipped(text: String, (flips, at, with): Flip) -> Vec<u8> {
        let mut bytes = text.into_bytes();
        if flips && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_have_the_result_of_the_standard_library(
            text in "\\PC{0,60}",
            flip in any::<Flip>(),
            pieces in prop::collection::vec(1usize..20, 1..10),
        ) {
            agrees(&flipped(text, flip), &pieces);
        }

        #[test]
        fn long_texts_in_any_pieces_have_the_result_of_the_standard_library(
            text in long_text(),
            flip in any::<Flip>(),
            pieces in prop::collection::vec(1usize..700, 1..10),
        ) {
            agrees(&flipped(text, flip), &pieces);
        }
    }
}
