//! The server for conformance suites, benchmarks and foreign clients. It uses only the library's public API.
//!
//! ```sh
//! cargo run --release -p switchboard --example conformance -- --addr 127.0.0.1:3000
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use switchboard::{
    Args, Auth, Data, DeflateOptions, Event, FullOutbox, InvalidPattern, ListenAddress, Message, MsgPack,
    NamespacePattern, Origins, Rate, RateLimits, RecoveryOptions, RemoteSocket, Socket, SocketId,
    Switchboard, Tls, Value, WebSocket, WebSocketOptions,
};
use switchboard_store::DiskStore;

/// The conformance server of Switchboard.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option that is on or off")]
struct Options {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    addr: SocketAddr,
    /// Worker threads; the default is the number of cores.
    #[arg(long)]
    workers: Option<usize>,
    /// How often the server pings, in milliseconds.
    #[arg(long, default_value_t = 25_000)]
    ping_interval: u64,
    /// How long a client has to answer, in milliseconds.
    #[arg(long, default_value_t = 20_000)]
    ping_timeout: u64,
    /// How long a client has to join a namespace, in milliseconds.
    #[arg(long, default_value_t = 45_000)]
    connect_timeout: u64,
    /// The most bytes of a message of Engine.IO or Socket.IO.
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: usize,
    /// Recover connection state in every namespace, of clients that are away for up to so many milliseconds.
    #[arg(long)]
    recovery: Option<u64>,
    /// Serve clients of older Socket.IO.
    #[arg(long, alias = "allow-eio3")]
    old_clients: bool,
    /// Serve polling by scripts.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    jsonp: bool,
    /// Events a second for each socket; those beyond are dropped, with an error to their acknowledgement.
    #[arg(long)]
    rate_limit: Option<u64>,
    /// The bytes that may wait for a client.
    #[arg(long, default_value_t = 16 << 20)]
    max_outbox: usize,
    /// What becomes of a client for which as much waits.
    #[arg(long, default_value = "disconnect")]
    #[arg(value_parser = ["disconnect", "refuse", "drop-oldest", "drop-newest"])]
    full_outbox: String,
    /// Keep events and sessions in this folder, so that clients are recovered after a restart.
    #[arg(long, requires = "recovery")]
    store: Option<PathBuf>,
    /// Compress the messages of every WebSocket (permessage-deflate).
    #[arg(long)]
    deflate: bool,
    /// With context takeover at both ends.
    #[arg(long, requires = "deflate")]
    deflate_takeover: bool,
    /// Messages with fewer bytes are not compressed.
    #[arg(long, requires = "deflate", default_value_t = DeflateOptions::DEFAULT.threshold)]
    deflate_threshold: usize,
    /// How hard to compress, 0 to 9.
    #[arg(long, requires = "deflate", default_value_t = DeflateOptions::DEFAULT.level)]
    deflate_level: u8,
    /// Windows of both ends, 9 to 15.
    #[arg(long, requires = "deflate", default_value_t = DeflateOptions::DEFAULT.server_max_window_bits)]
    deflate_window_bits: u8,
    /// Answer with TLS as well as without it, with a self-signed certificate made at the start.
    #[arg(long, conflicts_with = "mount")]
    tls: bool,
    /// Like `--tls`, with the certificate in this PEM file.
    #[arg(long, requires = "tls_key", conflicts_with = "mount")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve through this framework instead of the library's own listener. `axum` is axum's own server.
    /// `hyper` is the same on hyper, set up to write header names with capitals, because the first WebSocket
    /// clients compare them so.
    #[arg(long, value_parser = ["axum", "hyper"], overrides_with = "mount")]
    mount: Option<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let io = build(&options)?;
    let mounted = options.mount.is_some();
    // The library's own listener needs this thread only to wait.
    let mut runtime = if mounted {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    runtime.enable_all().build()?.block_on(async {
        match options.mount.as_deref() {
            Some("hyper") => serve_by_hyper(&io, options.addr).await,
            Some(_) => serve_in_axum(&io, options.addr).await,
            None => serve(&io, &options).await,
        }
    })
}

impl Options {
    fn deflate(&self) -> Option<DeflateOptions> {
        let options = DeflateOptions::default()
            .context_takeover(self.deflate_takeover)
            .threshold(self.deflate_threshold)
            .level(self.deflate_level)
            .max_window_bits(self.deflate_window_bits);
        self.deflate.then_some(options)
    }
}

fn build(options: &Options) -> Result<Switchboard, Box<dyn std::error::Error>> {
    let mut builder = Switchboard::builder()
        .ping_interval(Duration::from_millis(options.ping_interval))
        .ping_timeout(Duration::from_millis(options.ping_timeout))
        .connect_timeout(Duration::from_millis(options.connect_timeout))
        .max_payload(options.max_payload)
        .drafts(true)
        .old_clients(options.old_clients)
        .jsonp(options.jsonp)
        .cleanup_empty_child_namespaces(true)
        .origins(Origins::any());
    if let Some(workers) = options.workers {
        builder = builder.workers(workers);
    }
    if let Some(rate) = options.rate_limit {
        builder = builder.limit_sockets(RateLimits::default().events(Rate::per_second(rate)));
    }
    builder = builder.max_outbox_bytes(options.max_outbox).full_outbox(match &*options.full_outbox {
        "refuse" => FullOutbox::Refuse,
        "drop-oldest" => FullOutbox::DropOldest,
        "drop-newest" => FullOutbox::DropNewest,
        _ => FullOutbox::Disconnect,
    });
    if let Some(deflate) = options.deflate() {
        builder = builder.per_message_deflate(deflate);
    }
    if let Some(window) = options.recovery {
        let mut recovery = RecoveryOptions::default();
        recovery.window = Duration::from_millis(window);
        if let Some(folder) = &options.store {
            recovery = recovery.store(Arc::new(DiskStore::open(folder)?));
        }
        builder = builder.recovery(recovery);
    }
    let io = builder.build()?;
    socketio(&io).map_err(std::io::Error::other)?;
    io.parser_at("/msgpack", MsgPack::default())?;
    // A server of its own on the same port.
    let second = Switchboard::builder().path("/second").origins(Origins::any()).build_on(&io)?;
    socketio(&second).map_err(std::io::Error::other)?;
    io.engine("/engine.io").on_message(|socket, message| socket.send(message));
    let mut raw = WebSocketOptions::default();
    raw.origins = Origins::any();
    // Autobahn sends 4 MiB in frames of 64 bytes.
    raw.max_fragments = 1 << 17;
    raw.per_message_deflate = options.deflate();
    io.websocket_with("/ws", raw.clone())?
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    io.websocket_with("/ws-cast", raw)?.share(&io.of("/cast"), "cast");
    Ok(io)
}

fn socketio(io: &Switchboard) -> Result<(), InvalidPattern> {
    let root = io.root();
    for namespace in [&root, &io.of("/custom")] {
        namespace.on_connect(|socket: Socket, Auth(auth): Auth<Value>| socket.emit("auth", auth));
    }
    root.on("message", |socket: Socket, args: Args| socket.emit("message-back", args));
    root.on("message-with-ack", |args: Args| args);
    root.on("echo", |socket: Socket, Data(text): Data<String>| socket.emit("echo", text));
    root.on("broadcast", |socket: Socket, args: Args| socket.namespace().emit("broadcast", args));
    root.on("compress", |socket: Socket, args: Args| compress(&socket, &args));
    root.on("recovered", |socket: Socket| socket.recovered());
    root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
    root.on("leave", |socket: Socket, Data(room): Data<String>| socket.leave(room));
    root.on("to", |socket: Socket, args: Args| to_room(&socket, &args));
    root.on("conflate", |socket: Socket, args: Args| conflate(&socket, &args));
    root.on_concurrent("ack-all", ack_all);
    root.on_concurrent(
        "sockets",
        async |socket: Socket, Data(room): Data<String>| -> switchboard::Result<_> {
            let sockets = socket.namespace().to(room).fetch_sockets().await?;
            Ok(sockets.iter().map(RemoteSocket::id).collect::<Vec<_>>())
        },
    );
    io.of_pattern(NamespacePattern::regex(r"^/dynamic-\d+$")?)
        .on("message", |socket: Socket, args: Args| socket.emit("message-back", args));
    io.of("/cast").on("cast", |socket: Socket, Event(event): Event, Data(text): Data<String>| {
        socket.namespace().emit(&event, text)
    });
    Ok(())
}

/// Takes a room and a value: emits `ask` with the value to the room, and collects the acknowledgements for a
/// second. Returns, as one argument, the answers and the ids of those who did not answer.
async fn ack_all(
    socket: Socket,
    Data((room, value)): Data<(String, Value)>,
) -> switchboard::Result<((Vec<Value>, Vec<SocketId>),)> {
    let room = socket.namespace().to(room).timeout(Duration::from_secs(1));
    let (mut answers, mut silent) = (Vec::new(), Vec::new());
    for (id, answer) in room.emit_with_ack("ask", value).await? {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(_) => silent.push(id),
        }
    }
    Ok(((answers, silent),))
}

