//! Switchboard is a realtime server for Rust: WebSocket, Engine.IO and Socket.IO on one port, in one set of
//! rooms, behind one API. Every official Socket.IO client works with it unchanged.
//!
//! ```no_run
//! use switchboard::{Data, Socket, Switchboard};
//!
//! # async fn run() -> std::io::Result<()> {
//! let io = Switchboard::builder().build()?;
//! let chat = io.of("/chat");
//! chat.on_connect(|socket: Socket| socket.join("lobby"));
//! chat.on("say", |socket: Socket, Data(text): Data<String>| socket.to("lobby").emit("said", text));
//! chat.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b); // the return value is the acknowledgement
//! io.websocket("/echo").on_message(|socket, message| socket.send(message));
//! io.listen("0.0.0.0:3000").await
//! # }
//! ```
//!
//! - Handlers belong to a [`Namespace`] and are registered once. The types of their arguments say which parts
//!   of an event they get: [`Data`], [`Socket`], [`Ack`], [`State`], [`Auth`] and others.
//! - [`Switchboard::listen`] serves on threads of its own. [`Switchboard::layer`] mounts the same server in
//!   axum or any tower service.
//! - Every bound is an option of the [`Builder`], [`EngineOptions`], [`WebSocketOptions`] or
//!   [`ListenerOptions`].
//! - [`protocol`] has the parts that a protocol of one's own is written with.

#![forbid(unsafe_code)]

mod admin;
mod api;
mod check;
mod door;
mod engineio;
mod error;
mod event;
mod functions;
mod handshake;
mod http;
mod interned;
mod limits;
mod listener;
mod message;
mod metrics;
pub mod parser;
pub mod protocol;
mod proxies;
mod reason;
mod refusals;
mod rooms;
mod server;
mod service;
mod socketio;
mod socketio09;
mod states;
mod switchboard;
mod transport;
mod websocket;

pub use admin::{AdminMode, AdminOptions};
pub use api::ack::AckFuture;
pub use api::answers::{Answers, AnswersFuture, NodeAnswers};
pub use api::disconnecting::DISCONNECT_REASON;
pub use api::early::EarlyEvents;
pub use api::emitter::{ConflatedEmitter, Emitter};
pub use api::extract::{
    Ack, Auth, Connecting, Data, Disconnected, Event, EventContext, Extension, FromEvent, FromSocket,
    HasSocket, State,
};
pub use api::handler::{
    Async, EventHandler, IntoReply, Outcome, Plain, ReturnsResult, ReturnsValue, SocketHandler,
};
pub use api::namespace::Namespace;
pub use api::operator::BroadcastOperator;
pub use api::options::SocketIoOptions;
pub use api::parents::NamespaceRequest;
pub use api::pattern::{InvalidPattern, NamespacePattern};
pub use api::recovery::{ExpiredSession, RecoveryOptions};
pub use api::remote::{RemoteHandshake, RemoteSocket};
pub use api::report::ErrorContext;
pub use api::room_events::RoomEvent;
pub use api::server_events::ServerEvent;
pub use api::socket::Socket;
pub use api::socket_ids::GenerateSocketId;
#[doc(hidden)]
pub use check::__check;
pub use door::service::{NotFound, SwitchboardLayer, SwitchboardService};
pub use engineio::{
    EngineOptions, EngineService, EngineSocket, FullOutbox, GenerateId, SameSite, SessionCookie,
};
pub use error::{AckError, EmitError, Error, EventsDropped, Reply, Result};
pub use handshake::{Handshake, KeepHeaders, Peer};
pub use http::admission::{AllowRequest, Allowed, IntoAllowed, Refusal};
pub use http::body::ResponseBody;
pub use http::cors::Origins;
pub use http::files::{ClientFile, ClientFiles};
pub use http::hooks::{HeadersHook, RefusedHook, RefusedRequest};
pub use limits::rate::Rate;
pub use limits::{OverLimit, RateLimits};
pub use listener::{ListenAddress, Listening};
pub use message::{AsMessage, IntoResult, Message, OwnedMessage};
pub use proxies::{InvalidNetwork, TrustedProxies};
pub use reason::DisconnectReason;
pub use refusals::{Refused, RefusedKind};
pub use rooms::{Room, Rooms};
pub use server::flash_policy::FlashPolicy;
pub use server::options::{Http2Options, ListenerOptions};
pub use service::{Service, ServiceSocket};
pub use socketio::parser::msgpack::MsgPack;
pub use socketio09::OldClientOptions;
pub use switchboard::{Builder, Switchboard};
#[doc(inline)]
pub use switchboard_hub::MemberId as SocketId;
pub use switchboard_hub::{HubError, RoomName};
pub use switchboard_protocol::socketio::{Args, ArgsError, Binary, Value, WriteError};
pub use switchboard_websocket::OriginError;
pub use switchboard_websocket::deflate::DeflateOptions;
pub use switchboard_websocket::handshake::origin::OriginPattern;
#[cfg(feature = "tls")]
pub use transport::tls::Tls;
pub use websocket::{CloseCode, WebSocket, WebSocketOptions, WebSocketService};

/// The programs of the README and of the pages in `docs/`, which compile.
#[cfg(doctest)]
mod programs {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide.md")]
    struct Guide;
    #[doc = include_str!("../../../docs/from-node.md")]
    struct FromNode;
    #[doc = include_str!("../../../docs/migrating.md")]
    struct Migrating;
    #[doc = include_str!("../../../docs/clients.md")]
    struct Clients;
    #[doc = include_str!("../../../docs/namespaces.md")]
    struct Namespaces;
    #[doc = include_str!("../../../docs/threads.md")]
    struct Threads;
    #[doc = include_str!("../../../docs/recovery.md")]
    struct Recovery;
    #[doc = include_str!("../../../docs/axum.md")]
    struct Axum;
    #[doc = include_str!("../../../docs/limits.md")]
    struct Limits;
    #[doc = include_str!("../../../docs/admin.md")]
    struct Admin;
    #[doc = include_str!("../../../docs/parsers.md")]
    struct Parsers;
}
