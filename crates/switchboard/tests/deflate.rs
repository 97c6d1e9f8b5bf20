//! Compression of WebSocket messages: with and without agreement, with and without context, and in one room
//! with clients that do not compress.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::{
    Binary, Data, DeflateOptions, EngineSocket, Message, Socket, Switchboard, WebSocket, WebSocketOptions,
};
use switchboard_websocket::client::ClientIo;
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any awaited event takes on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

type Client = WebSocketStream<ClientIo>;

/// A server that compresses all WebSockets whose clients agree. It has `/echo`; `/cast`, in one room with the
/// namespace `/cast`; and Socket.IO, which sends `echo` back and `cast` to all.
async fn server(options: DeflateOptions) -> (Switchboard, SocketAddr) {
    let io =
        Switchboard::builder().workers(1).per_message_deflate(options).build().expect("the options are good");
    let mut raw = WebSocketOptions::default();
    raw.per_message_deflate = Some(options);
    io.websocket_with("/echo", raw.clone())
        .expect("the options are good")
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    let cast = io.of("/cast");
    cast.on("echo", |socket: Socket, Data(text): Data<String>| socket.emit("echo", text));
    cast.on("cast", |socket: Socket, Data(text): Data<String>| socket.namespace().emit("cast", text));
    let room = cast.clone();
    // To all, and to the sender alone: both kinds alternate on each connection.
    io.websocket_with("/cast", raw).expect("the options are good").share(&cast, "cast").on_message(
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

/// A text that is worth compressing, and that contains its number.
fn text(number: usize) -> String {
    format!("number {number} of the texts that say much the same; ").repeat(40)
}

/// The kinds of clients: without compression, without context, with context, and with small windows.
fn kinds() -> [Option<DeflateOptions>; 4] {
    let takeover = DeflateOptions::default().context_takeover(true);
    [None, Some(DeflateOptions::default()), Some(takeover), Some(takeover.max_window_bits(9))]
}

#[tokio::test]
async fn a_raw_message_comes_back_as_it_went_for_each_agreement() {
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
async fn broadcasts_and_messages_to_one_take_turns_on_every_kind_of_connection() {
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
async fn a_bomb_is_refused_at_the_limit_of_its_inflated_bytes() {
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

/// A server that sends long texts, compressed and uncompressed, in every way that the API has.
async fn flagging(options: DeflateOptions) -> (Switchboard, SocketAddr) {
    let io = Switchboard::builder().workers(1).per_message_deflate(options).build().unwrap();
    let root = io.root();
    root.on("emit", |socket: Socket, Data(compress): Data<bool>| {
        socket.compress(compress).emit("text", (text(1), Binary::from(text(2).into_bytes())))
    });
    root.on("ask", |socket: Socket, Data(compress): Data<bool>| {
        // The event is sent when the call returns.
        drop(socket.compress(compress).emit_with_ack::<()>("text", text(1)));
    });
    root.on("cast", |socket: Socket, Data(compress): Data<bool>| {
        socket.namespace().compress(compress).emit("text", (text(1), Binary::from(text(2).into_bytes())))
    });
    io.engine("/engine.io").on_message(|socket: &EngineSocket, message: Message<'_>| match message {
        Message::Text("true") => socket.send(&*text(1)),
        _ => socket.send_uncompressed(&*text(1)),
    });
    let mut raw = WebSocketOptions::default();
    raw.per_message_deflate = Some(options);
    io.websocket_with("/raw", raw).expect("the options are good").on_message(
        |socket: &WebSocket, message: Message<'_>| match message {
            Message::Text("true") => socket.send(&*text(1)),
            _ => socket.send_uncompressed(&*text(1)),
        },
    );
    let address = io.bind("127.0.0.1:0").await.expect("a port is free").local_addr();
    (io, address)
}

/// A client that shows each frame as it was received.
struct Frames(TcpStream);

impl Frames {
    async fn open(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-extensions: permessage-deflate\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(DEADLINE, stream.read_u8()).await.expect("in time").expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("sec-websocket-extensions: permessage-deflate"), "{head}");
        Self(stream)
    }

    async fn send(&mut self, text: &str) {
        // Masked with zeros.
        let head = [0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        self.0.write_all(&[&head, text.as_bytes()].concat()).await.unwrap();
    }

    /// The next frame: whether it is compressed (RSV1), and its payload unchanged.
    async fn next(&mut self) -> (bool, Vec<u8>) {
        timeout(DEADLINE, self.read()).await.expect("in time").expect("a frame")
    }

    async fn read(&mut self) -> std::io::Result<(bool, Vec<u8>)> {
        let first = self.0.read_u8().await?;
        assert_eq!(first & 0b1011_0000, 0b1000_0000, "one whole frame");
        let length = match self.0.read_u8().await? {
            126 => usize::from(self.0.read_u16().await?),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok((first & 0b0100_0000 != 0, payload))
    }
}

#[tokio::test]
async fn a_flagged_message_goes_uncompressed_among_compressed_ones() {
    for options in [DeflateOptions::default(), DeflateOptions::default().context_takeover(true)] {
        let (_io, address) = flagging(options).await;
        for (path, events) in [
            ("/socket.io/?EIO=4&transport=websocket", &["emit", "ask", "cast"][..]),
            ("/engine.io/?EIO=4&transport=websocket", &["4"]),
            ("/raw", &[""]),
        ] {
            let mut client = Frames::open(address, path).await;
            if path != "/raw" {
                client.next().await;
            }
            if path.starts_with("/socket.io") {
                client.send("40").await;
                client.next().await;
            }
            // Frames in between do not change the references of later ones.
            for (compress, event) in [true, false, true, true, false, false, true]
                .into_iter()
                .flat_map(|compress| events.iter().map(move |event| (compress, *event)))
            {
                let socketio = path.starts_with("/socket.io");
                let ask = if socketio {
                    format!(r#"42["{event}",{compress}]"#)
                } else {
                    format!("{event}{compress}")
                };
                client.send(&ask).await;
                for number in 1..=if ["emit", "cast"].contains(&event) { 2 } else { 1 } {
                    let (compressed, payload) = client.next().await;
                    assert_eq!(compressed, compress, "{path} {event}");
                    let plain = String::from_utf8_lossy(&payload).contains(&text(number));
                    assert_eq!(plain, !compress, "{path} {event}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_context_goes_on_past_uncompressed_messages() {
    let takeover = DeflateOptions::default().context_takeover(true);
    let (_io, address) = flagging(takeover).await;
    for kind in kinds().into_iter().flatten() {
        let mut client = connect(address, "/raw", Some(kind)).await;
        for compress in [true, false, true, false, false, true] {
            client.send(compress.to_string()).await.unwrap();
            assert_eq!(next(&mut client).await, OwnedMessage::Text(text(1)));
        }
    }
    // To one client, then uncompressed to all, then to the one again: the context of its earlier message is
    // still known.
    let mut client = Frames::open(address, "/socket.io/?EIO=4&transport=websocket").await;
    client.next().await;
    client.send("40").await;
    client.next().await;
    let mut lengths = Vec::new();
    for _ in 0..2 {
        client.send(r#"42["ask",true]"#).await;
        let (compressed, payload) = client.next().await;
        assert!(compressed);
        lengths.push(payload.len());
        client.send(r#"42["cast",false]"#).await;
        assert!(!client.next().await.0);
        assert!(!client.next().await.0);
    }
    assert!(lengths[1] < lengths[0] / 2, "{lengths:?}");
}

/// One request on its own connection; returns the body of the response.
async fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

#[tokio::test]
async fn a_packet_that_waits_for_a_poll_keeps_its_flag_over_an_upgrade() {
    for options in [DeflateOptions::default(), DeflateOptions::default().context_takeover(true)] {
        let (_io, address) = flagging(options).await;
        let open = http(address, "GET", "/socket.io/?EIO=4&transport=polling", "").await;
        let sid = open.split('"').nth(3).expect("a session id").to_owned();
        let poll = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        assert_eq!(http(address, "POST", &poll, "40").await, "ok");
        http(address, "GET", &poll, "").await;
        for packet in [r#"42["emit",false]"#, r#"42["cast",false]"#, r#"42["emit",true]"#] {
            assert_eq!(http(address, "POST", &poll, packet).await, "ok");
        }
        let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
        let mut client = Frames::open(address, &path).await;
        client.send("2probe").await;
        assert_eq!(client.next().await.1, b"3probe");
        client.send("5").await;
        for compress in [false, false, false, false, true, true] {
            assert_eq!(client.next().await.0, compress);
        }
    }
}
