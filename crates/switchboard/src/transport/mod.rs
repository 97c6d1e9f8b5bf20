//! How bytes move: the connections of a worker, which are WebSockets and streaming answers. (Other transports
//! over HTTP move by request, in `engineio::polling`.)

pub(crate) mod codec;
pub(crate) mod connection;
pub(crate) mod connection_limit;
pub(crate) mod deflate;
pub(crate) mod framing;
pub(crate) mod io;
pub(crate) mod pieces;
pub(crate) mod request_heads;
pub(crate) mod rewind;
pub(crate) mod stream;
mod tcp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/off.rs"]
pub(crate) mod tls;
pub(crate) mod wire;
