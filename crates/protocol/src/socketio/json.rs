//! What this crate looks at in JSON text itself; the rest is `serde_json`'s.

/// The most levels of arrays and objects an argument may nest; the limit of `serde_json`.
pub(super) const MAX_DEPTH: usize = 128;

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
