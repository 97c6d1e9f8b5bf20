//! What travels: the frames of each protocol, built once, and the check of what comes back.

use anyhow::{Result, bail, ensure};

/// The protocol a workload is spoken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Fixed-size messages with nothing around them.
    Tcp,
    /// RFC 6455 text messages at `path`.
    WebSocket { path: &'static str },
    /// Socket.IO events over Engine.IO 4, at `/socket.io/`.
    SocketIo,
    /// The same over Engine.IO 3, as Socket.IO 2 speaks it.
    SocketIo2,
    /// Events of Socket.IO 0.9, at `/socket.io/1/`.
    SocketIo09,
    /// One room of clients of all three: half speak [`SocketIo`](Self::SocketIo), a quarter each the others.
    Mixed,
}

impl Wire {
    /// What one of the connections speaks.
    pub fn of(self, index: usize) -> Self {
        match (self, index % 4) {
            (Self::Mixed, 1) => Self::SocketIo2,
            (Self::Mixed, 3) => Self::SocketIo09,
            (Self::Mixed, _) => Self::SocketIo,
            (wire, _) => wire,
        }
    }
}

/// Any key does; what counts is that it is not zero, so that a server cannot skip the unmasking.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Payload lengths that say the length follows in 16 or 64 bits.
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;
/// Longest run of equal frames kept for sending and comparing.
const RUN_BYTES: usize = 256 * 1024;

/// Replies longer than this are compared as they come.
const LARGE: usize = 64 * 1024;

/// One message as it is sent and as it comes back, in runs of copies.
pub(super) struct Traffic {
    wire: Wire,
    /// How a Socket.IO packet of the event begins, for those that are spelt other than expected.
    event_prefix: Vec<u8>,
    request: Run,
    reply: Run,
    pong: Vec<u8>,
}

/// As many copies of one frame as fit, end to end.
struct Run {
    frame: usize,
    bytes: Vec<u8>,
}

impl Run {
    fn new(frame: &[u8]) -> Self {
        let copies = (RUN_BYTES / frame.len()).max(2);
        Self { frame: frame.len(), bytes: frame.repeat(copies) }
    }
}

/// What one read held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub messages: usize,
    pub pings: usize,
    /// Bytes used up; what is beyond is the start of a frame.
    pub used: usize,
}

impl Traffic {
    /// Messages of `payload` bytes; on Socket.IO as the one argument of `event`.
    pub(super) fn new(wire: Wire, event: &str, payload: usize) -> Self {
        let packet = match wire {
            Wire::Tcp | Wire::WebSocket { .. } => text(payload),
            Wire::SocketIo | Wire::SocketIo2 | Wire::Mixed => event_packet(event, payload),
            Wire::SocketIo09 => old_event_packet(event, payload),
        };
        let (request, reply) = match wire {
            Wire::Tcp => (packet.clone(), packet),
            _ => (client_frame(TEXT, &packet), server_frame(TEXT, &packet)),
        };
        let pong = match wire {
            Wire::SocketIo => client_frame(TEXT, b"3"),
            Wire::SocketIo09 => client_frame(TEXT, b"2::"),
            _ => client_frame(PONG, b""),
        };
        let event_prefix = match wire {
            Wire::SocketIo09 => format!("5:::{{\"name\":\"{event}\",").into_bytes(),
            _ => format!("42[\"{event}\",").into_bytes(),
        };
        Self { wire, event_prefix, request: Run::new(&request), reply: Run::new(&reply), pong }
    }

    /// Bytes of one message as it is sent.
    pub(super) fn request_len(&self) -> usize {
        self.request.frame
    }

    /// The next bytes to send: `owed` of them at most, starting `phase` bytes into a message.
    pub(super) fn request_bytes(&self, phase: usize, owed: usize) -> &[u8] {
        let end = (phase + owed).min(self.request.bytes.len());
        &self.request.bytes[phase..end]
    }

    pub(super) fn pong(&self) -> &[u8] {
        &self.pong
    }

    /// Whether replies are to be [followed](Self::follow) rather than counted.
    pub(super) fn is_large(&self) -> bool {
        self.reply.frame > LARGE
    }

