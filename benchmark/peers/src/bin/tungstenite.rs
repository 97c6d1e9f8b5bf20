//! tokio-tungstenite: echo by forwarding the read half into the write half, as its own echo server does; that
//! flushes once for all that one read brought.

use std::future::ready;

use futures_util::{StreamExt, TryStreamExt};
use peers::{Connection, Echo};
use tokio_tungstenite::accept_async;

struct Tungstenite;

fn main() -> std::io::Result<()> {
    peers::serve::<Tungstenite>()
}

impl Echo for Tungstenite {
    async fn serve(stream: impl Connection) {
        let Ok(socket) = accept_async(stream).await else { return };
        let (write, read) = socket.split();
        let messages = read.try_filter(|message| ready(message.is_text() || message.is_binary()));
        let _ = messages.forward(write).await;
    }
}
