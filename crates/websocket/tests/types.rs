//! The traits of each public type, checked by the compiler: whether it may go to another thread, be shared,
//! be moved while it is polled, and be shown. Also: a task on any thread may await each call.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]
#![allow(dead_code, reason = "it is enough that it compiles")]

use std::{fmt::Debug, fs, path::Path, pin::Pin};

use bytes::BytesMut;
use switchboard_websocket::{
    CloseCode, CloseFrame, Config, Decoder, Error, FrameHeader, Limits, Message, Opcode, OriginCheck,
    OwnedCloseFrame, OwnedMessage, Prepared, ProtocolError, Reader, Role, Split, WebSocketStream, WhenFull,
    Writer, client, deflate, drafts,
    handshake::{
        self,
        head::{HeadLimits, HeaderNames},
        server,
    },
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// All that a user may do with a value.
const fn free<T: Send + Sync + Unpin + Debug + 'static>() {}
/// The same for a type that borrows.
const fn free_for_a_time<T: Send + Sync + Unpin + Debug>() {}
/// A type for one thread at a time.
const fn moves<T: Send + Unpin + Debug + 'static>() {}
const fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
const fn is_copy<T: Copy>() {}
const fn is_clone<T: Clone>() {}

const CODEC: () = {
    free::<CloseCode>();
    free::<Decoder>();
    free::<FrameHeader>();
    free::<Limits>();
    free::<Opcode>();
    free::<OwnedCloseFrame>();
    free::<OwnedMessage>();
    free::<Prepared>();
    free::<ProtocolError>();
    free::<Role>();
    free::<deflate::DeflateOptions>();
    free::<deflate::DeflateParameters>();
    free::<deflate::Deflater>();
    free::<deflate::Inflater>();
    free::<drafts::AnyDecoder>();
    free::<drafts::hixie::Challenge>();
    free::<drafts::hixie::Decoder>();
    free::<drafts::hixie::Version>();
    free_for_a_time::<CloseFrame<'_>>();
    free_for_a_time::<Message<'_>>();
};

const HANDSHAKE: () = {
    free::<HeadLimits>();
    free::<HeaderNames>();
    free::<OriginCheck>();
    free::<handshake::origin::OriginFault>();
    free::<handshake::origin::OriginPattern>();
    free::<handshake::client::Handshake>();
    free::<handshake::head::Head>();
    free_for_a_time::<drafts::Request<'_>>();
    free_for_a_time::<handshake::origin::OriginRequest<'_>>();
    free_for_a_time::<drafts::hixie::Upgrade<'_>>();
    free_for_a_time::<server::Upgrade<'_>>();
};

const STREAM: () = {
    free::<Config>();
    free::<Reader<DuplexStream>>();
    free::<WebSocketStream<DuplexStream>>();
    free::<WhenFull>();
    free::<Writer<DuplexStream>>();
};

const CLIENT: () = {
    free::<client::Client>();
    free::<client::ClientIo>();
    free::<client::ClientReadHalf>();
    free::<client::ClientWriteHalf>();
    free::<client::Proxy>();
    free::<client::Rejection>();
    free::<client::Step>();
    free::<WebSocketStream<client::ClientIo>>();
};

#[cfg(feature = "tls")]
const TLS: () = free::<client::Roots>();

const ERRORS: () = {
    is_error::<Error>();
    is_error::<ProtocolError>();
    is_error::<client::ConnectError>();
    is_error::<client::ProxyError>();
    is_error::<client::ProxyUrlError>();
    is_error::<client::RedirectError>();
    is_error::<client::Rejection>();
    is_error::<handshake::client::ClientError>();
    is_error::<handshake::head::HeadError>();
    is_error::<handshake::origin::OriginError>();
    is_error::<handshake::origin::OriginFault>();
    is_error::<server::HandshakeError>();
};

const CHEAP: () = {
    is_copy::<CloseCode>();
    is_copy::<HeadLimits>();
    is_copy::<Limits>();
    is_copy::<Opcode>();
    is_copy::<Role>();
    is_copy::<WhenFull>();
    is_copy::<deflate::DeflateOptions>();
    is_copy::<deflate::DeflateParameters>();
    is_clone::<Config>();
    is_clone::<OriginCheck>();
    is_clone::<Prepared>();
    is_clone::<client::Client>();
};

/// hyper's connections cannot be shared.
#[cfg(all(feature = "axum", feature = "tower"))]
const INTEGRATION: () = {
    use switchboard_websocket::integration::{
        ReadHalf, Upgraded, WebSocket, WriteHalf,
        axum::{IgnoreFailedUpgrade, WebSocketUpgrade, WebSocketUpgradeRejection},
        hyper::Upgrading,
        tower::{WebSocketLayer, WebSocketOr, WebSocketService},
    };

    moves::<Upgraded>();
    moves::<WebSocket>();
    moves::<ReadHalf>();
    moves::<WriteHalf>();
    free::<IgnoreFailedUpgrade>();
    free::<Upgrading>();
    free::<WebSocketLayer<fn()>>();
    free::<WebSocketOr<fn(), fn()>>();
    free::<WebSocketService<fn()>>();
    free::<WebSocketUpgrade>();
    is_clone::<WebSocketLayer<fn()>>();
    is_clone::<WebSocketOr<fn(), fn()>>();
    is_clone::<WebSocketService<fn()>>();
    is_error::<WebSocketUpgradeRejection>();
};

fn sends<T: Send>(_: T) {}

/// Every call that waits, over a stream that may go to another thread and cannot be shared.
fn calls_of_a_connection<S>(io: [S; 4], mut socket: WebSocketStream<S>, message: &Prepared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = Config::default();
    let [a, b, c, d] = io;
    sends(WebSocketStream::accept(a, &config));
    sends(WebSocketStream::accept_request(b, &config));
    sends(WebSocketStream::connect_over(c, "ws://a/", &config));
    sends(WebSocketStream::from_raw(d, Role::Server, &config));
    sends(socket.recv());
    sends(socket.flush());
    sends(socket.send("text"));
    sends(socket.send_prepared(message));
    sends(socket.close(CloseCode::Normal, ""));
}

fn calls_of_the_halves<S>(socket: WebSocketStream<S>, message: &Prepared)
where
    S: AsyncRead + AsyncWrite + Split + Unpin + Send,
    S::ReadHalf: Send,
    S::WriteHalf: Send,
{
    let (mut reader, mut writer) = socket.split();
    sends(reader.recv());
    sends(writer.flush());
    sends(writer.send("text"));
    sends(writer.send_prepared(message));
    sends(writer.answer());
    sends(writer.close(CloseCode::Normal, ""));
}

fn calls_of_the_client(client: &client::Client, config: &Config) {
    sends(client.connect());
    sends(client.connect_response());
    sends(WebSocketStream::connect("ws://a/", config));
}

/// The halves need no trait of each other.
fn halves_of_different_kinds<R, W>(io: (R, W))
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (reader, writer) =
        WebSocketStream::from_halves(io, BytesMut::new(), Role::Server, &Config::default());
    sends((reader, writer));
}

/// A `Stream` and a `Sink` are used by a reference, which needs no pin.
fn streams_and_sinks<S>(socket: &mut WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn is_stream<T: futures_core::FusedStream<Item = Result<OwnedMessage, Error>>>(_: Pin<&mut T>) {}
    fn is_sink<T: futures_sink::Sink<OwnedMessage, Error = Error>>(_: Pin<&mut T>) {}
    is_stream(Pin::new(&mut *socket));
    is_sink(Pin::new(socket));
}

/// Add each new type above.
#[test]
fn every_public_type_is_held_to_something_here() {
    let here = include_str!("types.rs");
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut types = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some(rest) = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))
            else {
                continue;
            };
            let name = rest.split(|char: char| !char.is_alphanumeric()).next().unwrap();
            let held = [";", ">()", "<"].map(|behind| format!("{name}{behind}"));
            assert!(held.iter().any(|held| here.contains(held)), "{name} of {}", path.display());
            types += 1;
        }
    }
    assert!(types > 40, "{types} types");
}
