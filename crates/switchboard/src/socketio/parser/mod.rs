//! Parsers: how Socket.IO's packets are written in messages of Engine.IO, where it is not the default way.
//!
//! Reading order: this file (the contract of a parser), [`msgpack`] (the one that is here), [`client`] and
//! [`carrier`] (a session whose packets a parser reads and writes), [`dialect`] (its broadcasts).

pub(super) mod carrier;
pub(super) mod client;
pub(super) mod dialect;
pub(crate) mod msgpack;

use switchboard_protocol::socketio::{Limits, WholePacket};

use crate::message::Message;

/// The reason why a message is not a packet. It goes to the log; the client is disconnected with `parse
/// error`.
pub type ParserError = Box<dyn std::error::Error + Send + Sync>;

/// How packets of Socket.IO are written in messages of Engine.IO, and read from them: the `parser` option of
/// Node's server and client. Each end of a connection must have the same one.
///
/// A packet has the same parts whatever the parser: see [`WholePacket`]. Its payload is JSON here. A parser
/// for another format turns this JSON into its own, and back.
///
/// ```
/// use switchboard::Message;
/// use switchboard::parser::{Decoder, PacketLimits, PacketType, Parser, ParserError, WholePacket};
///
/// /// A line of text for each packet: type, namespace, id, and the payload.
/// struct Lines;
///
/// impl Parser for Lines {
///     fn encode(&self, packet: &WholePacket<'_>, send: &mut dyn FnMut(Message<'_>)) {
///         let WholePacket { kind, namespace, id, data, .. } = packet;
///         let id = id.map(|id| id.to_string()).unwrap_or_default();
///         send(Message::Text(&format!("{} {namespace} {id} {data}", *kind as u8)));
///     }
///
///     fn decoder(&self, _limits: &PacketLimits) -> Box<dyn Decoder> {
///         Box::new(Lines)
///     }
/// }
///
/// impl Decoder for Lines {
///     fn decode<'a>(&mut self, message: Message<'a>) -> Result<Option<WholePacket<'a>>, ParserError> {
///         let Message::Text(line) = message else { return Err("not text".into()) };
///         let mut parts = line.splitn(4, ' ');
///         let mut part = || parts.next().ok_or("a part is missing");
///         let kind = match part()? {
///             "0" => PacketType::Connect,
///             "1" => PacketType::Disconnect,
///             "2" => PacketType::Event,
///             "3" => PacketType::Ack,
///             _ => return Err("not a type".into()),
///         };
///         let namespace = part()?.into();
///         let id = match part()? {
///             "" => None,
///             id => Some(id.parse()?),
///         };
///         let (data, attachments) = (part()?.into(), [].as_slice().into());
///         Ok(Some(WholePacket { kind, namespace, id, data, attachments }))
///     }
/// }
///
/// let io = switchboard::Switchboard::builder().workers(1).parser(Lines).build()?;
/// # drop(io);
/// # Ok::<_, std::io::Error>(())
/// ```
pub trait Parser: Send + Sync + 'static {
    /// Writes one packet: calls `send` with each of its messages, in their order. A packet without a message
    /// is not sent.
    ///
    /// It is called once for a packet to one client, and once on each worker for each transport that the
    /// recipients of a broadcast have. If it panics, the panic is logged, and the rest of the packet is not
    /// sent; of a broadcast nothing is.
    fn encode(&self, packet: &WholePacket<'_>, send: &mut dyn FnMut(Message<'_>));

    /// A decoder for the messages of one client. It is made when the session opens. `limits`: the server's
    /// bounds on packets, to be held by the decoder where they have a meaning in its format.
    fn decoder(&self, limits: &Limits) -> Box<dyn Decoder>;
}

/// Reads the packets of one client, on its worker's thread.
pub trait Decoder: 'static {
    /// A message has come. Returns the packet that it completes, or `None` if more messages belong to it;
    /// these have [`message_timeout`](crate::EngineOptions::message_timeout) to come, one after another.
    ///
    /// The server checks that the packet's parts fit together. It does not trust its JSON.
    ///
    /// # Errors
    /// The message is not a packet, or breaks a bound. The session is closed with `parse error`, as it is if
    /// the decoder panics.
    fn decode<'a>(&mut self, message: Message<'a>) -> Result<Option<WholePacket<'a>>, ParserError>;
}
