//! What this crate looks at in JSON text itself; the rest is `serde_json`'s.

use std::borrow::Cow;

/// The most levels of arrays and objects an argument may nest: what `serde_json` reads.
pub(super) const MAX_DEPTH: usize = 127;

/// The offset of the first byte from `at` on that is not JSON's white space.
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// Whether well-formed `text` nests no deeper than [`MAX_DEPTH`] below its outermost level.
pub(super) fn nests_within_limit(text: &str) -> bool {
    // A level takes two bytes at least.
    if text.len() <= 2 * MAX_DEPTH {
        return true;
    }
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH + 1 {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Moves past the closing quote of a string whose opening quote was just read.
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

/// Replaces each `\\u` escape that is half of a surrogate pair without the other half by `\\ufffd`.
///
/// JavaScript's strings may hold such halves (cut an emoji in two), its `JSON.stringify` writes them
/// so, and Node takes them. Rust's strings cannot hold them: read as a type they are
/// [`ArgsError::Data`](super::ArgsError::Data). Called on a packet's text before
/// [`decode`](super::decode), this makes them the character that says something was lost. Text
/// without escapes costs one search for a backslash.
pub fn replace_unpaired_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let Some(mut at) = memchr::memchr(b'\\', bytes) else {
        return Cow::Borrowed(text);
    };
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
        // Only ASCII was replaced, by ASCII: there is no other error to be had.
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
