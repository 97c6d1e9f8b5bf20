//! The decoder: bytes in, messages out, in place (RFC 6455 §5 and §6.2).
//!
//! There are three ways for a frame. Nearly every frame is short, lies whole in the input and is a message by
//! itself: it is unmasked and returned at the top of [`Decoder::decode`]. Any other frame that lies whole in
//! the input and is a message by itself is returned in place too, a little later. Frames that are not whole,
//! messages in fragments and compressed messages are kept in a [`Partial`], which is allocated for them and
//! freed after them.

use crate::{
    Limits, Message, Opcode, OwnedMessage, ProtocolError, Role,
    deflate::Inflater,
    frame::Header,
    mask::{mask, mask_short},
    partial::Partial,
};

/// The longest payload whose length is in the first two bytes of its header.
const MAX_SHORT_PAYLOAD: usize = 125;

/// A read straight to the place of a payload is worth it from this many bytes on. Fewer bytes may come
/// together with the next frames.
const LONG: usize = 32 << 10;

/// The state of the decoder between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between messages. Nothing is held.
    Boundary,
    /// Within a header, a frame or a message; or the message that was returned last is still held.
    Held,
    /// A Close frame or an error came. The rest of the stream means nothing.
    Ended,
}

/// Turns the bytes of one connection into messages.
///
/// Between messages a decoder is small (at most 40 bytes) and owns no memory. The memory for an unfinished
/// message is allocated when its bytes come. It is freed by the call after the one that returned the message.
///
/// ```
/// use switchboard_websocket::{Decoder, Limits, Message, Role};
///
/// let mut decoder = Decoder::new(Role::Client, Limits::default());
/// let mut input = *b"\x81\x05hello\x89\x00\x82";
/// let mut pos = 0;
/// assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), Some(Message::Text("hello")));
/// assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), Some(Message::Ping(b"")));
/// assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), None);
/// assert_eq!(pos, input.len());
/// assert!(!decoder.is_idle()); // the first byte of a binary frame
/// ```
#[derive(Debug)]
pub struct Decoder {
    max_message_bytes: usize,
    max_frame_bytes: usize,
    /// A `u32` keeps the decoder small.
    max_fragments: u32,
    /// The longest payload of a short frame that is within the limits.
    max_short_payload: u8,
    partial: Option<Box<Partial>>,
    /// Present where compression was negotiated.
    inflater: Option<Box<Inflater>>,
    role: Role,
    phase: Phase,
}

impl Decoder {
    /// A decoder for the end that receives: a server takes masked frames only, a client takes frames without
    /// a mask only.
    pub const fn new(role: Role, limits: Limits) -> Self {
        let (partial, inflater) = (None, None);
        let Limits { max_message_bytes, max_frame_bytes, max_fragments } = limits;
        let max_fragments = if max_fragments > u32::MAX as usize { u32::MAX } else { max_fragments as u32 };
        let smaller = if max_frame_bytes < max_message_bytes { max_frame_bytes } else { max_message_bytes };
        let max_short_payload = if smaller < MAX_SHORT_PAYLOAD { smaller } else { MAX_SHORT_PAYLOAD } as u8;
        let phase = Phase::Boundary;
        Self {
            max_message_bytes,
            max_frame_bytes,
            max_fragments,
            max_short_payload,
            partial,
            inflater,
            role,
            phase,
        }
    }

    /// The same decoder, for compressed messages too (RFC 7692). Call it before anything is decoded.
    #[must_use]
    pub fn with_inflater(mut self, inflater: Inflater) -> Self {
        self.set_inflater(inflater);
        self
    }

    pub(crate) fn set_inflater(&mut self, inflater: Inflater) {
        self.inflater = Some(Box::new(inflater));
    }

