//! Masking (RFC 6455 §5.3): byte `i` of a payload is combined by exclusive or with byte `i % 4` of the key.
//!
//! Most messages are short. Less than [`SHORT`] bytes are masked inline, a word at a time, because the choice
//! of vectors at run time would cost more than the work. Longer payloads are masked with the widest vectors
//! of the processor. The tests compare both ways with the scalar twin [`mask_scalar`].

/// Fewer bytes than this are masked inline.
const SHORT: usize = 128;

/// Masks or unmasks `data` in place (RFC 6455 §5.3): byte `i` of a payload by byte `i % 4` of the key.
/// `offset` is the number of payload bytes before `data`, so that a payload can be masked in pieces.
#[inline]
pub fn mask(data: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    if data.len() < SHORT {
        mask_short(data, key);
    } else {
        mask_long(data, key);
    }
}

/// Masks byte by byte, as the standard defines it. The tests compare [`mask`] with it.
pub fn mask_scalar(data: &mut [u8], key: [u8; 4], offset: usize) {
    for (byte, key) in data.iter_mut().zip(rotate(key, offset).iter().cycle()) {
        *byte ^= key;
    }
}

/// The key for the bytes that begin `offset` bytes into a payload.
#[inline(always)]
fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (offset as u32 & 3)).to_le_bytes()
}

/// Masks a word at a time, and returns whether the result is all ASCII. The last word overlaps the word
/// before it. It is read before any word is written, so that no byte is masked twice.
#[inline(always)]
pub(crate) fn mask_short(data: &mut [u8], key: [u8; 4]) -> bool {
    let wide = wide_key(key);
    let Some(&last) = data.last_chunk::<8>() else { return mask_bytes(data, key) };
    // The last word begins 8 bytes before the end. Its offset into the key is that of the length.
    let last = u64::from_le_bytes(last) ^ wide.rotate_right(8 * (data.len() as u32 & 3));
    let mut seen = last;
    for word in data.as_chunks_mut::<8>().0 {
        let masked = u64::from_le_bytes(*word) ^ wide;
        seen |= masked;
        *word = masked.to_le_bytes();
    }
    if let Some(word) = data.last_chunk_mut::<8>() {
        *word = last.to_le_bytes();
    }
    seen & 0x8080_8080_8080_8080 == 0
}

#[inline(always)]
fn mask_bytes(data: &mut [u8], key: [u8; 4]) -> bool {
    let mut seen = 0;
    for (byte, key) in data.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
        seen |= *byte;
    }
    seen < 0x80
}

/// The key twice over.
#[inline(always)]
fn wide_key(key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_le_bytes(key));
    key << 32 | key
}

/// Masks with the widest vectors of this processor. On x86-64 they are found out at run time. Where the
/// vectors are part of the target (SSE2 on x86-64, NEON on aarch64) the plain loop uses them already.
fn mask_long(data: &mut [u8], key: [u8; 4]) {
    // The frames of servers are not masked.
    if key == [0; 4] {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that `mask_avx2` asks for.
        #[allow(unsafe_code, reason = "the vectors of this processor are known at run time only")]
        return unsafe { mask_avx2(data, key) };
    }
    mask_vector(data, key);
}

/// [`mask_vector`] compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn mask_avx2(data: &mut [u8], key: [u8; 4]) {
    mask_vector(data, key);
}

/// A loop that the compiler turns into the vectors of the target that it is inlined into.
#[inline(always)]
fn mask_vector(data: &mut [u8], key: [u8; 4]) {
    let (blocks, tail) = data.as_chunks_mut::<64>();
    let word_key = u32::from_le_bytes(key);
    for block in blocks {
        for word in block.as_chunks_mut::<4>().0 {
            *word = (u32::from_le_bytes(*word) ^ word_key).to_le_bytes();
        }
    }
    mask_short(tail, key);
}
