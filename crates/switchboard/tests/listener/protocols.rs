//! Mounted protocols of a user: responses in pieces, exchanges with a worker, and decisions that take time,
//! on every path.

use std::future::ready;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{Response, StatusCode, Uri};
use switchboard::Switchboard;
use switchboard::protocol::{
    Abandoned, Answer, Body, BodyError, BodyLimits, BodyWriter, Decision, Exchange, ExchangeTarget, Finish,
    Mount, Reply, RequestHead, SessionKeyBytes,
};
use switchboard_hub::{Worker, WorkerId};

use crate::harness::{Server, eventually, get, post};
use crate::http2::client::Http2;
use crate::mounted::serve;

fn plain(status: StatusCode, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
}

/// Answers each GET with a stream; the test holds its writer.
#[derive(Default)]
struct Streams {
    writers: Mutex<Vec<BodyWriter>>,
}

impl Mount for Streams {
    fn decide(self: Arc<Self>, _head: &RequestHead<'_>) -> Decision {
        let (writer, body) = Body::pieces();
        self.writers.lock().unwrap().push(writer);
        Decision::Answer(plain(StatusCode::OK, body))
    }
}

impl Streams {
    async fn writer(&self) -> BodyWriter {
        eventually("it is asked for", async || !self.writers.lock().unwrap().is_empty()).await;
        self.writers.lock().unwrap().remove(0)
    }
}

async fn streams() -> (Server, Arc<Streams>) {
    let server = Server::start(Switchboard::builder().workers(1)).await;
    let streams = Arc::new(Streams::default());
    server.io.mount("/stream", &[Arc::clone(&streams) as Arc<dyn Mount>]);
    (server, streams)
}

