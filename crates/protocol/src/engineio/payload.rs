//! A polling payload: packets separated by `\x1e`. Protocol 4, section "Payload encoding".

use super::packet::{DecodeError, Packet};

/// The separator between two packets of a payload.
pub const SEPARATOR: u8 = 0x1e;

/// Decodes the packets of a request's or response's body in order.
///
/// The iterator ends after the first error. An empty body is one empty packet, and so an error. The number of
/// packets is bounded only by the body's length: bound that.
pub fn decode(body: &str) -> Packets<'_> {
    Packets { rest: Some(body) }
}

/// The packets of a payload; made by [`decode`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
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
