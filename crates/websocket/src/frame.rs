//! Frames (RFC 6455 §5.2): headers are read and written here, and whole frames are written.

use crate::{CloseCode, ProtocolError, Role, mask::mask};

/// The most bytes a control frame may carry (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;
/// The most bytes of a header: two, eight of length, four of mask.
pub(crate) const MAX_HEADER: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

/// The kind of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of the conversation.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to a ping, or a sign of life without a ping.
    Pong = 0xA,
}

impl Opcode {
    /// Whether this is a control frame: short, whole, and allowed between the fragments of a message.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }
}

/// The bytes of a frame's header alone, for a payload that is written from another place.
///
/// ```
/// use switchboard_websocket::{FrameHeader, Opcode};
/// assert_eq!(FrameHeader::new(Opcode::Text, 5).as_bytes(), [0x81, 5]);
/// assert_eq!(FrameHeader::new(Opcode::Binary, 300).as_bytes(), [0x82, 126, 1, 44]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl FrameHeader {
    /// The header of a whole message or control frame of `payload_len` bytes: FIN is set, and there is no
    /// mask.
    #[inline]
    pub const fn new(opcode: Opcode, payload_len: usize) -> Self {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = FIN | opcode as u8;
        let len = if payload_len < 126 {
            bytes[1] = payload_len as u8;
            2
        } else if payload_len <= u16::MAX as usize {
            bytes[1] = 126;
            let [a, b] = (payload_len as u16).to_be_bytes();
            bytes[2] = a;
            bytes[3] = b;
            4
        } else {
            bytes[1] = 127;
            let length = (payload_len as u64).to_be_bytes();
            let mut at = 0;
            while at < 8 {
                bytes[2 + at] = length[at];
                at += 1;
            }
            10
        };
        Self { bytes, len }
    }

    /// The same header with FIN set or not: `false` is for each fragment but the last.
    #[must_use]
    pub const fn fin(mut self, fin: bool) -> Self {
        self.bytes[0] = if fin { self.bytes[0] | FIN } else { self.bytes[0] & !FIN };
        self
    }

    /// The same header with RSV1 set: the first frame of a compressed message (RFC 7692 §6).
    #[must_use]
    pub const fn rsv1(mut self) -> Self {
        self.bytes[0] |= RSV1;
        self
    }

    /// The same header for a payload that is masked with `key`. Call it once.
    #[must_use]
    pub const fn masked(mut self, key: [u8; 4]) -> Self {
        let at = self.len as usize;
        self.bytes[1] |= MASKED;
        self.bytes[at] = key[0];
        self.bytes[at + 1] = key[1];
        self.bytes[at + 2] = key[2];
        self.bytes[at + 3] = key[3];
        self.len += 4;
        self
    }

    /// The 2 to 14 bytes to write.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Appends a whole frame in the form of a server: FIN is set, and there is no mask.
///
/// The caller sees to it that the payload of a control frame is at most [`MAX_CONTROL_PAYLOAD`] bytes.
#[inline]
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    if payload.len() <= MAX_CONTROL_PAYLOAD {
        // Two bytes of a known number cost less than a header of a number that is found out.
        out.reserve(2 + payload.len());
        out.extend_from_slice(&[FIN | opcode as u8, payload.len() as u8]);
        out.extend_from_slice(payload);
    } else {
        encode_long_frame(out, opcode, payload);
    }
}

fn encode_long_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let header = FrameHeader::new(opcode, payload.len());
    out.reserve(MAX_HEADER + payload.len());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(payload);
}

/// Appends a whole frame in the form of a client: FIN is set, and the payload is masked with `key`. The key
/// must be new and unpredictable for each frame (RFC 6455 §5.3).
#[inline]
pub fn encode_frame_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    let header = FrameHeader::new(opcode, payload.len()).masked(key);
    out.reserve(MAX_HEADER + payload.len());
    out.extend_from_slice(header.as_bytes());
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(payload) = out.get_mut(start..) {
        mask(payload, key, 0);
    }
}

