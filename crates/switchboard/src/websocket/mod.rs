//! Raw WebSocket services: messages as they are, and rooms shared with Socket.IO.

mod decide;
mod dialect;
mod service;
mod session;

pub(crate) use service::RawService;
pub use service::{WebSocketOptions, WebSocketService};
pub use session::WebSocket;

pub use switchboard_websocket::CloseCode;
