//! Clients of Socket.IO 0.9 and 0.6 that send exactly the given text.

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::{Builder, Data, DisconnectReason, OldClientOptions, Origins, Socket, Switchboard};
use switchboard_websocket::client::ClientIo;
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Log, Server, request, soon};

/// What a server of these tests is built with.
pub(crate) fn builder() -> Builder {
    Switchboard::builder().workers(1).old_clients(true).jsonp(true).origins(Origins::any())
}

/// Times that are over at once, or never in a test.
pub(crate) fn times(set: impl FnOnce(&mut OldClientOptions)) -> OldClientOptions {
    let mut options = OldClientOptions::default();
    set(&mut options);
    options
}

pub(crate) const SHORT: Duration = Duration::from_millis(20);

/// Handlers that answer.
pub(crate) fn answering(io: &Switchboard) {
    let root = io.root();
    root.on("message", |socket: Socket, Data(text): Data<String>| socket.emit("message", text));
    root.on("echo", |socket: Socket, Data(text): Data<String>| socket.emit("echo", text));
    root.on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
    root.on("leave", |socket: Socket| socket.disconnect(false));
    root.on("close", |socket: Socket| socket.disconnect(true));
    root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
}

/// Tells of each end of a socket in `/`.
pub(crate) fn telling(io: &Switchboard, said: Log) {
    io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
}

/// One request; returns the status and the body of the answer.
pub(crate) async fn ask(address: SocketAddr, method: &str, target: &str, body: &str) -> (u16, String) {
    let (head, body) = soon("an answer", request(address, method, target, "", body)).await;
    (status(&head), body)
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// Shakes hands; returns the session's id.
pub(crate) async fn shake_hands(server: &Server) -> String {
    let (status, body) = ask(server.address, "GET", "/socket.io/1/?t=1", "").await;
    assert_eq!(status, 200, "{body}");
    body.split(':').next().expect("an id").to_owned()
}

/// A client of 0.9 on xhr-polling.
#[derive(Clone)]
pub(crate) struct Polling {
    pub(crate) address: SocketAddr,
    pub(crate) target: String,
}

impl Polling {
    /// A client that has been told that it is connected.
    pub(crate) async fn open(server: &Server) -> Self {
        let client = Self::at(server, &shake_hands(server).await);
        assert_eq!(client.get().await, "1::");
        client
    }

    pub(crate) fn at(server: &Server, sid: &str) -> Self {
        Self { address: server.address, target: format!("/socket.io/1/xhr-polling/{sid}") }
    }

    pub(crate) fn sid(&self) -> &str {
        self.target.rsplit('/').next().expect("a path")
    }

    pub(crate) async fn get(&self) -> String {
        let (status, body) = ask(self.address, "GET", &self.target, "").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// A poll of which nothing but its request is there yet. The server has it when this returns.
    pub(crate) async fn begin_get(&self) -> Stream {
        Stream::get(self.address, &self.target).await
    }

    pub(crate) async fn try_post(&self, body: &str) -> (u16, String) {
        ask(self.address, "POST", &self.target, body).await
    }

    pub(crate) async fn post(&self, body: &str) {
        assert_eq!(self.try_post(body).await, (200, "1".to_owned()), "{body}");
    }

    /// Expects that the session is gone.
    pub(crate) async fn is_unknown(&self) {
        assert_eq!(self.get().await, "7:::1+0");
    }
}

/// A request whose answer is read as it comes.
pub(crate) struct Stream {
    stream: TcpStream,
    read: String,
}

impl Stream {
    pub(crate) async fn get(address: SocketAddr, target: &str) -> Self {
        Self::send(address, &format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n")).await
    }

    pub(crate) async fn send(address: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("the connection lives");
        Self { stream, read: String::new() }
    }

    /// Reads until the given text has come; returns all before its end, and drops that.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.find(text) {
                let rest = self.read.split_off(at + text.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut bytes = [0; 4096];
            let read = soon(text, self.stream.read(&mut bytes)).await.expect("the connection lives");
            assert!(read > 0, "{text:?} has not come: {}", self.read);
            self.read.push_str(std::str::from_utf8(&bytes[..read]).expect("text, of ASCII in these tests"));
        }
    }

    /// Leaves before the answer has come. The server knows when this returns.
    pub(crate) async fn leave(mut self) {
        self.stream.shutdown().await.expect("the connection lives");
        let mut rest = Vec::new();
        let _cut = soon("the end", self.stream.read_to_end(&mut rest)).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// What comes up to the connection's end.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        let _cut = soon("the end", self.stream.read_to_end(&mut rest)).await;
        self.read + &String::from_utf8_lossy(&rest)
    }
}

/// A payload of several packets.
pub(crate) fn payload(packets: &[String]) -> String {
    let marked = |packet: &String| format!("\u{fffd}{}\u{fffd}{packet}", packet.encode_utf16().count());
    packets.iter().map(marked).collect::<Vec<_>>().concat()
}

/// A frame of 0.6.
pub(crate) fn frame(data: &str) -> String {
    format!("~m~{}~m~{data}", data.encode_utf16().count())
}

/// A client on WebSocket, of either protocol.
pub(crate) struct Socket09(WebSocketStream<ClientIo>);

impl Socket09 {
    pub(crate) async fn at(address: SocketAddr, target: &str) -> Self {
        let url = format!("ws://{address}{target}");
        let stream = soon("a connection", WebSocketStream::connect(&url, &Config::default())).await;
        Self(stream.expect("the handshake is good"))
    }

    /// A client of 0.9 that has been told that it is connected.
    pub(crate) async fn open(server: &Server) -> Self {
        let sid = shake_hands(server).await;
        let mut client = Self::at(server.address, &format!("/socket.io/1/websocket/{sid}")).await;
        client.expect("1::").await;
        client
    }

    pub(crate) async fn send(&mut self, packet: &str) {
        soon("sending", self.0.send(packet)).await.expect("the connection lives");
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        soon("sending", self.0.send(bytes)).await.expect("the connection lives");
    }

    /// The next message. `None`: the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        match soon("a packet", self.0.recv()).await {
            Ok(Some(OwnedMessage::Text(text))) => Some(text),
            _ => None,
        }
    }

    pub(crate) async fn expect(&mut self, packet: &str) {
        assert_eq!(self.next().await.as_deref(), Some(packet));
    }

    pub(crate) async fn ask(&mut self, packet: &str, answer: &str) {
        self.send(packet).await;
        assert_eq!(self.next().await.as_deref(), Some(answer), "asked: {packet}");
    }

    pub(crate) async fn close(mut self) {
        let _already = self.0.close(switchboard_websocket::CloseCode::Normal, "").await;
    }
}