/// Appends a Close frame with a code and a reason. It is masked if `key` is given, as a client's frame must
/// be.
///
/// The reason is cut at a character so that the body fits in [`MAX_CONTROL_PAYLOAD`] bytes. A code that may
/// not be sent (1005, 1006, 1015, ...) gives a Close frame without a body, which is the meaning of 1005.
pub fn encode_close(out: &mut Vec<u8>, key: Option<[u8; 4]>, code: CloseCode, reason: &str) {
    let mut body = [0; MAX_CONTROL_PAYLOAD];
    let mut len = 0;
    if code.is_valid_on_wire() {
        let reason = shorten(reason, MAX_CONTROL_PAYLOAD - 2);
        len = 2 + reason.len();
        body[..2].copy_from_slice(&code.get().to_be_bytes());
        body[2..len].copy_from_slice(reason.as_bytes());
    }
    match key {
        None => encode_frame(out, Opcode::Close, &body[..len]),
        Some(key) => encode_frame_masked(out, Opcode::Close, &body[..len], key),
    }
}

/// The longest beginning of `text` that has at most `max` bytes and ends with a whole character.
fn shorten(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// A header that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// The first frame of a compressed message (RFC 7692 §6).
    pub(crate) compressed: bool,
    pub(crate) opcode: Opcode,
    /// Payload bytes. They are within the limits, so that the number fits.
    pub(crate) payload: usize,
    /// The mask; zero where the frame has none.
    pub(crate) key: [u8; 4],
    /// Bytes of the header itself.
    pub(crate) len: usize,
}

impl Header {
    /// Reads a header from the beginning of `bytes`. `None` while it is incomplete. A broken rule is an error
    /// as soon as the byte that breaks it is there. `deflate` tells whether RFC 7692 was negotiated.
    pub(crate) fn parse(
        bytes: &[u8],
        role: Role,
        max_frame_bytes: usize,
        deflate: bool,
    ) -> Result<Option<Self>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (fin, compressed) = (first & FIN != 0, first & RSV1 != 0);
        let opcode = parse_first(first, fin, deflate)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        match (role, second & MASKED != 0) {
            (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
            (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        if opcode.is_control() && second & !MASKED > 125 {
            return Err(ProtocolError::ControlTooLong { opcode });
        }
        let Some((length, rest)) = parse_length(second & !MASKED, rest)? else { return Ok(None) };
        let payload = match usize::try_from(length) {
            Ok(payload) if opcode.is_control() || payload <= max_frame_bytes => payload,
            _ => return Err(ProtocolError::FrameTooLarge { length, limit: max_frame_bytes }),
        };
        let (key, rest) = match role {
            Role::Client => ([0; 4], rest),
            Role::Server => match rest.split_first_chunk::<4>() {
                Some((key, rest)) => (*key, rest),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { fin, compressed, opcode, payload, key, len: bytes.len() - rest.len() }))
    }
}

fn parse_first(first: u8, fin: bool, deflate: bool) -> Result<Opcode, ProtocolError> {
    let opcode = Opcode::from_bits(first & 0xF);
    // RSV1 belongs to RFC 7692: it is on the first frame of a text or binary message, and on no other frame
    // (§6).
    let may_compress = deflate && matches!(opcode, Some(Opcode::Text | Opcode::Binary));
    let reserved = if may_compress { 0x30 } else { 0x70 };
    if first & reserved != 0 {
        return Err(ProtocolError::ReservedBits { bits: (first >> 4) & 0x7 });
    }
    let Some(opcode) = opcode else {
        return Err(ProtocolError::ReservedOpcode { opcode: first & 0xF });
    };
    if opcode.is_control() && !fin {
        return Err(ProtocolError::FragmentedControl { opcode });
    }
    Ok(opcode)
}

/// The length that the seven bits and the bytes behind them announce, and the rest of the bytes.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (length, least, rest) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), 126, rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), 1 << 16, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if length >> 63 != 0 {
        return Err(ProtocolError::LengthTooLarge { length });
    }
    // "The minimal number of bytes MUST be used" (§5.2): browsers refuse a longer form too.
    if length < least {
        return Err(ProtocolError::NonMinimalLength { length });
    }
    Ok(Some((length, rest)))
}
