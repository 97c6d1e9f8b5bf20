//! sockudo-ws: echo on its own handshake and its `WebSocketStream`, at its defaults. Its sink holds answers
//! back until it is flushed, so this answers all messages that are there already before it does. (Its
//! permessage-deflate is not measured.)

use futures_util::{FutureExt, SinkExt, StreamExt};
use peers::{Connection, Echo};
use sockudo_ws::handshake::server_handshake;
use sockudo_ws::{Config, Error, Message, Role, WebSocketStream};
use tokio::task::unconstrained;

struct SockudoWs;

fn main() -> std::io::Result<()> {
    peers::serve::<SockudoWs>()
}

impl Echo for SockudoWs {
    async fn serve(stream: impl Connection) {
        let _ = unconstrained(echo(stream)).await;
    }
}

async fn echo(mut stream: impl Connection) -> Result<(), Error> {
    let request = server_handshake(&mut stream).await?;
    let mut socket =
        WebSocketStream::from_raw_with_leftover(stream, Role::Server, Config::default(), request.leftover);
    while let Some(first) = socket.next().await {
        let mut next = Some(first);
        while let Some(message) = next {
            let message = message?;
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                socket.feed(message).await?;
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}
