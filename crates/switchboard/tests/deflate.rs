//! Compression of WebSocket messages: agreed on or not, with context or without, in one room with those that have none.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::{Data, DeflateOptions, Message, Socket, Switchboard, WebSocket, WebSocketOptions};
use switchboard_websocket::client::ClientIo;
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
use tokio::time::timeout;

/// Nothing that these tests wait for takes as long on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

type Client = WebSocketStream<ClientIo>;

/// A server whose WebSockets are all compressed for who wants it: `/echo`, `/cast` in one room with the namespace `/cast`, and
/// Socket.IO, which sends `echo` back and `cast` to all.
async fn server(options: DeflateOptions) -> (Switchboard, SocketAddr) {
    let io =
        Switchboard::builder().workers(1).per_message_deflate(options).build().expect("the options are good");
    let mut raw = WebSocketOptions::default();
    raw.per_message_deflate = Some(options);
    io.websocket_with("/echo", raw.clone())
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let cast = io.of("/cast");
    cast.on("echo", |socket: Socket, Data(text): Data<String>| socket.emit("echo", text));
    cast.on("cast", |socket: Socket, Data(text): Data<String>| socket.namespace().emit("cast", text));
    let room = cast.clone();
    // To all, and to its sender alone: the two take turns on each connection.
    io.websocket_with("/cast", raw).share(&cast, "cast").on_message(
        move |socket: &WebSocket, message: Message<'_>| {
            if let Message::Text(text) = message {
                room.emit("cast", text)?;
            }
            socket.send(message)
        },
    );
    let address = io.bind("127.0.0.1:0").await.expect("a port is free").local_addr();
    (io, address)
}

async fn connect(address: SocketAddr, path: &str, deflate: Option<DeflateOptions>) -> Client {
    let mut config = Config::default();
    config.deflate = deflate;
    let client =
        WebSocketStream::connect(&format!("ws://{address}{path}"), &config).await.expect("it listens");
    assert_eq!(client.deflate().is_some(), deflate.is_some());
    client
}

async fn next(client: &mut Client) -> OwnedMessage {
    timeout(DEADLINE, client.recv()).await.expect("in time").expect("in order").expect("a message")
}

/// A text that is worth compressing, and tells which it is.
fn text(number: usize) -> String {
    format!("number {number} of the texts that say much the same; ").repeat(40)
}

/// What clients there are: without compression, without context, with it, and with small windows.
fn kinds() -> [Option<DeflateOptions>; 4] {
    let takeover = DeflateOptions::default().context_takeover(true);
    [None, Some(DeflateOptions::default()), Some(takeover), Some(takeover.max_window_bits(9))]
}

#[tokio::test]
async fn a_raw_message_comes_back_as_it_went_whatever_was_agreed_on() {
    for options in [DeflateOptions::default(), DeflateOptions::default().context_takeover(true).threshold(0)]
    {
        let (_io, address) = server(options).await;
        for kind in kinds() {
            let mut client = connect(address, "/echo", kind).await;
            for number in 0..3 {
                let messages = [
                    OwnedMessage::Text(text(number)),
                    OwnedMessage::Binary(text(number).into_bytes()),
                    OwnedMessage::text("short"),
                    OwnedMessage::text(""),
                    OwnedMessage::Binary((0..100_000u64).map(|i| ((i * i) >> 9) as u8).collect()),
                ];
                for message in messages {
                    client.send(message.clone()).await.unwrap();
                    assert!(next(&mut client).await == message, "{kind:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn broadcasts_and_what_is_for_one_alone_take_turns_on_every_kind_of_connection() {
    for options in [DeflateOptions::default(), DeflateOptions::default().context_takeover(true).threshold(0)]
    {
        let (_io, address) = server(options).await;
        let mut clients = Vec::new();
        for kind in kinds() {
            clients.push(connect(address, "/cast", kind).await);
        }
        for number in 0..20 {
            let speaker = number % clients.len();
            clients[speaker].send(text(number)).await.unwrap();
            for (at, client) in clients.iter_mut().enumerate() {
                let copies = if at == speaker { 2 } else { 1 };
                for _ in 0..copies {
                    assert_eq!(next(client).await, OwnedMessage::Text(text(number)), "client {at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn socketio_is_compressed_from_its_first_packet_on() {
    for options in [
        DeflateOptions::default().threshold(0),
        DeflateOptions::default().context_takeover(true).threshold(0),
    ] {
        let (_io, address) = server(options).await;
        let mut clients = Vec::new();
        for kind in kinds() {
            let mut client = connect(address, "/socket.io/?EIO=4&transport=websocket", kind).await;
            assert!(next(&mut client).await.as_str().unwrap().starts_with("0{"));
            client.send("40/cast,").await.unwrap();
            assert!(next(&mut client).await.as_str().unwrap().starts_with("40/cast,"));
            clients.push(client);
        }
        for number in 0..12 {
            let speaker = number % clients.len();
            for event in ["echo", "cast"] {
                clients[speaker].send(format!(r#"42/cast,["{event}","{}"]"#, text(number))).await.unwrap();
            }
            let expected =
                |event: &str| OwnedMessage::Text(format!(r#"42/cast,["{event}","{}"]"#, text(number)));
            assert_eq!(next(&mut clients[speaker]).await, expected("echo"));
            for client in &mut clients {
                assert_eq!(next(client).await, expected("cast"));
            }
        }
    }
}

#[tokio::test]
async fn a_bomb_is_refused_at_the_limit_of_what_it_inflates_to() {
    let io = Switchboard::builder()
        .workers(1)
        .max_payload(10_000)
        .per_message_deflate(DeflateOptions::default())
        .build()
        .expect("the options are good");
    io.root();
    let address = io.bind("127.0.0.1:0").await.expect("a port is free").local_addr();
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut client = connect(address, path, Some(DeflateOptions::default())).await;
    next(&mut client).await;
    client.send("4".repeat(5_000_000)).await.unwrap();
    let OwnedMessage::Close(Some(close)) = next(&mut client).await else { panic!("a close") };
    assert_eq!(close.code.get(), 1009);
}

#[tokio::test]
async fn nothing_is_compressed_unless_an_option_says_so() {
    let io = Switchboard::builder().workers(1).build().expect("the options are good");
    io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    io.root();
    let address = io.bind("127.0.0.1:0").await.expect("a port is free").local_addr();
    for path in ["/ws", "/socket.io/?EIO=4&transport=websocket"] {
        let mut config = Config::default();
        config.deflate = Some(DeflateOptions::default());
        let client = WebSocketStream::connect(&format!("ws://{address}{path}"), &config).await.unwrap();
        assert_eq!(client.deflate(), None);
    }
}
