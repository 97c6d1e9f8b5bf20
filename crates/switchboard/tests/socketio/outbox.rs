//! Clients that are sent more than they read.

use std::time::Duration;

use switchboard::{Binary, Data, DisconnectReason, EmitError, FullOutbox, HubError, Socket, Switchboard};
use switchboard_websocket::client::ClientIo;
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};

use crate::harness::{Polling, Server, Signal, log, soon};

const LIMIT: usize = 256 << 10;

fn builder() -> switchboard::Builder {
    Switchboard::builder().workers(1).max_outbox_bytes(LIMIT)
}

/// The size of a text that the kernel's buffers cannot hold.
const EVENTS: usize = 3000;
const EACH: usize = 10_000;

#[tokio::test]
async fn accepted_events_arrive_though_the_client_is_disconnected_for_them() {
    for refuse in [false, true] {
        let (said, mut told) = log();
        let policy = if refuse { FullOutbox::Refuse } else { FullOutbox::Disconnect };
        let server = Server::start(builder().full_outbox(policy), |io| {
            let root = io.root();
            let count = said.clone();
            root.on("all", move |socket: Socket| {
                let text = "x".repeat(EACH);
                let taken = |n: &usize| match socket.emit("n", (n, &text)) {
                    Ok(()) => true,
                    Err(EmitError::Hub(HubError::OutboxFull { limit, .. })) => {
                        assert_eq!(limit, LIMIT);
                        false
                    }
                    Err(error) => panic!("{error}"),
                };
                // One after the other, up to the first that is refused.
                count.say((0..EVENTS).take_while(taken).count().to_string());
            });
            root.on("echo", |Data(text): Data<String>| text);
            root.on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
        })
        .await;
        let mut client = server.client().await;
        client.send(r#"42["all"]"#).await;
        // The client reads nothing before the handler has sent everything.
        let taken: usize = told.next().await.parse().expect("a number");
        assert!(taken * EACH >= LIMIT && taken < EVENTS, "{taken}");
        for n in 0..taken {
            let event = client.text().await;
            assert!(event.starts_with(&format!(r#"42["n",{n},"#)), "{n} of {taken}: {}", &event[..40]);
        }
        if refuse {
            client.ask(r#"421["echo","here"]"#, r#"431["here"]"#).await;
            assert_eq!(told.now(), [""; 0]);
        } else {
            assert_eq!(client.next().await, None);
            assert_eq!(told.next().await, "forced server close");
        }
    }
}

#[tokio::test]
async fn the_socket_is_tried_before_anything_is_refused() {
    // Each packet alone exceeds the limit. The kernel takes a few of them.
    let server = Server::start(Switchboard::builder().workers(1).max_outbox_bytes(1000), |io| {
        io.root().on("some", |socket: Socket| -> switchboard::Result {
            for n in 0..10 {
                socket.emit("n", (n, "x".repeat(2000)))?;
            }
            Ok(())
        });
        io.root().on("to all", |socket: Socket| -> switchboard::Result {
            for n in 0..10 {
                socket.namespace().emit("n", (n, "x".repeat(2000)))?;
                // Written into the outbox at once, not at the end of the turn.
                socket.emit("and", ())?;
            }
            Ok(())
        });
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"421["some"]"#).await;
    assert_eq!(client.until("431[]").await.len(), 10);
    client.send(r#"422["to all"]"#).await;
    assert_eq!(client.until("432[]").await.len(), 20);
}

#[tokio::test]
async fn a_packet_is_refused_as_a_whole() {
    let (said, mut told) = log();
    let gate = Signal::new();
    let server = Server::start(builder().full_outbox(FullOutbox::Refuse), |io| {
        let waits = gate.clone();
        io.root().on("all", move |socket: Socket| {
            let binary = [7; 5000].as_slice();
            let packet = || (Binary::from(binary.to_vec()), Binary::from(binary.to_vec()));
            let taken = (0..EVENTS).filter(|_| socket.emit("two", packet()).is_ok()).count();
            said.say(taken.to_string());
        });
        io.root().on("ready", async move |socket: Socket| {
            waits.passed().await;
            socket.ready().await
        });
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"42["all"]"#).await;
    let taken: usize = told.next().await.parse().expect("a number");
    assert!(taken < EVENTS);
    for n in 0..taken {
        let packet = client.text().await;
        assert!(packet.starts_with(r#"452-["two","#), "{n} of {taken}: {packet}");
        assert!(client.next().await.is_some_and(|binary| binary.starts_with('<')));
        assert!(client.next().await.is_some_and(|binary| binary.starts_with('<')));
    }
    gate.open();
    client.ask(r#"421["ready"]"#, "431[]").await;
}

#[tokio::test]
async fn a_sender_awaits_room_and_loses_nothing() {
    for polls in [false, true] {
        let (said, mut told) = log();
        let server = Server::start(builder(), |io| {
            let root = io.root();
            root.on("all", async move |socket: Socket| -> switchboard::Result {
                let text = "x".repeat(100_000);
                for n in 0..100 {
                    socket.ready().await?;
                    socket.emit("n", (n, &text))?;
                }
                Ok(())
            });
            root.on_error(move |_, error| said.say(error.to_string()));
        })
        .await;
        let mut events = Vec::new();
        if polls {
            let client = Polling::open(&server).await;
            client.post("40").await;
            client.post(r#"42["all"]"#).await;
            while events.len() < 100 {
                events.extend(client.get().await.into_iter().filter(|packet| packet.starts_with("42")));
            }
        } else {
            let mut client = server.client().await;
            client.send(r#"421["all"]"#).await;
            events = client.until("431[]").await;
        }
        for (n, event) in events.iter().enumerate() {
            assert!(event.starts_with(&format!(r#"42["n",{n},"#)), "{n}: {}", &event[..40]);
        }
        assert_eq!((events.len(), told.now()), (100, Vec::new()));
    }
}

#[tokio::test]
async fn room_is_awaited_from_any_thread() {
    let server = Server::start(builder(), |_| ()).await;
    let mut client = server.client().await;
    let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
    soon("room", socket.ready()).await.expect("room");
    client.send("41").await;
    client.join("/").await;
    assert!(matches!(soon("an end", socket.ready()).await, Err(EmitError::Disconnected)));
}

#[tokio::test]
async fn a_task_that_awaits_room_is_told_of_the_end() {
    let (said, mut told) = log();
    let server = Server::start(builder().full_outbox(FullOutbox::Refuse), |io| {
        let root = io.root();
        root.on_concurrent("wait", async move |socket: Socket| {
            while socket.emit("more", "x".repeat(EACH)).is_ok() {}
            said.say("full");
            said.say(format!("{:?}", socket.ready().await));
        });
    })
    .await;
    for leave in [true, false] {
        let mut client = server.client().await;
        client.send(r#"42["wait"]"#).await;
        assert_eq!(told.next().await, "full");
        if leave {
            // The server does not read a client that does not read, so the server must end this.
            server.io.root().except("nobody").disconnect(false).expect("there is room");
        } else {
            client.reset();
        }
        assert_eq!(told.next().await, "Err(Disconnected)");
    }
}

#[tokio::test]
async fn a_client_that_asks_much_and_is_answered_as_much_gets_all_answers() {
    const EVENTS: usize = 60;
    let echo = "x".repeat(500_000);
    let server = Server::workers(2, |io| {
        let root = io.root();
        root.on("ack", |Data(text): Data<String>| text);
        let all = root.clone();
        root.on("all", move |Data(text): Data<String>| all.emit("all", text));
    })
    .await;
    for kind in ["ack", "all"] {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
        let stream = WebSocketStream::connect(&url, &Config::default()).await.expect("a handshake");
        let (mut reader, mut writer) = stream.split();
        let asking = async {
            writer.send("40").await.expect("it is read");
            for n in 0..EVENTS {
                writer.send(format!(r#"42{n}["{kind}","{echo}"]"#)).await.expect("it is read");
            }
        };
        let reading = async {
            let mut answers = 0;
            while answers < EVENTS {
                let packet = reader.recv().await.expect("the connection lives").expect("it is kept");
                answers += usize::from(packet.as_bytes().len() > echo.len());
            }
        };
        soon("all answers", async { tokio::join!(asking, reading) }).await;
    }
}

/// A client of bare frames that answers pings only where the test says so.
async fn frames(server: &Server) -> WebSocketStream<ClientIo> {
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    soon("a connection", WebSocketStream::connect(&url, &Config::default()))
        .await
        .expect("the handshake is good")
}

async fn frame(client: &mut WebSocketStream<ClientIo>) -> String {
    match soon("a message", client.recv()).await.expect("it is open") {
        Some(OwnedMessage::Text(text)) => text,
        end => panic!("{end:?}"),
    }
}

/// Reads up to the next ping, and answers it.
async fn pinged(client: &mut WebSocketStream<ClientIo>) {
    while frame(client).await != "2" {}
    client.send("3").await.expect("it is open");
}

#[tokio::test]
async fn a_ping_that_meets_a_full_outbox_ends_no_session() {
    let (said, mut told) = log();
    let interval = Duration::from_millis(50);
    let server = Server::start(builder().ping_interval(interval), |io| {
        io.root().on("much", move |socket: Socket| {
            said.say("sent");
            socket.emit("much", "x".repeat(20 << 20))
        });
        io.root().on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut client = frames(&server).await;
    client.send("40").await.expect("it is open");
    pinged(&mut client).await;
    client.send(r#"42["much"]"#).await.expect("it is open");
    assert_eq!(told.next().await, "sent");
    // The worker pings the client meanwhile, as often as this one.
    let mut other = frames(&server).await;
    for _ in 0..3 {
        pinged(&mut other).await;
    }
    assert!(frame(&mut client).await.starts_with(r#"42["much","xxx"#));
    assert_eq!(frame(&mut client).await, "2");
    client.send("3").await.expect("it is open");
    client.send(r#"421["echo","here"]"#).await.expect("it is open");
    while frame(&mut client).await != r#"431["here"]"# {}
}
