//! The smallest conversation: each second the server says `hello` with a counter. The page answers `hey` with
//! a counter, and the server prints it.
//!
//! ```sh
//! cargo run -p switchboard-server --example hello
//! ```

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde::Deserialize;
use switchboard::{Data, Socket, Switchboard};
use switchboard_server::pages;

#[derive(Deserialize)]
struct Hey {
    counter: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    // The page gets the official client from this server, as /socket.io/socket.io.js.
    let io = Switchboard::builder().client_files(pages::client_files()).build()?;
    io.root().on_connect(|socket: Socket| {
        // In its own task: the socket's events wait until `on_connect` returns.
        tokio::spawn(say_hello(socket));
    });
    io.root()
        .on("hey", |socket: Socket, Data(hey): Data<Hey>| println!("{}: hey {}", socket.id(), hey.counter));
    io.fallback(Router::new().route("/", get(Html(include_str!("hello.html")))));
    println!("The page is at http://localhost:3000/");
    io.listen("0.0.0.0:3000").await
}

/// Runs until the socket is gone.
async fn say_hello(socket: Socket) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for counter in 1_u64.. {
        second.tick().await;
        if socket.emit("hello", counter).is_err() {
            return;
        }
    }
}
