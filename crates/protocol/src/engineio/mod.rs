//! Engine.IO protocol 4: how messages travel over WebSocket and HTTP long-polling. What protocol 3 has otherwise
//! is in [`v3`], and the form of polling by scripts, which both have, in [`jsonp`].
//!
//! The behaviour is that of engine.io 6.6 and engine.io-parser 5; see the protocol's document,
//! `docs/engine.io-protocol/v4-current.md` in the `socketio/socket.io` repository.

mod error;
pub mod jsonp;
mod open;
mod packet;
pub mod payload;
mod query;
mod session;
mod session_id;
pub mod v3;

pub use error::ErrorCode;
pub use open::{OpenPacket, ReceivedOpen};
pub use packet::{DecodeError, Packet};
pub use query::Query;
pub use session::{
    Admission, ClientAction, ClientSession, Closing, Ending, GetAnswer, ProbeStep, Received, ServerAction,
    ServerSession, UpgradeRefused, Version,
};
pub use session_id::SessionId;
