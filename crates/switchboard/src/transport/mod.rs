//! How bytes move: the WebSocket connections of a worker. (HTTP transports move by request, in `engineio::polling`.)

pub(crate) mod deflate;
pub(crate) mod io;
pub(crate) mod link;
pub(crate) mod stream;
pub(crate) mod wire;
