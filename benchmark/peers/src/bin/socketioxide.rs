//! socketioxide: Socket.IO on axum, the set-up its own documentation opens with. It serves the events of the
//! conformance server that the benchmark uses, and greets a socket with `auth` as that one does.

use axum::Router;
use axum::serve::ListenerExt;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};

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
}
