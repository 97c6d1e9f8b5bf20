//! tokio-websockets: its own echo server (frames of any size, no limits, a task outside tokio's budget), but forwarding
//! rather than sending one by one, which flushes once for all that one read brought.

use std::future::ready;

use futures_util::{StreamExt, TryStreamExt};
use peers::{Connection, Echo};
use tokio::task::unconstrained;
use tokio_websockets::{Config, Limits, ServerBuilder};

struct TokioWebSockets;

fn main() -> std::io::Result<()> {
    peers::serve::<TokioWebSockets>()
}

impl Echo for TokioWebSockets {
    async fn serve(stream: impl Connection) {
        unconstrained(echo(stream)).await;
    }
}

async fn echo(stream: impl Connection) {
    let builder =
        ServerBuilder::new().config(Config::default().frame_size(usize::MAX)).limits(Limits::unlimited());
    let Ok((_request, socket)) = builder.accept(stream).await else { return };
    let (write, read) = socket.split();
    let messages = read.try_filter(|message| ready(message.is_text() || message.is_binary()));
    let _ = messages.forward(write).await;
}
