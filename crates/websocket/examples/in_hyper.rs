//! A WebSocket server on hyper alone, over HTTP/1.1 and HTTP/2, that sends every message back:
//!
//! ```text
//! cargo run -p switchboard-websocket --example in_hyper --features hyper -- --addr 127.0.0.1:9001
//! cargo run -p switchboard-websocket --example client -- ws://127.0.0.1:9001/
//! ```

use std::{convert::Infallible, time::Duration};

use clap::Parser;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use switchboard_websocket::{
    Config, Error,
    integration::hyper::{Upgrading, upgrade},
};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:9001")]
    addr: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(&args.addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Most often there are no file descriptors left. Some will be closed soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve(stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Tells HTTP/2 clients that they may ask for WebSockets (RFC 8441).
    builder.http2().enable_connect_protocol();
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer)).await
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(match upgrade(&mut request, &Config::default()) {
        Ok((response, upgrading)) => {
            // The connection is a WebSocket after this response was sent, so that it cannot be awaited here.
            tokio::spawn(async move {
                if let Err(error) = echo(upgrading).await {
                    eprintln!("{error}");
                }
            });
            response
        }
        Err(refused) => refused.response(),
    })
}

async fn echo(upgrading: Upgrading) -> Result<(), Error> {
    let mut socket = upgrading.await?;
    while let Some(message) = socket.recv().await? {
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
