//! Certificates made for a test, and a client that speaks TLS and reports the outcome.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use switchboard::{Builder, ListenAddress, Message, Switchboard, Tls, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{DEADLINE, Server, recorder};

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("switchboard-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("its name is new");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _there_no_more = std::fs::remove_dir_all(&self.0);
    }
}

/// A self-signed certificate with its key.
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: String,
}

impl Certificate {
    pub(crate) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a good name");
        Self { der: made.cert.der().clone(), pem: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    pub(crate) fn write(&self, certificate: &Path, key: &Path) {
        std::fs::write(certificate, &self.pem).expect("it can be written");
        std::fs::write(key, &self.key).expect("it can be written");
    }

    /// Writes its files into a folder.
    pub(crate) fn files(&self, folder: &Folder) -> (PathBuf, PathBuf) {
        let paths = (folder.path("certificate.pem"), folder.path("key.pem"));
        self.write(&paths.0, &paths.1);
        paths
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::pem(self.pem.as_bytes(), self.key.as_bytes()).expect("a good certificate")
    }
}

impl Server {
    /// The same as [`start`](Self::start), over TLS.
    pub(crate) async fn start_tls(builder: Builder, tls: Tls) -> Self {
        recorder();
        let io = builder.build().expect("the options are good");
        io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
        io.websocket("/who").on_connect(|socket: &WebSocket| {
            let peer = socket.handshake().peer();
            let address = peer.address.map_or("?".to_owned(), |address| address.ip().to_string());
            socket.send(format!("<{address} {}>", peer.secure))
        });
        io.root();
        let listening = io.bind(ListenAddress::new("127.0.0.1:0").tls(tls)).await.expect("a port is free");
        Self { address: listening.local_addr(), io }
    }

    pub(crate) async fn with_tls(tls: Tls) -> Self {
        Self::start_tls(Switchboard::builder().workers(1), tls).await
    }
}

/// A client that trusts only the given certificates.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ClientConfig>,
}

impl Trust {
    pub(crate) fn of<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Self {
        Self::with_versions(certificates, rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn with_versions<'a>(
        certificates: impl IntoIterator<Item = &'a Certificate>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.der.clone()).expect("it is one");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the versions are known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config: Arc::new(config) }
    }

    pub(crate) fn offering(self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    pub(crate) async fn try_connect(&self, address: SocketAddr, name: &str) -> std::io::Result<TlsClient> {
        self.over(TcpStream::connect(address).await.expect("it listens"), name).await
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> TlsClient {
        self.try_connect(address, "localhost").await.expect("the handshake is good")
    }

    pub(crate) async fn over(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsClient> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = timeout(DEADLINE, connector.connect(name, stream)).await.expect("in time")?;
        Ok(TlsClient { stream })
    }
}

pub(crate) struct TlsClient {
    pub(crate) stream: TlsStream<TcpStream>,
}

impl TlsClient {
    pub(crate) fn kind(&self) -> HandshakeKind {
        self.stream.get_ref().1.handshake_kind().expect("the handshake is done")
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.stream.get_ref().1.peer_certificates().expect("a server has one");
        chain[0].clone().into_owned()
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the server reads");
        self.stream.flush().await.expect("the server reads");
    }

    /// All bytes up to the end of the stream, which must be in order.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        timeout(DEADLINE, self.stream.read_to_end(&mut bytes))
            .await
            .expect("the server closes the connection")
            .expect("with close_notify");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes up to and including `end`.
    pub(crate) async fn until(&mut self, end: impl AsRef<[u8]>) -> String {
        let (mut bytes, end) = (Vec::new(), end.as_ref());
        while !bytes.ends_with(end) {
            let byte = timeout(DEADLINE, self.stream.read_u8()).await.expect("the server answers");
            bytes.push(byte.unwrap_or_else(|error| panic!("{error} behind {}", bytes.escape_ascii())));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// This many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(DEADLINE, self.stream.read_exact(&mut bytes)).await.expect("in time").expect("all come");
        bytes
    }
}
