//! The part of the decoder that holds unfinished frames and messages in fragments (RFC 6455 §5.4). Its memory
//! grows with the bytes that have come, and never by the length that a header announces.

use crate::{
    Message, Opcode, OwnedMessage, ProtocolError,
    buffer::Buffer,
    deflate::{InflateError, Inflated, Inflater},
    frame::{Header, MAX_HEADER},
    mask::mask,
    utf8::{BadUtf8, Progress, TextBuffer},
};

/// One unfinished frame and one unfinished message. A control frame may come between the fragments of a
/// message.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// The bytes of a header that has come in part, and their number.
    head: [u8; MAX_HEADER],
    head_len: u8,
    frame: Option<Frame>,
    message: Option<Body>,
    /// Frames of the unfinished message.
    fragments: usize,
    control: Vec<u8>,
    delivered: Option<Delivered>,
}

/// A frame of which a part of the payload has yet to come.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    key: [u8; 4],
    taken: usize,
    payload: usize,
}

#[derive(Debug)]
enum Body {
    Text(TextBuffer),
    Binary(Buffer),
    /// A compressed message: the bytes that are inflated so far. For a text, also how many of them are known
    /// to be UTF-8.
    Inflated {
        bytes: Inflated,
        text: Option<Progress>,
    },
}

impl Body {
    /// The buffer that the payload is added to.
    fn buffer(&mut self) -> Option<&mut Buffer> {
        match self {
            Self::Text(text) => Some(text.buffer()),
            Self::Binary(bytes) => Some(bytes),
            Self::Inflated { .. } => None,
        }
    }
}

/// What the last call returned. The next call frees it.
#[derive(Clone, Copy, Debug)]
enum Delivered {
    Message,
    Control(Opcode),
}

impl Partial {
    /// Whether a header has come in part.
    pub(crate) fn in_header(&self) -> bool {
        self.head_len > 0
    }

    /// Adds a byte to the header, and returns the header so far. `None` where no header is so long.
    pub(crate) fn push_header(&mut self, byte: u8) -> Option<&[u8]> {
        *self.head.get_mut(usize::from(self.head_len))? = byte;
        self.head_len += 1;
        self.head.get(..usize::from(self.head_len))
    }

    /// Forgets the header, which is whole. Returns whether nothing else is held.
    pub(crate) fn end_header(&mut self) -> bool {
        self.head_len = 0;
        self.is_empty()
    }

    /// Whether a part of a frame's payload has yet to come.
    pub(crate) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Bytes and fragments of the unfinished message, if there is one.
    pub(crate) fn message_so_far(&self) -> Option<(usize, usize)> {
        let bytes = match self.message.as_ref()? {
            Body::Text(text) => text.len(),
            Body::Binary(bytes) => bytes.len(),
            Body::Inflated { bytes, .. } => bytes.len(),
        };
        Some((bytes, self.fragments))
    }

    /// Bytes of the text or binary message that has begun and is not whole.
    pub(crate) fn unfinished_message(&self) -> Option<usize> {
        if matches!(self.delivered, Some(Delivered::Message)) {
            return None;
        }
        if let Some((bytes, _)) = self.message_so_far() {
            return Some(bytes);
        }
        // At least one byte of a first frame has come. Its lower half is the opcode.
        let opcode = Opcode::from_bits(self.head[0] & 0xF)?;
        (self.in_header() && !opcode.is_control()).then_some(0)
    }

