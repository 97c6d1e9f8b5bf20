//! UTF-8 checked 32 bytes at a time, from the middle of a text on. This is the lookup algorithm of Keiser and
//! Lemire, "Validating UTF-8 in less than one instruction per byte" (<https://arxiv.org/abs/2010.03090>),
//! which `simdutf8` uses too.
//!
//! `simdutf8` begins each piece of a text anew, at a code point, and copies the bytes behind its last 64
//! bytes. For pieces of 1 KiB that is a tenth of the time and more. Our texts lie in memory as a whole and
//! need neither: the bytes before a vector are loaded from their place, and the last vector overlaps the one
//! before it. The safe twin is the check without vectors in [`super`]. The tests and the fuzz target
//! `websocket_text` compare the two.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_subs_epu8, _mm256_testz_si256,
    _mm256_xor_si256,
};

/// Bytes of a vector.
const VECTOR: usize = 32;

/// A code point begins at most so many bytes before its last one.
const BEFORE: usize = 3;

/// Bytes that are checked together. Where they are ASCII no further check is needed.
const BLOCK: usize = 64;

// The errors of two bytes that follow one another. Each error is one bit in three tables: a table for the
// upper half of the first byte, one for its lower half, and one for the upper half of the second byte. Two
// bytes have the error where all three entries have its bit.
/// A lead, then no continuation.
const TOO_SHORT: u8 = 1 << 0;
/// ASCII, then a continuation.
const TOO_LONG: u8 = 1 << 1;
/// E0, then 80 to 9F.
const OVERLONG_3: u8 = 1 << 2;
/// F4, then 90 and above; F5 and above, then a continuation.
const TOO_LARGE: u8 = 1 << 3;
/// ED, then A0 to BF.
const SURROGATE: u8 = 1 << 4;
/// C0 or C1, then a continuation.
const OVERLONG_2: u8 = 1 << 5;
/// F5 and above, then 80 to 8F; and [`OVERLONG_4`].
const TOO_LARGE_1000: u8 = 1 << 6;
/// F0, then 80 to 8F.
const OVERLONG_4: u8 = 1 << 6;
/// Two continuations. They are right where a lead two or three bytes before needs them. This is the highest
/// bit, because the check for the leads gives that bit.
const TWO_CONTINUATIONS: u8 = 1 << 7;
/// The errors that the lower half of the first byte does not tell.
const ANY_LOW: u8 = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS;

const FIRST_HIGH: [u8; VECTOR] = {
    let mut table = [TOO_LONG; 16];
    let mut at = 0x8;
    while at < 0xC {
        table[at] = TWO_CONTINUATIONS;
        at += 1;
    }
    table[0xC] = TOO_SHORT | OVERLONG_2;
    table[0xD] = TOO_SHORT;
    table[0xE] = TOO_SHORT | OVERLONG_3 | SURROGATE;
    table[0xF] = TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4;
    twice(table)
};

const FIRST_LOW: [u8; VECTOR] = {
    let mut table = [ANY_LOW | TOO_LARGE | TOO_LARGE_1000; 16];
    table[0x0] = ANY_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4;
    table[0x1] = ANY_LOW | OVERLONG_2;
    table[0x2] = ANY_LOW;
    table[0x3] = ANY_LOW;
    table[0x4] = ANY_LOW | TOO_LARGE;
    table[0xD] |= SURROGATE;
    twice(table)
};

const SECOND_HIGH: [u8; VECTOR] = {
    let continuation = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS;
    let mut table = [TOO_SHORT; 16];
    table[0x8] = continuation | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4;
    table[0x9] = continuation | OVERLONG_3 | TOO_LARGE;
    table[0xA] = continuation | SURROGATE | TOO_LARGE;
    table[0xB] = continuation | SURROGATE | TOO_LARGE;
    twice(table)
};

/// A table in both halves of a vector, because each half of a vector looks up in its own.
const fn twice(table: [u8; 16]) -> [u8; VECTOR] {
    let mut both = [0; VECTOR];
    let mut at = 0;
    while at < VECTOR {
        both[at] = table[at % 16];
        at += 1;
    }
    both
}

/// As [`Progress::check`](super::Progress::check): returns the number of bytes of `text` that are whole code
/// points, where `from` of them are known to be. `None` where no text begins with these bytes, and where this
/// processor has no AVX2.
#[inline]
pub(super) fn check(text: &[u8], from: usize) -> Option<usize> {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return None;
    }
    // SAFETY: the processor has AVX2, which is all that `check_avx2` asks for.
    #[allow(unsafe_code, reason = "the vectors of this processor are known at run time only")]
    unsafe {
        check_avx2(text, from)
    }
}

#[target_feature(enable = "avx2")]
fn check_avx2(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub((text.as_ptr().addr() + from) % VECTOR);
    let mut rest = text.get(at..)?;
    let Some(last) = rest.last_chunk::<{ 2 * BLOCK }>() else { return check_short(text, from) };
    while let Some((block, behind)) = rest.split_first_chunk::<{ 4 * BLOCK }>() {
        if !is_ascii(block) {
            return goes_on(text, at.max(from));
        }
        at += block.len();
        rest = behind;
    }
    let rest_is_ascii = match rest.first_chunk::<{ 2 * BLOCK }>() {
        Some(block) => is_ascii(block) & is_ascii(last),
        None => rest.is_empty() || is_ascii(last),
    };
    if rest_is_ascii { Some(text.len()) } else { goes_on(text, at.max(from)) }
}

