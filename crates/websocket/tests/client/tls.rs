//! TLS: the certificates that a client trusts, and its errors for others.

use std::{net::SocketAddr, sync::Arc};

use http::request::Parts;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use switchboard_websocket::{
    CloseCode, Error, OwnedMessage,
    client::{
        Client, ConnectError, RedirectError, Roots,
        rustls::{
            self, CertificateError, ClientConfig, RootCertStore, ServerConfig,
            pki_types::{CertificateDer, PrivateKeyDer},
        },
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use crate::servers::{Heard, each, echo, head, listen, soon};

/// An authority for certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// The TLS of a server of these names.
    pub(crate) fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        self.acceptor_until(names, 2090)
    }

    fn acceptor_until(&self, names: &[&str], year: i32) -> TlsAcceptor {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.0).unwrap().der().clone()];
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts these authorities and no others.
pub(crate) fn trusting(authorities: &[&Authority]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.certificate()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

/// The facts that a TLS server notes: the name of the SNI, the protocol of the ALPN, and the request.
type Requests = Heard<(Option<String>, Vec<u8>, Parts)>;

/// Does TLS, then echoes.
pub(crate) async fn tls_echo<S>(io: S, acceptor: TlsAcceptor, heard: Requests)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(io) = acceptor.accept(io).await else { return };
    let session = io.get_ref().1;
    let name = session.server_name().map(str::to_owned);
    let alpn = session.alpn_protocol().unwrap_or_default().to_vec();
    let requests = Heard::default();
    let noted = requests.clone();
    echo(io, requests).await;
    for request in noted.take() {
        heard.put((name.clone(), alpn.clone(), request));
    }
}

pub(crate) async fn tls_server(acceptor: TlsAcceptor) -> (SocketAddr, Requests) {
    let (listener, address) = listen().await;
    let heard = Heard::default();
    let noted = heard.clone();
    each(listener, move |stream: TcpStream| tls_echo(stream, acceptor.clone(), noted.clone()));
    (address, heard)
}

