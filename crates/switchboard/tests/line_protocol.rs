//! A whole protocol in one file, written only with `switchboard::protocol`: lines of text over WebSocket and
//! over a streaming GET. Its sockets share namespaces, handlers and rooms with those of Socket.IO.
//!
//! A WebSocket carries lines in both directions. A GET also opens a session: its response carries the
//! server's lines, and each POST carries one of the client's.
//!
//! The parts are those in the list "Adding a protocol" in `ARCHITECTURE.md`: a dialect, a session with its
//! carrier, a mount.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "socketio/harness.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod harness;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Server, Told, log, soon};
use http::{Response, StatusCode};
use switchboard::protocol::{
    Abandoned, Answer, Body, BodyLimits, Carrier, Connection, ConnectionEnd, ConnectionOwner, ConnectionTask,
    Decision, Dialect, DialectId, Event, Exchange, ExchangeTarget, Finish, Framing, Head, Incoming, Kind,
    Limits, Membership, Messages, Mount, Outbox, Outgoing, Reply, RequestHead, Session, SessionKey, Sockets,
    Upgrade, UpgradeTarget, Upgraded, WEBSOCKET, WebSocketRequest, Wire, Worker,
};
use switchboard::{
    Data, DisconnectReason, Error, Handshake, HubError, KeepHeaders, Message, Socket, SocketId, Switchboard,
};
use switchboard_websocket::client::ClientIo;
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Events as lines: `event NAMESPACE ["event",argument,…]`.
struct LineDialect;

impl Dialect for LineDialect {
    fn write(&self, event: &Event, _view: u16, out: &mut Messages<'_>) -> bool {
        out.text(&format!("event {} {}\n", event.namespace(), event.json()));
        true
    }
}

/// A session, on its worker.
struct Line {
    outbox: Outbox,
    /// A WebSocket, or the response to a GET.
    connection: RefCell<Option<Rc<Connection>>>,
    handshake: Handshake,
    sockets: RefCell<Option<Rc<Sockets>>>,
    key: Cell<Option<SessionKey>>,
    me: Weak<Line>,
}

impl Line {
    fn open(worker: &Rc<Worker>, lines: &LineProtocol, handshake: Handshake, framing: Framing) -> Rc<Self> {
        let line = Rc::new_cyclic(|me| Self {
            outbox: Outbox::new(1 << 20, framing),
            connection: RefCell::default(),
            handshake,
            sockets: RefCell::default(),
            key: Cell::new(None),
            me: Weak::clone(me),
        });
        line.key.set(Some(worker.add_session(Rc::clone(&line) as Rc<dyn Session>)));
        let carrier = Rc::clone(&line) as Rc<dyn Carrier>;
        *line.sockets.borrow_mut() = Some(lines.io.sockets(carrier, lines.dialect));
        line
    }

    /// Opens a session whose lines are the body of a response.
    fn open_streaming(
        worker: &Rc<Worker>,
        lines: &LineProtocol,
        handshake: Handshake,
        upgraded: Upgraded<'_>,
    ) -> Option<ConnectionTask> {
        let line = Self::open(worker, lines, handshake, upgraded.stream_wire().framing());
        let owner = Rc::clone(&line) as Rc<dyn ConnectionOwner>;
        let (connection, task) = upgraded.stream(worker, owner);
        *line.connection.borrow_mut() = Some(connection);
        worker.extension::<Streaming>().0.borrow_mut().push(line);
        task
    }

    /// Opens a session whose lines are messages of a WebSocket.
    fn open_websocket(
        worker: &Rc<Worker>,
        lines: &LineProtocol,
        handshake: Handshake,
        upgraded: Upgraded<'_>,
        wire: Wire,
    ) -> Option<ConnectionTask> {
        let line = Self::open(worker, lines, handshake, WEBSOCKET);
        let owner = Rc::clone(&line) as Rc<dyn ConnectionOwner>;
        let (connection, task) =
            upgraded.websocket(worker, wire, Limits::DEFAULT.max_message_bytes(1000), owner);
        *line.connection.borrow_mut() = Some(connection);
        task
    }

    fn sockets(&self) -> Option<Rc<Sockets>> {
        self.sockets.borrow().clone()
    }

    fn tell(self: Rc<Self>, worker: &Rc<Worker>, line: &str) -> Result<(), HubError> {
        let framing = self.outbox.framing();
        worker.write(&(self as Rc<dyn Session>), |out| {
            Messages::new(framing, out).expect("a framing").text(line);
        })
    }

