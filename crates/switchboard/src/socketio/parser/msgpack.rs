//! The parser of `socket.io-msgpack-parser`.

use switchboard_protocol::socketio::msgpack::{MsgPackLimits, decode, encode};
use switchboard_protocol::socketio::{Limits, WholePacket};

use super::{Decoder, Parser, ParserError};
use crate::message::Message;

/// Packets as MessagePack, for clients with `socket.io-msgpack-parser` 3, and for the official bundle
/// `socket.io.msgpack.min.js`. Each packet is one binary message, and binary values are in it as they are.
///
/// Dates reach handlers as text, as in JSON. See
/// [`switchboard_protocol::socketio::msgpack`](https://docs.rs/switchboard-protocol) for the other types of
/// MessagePack that JSON does not have.
///
/// ```
/// use switchboard::{MsgPack, Switchboard};
///
/// let io = Switchboard::builder().workers(1).parser(MsgPack::default()).build()?;
/// # drop(io);
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct MsgPack {
    /// Binary values in one packet. Default 1000; a packet with more closes the session with `parse error`.
    /// [`max_attachments`](crate::Builder::max_attachments) does not count here: these values do not come as
    /// messages of their own.
    pub max_binary_values: usize,
}

impl Default for MsgPack {
    fn default() -> Self {
        Self { max_binary_values: MsgPackLimits::default().max_binary_values }
    }
}

impl MsgPack {
    /// Another bound on the binary values in one packet.
    #[must_use]
    pub fn max_binary_values(self, values: usize) -> Self {
        Self { max_binary_values: values }
    }
}

impl Parser for MsgPack {
    fn encode(&self, packet: &WholePacket<'_>, send: &mut dyn FnMut(Message<'_>)) {
        let mut out = Vec::with_capacity(packet.data.len() + packet.namespace.len() + 32);
        match encode(packet, &mut out) {
            Ok(()) => send(Message::Binary(&out)),
            // Its JSON was written by this server.
            Err(error) => tracing::error!(%error, "a packet was not sent: it cannot be MessagePack"),
        }
    }

    fn decoder(&self, limits: &Limits) -> Box<dyn Decoder> {
        let Self { max_binary_values } = *self;
        Box::new(MsgPackDecoder(MsgPackLimits { max_depth: limits.max_depth, max_binary_values }))
    }
}

struct MsgPackDecoder(MsgPackLimits);

impl Decoder for MsgPackDecoder {
    fn decode<'a>(&mut self, message: Message<'a>) -> Result<Option<WholePacket<'a>>, ParserError> {
        match message {
            Message::Binary(bytes) => Ok(Some(decode(bytes, &self.0)?)),
            Message::Text(_) => Err("a text message where packets are MessagePack".into()),
        }
    }
}
