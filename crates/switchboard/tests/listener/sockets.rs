//! Addresses other than TCP ports: Unix-domain sockets, and sockets that are already open.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::time::Duration;

use switchboard::{
    Builder, ListenAddress, ListenerOptions, Listening, Message, Switchboard, TrustedProxies, WebSocket,
};
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::harness::{DEADLINE, get, recorder, session_id, upgrade};
use crate::tls_client::{Certificate, Folder, Trust};

fn build(builder: Builder) -> Switchboard {
    recorder();
    let io = builder.build().expect("the options are good");
    io.websocket("/ws").on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    io.websocket("/who").on_connect(|socket: &WebSocket| {
        let peer = socket.handshake().peer();
        socket.send(format!("<{:?} {}>", peer.ip(), peer.secure))
    });
    io.root();
    io
}

async fn listen(io: &Switchboard, path: &Path) -> Listening {
    io.bind(ListenAddress::unix(path)).await.expect("it can be had")
}

/// The response to one request, up to the end of the stream.
async fn ask(path: &Path, request: impl AsRef<[u8]>) -> String {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    stream.write_all(request.as_ref()).await.expect("it reads");
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it ends").expect("in order");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The response that a client of `/who` gets.
async fn who(path: &Path, headers: &str) -> String {
    let stream = UnixStream::connect(path).await.expect("it listens");
    told(stream, headers).await
}

async fn told(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, headers: &str) -> String {
    let request = upgrade("/who").replace("connection: Upgrade", &format!("{headers}connection: Upgrade"));
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    while bytes.last() != Some(&b'>') {
        bytes.push(timeout(DEADLINE, stream.read_u8()).await.expect("it answers").expect("in order"));
    }
    let text = String::from_utf8_lossy(&bytes);
    text.rsplit('<').next().unwrap_or_default().trim_end_matches('>').to_owned()
}

async fn echo(path: &Path) {
    let stream = UnixStream::connect(path).await.expect("it listens");
    let mut socket = WebSocketStream::connect_over(stream, "ws://localhost/ws", &Config::default())
        .await
        .expect("a handshake");
    socket.send("hello").await.expect("it is open");
    let answer = timeout(DEADLINE, socket.recv()).await.expect("it answers").expect("in order");
    assert_eq!(answer, Some(OwnedMessage::Text("hello".into())));
}

#[tokio::test]
async fn all_of_it_is_served_on_a_unix_socket_by_all_workers() {
    let folder = Folder::new();
    let path = folder.path("s");
    let io = build(Switchboard::builder().workers(4));
    let listening = io.bind(format!("unix:{}", path.display())).await.expect("it can be had");
    assert_eq!(listening.to_string(), format!("unix:{}", path.display()));
    assert_eq!(listening.local_addr().port(), 0);
    for _ in 0..8 {
        echo(&path).await;
        assert!(ask(&path, get("/nothing", "connection: close")).await.starts_with("HTTP/1.1 404"));
        // A probe goes to the worker that has its session.
        let open = ask(&path, get("/socket.io/?EIO=4&transport=polling", "connection: close")).await;
        let probe = upgrade(&format!("/socket.io/?EIO=4&transport=websocket&sid={}", session_id(&open)));
        let mut prober = UnixStream::connect(&path).await.expect("it listens");
        prober.write_all(probe.as_bytes()).await.expect("it reads");
        prober.write_all(b"\x81\x86\0\0\0\x002probe").await.expect("it reads");
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"3probe") {
            bytes.push(timeout(DEADLINE, prober.read_u8()).await.expect("it answers").expect("in order"));
        }
    }
    assert!(io.shutdown(DEADLINE).await);
}

