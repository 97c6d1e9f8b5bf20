//! HTTP/2 by prior knowledge: everything that HTTP/1 serves, by the same rules, and WebSockets by extended
//! CONNECT (RFC 8441).

mod bounds;
pub(crate) mod client;
mod floods;
mod mounted;
mod requests;
mod websockets;
