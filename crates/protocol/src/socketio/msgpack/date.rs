//! Dates, which are an extension of MessagePack.

/// The content of a timestamp (the extension type -1) as milliseconds since 1970. `None`: it has a wrong
/// length, or is too far away.
pub(super) fn timestamp(bytes: &[u8]) -> Option<i64> {
    let (seconds, nanoseconds) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(*bytes.first_chunk()?)), 0),
        8 => {
            let both = u64::from_be_bytes(*bytes.first_chunk()?);
            (i64::try_from(both & 0x3_FFFF_FFFF).ok()?, both >> 34)
        }
        12 => {
            let nanoseconds = u32::from_be_bytes(*bytes.first_chunk()?);
            (i64::from_be_bytes(*bytes.last_chunk()?), nanoseconds.into())
        }
        _ => return None,
    };
    seconds.checked_mul(1000)?.checked_add(i64::try_from(nanoseconds / 1_000_000).ok()?)
}
