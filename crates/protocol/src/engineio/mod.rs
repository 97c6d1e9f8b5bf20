//! Engine.IO protocol 4: how messages travel over WebSocket and HTTP long-polling.
//!
//! The behaviour is that of engine.io 6.6 and engine.io-parser 5; see the protocol's document,
//! `docs/engine.io-protocol/v4-current.md` in the `socketio/socket.io` repository.

mod error;
mod open;
mod packet;
pub mod payload;
mod query;
mod session;
mod session_id;

pub use error::ErrorCode;
pub use open::{OpenPacket, ReceivedOpen};
pub use packet::{DecodeError, Packet};
pub use query::Query;
pub use session::{
    Admission, ClientAction, ClientSession, Closing, Ending, GetAnswer, ProbeStep, Received, ServerAction,
    ServerSession, UpgradeRefused, Version,
};
pub use session_id::SessionId;