    /// Handles one line from the client.
    fn on_line(&self, worker: &Rc<Worker>, line: &str) {
        let Some(sockets) = self.sockets() else { return };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (namespace, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "join" => sockets.connect(worker, namespace, rest).expect("JSON"),
            "leave" => sockets.leave(worker, namespace),
            "event" | "ask" => {
                let ack = (word == "ask").then_some(7);
                if sockets.membership(namespace) == Membership::Joined {
                    let event = Incoming { json: rest, attachments: &[], ack };
                    sockets.event(worker, namespace, event).expect("a name");
                }
            }
            "ack" => {
                let (id, json) = rest.split_once(' ').expect("an id");
                sockets.ack(worker, namespace, id.parse().expect("a number"), json, Vec::new());
            }
            _ => self.me.upgrade().expect("it is here").close(worker, DisconnectReason::ParseError),
        }
    }
}

/// The sessions of a worker, for POSTs.
#[derive(Default)]
struct Streaming(RefCell<Vec<Rc<Line>>>);

impl Session for Line {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.flush(worker, &self.outbox);
        }
    }

    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        self.connection.borrow().as_ref().map_or(0, |connection| connection.write_through(slices))
    }

    fn writable(&self) -> bool {
        self.connection.borrow().as_ref().is_some_and(|connection| connection.writable())
    }

    fn overflow(&self, worker: &Rc<Worker>) {
        self.me.upgrade().expect("it is here").close(worker, DisconnectReason::ForcedServerClose);
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        self.sockets()?.on_timer(worker, now)
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        self.me.upgrade().expect("it is here").close(worker, DisconnectReason::ServerShuttingDown);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Carrier for Line {
    fn session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }

    fn as_session(&self) -> &dyn Session {
        self
    }

    fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    fn is_open(&self) -> bool {
        self.key.get().is_some()
    }

    fn begin(&self, packet: &mut Vec<u8>, head: Head<'_>) {
        let word = if head.kind == Kind::Event { "event" } else { "answer" };
        packet.extend_from_slice(format!("{word} {} ", head.namespace).as_bytes());
        if let Some(id) = head.id {
            packet.extend_from_slice(format!("{id} ").as_bytes());
        }
    }

    fn send(self: Rc<Self>, worker: &Rc<Worker>, packet: Outgoing<'_>) -> Result<(), HubError> {
        if !self.is_open() {
            return Err(HubError::Gone);
        }
        packet.packet.push(b'\n');
        let line = String::from_utf8(packet.packet.clone()).expect("UTF-8");
        self.tell(worker, &line)
    }

    fn connected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId) {
        self.tell(worker, &format!("joined {namespace} {id}\n")).expect("room");
    }

    fn refused(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, error: &Error) {
        self.tell(worker, &format!("refused {namespace} {}\n", error.public_message())).expect("room");
    }

    fn disconnected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str) {
        self.tell(worker, &format!("left {namespace}\n")).expect("room");
    }

    fn pause(&self) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.pause();
        }
    }

    fn resume(self: Rc<Self>, _worker: &Rc<Worker>) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.resume();
        }
    }

    fn close(self: Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        let Some(key) = self.key.take() else { return };
        let sockets = self.sockets.take();
        sockets.expect("it was open").closed(worker, reason);
        if let Some(connection) = self.connection.take() {
            connection.close(worker, None, "");
        }
        worker.remove_session(key);
    }

    fn arm(&self, worker: &Worker, deadline: Instant) {
        if let Some(key) = self.key.get() {
            worker.arm(key, deadline);
        }
    }
}

impl ConnectionOwner for Line {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, connection: &Rc<Connection>, message: Message<'_>) {
        match message {
            Message::Text(line) => self.on_line(worker, line),
            Message::Binary(_) => connection.close(worker, None, "lines are text"),
        }
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _: &Rc<Connection>, _: ConnectionEnd) {
        self.close(worker, DisconnectReason::TransportClose);
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}

struct LineProtocol {
    io: Switchboard,
    dialect: DialectId,
}

/// A POST with one line.
struct Post;

/// A connection that becomes a session's.
struct Opening {
    protocol: Arc<LineProtocol>,
    handshake: Handshake,
    /// `None`: a streaming answer.
    websocket: Option<Wire>,
}

