//! A WebSocket client for the terminal: sends each line that is typed and prints what comes.
//! With `--send TEXT` it sends that, prints one answer, and closes.
//!
//! ```text
//! cargo run -p switchboard-websocket --example client -- ws://127.0.0.1:9001/ --send hello
//! ```

use std::error::Error;

use clap::Parser;
use switchboard_websocket::{CloseCode, Config, OwnedMessage, WebSocketStream};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[derive(Parser)]
struct Args {
    /// Where to connect, as `ws://host:port/path`.
    url: String,
    /// Send this, print one answer, and close.
    #[arg(long)]
    send: Option<String>,
    /// A subprotocol to offer; may be given several times.
    #[arg(long)]
    protocol: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut config = Config::default();
    config.protocols = args.protocol;
    let mut socket = WebSocketStream::connect(&args.url, &config).await?;
    if let Some(text) = args.send {
        socket.send(text).await?;
        while let Some(message) = socket.recv().await? {
            if print(&message) {
                break;
            }
        }
        socket.close(CloseCode::Normal, "").await?;
        return Ok(());
    }

    let (mut reader, mut writer) = socket.split();
    let printing = tokio::spawn(async move {
        while let Some(message) = reader.recv().await? {
            print(&message);
        }
        Ok::<_, switchboard_websocket::Error>(())
    });
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => writer.send(line).await?,
                None => break writer.close(CloseCode::Normal, "").await?,
            },
            answered = writer.answer() => break answered?,
        }
    }
    printing.await??;
    Ok(())
}

/// Prints a message, and says whether it was one of data.
fn print(message: &OwnedMessage) -> bool {
    match message {
        OwnedMessage::Text(text) => println!("{text}"),
        OwnedMessage::Binary(bytes) => println!("{} bytes: {bytes:02x?}", bytes.len()),
        OwnedMessage::Close(Some(frame)) => println!("closed with {} {}", frame.code, frame.reason),
        _ => return false,
    }
    true
}