    /// Compares `bytes` with replies, of which `begun` bytes of one have come, and counts those that end
    /// here.
    pub(super) fn follow(&self, mut bytes: &[u8], begun: &mut usize) -> Result<usize> {
        let mut messages = 0;
        while !bytes.is_empty() {
            let expected = &self.reply.bytes[*begun..self.reply.frame];
            let (piece, rest) = bytes.split_at(bytes.len().min(expected.len()));
            ensure!(piece == &expected[..piece.len()], "a reply differs from what was sent");
            *begun += piece.len();
            if *begun == self.reply.frame {
                messages += 1;
                *begun = 0;
            }
            bytes = rest;
        }
        Ok(messages)
    }

    /// Counts the messages in `bytes`, which start at the start of a frame.
    pub(super) fn count(&self, bytes: &[u8]) -> Result<Counted> {
        let whole = bytes.len() / self.reply.frame;
        let used = whole * self.reply.frame;
        if used <= self.reply.bytes.len() && bytes[..used] == self.reply.bytes[..used] {
            // The remainder is shorter than a reply; it may still be a whole frame of another kind.
            let mut counted = self.walk(&bytes[used..])?;
            counted.messages += whole;
            counted.used += used;
            return Ok(counted);
        }
        self.walk(bytes)
    }

    /// The slow twin of [`Self::count`]: frame by frame.
    fn walk(&self, bytes: &[u8]) -> Result<Counted> {
        let expected = &self.reply.bytes[..self.reply.frame];
        let mut counted = Counted::default();
        loop {
            let rest = &bytes[counted.used..];
            if rest.starts_with(expected) {
                counted.messages += 1;
                counted.used += expected.len();
                continue;
            }
            if self.wire == Wire::Tcp {
                ensure!(expected.starts_with(rest), "a reply differs from what was sent");
                return Ok(counted);
            }
            let Some(frame) = Frame::parse(rest) else { return Ok(counted) };
            counted.used += frame.length;
            self.count_frame(&frame, &mut counted)?;
        }
    }

    fn count_frame(&self, frame: &Frame, counted: &mut Counted) -> Result<()> {
        match (frame.opcode, self.wire) {
            (CLOSE, _) => {
                bail!("the server closed a connection: {:?}", frame.payload.escape_ascii().to_string())
            }
            (PING, Wire::WebSocket { .. }) => counted.pings += 1,
            (TEXT, Wire::SocketIo) if frame.payload == b"2" => counted.pings += 1,
            (TEXT, Wire::SocketIo09) if frame.payload == b"2::" => counted.pings += 1,
            (TEXT, Wire::SocketIo | Wire::SocketIo2 | Wire::SocketIo09)
                if frame.payload.starts_with(&self.event_prefix) =>
            {
                counted.messages += 1;
            }
            // Other packets, as the `auth` event on connection, are not what is measured.
            (_, Wire::SocketIo | Wire::SocketIo2 | Wire::SocketIo09) | (PONG, _) => {}
            _ => bail!("a reply differs from what was sent"),
        }
        Ok(())
    }
}

fn text(payload: usize) -> Vec<u8> {
    (b'a'..=b't').cycle().take(payload).collect()
}

/// A Socket.IO event with one string of `payload` bytes, as Engine.IO carries it on either transport.
pub(super) fn event_packet(event: &str, payload: usize) -> Vec<u8> {
    [format!("42[\"{event}\",\"").as_bytes(), &text(payload), b"\"]"].concat()
}

/// The same event as Socket.IO 0.9 writes it.
fn old_event_packet(event: &str, payload: usize) -> Vec<u8> {
    let head = format!("5:::{{\"name\":\"{event}\",\"args\":[\"");
    [head.as_bytes(), &text(payload), b"\"]}"].concat()
}

/// One frame from a server.
pub(super) struct Frame<'a> {
    opcode: u8,
    /// Whether the payload is compressed.
    pub deflated: bool,
    pub payload: &'a [u8],
    /// Bytes of header and payload.
    pub length: usize,
}

impl<'a> Frame<'a> {
    /// The frame `bytes` start with, once it is all there. RFC 6455, section 5.2.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (header, payload) = match second & 0x7f {
            LENGTH_16 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
            LENGTH_64 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
            short => (2, short.into()),
        };
        let length = header + payload;
        let payload = bytes.get(header..length)?;
        Some(Self { opcode: first & 0x0f, deflated: first & RSV1 != 0, payload, length })
    }

    pub(super) fn is_close(&self) -> bool {
        self.opcode == CLOSE
    }

    pub(super) fn is_text(&self) -> bool {
        self.opcode == TEXT
    }
}

