//! The code of socketioxide in docs/migrating.md, one part of it at a time: the suite `migrating` of
//! interop/node plays an official client against each.

#![allow(unreachable_pub, reason = "the parts are written as in a module of their own")]

use axum::Router;
use socketioxide::SocketIo;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let (layer, io) = SocketIo::new_layer();
    let part = std::env::args().nth(1).unwrap_or_default();
    match part.as_str() {
        "events" => events::events(&io),
        "rooms" => rooms::rooms(&io),
        "admission" => admission::admission(&io),
        "questions" => questions::questions(&io),
        "disconnecting" => disconnecting::disconnecting(&io),
        _ => return Err(std::io::Error::other("there is no such part in docs/migrating.md")),
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, Router::new().layer(layer)).await
}

mod events {
    use socketioxide::SocketIo;
    use socketioxide::extract::{AckSender, Data, SocketRef};

    pub fn events(io: &SocketIo) {
        io.ns("/", async |socket: SocketRef| {
            socket.on("say", async |socket: SocketRef, Data::<String>(text)| {
                let _ = socket.broadcast().emit("said", &(socket.id, text)).await;
            });
            socket.on("sum", async |Data::<(i64, i64)>((a, b)), ack: AckSender| {
                let _ = ack.send(&(a + b));
            });
            socket.on_disconnect(async |io: SocketIo| {
                // Its reasons have other names than Socket.IO's.
                let _ = io.emit("left", "client namespace disconnect").await;
            });
        });
    }
}

mod rooms {
    use socketioxide::SocketIo;
    use socketioxide::extract::{AckSender, Data, SocketRef};

    pub fn rooms(io: &SocketIo) {
        io.ns("/", async |socket: SocketRef| {
            socket.on("enter", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
                socket.join(room);
                let _ = ack.send(&());
            });
            socket.on("tell", async |socket: SocketRef, Data::<(String, String)>((room, text))| {
                let _ = socket.to(room).emit("told", &text).await;
            });
            socket.on("tell both", async |io: SocketIo, Data::<String>(text)| {
                let _ = io.to(["a", "b"]).except("quiet").emit("told", &text).await;
            });
            socket.on("who", async |io: SocketIo, Data::<String>(room), ack: AckSender| {
                let ids: Vec<_> = io.to(room).sockets().into_iter().map(|one| one.id).collect();
                let _ = ack.send(&[ids]);
            });
            socket.on("empty", async |io: SocketIo, Data::<String>(room), ack: AckSender| {
                let _ = io.to(room.clone()).leave(room).await;
                let _ = ack.send(&());
            });
        });
    }
}

mod admission {
    use serde::Deserialize;
    use socketioxide::SocketIo;
    use socketioxide::extract::{AckSender, Data, Extension, SocketRef};
    use socketioxide::handler::ConnectHandler;

    #[derive(Deserialize)]
    struct Credentials {
        name: String,
        token: String,
    }

    #[derive(Clone)]
    struct User(String);

    async fn check(socket: SocketRef, Data(auth): Data<Credentials>) -> Result<(), &'static str> {
        if auth.token != "let me in" {
            return Err("wrong token");
        }
        socket.extensions.insert(User(auth.name));
        Ok(())
    }

    async fn connected(socket: SocketRef) {
        socket.on("who am I", async |Extension::<User>(user), ack: AckSender| {
            let _ = ack.send(&user.0);
        });
    }

    pub fn admission(io: &SocketIo) {
        io.ns("/", connected.with(check));
    }
}

mod questions {
    use futures_util::StreamExt;
    use socketioxide::SocketIo;
    use socketioxide::extract::{AckSender, SocketRef};
    use std::time::Duration;

    pub fn questions(io: &SocketIo) {
        io.ns("/", async |socket: SocketRef| {
            socket.on("ask me", async |socket: SocketRef, ack: AckSender| {
                let asking = socket.timeout(Duration::from_millis(300));
                let answer = match asking.emit_with_ack::<_, String>("your name?", &()) {
                    Ok(answer) => answer.await.ok(),
                    Err(_) => None,
                };
                let _ = ack.send(&answer.unwrap_or_else(|| "no answer".to_owned()));
            });
            socket.on("ask all", async |io: SocketIo, ack: AckSender| {
                let asking =
                    io.timeout(Duration::from_secs(10)).emit_with_ack::<_, String>("your name?", &());
                if let Ok(answers) = asking.await {
                    let answers: Vec<_> = answers.filter_map(async |(_, answer)| answer.ok()).collect().await;
                    let _ = ack.send(&[answers]);
                }
            });
        });
    }
}

mod disconnecting {
    use socketioxide::SocketIo;
    use socketioxide::extract::SocketRef;

    pub fn disconnecting(io: &SocketIo) {
        io.ns("/", async |socket: SocketRef| {
            socket.on("leave", async |socket: SocketRef| {
                let _ = socket.disconnect();
            });
            socket.on("end", async |io: SocketIo| {
                let _ = io.disconnect().await;
            });
        });
    }
}
