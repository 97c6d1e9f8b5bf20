//! An HTTP/2 client on the `h2` crate: requests, and WebSockets by extended CONNECT, all on one connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use switchboard_websocket::{Config, OwnedMessage, Role, WebSocketStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::{DEADLINE, Server, eventually, session_id};

/// Fails the test if the awaited event does not come.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap_or_else(|_late| panic!("{what}: not within {DEADLINE:?}"))
}

/// One connection.
pub(crate) struct Http2 {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

/// A whole response.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Http2 {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::connect_with(server, &Builder::new()).await
    }

    pub(crate) async fn connect_with(server: &Server, builder: &Builder) -> Self {
        let stream = TcpStream::connect(server.address).await.expect("it listens");
        Self::over(stream, server, builder).await
    }

    /// Sends the request on a new stream.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        server: &Server,
        builder: &Builder,
    ) -> Self {
        let (send, connection) = builder.handshake(stream).await.expect("the preface is written");
        let connection = tokio::spawn(connection);
        eventually("the server's settings come", async || send.is_extended_connect_protocol_enabled()).await;
        Self { send, connection, authority: server.address.to_string() }
    }

    /// A request's head.
    pub(crate) fn head(&self, method: &Method, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.authority))
            .version(http::Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a good head")
    }

    /// A handshake of a WebSocket.
    pub(crate) fn handshake(&self, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut head = self.head(&Method::CONNECT, path, headers);
        head.extensions_mut().insert(Protocol::from_static("websocket"));
        head.headers_mut().insert("sec-websocket-version", http::HeaderValue::from_static("13"));
        head
    }

    /// Sends a head, and awaits the head of the response.
    pub(crate) async fn ask(
        &mut self,
        head: Request<()>,
        end: bool,
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
        let mut send = soon("a stream", self.send.clone().ready()).await?;
        let (answer, body) = send.send_request(head, end)?;
        Ok((soon("an answer", answer).await?, body))
    }

    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let (parts, body) = self.request_bytes(method, path, headers, body).await;
        Answer { status: parts.status, headers: parts.headers, body: text(body) }
    }

    /// The same, for a response that need not be text.
    pub(crate) async fn request_bytes(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (Parts, Vec<u8>) {
        let head = self.head(&method, path, headers);
        let mut send = soon("a stream", self.send.clone().ready()).await.expect("the connection lives");
        let (answer, mut stream) = send.send_request(head, body.is_empty()).expect("the connection lives");
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).expect("the stream is open");
        }
        whole_bytes(soon("an answer", answer).await.expect("an answer")).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], "").await
    }

    /// Opens a session on polling; returns its id.
    pub(crate) async fn open_session(&mut self) -> String {
        let answer = self.get("/socket.io/?EIO=4&transport=polling").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        session_id(&answer.body)
    }

    pub(crate) async fn post(&mut self, sid: &str, packets: &str) -> Answer {
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        self.request(Method::POST, &path, &[], packets).await
    }

    pub(crate) async fn poll(&mut self, sid: &str) -> Answer {
        self.get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}")).await
    }

    /// Opens a WebSocket.
    pub(crate) async fn websocket(&mut self, path: &str) -> WebSocket {
        let (answer, stream) = self.try_websocket(path, &[]).await;
        stream.unwrap_or_else(|| panic!("{path}: {:?}", answer.status()))
    }

    /// Requests a WebSocket.
    pub(crate) async fn try_websocket(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (Response<()>, Option<WebSocket>) {
        let head = self.handshake(path, headers);
        let (answer, send) = self.ask(head, false).await.expect("an answer");
        let (parts, receive) = answer.into_parts();
        let stream = (parts.status == StatusCode::OK).then(|| {
            let stream = Duplex { send, receive, read: Bytes::new() };
            WebSocket(WebSocketStream::from_raw(stream, Role::Client, &Config::default()))
        });
        (Response::from_parts(parts, ()), stream)
    }

    /// How the server ended the connection. The client keeps a handle, because without one it would end the
    /// connection itself.
    pub(crate) async fn ended(self) -> Result<(), h2::Error> {
        let Self { send: _handle, connection, .. } = self;
        soon("the end of the connection", connection).await.expect("it does not panic")
    }
}

pub(crate) async fn whole(answer: Response<RecvStream>) -> Answer {
    let (parts, body) = whole_bytes(answer).await;
    Answer { status: parts.status, headers: parts.headers, body: text(body) }
}

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).expect("text")
}

async fn whole_bytes(answer: Response<RecvStream>) -> (Parts, Vec<u8>) {
    let (parts, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = soon("a piece of the body", stream.data()).await {
        let piece = piece.expect("the body is whole");
        stream.flow_control().release_capacity(piece.len()).expect("so much came");
        body.extend_from_slice(&piece);
    }
    (parts, body)
}

/// A WebSocket on one stream of the connection.
pub(crate) struct WebSocket(pub(crate) WebSocketStream<Duplex>);

impl WebSocket {
    pub(crate) async fn send(&mut self, text: &str) {
        soon("sending", self.0.send(text)).await.expect("the connection lives");
    }

    /// The next text; `None` at the end. It answers Engine.IO's pings.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match soon("a message", self.0.recv()).await {
                Ok(Some(OwnedMessage::Text(ping))) if ping == "2" => self.send("3").await,
                Ok(Some(OwnedMessage::Text(text))) => return Some(text),
                Ok(Some(OwnedMessage::Close(_)) | None) | Err(_) => return None,
                Ok(Some(_)) => {}
            }
        }
    }

    pub(crate) async fn expect(&mut self, text: &str) {
        assert_eq!(self.next().await.as_deref(), Some(text));
    }

    pub(crate) async fn echoes(&mut self, text: &str) {
        self.send(text).await;
        self.expect(text).await;
    }

    /// Upgrades a session that is on polling.
    pub(crate) async fn upgrade_from(&mut self, client: &mut Http2, sid: &str) {
        self.send("2probe").await;
        self.expect("3probe").await;
        assert_eq!(client.poll(sid).await.body, "6", "a poll is released by a noop");
        self.send("5").await;
    }

    /// Joins namespace `/` of Socket.IO. The next packet must be the open packet.
    pub(crate) async fn join(&mut self) {
        let open = self.next().await.expect("an open packet");
        assert!(open.starts_with(r#"0{"sid":"#), "{open}");
        self.send("40").await;
        let answer = self.next().await.expect("an answer");
        assert!(answer.starts_with(r#"40{"sid":"#), "{answer}");
    }
}

/// Both directions of an HTTP/2 stream.
pub(crate) struct Duplex {
    pub(crate) send: SendStream<Bytes>,
    receive: RecvStream,
    read: Bytes,
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(piece) => self.read = piece.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(n));
        let released = self.receive.flow_control().release_capacity(n);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        let capacity = match ready!(self.send.poll_capacity(cx)) {
            Some(capacity) => capacity.map_err(io::Error::other)?,
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        let n = capacity.min(bytes.len());
        let sent = self.send.send_data(Bytes::copy_from_slice(&bytes[..n]), false);
        Poll::Ready(sent.map(|()| n).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.send.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
