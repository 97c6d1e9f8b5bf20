//! How bytes move: the WebSocket connections of a worker. (HTTP transports move by request, in
//! `engineio::polling`.)

pub(crate) mod connection;
pub(crate) mod connection_limit;
pub(crate) mod deflate;
pub(crate) mod framing;
pub(crate) mod io;
pub(crate) mod request_heads;
pub(crate) mod rewind;
pub(crate) mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/off.rs"]
pub(crate) mod tls;
pub(crate) mod wire;
