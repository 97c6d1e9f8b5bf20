//! Functions that observe a server: new namespaces, changes of rooms, and the events that are sent.

use switchboard::{Args, Binary, Data, Error, Event, RoomEvent, Socket, Switchboard};

use crate::harness::{Log, Server, log, soon};

/// Tells of each change of rooms in a namespace: `create`, `join`, `leave` or `delete`.
fn tell_rooms(io: &Switchboard, namespace: &str, said: &Log) {
    let said = said.clone();
    io.of(namespace).on_room_event(move |namespace, event| {
        let word = match event {
            RoomEvent::Created { .. } => "create",
            RoomEvent::Joined { .. } => "join",
            RoomEvent::Left { .. } => "leave",
            RoomEvent::Deleted { .. } => "delete",
            _ => "?",
        };
        let socket = event.socket().map(|id| format!(" {id}")).unwrap_or_default();
        said.say(format!("{}: {word} {}{socket}", namespace.name(), event.room()));
    });
    io.of(namespace).on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
    io.of(namespace).on("leave", |socket: Socket, Data(room): Data<String>| socket.leave(room));
}

#[tokio::test]
async fn rooms_are_created_and_deleted_once_for_all_workers() {
    let (said, mut told) = log();
    let server = Server::workers(4, |io| tell_rooms(io, "/", &said)).await;
    // Enough to be on all workers.
    let mut clients = Vec::new();
    for n in 0..12 {
        let mut client = server.open().await;
        let id = client.join("/").await;
        client.ask(r#"420["join","hall"]"#, "430[]").await;
        client.ask(r#"420["join","hall"]"#, "430[]").await;
        let created = (n == 0).then(|| "/: create hall".to_owned());
        let expected: Vec<_> = created.into_iter().chain([format!("/: join hall {id}")]).collect();
        assert_eq!(told.now(), expected);
        clients.push((client, id));
    }
    let (mut last, last_id) = clients.pop().expect("there are twelve");
    for (mut client, id) in clients {
        client.ask(r#"420["leave","hall"]"#, "430[]").await;
        assert_eq!(told.now(), [format!("/: leave hall {id}")]);
    }
    last.ask(r#"420["join","attic"]"#, "430[]").await;
    assert_eq!(told.now(), ["/: create attic".to_owned(), format!("/: join attic {last_id}")]);
    // A socket leaves its rooms with its namespace.
    last.close().await;
    let mut left = Vec::new();
    for _ in 0..4 {
        left.push(told.next().await);
    }
    left.sort();
    assert_eq!(
        left,
        [
            "/: delete attic",
            "/: delete hall",
            &format!("/: leave attic {last_id}"),
            &format!("/: leave hall {last_id}")
        ]
    );
}

#[tokio::test]
async fn room_events_are_those_of_their_own_namespace() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        tell_rooms(io, "/", &said);
        tell_rooms(io, "/chat", &said);
        io.of("/silent").on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        // A function that panics does not keep the others from being told.
        io.of("/chat").on_room_event(|_, _| panic!("on purpose"));
        tell_rooms(io, "/chat", &said);
    })
    .await;
    let mut client = server.open().await;
    for namespace in ["/silent", "/chat"] {
        client.join(namespace).await;
        client.ask(&format!(r#"42{namespace},0["join","a"]"#), &format!("43{namespace},0[]")).await;
    }
    let told = told.now();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|word| word.starts_with("/chat: ")), "{told:?}");
    let client = server.client().await;
    client.close().await;
}

#[tokio::test]
async fn each_new_namespace_is_told_once() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        io.of("/before");
        let say = said.clone();
        io.on_new_namespace(move |namespace| say.say(namespace.name()));
        io.on_new_namespace(|_| panic!("on purpose"));
        io.on_new_namespace(move |namespace| said.say(format!("also {}", namespace.name())));
    })
    .await;
    for name in ["/a", "b", "/a", "/before", "/"] {
        server.io.of(name);
    }
    assert_eq!(told.now(), ["/a", "also /a", "/b", "also /b"]);
    let mut all: Vec<_> =
        server.io.namespaces().iter().map(|namespace| namespace.name().to_owned()).collect();
    all.sort();
    assert_eq!(all, ["/", "/a", "/b", "/before"]);
}

