//! A payload: several packets in one body, each as `\ufffd<length>\ufffd<packet>`. The length counts UTF-16
//! code units, as JavaScript does. A single packet stands alone.

use super::packet::{DecodeError, Packet, decode as decode_packet};

/// What stands before and behind each length.
const MARK: char = '\u{fffd}';

/// Appends a packet as a payload of several has it.
pub fn write_packet(out: &mut Vec<u8>, packet: &str) {
    let mut mark = [0; 3];
    let mark = MARK.encode_utf8(&mut mark).as_bytes();
    out.extend_from_slice(mark);
    out.extend_from_slice(itoa::Buffer::new().format(utf16_len(packet)).as_bytes());
    out.extend_from_slice(mark);
    out.extend_from_slice(packet.as_bytes());
}

/// A payload as it goes out, of packets that were written by [`write_packet`]: a single packet stands alone.
pub fn unwrap_single(payload: &str) -> &str {
    match split_packet(payload) {
        Ok((packet, "")) => packet,
        _ => payload,
    }
}

/// The texts of the packets that were written by [`write_packet`], in order.
pub fn texts(payload: &str) -> impl Iterator<Item = &str> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (packet, behind) = split_packet(rest).ok()?;
        rest = behind;
        Some(packet)
    })
}

/// Decodes the packets of a payload in order, or the one that stands alone. An empty body has none.
///
/// The iterator ends after the first error. The number of packets is bounded only by the body's length: bound
/// that.
pub fn decode(body: &str) -> Packets<'_> {
    Packets { rest: Some(body).filter(|body| !body.is_empty()), is_marked: body.starts_with(MARK) }
}

/// The packets of a payload; made by [`decode`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: Option<&'a str>,
    is_marked: bool,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if !self.is_marked {
            return Some(decode_packet(rest));
        }
        Some(split_packet(rest).and_then(|(packet, rest)| {
            let packet = decode_packet(packet)?;
            self.rest = Some(rest).filter(|rest| !rest.is_empty());
            Ok(packet)
        }))
    }
}

impl std::iter::FusedIterator for Packets<'_> {}

/// The first packet's text, and what is behind it.
fn split_packet(payload: &str) -> Result<(&str, &str), DecodeError> {
    let rest = payload.strip_prefix(MARK).ok_or(DecodeError::Length)?;
    let (length, rest) = rest.split_once(MARK).ok_or(DecodeError::Length)?;
    let length = super::packet::number(length).ok_or(DecodeError::Length)?;
    split_utf16(rest, length).ok_or(DecodeError::Length)
}

/// The length of a text in UTF-16 code units.
pub(crate) fn utf16_len(text: &str) -> usize {
    // Each character is one unit, those of four bytes are two.
    text.bytes().filter(|byte| !(0x80..0xc0).contains(byte)).count()
        + text.bytes().filter(|byte| *byte >= 0xf0).count()
}

/// Splits a text behind so many UTF-16 code units. `None`: it has fewer, or a character lies across.
pub(crate) fn split_utf16(text: &str, units: u64) -> Option<(&str, &str)> {
    let (mut at, mut left) = (0, units);
    // A character has no more bytes than three for each unit.
    let text_up_to = text.as_bytes();
    while left > 0 {
        let (bytes, units) = match *text_up_to.get(at)? {
            ..0x80 => (1, 1),
            0x80..0xe0 => (2, 1),
            0xe0..0xf0 => (3, 1),
            0xf0.. => (4, 2),
        };
        left = left.checked_sub(units)?;
        at += bytes;
    }
    text.split_at_checked(at)
}