#[tokio::test]
async fn a_socket_that_nobody_listens_to_is_replaced_and_nothing_else_is() {
    let folder = Folder::new();
    let path = folder.path("s");
    // The socket file is left over from a server that was killed.
    drop(StdUnixListener::bind(&path).expect("it is new"));
    let io = build(Switchboard::builder().workers(1));
    listen(&io, &path).await;
    echo(&path).await;

    let other = build(Switchboard::builder().workers(1));
    let error = other.bind(ListenAddress::unix(&path)).await.expect_err("it is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    echo(&path).await;

    // Nobody accepts the connections in this backlog, but the socket still belongs to a process.
    let full = folder.path("full");
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&socket2::SockAddr::unix(&full).expect("a path")).expect("it is new");
    listener.listen(0).expect("it is bound");
    let _waits = std::os::unix::net::UnixStream::connect(&full).expect("it listens");
    let error = other.bind(ListenAddress::unix(&full)).await.expect_err("it is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);

    let file = folder.path("file");
    std::fs::write(&file, "precious").expect("it is new");
    let error = other.bind(ListenAddress::unix(&file)).await.expect_err("it is a file");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "precious");
    let link = folder.path("link");
    std::os::unix::fs::symlink(&file, &link).expect("it is new");
    assert!(other.bind(ListenAddress::unix(&link)).await.is_err());
    assert!(link.exists());
    let error = other.bind(ListenAddress::unix(folder.path(&"x".repeat(200)))).await.expect_err("too long");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn its_file_has_the_permissions_it_was_given_and_goes_with_the_server() {
    let folder = Folder::new();
    let path = folder.path("s");
    let io = build(Switchboard::builder().workers(2));
    for mode in [0o600, 0o666] {
        let path = folder.path(&format!("{mode:o}"));
        io.bind(ListenAddress::unix(&path).mode(mode)).await.expect("it can be had");
        let permissions = std::fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(permissions.mode() & 0o777, mode);
    }
    listen(&io, &path).await;
    assert!(io.shutdown(DEADLINE).await);
    assert!(!path.exists() && !folder.path("600").exists());

    // A socket that another process has put in its place stays.
    let io = build(Switchboard::builder().workers(1));
    listen(&io, &path).await;
    std::fs::remove_file(&path).expect("it is there");
    let _other = StdUnixListener::bind(&path).expect("its place is free");
    assert!(io.shutdown(DEADLINE).await);
    assert!(path.exists());
}

#[tokio::test]
async fn its_clients_have_no_address_and_are_trusted_only_if_that_is_asked_for() {
    let folder = Folder::new();
    let forwarded = "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: https\r\n";
    for (number, (proxies, heard)) in [
        (TrustedProxies::none(), "None false"),
        (TrustedProxies::private(), "None false"),
        (TrustedProxies::unix(), "Some(192.0.2.7) true"),
        (TrustedProxies::private().and(TrustedProxies::unix()), "Some(192.0.2.7) true"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path(&number.to_string());
        let mut options = ListenerOptions::default();
        options.max_connections_per_address = 1;
        let io = build(Switchboard::builder().workers(1).trusted_proxies(proxies).listener(options));
        listen(&io, &path).await;
        let _held = UnixStream::connect(&path).await.expect("it listens");
        assert_eq!(who(&path, forwarded).await, heard);
        assert_eq!(who(&path, "").await, "None false");
        // A TCP client of the same server cannot do more.
        let tcp = io.bind("127.0.0.1:0").await.expect("a port is free");
        if heard.starts_with("Some") && number == 2 {
            let stream = TcpStream::connect(tcp.local_addr()).await.expect("it listens");
            assert_eq!(told(stream, forwarded).await, "Some(127.0.0.1) false");
        }
    }
}

#[tokio::test]
async fn the_proxy_protocol_names_its_clients_where_its_proxies_are_trusted() {
    let folder = Folder::new();
    for (name, proxies, let_in) in [
        ("none", TrustedProxies::none(), true),
        ("unix", TrustedProxies::unix(), true),
        ("others", TrustedProxies::private(), false),
    ] {
        let path = folder.path(name);
        let mut options = ListenerOptions::default();
        options.proxy_protocol = true;
        let io = build(Switchboard::builder().workers(1).trusted_proxies(proxies).listener(options));
        listen(&io, &path).await;
        let mut stream = UnixStream::connect(&path).await.expect("it listens");
        let header = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";
        // A client that is not admitted may be closed earlier.
        let written = stream.write_all(header.as_bytes()).await;
        if let_in {
            written.expect("it reads");
            assert_eq!(told(stream, "x-forwarded-for: 6.6.6.6\r\n").await, "Some(192.0.2.7) false");
        } else {
            let mut bytes = Vec::new();
            let end = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("it ends");
            assert!(end.is_err() || bytes.is_empty());
        }
    }
}

#[tokio::test]
async fn tls_goes_over_it_too() {
    let folder = Folder::new();
    let path = folder.path("s");
    let certificate = Certificate::of("localhost");
    let io = build(Switchboard::builder().workers(4));
    io.bind(ListenAddress::unix(&path).tls(certificate.tls())).await.expect("it can be had");
    let trust = Trust::of([&certificate]);
    let connector = tokio_rustls::TlsConnector::from(trust.config);
    for _ in 0..4 {
        let stream = UnixStream::connect(&path).await.expect("it listens");
        let name = "localhost".try_into().expect("a name");
        let stream = connector.connect(name, stream).await.expect("a good handshake");
        assert_eq!(told(stream, "").await, "None true");
    }
    assert!(ask(&path, get("/", "")).await.contains("TLS only"));
}

#[tokio::test]
async fn sockets_that_listen_already_are_shared_by_the_workers() {
    let folder = Folder::new();
    let path = folder.path("s");
    let io = build(Switchboard::builder().workers(4));
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = tcp.local_addr().expect("it is bound");
    let listening = io.bind(tcp).await.expect("it listens");
    assert_eq!((listening.local_addr(), listening.to_string()), (address, address.to_string()));
    let listening = io.bind(StdUnixListener::bind(&path).expect("it is new")).await.expect("it listens");
    assert_eq!(listening.to_string(), format!("unix:{}", path.display()));
    for _ in 0..20 {
        let stream = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(told(stream, "").await, "Some(127.0.0.1) false");
        echo(&path).await;
    }
    assert!(io.shutdown(DEADLINE).await);
    assert!(path.exists(), "who made it removes it");
    // Nobody listens any more, on any worker.
    let gone = timeout(Duration::from_secs(10), async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("all have stopped");
}

#[tokio::test]
async fn addresses_come_in_many_forms() {
    let io = build(Switchboard::builder().workers(1));
    let localhost = std::net::Ipv4Addr::LOCALHOST;
    let addresses: Vec<ListenAddress> = vec![
        "127.0.0.1:0".into(),
        "localhost:0".into(),
        String::from("127.0.0.1:0").into(),
        ("127.0.0.1", 0).into(),
        ("localhost", 0).into(),
        (localhost, 0).into(),
        (std::net::IpAddr::from(localhost), 0).into(),
        ([127, 0, 0, 1], 0).into(),
        std::net::SocketAddr::from((localhost, 0)).into(),
        // The first address that can be bound. No machine has an address of this network.
        [std::net::SocketAddr::from(([192, 0, 2, 1], 80)), (localhost, 0).into()][..].into(),
    ];
    for address in addresses {
        let shown = format!("{address:?}");
        let listening = io.bind(address).await.expect(&shown);
        assert!(listening.local_addr().ip().is_loopback() && listening.local_addr().port() > 0, "{shown}");
    }
    for bad in ["", "localhost", "127.0.0.1:99999", "unix:", "unix:/no/such/folder/s", "192.0.2.1:0"] {
        assert!(io.bind(bad).await.is_err(), "{bad}");
    }
}
