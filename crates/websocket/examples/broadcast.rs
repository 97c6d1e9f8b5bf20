//! A WebSocket server that sends each message to all clients. The message is encoded once for all of them,
//! and compressed once for the clients that agreed on compression without context:
//!
//! ```text
//! cargo run --release -p switchboard-websocket --example broadcast -- --addr 127.0.0.1:9001 --deflate
//! ```

use std::{error::Error, sync::Arc, time::Duration};

use clap::Parser;
use switchboard_websocket::{
    CloseCode, Config, Error as SocketError, OwnedMessage, Prepared, WebSocketStream, deflate::DeflateOptions,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast::{self, Sender, error::RecvError},
};

/// The most messages that may wait for a client. A client that reads more slowly is closed, so that the
/// messages of all need not be kept for it.
const BEHIND: usize = 1024;

#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:9001")]
    addr: String,
    /// Compress messages for clients that offer it (permessage-deflate), without context, so that each
    /// message is compressed once.
    #[arg(long)]
    deflate: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut config = Config::default();
    config.deflate = args.deflate.then(|| DeflateOptions::default().context_takeover(false));
    let config = Arc::new(config);
    let (everyone, _) = broadcast::channel(BEHIND);
    let listener = TcpListener::bind(&args.addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Most often there are no file descriptors left. Some will be closed soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (config, everyone) = (config.clone(), everyone.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &config, &everyone).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    config: &Config,
    everyone: &Sender<Arc<Prepared>>,
) -> Result<(), SocketError> {
    stream.set_nodelay(true)?;
    let mut socket = WebSocketStream::accept(stream, config).await?;
    let mut said = everyone.subscribe();
    loop {
        // Both calls may be dropped while they wait, and lose nothing.
        tokio::select! {
            message = socket.recv() => {
                let prepared = match message? {
                    Some(OwnedMessage::Text(text)) => Prepared::text(text),
                    Some(OwnedMessage::Binary(bytes)) => Prepared::binary(bytes),
                    Some(_) => continue,
                    None => return Ok(()),
                };
                // It fails where nobody receives. This connection receives.
                let _heard = everyone.send(Arc::new(prepared));
            }
            message = said.recv() => match message {
                Ok(message) => socket.send_prepared(&message).await?,
                Err(RecvError::Lagged(_)) => {
                    return socket.close(CloseCode::PolicyViolation, "too slow").await;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}
