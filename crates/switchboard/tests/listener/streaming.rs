//! Streaming answers whose connection becomes a session's.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::Response;
use switchboard::Switchboard;
use switchboard::protocol::{
    Connection, ConnectionEnd, ConnectionOwner, ConnectionTask, Decision, Messages, Mount, Outbox,
    RequestHead, Session, SessionKey, Upgrade, UpgradeTarget, Upgraded, Worker,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::harness::{Client, DEADLINE, Server, get, upgrade};

/// A session that sends as many lines as the query says, and closes if the path ends with `close`.
struct Lines {
    outbox: Outbox,
    connection: RefCell<Option<Rc<Connection>>>,
    key: RefCell<Option<SessionKey>>,
    ends: UnboundedSender<String>,
}

impl Session for Lines {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.flush(worker, &self.outbox);
        }
    }

    fn writable(&self) -> bool {
        self.connection.borrow().as_ref().is_some_and(|connection| connection.writable())
    }

    fn overflow(&self, _: &Rc<Worker>) {}

    fn on_timer(&self, _: &Rc<Worker>, _: Instant) -> Option<Instant> {
        None
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        let connection = self.connection.borrow().clone();
        connection.expect("it is open").close(worker, None, "");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ConnectionOwner for Lines {
    fn on_message(self: Rc<Self>, _: &Rc<Worker>, _: &Rc<Connection>, _: switchboard::Message<'_>) {
        unreachable!("a stream has no messages");
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _: &Rc<Connection>, end: ConnectionEnd) {
        let _listening = self.ends.send(end.as_str().to_owned());
        worker.remove_session(self.key.take().expect("it ends once"));
        self.connection.take();
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}

/// A protocol whose clients are sent lines.
struct LineMount(UnboundedSender<String>);

struct Opening {
    ends: UnboundedSender<String>,
    lines: usize,
    closes: bool,
}

impl Mount for LineMount {
    fn takes(&self, _rest: &str, _target: &http::Uri) -> bool {
        true
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let lines = head.parts.uri.query().and_then(|query| query.parse().ok()).unwrap_or_default();
        let target = Opening { ends: self.0.clone(), lines, closes: head.rest == "close" };
        let response = Response::builder().header("content-type", "text/plain").body(());
        Decision::Upgrade(Upgrade::streaming(response.expect("a response"), target))
    }
}

impl UpgradeTarget for Opening {
    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { ends, lines, closes } = *self;
        let framing = upgraded.stream_wire().framing();
        let (connection, key) = Default::default();
        let session = Rc::new(Lines { outbox: Outbox::new(16 << 20, framing), connection, key, ends });
        let owner = Rc::clone(&session) as Rc<dyn Session>;
        session.key.replace(Some(worker.add_session(Rc::clone(&owner))));
        let (connection, task) = upgraded.stream(worker, Rc::clone(&session) as _);
        session.connection.replace(Some(Rc::clone(&connection)));
        for number in 0..lines {
            let write = |out: &mut Vec<u8>| {
                let mut messages = Messages::new(framing, out).expect("a framing");
                messages.text(&format!("line {number}\n"));
                // An empty message is not the end of the body.
                messages.text("");
            };
            worker.write(&owner, write).expect("room");
        }
        if closes {
            connection.close(worker, None, "");
        }
        task
    }
}

async fn server() -> (Server, UnboundedReceiver<String>) {
    let server = Server::start(Switchboard::builder().workers(1)).await;
    let (ends, told) = unbounded_channel();
    server.io.mount("/lines", &[Arc::new(LineMount(ends))]);
    (server, told)
}

async fn end(told: &mut UnboundedReceiver<String>) -> String {
    timeout(DEADLINE, told.recv()).await.expect("the end is told").expect("a server")
}

/// The bytes of all chunks of a body.
fn unchunked(body: &str) -> String {
    let (mut bytes, mut rest) = (String::new(), body);
    loop {
        let (size, chunk) = rest.split_once("\r\n").expect("a chunk");
        let (chunk, behind) = chunk.split_at(usize::from_str_radix(size, 16).expect("a size"));
        rest = behind.strip_prefix("\r\n").expect("the end of a chunk");
        if chunk.is_empty() {
            assert_eq!(rest, "");
            return bytes;
        }
        bytes.push_str(chunk);
    }
}

#[tokio::test]
async fn a_streaming_answer_comes_in_chunks_and_ends_with_its_connection() {
    let (server, mut told) = server().await;
    let answer = server.send(get("/lines/close?2", "")).await.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"), "{head}");
    for header in ["connection: close", "transfer-encoding: chunked", "date: "] {
        assert!(head.contains(&format!("\r\n{header}")), "{head}");
    }
    assert_eq!(body, "7\r\nline 0\n\r\n7\r\nline 1\n\r\n0\r\n\r\n");
    assert_eq!(end(&mut told).await, "closed");
}

#[tokio::test]
async fn a_client_of_http_1_0_and_one_that_asks_for_a_websocket_get_the_same_body() {
    let (server, _told) = server().await;
    let old = get("/lines/close?1", "").replace("HTTP/1.1", "HTTP/1.0");
    let upgrade = upgrade("/lines/close?1");
    let old_upgrade = upgrade.replace("HTTP/1.1", "HTTP/1.0");
    for (request, right) in [
        (&old, "line 0\n"),
        (&old_upgrade, "line 0\n"),
        (&upgrade, "7\r\nline 0\n\r\n0\r\n\r\n"),
        (&get("/lines/close?1", "connection: te, close"), "7\r\nline 0\n\r\n0\r\n\r\n"),
    ] {
        let answer = server.send(request).await.rest().await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert_eq!(body, right, "{request}");
    }
}

#[tokio::test]
async fn bytes_that_a_client_sends_behind_its_request_are_dropped() {
    let (server, mut told) = server().await;
    let mut client = server.send([get("/lines?1", ""), get("/ws", "")].concat()).await;
    client.until("line 0\n\r\n").await;
    client.send(upgrade("/ws")).await;
    client.send(vec![0x81; 1 << 20]).await;
    drop(client);
    assert_eq!(end(&mut told).await, "closed");
}

#[tokio::test]
async fn a_session_is_told_when_the_client_of_its_stream_leaves() {
    let (server, mut told) = server().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let axum = listener.local_addr().expect("it is bound");
    let app = axum::Router::new().layer(server.io.layer());
    tokio::spawn(async move { axum::serve(listener, app).await });
    // The server's own listener, the same by way of hyper, and axum.
    for (address, headers) in [(server.address, ""), (server.address, "connection: te"), (axum, "")] {
        let mut client = Client { stream: TcpStream::connect(address).await.expect("it listens") };
        client.send(get("/lines?1", headers)).await;
        client.until("line 0\n\r\n").await;
        drop(client);
        let end = end(&mut told).await;
        assert!(end == "closed" || end == "connection lost", "{end}");
    }
}

/// Far more lines than the buffers of a socket take, and than the pieces that may wait.
const LINES: usize = 400_000;

#[tokio::test]
async fn a_client_that_reads_late_gets_all_of_a_stream() {
    let (server, mut told) = server().await;
    for headers in ["", "connection: te, close"] {
        let mut client = server.send(get(&format!("/lines/close?{LINES}"), headers)).await;
        client.head().await;
        let lines = unchunked(&client.rest().await);
        assert!(lines.lines().eq((0..LINES).map(|number| format!("line {number}"))), "{headers}");
        assert_eq!(end(&mut told).await, "closed");
    }
}

#[tokio::test]
async fn a_shutdown_ends_streams_in_order() {
    let (server, mut told) = server().await;
    let mut client = server.send(get("/lines?1", "")).await;
    client.until("line 0\n\r\n").await;
    let io = server.io.clone();
    let down = tokio::spawn(async move { io.shutdown(DEADLINE).await });
    assert_eq!(client.rest().await, "0\r\n\r\n");
    assert!(down.await.expect("no panic"));
    assert_eq!(end(&mut told).await, "closed");
}
