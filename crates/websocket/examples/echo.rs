//! A WebSocket server that sends every message back:
//!
//! ```text
//! cargo run --release -p switchboard-websocket --example echo -- --addr 127.0.0.1:9001
//! ```

use std::{error::Error, sync::Arc, time::Duration};

use clap::Parser;
use switchboard_websocket::{
    Config, Error as SocketError, Limits, OwnedMessage, WebSocketStream, deflate::DeflateOptions,
};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:9001")]
    addr: String,
    /// Compress messages for clients that offer it (permessage-deflate).
    #[arg(long)]
    deflate: bool,
    /// Take context over from message to message.
    #[arg(long, requires = "deflate")]
    takeover: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut config = Config::default();
    // Autobahn, which tests this server too, sends 4 MiB in frames of 64 bytes.
    config.limits = Limits::default().max_fragments(1 << 17);
    config.deflate = args.deflate.then(|| DeflateOptions::default().context_takeover(args.takeover));
    let config = Arc::new(config);
    let listener = TcpListener::bind(&args.addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Most often there are no file descriptors left. Some will be closed soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let config = config.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, &config).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, config: &Config) -> Result<(), SocketError> {
    stream.set_nodelay(true)?;
    let mut socket = WebSocketStream::accept(stream, config).await?;
    while let Some(message) = socket.recv().await? {
        if let OwnedMessage::Text(_) | OwnedMessage::Binary(_) = message {
            // `feed` gives the message back where much waits to be written. `recv` flushes the messages that
            // were fed.
            match socket.feed(message) {
                Err(SocketError::WriteBufferFull { message, .. }) => socket.send(*message).await?,
                fed => fed?,
            }
        }
    }
    Ok(())
}
