//! The order of one socket's events: a waiting handler holds back later events, within limits.

use proptest::prelude::*;
use switchboard::{Data, Socket, Switchboard};

use crate::harness::{Polling, Server, Signal, log, soon};

/// How the handler of an event behaves.
#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    Ready,
    Waits(u8),
    Blocks,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        3 => Just(Way::Plain),
        2 => Just(Way::Ready),
        3 => (1u8..5).prop_map(Way::Waits),
        1 => Just(Way::Blocks),
    ]
}

fn set_up(io: &Switchboard) {
    let root = io.root();
    root.on("plain", |socket: Socket, Data(n): Data<usize>| socket.emit("done", n));
    root.on("ready", async |socket: Socket, Data(n): Data<usize>| socket.emit("done", n));
    root.on("waits", async |socket: Socket, Data((n, times)): Data<(usize, u8)>| {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
        socket.emit("done", n)
    });
    root.on("blocks", async |socket: Socket, Data(n): Data<usize>| -> switchboard::Result {
        // On its own thread, for as long as that takes.
        tokio::task::spawn_blocking(|| ()).await?;
        socket.emit("done", n)?;
        Ok(())
    });
    // On the path of every event, whether its handler runs at once or waits.
    root.on_any(async |_: Socket| tokio::task::yield_now().await);
    root.event_middleware(async |Data((n,)): Data<(usize,)>| {
        if n % 3 == 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn events_are_handled_in_the_order_of_their_arrival() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for workers in [1, 4] {
        let server = runtime.block_on(Server::workers(workers, set_up));
        let config = ProptestConfig::with_cases(24);
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let ways = prop::collection::vec(way(), 1..60);
        let outcome = runner.run(&ways, |ways| {
            runtime.block_on(async {
                let mut client = server.client().await;
                for (n, way) in ways.iter().enumerate() {
                    let event = match way {
                        Way::Plain => format!(r#"42["plain",{n}]"#),
                        Way::Ready => format!(r#"42["ready",{n}]"#),
                        Way::Waits(times) => format!(r#"42["waits",{n},{times}]"#),
                        Way::Blocks => format!(r#"42["blocks",{n}]"#),
                    };
                    client.send(&event).await;
                }
                for n in 0..ways.len() {
                    client.expect(&format!(r#"42["done",{n}]"#)).await;
                }
            });
            Ok(())
        });
        outcome.expect("in order");
    }
}

#[tokio::test]
async fn concurrent_handlers_hold_nothing_back() {
    let gate = Signal::new();
    let server = Server::workers(1, |io| {
        let root = io.root();
        let waits = gate.clone();
        root.on_concurrent("slow", async move |Data(n): Data<u32>| {
            waits.passed().await;
            n
        });
        root.on("quick", |Data(n): Data<u32>| n);
    })
    .await;
    let mut client = server.client().await;
    for n in 0..3 {
        client.send(&format!(r#"42{n}["slow",{n}]"#)).await;
    }
    client.ask(r#"429["quick",9]"#, "439[9]").await;
    gate.open();
    let mut done = Vec::new();
    for _ in 0..3 {
        done.push(client.text().await);
    }
    done.sort();
    assert_eq!(done, ["430[0]", "431[1]", "432[2]"]);
}

#[tokio::test]
async fn events_wait_until_on_connect_has_returned() {
    let gate = Signal::new();
    let server = Server::workers(1, |io| {
        let waits = gate.clone();
        io.root().on_connect(async move |socket: Socket| {
            waits.passed().await;
            socket.emit("welcome", ())
        });
        io.root().on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"420["echo","early"]"#).await;
    // When this is acknowledged, the event has been read.
    let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
    let answer = tokio::spawn(socket.emit_with_ack::<()>("question", ()));
    client.ask_back(r#"420["question"]"#, "430[]").await;
    soon("an answer", answer).await.expect("no panic").expect("an acknowledgement");
    gate.open();
    client.expect(r#"42["welcome"]"#).await;
    client.expect(r#"430["early"]"#).await;
}

#[tokio::test]
async fn a_client_is_held_back_while_too_much_waits_and_loses_nothing() {
    const EVENTS: usize = 600;
    for concurrent in [false, true] {
        let gate = Signal::new();
        let (said, mut told) = log();
        let builder = Switchboard::builder().workers(1).max_held_bytes(64 << 10);
        let server = Server::start(builder, |io| {
            let waits = gate.clone();
            let handler = async move |socket: Socket, Data((n, _)): Data<(usize, String)>| {
                said.say(n.to_string());
                waits.passed().await;
                socket.emit("done", n)
            };
            if concurrent {
                io.root().on_concurrent("load", handler);
            } else {
                io.root().on("load", handler);
            }
        })
        .await;
        let mut client = server.client().await;
        let filler = "x".repeat(64 << 10);
        let stuffed = async {
            for n in 0..EVENTS {
                client.send(&format!(r#"42["load",{n},"{filler}"]"#)).await;
            }
        };
        // More than the kernel's buffers hold: it is not complete before the handler goes on.
        {
            let mut stuffed = std::pin::pin!(stuffed);
            tokio::select! {
                () = &mut stuffed => panic!("the client was not held back"),
                first = told.next() => assert_eq!(first, "0"),
            }
            gate.open();
            // The answers meanwhile fit into the kernel's buffers.
            stuffed.await;
        }
        let mut done = Vec::new();
        for _ in 0..EVENTS {
            done.push(client.text().await);
        }
        if concurrent {
            done.sort_by_key(|packet| (packet.len(), packet.clone()));
        }
        assert_eq!(done, (0..EVENTS).map(|n| format!(r#"42["done",{n}]"#)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_client_is_held_back_until_all_its_sockets_have_room() {
    let (one, two) = (Signal::new(), Signal::new());
    let builder = Switchboard::builder().workers(1).max_held_bytes(1000);
    let server = Server::start(builder, |io| {
        for (name, gate) in [("/", one.clone()), ("/two", two.clone())] {
            io.of(name).on("load", async move |socket: Socket, Data((n, _)): Data<(usize, String)>| {
                gate.passed().await;
                socket.emit("done", n)
            });
        }
    })
    .await;
    let client = Polling::open(&server).await;
    client.post("40\x1e40/two,").await;
    let mut connected = Vec::new();
    while connected.len() < 2 {
        connected.extend(client.get().await);
    }
    let filler = "x".repeat(1000);
    let mut load = Vec::new();
    for n in 0..3 {
        load.push(format!(r#"42["load",{n},"{filler}"]"#));
        load.push(format!(r#"42/two,["load",{n},"{filler}"]"#));
    }
    let posted = {
        let client = client.clone();
        tokio::spawn(async move { client.post(&load.join("\x1e")).await })
    };
    // The POST is read when the first events have reached their handlers.
    one.open();
    let mut done = Vec::new();
    while done.len() < 3 {
        done.extend(client.get().await);
    }
    assert_eq!(done, [0, 1, 2].map(|n| format!(r#"42["done",{n}]"#)));
    assert!(!posted.is_finished(), "the other socket is full yet");
    two.open();
    soon("the POST", posted).await.expect("taken");
    let mut done = Vec::new();
    while done.len() < 3 {
        done.extend(client.get().await);
    }
    assert_eq!(done, [0, 1, 2].map(|n| format!(r#"42/two,["done",{n}]"#)));
}

/// The ways in which a client ends a socket with waiting events.
#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    Reset,
    Leave,
    Garbage,
    Poll,
}

#[tokio::test]
async fn events_that_wait_when_their_socket_ends_are_handled_and_then_its_end_is_told() {
    for (end, reason) in [
        (End::Close, "transport close"),
        (End::Reset, "transport error"),
        (End::Leave, "client namespace disconnect"),
        (End::Garbage, "parse error"),
        (End::Poll, "transport close"),
    ] {
        let gate = Signal::new();
        let (said, mut told) = log();
        let server = Server::workers(1, |io| {
            let root = io.root();
            root.on_connect(|socket: Socket| socket.join(["hall", "lobby"]));
            let (waits, slow) = (gate.clone(), said.clone());
            root.on("slow", async move |socket: Socket, Data(n): Data<usize>| {
                slow.say(format!("{n} begins"));
                waits.passed().await;
                slow.say(format!("{n} {}", if socket.is_connected() { "connected" } else { "gone" }));
                n
            });
            let quick = said.clone();
            root.on("quick", move |socket: Socket, Data(n): Data<usize>| {
                assert!(matches!(socket.emit("late", ()), Err(switchboard::EmitError::Disconnected)));
                quick.say(n.to_string());
                n
            });
            let failed = said.clone();
            root.on_error(move |_, error| failed.say(error.to_string()));
            let last = said.clone();
            root.on_disconnect(async move |socket: Socket, reason: switchboard::DisconnectReason| {
                let rooms = socket.rooms().await.expect("the rooms at its end");
                last.say(format!("{reason} in {}", rooms.len()));
            });
        })
        .await;
        let events = [r#"421["slow",1]"#, r#"422["quick",2]"#, r#"423["slow",3]"#, r#"42["quick",4]"#];
        if matches!(end, End::Poll) {
            let client = Polling::open(&server).await;
            client.post("40").await;
            client.post(&events.join("\x1e")).await;
            client.post("1").await;
        } else {
            let mut client = server.client().await;
            for event in events {
                client.send(event).await;
            }
            assert_eq!(told.next().await, "1 begins");
            match end {
                End::Close => client.close().await,
                End::Reset => client.reset(),
                End::Leave => client.send("41").await,
                _ => client.send("garbage").await,
            }
        }
        let root = server.io.root();
        // Nobody can find the socket any more.
        soon("its end", async {
            while !root.local_sockets().await.expect("sockets").is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        gate.open();
        let mut words = Vec::new();
        while !words.last().is_some_and(|word: &String| word.contains(" in ")) {
            words.push(told.next().await);
        }
        words.retain(|word| word != "1 begins");
        assert_eq!(words, ["1 gone", "2", "3 begins", "3 gone", "4", &format!("{reason} in 3")], "{end:?}");
    }
}

#[tokio::test]
async fn events_behind_a_disconnect_of_the_servers_are_not_handled() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("leave", async |socket: Socket| {
            tokio::task::yield_now().await;
            socket.disconnect(false)
        });
        let quick = said.clone();
        root.on("quick", move |_: Socket| quick.say("quick"));
        root.on("echo", |Data(text): Data<String>| text);
        root.on_disconnect(move |reason: switchboard::DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"42["leave"]"#).await;
    client.send(r#"42["quick"]"#).await;
    client.expect("41").await;
    // Events that it sent before it knew are not an error.
    client.send(r#"42["quick"]"#).await;
    client.send("41").await;
    client.join("/").await;
    client.ask(r#"421["echo","again"]"#, r#"431["again"]"#).await;
    assert_eq!(told.now(), ["server namespace disconnect"]);
}
