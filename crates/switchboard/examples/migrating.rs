//! The code of docs/migrating.md, one part of it at a time.
//!
//! ```sh
//! cargo run -p switchboard --example migrating -- events
//! ```
//!
//! The suite `migrating` of interop/node plays an official client against each part.

#![allow(unreachable_pub, reason = "the parts are written as in a module of their own")]

use switchboard::Switchboard;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Switchboard::builder().workers(2).build()?;
    let part = std::env::args().nth(1).unwrap_or_default();
    match part.as_str() {
        "events" => events::events(&io),
        "rooms" => rooms::rooms(&io),
        "admission" => admission::admission(&io),
        "questions" => questions::questions(&io),
        "binary" => binary::binary(&io),
        "every_event" => every_event::every_event(&io),
        "disconnecting" => disconnecting::disconnecting(&io),
        _ => return Err(std::io::Error::other("name a part of docs/migrating.md, such as `events`")),
    }
    let listening = io.bind("127.0.0.1:0").await?;
    println!("listening on {listening}");
    listening.done().await;
    Ok(())
}

mod events {
    use switchboard::{Data, DisconnectReason, Socket, Switchboard};

    pub fn events(io: &Switchboard) {
        let root = io.root();
        root.on("say", |socket: Socket, Data(text): Data<String>| {
            socket.broadcast().emit("said", (socket.id(), text))
        });
        root.on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
        root.on_disconnect(|socket: Socket, reason: DisconnectReason| {
            socket.namespace().emit("left", reason.as_str())
        });
    }
}

mod rooms {
    use switchboard::{Data, Namespace, RemoteSocket, Socket, SocketId, Switchboard};

    pub fn rooms(io: &Switchboard) {
        let root = io.root();
        root.on("enter", |socket: Socket, Data(room): Data<String>| socket.join(&room));
        root.on("tell", |socket: Socket, Data((room, text)): Data<(String, String)>| {
            socket.to(&room).emit("told", text)
        });
        root.on("tell both", |root: Namespace, Data(text): Data<String>| {
            root.to(["a", "b"]).except("quiet").emit("told", text)
        });
        root.on(
            "who",
            async |root: Namespace, Data(room): Data<String>| -> switchboard::Result<Vec<SocketId>> {
                let sockets = root.to(&room).fetch_sockets().await?;
                Ok(sockets.iter().map(RemoteSocket::id).collect())
            },
        );
        root.on("empty", |root: Namespace, Data(room): Data<String>| root.to(&room).leave(&room));
    }
}

mod admission {
    use serde::Deserialize;
    use switchboard::{Auth, Error, Socket, Switchboard};

    #[derive(Deserialize)]
    struct Credentials {
        name: String,
        token: String,
    }

    struct User(String);

    pub fn admission(io: &Switchboard) {
        io.root().middleware(|socket: Socket, Auth(auth): Auth<Credentials>| {
            if auth.token != "let me in" {
                let data = serde_json::json!({"code": 401});
                return Err(Error::new("wrong token").with_data(data));
            }
            socket.insert(User(auth.name));
            Ok(())
        });
        io.root().on("who am I", |socket: Socket| socket.get::<User>().map(|user| user.0.clone()));
    }
}

mod questions {
    use std::time::Duration;
    use switchboard::{Namespace, Socket, Switchboard};

    pub fn questions(io: &Switchboard) {
        io.root().on("ask me", async |socket: Socket| {
            let asking = socket.timeout(Duration::from_millis(300));
            let answer: Result<String, _> = asking.emit_with_ack("your name?", ()).await;
            answer.unwrap_or_else(|_| "no answer".to_owned())
        });
        io.root().on("ask all", async |root: Namespace| -> switchboard::Result<Vec<String>> {
            let asking = root.all().timeout(Duration::from_secs(10));
            let answers = asking.emit_with_ack::<String>("your name?", ()).await?;
            Ok(answers.into_iter().filter_map(|(_, answer)| answer.ok()).collect())
        });
    }
}

mod binary {
    use switchboard::{Binary, Data, Switchboard};

    pub fn binary(io: &Switchboard) {
        io.of("/files").on("store", |Data((name, bytes)): Data<(String, Binary)>| {
            let length = bytes.len();
            (name, length, bytes)
        });
    }
}

mod every_event {
    use switchboard::{Error, Event, Socket, Switchboard};

    pub fn every_event(io: &Switchboard) {
        let root = io.root();
        root.on_any(|socket: Socket, Event(event): Event| socket.emit("seen", event));
        root.event_middleware(
            |Event(event): Event| {
                if event == "forbidden" { Err(Error::new("not you")) } else { Ok(()) }
            },
        );
        root.on_error(|context, error| {
            let _sent = context.socket().emit("refused", error.public_message());
        });
        root.on("allowed", || "yes");
    }
}

mod disconnecting {
    use switchboard::{Namespace, Socket, Switchboard};

    pub fn disconnecting(io: &Switchboard) {
        io.root().on("leave", |socket: Socket| socket.disconnect(false));
        io.root().on("end", |root: Namespace| root.all().disconnect(true));
    }
}
