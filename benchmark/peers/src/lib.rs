//! What the peers share: the command line the runner speaks to every server, TLS, and the epoll loop under
//! both floors.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub mod floor;

/// A connection as it was accepted, or below TLS.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for T {}

/// A server that sends each message back.
pub trait Echo {
    /// Serves one connection, from its HTTP request on. Compiled for plain TCP and for TLS, so that neither
    /// pays for the other.
    fn serve(stream: impl Connection) -> impl Future<Output = ()> + Send + 'static;
}

/// Accepts for ever, with TLS where the command line names a certificate.
pub fn serve<E: Echo>() -> std::io::Result<()> {
    run(async {
        let listener = listen_async();
        let tls = tls();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            if let Some(tls) = &tls {
                let accept = tls.accept(stream);
                tokio::spawn(async {
                    if let Ok(stream) = accept.await {
                        E::serve(stream).await;
                    }
                });
            } else {
                tokio::spawn(E::serve(stream));
            }
        }
    })
}

/// What follows `--name` on the command line.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

/// Whether `--name` is on the command line.
pub fn flag(name: &str) -> bool {
    std::env::args().any(|arg| arg == name)
}

/// The address after `--addr`, as the runner passes it to every server; `127.0.0.1:0` where there is none.
pub fn addr() -> SocketAddr {
    let addr = argument("--addr").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    addr.parse().expect("--addr takes HOST:PORT")
}

/// TLS with the certificate after `--tls-cert` and the key after `--tls-key`: rustls on ring, at its
/// defaults.
fn tls() -> Option<TlsAcceptor> {
    let (cert, key) = (argument("--tls-cert")?, argument("--tls-key")?);
    let cert = CertificateDer::from_pem_file(cert).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![cert], key))
        .expect("the certificate and the key match");
    Some(TlsAcceptor::from(Arc::new(config)))
}

/// Binds a non-blocking listener and prints the line the runner waits for: connections queue from here on.
pub fn listen() -> TcpListener {
    let listener = TcpListener::bind(addr()).expect("the address is free");
    // The standard library asks for a short queue; a thousand clients arrive at once here.
    rustix::net::listen(&listener, 4096).expect("a bound socket can listen");
    listener.set_nonblocking(true).expect("a socket can be non-blocking");
    println!("listening on {}", listener.local_addr().expect("a bound socket has an address"));
    listener
}

/// Runs a server on one current-thread runtime: every peer gets one core, so none pays for a scheduler it
/// cannot use.
pub fn run<F: Future>(server: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(server)
}

/// The tokio listener over [`listen`].
pub fn listen_async() -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listen()).expect("the runtime takes the listener")
}
