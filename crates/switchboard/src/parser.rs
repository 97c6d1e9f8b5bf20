//! What a parser is written with: another way to write Socket.IO's packets in messages of Engine.IO.
//!
//! A [`Parser`] is given to a server by [`Builder::parser`](crate::Builder::parser). [`MsgPack`] is one; its
//! clients use `socket.io-msgpack-parser`.

pub use crate::socketio::parser::msgpack::MsgPack;
pub use crate::socketio::parser::{Decoder, Parser, ParserError};
pub use switchboard_protocol::socketio::{Limits as PacketLimits, PacketType, WholePacket};
