//! The decoder of the earlier drafts (hixie-76 §5.3): text between `00` and `FF`, and the close `FF 00`.

use super::{END, TEXT};
use crate::{
    Limits, Message, OwnedMessage, ProtocolError,
    utf8::{BadUtf8, TextBuffer},
};

/// The state of the decoder between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between frames.
    Boundary,
    /// Within a text frame.
    Text,
    /// Behind the first byte of a close.
    Closing,
    /// A close or an error came. The rest of the stream means nothing.
    Ended,
}

/// Turns the bytes of one connection into messages: texts, and a close without a code.
///
/// The drafts have frames of other types too. Nobody sent them, and receivers were to skip them. Here they
/// are an error, because the peer is no browser. Text that is not UTF-8 is an error too, where the drafts
/// wanted replacement characters.
///
/// ```
/// use switchboard_websocket::{Limits, Message, drafts::hixie::Decoder};
///
/// let mut decoder = Decoder::new(Limits::default());
/// let mut input = *b"\x00hello\xFF\xFF\x00";
/// let mut pos = 0;
/// assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), Some(Message::Text("hello")));
/// assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), Some(Message::Close(None)));
/// assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), None);
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// The most bytes of a message.
    limit: usize,
    /// The unfinished text, or the text that was returned last.
    text: TextBuffer,
    phase: Phase,
    /// The text was returned. The next call frees it.
    delivered: bool,
}

/// A frame that is whole.
#[derive(Clone, Copy)]
enum Found {
    /// A text that lies in the input.
    InPlace {
        start: usize,
        end: usize,
    },
    /// A text that is held.
    Held,
    Close,
}

impl Decoder {
    /// A decoder for a server or a client, which send the same frames. A text is bounded by the smaller one
    /// of the limits for a message and for a frame. There are no fragments.
    pub fn new(limits: Limits) -> Self {
        let limit = limits.max_message_bytes.min(limits.max_frame_bytes);
        Self { limit, text: TextBuffer::default(), phase: Phase::Boundary, delivered: false }
    }

    /// Decodes the next message from `input[*pos..]` and moves `*pos` behind it, as
    /// [`Decoder::decode`](crate::Decoder::decode) does. `Ok(None)` means that all of `input` was taken.
    ///
    /// It returns [`Message::Text`] and [`Message::Close`] only.
    ///
    /// # Errors
    ///
    /// A [`ProtocolError`] as soon as the byte that breaks a rule or the limit is there.
    pub fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        let found = self.find(input, pos)?;
        self.message(found, input)
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
        let found = self.find(input, pos)?;
        if matches!(found, Some(Found::Held)) {
            self.delivered = false;
            return Ok(Some(OwnedMessage::Text(std::mem::take(&mut self.text).into_text())));
        }
        self.message(found, input).map(|message| message.map(OwnedMessage::from))
    }

    /// Whether nothing is held: no part of a frame, and no text that was returned and that the next call of
    /// [`decode`](Self::decode) frees.
    pub fn is_idle(&self) -> bool {
        !self.delivered && matches!(self.phase, Phase::Boundary | Phase::Ended)
    }

    /// The bytes that have come of a text that has begun and is not whole: see
    /// [`Decoder::unfinished_message`](crate::Decoder::unfinished_message).
    pub fn unfinished_message(&self) -> Option<usize> {
        (self.phase == Phase::Text).then(|| self.text.len())
    }

    /// The bytes of memory that hold an unfinished text, or the text that was returned last.
    pub fn held_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Frees memory that was reserved for bytes which have not come, as
    /// [`Decoder::shrink`](crate::Decoder::shrink) does.
    pub fn shrink(&mut self) {
        self.text.buffer().shrink();
    }

    fn message<'a>(
        &'a mut self,
        found: Option<Found>,
        input: &'a [u8],
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        Ok(match found {
            None => None,
            Some(Found::Close) => Some(Message::Close(None)),
            Some(Found::Held) => Some(Message::Text(self.text.text())),
            Some(Found::InPlace { start, end }) => {
                let bytes = input.get(start..end).unwrap_or_default();
                match simdutf8::compat::from_utf8(bytes) {
                    Ok(text) => Some(Message::Text(text)),
                    Err(error) => {
                        self.phase = Phase::Ended;
                        return Err(BadUtf8 { offset: error.valid_up_to() }.into());
                    }
                }
            }
        })
    }

    /// Frees the text that was returned last, and finds the next frame that is whole.
    fn find(&mut self, input: &[u8], pos: &mut usize) -> Result<Option<Found>, ProtocolError> {
        if std::mem::take(&mut self.delivered) {
            self.text = TextBuffer::default();
        }
        let found = self.next(input, pos);
        if matches!(found, Err(_) | Ok(Some(Found::Close))) {
            self.phase = Phase::Ended;
            self.text = TextBuffer::default();
        }
        found
    }

    fn next(&mut self, input: &[u8], pos: &mut usize) -> Result<Option<Found>, ProtocolError> {
        loop {
            let rest = input.get(*pos..).unwrap_or_default();
            let Some((&first, behind)) = rest.split_first() else { return Ok(None) };
            match self.phase {
                Phase::Ended => {
                    *pos = input.len();
                    return Ok(None);
                }
                Phase::Boundary => {
                    *pos += 1;
                    self.phase = match first {
                        TEXT => Phase::Text,
                        END => Phase::Closing,
                        kind => return Err(ProtocolError::UnknownFrame { kind }),
                    };
                    if first == TEXT
                        && let Some(len) = memchr::memchr(END, behind)
                        && len <= self.limit
                    {
                        let start = *pos;
                        *pos += len + 1;
                        self.phase = Phase::Boundary;
                        return Ok(Some(Found::InPlace { start, end: start + len }));
                    }
                }
                Phase::Closing => {
                    *pos += 1;
                    // A close has the length 0.
                    return if first == 0 {
                        Ok(Some(Found::Close))
                    } else {
                        Err(ProtocolError::UnknownFrame { kind: END })
                    };
                }
                Phase::Text => {
                    if self.take(rest, pos)? {
                        return Ok(Some(Found::Held));
                    }
                }
            }
        }
    }

    /// Takes the bytes of a text that `rest` has. Returns whether the text ends there.
    fn take(&mut self, rest: &[u8], pos: &mut usize) -> Result<bool, ProtocolError> {
        let end = memchr::memchr(END, rest);
        let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let (fits, over) = piece.split_at(piece.len().min(self.limit.saturating_sub(self.text.len())));
        // A bad byte is found before the limit is met, as it would be if the text came in smaller pieces.
        self.text.buffer().push(fits);
        self.text.check()?;
        if !over.is_empty() {
            let length = (self.limit as u64).saturating_add(1);
            return Err(ProtocolError::MessageTooLarge { length, limit: self.limit });
        }
        *pos += piece.len();
        if end.is_some() {
            *pos += 1;
            self.text.finish()?;
            self.phase = Phase::Boundary;
            self.delivered = true;
        }
        Ok(end.is_some())
    }
}