/// A masked text frame, as a client sends it.
pub(super) fn client_text(payload: &[u8]) -> Vec<u8> {
    client_frame(TEXT, payload)
}

/// A masked text frame whose payload is compressed.
pub(super) fn client_deflated(payload: &[u8]) -> Vec<u8> {
    client_frame(RSV1 | TEXT, payload)
}

/// A masked close frame with code 1000.
pub(super) fn client_close() -> Vec<u8> {
    client_frame(CLOSE, &1000u16.to_be_bytes())
}

fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), MASKED);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn header(opcode: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut header = vec![FIN | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < LENGTH_16 => header.push(masked | short),
        (_, Ok(medium)) => {
            header.push(masked | LENGTH_16);
            header.extend(medium.to_be_bytes());
        }
        _ => {
            header.push(masked | LENGTH_64);
            header.extend((length as u64).to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRES: [Wire; 3] = [Wire::Tcp, Wire::WebSocket { path: "/ws" }, Wire::SocketIo];

    fn replies(traffic: &Traffic, n: usize) -> Vec<u8> {
        traffic.reply.bytes[..traffic.reply.frame].repeat(n)
    }

    #[test]
    fn every_split_of_the_replies_counts_the_same() {
        for wire in WIRES {
            for payload in [1, 20, 125, 126, 200, 70_000] {
                let traffic = Traffic::new(wire, "echo", payload);
                let bytes = replies(&traffic, 3);
                for split in (0..bytes.len()).step_by(payload / 20 + 1) {
                    let first = traffic.count(&bytes[..split]).unwrap();
                    let second = traffic.count(&bytes[first.used..]).unwrap();
                    assert_eq!(
                        (first.messages + second.messages, first.used + second.used),
                        (3, bytes.len())
                    );
                }
            }
        }
    }

    #[test]
    fn large_replies_are_followed_over_any_split_and_compared_with_the_request() {
        let traffic = Traffic::new(WIRES[1], "echo", 100_000);
        assert!(traffic.is_large());
        let bytes = replies(&traffic, 3);
        for piece in [1000, 65_536, 100_009, 100_010, 100_011, 200_050] {
            let mut begun = 0;
            let counted: usize =
                bytes.chunks(piece).map(|bytes| traffic.follow(bytes, &mut begun).unwrap()).sum();
            assert_eq!((counted, begun), (3, 0));
        }
        let mut wrong = bytes;
        wrong[150_000] ^= 1;
        assert!(traffic.follow(&wrong, &mut 0).is_err());
    }

    #[test]
    fn pings_and_other_packets_are_no_messages() {
        let traffic = Traffic::new(Wire::SocketIo, "echo", 20);
        let mut bytes = replies(&traffic, 1);
        bytes.extend(server_frame(TEXT, b"2"));
        bytes.extend(server_frame(TEXT, br#"42["auth",{}]"#));
        bytes.extend(replies(&traffic, 2));
        bytes.extend(server_frame(TEXT, b"2"));
        assert_eq!(traffic.count(&bytes).unwrap(), Counted { messages: 3, pings: 2, used: bytes.len() });
    }

    #[test]
    fn a_reply_that_differs_or_a_close_is_an_error() {
        let traffic = Traffic::new(Wire::Tcp, "echo", 4);
        assert!(traffic.count(b"abcdabcx").is_err());
        let traffic = Traffic::new(WIRES[1], "echo", 4);
        assert!(traffic.count(&server_frame(TEXT, b"abcx")).is_err());
        assert!(traffic.count(&server_frame(CLOSE, b"\x03\xe8")).is_err());
    }

    #[test]
    fn a_request_is_the_masked_reply() {
        for payload in [0, 125, 126, 65_535, 65_536] {
            let text = vec![b'x'; payload];
            let frame = client_frame(TEXT, &text);
            let key_at = frame.len() - payload - 4;
            let unmasked: Vec<u8> =
                frame[key_at + 4..].iter().zip(MASK.iter().cycle()).map(|(b, k)| b ^ k).collect();
            assert_eq!(unmasked, text);
            assert_eq!(frame[1] & MASKED, MASKED);
            assert_eq!(frame.len(), server_frame(TEXT, &text).len() + 4);
        }
    }
}
