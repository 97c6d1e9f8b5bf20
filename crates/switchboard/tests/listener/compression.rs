//! Compressed answers to polls (`httpCompression`), on every path that a request can take.

use std::io::Read;
use std::net::SocketAddr;

use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use switchboard::{Builder, Data, EngineSocket, Message, Socket, Switchboard};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::harness::{DEADLINE, Server, get, post, session_id};
use crate::http2::client::Http2;

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

/// The code that answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The listener itself.
    Listener,
    /// hyper, for requests that the listener does not answer itself.
    Hyper,
    Http2,
    /// axum's server, with Switchboard as a layer.
    Mounted,
}

const WAYS: [Way; 4] = [Way::Listener, Way::Hyper, Way::Http2, Way::Mounted];

/// Socket.IO whose event `say` sends texts back, compressed or not as its flags say. With `cast` they are
/// sent to all.
async fn start(builder: Builder) -> (Server, SocketAddr) {
    let server = Server::start(builder).await;
    let root = server.io.root();
    root.on("say", |socket: Socket, Data((length, flags)): Data<(usize, Vec<bool>)>| {
        flags.into_iter().try_for_each(|compress| socket.compress(compress).emit("said", "a".repeat(length)))
    });
    root.on("cast", |socket: Socket, Data((length, flags)): Data<(usize, Vec<bool>)>| {
        let namespace = socket.namespace();
        flags
            .into_iter()
            .try_for_each(|compress| namespace.compress(compress).emit("said", "a".repeat(length)))
    });
    server
        .io
        .engine("/engine.io")
        .on_message(|socket: &EngineSocket, _: Message<'_>| socket.send_uncompressed(&*"a".repeat(5000)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mounted = listener.local_addr().unwrap();
    let app = axum::Router::new().layer(server.io.layer());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (server, mounted)
}

/// A client whose requests take one path only.
struct Client {
    way: Way,
    server: Server,
    http2: Option<Http2>,
}

impl Client {
    async fn new(way: Way, builder: Builder) -> Self {
        let (mut server, mounted) = start(builder).await;
        if way == Way::Mounted {
            server.address = mounted;
        }
        let http2 = if way == Way::Http2 { Some(Http2::connect(&server).await) } else { None };
        Self { way, server, http2 }
    }

    /// Sends a GET, or a POST if there is a body.
    async fn ask(&mut self, path: &str, accepts: &str, body: &str) -> (HeaderMap, Vec<u8>) {
        match &mut self.http2 {
            Some(client) => {
                let method = if body.is_empty() { Method::GET } else { Method::POST };
                let headers = [("accept-encoding", accepts)];
                let (parts, body) = client.request_bytes(method, path, &headers, body).await;
                (parts.headers, body)
            }
            None => self.ask_http1(path, accepts, body).await,
        }
    }

    async fn ask_http1(&self, path: &str, accepts: &str, body: &str) -> (HeaderMap, Vec<u8>) {
        // A `Connection` header with more than `close` is left to hyper.
        let close = if self.way == Way::Hyper { "close, x" } else { "close" };
        let headers = format!("connection: {close}\r\naccept-encoding: {accepts}");
        let request = if body.is_empty() { get(path, &headers) } else { post(path, &headers, body) };
        let mut client = self.server.send(request).await;
        let mut bytes = Vec::new();
        timeout(DEADLINE, client.stream.read_to_end(&mut bytes)).await.expect("in time").expect("an answer");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let (headers, body) = (headers.collect::<HeaderMap>(), bytes[end + 4..].to_vec());
        assert_eq!(headers["content-length"], body.len().to_string());
        (headers, body)
    }

    /// Opens a session and joins the namespace; returns the path of the session's requests.
    async fn open(&mut self) -> String {
        let (_, open) = self.ask(POLL, "", "").await;
        let path = format!("{POLL}&sid={}", session_id(&String::from_utf8(open).unwrap()));
        assert_eq!(self.ask(&path, "", "40").await.1, b"ok");
        self.ask(&path, "", "").await;
        path
    }

    /// Asks for texts and polls for them; returns the coding of the response, and the decoded body.
    async fn texts(&mut self, path: &str, event: &str, accepts: &str) -> (Option<String>, String) {
        assert_eq!(self.ask(path, accepts, event).await.1, b"ok", "{event}");
        let (headers, body) = self.ask(path, accepts, "").await;
        decoded(&headers, &body)
    }
}

/// The coding of a response, and its decoded body.
fn decoded(headers: &HeaderMap, body: &[u8]) -> (Option<String>, String) {
    let coding = headers.get("content-encoding").map(|coding| coding.to_str().unwrap().to_owned());
    let mut text = String::new();
    match coding.as_deref() {
        Some("gzip") => GzDecoder::new(body).read_to_string(&mut text).unwrap(),
        Some("deflate") => ZlibDecoder::new(body).read_to_string(&mut text).unwrap(),
        Some(other) => panic!("{other} was not asked for"),
        None => Read::read_to_string(&mut { body }, &mut text).unwrap(),
    };
    assert_eq!(coding.is_some(), headers.get("vary").is_some_and(|vary| vary == "Accept-Encoding"));
    (coding, text)
}

fn builder() -> Builder {
    Switchboard::builder().workers(1)
}

#[tokio::test]
async fn a_poll_is_answered_in_the_coding_that_its_client_takes_on_every_way_in() {
    for way in WAYS {
        let mut client = Client::new(way, builder()).await;
        let path = client.open().await;
        for (accepts, coding) in [
            ("gzip, deflate, br", Some("gzip")),
            ("deflate", Some("deflate")),
            ("gzip;q=0.1, deflate;q=0.9", Some("deflate")),
            ("*", Some("gzip")),
            ("br", None),
            ("gzip;q=0", None),
            ("", None),
        ] {
            let (taken, text) = client.texts(&path, r#"42["say",5000,[true]]"#, accepts).await;
            assert_eq!(taken.as_deref(), coding, "{way:?}: {accepts}");
            assert_eq!(text, format!(r#"42["said","{}"]"#, "a".repeat(5000)), "{way:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_compressed_from_1024_bytes_on() {
    for way in WAYS {
        let mut client = Client::new(way, builder()).await;
        let path = client.open().await;
        let around = r#"42["said",""]"#.len();
        for (length, compressed) in [(1023, false), (1024, true)] {
            let event = format!(r#"42["say",{},[true]]"#, length - around);
            let (coding, text) = client.texts(&path, &event, "gzip").await;
            assert_eq!((coding.is_some(), text.len()), (compressed, length), "{way:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_compressed_if_any_of_its_packets_is_to_be() {
    for way in WAYS {
        let mut client = Client::new(way, builder()).await;
        let path = client.open().await;
        for event in ["say", "cast"] {
            for (flags, compressed) in [
                ("true", true),
                ("false", false),
                ("false,false,false", false),
                ("false,true", true),
                ("true,false", true),
                ("false,true,false", true),
                ("false", false),
            ] {
                let event = format!(r#"42["{event}",2000,[{flags}]]"#);
                let (coding, text) = client.texts(&path, &event, "gzip").await;
                assert_eq!(coding.is_some(), compressed, "{way:?}: {event}");
                assert_eq!(text.matches("said").count(), flags.split(',').count(), "{way:?}: {event}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_of_a_bare_service_may_go_uncompressed() {
    let mut client = Client::new(Way::Listener, builder()).await;
    let poll = "/engine.io/?EIO=4&transport=polling";
    let (_, open) = client.ask(poll, "", "").await;
    let path = format!("{poll}&sid={}", session_id(&String::from_utf8(open).unwrap()));
    let (coding, text) = client.texts(&path, "4hello", "gzip").await;
    assert_eq!((coding, text.len()), (None, 5001));
}

#[tokio::test]
async fn a_threshold_of_nothing_compresses_all_packets_and_no_threshold_none() {
    for way in WAYS {
        let mut client = Client::new(way, builder().http_compression(Some(0))).await;
        let (headers, open) = client.ask(POLL, "gzip", "").await;
        let (coding, open) = decoded(&headers, &open);
        assert_eq!(coding.as_deref(), Some("gzip"), "{way:?}");
        // The response to a POST is not a packet.
        let path = format!("{POLL}&sid={}", session_id(&open));
        assert_eq!(client.ask(&path, "gzip", "40").await.1, b"ok", "{way:?}");

        let mut client = Client::new(way, builder().http_compression(None)).await;
        let path = client.open().await;
        let (coding, _) = client.texts(&path, r#"42["say",50000,[true]]"#, "gzip").await;
        assert_eq!(coding, None, "{way:?}");
    }
}
