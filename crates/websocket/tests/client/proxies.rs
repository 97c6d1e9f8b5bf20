//! Both kinds of proxies, with TLS and without it on each part of the way.

use std::net::SocketAddr;

use switchboard_websocket::{
    CloseCode, Error,
    client::{Client, ConnectError, Proxy, ProxyError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};

use crate::servers::{Heard, each, echo_server, head, listen, nobody, soon};

/// An HTTP proxy that requires `me:secret`. It always connects to `server`, and notes the server that it was
/// asked for.
async fn http_connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    server: SocketAddr,
    heard: Heard<String>,
) {
    let request = head(&mut io).await;
    heard.put(request.lines().next().unwrap().to_owned());
    let answer: &[u8] = if request.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
        b"HTTP/1.1 200 OK\r\n\r\n"
    } else {
        b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 7\r\n\r\nsign in"
    };
    io.write_all(answer).await.unwrap();
    io.flush().await.unwrap();
    if answer.starts_with(b"HTTP/1.1 200") {
        let mut upstream = TcpStream::connect(server).await.unwrap();
        let _ended = copy_bidirectional(&mut io, &mut upstream).await;
    }
    let _gone = io.shutdown().await;
}

/// A SOCKS5 proxy that requires `me:secret`. It always connects to `server`, and notes the server that it was
/// asked for.
async fn socks5(mut io: TcpStream, server: SocketAddr, heard: Heard<String>) {
    let mut methods = vec![0; 2];
    io.read_exact(&mut methods).await.unwrap();
    let mut offered = vec![0; usize::from(methods[1])];
    io.read_exact(&mut offered).await.unwrap();
    if !offered.contains(&2) {
        io.write_all(&[5, 255]).await.unwrap();
        return;
    }
    io.write_all(&[5, 2]).await.unwrap();
    let mut user = [0; 11];
    io.read_exact(&mut user).await.unwrap();
    let known = user == *b"\x01\x02me\x06secret";
    io.write_all(&[1, u8::from(!known)]).await.unwrap();
    if !known {
        return;
    }
    let mut request = [0; 4];
    io.read_exact(&mut request).await.unwrap();
    let host = match request {
        [5, 1, 0, 1] => {
            let mut address = [0; 4];
            io.read_exact(&mut address).await.unwrap();
            std::net::Ipv4Addr::from(address).to_string()
        }
        [5, 1, 0, 3] => {
            let mut name = vec![0; usize::from(io.read_u8().await.unwrap())];
            io.read_exact(&mut name).await.unwrap();
            String::from_utf8(name).unwrap()
        }
        other => panic!("{other:?}"),
    };
    heard.put(format!("{host}:{}", io.read_u16().await.unwrap()));
    io.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let mut upstream = TcpStream::connect(server).await.unwrap();
    let _ended = copy_bidirectional(&mut io, &mut upstream).await;
}

async fn http_proxy(server: SocketAddr) -> (SocketAddr, Heard<String>) {
    let (listener, address) = listen().await;
    let heard = Heard::default();
    let noted = heard.clone();
    each(listener, move |stream| http_connect(stream, server, noted.clone()));
    (address, heard)
}

async fn socks5_proxy(server: SocketAddr) -> (SocketAddr, Heard<String>) {
    let (listener, address) = listen().await;
    let heard = Heard::default();
    let noted = heard.clone();
    each(listener, move |stream| socks5(stream, server, noted.clone()));
    (address, heard)
}

async fn echoes(client: Client) {
    let mut socket = soon(client.connect()).await.unwrap_or_else(|error| panic!("{client:?}: {error}"));
    socket.send("hello").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()));
    soon(socket.close(CloseCode::Normal, "")).await.unwrap();
}

