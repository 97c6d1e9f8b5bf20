//! Servers for the client's tests: they echo, or send a given answer.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::request::Parts;
use switchboard_websocket::{Config, WebSocketStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The most time for a step that should end at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(SOON, work).await.expect("it does not take that long")
}

/// The requests that servers received.
#[derive(Clone, Debug)]
pub(crate) struct Heard<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for Heard<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Heard<T> {
    pub(crate) fn put(&self, heard: T) {
        self.0.lock().unwrap().push(heard);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address without a listener.
pub(crate) async fn nobody() -> SocketAddr {
    listen().await.1
}

/// Calls `serve` with each connection of the listener.
pub(crate) fn each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
}

/// Echoes on a connection, and notes its request.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(io: S, heard: Heard<Parts>) {
    let mut config = Config::default();
    config.protocols = vec!["superchat".into(), "chat".into()];
    let Ok((mut socket, request)) = WebSocketStream::accept_request(io, &config).await else { return };
    heard.put(request);
    while let Ok(Some(message)) = socket.recv().await {
        if message.is_data() && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A server that echoes, and the requests that it received.
pub(crate) async fn echo_server() -> (SocketAddr, Heard<Parts>) {
    let (listener, address) = listen().await;
    let heard = Heard::default();
    let noted = heard.clone();
    each(listener, move |stream| echo(stream, noted.clone()));
    (address, heard)
}

/// A server that answers each request with `answer`, and ends the connection. It notes the requests.
pub(crate) async fn saying(answer: impl Into<Vec<u8>>) -> (SocketAddr, Heard<String>) {
    let (listener, address) = listen().await;
    let heard = Heard::default();
    let (answer, noted) = (Arc::new(answer.into()), heard.clone());
    each(listener, move |mut stream| {
        let (answer, noted) = (answer.clone(), noted.clone());
        async move {
            noted.put(head(&mut stream).await);
            let _gone = stream.write_all(&answer).await;
        }
    });
    (address, heard)
}

/// A server that accepts connections and sends nothing.
pub(crate) async fn silent() -> SocketAddr {
    let (listener, address) = listen().await;
    each(listener, async |mut stream| {
        let mut bytes = [0; 256];
        while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
    });
    address
}

/// The head of a request. It is read byte by byte, so that no byte behind it is taken.
pub(crate) async fn head<S: AsyncRead + Unpin>(io: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
