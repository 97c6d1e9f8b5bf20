//! Packets that wait for a poll while the server shuts down: clients on polling fetch them, and then the
//! close.

use std::time::Duration;

use switchboard::{DisconnectReason, ListenAddress, Switchboard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use crate::harness::{Log, Polling, Server, Told, log, soon};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

/// Longer than any test takes: a shutdown that ends does so by itself.
const LONG: Duration = Duration::from_secs(3600);

/// A header with which a request is hyper's to read, and the connection from there on.
const FOR_HYPER: &str = "connection: keep-alive, te\r\n";

/// A connection that is kept from request to request.
struct Kept {
    stream: TcpStream,
    headers: &'static str,
}

impl Kept {
    async fn connect(server: &Server, headers: &'static str) -> Self {
        let stream = TcpStream::connect(server.address).await.expect("it listens");
        Self { stream, headers }
    }

    /// One request: the status and the body of its answer.
    async fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, String) {
        let (headers, length) = (self.headers, body.len());
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await.expect("the connection lives");
        soon("an answer", self.answer()).await
    }

    async fn answer(&mut self) -> (u16, String) {
        let mut answer = String::new();
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if length.expect("a length").parse() == Ok(body.len()) {
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    return (status.expect("a status"), body.to_owned());
                }
            }
            let mut bytes = [0; 1024];
            let read = self.stream.read(&mut bytes).await.expect("the connection lives");
            assert!(read > 0, "the connection has ended after {answer:?}");
            answer.push_str(std::str::from_utf8(&bytes[..read]).expect("text"));
        }
    }

    /// Opens a session and joins the root namespace; returns the session's target.
    async fn join(&mut self) -> String {
        let (_, open) = self.ask("GET", OPEN, "").await;
        let target = format!("{OPEN}&sid={}", open.split('"').nth(3).expect("a session id"));
        assert_eq!(self.ask("POST", &target, "40").await.0, 200);
        assert!(self.ask("GET", &target, "").await.1.starts_with("40"));
        target
    }

    async fn ended(&mut self) {
        let read = soon("the end", self.stream.read(&mut [0; 1])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

fn tells_ends(io: &Switchboard, said: Log) {
    io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
}

/// Shuts down; returns when all sockets of as many clients have been told.
async fn begin_shutdown(io: &Switchboard, told: &mut Told, clients: usize) -> tokio::task::JoinHandle<bool> {
    let io = io.clone();
    let down = tokio::spawn(async move { io.shutdown(LONG).await });
    for _ in 0..clients {
        assert_eq!(told.next().await, "server shutting down");
    }
    down
}

#[tokio::test]
async fn a_client_between_two_polls_fetches_waiting_packets_while_the_server_shuts_down() {
    for (workers, headers) in [(1, ""), (2, ""), (1, FOR_HYPER), (2, FOR_HYPER)] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| tells_ends(io, said)).await;
        let mut kept = Kept::connect(&server, headers).await;
        let mut other = Kept::connect(&server, headers).await;
        let (target, others) = (kept.join().await, other.join().await);
        server.io.root().emit("bye", 1).expect("room");
        let down = begin_shutdown(&server.io, &mut told, 2).await;
        // Nobody new.
        for target in [OPEN, "/of-the-application"] {
            let mut stranger = Kept::connect(&server, headers).await;
            assert_eq!(stranger.ask("GET", target, "").await, (503, "shutting down\n".to_owned()));
            stranger.ended().await;
        }
        for (client, target) in [(&mut kept, target), (&mut other, others)] {
            assert!(!down.is_finished());
            let bye = r#"42["bye",1]"#.to_owned();
            assert_eq!(client.ask("GET", &target, "").await, (200, bye));
            // The client has not heard of the close yet.
            assert_eq!(client.ask("POST", &target, r#"42["late"]"#).await.0, 200);
            assert_eq!(client.ask("GET", &target, "").await, (200, "6\x1e1".to_owned()));
        }
        kept.ended().await;
        other.ended().await;
        assert!(soon("the end", down).await.expect("no panic"), "all ended by themselves");
    }
}

#[tokio::test]
async fn a_session_that_lingers_already_is_told_of_its_close_while_the_server_shuts_down() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| tells_ends(io, said)).await;
    let mut kept = Kept::connect(&server, "").await;
    let target = kept.join().await;
    server.io.root().all().disconnect(true).expect("room");
    assert_eq!(told.next().await, "server namespace disconnect");
    assert_eq!(kept.ask("GET", &target, "").await.1, "41");
    let mut other = Kept::connect(&server, "").await;
    let others = other.join().await;
    server.io.root().emit("bye", 1).expect("room");
    let down = begin_shutdown(&server.io, &mut told, 1).await;
    assert_eq!(kept.ask("GET", &target, "").await, (200, "6\x1e1".to_owned()));
    assert_eq!(other.ask("GET", &others, "").await.1, r#"42["bye",1]"#);
    assert_eq!(other.ask("GET", &others, "").await.1, "6\x1e1");
    assert!(soon("the end", down).await.expect("no panic"));
}

#[tokio::test]
async fn a_client_that_keeps_no_connection_fetches_waiting_packets_while_the_server_shuts_down() {
    for workers in [1, 2] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| tells_ends(io, said)).await;
        // Each of its requests has a connection of its own.
        let client = Polling::open(&server).await;
        client.post("40").await;
        assert_eq!(client.get().await.len(), 1);
        server.io.root().emit("bye", 1).expect("room");
        let down = begin_shutdown(&server.io, &mut told, 1).await;
        assert_eq!(client.get().await, [r#"42["bye",1]"#]);
        client.post(r#"42["late"]"#).await;
        assert_eq!(client.get().await, ["6", "1"]);
        assert!(soon("the end", down).await.expect("no panic"), "all ended by themselves");
    }
}

#[tokio::test]
async fn a_socket_file_is_there_while_packets_wait_and_gone_after_a_shutdown() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| tells_ends(io, said)).await;
    let path = std::env::temp_dir().join(format!("switchboard-waiting-{}.sock", std::process::id()));
    server.io.bind(ListenAddress::unix(&path)).await.expect("a path is free");
    let client = Polling::open(&server).await;
    client.post("40").await;
    assert_eq!(client.get().await.len(), 1);
    server.io.root().emit("bye", 1).expect("room");
    let down = begin_shutdown(&server.io, &mut told, 1).await;
    assert!(UnixStream::connect(&path).await.is_ok());
    assert_eq!(client.get().await, [r#"42["bye",1]"#]);
    assert_eq!(client.get().await, ["6", "1"]);
    assert!(soon("the end", down).await.expect("no panic"));
    assert!(!path.exists());
}

#[tokio::test]
async fn packets_that_are_not_fetched_are_given_up_at_the_deadline() {
    let (said, mut told) = log();
    let server = Server::workers(2, |io| tells_ends(io, said)).await;
    let mut kept = Kept::connect(&server, "").await;
    kept.join().await;
    server.io.root().emit("bye", 1).expect("room");
    let all_ended = soon("the end", server.io.shutdown(Duration::from_millis(200))).await;
    assert!(!all_ended, "the client was not told");
    assert_eq!(told.next().await, "server shutting down");
    kept.ended().await;
}

#[tokio::test]
async fn a_kept_connection_does_not_hold_up_a_shutdown_if_nothing_waits() {
    let (said, mut told) = log();
    let server = Server::workers(2, |io| tells_ends(io, said)).await;
    let mut kept = Kept::connect(&server, "").await;
    kept.join().await;
    let down = begin_shutdown(&server.io, &mut told, 1).await;
    kept.ended().await;
    assert!(soon("the end", down).await.expect("no panic"));
}

#[tokio::test]
async fn a_shutdown_behind_an_outer_server_waits_until_packets_are_fetched() {
    let (said, mut told) = log();
    let io = Switchboard::builder().workers(2).build().expect("the options are good");
    tells_ends(&io, said);
    let service = io.service();
    let ask = async |method: &str, target: &str, body: &str| {
        let request = http::Request::builder().method(method).uri(target).body(body.to_owned());
        let answer = service.clone().call(request.expect("it is a request"));
        let answer = soon("an answer", answer).await.expect("it does not fail");
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    };
    let open = ask("GET", OPEN, "").await;
    let target = format!("{OPEN}&sid={}", open.split('"').nth(3).expect("a session id"));
    assert_eq!(ask("POST", &target, "40").await, "ok");
    assert!(ask("GET", &target, "").await.starts_with("40"));
    io.root().emit("bye", 1).expect("room");
    let down = begin_shutdown(&io, &mut told, 1).await;
    assert_eq!(ask("GET", OPEN, "").await, "shutting down\n");
    assert_eq!(ask("GET", &target, "").await, r#"42["bye",1]"#);
    assert_eq!(ask("GET", &target, "").await, "6\x1e1");
    assert!(soon("the end", down).await.expect("no panic"));
}
