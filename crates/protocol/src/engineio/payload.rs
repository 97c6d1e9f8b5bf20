//! A polling payload: packets separated by `\x1e`. Protocol 4, section "Payload encoding".

use super::packet::{DecodeError, Packet, encode_binary};

/// What stands between two packets of a payload.
pub const SEPARATOR: u8 = 0x1e;

/// How many packets of one body [`decode`] is asked for where no option says otherwise. A body of
/// the default size, 1 000 000 bytes, could else ask for half a million.
pub const DEFAULT_MAX_PACKETS: usize = 16_384;

/// Decodes the packets of a request's (or response's) body in order.
///
/// The iterator ends after the first error. An empty body is one empty packet, so an error. More
/// than `max_packets` packets end in [`DecodeError::TooManyPackets`].
pub fn decode(body: &str, max_packets: usize) -> Packets<'_> {
    Packets { rest: Some(body), left: max_packets, limit: max_packets }
}

/// The packets of a payload; made by [`decode`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: Option<&'a str>,
    left: usize,
    limit: usize,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let Some(left) = self.left.checked_sub(1) else {
            return Some(Err(DecodeError::TooManyPackets { limit: self.limit }));
        };
        self.left = left;
        let text = match memchr::memchr(SEPARATOR, rest.as_bytes()) {
            // The separator is ASCII: both sides are whole characters.
            Some(at) => {
                self.rest = rest.get(at + 1..);
                rest.get(..at).unwrap_or_default()
            }
            None => rest,
        };
        let packet = Packet::decode_text(text);
        if packet.is_err() {
            self.rest = None;
        }
        Some(packet)
    }
}

impl std::iter::FusedIterator for Packets<'_> {}

/// Appends a packet that is already encoded as text, after a separator unless `out` is empty.
#[inline]
pub fn push(out: &mut Vec<u8>, packet: &[u8]) {
    separate(out);
    out.extend_from_slice(packet);
}

/// Appends a packet, after a separator unless `out` is empty.
pub fn push_packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    separate(out);
    packet.encode_text(out);
}

/// Appends a binary message as `b` and base64, after a separator unless `out` is empty.
pub fn push_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    separate(out);
    encode_binary(out, bytes);
}

/// How many bytes [`push_binary`] appends for `len` bytes, the separator aside.
pub fn binary_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4).saturating_add(1)
}

#[inline]
fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(SEPARATOR);
    }
}