#[tokio::test]
async fn an_answer_in_pieces_comes_as_it_is_written_and_its_connection_goes_on() {
    let (server, streams) = streams().await;
    // A second header line of this name is left to hyper.
    for headers in ["", "connection: keep-alive\r\nconnection: keep-alive"] {
        let mut client = server.send(get("/stream", headers)).await;
        let head = client.head().await;
        assert!(head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        let writer = streams.writer().await;
        for text in ["one\n", "two\n"] {
            writer.send(&mut Bytes::from(text)).unwrap();
            client.until(format!("4\r\n{text}\r\n")).await;
        }
        drop(writer);
        client.until("0\r\n\r\n").await;
        client.send(get("/nothing", "connection: close")).await;
        assert!(client.rest().await.starts_with("HTTP/1.1 404 "));
    }
}

#[tokio::test]
async fn an_answer_in_pieces_goes_over_http_2_and_through_axum() {
    let (server, streams) = streams().await;
    let write = async || {
        let writer = streams.writer().await;
        for text in ["one\n", "two\n"] {
            writer.send(&mut Bytes::from(text)).unwrap();
        }
    };
    let mut client = Http2::connect(&server).await;
    let (answer, ()) = tokio::join!(client.get("/stream"), write());
    assert_eq!(answer.body, "one\ntwo\n");
    let address = serve(Router::new().layer(server.io.layer()), |_| {});
    let mut client =
        crate::harness::Client { stream: tokio::net::TcpStream::connect(address).await.unwrap() };
    client.send(get("/stream", "connection: close")).await;
    write().await;
    assert!(client.rest().await.ends_with("4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_writer_hears_of_a_client_that_does_not_read_and_of_one_that_leaves() {
    let (server, streams) = streams().await;
    for headers in ["", "connection: keep-alive\r\nconnection: keep-alive"] {
        let mut client = server.send(get("/stream", headers)).await;
        client.head().await;
        let writer = streams.writer().await;
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        let mut sent = 0;
        while sent < 1000 && tokio::time::timeout(Duration::from_millis(200), writer.ready()).await.is_ok() {
            writer.send(&mut piece.clone()).unwrap();
            sent += 1;
        }
        assert!(sent < 1000, "the server took in 64 MB that its client does not");
        assert_eq!(writer.send(&mut piece.repeat(5).into()), Err(BodyError::Full));
        drop(client);
        writer.gone().await;
        assert_eq!(writer.send(&mut piece.clone()), Err(BodyError::Gone));
    }
}

/// Takes a body on worker 1, and answers with a description of it. A GET waits until its client leaves.
struct Letters;

/// Keys of clients that have left, for a function that has only its worker.
static LEFT: Mutex<Vec<SessionKeyBytes>> = Mutex::new(Vec::new());

struct Letter {
    waits: bool,
}

impl Mount for Letters {
    fn takes(&self, rest: &str, _target: &Uri) -> bool {
        rest.len() < 10
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        assert_eq!(head.rest, "box");
        let waits = head.parts.method == http::Method::GET;
        let limits = BodyLimits { max_bytes: 10, max_pieces: 3, timeout: Duration::from_secs(30) };
        let tell = |_: &Rc<Worker>, key: &SessionKeyBytes| LEFT.lock().unwrap().push(*key);
        Decision::Exchange(Exchange {
            worker: Some(WorkerId(1)),
            body: (!waits).then_some(limits),
            abandoned: Abandoned::Session { worker: WorkerId(1), key: *b"twenty bytes of them", tell },
            finish: Finish::default(),
            unanswered: || plain(StatusCode::GONE, "nobody\n"),
            target: Box::new(Letter { waits }),
        })
    }
}

impl ExchangeTarget for Letter {
    fn run(self: Box<Self>, worker: &Rc<Worker>, body: Bytes, reply: Reply) {
        assert_eq!(worker.id(), WorkerId(1));
        if self.waits {
            // Waits until the client leaves. The worker is told separately.
            std::mem::forget(reply);
        } else if body.is_empty() {
            drop(reply);
        } else {
            let _gone = reply.send(plain(StatusCode::OK, body));
        }
    }
}

#[tokio::test]
async fn a_worker_answers_with_the_body_that_it_was_given_and_hears_of_clients_that_leave() {
    let server = Server::start(Switchboard::builder().workers(2)).await;
    server.io.mount("/letters", &[Arc::new(Letters)]);
    for (body, status, text) in
        [("a letter", 200, "a letter"), ("a letter too long", 413, ""), ("", 410, "nobody\n")]
    {
        let answer = server.send(post("/letters/box", "connection: close", body)).await.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{text}")), "{answer}");
    }
    assert!(LEFT.lock().unwrap().is_empty());
    drop(server.send(get("/letters/box", "")).await);
    eventually("it is told", async || *LEFT.lock().unwrap() == [*b"twenty bytes of them"]).await;
    let below = server.send(get("/letters/far/too/long", "connection: close")).await.rest().await;
    assert!(below.starts_with("HTTP/1.1 404 "), "{below}");
}

/// Decides after a wait. The path says how.
struct Slow;

impl Mount for Slow {
    fn takes(&self, _rest: &str, _target: &Uri) -> bool {
        true
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let rest = head.rest.to_owned();
        Decision::Later(Box::pin(async move {
            tokio::task::yield_now().await;
            match &*rest {
                "pass" => Decision::Pass,
                "panic" => panic!("a protocol's mistake"),
                "never" => std::future::pending().await,
                "again" => Decision::Later(Box::pin(ready(Decision::Answer(plain(StatusCode::OK, "again"))))),
                _ => Decision::Answer(plain(StatusCode::OK, "later")),
            }
        }))
    }
}

#[tokio::test]
async fn a_decision_may_take_time_whether_an_upgrade_is_asked_for_or_not() {
    let server = Server::with(|options| options.decision_timeout = crate::harness::SHORT).await;
    server.io.mount("/slow", &[Arc::new(Slow)]);
    let upgrade = "connection: Upgrade\r\nupgrade: websocket";
    for (rest, status) in
        [("", 200), ("again", 200), ("pass", 404), ("panic", 500), ("never", 503), ("other", 200)]
    {
        for headers in ["connection: close", upgrade] {
            let mut client = server.send(get(&format!("/slow/{rest}"), headers)).await;
            let head = client.head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{rest} {headers}: {head}");
        }
    }
}
