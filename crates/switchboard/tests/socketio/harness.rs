//! Servers on free ports, and clients that send exactly the given text.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use switchboard::{Builder, Switchboard};
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream, client::ClientIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Longer than any awaited event takes on any machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Fails the test if the awaited event does not come.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_late| panic!("{what}: not within {DEADLINE:?}"))
}

pub(crate) struct Server {
    pub(crate) io: Switchboard,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start(builder: Builder, set_up: impl FnOnce(&Switchboard)) -> Self {
        let io = builder.build().expect("the options are good");
        set_up(&io);
        let listening = io.bind("127.0.0.1:0").await.expect("a port is free");
        Self { address: listening.local_addr(), io }
    }

    pub(crate) async fn workers(workers: usize, set_up: impl FnOnce(&Switchboard)) -> Self {
        Self::start(Switchboard::builder().workers(workers), set_up).await
    }

    /// A client over WebSocket that has joined no namespace.
    pub(crate) async fn open(&self) -> Client {
        self.open_at("").await
    }

    /// The same, with more parameters in its query.
    pub(crate) async fn open_at(&self, query: &str) -> Client {
        self.open_path(&format!("/socket.io/?EIO=4&transport=websocket{query}")).await
    }

    /// The same at another path, which the query follows.
    pub(crate) async fn open_path(&self, path: &str) -> Client {
        let url = format!("ws://{}{path}", self.address);
        let stream = soon("a connection", WebSocketStream::connect(&url, &Config::default())).await;
        let mut client =
            Client { stream: stream.expect("the handshake is good"), pings: 0, last: VecDeque::new() };
        let open = client.text().await;
        assert!(open.starts_with(r#"0{"sid":"#), "{open}");
        client
    }

    /// A WebSocket connection that asks to take over a session on polling.
    pub(crate) async fn probe(&self, session: &Polling) -> Client {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", self.address, session.sid());
        let stream = soon("a connection", WebSocketStream::connect(&url, &Config::default())).await;
        Client { stream: stream.expect("the handshake is good"), pings: 0, last: VecDeque::new() }
    }

    /// A client in namespace `/`.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.open().await;
        client.join("/").await;
        client
    }
}

/// A client over WebSocket.
pub(crate) struct Client {
    stream: WebSocketStream<ClientIo>,
    /// The number of pings that it has answered.
    pub(crate) pings: usize,
    last: VecDeque<String>,
}

impl Client {
    pub(crate) async fn send(&mut self, packet: &str) {
        soon("sending", self.stream.send(packet)).await.expect("the connection lives");
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        soon("sending", self.stream.send(bytes)).await.expect("the connection lives");
    }