async fn failure(client: Client) -> ProxyError {
    match soon(client.connect()).await {
        Err(Error::Connect(error)) => match *error {
            ConnectError::Proxy { source, to, .. } => {
                assert_eq!(to, "a.invalid:8080");
                source
            }
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_http_proxy_opens_a_tunnel() {
    let (server, requests) = echo_server().await;
    let (proxy, heard) = http_proxy(server).await;
    let client = Client::new("ws://a.invalid:8080/x");
    echoes(client.clone().proxy(format!("http://me:secret@{proxy}"))).await;
    let authorization = "Basic bWU6c2VjcmV0".parse().unwrap();
    let own: Proxy = format!("http://{proxy}").parse().unwrap();
    echoes(client.clone().proxy(own.header(http::header::PROXY_AUTHORIZATION, authorization))).await;
    assert_eq!(heard.take(), ["CONNECT a.invalid:8080 HTTP/1.1"; 2]);
    for request in requests.take() {
        assert_eq!(
            (request.uri.path(), &request.headers["host"]),
            ("/x", &"a.invalid:8080".parse().unwrap())
        );
        assert!(
            !request.headers.contains_key("proxy-authorization"),
            "the server is not told the proxy's secret"
        );
    }
    for wrong in [format!("http://{proxy}"), format!("http://me:wrong@{proxy}")] {
        let error = failure(client.clone().proxy(wrong)).await;
        let ProxyError::Refused(answer) = &error else { panic!("{error}") };
        assert_eq!(answer.status(), 407);
        assert_eq!(error.to_string(), "it answered 407 Proxy Authentication Required: sign in");
    }
}

#[tokio::test]
async fn a_socks5_proxy_resolves_names_where_it_is_told_to() {
    let (server, _) = echo_server().await;
    let (proxy, heard) = socks5_proxy(server).await;
    let client = Client::new("ws://a.invalid:8080/");
    echoes(client.clone().proxy(format!("socks5h://me:secret@{proxy}"))).await;
    let address = "192.0.2.1:81".parse().unwrap();
    echoes(client.clone().address(address).proxy(format!("socks5://me:secret@{proxy}"))).await;
    echoes(Client::new("ws://192.0.2.2/").proxy(format!("socks5://me:secret@{proxy}"))).await;
    assert_eq!(heard.take(), ["a.invalid:8080", "192.0.2.1:81", "192.0.2.2:80"]);
    let error = failure(client.clone().proxy(format!("socks5h://{proxy}"))).await;
    assert!(matches!(error, ProxyError::Method { offered: false }), "{error}");
    let error = failure(client.proxy(format!("socks5h://me:wrong!@{proxy}"))).await;
    assert!(matches!(error, ProxyError::Credentials), "{error}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_of() {
    let proxy = nobody().await;
    let error = soon(Client::new("ws://a.invalid/").proxy(format!("socks5h://{proxy}")).connect()).await;
    let Err(Error::Connect(error)) = error else { panic!("{error:?}") };
    assert!(matches!(&*error, ConnectError::Tcp { to, .. } if *to == proxy.to_string()), "{error}");
}

#[tokio::test]
async fn a_proxy_does_not_show_its_user() {
    let proxy: Proxy = "http://me:secret@proxy.example".parse().unwrap();
    for shown in [
        format!("{proxy}"),
        format!("{proxy:?}"),
        format!("{:?}", Client::new("ws://a/").proxy(proxy.clone())),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_goes_through_a_proxy_that_is_within_tls_itself() {
    use crate::tls::{Authority, tls_server, trusting};
    let authority = Authority::new();
    let (server, _) = tls_server(authority.acceptor(&["a.invalid"])).await;
    let acceptor = authority.acceptor(&["127.0.0.1"]);
    let (listener, proxy) = listen().await;
    let heard = Heard::default();
    let noted = heard.clone();
    each(listener, move |stream| {
        let (acceptor, noted) = (acceptor.clone(), noted.clone());
        async move { http_connect(acceptor.accept(stream).await.unwrap(), server, noted).await }
    });
    let client = Client::new("wss://a.invalid/").tls(trusting(&[&authority]));
    echoes(client.clone().proxy(format!("https://me:secret@{proxy}"))).await;
    assert_eq!(heard.take(), ["CONNECT a.invalid:443 HTTP/1.1"]);
    let (proxy, _) = socks5_proxy(server).await;
    echoes(client.proxy(format!("socks5h://me:secret@{proxy}"))).await;
}
