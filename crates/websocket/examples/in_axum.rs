//! An axum application with a page and a WebSocket that sends every message back, over HTTP/1.1 and HTTP/2:
//!
//! ```text
//! cargo run -p switchboard-websocket --example in_axum --features axum -- --addr 127.0.0.1:9001
//! cargo run -p switchboard-websocket --example client -- ws://127.0.0.1:9001/echo
//! ```

use axum::{
    Router,
    extract::State,
    response::{Html, Response},
    routing::{any, get},
};
use clap::Parser;
use switchboard_websocket::{
    OriginCheck,
    deflate::DeflateOptions,
    integration::axum::{WebSocket, WebSocketUpgrade},
};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:9001")]
    addr: String,
}

const PAGE: &str = r#"<!doctype html><title>echo</title><input autofocus><pre></pre><script>
  const socket = new WebSocket(location.href.replace("http", "ws") + "echo");
  socket.onmessage = ({ data }) => document.querySelector("pre").append(data + "\n");
  document.querySelector("input").onchange = ({ target }) => { socket.send(target.value); target.value = ""; };
</script>"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    // Our own page may connect, as by default, and the page of a development server.
    let origins = OriginCheck::list(["http://localhost:5173"])?;
    // `any`, because a WebSocket comes with GET over HTTP/1.1, and with CONNECT over HTTP/2.
    let app = Router::new().route("/", get(Html(PAGE))).route("/echo", any(upgrade)).with_state(origins);
    let listener = TcpListener::bind(&args.addr).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn upgrade(State(origins): State<OriginCheck>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .origin(origins)
        .max_message_size(1 << 20)
        .deflate(DeflateOptions::default())
        .on_failed_upgrade(|error| eprintln!("no WebSocket: {error}"))
        .on_upgrade(async |socket| {
            if let Err(error) = echo(socket).await {
                eprintln!("{error}");
            }
        })
}

async fn echo(mut socket: WebSocket) -> Result<(), switchboard_websocket::Error> {
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
