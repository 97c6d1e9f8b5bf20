//! The WebSocket protocol (RFC 6455): a sans-I/O codec, and a stream over tokio, for both ends.
//!
//! Three floors, each usable without the one above it:
//!
//! 1. the **codec** — [`Decoder`] turns bytes into [`Message`]s in place, [`encode_frame`] and
//!    [`FrameHeader`] turn payloads into frames, [`deflate`] compresses them; no socket, no clock, no async;
//! 2. the **handshake** — over the parts of a request, without a socket either;
//! 3. the **stream** — a connection over anything that reads and writes.
//!
//! Above them the [`client`] opens a stream at a URL. Beside the first two, [`drafts`] has what browsers spoke
//! before there was an RFC.

mod buffer;
pub mod client;
mod close;
mod decode;
pub mod deflate;
pub mod drafts;
mod error;
mod frame;
pub mod handshake;
#[cfg(feature = "hyper")]
pub mod integration;
mod limits;
mod mask;
mod message;
mod partial;
mod prepared;
mod stream;
mod utf8;

pub use close::{CloseCode, CloseFrame, OwnedCloseFrame};
pub use decode::Decoder;
pub use error::ProtocolError;
pub use frame::{FrameHeader, MAX_CONTROL_PAYLOAD, Opcode, encode_close, encode_frame, encode_frame_masked};
pub use handshake::origin::OriginCheck;
pub use limits::Limits;
pub use mask::{mask, mask_scalar};
pub use message::{Message, OwnedMessage};
pub use prepared::Prepared;
pub use stream::{Config, Error, Reader, Split, WebSocketStream, WhenFull, Writer};

/// Which end of a connection this is: it decides which frames must be masked (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts connections: what it receives is masked, what it sends is not.
    Server,
    /// Opens connections: what it sends is masked, what it receives is not.
    Client,
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