    /// Decodes the next message from `input[*pos..]` and moves `*pos` behind it.
    ///
    /// `Ok(None)` means that more bytes are needed. All of `input` was taken then (`*pos == input.len()`),
    /// and the caller may throw its bytes away: the decoder holds a copy of the bytes that it needs. Call it
    /// until it returns `Ok(None)`, because the last call also frees the memory of the message before it. The
    /// bytes of `input` before `*pos` have been unmasked in place.
    ///
    /// A message that lies in `input` whole and in one frame is returned as a slice of `input`. Nothing is
    /// copied and nothing is allocated for it.
    ///
    /// After a [`Message::Close`] or an error the stream means nothing. Every further call takes all of
    /// `input` and returns `Ok(None)`.
    ///
    /// # Errors
    ///
    /// A [`ProtocolError`] as soon as the byte that breaks a rule or a limit is there, also within a frame
    /// that is not whole.
    #[inline]
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        match self.short_frame(input, *pos) {
            Some(frame) => self.give_short(&frame, input, pos),
            None if self.is_done(input, *pos) => Ok(None),
            None => self.decode_any(input, pos),
        }
    }

    /// Whether nothing is held: no part of a header, a frame or a message, and no message that was returned
    /// and that the next call of [`decode`](Self::decode) frees.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// The bytes that have come of a text or binary message that has begun and is not whole. `None` where
    /// there is no such message. For a compressed message these are the inflated bytes.
    ///
    /// A message begins with the first byte of its first frame, so that `Some(0)` is possible. A control
    /// frame is no message: pings between fragments change nothing here.
    ///
    /// The decoder has no clock. A caller that gives messages a time to complete calls this when the input is
    /// used up. It starts the time when this becomes `Some`, and stops it when this becomes `None`. It starts
    /// the time anew when [`decode`](Self::decode) has returned a text or binary message, because the next
    /// message may have begun in the same input.
    #[inline]
    pub fn unfinished_message(&self) -> Option<usize> {
        let partial = self.partial.as_ref().filter(|_| self.phase != Phase::Ended)?;
        partial.unfinished_message()
    }

    /// The bytes of memory that hold unfinished frames and messages, and the message that was returned last.
    /// It is 0 for a decoder that [is idle](Self::is_idle). The decoder itself and its [`Inflater`] do not
    /// count.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.held_bytes())
    }

    /// Frees memory that was reserved for bytes which have not come. After it the bytes of an unfinished
    /// message take at most twice their number.
    ///
    /// Call it before waiting long for the peer. A message of which 64 KiB have come may be in a larger
    /// buffer, which an earlier message has left.
    #[inline]
    pub fn shrink(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.shrink();
        }
    }

    /// As [`decode`](Self::decode), but the message owns its payload. A message that came in pieces is given
    /// away without a copy.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_owned(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
    ) -> Result<Option<OwnedMessage>, ProtocolError> {
        if let Some(frame) = self.short_frame(input, *pos) {
            return self.give_short(&frame, input, pos).map(|message| message.map(OwnedMessage::from));
        }
        if self.is_done(input, *pos) {
            return Ok(None);
        }
        let found = self.find(input, pos)?;
        let held = self.partial.as_mut().filter(|_| matches!(found, Some(Found::Held)));
        if let Some(message) = held.and_then(|partial| partial.take_delivered()) {
            return Ok(Some(message));
        }
        self.found(found, input, pos).map(|message| message.map(OwnedMessage::from))
    }

    /// Room for the rest of a long payload, of which at least 32 KiB have yet to come. `None` where there is
    /// no such payload, and where less than 32 KiB of the message have come. The caller may read the next
    /// bytes of the stream into the room, which saves a copy. It then calls [`fill`](Self::fill) with the
    /// number of these bytes, and [`decode`](Self::decode), also with an empty input.
    ///
    /// The room is at most as large as the bytes that have come: see [`Limits`].
    #[inline]
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.partial.as_mut()?.room(LONG)
    }

    /// Takes the first `n` bytes of the [`room`](Self::room), which the caller has read into it.
    pub fn fill(&mut self, n: usize) {
        if let Some(partial) = &mut self.partial {
            partial.fill(n);
        }
    }

    /// Forgets all that is held. The rest of the stream means nothing.
    pub(crate) fn end(&mut self) {
        self.partial = None;
        self.phase = Phase::Ended;
    }

    /// The frame at `pos`, if it is short, is a message by itself, and lies whole in the input.
    #[inline(always)]
    fn short_frame(&self, input: &[u8], pos: usize) -> Option<ShortFrame> {
        let rest = input.get(pos..)?;
        let (&[first, second], rest) = rest.split_first_chunk::<2>()?;
        let (key, masked) = match self.role {
            Role::Server => (*rest.first_chunk::<4>()?, 0x80),
            Role::Client => ([0; 4], 0),
        };
        let len = usize::from(second ^ masked);
        let start = pos + 2 + if masked == 0 { 0 } else { 4 };
        let end = start + len;
        let is_message = first == 0x81 || first == 0x82;
        let in_limits = len <= usize::from(self.max_short_payload);
        (self.phase == Phase::Boundary && is_message && in_limits && end <= input.len())
            .then_some(ShortFrame { start, end, key, text: first == 0x81 })
    }

    /// Whether there is nothing to do: the input is used up, and nothing is held. The last call for each read
    /// is of this kind.
    #[inline(always)]
    fn is_done(&self, input: &[u8], pos: usize) -> bool {
        pos >= input.len() && self.is_idle()
    }

    /// Makes a message of a short frame.
    #[inline(always)]
    fn give_short<'a>(
        &mut self,
        frame: &ShortFrame,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        let Some(payload) = input.get_mut(frame.start..frame.end) else { return Ok(None) };
        *pos = frame.end;
        let ascii = match self.role {
            Role::Server => mask_short(payload, frame.key),
            Role::Client => payload.len() < 64 && payload.is_ascii(),
        };
        if !frame.text {
            return Ok(Some(Message::Binary(payload)));
        }
        if ascii {
            // SAFETY: every byte is ASCII, and ASCII is UTF-8.
            #[allow(unsafe_code, reason = "a second check would read each short message again")]
            return Ok(Some(Message::Text(unsafe { std::str::from_utf8_unchecked(payload) })));
        }
        self.give(Opcode::Text, payload)
    }

    /// Any frame: it lies whole in the input, or is kept.
    #[inline(never)]
    fn decode_any<'a>(
        &'a mut self,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        let found = self.find(input, pos)?;
        self.found(found, input, pos)
    }

    /// Frees the message that was returned last, finds the next one, and notes the state that this leaves.
    fn find(&mut self, input: &mut [u8], pos: &mut usize) -> Result<Option<Found>, ProtocolError> {
        if self.partial.as_mut().is_some_and(|partial| partial.free_delivered()) {
            self.partial = None;
        }
        if self.phase == Phase::Ended {
            // A Close frame may have come between the fragments of a message. The message is not needed any
            // more.
            self.partial = None;
            *pos = input.len();
            return Ok(None);
        }
        let found = self.next(input, pos);
        // The bytes that came first are checked first.
        let checked = self.partial.as_mut().map_or(Ok(()), |partial| partial.check());
        let found = checked.and(found);
        self.phase = match found {
            Ok(_) if self.is_idle() => Phase::Boundary,
            Ok(_) => Phase::Held,
            Err(_) => Phase::Ended,
        };
        if found.is_err() {
            self.partial = None;
        }
        found
    }

    /// Makes the message that was found.
    fn found<'a>(
        &'a mut self,
        found: Option<Found>,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        match found {
            None => Ok(None),
            Some(Found::InPlace { header, end }) => {
                let Some(payload) = input.get_mut(*pos..end) else { return Ok(None) };
                *pos = end;
                mask(payload, header.key, 0);
                self.give(header.opcode, payload)
            }
            Some(Found::Held) => {
                let Some(partial) = &self.partial else { return Ok(None) };
                let message = partial.delivered();
                if matches!(message, Err(_) | Ok(Some(Message::Close(_)))) {
                    self.phase = Phase::Ended;
                }
                message
            }
        }
    }

    /// Finds the next message or control frame that is whole. `None` when the input is used up.
    fn next(&mut self, input: &mut [u8], pos: &mut usize) -> Result<Option<Found>, ProtocolError> {
        loop {
            if !self.partial.as_ref().is_some_and(|partial| partial.in_frame()) {
                let Some(header) = self.header(input, pos)? else { return Ok(None) };
                self.check(&header)?;
                let in_place = header.fin && header.opcode != Opcode::Continuation && !header.compressed;
                let end = pos.checked_add(header.payload).filter(|&end| end <= input.len());
                if let (true, Some(end)) = (in_place, end) {
                    return Ok(Some(Found::InPlace { header, end }));
                }
                self.partial.get_or_insert_default().begin(&header);
            }
            let Some(partial) = &mut self.partial else { return Ok(None) };
            let inflater = self.inflater.as_deref_mut();
            let limit = self.max_message_bytes;
            if !partial.take(input, pos, inflater, limit)? {
                return Ok(None);
            }
            let inflater = self.inflater.as_deref_mut();
            if partial.end_frame(inflater, limit)? {
                return Ok(Some(Found::Held));
            }
        }
    }

    /// The next header. Its first bytes may have come with earlier calls.
    fn header(&mut self, input: &[u8], pos: &mut usize) -> Result<Option<Header>, ProtocolError> {
        let rest = input.get(*pos..).unwrap_or_default();
        let parse =
            |head: &[u8]| Header::parse(head, self.role, self.max_frame_bytes, self.inflater.is_some());
        if !self.partial.as_ref().is_some_and(|partial| partial.in_header())
            && let Some(header) = parse(rest)?
        {
            *pos += header.len;
            return Ok(Some(header));
        }
        for &byte in rest {
            let partial = self.partial.get_or_insert_default();
            let Some(head) = partial.push_header(byte) else { break };
            *pos += 1;
            if let Some(header) = parse(head)? {
                if partial.end_header() {
                    self.partial = None;
                }
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Fails if the frame may not come now (RFC 6455 §5.4), or if its message is over a limit.
    fn check(&self, header: &Header) -> Result<(), ProtocolError> {
        let opcode = header.opcode;
        if opcode.is_control() {
            return Ok(());
        }
        let held = self.partial.as_ref().and_then(|partial| partial.message_so_far());
        let (bytes, fragments) = match held {
            Some(_) if opcode != Opcode::Continuation => {
                return Err(ProtocolError::ExpectedContinuation { opcode });
            }
            None if opcode == Opcode::Continuation => return Err(ProtocolError::UnexpectedContinuation),
            held => held.unwrap_or_default(),
        };
        let limit = self.max_message_bytes;
        // A compressed message meets the limit while it is inflated.
        let compressed =
            header.compressed || self.partial.as_ref().is_some_and(|partial| partial.is_compressed());
        let coming = if compressed { 0 } else { header.payload };
        let length = (bytes as u64).saturating_add(coming as u64);
        if length > limit as u64 {
            return Err(ProtocolError::MessageTooLarge { length, limit });
        }
        let limit = self.max_fragments as usize;
        if fragments >= limit {
            return Err(ProtocolError::TooManyFragments { limit });
        }
        Ok(())
    }

    /// Makes a message of a payload that lies in the input.
    fn give<'a>(&mut self, opcode: Opcode, payload: &'a [u8]) -> Result<Option<Message<'a>>, ProtocolError> {
        let message = Message::parse(opcode, payload);
        if matches!(message, Err(_) | Ok(Message::Close(_))) {
            self.phase = Phase::Ended;
        }
        message.map(Some)
    }
}

/// A message or control frame that is whole.
#[derive(Clone, Copy)]
enum Found {
    /// In the input, up to `end`.
    InPlace { header: Header, end: usize },
    /// In the memory of the decoder.
    Held,
}

/// A short frame that lies whole in the input.
struct ShortFrame {
    start: usize,
    end: usize,
    key: [u8; 4],
    text: bool,
}
