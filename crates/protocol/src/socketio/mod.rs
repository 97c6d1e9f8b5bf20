//! Socket.IO protocol 5: namespaces, events and acknowledgements over Engine.IO messages. What protocols 3 and 4
//! have otherwise is in [`v4`].
//!
//! The behaviour is that of socket.io-parser 4.2; see the protocol's document,
//! `docs/socket.io-protocol/v5-current.md` in the `socketio/socket.io` repository.
//!
//! [`decode`] reads a text message. [`event_name`] reads an event's name and finds the start of its
//! arguments, and [`from_args`] reads the arguments. To send, [`write_packet`] appends a packet to a buffer.
//! For several packets with the same arguments use [`write_head`] and [`write_args`].
//!
//! ```
//! use switchboard_protocol::socketio::{
//!     Limits, PacketType, decode, event_name, from_args, write_packet,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let packet = decode(r#"2/chat,7["sum",20,22]"#, &Limits::default())?;
//! let (name, arguments) = event_name(packet.data)?;
//! assert_eq!((packet.namespace, packet.ack, &*name), ("/chat", Some(7), "sum"));
//! let (a, b): (i64, i64) = from_args(packet.data, arguments, &[])?;
//!
//! let (mut out, mut attachments) = (Vec::new(), Vec::new());
//! let (namespace, ack) = (packet.namespace, packet.ack);
//! write_packet(&mut out, &mut attachments, PacketType::Ack, namespace, ack, None, &(a + b))?;
//! assert_eq!(out, b"3/chat,7[42]");
//! # Ok(())
//! # }
//! ```

mod args;
mod args_read;
mod args_write;
mod assembler;
mod binary;
mod date;
mod error;
mod event;
mod json;
pub mod msgpack;
mod packet;
mod tree;
pub mod v4;
mod value;
mod whole;
mod write;

pub use args::Args;
pub use args_read::{from_args, from_args_within, validate, validate_within};
pub use args_write::{write_args, write_packet};
pub use assembler::{AssembleError, Assembled, Assembler, OwnedPacket, Started};
pub use binary::Binary;
pub use date::iso_date;
pub use error::{ArgsError, DecodeError, WriteError};
pub use event::{event_name, is_reserved};
pub use json::replace_unpaired_surrogates;
pub use packet::{DEFAULT_MAX_DEPTH, Limits, Packet, PacketType, decode};
pub use value::Value;
pub use whole::WholePacket;
pub use write::{connect, connect_error, connect_reply, connect_reply_with_pid, disconnect, write_head};