impl UpgradeTarget for Opening {
    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { protocol, handshake, websocket } = *self;
        match websocket {
            Some(wire) => Line::open_websocket(worker, &protocol, handshake, upgraded, wire),
            None => Line::open_streaming(worker, &protocol, handshake, upgraded),
        }
    }
}

fn answer(body: impl Into<Body>) -> Answer {
    Response::new(body.into())
}

impl Mount for LineProtocol {
    fn takes(&self, _rest: &str, _target: &http::Uri) -> bool {
        true
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let handshake = || Handshake::new(head.parts, head.peer, &KeepHeaders::All, None);
        if head.parts.headers.contains_key(http::header::UPGRADE) {
            return WebSocketRequest::check(head).map_or_else(Decision::Answer, |request| {
                let handshake = handshake();
                let target = |wire| Opening { protocol: self, handshake, websocket: Some(wire) };
                Decision::Upgrade(request.accept(http::HeaderMap::new(), None, target))
            });
        }
        if head.parts.method == http::Method::GET {
            let handshake = handshake();
            let target = Opening { protocol: self, handshake, websocket: None };
            return Decision::Upgrade(Upgrade::streaming(Response::new(()), target));
        }
        let limits = BodyLimits { max_bytes: 1000, max_pieces: 10, timeout: Duration::from_secs(30) };
        Decision::Exchange(Exchange {
            worker: None,
            body: Some(limits),
            abandoned: Abandoned::Ignored,
            finish: Finish::default(),
            unanswered: || {
                let mut answer = answer("");
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                answer
            },
            target: Box::new(Post),
        })
    }
}

impl ExchangeTarget for Post {
    fn run(self: Box<Self>, worker: &Rc<Worker>, body: Bytes, reply: Reply) {
        let line = worker.extension::<Streaming>().0.borrow().last().cloned().expect("a session");
        line.on_line(worker, std::str::from_utf8(&body).expect("UTF-8"));
        reply.send(answer("")).expect("the client is here");
    }
}

/// The transports.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The connection is the session's.
    Streaming,
    /// The connection is axum's.
    StreamingInAxum,
    WebSocket,
}

const WAYS: [Way; 3] = [Way::Streaming, Way::StreamingInAxum, Way::WebSocket];

/// A client of the newest session.
enum Client {
    Streaming { server: SocketAddr, lines: Lines<BufReader<OwnedReadHalf>>, _writer: OwnedWriteHalf },
    WebSocket(Box<WebSocketStream<ClientIo>>),
}

impl Client {
    async fn open(server: &Server, way: Way) -> Self {
        if let Way::WebSocket = way {
            let url = format!("ws://{}/lines/?room=hall", server.address);
            let stream = soon("a connection", WebSocketStream::connect(&url, &Config::default())).await;
            return Self::WebSocket(Box::new(stream.expect("a WebSocket")));
        }
        let (read, mut writer) = TcpStream::connect(server.address).await.expect("it listens").into_split();
        writer.write_all(b"GET /lines/?room=hall HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it is open");
        let mut lines = BufReader::new(read).lines();
        while lines.next_line().await.expect("a head").is_some_and(|line| !line.is_empty()) {}
        Self::Streaming { server: server.address, lines, _writer: writer }
    }

    async fn say(&mut self, line: &str) {
        match self {
            Self::Streaming { server, .. } => {
                assert_eq!(soon("a POST", harness::http(*server, "POST", "/lines", line)).await, "");
            }
            Self::WebSocket(stream) => stream.send(line).await.expect("it is open"),
        }
    }

    /// The next line. `None`: the session has ended.
    async fn next(&mut self) -> Option<String> {
        match self {
            Self::Streaming { lines, .. } => loop {
                let line = soon("a line", lines.next_line()).await.expect("it is open")?;
                // The chunk sizes stand between the lines.
                if line == "0" {
                    return None;
                }
                if !line.is_empty() && !line.chars().all(|c| c.is_ascii_hexdigit()) {
                    return Some(line);
                }
            },
            Self::WebSocket(stream) => match soon("a line", stream.recv()).await.expect("it is open") {
                Some(OwnedMessage::Text(line)) => Some(line.strip_suffix('\n').expect("a line").to_owned()),
                _ => None,
            },
        }
    }

    async fn expect(&mut self, line: &str) {
        assert_eq!(self.next().await.as_deref(), Some(line));
    }

    async fn join(&mut self, namespace: &str) {
        self.say(&format!("join {namespace}")).await;
        let line = self.next().await.expect("an answer");
        assert!(line.starts_with(&format!("joined {namespace} ")), "{line}");
    }
}

