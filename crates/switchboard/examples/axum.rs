//! Socket.IO in an axum application that has routes and a state of its own.
//!
//! ```sh
//! cargo run -p switchboard --example axum
//! curl http://localhost:3000/online
//! curl -d 'dinner is ready' http://localhost:3000/announce
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use switchboard::{Data, Socket, Switchboard};
use tokio::net::TcpListener;

/// The state of axum's handlers. Switchboard's handlers have the same counter.
#[derive(Clone)]
struct App {
    io: Switchboard,
    online: Arc<AtomicUsize>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = App { io: Switchboard::builder().build()?, online: Arc::default() };
    sockets(&app);

    let io = app.io.clone();
    let routes = Router::new()
        .route("/online", get(online))
        .route("/announce", post(announce))
        .with_state(app)
        // Around all routes. axum puts each client's address into the request's extensions here.
        .layer(io.layer().address_from(|extensions| extensions.get().map(|ConnectInfo(address)| *address)));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            let _interrupted = tokio::signal::ctrl_c().await;
            io.shutdown(Duration::from_secs(5)).await;
        })
        .await
}

fn sockets(app: &App) {
    let root = app.io.root();
    let online = Arc::clone(&app.online);
    root.on_connect(move |socket: Socket| {
        let now = online.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(address) = socket.handshake().address() {
            println!("{} came from {address}; {now} online", socket.id());
        }
    });
    let online = Arc::clone(&app.online);
    root.on_disconnect(move || {
        online.fetch_sub(1, Ordering::Relaxed);
    });
    root.on("say", |socket: Socket, Data(text): Data<String>| socket.broadcast().emit("said", text));
}

async fn online(State(app): State<App>) -> String {
    format!("{}\n", app.online.load(Ordering::Relaxed))
}

/// An ordinary request that reaches every socket.
async fn announce(State(app): State<App>, text: String) -> Result<(), (StatusCode, String)> {
    app.io.root().emit("said", text).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}