    /// Bytes of memory that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        let message = match &self.message {
            Some(Body::Text(text)) => text.capacity(),
            Some(Body::Binary(bytes)) => bytes.capacity(),
            Some(Body::Inflated { bytes, .. }) => bytes.capacity(),
            None => 0,
        };
        size_of::<Self>() + message + self.control.capacity()
    }

    /// Frees memory that was reserved for bytes which have not come.
    pub(crate) fn shrink(&mut self) {
        match &mut self.message {
            Some(Body::Text(text)) => text.buffer().shrink(),
            Some(Body::Binary(bytes)) => bytes.shrink(),
            Some(Body::Inflated { bytes, .. }) => bytes.shrink(),
            None => {}
        }
    }

    /// Whether the unfinished message is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        matches!(self.message, Some(Body::Inflated { .. }))
    }

    /// Begins a frame. The caller has checked that it may come now.
    pub(crate) fn begin(&mut self, header: &Header) {
        match header.opcode {
            Opcode::Text | Opcode::Binary if header.compressed => {
                let text = (header.opcode == Opcode::Text).then(Progress::default);
                self.message = Some(Body::Inflated { bytes: Inflated::new(), text });
            }
            Opcode::Text => {
                self.message = Some(Body::Text(TextBuffer::default()));
            }
            Opcode::Binary => self.message = Some(Body::Binary(Buffer::default())),
            _ => {}
        }
        if !header.opcode.is_control() {
            self.fragments += 1;
        }
        let Header { fin, opcode, payload, key, .. } = *header;
        self.frame = Some(Frame { opcode, fin, key, taken: 0, payload });
    }

    /// Takes the bytes of the frame's payload that the input has. Returns whether the frame is whole.
    /// Compressed bytes are inflated, to at most `limit` bytes.
    pub(crate) fn take(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
        inflater: Option<&mut Inflater>,
        limit: usize,
    ) -> Result<bool, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(true) };
        let rest = input.get_mut(*pos..).unwrap_or_default();
        let take = rest.len().min(frame.payload - frame.taken);
        let piece = rest.get_mut(..take).unwrap_or_default();
        *pos += take;
        mask(piece, frame.key, frame.taken);
        frame.taken += take;
        let whole = frame.taken == frame.payload;
        if frame.opcode.is_control() {
            self.control.extend_from_slice(piece);
        } else {
            match &mut self.message {
                Some(Body::Text(text)) => text.buffer().push(piece),
                Some(Body::Binary(bytes)) => bytes.push(piece),
                Some(Body::Inflated { bytes, text }) => {
                    if let Some(inflater) = inflater {
                        inflater.push(piece, bytes, limit).map_err(|error| refused(error, limit))?;
                    }
                    // A message that ends here is checked as a whole when it is returned.
                    if let Some(checked) = text
                        && !(whole && frame.fin)
                    {
                        checked.check(bytes.as_slice())?;
                    }
                }
                None => {}
            }
        }
        Ok(whole)
    }

    /// Fails if no text begins with the bytes that have come of a text message.
    pub(crate) fn check(&mut self) -> Result<(), ProtocolError> {
        if let Some(Body::Text(text)) = &mut self.message
            && self.delivered.is_none_or(|delivered| matches!(delivered, Delivered::Control(_)))
        {
            text.check()?;
        }
        Ok(())
    }

    /// Room for the rest of the frame's payload, if that is at least `least` bytes, and if as many have come.
    pub(crate) fn room(&mut self, least: usize) -> Option<&mut [u8]> {
        let frame = self.frame.as_ref().filter(|frame| !frame.opcode.is_control())?;
        let rest = frame.payload.saturating_sub(frame.taken);
        if rest < least {
            return None;
        }
        let buffer = self.message.as_mut()?.buffer()?;
        (buffer.len() >= least).then(|| buffer.room(rest))
    }

    /// Takes `n` bytes of the payload, which were read into the [`room`](Self::room).
    pub(crate) fn fill(&mut self, n: usize) {
        let (Some(frame), Some(buffer)) = (&mut self.frame, self.message.as_mut().and_then(Body::buffer))
        else {
            return;
        };
        let piece = buffer.fill(n.min(frame.payload.saturating_sub(frame.taken)));
        mask(piece, frame.key, frame.taken);
        frame.taken += piece.len();
    }

    /// Ends the frame. Returns whether a message or a control frame is whole.
    pub(crate) fn end_frame(
        &mut self,
        inflater: Option<&mut Inflater>,
        limit: usize,
    ) -> Result<bool, ProtocolError> {
        let Some(frame) = self.frame.take() else { return Ok(false) };
        if frame.opcode.is_control() {
            self.delivered = Some(Delivered::Control(frame.opcode));
        } else if frame.fin {
            match &mut self.message {
                Some(Body::Text(text)) => text.finish()?,
                Some(Body::Inflated { bytes, .. }) => {
                    if let Some(inflater) = inflater {
                        inflater.finish(bytes, limit).map_err(|error| refused(error, limit))?;
                    }
                }
                _ => {}
            }
            self.delivered = Some(Delivered::Message);
        }
        Ok(self.delivered.is_some())
    }

    /// The message or control frame that is whole, after [`end_frame`](Self::end_frame) said so.
    pub(crate) fn delivered(&self) -> Result<Option<Message<'_>>, ProtocolError> {
        Ok(match (self.delivered, &self.message) {
            (Some(Delivered::Control(opcode)), _) => Some(Message::parse(opcode, &self.control)?),
            (Some(Delivered::Message), Some(Body::Text(text))) => Some(Message::Text(text.text())),
            (Some(Delivered::Message), Some(Body::Binary(bytes))) => Some(Message::Binary(bytes.as_slice())),
            (Some(Delivered::Message), Some(Body::Inflated { bytes, text })) => {
                let opcode = if text.is_some() { Opcode::Text } else { Opcode::Binary };
                Some(Message::parse(opcode, bytes.as_slice())?)
            }
            _ => None,
        })
    }

    /// Gives away the message that is whole. `None` where a copy costs no more, and for a text that is not
    /// UTF-8.
    pub(crate) fn take_delivered(&mut self) -> Option<OwnedMessage> {
        match (self.delivered, self.message.take()) {
            (Some(Delivered::Message), Some(Body::Text(text))) => Some(OwnedMessage::Text(text.into_text())),
            (Some(Delivered::Message), Some(Body::Binary(bytes))) => {
                Some(OwnedMessage::Binary(bytes.into_vec()))
            }
            (Some(Delivered::Message), Some(Body::Inflated { bytes, text: None })) => {
                Some(OwnedMessage::Binary(bytes.into_vec()))
            }
            (Some(Delivered::Message), Some(Body::Inflated { bytes, text })) if bytes.is_large() => {
                // A large message is not copied. A second check of its text is cheap beside the inflating.
                let bad = match String::from_utf8(bytes.into_vec()) {
                    Ok(text) => return Some(OwnedMessage::Text(text)),
                    Err(error) => error.into_bytes().into(),
                };
                self.message = Some(Body::Inflated { bytes: bad, text });
                None
            }
            (_, message) => {
                self.message = message;
                None
            }
        }
    }

    /// Frees the message that was returned. Returns whether nothing else is held.
    pub(crate) fn free_delivered(&mut self) -> bool {
        match self.delivered.take() {
            Some(Delivered::Control(_)) => self.control = Vec::new(),
            Some(Delivered::Message) => self.message = None,
            None => {}
        }
        self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none() && self.delivered.is_none()
    }
}

fn refused(error: InflateError, limit: usize) -> ProtocolError {
    match error {
        InflateError::Malformed => ProtocolError::InvalidDeflate,
        InflateError::TooLarge => {
            ProtocolError::MessageTooLarge { length: (limit as u64).saturating_add(1), limit }
        }
    }
}

impl From<BadUtf8> for ProtocolError {
    fn from(bad: BadUtf8) -> Self {
        Self::InvalidUtf8 { offset: bad.offset }
    }
}
