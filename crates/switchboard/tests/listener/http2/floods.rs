//! Floods that HTTP/2 makes possible, frame by frame. Each ends its own connection with `ENHANCE_YOUR_CALM`,
//! and no other connection.

use switchboard::{Data, Switchboard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::Http2;
use crate::harness::{Client, DEADLINE, SHORT, Server, eventually, metric, text_frame};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `GOAWAY` with `ENHANCE_YOUR_CALM`, after the number of the last stream.
const CALM: [u8; 4] = [0, 0, 0, 11];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(super) fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// A field as HPACK encodes it without its tables.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, u8::try_from(name.len()).unwrap()];
    field.extend(name.bytes());
    field.push(u8::try_from(value.len()).unwrap());
    field.extend(value.bytes());
    field
}

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

fn request_head(method: &str, path: &str) -> Vec<u8> {
    head(&[(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)])
}

pub(super) fn websocket_head(path: &str) -> Vec<u8> {
    head(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ])
}

/// A connection after its preface and settings.
async fn connection(server: &Server) -> Client {
    let mut client = server.connect().await;
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    client
}

/// Sends a flood, with the given number of frames in each write, until the server ends the connection.
/// Returns whether it sent `CALM`.
async fn flood(client: Client, frames: impl Iterator<Item = Vec<u8>>, a_write: usize) -> bool {
    let (mut read, mut write) = client.stream.into_split();
    let frames: Vec<_> = frames.collect();
    let writing = async {
        for chunk in frames.chunks(a_write) {
            if write.write_all(&chunk.concat()).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut answer = Vec::new();
    let reading = async {
        // It may end with a reset.
        let _reset = read.read_to_end(&mut answer).await;
    };
    let both = async { tokio::join!(writing, reading) };
    timeout(DEADLINE, both).await.expect("the server ends the connection");
    answer.windows(CALM.len()).any(|bytes| bytes == CALM)
}

/// The number of a client's stream.
fn stream(number: u32) -> u32 {
    number * 2 + 1
}

async fn lives(server: &Server, client: &mut Http2) {
    client.websocket("/ws").await.echoes("others go on").await;
    Http2::connect(server).await.websocket("/ws").await.echoes("so do new ones").await;
}

#[tokio::test]
async fn requests_that_are_reset_at_once_are_a_flood() {
    // CVE-2023-44487, in one burst and one at a time.
    let server = Server::with(|_| {}).await;
    let mut other = Http2::connect(&server).await;
    let before = metric("switchboard_http_errors_total", "flood");
    for a_write in [100, 1] {
        let rapid = (0..20_000).map(|number| {
            let open = headers(
                stream(number),
                END_HEADERS | END_STREAM,
                &request_head("GET", "/socket.io/?EIO=4&transport=polling"),
            );
            [open, frame(RST_STREAM, 0, stream(number), &8_u32.to_be_bytes())].concat()
        });
        flood(connection(&server).await, rapid, a_write).await;
    }
    eventually("counted", async || metric("switchboard_http_errors_total", "flood") >= before + 2.0).await;
    lives(&server, &mut other).await;
}

#[tokio::test]
async fn websockets_that_are_reset_at_once_leave_nothing_behind() {
    let server = Server::with(|_| {}).await;
    let mut client = Http2::connect(&server).await;
    for _ in 0..300 {
        let (_, mut stream) = client.ask(client.handshake("/ws", &[]), false).await.unwrap();
        stream.send_reset(h2::Reason::CANCEL);
    }
    // As many streams again as may be open at once: none of the earlier ones is still counted.
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(client.websocket("/ws").await);
    }
}

#[tokio::test]
async fn streams_that_we_are_made_to_reset_are_a_flood() {
    // CVE-2025-8671: a window that grows past its limit is an error of its stream.
    let server = Server::with(|_| {}).await;
    let mut other = Http2::connect(&server).await;
    let made_to_reset = (0..5000).map(|number| {
        let open = headers(
            stream(number),
            END_HEADERS,
            &request_head("POST", "/socket.io/?EIO=4&transport=polling"),
        );
        [open, frame(WINDOW_UPDATE, 0, stream(number), &0x7fff_ffff_u32.to_be_bytes())].concat()
    });
    assert!(flood(connection(&server).await, made_to_reset, 1).await);
    lives(&server, &mut other).await;
}

#[tokio::test]
async fn continuations_without_end_are_a_flood() {
    // CVE-2024-27316: empty frames, and frames that each add to the head.
    let server = Server::with(|_| {}).await;
    let mut other = Http2::connect(&server).await;
    for piece in [Vec::new(), field("x-more", &"x".repeat(100))] {
        let mut client = connection(&server).await;
        client.send(headers(1, END_STREAM, &request_head("GET", "/"))).await;
        let endless = (0..100_000).map(|_| frame(CONTINUATION, 0, 1, &piece));
        assert!(flood(client, endless, 100).await, "{} bytes a frame", piece.len());
    }
    lives(&server, &mut other).await;
}

#[tokio::test]
async fn a_head_over_its_bound_is_refused_and_the_connection_goes_on() {
    let server = Server::with(|options| options.max_head_bytes = 4000).await;
    let mut client = Http2::connect(&server).await;
    let long = "x".repeat(1500);
    let headers = [("x-a", long.as_str()), ("x-b", &long), ("x-c", &long)];
    let answer = client.request(http::Method::GET, "/nothing", &headers, "").await;
    assert_eq!(answer.status, http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(client.get("/nothing").await.status, http::StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn empty_pieces_of_data_are_a_flood() {
    // CVE-2019-9518, of a POST and of a WebSocket.
    let server = Server::with(|_| {}).await;
    let mut other = Http2::connect(&server).await;
    let sid = other.open_session().await;
    let post = request_head("POST", &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
    for head in [post, websocket_head("/ws")] {
        let mut client = connection(&server).await;
        client.send(headers(1, END_HEADERS, &head)).await;
        let empty = (0..100_000).map(|_| frame(DATA, 0, 1, &[]));
        assert!(flood(client, empty, 100).await);
    }
    lives(&server, &mut other).await;
}

#[tokio::test]
async fn tiny_pieces_of_data_that_nobody_takes_are_a_flood() {
    let server = Server::start(Switchboard::builder().workers(1).max_held_bytes(100)).await;
    server.io.root().on("wait", async |Data(_): Data<String>| std::future::pending::<()>().await);
    let mut other = Http2::connect(&server).await;
    let mut client = connection(&server).await;
    let path = "/socket.io/?EIO=4&transport=websocket";
    client.send(headers(1, END_HEADERS, &websocket_head(path))).await;
    // The session holds its greatest number of bytes of events, and is no longer read.
    let held = format!(r#"42["wait","{}"]"#, "x".repeat(70));
    let messages = [text_frame("40"), text_frame(&held), text_frame(&held)].concat();
    client.send(frame(DATA, 0, 1, &messages)).await;
    eventually("held back", async || metric("switchboard_held_events_full_total", "") > 0.0).await;
    assert!(flood(client, (0..60_000).map(|_| frame(DATA, 0, 1, b"x")), 100).await);
    lives(&server, &mut other).await;
}

#[tokio::test]
async fn pings_and_settings_without_end_are_answered_no_faster_than_they_are_read() {
    let server = Server::with(|_| {}).await;
    let mut other = Http2::connect(&server).await;
    for (kind, payload) in [(PING, &[7; 8][..]), (SETTINGS, &[])] {
        // The client reads no responses. The server stops reading when it cannot write.
        let mut client = connection(&server).await;
        let many = frame(kind, 0, 0, payload).repeat(1000);
        let mut sent = 0;
        while timeout(SHORT, client.stream.write_all(&many)).await.is_ok_and(|sent| sent.is_ok()) {
            sent += many.len();
            assert!(sent < 256 << 20, "the server reads on");
        }
        lives(&server, &mut other).await;
    }
}
