//! tokio-websockets: its own echo server (frames of any size, no limits, a task outside tokio's budget). Its
//! stream writes what is queued each time it is asked for the next message, so this takes all messages that
//! are there before it answers any: they go out in one write.

use futures_util::{SinkExt, StreamExt};
use peers::{Connection, Echo};
use tokio::task::unconstrained;
use tokio_websockets::{Config, Error, Limits, ServerBuilder};

/// Messages that are there already are answered together, up to so many.
const BATCH: usize = 64;
/// Bytes of answers that are queued before they are written.
const WRITE_AT: usize = 64 << 10;

struct TokioWebSockets;

fn main() -> std::io::Result<()> {
    peers::serve::<TokioWebSockets>()
}

impl Echo for TokioWebSockets {
    async fn serve(stream: impl Connection) {
        let _ = unconstrained(echo(stream)).await;
    }
}

async fn echo(stream: impl Connection) -> Result<(), Error> {
    let config = Config::default().frame_size(usize::MAX).flush_threshold(WRITE_AT);
    let builder = ServerBuilder::new().config(config).limits(Limits::unlimited());
    let (_request, socket) = builder.accept(stream).await?;
    let (mut write, read) = socket.split();
    let mut batches = read.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        for message in batch {
            let message = message?;
            if message.is_text() || message.is_binary() {
                write.feed(message).await?;
            }
        }
        write.flush().await?;
    }
    Ok(())
}
