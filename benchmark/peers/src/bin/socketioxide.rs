//! socketioxide: Socket.IO on axum, the set-up its own documentation opens with. It serves the events of the
//! conformance server that the benchmark uses, and greets a socket with `auth` as that one does.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use futures_util::StreamExt;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

fn main() -> std::io::Result<()> {
    peers::run(async {
        let (layer, io) = SocketIo::new_layer();
        io.ns("/", connect);
        let listener = peers::listen_async().tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().layer(layer)).await
    })
}

async fn connect(socket: SocketRef, Data(auth): Data<Value>) {
    let _ = socket.emit("auth", &auth);
    socket.on("echo", async |socket: SocketRef, Data::<String>(text)| {
        let _ = socket.emit("echo", &text);
    });
    socket.on("broadcast", async |io: SocketIo, Data::<String>(text)| {
        let _ = io.broadcast().emit("broadcast", &text).await;
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room)| socket.join(room));
    socket.on("ack-all", ack_all);
}

/// Asks a room, and acknowledges with all answers.
async fn ack_all(io: SocketIo, Data((room, value)): Data<(String, Value)>, ack: AckSender) {
    let asked = io.to(room).timeout(Duration::from_secs(1)).emit_with_ack::<_, Value>("ask", &value).await;
    let Ok(asked) = asked else { return };
    let mut asked = pin!(asked);
    let mut answers = Vec::new();
    while let Some((_, answer)) = asked.next().await {
        answers.extend(answer);
    }
    let _ = ack.send(&(answers, Vec::<Value>::new()));
}
