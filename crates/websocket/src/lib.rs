//! WebSockets ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)) for servers and clients, over tokio or over bytes alone.
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
//! [`recv`](WebSocketStream::recv), so it is to be read, also where it only sends. Beyond that:
//!
//! - **Many messages in one write**: [`feed`](WebSocketStream::feed) queues, [`flush`](WebSocketStream::flush) writes, and
//!   `recv` flushes before it waits. Or use it as a [`Stream`](futures_core::Stream) and a [`Sink`](futures_sink::Sink).
//! - **Two tasks**: [`split`](WebSocketStream::split) gives a [`Reader`] and a [`Writer`] with no lock between them.
//! - **One message to many**: a [`Prepared`] message is encoded once, and compressed once.
//! - **Compression** ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)): [`Config::deflate`], off by default; what it costs, in [`deflate`].
//! - **A peer that is slow**: what waits to be written is bounded in bytes, and [`WhenFull`] says what is done then.
//!
//! Everything that a peer controls has a limit with a default: [`Config`], [`Limits`] and [`HeadLimits`](handshake::head::HeadLimits)
//! are all of them. Going over one is an [`Error`] that names it. Each call that waits says what becomes of it when it
//! is dropped; those of an open connection lose nothing and tear no frame.
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
//! By all three a WebSocket may come over HTTP/1.1 and, by
//! [RFC 8441](https://www.rfc-editor.org/rfc/rfc8441), over HTTP/2.

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

/// Which end of a connection this is: it decides which frames must be masked (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts connections: what it receives is masked, what it sends is not.
    Server,
    /// Opens connections: what it sends is masked, what it receives is not.
    Client,
}

/// The programs of the README, which compile where all that they use is there.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
