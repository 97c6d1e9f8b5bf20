//! tokio-tungstenite: echo by forwarding the read half into the write half, as its own echo server does; that
//! flushes once for all that one read brought.

use std::future::ready;

use futures_util::{StreamExt, TryStreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

fn main() -> std::io::Result<()> {
    peers::run(async {
        let listener = peers::listen_async();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let (write, read) = tokio_tungstenite::accept_async(stream).await?.split();
    let messages = read.try_filter(|message| ready(message.is_text() || message.is_binary()));
    messages.forward(write).await
}
