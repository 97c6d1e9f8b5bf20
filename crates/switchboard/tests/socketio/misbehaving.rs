//! Handlers that panic, handlers that wait forever, and handlers that wait for their own client.

use std::time::Duration;

use switchboard::{AckError, Binary, Data, DisconnectReason, Socket, Switchboard};

use crate::harness::{Server, log, soon};

#[tokio::test]
async fn a_handler_that_panics_closes_its_socket_alone() {
    for workers in [1, 4] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| {
            let root = io.root();
            root.on("boom", |_: Socket| -> () { panic!("on purpose") });
            root.on("boom-async", async |_: Socket| -> () { panic!("on purpose") });
            root.on("boom-later", async |_: Socket| -> () {
                tokio::task::yield_now().await;
                panic!("on purpose");
            });
            root.on("echo", |Data(text): Data<String>| text);
            root.on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
            io.of("/other").on("echo", |Data(text): Data<String>| text);
        })
        .await;
        let mut bystander = server.client().await;
        for event in ["boom", "boom-async", "boom-later"] {
            let mut client = server.client().await;
            client.join("/other").await;
            // Packets after the panic are not handled, even if they came in the same read.
            client.send(&format!(r#"42["{event}"]"#)).await;
            client.expect("41").await;
            assert_eq!(told.next().await, "server namespace disconnect");
            client.ask(r#"42/other,1["echo","here"]"#, r#"43/other,1["here"]"#).await;
            bystander.ask(r#"422["echo","there"]"#, r#"432["there"]"#).await;
        }
    }
}

#[tokio::test]
async fn a_panic_in_an_error_or_disconnect_handler_is_not_the_workers_end() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("fail", |_: Socket| -> switchboard::Result { Err(switchboard::Error::new("failed")) });
        root.on("echo", |Data(text): Data<String>| text);
        root.on_error(|_, _| panic!("on purpose"));
        root.on_disconnect(|_: Socket| -> () { panic!("on purpose") });
        root.on_disconnect(|_: Broken| ());
        root.on_disconnect(async |_: Socket| -> () { panic!("on purpose") });
        root.on_disconnect(move |_: Socket| said.say("told"));
    })
    .await;
    for _ in 0..3 {
        let mut client = server.client().await;
        client.send(r#"42["fail"]"#).await;
        client.ask(r#"420["echo","on"]"#, r#"430["on"]"#).await;
        // From the worker's inbox, with no handler on the stack.
        server.io.root().all().disconnect(false).expect("room");
        client.expect("41").await;
        assert_eq!(told.next().await, "told");
    }
}

/// Panics when it is extracted.
struct Broken;

impl<C> switchboard::FromSocket<C> for Broken {
    fn from_socket(_: &C) -> Result<Self, switchboard::Error> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_handler_that_waits_for_ever_holds_back_its_own_sockets_events_only() {
    for workers in [1, 4] {
        let (said, mut told) = log();
        let builder = Switchboard::builder()
            .workers(workers)
            .ping_interval(Duration::from_millis(50))
            .held_events_timeout(Duration::from_millis(50));
        let server = Server::start(builder, |io| {
            for name in ["/", "/other"] {
                io.of(name).on("wait", async |_: Socket| std::future::pending::<()>().await);
                io.of(name).on("echo", |Data(text): Data<String>| text);
                let said = said.clone();
                io.of(name).on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                    said.say(format!("{} {reason}", socket.namespace().name()));
                });
            }
        })
        .await;
        let mut waiting = server.client().await;
        waiting.join("/other").await;
        let mut other = server.client().await;
        waiting.send(r#"42["wait"]"#).await;
        waiting.send(r#"420["echo","held"]"#).await;
        // Another namespace of the same client, and another client.
        waiting.ask(r#"42/other,1["echo","a"]"#, r#"43/other,1["a"]"#).await;
        other.ask(r#"422["echo","b"]"#, r#"432["b"]"#).await;
        // Acknowledgements.
        let sockets = server.io.root().local_sockets().await.expect("sockets");
        assert_eq!(sockets.len(), 2);
        for socket in sockets {
            let answer = tokio::spawn(socket.emit_with_ack::<String>("question", ()));
            tokio::select! {
                question = waiting.text() => {
                    assert_eq!(question, r#"420["question"]"#);
                    waiting.send(r#"430["answer"]"#).await;
                }
                question = other.text() => {
                    assert_eq!(question, r#"420["question"]"#);
                    other.send(r#"430["answer"]"#).await;
                }
            }
            assert_eq!(soon("an answer", answer).await.expect("no panic").expect("in time"), "answer");
        }
        // Pings.
        let before = waiting.pings;
        while waiting.pings < before + 3 {
            waiting.ask(r#"42/other,1["echo","on"]"#, r#"43/other,1["on"]"#).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Leaving the namespace, and the connection's end.
        waiting.send("41").await;
        assert_eq!(told.next().await, "/ client namespace disconnect");
        waiting.close().await;
        assert_eq!(told.next().await, "/other transport close");
    }
}

#[tokio::test]
async fn a_handler_may_await_its_own_clients_acknowledgement() {
    for workers in [1, 4] {
        let server = Server::workers(workers, |io| {
            io.root().on("ask", async |socket: Socket| -> switchboard::Result<(String, i32), AckError> {
                socket.emit_with_ack("question", "?").await
            });
        })
        .await;
        let mut client = server.client().await;
        client.ask(r#"427["ask"]"#, r#"420["question","?"]"#).await;
        client.ask(r#"430["answer",42]"#, r#"437["answer",42]"#).await;
        // In on_connect, too, although events wait for it.
        server.io.of("/shy").on_connect(async |socket: Socket| -> switchboard::Result {
            let name: String = socket.emit_with_ack("name", ()).await?;
            Ok(socket.emit("hello", name)?)
        });
        client.join("/shy").await;
        client.expect(r#"42/shy,0["name"]"#).await;
        client.ask(r#"43/shy,0["Ada"]"#, r#"42/shy,["hello","Ada"]"#).await;
    }
}

/// Calls its socket back when it is dropped.
struct CallsBack(Socket);

impl Drop for CallsBack {
    fn drop(&mut self) {
        // They may succeed or fail, but may not panic.
        let _gone = (self.0.on("more", || ()), self.0.once("more", || ()), self.0.off("more"));
        let _gone = (self.0.on_any(|| ()), self.0.event_middleware(|| ()), self.0.emit("dropped", ()));
        let _before = (self.0.insert(1_u8), self.0.get::<u8>());
    }
}

#[tokio::test]
async fn a_value_that_a_handler_holds_may_call_its_socket_when_it_is_dropped() {
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("register", |socket: Socket| -> switchboard::Result {
            let guard = CallsBack(socket.clone());
            socket.on("own", move |_: Socket| guard.0.id())?;
            Ok(())
        });
        root.on("replace", |socket: Socket| socket.on("own", || 1));
        root.on("once", |socket: Socket| -> switchboard::Result {
            let guard = CallsBack(socket.clone());
            Ok(socket.once("own", move |_: Socket| guard.0.id())?)
        });
        root.on("off", |socket: Socket| socket.off("own"));
        root.on("keep", |socket: Socket| {
            socket.insert(std::sync::Arc::new(CallsBack(socket.clone())));
        });
        root.on("take", |socket: Socket| drop(socket.remove::<std::sync::Arc<CallsBack>>()));
        root.on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut client = server.client().await;
    for packets in [&["register", "replace"][..], &["register", "off"], &["once", "own"], &["keep", "take"]] {
        for packet in packets {
            client.send(&format!(r#"42["{packet}"]"#)).await;
        }
        client.expect(r#"42["dropped"]"#).await;
        client.ask(r#"421["echo","on"]"#, r#"431["on"]"#).await;
    }
    // At the end nothing can be sent, and nothing panics.
    client.send(r#"42["register"]"#).await;
    client.ask(r#"422["echo","last"]"#, r#"432["last"]"#).await;
    client.close().await;
    let mut client = server.client().await;
    client.ask(r#"423["echo","another"]"#, r#"433["another"]"#).await;
}

#[tokio::test]
async fn a_handler_that_panics_disconnects_a_client_on_polling_once() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        for name in ["/", "/other"] {
            let said = said.clone();
            io.of(name).on("boom", |_: Socket| -> () { panic!("on purpose") });
            io.of(name).on("boom-later", async |_: Socket| -> () {
                tokio::task::yield_now().await;
                panic!("on purpose");
            });
            io.of(name).on("echo", |Data(text): Data<String>| text);
            io.of(name).on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
        }
    })
    .await;
    for event in ["boom", "boom-later"] {
        let client = crate::harness::Polling::open(&server).await;
        client.post("40\x1e40/other,").await;
        let mut connected = Vec::new();
        while connected.len() < 2 {
            connected.extend(client.get().await);
        }
        // Before a poll waits, and with further packets in the same POST.
        client.post(&[format!(r#"42["{event}"]"#), r#"42["echo","late"]"#.into()].join("\x1e")).await;
        let mut packets = Vec::new();
        while !packets.contains(&"41".to_owned()) {
            packets.extend(client.get().await);
        }
        client.post(r#"42/other,1["echo","on"]"#).await;
        while !packets.contains(&r#"43/other,1["on"]"#.to_owned()) {
            packets.extend(client.get().await);
        }
        assert_eq!(packets, ["41", r#"43/other,1["on"]"#], "{event}");
        assert_eq!(told.next().await, "server namespace disconnect");
        client.try_post("1").await;
        assert_eq!(told.next().await, "transport close");
        assert_eq!(told.now(), [""; 0]);
    }
}

#[tokio::test]
async fn attachments_that_do_not_come_close_their_session() {
    const SHORT: Duration = Duration::from_millis(200);
    let builder = Switchboard::builder().workers(1).message_timeout(Some(SHORT));
    let server = Server::start(builder, |io| {
        io.root().on("two", |Data((a, b)): Data<(Binary, Binary)>| a.len() + b.len());
    })
    .await;
    let announced = r#"452-7["two",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let mut whole = server.client().await;
    whole.send(announced).await;
    whole.send_binary(b"1").await;
    whole.send_binary(b"22").await;
    whole.expect("437[3]").await;

    let mut half = server.client().await;
    half.send(announced).await;
    half.send_binary(b"1").await;
    assert!(half.ended().await.is_empty());
    // A client that has sent everything has time.
    whole.send(r#"428["nothing"]"#).await;
    whole.send(announced).await;
    whole.send_binary(b"1").await;
    whole.send_binary(b"22").await;
    whole.expect("437[3]").await;
}