    /// Joins a namespace; returns the socket's id.
    pub(crate) async fn join(&mut self, namespace: &str) -> String {
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        self.send(&format!("40{prefix}")).await;
        let answer = self.text().await;
        let sid = answer
            .strip_prefix(&format!(r#"40{prefix}{{"sid":""#))
            .and_then(|rest| rest.strip_suffix(r#""}"#));
        sid.unwrap_or_else(|| panic!("not connected: {answer}")).to_owned()
    }

    /// The next packet; a binary one as `<bytes>`. `None`: the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        // Pings do not extend the deadline.
        let packet = tokio::time::timeout(DEADLINE, self.receive()).await;
        packet.unwrap_or_else(|_late| panic!("no packet within {DEADLINE:?} after {:?}", self.last))
    }

    async fn receive(&mut self) -> Option<String> {
        loop {
            match self.stream.recv().await {
                Ok(Some(OwnedMessage::Text(ping))) if ping == "2" => {
                    self.pings += 1;
                    // A ping cannot be answered if the connection ends with it.
                    let _ended = self.stream.send("3").await;
                }
                Ok(Some(OwnedMessage::Text(text))) => {
                    self.last.push_back(text.clone());
                    if self.last.len() > 20 {
                        self.last.pop_front();
                    }
                    return Some(text);
                }
                Ok(Some(OwnedMessage::Binary(bytes))) => {
                    return Some(format!("<{}>", String::from_utf8_lossy(&bytes)));
                }
                Ok(Some(OwnedMessage::Close(_)) | None) | Err(_) => return None,
                Ok(Some(OwnedMessage::Ping(_) | OwnedMessage::Pong(_))) => {}
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(text) => text,
            None => panic!("the connection has ended after {:?}", self.last),
        }
    }

    /// The next message, which must be binary.
    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        match soon("a binary message", self.stream.recv()).await {
            Ok(Some(OwnedMessage::Binary(bytes))) => bytes,
            other => panic!("not a binary message: {other:?}"),
        }
    }

    pub(crate) async fn expect(&mut self, packet: &str) {
        assert_eq!(self.text().await, packet);
    }

    /// Sends a packet, and expects `answer` as the next one.
    pub(crate) async fn ask(&mut self, packet: &str, answer: &str) {
        self.send(packet).await;
        assert_eq!(self.text().await, answer, "asked: {packet}");
    }

    /// Expects a packet and answers it.
    pub(crate) async fn ask_back(&mut self, packet: &str, answer: &str) {
        self.expect(packet).await;
        self.send(answer).await;
    }

    /// The packets before the given one.
    pub(crate) async fn until(&mut self, last: &str) -> Vec<String> {
        let mut packets = Vec::new();
        loop {
            let packet = self.text().await;
            if packet == last {
                return packets;
            }
            packets.push(packet);
        }
    }

    /// Waits until the connection has ended; returns the packets before the end.
    pub(crate) async fn ended(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        while let Some(packet) = self.next().await {
            packets.push(packet);
        }
        packets
    }

    pub(crate) async fn close(mut self) {
        let _already = self.stream.close(switchboard_websocket::CloseCode::Normal, "").await;
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        self.stream.get_ref().tcp().expect("it is TCP").set_zero_linger().expect("a socket");
    }
}

/// One request on its own connection; returns the body of the response.
pub(crate) async fn http(address: SocketAddr, method: &str, target: &str, body: &str) -> String {
    let (head, body) = request(address, method, target, "", body).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
    body
}

/// One request with more `headers`, each with its end of line; returns the head and the body of the response.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
        .await
        .expect("the connection lives");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// A session on polling.
#[derive(Clone)]
pub(crate) struct Polling {
    address: SocketAddr,
    target: String,
}

impl Polling {
    pub(crate) async fn open(server: &Server) -> Self {
        let target = "/socket.io/?EIO=4&transport=polling".to_owned();
        let open = soon("a handshake", http(server.address, "GET", &target, "")).await;
        let sid = open.split('"').nth(3).expect("a session id").to_owned();
        Self { address: server.address, target: format!("{target}&sid={sid}") }
    }

    /// One request of the session; returns the status and the body of the response.
    pub(crate) async fn answer(&self, method: &str, headers: &str, body: &str) -> (u16, String) {
        let (head, body) =
            soon("an answer", request(self.address, method, &self.target, headers, body)).await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status: {head}")), body)
    }

    /// Expects that the server no longer knows the session.
    pub(crate) async fn is_unknown(&self) {
        let unknown = r#"{"code":1,"message":"Session ID unknown"}"#.to_owned();
        assert_eq!(self.answer("GET", "", "").await, (400, unknown));
    }

    /// The session's id.
    pub(crate) fn sid(&self) -> &str {
        self.target.rsplit('=').next().expect("it is the query's end")
    }

    /// The packets of the next poll.
    pub(crate) async fn get(&self) -> Vec<String> {
        let body = soon("a poll", http(self.address, "GET", &self.target, "")).await;
        body.split('\x1e').map(str::to_owned).collect()
    }

    /// Polls a server that may have ended; returns all bytes.
    pub(crate) async fn try_get(&self) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(self.address).await {
            let request = format!("GET {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n", self.target);
            let _cut = stream.write_all(request.as_bytes()).await;
            let _cut = stream.read_to_string(&mut answer).await;
        }
        answer
    }

    /// Posts to a session that may have ended.
    pub(crate) async fn try_post(&self, packets: &str) {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let head = format!("POST {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n", self.target);
        let request = format!("{head}content-length: {}\r\n\r\n{packets}", packets.len());
        stream.write_all(request.as_bytes()).await.expect("the connection lives");
        let mut answer = String::new();
        let _cut = stream.read_to_string(&mut answer).await;
    }

    pub(crate) async fn post(&self, packets: &str) {
        assert_eq!(soon("a POST", http(self.address, "POST", &self.target, packets)).await, "ok");
    }
}

/// Words that handlers record, for a test to read.
#[derive(Clone)]
pub(crate) struct Log(UnboundedSender<String>);

pub(crate) struct Told(UnboundedReceiver<String>);

pub(crate) fn log() -> (Log, Told) {
    let (sender, receiver) = unbounded_channel();
    (Log(sender), Told(receiver))
}

impl Log {
    pub(crate) fn say(&self, text: impl Into<String>) {
        // If the test has ended, nobody listens.
        let _ended = self.0.send(text.into());
    }
}

impl Told {
    pub(crate) async fn next(&mut self) -> String {
        soon("a word of a handler", self.0.recv()).await.expect("handlers live")
    }

    /// The words recorded so far.
    pub(crate) fn now(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// A gate for any number of tasks. It opens on command.
#[derive(Clone)]
pub(crate) struct Signal(tokio::sync::watch::Sender<bool>);

impl Signal {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("the sender is here");
    }
}

impl Polling {
    /// Whether a packet shows the session's id.
    pub(crate) fn knows(&self, packet: &str) -> bool {
        packet.contains(self.sid())
    }
}
