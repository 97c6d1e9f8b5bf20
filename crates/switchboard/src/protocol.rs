//! What a protocol is written with that is not here: a folder of its own, and a line that
//! [mounts](crate::Switchboard::mount) it.
//!
//! # The door
//!
//! A protocol is [mounted](Mount) at a path and judges each request there by its [head](RequestHead). Its
//! [`Decision`] is data, carried out by whichever way the request came in: the server's own listener, hyper,
//! or an outer server such as axum; HTTP/1.1 and HTTP/2.
//!
//! - [`Answer`]: the request is answered at once, with a [`Body`] that is whole, or written in
//!   [pieces](Body::pieces) by a [`BodyWriter`].
//! - [`Upgrade`]: the connection becomes a WebSocket. A [`WebSocketRequest`] is its handshake; the
//!   [target](UpgradeTarget) [starts](Upgraded::websocket) it on its worker, for an [owner](ConnectionOwner)
//!   that gets its messages. Or it becomes a [streaming answer](Upgrade::streaming), which the target
//!   [starts](Upgraded::stream) in the same way: the packets of a session are the body of the answer, and the
//!   worker writes broadcasts to it as it does to WebSockets.
//! - [`Exchange`]: a worker answers, when there is something to say: polls, and requests whose body is
//!   wanted. The [target](ExchangeTarget) runs there; what it does if the client leaves is said beforehand
//!   ([`Abandoned`]).
//! - [`Later`](Decision::Later): it takes time to decide.
//! - [`Pass`](Decision::Pass): the request is the application's.
//!
//! A protocol that tells each client the time, until the client leaves:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, SystemTime};
//!
//! use bytes::Bytes;
//! use switchboard::protocol::{Body, Decision, Mount, RequestHead};
//!
//! struct Clock;
//!
//! impl Mount for Clock {
//!     fn decide(self: Arc<Self>, _head: &RequestHead<'_>) -> Decision {
//!         let (writer, body) = Body::pieces();
//!         tokio::spawn(async move {
//!             while writer.ready().await.is_ok() {
//!                 let mut line = Bytes::from(format!("{:?}\n", SystemTime::now()));
//!                 let _full_or_gone = writer.send(&mut line);
//!                 tokio::time::sleep(Duration::from_secs(1)).await;
//!             }
//!         });
//!         Decision::Answer(http::Response::new(body))
//!     }
//! }
//!
//! # let io = switchboard::Switchboard::builder().workers(1).build()?;
//! io.mount("/clock", &[Arc::new(Clock)]);
//! # Ok::<_, std::io::Error>(())
//! ```
//!
//! # Events
//!
//! What is emitted to a namespace is an [`Event`], written once. A protocol's [`Dialect`] writes it for the
//! protocol's members; it is [added](crate::Switchboard::dialect) to the server, and its
//! [number](DialectId::variant) is given with each member. Its [`Messages`] are framed as the members'
//! transport needs it: [`WEBSOCKET`], or [`BYTES`], which leaves them as they are.
//!
//! # Sockets
//!
//! A protocol's session that is a [`Carrier`] has [`Sockets`](crate::Switchboard::sockets): with them its
//! client joins namespaces, and what it sends reaches the same handlers, rooms and middleware as Socket.IO's
//! clients do. The hub's [`Session`] is what the worker writes and wakes: see [`Worker::add_session`],
//! [`Worker::write`].
//!
//! # Bounds
//!
//! Heads and times of requests are bounded by [`ListenerOptions`](crate::ListenerOptions), bodies by
//! [`BodyLimits`]. At most 256 KiB of an answer in pieces wait for its client; the writer sees that, and may
//! drop, wait or close. A decision has [`decision_timeout`](crate::ListenerOptions::decision_timeout). A
//! function of a protocol that panics while it decides is a 500 for that request.

pub use crate::api::carrier::{Carrier, Head, Kind, Outgoing};
pub use crate::api::sockets::{Incoming, Membership, Sockets};
pub use crate::event::{Dialect, DialectId, Event, Messages};
pub use crate::http::body::{BodyError, BodyWriter};
pub use crate::http::finish::Finish;
pub use crate::http::mount::{
    Abandoned, AbandonedFn, Check, Decision, Exchange, ExchangeTarget, LaterDecision, Mount, Reply,
    RequestHead, SessionKeyBytes, Upgrade, UpgradeTarget, Upgraded,
};
pub use crate::http::request_body::{BodyLimits, BodyRefusal};
pub use crate::http::upgrade::WebSocketRequest;
pub use crate::http::{Answer, Body};
pub use crate::transport::connection::{
    Connection, ConnectionEnd, ConnectionOwner, ConnectionTask, Timeouts,
};
pub use crate::transport::framing::{BYTES, WEBSOCKET};
pub use crate::transport::wire::Wire;
pub use switchboard_hub::{
    Framing, Key, Outbox, Place, Session, SessionKey, Variant, WhenFull, Worker, WorkerId,
};
pub use switchboard_protocol::socketio::DecodeError;
pub use switchboard_websocket::{Limits, Opcode, ProtocolError, encode_frame};
