//! Polling payloads of protocol 3, in their two forms. Protocol 3, section "Payload".
//!
//! The string form is `<length>:<packet>` for each packet; a length counts UTF-16 code units, as JavaScript
//! does. The binary form has for each packet the byte `00` (text) or `01` (binary), a byte from 0 to 9 for each
//! decimal digit of the length, the byte `FF`, and the packet; a length counts bytes.

use super::super::packet::{DecodeError, Packet};

/// Digits of a length. No body is longer than such a number says.
const MAX_DIGITS: usize = 10;

/// Ends the length in the binary form.
const END_OF_LENGTH: u8 = 0xFF;

/// Splits a body in the string form into the texts of its packets.
///
/// A packet of length 0 is left out, as in Node: `0:` is a payload without packets. An empty body is an error.
/// The iterator ends after the first error.
pub fn split(body: &str) -> Texts<'_> {
    Texts { body, rest: Some(body) }
}

/// Decodes the packets of a body in the string form; see [`split`].
pub fn decode(body: &str) -> impl Iterator<Item = Result<Packet<'_>, DecodeError>> {
    let mut texts = split(body);
    std::iter::from_fn(move || {
        let packet = texts.next()?.and_then(super::decode_text);
        if packet.is_err() {
            texts.rest = None;
        }
        Some(packet)
    })
}

/// Appends a packet in the string form.
///
/// All clients take this form. A text that is not UTF-8 has as many units as its text with U+FFFD for bad
/// bytes.
pub fn encode(packet: &[u8], out: &mut Vec<u8>) {
    let units = if packet.is_ascii() { packet.len() } else { utf16_len(packet) };
    out.extend_from_slice(itoa::Buffer::new().format(units).as_bytes());
    out.push(b':');
    out.extend_from_slice(packet);
}

/// A payload in the string form as one in the binary form, with its base64 decoded. It is for clients of which some
/// read no other form. What is no payload is left out.
pub fn to_binary(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    for text in split(&String::from_utf8_lossy(body)).map_while(Result::ok) {
        let mut binary = Vec::new();
        let (kind, packet) = match super::decode_text(text) {
            Ok(Packet::Binary(bytes)) => {
                super::encode_binary(&bytes, &mut binary);
                (1, &*binary)
            }
            _ => (0, text.as_bytes()),
        };
        out.push(kind);
        out.extend(itoa::Buffer::new().format(packet.len()).bytes().map(|digit| digit - b'0'));
        out.push(END_OF_LENGTH);
        out.extend_from_slice(packet);
    }
    out
}

fn utf16_len(text: &[u8]) -> usize {
    text.utf8_chunks()
        .map(|chunk| chunk.valid().encode_utf16().count() + usize::from(!chunk.invalid().is_empty()))
        .sum()
}

/// The texts of a payload's packets; made by [`split`].
#[derive(Debug, Clone)]
pub struct Texts<'a> {
    body: &'a str,
    rest: Option<&'a str>,
}

impl Texts<'_> {
    /// How many bytes of the body were read.
    pub fn read(&self) -> usize {
        self.body.len() - self.rest.map_or(0, str::len)
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = Result<&'a str, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest.take() {
            if rest.is_empty() {
                return self.body.is_empty().then_some(Err(DecodeError::Empty));
            }
            let (packet, rest) = match take(rest) {
                Ok(taken) => taken,
                Err(error) => return Some(Err(error)),
            };
            self.rest = Some(rest);
            if !packet.is_empty() {
                return Some(Ok(packet));
            }
        }
        None
    }
}

impl std::iter::FusedIterator for Texts<'_> {}

/// Takes the first packet's text off a body.
fn take(body: &str) -> Result<(&str, &str), DecodeError> {
    let head = body.as_bytes().get(..=MAX_DIGITS).unwrap_or(body.as_bytes());
    let colon = memchr::memchr(b':', head).ok_or(DecodeError::Length)?;
    let digits = head.get(..colon).unwrap_or_default();
    let units = number(digits.iter().map(|digit| digit.wrapping_sub(b'0'))).ok_or(DecodeError::Length)?;
    let packets = body.get(colon + 1..).unwrap_or_default();
    split_units(packets, units).ok_or(DecodeError::Length)
}

/// The number of these decimal digits, of which there is at least one.
fn number(digits: impl ExactSizeIterator<Item = u8>) -> Option<usize> {
    if digits.len() == 0 || digits.len() > MAX_DIGITS {
        return None;
    }
    digits.into_iter().try_fold(0_usize, |number, digit| {
        let digit = (digit < 10).then_some(usize::from(digit))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Splits a text after so many UTF-16 code units. `None`: it has fewer, or a character lies across the place.
fn split_units(text: &str, units: usize) -> Option<(&str, &str)> {
    let first = text.as_bytes().get(..units)?;
    if first.is_ascii() {
        return text.split_at_checked(units);
    }
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return text.split_at_checked(at);
        }
        left = left.checked_sub(char.len_utf16())?;
    }
    (left == 0).then_some((text, ""))
}

/// Decodes the packets of a body in the binary form.
///
/// The iterator ends after the first error. An empty body is an error.
pub fn decode_binary(body: &[u8]) -> BinaryPackets<'_> {
    BinaryPackets { rest: Some(body), is_first: true }
}

/// The packets of a payload in the binary form; made by [`decode_binary`].
#[derive(Debug, Clone)]
pub struct BinaryPackets<'a> {
    rest: Option<&'a [u8]>,
    is_first: bool,
}

impl<'a> Iterator for BinaryPackets<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let is_first = std::mem::take(&mut self.is_first);
        if rest.is_empty() {
            return is_first.then_some(Err(DecodeError::Empty));
        }
        let taken = take_binary(rest).map(|(packet, rest)| {
            self.rest = Some(rest);
            packet
        });
        if taken.is_err() {
            self.rest = None;
        }
        Some(taken)
    }
}

impl std::iter::FusedIterator for BinaryPackets<'_> {}

fn take_binary(body: &[u8]) -> Result<(Packet<'_>, &[u8]), DecodeError> {
    let (&kind, rest) = body.split_first().ok_or(DecodeError::Empty)?;
    let head = rest.get(..=MAX_DIGITS).unwrap_or(rest);
    let end = memchr::memchr(END_OF_LENGTH, head).ok_or(DecodeError::Length)?;
    let digits = head.get(..end).unwrap_or_default();
    let length = number(digits.iter().copied()).ok_or(DecodeError::Length)?;
    let packets = rest.get(end + 1..).unwrap_or_default();
    let (packet, rest) = packets.split_at_checked(length).ok_or(DecodeError::Length)?;
    let packet = match kind {
        0 => super::decode_text(std::str::from_utf8(packet).map_err(|_| DecodeError::Utf8)?)?,
        1 => super::decode_binary(packet)?,
        other => return Err(DecodeError::UnknownType(other)),
    };
    Ok((packet, rest))
}
