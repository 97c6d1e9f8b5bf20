//! WebSockets ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)) for servers and clients. They run over
//! tokio, or over bytes alone.
//!
//! ```no_run
//! use switchboard_websocket::{Config, Error, WebSocketStream};
//!
//! # async fn run() -> Result<(), Error> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
//! while let Ok((stream, _)) = listener.accept().await {
//!     tokio::spawn(async move {
//!         let mut socket = WebSocketStream::accept(stream, &Config::default()).await?;
//!         while let Some(message) = socket.recv().await? {
//!             if message.is_data() {
//!                 socket.send(message).await?;
//!             }
//!         }
//!         Ok::<(), Error>(())
//!     });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | you have | you take |
//! |---|---|
//! | a URL | [`WebSocketStream::connect`]; [`client::Client`] for headers, proxies, certificates, redirects, time-outs |
//! | a connection that was accepted | [`WebSocketStream::accept`] |
//! | a request in axum, tower or hyper | the module `integration`, by the features below |
//! | a connection whose handshake is done | [`WebSocketStream::from_parts`], [`WebSocketStream::from_halves`] |
//! | a request's or a response's head | [`handshake`], without a socket; [`drafts`] for what browsers spoke before the RFC |
//! | bytes | [`Decoder`], [`encode_frame`], [`FrameHeader`], [`deflate`]: no socket, no clock, no async |
//!
//! A [`WebSocketStream`] receives and sends [`OwnedMessage`]s. It answers pings and closes within
//! [`recv`](WebSocketStream::recv). So call `recv` also where the program only sends. There is more:
//!
//! - **Many messages in one write**: [`feed`](WebSocketStream::feed) queues a message,
//!   [`flush`](WebSocketStream::flush) writes all of them, and `recv` flushes before it waits. The stream is
//!   also a [`Stream`](futures_core::Stream) and a [`Sink`](futures_sink::Sink).
//! - **Two tasks**: [`split`](WebSocketStream::split) gives a [`Reader`] and a [`Writer`], without a lock
//!   between them.
//! - **One message for many clients**: a [`Prepared`] message is encoded once and compressed once.
//! - **Compression** ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)): [`Config::deflate`], off by
//!   default. The module [`deflate`] tells its costs.
//! - **A slow peer**: the bytes that wait to be written are bounded, and [`WhenFull`] says what happens at
//!   the bound.
//!
//! Everything that a peer controls has a limit with a default. [`Config`], [`Limits`] and
//! [`HeadLimits`](handshake::head::HeadLimits) have all of them. A peer over a limit is an [`Error`] that
//! names the limit. Each call that waits says in its documentation what happens when the call is dropped. The
//! calls of an open connection lose nothing and tear no frame.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `tls` | yes | `wss://` in the client, by rustls, with the certificates that the system trusts |
//! | `webpki-roots` | no | Mozilla's certificates, compiled in |
//! | `axum` | no | an extractor, `integration::axum::WebSocketUpgrade` |
//! | `tower` | no | a service and a layer, `integration::tower` |
//! | `hyper` | no | a function, `integration::hyper::upgrade` |
//!
//! With each of the last three a WebSocket may come over HTTP/1.1, and over HTTP/2 by [RFC
//! 8441](https://www.rfc-editor.org/rfc/rfc8441).

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
pub use handshake::origin::{OriginCheck, OriginError};
pub use limits::Limits;
pub use mask::{mask, mask_scalar};
pub use message::{Message, OwnedMessage};
pub use prepared::Prepared;
pub use stream::{Config, Error, Reader, Split, WebSocketStream, WhenFull, Writer};

/// The end of a connection. It decides which frames must be masked (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts connections. It receives masked frames, and sends frames without a mask.
    Server,
    /// Opens connections. It sends masked frames, and receives frames without a mask.
    Client,
}

/// The programs of the README. They compile where every feature that they use is on.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