/// Takes a room, the name of an event, and its arguments.
fn to_room(socket: &Socket, args: &Args) -> switchboard::Result {
    let mut values = args.values()?.into_iter();
    let (Some(Value::String(room)), Some(Value::String(event))) = (values.next(), values.next()) else {
        return Err(switchboard::Error::new("`to` takes a room, the name of an event and its arguments"));
    };
    let rest = Args::from(values.collect::<Vec<_>>());
    Ok(socket.namespace().to(room).emit(&event, rest)?)
}

/// Takes a key, a room, the name of an event, and its arguments.
fn conflate(socket: &Socket, args: &Args) -> switchboard::Result {
    let mut values = args.values()?.into_iter();
    let (Some(Value::String(key)), Some(Value::String(room)), Some(Value::String(event))) =
        (values.next(), values.next(), values.next())
    else {
        return Err(switchboard::Error::new(
            "`conflate` takes a key, a room, the name of an event and its arguments",
        ));
    };
    let rest = Args::from(values.collect::<Vec<_>>());
    Ok(socket.namespace().to(room).conflate(&key).emit(&event, rest)?)
}

/// Takes a flag, the name of a room (`null` for only the socket itself), the name of an event, and its
/// arguments.
fn compress(socket: &Socket, args: &Args) -> switchboard::Result {
    let mut values = args.values()?.into_iter();
    let (Some(Value::Bool(flag)), Some(room), Some(Value::String(event))) =
        (values.next(), values.next(), values.next())
    else {
        return Err(switchboard::Error::new(
            "`compress` takes a flag, a room or null, an event and its arguments",
        ));
    };
    let rest = Args::from(values.collect::<Vec<_>>());
    match room {
        Value::String(room) => socket.namespace().to(room).compress(flag).emit(&event, rest)?,
        _ => socket.compress(flag).emit(&event, rest)?,
    }
    Ok(())
}

async fn serve(io: &Switchboard, options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::files(certificate, key)?),
        _ if options.tls => Some(Tls::self_signed(["localhost".to_owned(), options.addr.ip().to_string()])?),
        _ => None,
    };
    let mut address = ListenAddress::from(options.addr);
    if let Some(tls) = tls {
        address = address.tls(tls.plain_too(true));
    }
    let listening = io.bind(address).await?;
    announce(listening.local_addr())?;
    tokio::select! {
        () = listening.done() => {}
        _ = tokio::signal::ctrl_c() => {
            io.shutdown(Duration::from_secs(5)).await;
        }
    }
    Ok(())
}

async fn serve_in_axum(io: &Switchboard, address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    announce(listener.local_addr()?)?;
    axum::serve(listener, axum::Router::new().layer(io.layer())).await?;
    Ok(())
}

async fn serve_by_hyper(io: &Switchboard, address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    announce(listener.local_addr()?)?;
    let app = axum::Router::new().layer(io.layer());
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().title_case_headers(true);
            builder.http2().enable_connect_protocol();
            // A client may close as it likes.
            let _gone = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening on {address}")?;
    out.flush()
}
