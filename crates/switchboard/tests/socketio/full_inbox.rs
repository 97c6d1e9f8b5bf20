//! A worker whose inbox is full: only the connection whose input met the full inbox is not read on.

use std::sync::mpsc::{Sender, channel};

use switchboard::{Data, Socket, SocketId, Switchboard};
use switchboard_hub::WorkerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, Log, Server, log, soon};

const BUSY: WorkerId = WorkerId(1);

/// Two workers, with inboxes for one message each.
async fn server(said: Log) -> Server {
    Server::start(Switchboard::builder().workers(2).inbox_bytes(1), move |io| {
        let root = io.root();
        root.on("all", |socket: Socket| socket.namespace().emit("x", ()));
        root.on("all-later", async |socket: Socket| {
            tokio::task::yield_now().await;
            socket.namespace().emit("x", ())
        });
        root.on("to", |socket: Socket, Data(id): Data<SocketId>| socket.namespace().to(id).emit("note", ()));
        root.on("echo", move |Data(text): Data<String>| {
            said.say(&*text);
            text
        });
        root.on_error(|_, _| ());
    })
    .await
}

/// Keeps the second worker busy, with a full inbox, until the sender is dropped.
fn keep_busy(server: &Server) -> Sender<()> {
    let hub = server.io.hub();
    let (release, released) = channel();
    let (begin, begun) = channel();
    hub.run_on(BUSY, move |_| {
        begin.send(()).expect("the test waits");
        released.recv().expect_err("the test only hangs up");
    })
    .expect("room");
    begun.recv().expect("the worker runs");
    hub.run_holding(BUSY, 1, |_| ()).expect("room");
    release
}

fn is_on_first_worker(id: &str) -> bool {
    SocketId::parse(id).expect("an id").home().1 != BUSY
}

/// A client of the first worker, and its id.
async fn client(server: &Server) -> (Client, String) {
    loop {
        let mut client = server.open().await;
        let id = client.join("/").await;
        if is_on_first_worker(&id) {
            return (client, id);
        }
    }
}

/// A session on polling over one kept connection, which belongs to the session's worker.
struct KeptPolling {
    stream: TcpStream,
    target: String,
}

impl KeptPolling {
    async fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).await.expect("it listens");
        let mut polling = Self { stream, target: "/socket.io/?EIO=4&transport=polling".to_owned() };
        let open = polling.request("GET", "").await;
        let sid = open.split('"').nth(3).expect("a session id");
        polling.target = format!("{}&sid={sid}", polling.target);
        polling
    }

    /// Sends a request; returns the body of the response.
    async fn request(&mut self, method: &str, body: &str) -> String {
        let head = format!("{method} {} HTTP/1.1\r\nhost: test\r\n", self.target);
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(request.as_bytes()).await.expect("the connection lives");
        let mut answer = String::new();
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head
                    .to_ascii_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
                if body.len() >= length.expect("a length") {
                    return body.to_owned();
                }
            }
            let mut buffer = [0; 4096];
            let n = self.stream.read(&mut buffer).await.expect("the connection lives");
            assert!(n > 0, "the connection has ended: {answer}");
            answer.push_str(std::str::from_utf8(&buffer[..n]).expect("text"));
        }
    }
}

#[tokio::test]
async fn a_client_whose_event_met_a_full_inbox_is_not_read_and_no_other_is_held_up() {
    let (said, mut told) = log();
    let server = server(said).await;
    let ((mut sender, id), (mut other, _)) = (client(&server).await, client(&server).await);
    for event in ["all", "all-later"] {
        let release = keep_busy(&server);
        sender.ask(&format!(r#"42["{event}"]"#), r#"42["x"]"#).await;
        other.expect(r#"42["x"]"#).await;
        sender.send(r#"420["echo","held"]"#).await;
        for _ in 0..20 {
            other.ask(r#"420["echo","other"]"#, r#"430["other"]"#).await;
        }
        assert!(told.now().iter().all(|text| text == "other"), "after {event}");
        // Messages to the client still go out meanwhile.
        other.send(&format!(r#"421["to","{id}"]"#)).await;
        sender.expect(r#"42["note"]"#).await;
        other.expect("431[]").await;
        drop(release);
        sender.expect(r#"430["held"]"#).await;
        told.now();
    }
}

#[tokio::test]
async fn a_post_whose_event_met_a_full_inbox_is_answered_when_there_is_room() {
    let (said, mut told) = log();
    let server = server(said).await;
    let (mut other, _) = client(&server).await;
    let mut polling = loop {
        let mut polling = KeptPolling::open(&server).await;
        polling.request("POST", "40").await;
        let answer = polling.request("GET", "").await;
        if answer.split('"').nth(3).is_some_and(is_on_first_worker) {
            break polling;
        }
    };
    let release = keep_busy(&server);
    let post = tokio::spawn(async move { polling.request("POST", r#"42["all"]"#).await });
    other.expect(r#"42["x"]"#).await;
    for _ in 0..20 {
        other.ask(r#"420["echo","other"]"#, r#"430["other"]"#).await;
    }
    assert!(!post.is_finished());
    assert_eq!(told.now().len(), 20);
    drop(release);
    assert_eq!(soon("the answer", post).await.expect("no panic"), "ok");
}