async fn tls_failure(client: Client) -> ConnectError {
    match soon(client.connect()).await {
        Err(Error::Connect(error)) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_trusted_is_talked_to() {
    let authority = Authority::new();
    let (address, heard) = tls_server(authority.acceptor(&["a.example", "127.0.0.1"])).await;
    let port = address.port();
    let table = [
        (format!("wss://a.example:{port}/"), Some("a.example")),
        (format!("https://A.Example.:{port}/"), Some("a.example")),
        (format!("wss://127.0.0.1:{port}/"), None),
    ];
    let large = OwnedMessage::from(vec![7; 1 << 20]);
    for (url, name) in table {
        let client = Client::new(&url).address(address).tls(trusting(&[&authority]));
        let mut socket = soon(client.connect()).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let (sent, received) = soon(async { (socket.send(large.clone()).await, socket.recv().await) }).await;
        sent.unwrap();
        assert_eq!(received.unwrap().as_ref(), Some(&large));
        let session = socket.get_ref().tls().unwrap();
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        soon(socket.close(CloseCode::Normal, "")).await.unwrap();
        // They are noted at the end of the server's connection, which follows the client's.
        let (asked, alpn, request) = soon(async {
            loop {
                if let Some(heard) = heard.take().pop() {
                    break heard;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!((asked.as_deref(), alpn.as_slice()), (name, b"http/1.1".as_slice()), "{url}");
        assert_eq!(request.uri, "/");
    }
}

#[tokio::test]
async fn a_server_that_is_not_to_be_trusted_is_not_talked_to() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let good = ["a.example"];
    let table = [
        (authority.acceptor(&["b.example"]), "a.example", "not valid for name"),
        (authority.acceptor(&["127.0.0.1"]), "a.example", "not valid for name"),
        (authority.acceptor(&good), "127.0.0.1", "not valid for name"),
        (other.acceptor(&good), "a.example", "UnknownIssuer"),
        (authority.acceptor_until(&good, 2002), "a.example", "expired"),
    ];
    for (acceptor, host, why) in table {
        let (address, heard) = tls_server(acceptor).await;
        let url = format!("wss://{host}:{}/", address.port());
        let error = tls_failure(Client::new(&url).address(address).tls(trusting(&[&authority]))).await;
        let ConnectError::Tls { to, .. } = &error else { panic!("{error}") };
        assert_eq!(*to, format!("{host}:{}", address.port()));
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert!(matches!(error.tls(), Some(rustls::Error::InvalidCertificate(_))), "{error}");
        assert!(heard.take().is_empty());
    }
}

#[tokio::test]
async fn roots_that_know_nothing_of_a_server_refuse_it() {
    let (address, _) = tls_server(Authority::new().acceptor(&["a.example"])).await;
    let client = Client::new("wss://a.example/").address(address);
    // A machine without any roots has another error.
    let unknown = |error: &ConnectError| {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        error.tls() == Some(&unknown) || matches!(error, ConnectError::Roots { .. })
    };
    for client in [client.clone(), client.clone().roots(Roots::Platform)] {
        let error = tls_failure(client).await;
        assert!(unknown(&error), "{error}");
    }
    #[cfg(feature = "webpki-roots")]
    {
        let error = tls_failure(client.roots(Roots::Mozilla)).await;
        assert!(error.tls().is_some_and(|_| unknown(&error)), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_not_trusted() {
    let authority = Authority::new();
    let (listener, address) = listen().await;
    each(listener, async |mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        head(&mut stream).await;
    });
    let (listener, gone) = listen().await;
    each(listener, async |stream| drop(stream));
    for address in [address, gone] {
        let client = Client::new(format!("wss://{address}/")).tls(trusting(&[&authority]));
        let error = tls_failure(client).await;
        assert!(matches!(&error, ConnectError::Tls { .. }), "{error}");
        assert!(!matches!(error.tls(), Some(rustls::Error::InvalidCertificate(_))), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_a_word_is_lost() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["127.0.0.1"]);
    let (listener, address) = listen().await;
    each(listener, move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let mut io = acceptor.accept(stream).await.unwrap();
            let request = head(&mut io).await;
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = switchboard_websocket::handshake::accept_key(key.as_bytes());
            let accept = str::from_utf8(&accept).unwrap();
            let answer = format!(
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            io.write_all(answer.as_bytes()).await.unwrap();
            io.flush().await.unwrap();
            // It is dropped without the close_notify of TLS.
        }
    });
    let client = Client::new(format!("wss://{address}/")).tls(trusting(&[&authority]));
    let mut socket = soon(client.connect()).await.unwrap();
    assert!(matches!(soon(socket.recv()).await, Err(Error::ConnectionLost)));
}

#[tokio::test]
async fn a_connection_within_tls_is_split() {
    let authority = Authority::new();
    let (address, _) = tls_server(authority.acceptor(&["127.0.0.1"])).await;
    let client = Client::new(format!("wss://{address}/")).tls(trusting(&[&authority]));
    let (mut reader, mut writer) = soon(client.connect()).await.unwrap().split();
    let reading = tokio::spawn(async move {
        let mut bytes = 0;
        while let Ok(Some(OwnedMessage::Binary(message))) = reader.recv().await {
            bytes += message.len();
        }
        bytes
    });
    for _ in 0..50 {
        soon(writer.send(vec![1; 10_000])).await.unwrap();
    }
    soon(writer.close(CloseCode::Normal, "")).await.unwrap();
    assert_eq!(soon(reading).await.unwrap(), 500_000);
}

#[tokio::test]
async fn a_redirect_does_not_leave_tls_unless_asked_to() {
    let authority = Authority::new();
    let (there, heard) = crate::servers::echo_server().await;
    let acceptor = authority.acceptor(&["127.0.0.1"]);
    let (listener, here) = listen().await;
    each(listener, move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let mut io = acceptor.accept(stream).await.unwrap();
            head(&mut io).await;
            let answer = format!("HTTP/1.1 307 x\r\nLocation: ws://{there}/\r\nContent-Length: 0\r\n\r\n");
            io.write_all(answer.as_bytes()).await.unwrap();
            io.shutdown().await.unwrap();
        }
    });
    let client = Client::new(format!("wss://{here}/")).tls(trusting(&[&authority])).redirects(1);
    let error = tls_failure(client.clone()).await;
    let ConnectError::Redirect { why, answer } = error else { panic!("{error}") };
    assert_eq!((why, answer.status().as_u16()), (RedirectError::Downgrade, 307));
    assert!(heard.take().is_empty());
    let client = client.allow_downgrade(true).header("Authorization", "x");
    soon(client.connect()).await.unwrap();
    assert!(!heard.take()[0].headers.contains_key("authorization"));
}
