//! Servers on free ports, and a client that sends exactly the given bytes.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use switchboard::{Builder, ListenerOptions, Message, Switchboard, WebSocket};
use switchboard_websocket::{Config, WebSocketStream, client::ClientIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any awaited event takes on any machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A time limit that tests are meant to reach.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) struct Server {
    pub(crate) io: Switchboard,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Serves an echo at `/ws` on a free port, with one worker unless `builder` says more.
    pub(crate) async fn start(builder: Builder) -> Self {
        recorder();
        let io = builder.build().expect("the options are good");
        io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
        io.root();
        let listening = io.bind("127.0.0.1:0").await.expect("a port is free");
        Self { address: listening.local_addr(), io }
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ListenerOptions)) -> Self {
        let mut options = ListenerOptions::default();
        change(&mut options);
        Self::start(Switchboard::builder().workers(1).listener(options)).await
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.expect("it listens") }
    }

    /// A client that has sent these bytes.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> Client {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client
    }

    pub(crate) async fn websocket(&self, path: &str) -> WebSocketStream<ClientIo> {
        self.try_websocket(path).await.expect("the handshake is good")
    }

    pub(crate) async fn try_websocket(
        &self,
        path: &str,
    ) -> Result<WebSocketStream<ClientIo>, switchboard_websocket::Error> {
        WebSocketStream::connect(&format!("ws://{}{path}", self.address), &Config::default()).await
    }

    /// Opens a session on polling; returns its id.
    pub(crate) async fn open_session(&self) -> String {
        let answer =
            self.send(get("/socket.io/?EIO=4&transport=polling", "connection: close")).await.rest().await;
        session_id(&answer)
    }

    /// Whether a session exists. It must accept a POST with only a pong.
    pub(crate) async fn has_session(&self, sid: &str) -> bool {
        let post = post(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), "connection: close", "3");
        self.send(post).await.rest().await.starts_with("HTTP/1.1 200")
    }
}

/// The text between `"sid":"` and the next quote.
pub(crate) fn session_id(answer: &str) -> String {
    let (_, behind) =
        answer.split_once(r#""sid":""#).unwrap_or_else(|| panic!("no session id in {answer:?}"));
    behind.split('"').next().unwrap_or_default().to_owned()
}

pub(crate) fn get(path: &str, headers: &str) -> String {
    let end = if headers.is_empty() { "\r\n" } else { "\r\n\r\n" };
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}{end}")
}

pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A correct handshake.
pub(crate) fn upgrade(path: &str) -> String {
    get(
        path,
        "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )
}

/// A text message as clients frame it, masked with zeros.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("a short text"), 0, 0, 0, 0];
    frame.extend(text.as_bytes());
    frame
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the server reads");
    }

    /// All bytes up to the end of the stream. An end that is not in order is an error.
    pub(crate) async fn try_rest(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        timeout(DEADLINE, self.stream.read_to_end(&mut bytes))
            .await
            .expect("the server closes the connection")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) async fn rest(&mut self) -> String {
        self.try_rest().await.expect("the connection ends in order")
    }

    /// Whether the connection ends without a byte, in order or not.
    pub(crate) async fn is_cut(&mut self) -> bool {
        self.try_rest().await.map_or(true, |rest| rest.is_empty())
    }

    /// Whether any byte comes before the connection ends.
    pub(crate) async fn is_answered(&mut self) -> bool {
        let read = timeout(DEADLINE, self.stream.read_u8()).await.expect("the server answers, or closes");
        read.is_ok()
    }

    /// The bytes up to and including `end`.
    pub(crate) async fn until(&mut self, end: impl AsRef<[u8]>) -> Vec<u8> {
        let (mut bytes, end) = (Vec::new(), end.as_ref());
        while !bytes.ends_with(end) {
            let byte = timeout(DEADLINE, self.stream.read_u8()).await.expect("the server answers");
            bytes.push(byte.unwrap_or_else(|error| panic!("{error} behind {}", bytes.escape_ascii())));
        }
        bytes
    }

    /// The head of a response.
    pub(crate) async fn head(&mut self) -> String {
        String::from_utf8(self.until("\r\n\r\n").await).expect("heads are text")
    }
}

/// Checks repeatedly until the condition is true.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let look = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, look).await.unwrap_or_else(|_late| panic!("it never came to this: {what}"));
}

/// The metrics of this process.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().expect("there is no other recorder"))
}

/// The value of a metric, summed over all series with these labels. The tests of this program share the
/// metric, so a test can only check that it grows.
pub(crate) fn metric(name: &str, label: &str) -> f64 {
    let rendered = recorder().render();
    let lines = rendered.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