fn tell_outgoing(said: &Log, word: &'static str) -> impl Fn(Event, Args) + Clone + Send + Sync + 'static {
    let said = said.clone();
    move |Event(event), args| {
        let attachments: usize = args.attachments().iter().map(bytes::Bytes::len).sum();
        said.say(format!("{word}{event}{}+{attachments}", args.as_json()));
    }
}

#[tokio::test]
async fn handlers_of_outgoing_events_see_each_event_that_is_sent_to_a_socket() {
    for workers in [1, 3] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| {
            let (first, second) = (tell_outgoing(&said, "1 "), tell_outgoing(&said, "2 "));
            io.root().on_any_outgoing(second).prepend_any_outgoing(first);
            io.root().on("ask", |socket: Socket| {
                socket.emit("told", (1, "x"))?;
                Ok::<_, Error>("an acknowledgement")
            });
            io.root().on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        })
        .await;
        let mut client = server.client().await;
        client.send(r#"420["ask"]"#).await;
        client.expect(r#"42["told",1,"x"]"#).await;
        client.expect(r#"430["an acknowledgement"]"#).await;
        assert_eq!(told.now(), [r#"1 told[1,"x"]+0"#, r#"2 told[1,"x"]+0"#]);
        // From another thread, with an acknowledgement, binary, and volatile.
        let socket = server.io.root().local_sockets().await.expect("sockets").remove(0);
        socket.emit("elsewhere", ()).expect("room");
        client.expect(r#"42["elsewhere"]"#).await;
        assert_eq!(told.now(), ["1 elsewhere[]+0", "2 elsewhere[]+0"]);
        let answer = socket.emit_with_ack::<u8>("question", Binary::from(vec![b'x']));
        client.expect(r#"451-0["question",{"_placeholder":true,"num":0}]"#).await;
        assert_eq!(client.next().await.as_deref(), Some("<x>"));
        client.send("430[7]").await;
        assert_eq!(soon("an answer", answer).await.expect("it answers"), 7);
        let binary = r#"question[{"_placeholder":true,"num":0}]+1"#;
        assert_eq!(told.now(), [format!("1 {binary}"), format!("2 {binary}")]);
        socket.volatile().emit("volatile", ()).expect("room");
        client.expect(r#"42["volatile"]"#).await;
        assert_eq!(told.now(), ["1 volatile[]+0", "2 volatile[]+0"]);
        // A broadcast is told for each socket that it is for.
        let mut others = [server.client().await, server.client().await];
        others[0].ask(r#"420["join","hall"]"#, "430[]").await;
        told.now();
        server.io.root().emit("all", 1).expect("room");
        for client in others.iter_mut().chain([&mut client]) {
            client.expect(r#"42["all",1]"#).await;
        }
        assert_eq!(told.now().len(), 6);
        server.io.root().to("hall").except(socket.id()).emit("hall", 1).expect("room");
        others[0].expect(r#"42["hall",1]"#).await;
        assert_eq!(told.now(), ["1 hall[1]+0", "2 hall[1]+0"]);
        server.io.root().off_any_outgoing().emit("silent", ()).expect("room");
        client.expect(r#"42["silent"]"#).await;
        assert!(told.now().is_empty());
    }
}

#[tokio::test]
async fn handlers_of_one_sockets_outgoing_events_see_no_other() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let (one, early, all) =
            (tell_outgoing(&said, "one "), tell_outgoing(&said, "early "), tell_outgoing(&said, "all "));
        io.root().on_any_outgoing(all);
        io.root().on("observe", move |socket: Socket| {
            socket.on_any_outgoing(one.clone())?;
            socket.prepend_any_outgoing(early.clone())
        });
        io.root().on("off", |socket: Socket| socket.off_any_outgoing());
    })
    .await;
    let mut clients = [server.client().await, server.client().await];
    clients[0].ask(r#"420["observe"]"#, "430[]").await;
    server.io.root().emit("x", ()).expect("room");
    for client in &mut clients {
        client.expect(r#"42["x"]"#).await;
    }
    let mut words = told.now();
    words.sort();
    assert_eq!(words, ["all x[]+0", "all x[]+0", "early x[]+0", "one x[]+0"]);
    clients[0].ask(r#"420["off"]"#, "430[]").await;
    server.io.root().emit("y", ()).expect("room");
    clients[0].expect(r#"42["y"]"#).await;
    clients[1].expect(r#"42["y"]"#).await;
    assert_eq!(told.now(), ["all y[]+0", "all y[]+0"]);
}

#[tokio::test]
async fn a_handler_of_outgoing_events_may_fail_wait_emit_and_disconnect() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        let say = said.clone();
        root.on_error(move |context, error| {
            say.say(format!("{} {}: {error}", context.registered_by(), context.event().unwrap_or_default()));
        });
        root.on_any_outgoing(async move |Event(event): Event| {
            tokio::task::yield_now().await;
            said.say(format!("waited {event}"));
        });
        root.on_any_outgoing(|socket: Socket, Event(event): Event| {
            // What it sends calls no such handler, or this would not end.
            socket.emit("before", &event)?;
            match &*event {
                "fail" => Err(Error::new("on purpose")),
                "panic" => panic!("on purpose"),
                "leave" => Ok(socket.disconnect(false)?),
                _ => Ok(()),
            }
        });
    })
    .await;
    let mut client = server.client().await;
    let socket = server.io.root().local_sockets().await.expect("sockets").remove(0);
    for event in ["plain", "fail", "panic"] {
        socket.emit(event, ()).expect("room");
        client.expect(&format!(r#"42["before","{event}"]"#)).await;
        client.expect(&format!(r#"42["{event}"]"#)).await;
        let mut words = vec![told.next().await];
        if event == "fail" {
            words.push(told.next().await);
            words.sort();
            assert_eq!(words.remove(0), "on_any_outgoing fail: on purpose");
        }
        assert_eq!(words, [format!("waited {event}")]);
    }
    socket.emit("leave", ()).expect("room");
    client.expect(r#"42["before","leave"]"#).await;
    client.expect("41").await;
    // The event that it was about does not follow.
    client.join("/").await;
}