async fn server(way: Way) -> (Server, Told) {
    let (said, told) = log();
    let mut server = Server::workers(1, |io| {
        let chat = io.of("/chat");
        chat.on_connect(|socket: Socket| socket.join(socket.handshake().query("room").unwrap_or_default()));
        chat.on("say", |socket: Socket, Data(text): Data<String>| {
            socket.to("hall").emit("said", text)?;
            socket.emit("told", ()).map_err(Error::from)
        });
        chat.on("sum", |Data((a, b)): Data<(i32, i32)>| a + b);
        chat.on("later", async |Data(n): Data<u8>| {
            tokio::task::yield_now().await;
            n
        });
        chat.on("ask", async |socket: Socket| -> switchboard::Result {
            let answer: String = socket.emit_with_ack("question", 1).await?;
            Ok(socket.emit("thanks", answer)?)
        });
        chat.on("away", |socket: Socket| socket.disconnect(false));
        chat.on("close", |socket: Socket| socket.disconnect(true));
        chat.on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
        io.of("/closed").middleware(|_: Socket| Err::<(), _>(Error::new("not today")));
        let dialect = io.dialect(LineDialect);
        let lines = Arc::new(LineProtocol { io: io.clone(), dialect });
        io.mount("/lines", &[lines as Arc<dyn Mount>]);
    })
    .await;
    if let Way::StreamingInAxum = way {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        server.address = listener.local_addr().expect("it is bound");
        let app = axum::Router::new().layer(server.io.layer());
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    (server, told)
}

#[tokio::test]
async fn a_client_of_another_protocol_joins_rooms_calls_handlers_and_gets_broadcasts() {
    for way in WAYS {
        let (server, mut told) = server(way).await;
        let mut socketio = server.open_at("&room=hall").await;
        socketio.join("/chat").await;
        let mut client = Client::open(&server, way).await;
        client.join("/chat").await;
        client.say("join /closed {}").await;
        client.expect("refused /closed not today").await;
        client.say("join /nowhere").await;
        client.expect("refused /nowhere Invalid namespace").await;
        // Events, handled at once and later, and their acknowledgements.
        client.say(r#"ask /chat ["sum",20,22]"#).await;
        client.expect("answer /chat 7 [42]").await;
        client.say(r#"ask /chat ["later",5]"#).await;
        client.expect("answer /chat 7 [5]").await;
        // Rooms shared with Socket.IO's clients, in both directions.
        client.say(r#"event /chat ["say","hello"]"#).await;
        client.expect(r#"event /chat ["told"]"#).await;
        socketio.expect(r#"42/chat,["said","hello"]"#).await;
        socketio.send(r#"42/chat,["say","hi"]"#).await;
        client.expect(r#"event /chat ["said","hi"]"#).await;
        server.io.of("/chat").to("hall").emit("news", (1, "two")).expect("room");
        client.expect(r#"event /chat ["news",1,"two"]"#).await;
        // Acknowledgements that the client sends.
        client.say(r#"event /chat ["ask"]"#).await;
        client.expect(r#"event /chat 0 ["question",1]"#).await;
        client.say(r#"ack /chat 0 ["yes"]"#).await;
        client.expect(r#"event /chat ["thanks","yes"]"#).await;
        assert_eq!(told.now(), [""; 0], "{way:?}");
    }
}

#[tokio::test]
async fn each_end_of_a_socket_over_another_carrier_is_told() {
    for way in WAYS {
        let (server, mut told) = server(way).await;
        let mut client = Client::open(&server, way).await;
        client.join("/chat").await;
        client.say("leave /chat").await;
        assert_eq!(told.next().await, "client namespace disconnect");
        client.join("/chat").await;
        client.say(r#"event /chat ["away"]"#).await;
        client.expect("left /chat").await;
        assert_eq!(told.next().await, "server namespace disconnect");
        client.join("/chat").await;
        client.say(r#"event /chat ["close"]"#).await;
        client.expect("left /chat").await;
        assert_eq!(client.next().await, None);
        assert_eq!(told.next().await, "server namespace disconnect");
        let mut client = Client::open(&server, way).await;
        client.join("/chat").await;
        client.say("nonsense").await;
        assert_eq!(told.next().await, "parse error");
        assert_eq!(client.next().await, None);
        assert!(server.io.of("/chat").local_sockets().await.expect("sockets").is_empty());
    }
}
