//! The parts of JSON text that this crate reads itself. `serde_json` reads the rest.

use std::borrow::Cow;

/// The levels of arrays and objects that `serde_json` reads by default.
pub(super) const SHALLOW: usize = 127;

/// The offset of the first byte, from `at` on, that is not white space in JSON.
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// The offset of the first byte, from `at` on, that may not stand unescaped in a JSON string: a quote, a
/// backslash, a control character. The end if there is none.
#[inline]
pub(super) fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = not_plain(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let left = bytes.len().saturating_sub(at);
    match bytes.last_chunk() {
        _ if left == 0 => at,
        // The rest is the end of the last eight bytes. The zeros after it are control characters.
        Some(word) => {
            at + not_plain(u64::from_le_bytes(*word) >> (64 - 8 * left)).trailing_zeros() as usize / 8
        }
        None => {
            let plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | ..0x20);
            at + bytes.iter().skip(at).take_while(|&byte| plain(byte)).count()
        }
    }
}

/// Whether a text needs no escapes in a JSON string.
#[inline]
pub(super) fn is_plain(text: &str) -> bool {
    plain_until(text.as_bytes(), 0) == text.len()
}

/// Up to this length the call of a search costs more than the search itself.
const SHORT: usize = 64;
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each byte.
const HIGH: u64 = 0x80 * ONES;

/// Sets the highest bit of the first byte of a word, from the lowest on, that is `byte`. All other bits are
/// undefined. If no byte is `byte`, no highest bit is set.
#[inline]
fn holds(word: u64, byte: u8) -> u64 {
    let zeros = word ^ (ONES * u64::from(byte));
    zeros.wrapping_sub(ONES) & !zeros
}

/// Sets the highest bit of the first byte of a word, from the lowest on, that is a quote, a backslash or a
/// control character. The bits above it are undefined. Zero if there is none.
#[inline]
fn not_plain(word: u64) -> u64 {
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    (holds(word, b'"') | holds(word, b'\\') | control) & HIGH
}

/// Whether well-formed `text` nests no deeper than `limit` below its outermost level.
pub(super) fn nests_within(text: &str, limit: usize) -> bool {
    // A level takes at least two bytes.
    if text.len() / 2 <= limit {
        return true;
    }
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > limit.saturating_add(1) {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Moves past the closing quote of a string. Its opening quote was just read.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// Replaces each `\\u` escape of an unpaired surrogate by `\\ufffd`.
///
/// JavaScript's strings may hold unpaired surrogates (half of an emoji). `JSON.stringify` writes them so, and
/// Node accepts them. Rust's strings cannot hold them, so reading them as a type fails with
/// [`ArgsError::Data`](super::ArgsError::Data). Call this on a packet's text before
/// [`decode`](super::decode): it replaces them by the replacement character. A text without escapes costs one
/// search for a backslash.
#[inline]
pub fn replace_unpaired_surrogates(text: &str) -> Cow<'_, str> {
    if has_backslash(text.as_bytes()) { replace_in_escapes(text) } else { Cow::Borrowed(text) }
}

#[inline]
fn has_backslash(bytes: &[u8]) -> bool {
    if bytes.len() > SHORT {
        return memchr::memchr(b'\\', bytes).is_some();
    }
    let (words, rest) = bytes.as_chunks();
    let found = words.iter().fold(0, |found, word| found | holds(u64::from_le_bytes(*word), b'\\'));
    found & HIGH != 0 || rest.contains(&b'\\')
}

fn replace_in_escapes(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut replaced: Option<Vec<u8>> = None;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        match escape(bytes, at) {
            Some(0xd800..=0xdbff) if matches!(escape(bytes, at + 6), Some(0xdc00..=0xdfff)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => {
                let copy = replaced.get_or_insert_with(|| bytes.to_vec());
                if let Some(digits) = copy.get_mut(at + 2..at + 6) {
                    digits.copy_from_slice(b"fffd");
                }
                at += 6;
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    match replaced.map(String::from_utf8) {
        Some(Ok(text)) => Cow::Owned(text),
        // Only ASCII was replaced by ASCII, so no other error is possible.
        _ => Cow::Borrowed(text),
    }
}

/// The code unit of the `\u` escape at `at`, if there is one.
fn escape(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain_until_one_by_one(bytes: &[u8], at: usize) -> usize {
        let plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | ..0x20);
        at + bytes.iter().skip(at).take_while(|&byte| plain(byte)).count()
    }

    proptest! {
        #[test]
        fn a_string_is_searched_by_words_as_by_bytes(
            bytes in prop::collection::vec(prop_oneof![8 => 0x1e..0x26_u8, 8 => b'Z'..b'`', 1 => any::<u8>(), 40 => Just(b'a')], 0..80),
            at in 0..80_usize,
        ) {
            prop_assert_eq!(plain_until(&bytes, at), plain_until_one_by_one(&bytes, at));
            prop_assert_eq!(has_backslash(&bytes), bytes.contains(&b'\\'));
        }
    }

    #[test]
    fn each_byte_at_each_place_is_plain_or_not() {
        for len in 1..20 {
            for place in 0..len {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'#'; len];
                    bytes[place] = byte;
                    for at in 0..=len {
                        assert_eq!(
                            plain_until(&bytes, at),
                            plain_until_one_by_one(&bytes, at),
                            "{bytes:?} {at}"
                        );
                    }
                }
            }
        }
    }
}
