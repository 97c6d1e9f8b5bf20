//! Acknowledgements, in both directions.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use switchboard::{Ack, AckError, Args, Binary, Data, Error, Socket, Switchboard, Value};

use crate::harness::{Client, Server, Signal, log, soon};

#[derive(Serialize)]
struct Picture {
    name: &'static str,
    bytes: Binary,
}

fn bytes(text: &'static str) -> Binary {
    Binary::from(text.as_bytes().to_vec())
}

#[tokio::test]
async fn the_result_of_a_handler_is_the_acknowledgement() {
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("value", |_: Socket| 7);
        root.on("text", |_: Socket| "seven");
        root.on("tuple", |_: Socket| (1, "a", [true]));
        root.on("nothing", |_: Socket| ());
        root.on("none", |_: Socket| None::<u8>);
        root.on("some", |_: Socket| Some(1));
        root.on("ok", |_: Socket| -> switchboard::Result<_> { Ok(("fine", 1)) });
        root.on("ok-nothing", |socket: Socket| socket.join("room"));
        root.on("json", |_: Socket| json!({"a": [1, null]}));
        root.on("list", |_: Socket| vec![1, 2]);
        root.on("args", |args: Args| args);
        root.on("async", async |Data((a, b)): Data<(i64, i64)>| a + b);
        root.on("async-ok", async |_: Socket| -> switchboard::Result<_> {
            tokio::task::yield_now().await;
            Ok("late")
        });
        root.on("no-arguments", || "fine");
        root.on("binary", |_: Socket| bytes("one"));
        root.on("binary-first", |_: Socket| (bytes("one"), 2));
        root.on("binary-deep", |_: Socket| {
            (1, vec![Picture { name: "p", bytes: bytes("one") }], Some(bytes("two")))
        });
        root.on("binary-value", |args: Args| args.values().map(Value::Array));
    })
    .await;
    let mut client = server.client().await;
    let cases: &[(&str, &[&str])] = &[
        (r#"["value"]"#, &["431[7]"]),
        (r#"["text"]"#, &[r#"431["seven"]"#]),
        (r#"["tuple"]"#, &[r#"431[1,"a",[true]]"#]),
        (r#"["nothing"]"#, &["431[]"]),
        (r#"["none"]"#, &["431[null]"]),
        (r#"["some"]"#, &["431[1]"]),
        (r#"["ok"]"#, &[r#"431["fine",1]"#]),
        (r#"["ok-nothing"]"#, &["431[]"]),
        (r#"["json"]"#, &[r#"431[{"a":[1,null]}]"#]),
        (r#"["list"]"#, &["431[[1,2]]"]),
        (r#"["args",{"a":1},[2],null]"#, &[r#"431[{"a":1},[2],null]"#]),
        (r#"["args"]"#, &["431[]"]),
        (r#"["async",20,22]"#, &["431[42]"]),
        (r#"["async-ok"]"#, &[r#"431["late"]"#]),
        (r#"["no-arguments",1,2]"#, &[r#"431["fine"]"#]),
        (r#"["binary"]"#, &[r#"461-1[{"_placeholder":true,"num":0}]"#, "<one>"]),
        (r#"["binary-first"]"#, &[r#"461-1[{"_placeholder":true,"num":0},2]"#, "<one>"]),
        (
            r#"["binary-deep"]"#,
            &[
                r#"462-1[1,[{"name":"p","bytes":{"_placeholder":true,"num":0}}],{"_placeholder":true,"num":1}]"#,
                "<one>",
                "<two>",
            ],
        ),
    ];
    for (event, answer) in cases {
        client.send(&format!("421{event}")).await;
        for packet in *answer {
            client.expect(packet).await;
        }
        // If the client does not ask for it, it is not sent.
        client.send(&format!("42{event}")).await;
        client.ask(r#"422["value"]"#, "432[7]").await;
    }
    for event in ["args", "binary-value"] {
        client
            .send(&format!(
                r#"452-3["{event}",[{{"_placeholder":true,"num":1}}],{{"_placeholder":true,"num":0}}]"#
            ))
            .await;
        client.send_binary(b"zero").await;
        client.send_binary(b"one").await;
        let packet = client.text().await;
        assert!(packet.starts_with("462-3["), "{packet}");
        // Numbered anew, in their order in the text.
        let mut got = [client.text().await, client.text().await];
        got.sort();
        assert_eq!(got, ["<one>", "<zero>"]);
    }
}

#[tokio::test]
async fn an_error_is_reported_and_acknowledges_nothing() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("fails", |_: Socket| Err::<u8, _>(Error::new("broken")));
        root.on("fails-async", async |_: Socket| -> switchboard::Result<u8> {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("disk").into())
        });
        root.on("typed", |Data(n): Data<u8>| n);
        root.on("cannot-be-written", |_: Socket| std::collections::HashMap::from([((1, 2), 3)]));
        root.on("fine", |_: Socket| 1);
        root.on_error(move |_, error| said.say(error.to_string()));
    })
    .await;
    let mut client = server.client().await;
    let cases = [
        (r#"["fails"]"#, "broken"),
        (r#"["fails-async"]"#, "disk"),
        (r#"["typed","text"]"#, "arguments of another type"),
        (r#"["cannot-be-written"]"#, "arguments cannot be serialised"),
    ];
    for (event, error) in cases {
        client.send(&format!("421{event}")).await;
        client.ask(r#"422["fine"]"#, "432[1]").await;
        let reported = told.next().await;
        assert!(reported.starts_with(error), "{reported}");
    }
}

#[tokio::test]
async fn an_acknowledgement_may_be_sent_by_hand_at_any_time() {
    for workers in [1, 4] {
        let gate = Signal::new();
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| {
            let (root, gate, said) = (io.root(), gate.clone(), said.clone());
            root.on("later", move |ack: Ack| {
                said.say(format!("{}", ack.is_wanted()));
                let gate = gate.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(gate.passed());
                    ack.send(("by hand", bytes("b")))
                });
                "not this"
            });
            root.on("dropped", |_: Ack| "not this either");
            root.on("echo", |Data(n): Data<u8>| n);
        })
        .await;
        let mut client = server.client().await;
        client.send(r#"421["later"]"#).await;
        client.send(r#"422["dropped"]"#).await;
        client.ask(r#"423["echo",3]"#, "433[3]").await;
        client.send(r#"42["later"]"#).await;
        assert_eq!([told.next().await, told.next().await], ["true", "false"]);
        gate.open();
        client.expect(r#"461-1["by hand",{"_placeholder":true,"num":0}]"#).await;
        client.expect("<b>").await;
        client.ask(r#"424["echo",4]"#, "434[4]").await;
    }
}

async fn one(server: &Server) -> (Client, Socket) {
    let client = server.client().await;
    let sockets = server.io.root().local_sockets().await.expect("sockets");
    (client, sockets.into_iter().next_back().expect("one"))
}

#[tokio::test]
async fn acknowledgements_are_typed_and_come_once() {
    let server = Server::workers(1, |_| ()).await;
    let (mut client, socket) = one(&server).await;
    let tuple = socket.emit_with_ack::<(String, i32)>("a", 1);
    let wrong = socket.emit_with_ack::<u8>("b", ());
    let binary = socket.emit_with_ack::<(Binary, u8)>("c", bytes("x"));
    let value = socket.emit_with_ack::<(u8, Value)>("d", ());
    let dropped = socket.emit_with_ack::<u8>("e", ());
    drop(dropped);
    client.expect(r#"420["a",1]"#).await;
    client.expect(r#"421["b"]"#).await;
    client.expect(r#"451-2["c",{"_placeholder":true,"num":0}]"#).await;
    client.expect("<x>").await;
    client.expect(r#"423["d"]"#).await;
    client.expect(r#"424["e"]"#).await;
    // Unknown ids, no id, and an id that nobody awaits: all are ignored.
    for packet in ["43999[1]", "43[1]", "434[1]", r#"430["first",1]"#, r#"430["second",2]"#, r#"431["text"]"#]
    {
        client.send(packet).await;
    }
    client.send(r#"461-2[{"_placeholder":true,"num":0},7]"#).await;
    client.send_binary(b"pong").await;
    client.send("433[1,[2]]").await;
    assert_eq!(soon("an answer", tuple).await.expect("in time"), ("first".to_owned(), 1));
    assert!(matches!(soon("an answer", wrong).await, Err(AckError::Arguments(_))));
    let (pong, n) = soon("an answer", binary).await.expect("in time");
    assert_eq!((&pong[..], n), (&b"pong"[..], 7));
    let (one, list) = soon("an answer", value).await.expect("in time");
    assert!(one == 1 && matches!(list, Value::Array(list) if list.len() == 1));
}

#[tokio::test]
async fn ids_of_acknowledgements_never_collide() {
    for workers in [1, 4] {
        let server = Server::workers(workers, |_| ()).await;
        let (mut client, socket) = one(&server).await;
        let threads = [0, 1, 2].map(|thread| {
            let socket = socket.clone();
            std::thread::spawn(move || {
                (0..100).map(|n| socket.emit_with_ack::<(u32, u32)>("q", (thread, n))).collect::<Vec<_>>()
            })
        });
        let awaited = threads.map(|thread| thread.join().expect("no panic"));
        let mut questions = Vec::new();
        for _ in 0..300 {
            let question = client.text().await;
            let (id, args) =
                question.strip_prefix("42").and_then(|rest| rest.split_once(r#"["q","#)).expect("a question");
            questions.push((id.to_owned(), args.to_owned()));
        }
        assert_eq!(questions.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 300);
        for (id, args) in questions.iter().rev() {
            client.send(&format!("43{id}[{args}")).await;
        }
        for (thread, awaited) in (0..).zip(awaited) {
            for (n, answer) in (0..).zip(awaited) {
                assert_eq!(soon("an answer", answer).await.expect("in time"), (thread, n));
            }
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_is_an_error() {
    let server = Server::start(Switchboard::builder().workers(1).max_pending_acks(3), |io| {
        io.root().on("echo", |_: Socket| ());
    })
    .await;
    let (mut client, socket) = one(&server).await;
    let timeout = Duration::from_millis(20);
    let late = socket.timeout(timeout).emit_with_ack::<()>("late", ());
    assert!(matches!(soon("a time-out", late).await, Err(AckError::Timeout(after)) if after == timeout));
    client.expect(r#"420["late"]"#).await;
    client.send("430[]").await;
    // A time-out beyond the range of the clock, and the greatest number that may be awaited.
    let for_ever: Vec<_> =
        (0..3).map(|_| socket.timeout(Duration::MAX).emit_with_ack::<()>("q", ())).collect();
    assert!(matches!(soon("refusal", socket.emit_with_ack::<()>("q", ())).await, Err(AckError::TooMany(3))));
    // Abandoned ones make room.
    let mut for_ever = for_ever.into_iter();
    drop(for_ever.next());
    let more = socket.emit_with_ack::<()>("more", ());
    for id in 1..4 {
        client.expect(&format!(r#"42{id}["q"]"#)).await;
    }
    client.ask_back(r#"424["more"]"#, "434[]").await;
    soon("an answer", more).await.expect("in time");
    client.close().await;
    for answer in for_ever {
        assert!(matches!(soon("the end", answer).await, Err(AckError::Disconnected)));
    }
    let after = soon("the end", socket.emit_with_ack::<()>("q", ())).await;
    assert!(matches!(after, Err(AckError::Emit(switchboard::EmitError::Disconnected))));
}

#[tokio::test]
async fn a_broadcast_is_acknowledged_by_each_of_its_sockets() {
    for workers in [1, 4] {
        let server = Server::workers(workers, |io| {
            io.root().on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        })
        .await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = server.open().await;
            let id = client.join("/").await;
            client.ask(r#"420["join","hall"]"#, "430[]").await;
            clients.push((client, id));
        }
        let mut outside = server.client().await;
        let hall = server.io.root().to(["hall", "hall"]).except(clients[4].1.as_str());
        let answers = hall.clone().emit_with_ack::<u32>("vote", ("?", Binary::from(vec![b'x'])));
        for (n, (client, _)) in clients.iter_mut().take(4).enumerate() {
            client.expect(r#"451-0["vote","?",{"_placeholder":true,"num":0}]"#).await;
            assert_eq!(client.next().await.as_deref(), Some("<x>"));
            match n {
                // One client leaves, and one answers with another type.
                2 => client.send("41").await,
                3 => client.send(r#"430["none"]"#).await,
                _ => client.send(&format!("430[{n}]")).await,
            }
        }
        let answers = soon("all answers", answers).await.expect("room");
        assert_eq!(answers.len(), 4);
        for (n, (_, id)) in clients.iter().take(4).enumerate() {
            let (_, answer) = answers.iter().find(|(of, _)| of.as_str() == id).expect("its answer");
            match n {
                2 => assert!(matches!(answer, Err(AckError::Disconnected))),
                3 => assert!(matches!(answer, Err(AckError::Arguments(_)))),
                _ => assert_eq!(*answer.as_ref().expect("in time"), n as u32),
            }
        }
        // The excluded socket and the socket outside the room were not asked.
        server.io.root().emit("last", ()).expect("room");
        clients[4].0.expect(r#"42["last"]"#).await;
        outside.expect(r#"42["last"]"#).await;
        let late = hall.timeout(Duration::from_millis(20)).emit_with_ack::<u32>("vote", ());
        let late = soon("time-outs", late).await.expect("room");
        assert_eq!(late.len(), 3);
        assert!(late.iter().all(|(_, answer)| matches!(answer, Err(AckError::Timeout(_)))));
    }
}

#[tokio::test]
async fn acknowledgements_of_a_broadcast_that_is_over_are_kept_no_longer() {
    let server = Server::start(Switchboard::builder().workers(1).max_pending_acks(1), |_| {}).await;
    let mut client = server.client().await;
    let all = server.io.root().all();
    let ask =
        |timeout: u64| all.clone().timeout(Duration::from_millis(timeout)).emit_with_ack::<u8>("ask", ());
    let answers = soon("a time-out", ask(20)).await.expect("room");
    assert!(matches!(answers[0].1, Err(AckError::Timeout(_))));
    // There is room for another one, and for no third.
    let (second, third) = (ask(60_000), ask(60_000));
    let third = soon("a refusal", third).await.expect("room");
    assert!(matches!(third[0].1, Err(AckError::TooMany(1))));
    // One that nobody awaits makes room.
    drop(second);
    let fourth = ask(60_000);
    client.expect(r#"420["ask"]"#).await;
    client.expect(r#"421["ask"]"#).await;
    client.ask_back(r#"422["ask"]"#, "432[7]").await;
    assert_eq!(*soon("an answer", fourth).await.expect("room")[0].1.as_ref().expect("in time"), 7);
}