/// The same for a piece of fewer bytes than two blocks.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn check_short(text: &[u8], from: usize) -> Option<usize> {
    let bytes = text.get(from..)?;
    let is_ascii = match bytes.last_chunk() {
        Some(last) => {
            let or = |seen, vector| _mm256_or_si256(seen, load(vector));
            _mm256_movemask_epi8(bytes.as_chunks().0.iter().fold(load(last), or)) == 0
        }
        None => bytes.is_ascii(),
    };
    if is_ascii { Some(text.len()) } else { goes_on(text, from) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn is_ascii<const LEN: usize>(block: &[u8; LEN]) -> bool {
    let or = |seen, vector| _mm256_or_si256(seen, load(vector));
    let seen = block.as_chunks().0.iter().fold(_mm256_setzero_si256(), or);
    _mm256_movemask_epi8(seen) == 0
}

/// The same for a text that is not all ASCII.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn goes_on(text: &[u8], from: usize) -> Option<usize> {
    // The last byte has no byte behind it that would show the error.
    if matches!(text.last(), Some(0xC0 | 0xC1 | 0xF5..)) {
        return None;
    }
    let whole = text.len() - super::split_len(text);
    let Some(last) = text.last_chunk::<{ BEFORE + VECTOR }>() else {
        return short_goes_on(text).then_some(whole);
    };
    let mut wrong = _mm256_setzero_si256();
    let mut at = from;
    if at < BEFORE {
        wrong = wrongs(&behind_zeros(text.get(..VECTOR).unwrap_or_default()));
        at = VECTOR;
    }
    while let Some(window) = text.get(at - BEFORE..).and_then(<[u8]>::first_chunk::<{ BEFORE + BLOCK }>) {
        let [third, second, first, ..] = *window;
        if window.last_chunk::<BLOCK>().is_some_and(|block| is_ascii(block)) {
            if third >= 0xF0 || second >= 0xE0 || first >= 0xC0 {
                return None;
            }
            let blocks = text.get(at..).unwrap_or_default().as_chunks::<BLOCK>().0;
            at += BLOCK * blocks.iter().take_while(|block| is_ascii(block)).count();
            continue;
        }
        for vector in [0, VECTOR] {
            let vector = window.get(vector..).and_then(<[u8]>::first_chunk)?;
            wrong = _mm256_or_si256(wrong, wrongs(vector));
        }
        at += BLOCK;
    }
    if let Some(vector) = text.get(at - BEFORE..).and_then(<[u8]>::first_chunk) {
        wrong = _mm256_or_si256(wrong, wrongs(vector));
        at += VECTOR;
    }
    if at < text.len() {
        wrong = _mm256_or_si256(wrong, wrongs(last));
    }
    (_mm256_testz_si256(wrong, wrong) == 1).then_some(whole)
}

/// The same for a text that is shorter than a vector and the bytes before it.
#[target_feature(enable = "avx2")]
fn short_goes_on(text: &[u8]) -> bool {
    let mut wrong = wrongs(&behind_zeros(text));
    if let Some(first) = text.first_chunk::<VECTOR>() {
        wrong = _mm256_or_si256(wrong, wrongs(&behind_zeros(first)));
    }
    _mm256_testz_si256(wrong, wrong) == 1
}

/// At most a vector of bytes, behind zeros. A zero is a code point by itself.
#[target_feature(enable = "avx2")]
#[inline]
fn behind_zeros(bytes: &[u8]) -> [u8; BEFORE + VECTOR] {
    let mut padded = [0; BEFORE + VECTOR];
    if let Some(end) = padded.len().checked_sub(bytes.len()).and_then(|at| padded.get_mut(at..)) {
        end.copy_from_slice(bytes);
    }
    padded
}

/// The errors of each byte of a vector, found with the three bytes before it.
#[target_feature(enable = "avx2")]
#[inline]
fn wrongs(bytes: &[u8; BEFORE + VECTOR]) -> __m256i {
    let at = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).unwrap_or(&[0xFF; VECTOR]);
    let (third, second, first, byte) = (load(at(0)), load(at(1)), load(at(2)), load(at(3)));
    let low_half = _mm256_set1_epi8(0x0F);
    let wrong = _mm256_and_si256(
        _mm256_and_si256(
            _mm256_shuffle_epi8(load(&FIRST_HIGH), _mm256_and_si256(_mm256_srli_epi16(first, 4), low_half)),
            _mm256_shuffle_epi8(load(&FIRST_LOW), _mm256_and_si256(first, low_half)),
        ),
        _mm256_shuffle_epi8(load(&SECOND_HIGH), _mm256_and_si256(_mm256_srli_epi16(byte, 4), low_half)),
    );
    // The highest bit is set where the byte two before is E0 (60 and 80) or above, or the byte three before
    // is F0 or above.
    let continues = _mm256_or_si256(
        _mm256_subs_epu8(second, _mm256_set1_epi8(0x60)),
        _mm256_subs_epu8(third, _mm256_set1_epi8(0x70)),
    );
    _mm256_xor_si256(_mm256_and_si256(continues, _mm256_set1_epi8(i8::MIN)), wrong)
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &[u8; VECTOR]) -> __m256i {
    // SAFETY: there are 32 bytes to read, and they need not be aligned.
    #[allow(unsafe_code, reason = "the standard library loads vectors by pointer")]
    unsafe {
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}
