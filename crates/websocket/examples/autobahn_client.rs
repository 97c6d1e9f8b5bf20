//! Runs every case of an Autobahn fuzzing server with a client, and has the server write its report:
//!
//! ```text
//! cargo run --release -p switchboard-websocket --example autobahn_client -- ws://127.0.0.1:9002 --agent NAME
//! ```

use std::error::Error;

use clap::Parser;
use switchboard_websocket::{
    Config, Error as SocketError, Limits, OwnedMessage, WebSocketStream, deflate::DeflateOptions,
};

#[derive(Parser)]
struct Args {
    /// The fuzzing server, as `ws://host:port`.
    url: String,
    /// The name in the report.
    #[arg(long, default_value = "switchboard-websocket")]
    agent: String,
    /// Offer compression (permessage-deflate), and compress every message.
    #[arg(long)]
    deflate: bool,
    /// Take context over from message to message.
    #[arg(long, requires = "deflate")]
    takeover: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Args { url, agent, deflate, takeover } = Args::parse();
    let mut config = Config::default();
    // Some cases send 4 MiB in frames of 64 bytes.
    config.limits = Limits::default().max_fragments(1 << 17);
    config.deflate = deflate.then(|| DeflateOptions::default().context_takeover(takeover).threshold(0));
    let mut socket = WebSocketStream::connect(&format!("{url}/getCaseCount"), &Config::default()).await?;
    let Some(OwnedMessage::Text(count)) = socket.recv().await? else {
        return Err("the fuzzing server gave no count of cases".into());
    };
    while socket.recv().await?.is_some() {}
    for case in 1..=count.parse::<u32>()? {
        if let Err(error) = echo(&format!("{url}/runCase?case={case}&agent={agent}"), &config).await {
            println!("case {case} of {count}: {error}");
        }
    }
    let update = format!("{url}/updateReports?agent={agent}");
    let mut socket = WebSocketStream::connect(&update, &Config::default()).await?;
    while socket.recv().await?.is_some() {}
    Ok(())
}

/// Sends every message back until the connection ends. Many cases end with an error.
async fn echo(url: &str, config: &Config) -> Result<(), SocketError> {
    let mut socket = WebSocketStream::connect(url, config).await?;
    while let Some(message) = socket.recv().await? {
        if let OwnedMessage::Text(_) | OwnedMessage::Binary(_) = message {
            match socket.feed(message) {
                Err(SocketError::WriteBufferFull { message, .. }) => socket.send(*message).await?,
                fed => fed?,
            }
        }
    }
    Ok(())
}
