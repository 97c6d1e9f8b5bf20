//! Namespaces that clients make by connecting: parents and their children.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use switchboard::{
    Builder, Data, Error, Event, Namespace, NamespacePattern, NamespaceRequest, RoomEvent, Socket,
    Switchboard,
};

use crate::harness::{Client, Server, Signal, log, soon};

fn numbers() -> NamespacePattern {
    NamespacePattern::regex(r"^/dynamic-\d+$").expect("a regular expression")
}

fn with_cleanup(workers: usize) -> Builder {
    Switchboard::builder().workers(workers).cleanup_empty_child_namespaces(true)
}

fn names(io: &Switchboard) -> Vec<String> {
    let mut names: Vec<_> = io.namespaces().iter().map(|namespace| namespace.name().to_owned()).collect();
    names.sort();
    names
}

/// Expects that a namespace is refused.
async fn refused(client: &mut Client, namespace: &str, message: &str) {
    client.ask(&format!("40{namespace},"), &format!(r#"44{namespace},{{"message":"{message}"}}"#)).await;
}

#[tokio::test]
async fn a_client_makes_the_namespace_that_it_connects_to() {
    let server = Server::workers(1, |io| {
        let parent = io.of_pattern(numbers());
        parent.on_connect(|socket: Socket| socket.emit("hello", socket.namespace().name()));
        parent.on("sum", |Data((a, b)): Data<(u8, u8)>| a + b);
        io.of_pattern(NamespacePattern::prefix("room-")).on_connect(|socket: Socket| socket.emit("room", ()));
    })
    .await;
    let mut client = server.open().await;
    for name in ["/dynamic-1", "/dynamic-22"] {
        client.join(name).await;
        client.expect(&format!(r#"42{name},["hello","{name}"]"#)).await;
        client.ask(&format!(r#"42{name},0["sum",1,2]"#), &format!("43{name},0[3]")).await;
    }
    client.join("/room-x").await;
    client.expect(r#"42/room-x,["room"]"#).await;
    for name in ["/dynamic-", "/dynamic-x", "/other", "/room-"] {
        refused(&mut client, name, "Invalid namespace").await;
    }
    assert_eq!(names(&server.io), ["/", "/dynamic-1", "/dynamic-22", "/room-x"]);
    let child = server.io.of("/dynamic-1");
    assert_eq!(child.parent().expect("it is a child").children().len(), 2);
    assert!(server.io.root().parent().is_none() && server.io.root().children().is_empty());
    // Children are apart from one another.
    child.emit("one", ()).expect("room");
    server.io.of("/dynamic-22").emit("other", ()).expect("room");
    client.expect(r#"42/dynamic-1,["one"]"#).await;
    client.expect(r#"42/dynamic-22,["other"]"#).await;
    // The server's own code makes a child, too.
    let made = server.io.of("dynamic-3");
    assert_eq!(made.parent().expect("it is a child").children().len(), 3);
    client.join("/dynamic-3").await;
    client.expect(r#"42/dynamic-3,["hello","/dynamic-3"]"#).await;
}

#[tokio::test]
async fn functions_of_a_parent_serve_its_children_and_those_of_a_child_come_after_them() {
    let (said, mut told) = log();
    let say = |word: &'static str| {
        let said = said.clone();
        move |Event(event): Event| said.say(format!("{word} {event}"))
    };
    let server = Server::workers(1, |_| {}).await;
    let parent = server.io.of_pattern(numbers());
    let mut client = server.open().await;
    client.join("/dynamic-1").await;
    let child = server.io.of("/dynamic-1");
    // Those that are registered later serve the children that are there.
    child.on_any(say("child any"));
    parent.on_any(say("any")).on_any_outgoing(say("out")).on("x", || "parent").on("y", || "parent");
    parent.on_error_reply(|_, error| error.public_message().to_owned());
    child.on("x", || "child").on("fail", || Err::<(), _>(Error::new("on purpose")));
    client.ask(r#"42/dynamic-1,0["x"]"#, r#"43/dynamic-1,0["child"]"#).await;
    client.ask(r#"42/dynamic-1,1["y"]"#, r#"43/dynamic-1,1["parent"]"#).await;
    client.ask(r#"42/dynamic-1,2["fail"]"#, r#"43/dynamic-1,2["on purpose"]"#).await;
    let words = ["x", "y", "fail"].map(|event| [format!("any {event}"), format!("child any {event}")]);
    assert_eq!(told.now(), words.concat());
    child.emit("z", ()).expect("room");
    client.expect(r#"42/dynamic-1,["z"]"#).await;
    assert_eq!(told.now(), ["out z"]);
    // Other children know nothing of it. What is taken back from the child was its own.
    client.join("/dynamic-2").await;
    client.ask(r#"42/dynamic-2,0["x"]"#, r#"43/dynamic-2,0["parent"]"#).await;
    server.io.of("/dynamic-2").emit("z", ()).expect("room");
    client.expect(r#"42/dynamic-2,["z"]"#).await;
    assert_eq!(told.now(), ["any x", "out z"]);
    child.off("x").off("y").off_any();
    client.ask(r#"42/dynamic-1,0["x"]"#, r#"43/dynamic-1,0["parent"]"#).await;
    parent.off("x").off_any();
    client.send(r#"42/dynamic-1,0["x"]"#).await;
    client.ask(r#"42/dynamic-1,1["y"]"#, r#"43/dynamic-1,1["parent"]"#).await;
    assert_eq!(told.now(), ["any x"]);
}

#[tokio::test]
async fn room_events_of_a_parent_are_those_of_its_children() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let parent = io.of_pattern(numbers());
        parent.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
    })
    .await;
    let parent = server.io.of_pattern(NamespacePattern::prefix("/never-"));
    assert!(parent.children().is_empty());
    let mut client = server.open().await;
    client.join("/dynamic-1").await;
    let parent = server.io.of("/dynamic-1").parent().expect("it is a child");
    parent.on_room_event(move |namespace, event| {
        if let RoomEvent::Created { room } = event {
            said.say(format!("{} {room}", namespace.name()));
        }
    });
    client.join("/dynamic-2").await;
    for name in ["/dynamic-1", "/dynamic-2"] {
        client.ask(&format!(r#"42{name},0["join","hall"]"#), &format!("43{name},0[]")).await;
        assert_eq!(told.now(), [format!("{name} hall")]);
    }
}

#[tokio::test]
async fn a_function_decides_by_name_auth_and_handshake() {
    let server = Server::workers(1, |io| {
        let one = io.of_function(async |request: NamespaceRequest| {
            assert_ne!(request.name(), "/panic");
            tokio::task::yield_now().await;
            let word: Option<String> = request.auth_as().ok();
            request.handshake().query("key").as_deref() == Some("7")
                && word.is_none_or(|word| word != "no")
                && request.name().starts_with("/a-")
        });
        one.on_connect(|socket: Socket| socket.emit("one", ()));
        // A function that panics allows nothing, and those behind it are asked.
        io.of_function(|_| -> std::future::Ready<bool> { panic!("on purpose") });
        let two = io.of_function(|request| std::future::ready(request.auth() == r#"{"b":1}"#));
        two.on_connect(|socket: Socket| socket.emit("two", ()));
    })
    .await;
    let mut client = server.open_at("&key=7").await;
    client.join("/a-1").await;
    client.expect(r#"42/a-1,["one"]"#).await;
    client.send(r#"40/b-1,{"b":1}"#).await;
    assert!(client.text().await.starts_with("40/b-1,{"));
    client.expect(r#"42/b-1,["two"]"#).await;
    for name in ["/b-2", "/panic"] {
        refused(&mut client, name, "Invalid namespace").await;
    }
    let mut stranger = server.open().await;
    refused(&mut stranger, "/a-2", "Invalid namespace").await;
    // One that is there is not asked for.
    stranger.join("/a-1").await;
}

#[tokio::test]
async fn a_client_may_leave_ask_again_and_go_while_a_function_decides() {
    let (asked, decide) = (Arc::new(AtomicUsize::new(0)), Signal::new());
    let (count, gate) = (Arc::clone(&asked), decide.clone());
    let (said, mut told) = log();
    let server = Server::workers(1, move |io| {
        let parent = io.of_function(move |request: NamespaceRequest| {
            count.fetch_add(1, Ordering::Relaxed);
            said.say(request.name());
            let gate = gate.clone();
            async move {
                gate.passed().await;
                true
            }
        });
        parent.on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut stays = server.client().await;
    // Asked twice before it is answered: one answer is for both.
    stays.send("40/slow,").await;
    stays.send("40/slow,").await;
    assert_eq!(told.next().await, "/slow");
    // Other namespaces go on.
    stays.send("41").await;
    stays.join("/").await;
    let mut leaves = server.client().await;
    leaves.send("40/slow,").await;
    assert_eq!(told.next().await, "/slow");
    leaves.send("41/slow,").await;
    leaves.send("41").await;
    leaves.join("/").await;
    let goes = server.client().await;
    let mut goes = goes;
    goes.send("40/slow,").await;
    assert_eq!(told.next().await, "/slow");
    goes.close().await;
    decide.open();
    let answer = stays.text().await;
    assert!(answer.starts_with("40/slow,{"), "{answer}");
    stays.ask(r#"42/slow,0["echo","a"]"#, r#"43/slow,0["a"]"#).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    // The one that left is not in it.
    leaves.send("41").await;
    leaves.join("/").await;
    assert_eq!(server.io.of("/slow").count().await.expect("room"), 1);
}

#[tokio::test]
async fn a_namespace_is_made_once_under_concurrent_first_connects() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let server = Server::workers(4, move |io| {
        io.on_new_namespace(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        io.of_pattern(numbers());
        io.of_function(async |request: NamespaceRequest| {
            tokio::task::yield_now().await;
            request.name().starts_with("/asked-")
        });
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(server.open().await);
    }
    for (round, name) in ["/dynamic-1", "/asked-1", "/dynamic-2", "/asked-2"].into_iter().enumerate() {
        let joining = clients.into_iter().map(|mut client| {
            tokio::spawn(async move {
                client.join(name).await;
                client
            })
        });
        let joining: Vec<_> = joining.collect();
        clients = Vec::new();
        for joining in joining {
            clients.push(joining.await.expect("no panic"));
        }
        assert_eq!(made.load(Ordering::Relaxed), round + 1);
        server.io.of(name).emit("all", ()).expect("room");
        for client in &mut clients {
            client.expect(&format!(r#"42{name},["all"]"#)).await;
        }
    }
}

#[tokio::test]
async fn what_is_sent_to_a_parent_goes_to_all_its_children() {
    for workers in [1, 3] {
        let server = Server::workers(workers, |io| {
            io.of_pattern(numbers()).on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        })
        .await;
        let mut clients = Vec::new();
        for name in ["/dynamic-1", "/dynamic-2", "/dynamic-2"] {
            let mut client = server.open().await;
            client.join(name).await;
            clients.push((client, name));
        }
        let (client, name) = &mut clients[1];
        client.ask(&format!(r#"42{name},0["join","hall"]"#), &format!("43{name},0[]")).await;
        let mut outside = server.client().await;
        let parent: Namespace = server.io.of("/dynamic-1").parent().expect("it is a child");
        parent.emit("all", 1).expect("room");
        parent.to("hall").emit("hall", ()).expect("room");
        parent.except("hall").volatile().emit("others", ()).expect("room");
        for (n, (client, name)) in clients.iter_mut().enumerate() {
            client.expect(&format!(r#"42{name},["all",1]"#)).await;
            let second = if n == 1 { "hall" } else { "others" };
            client.expect(&format!(r#"42{name},["{second}"]"#)).await;
        }
        assert_eq!(parent.count().await.expect("room"), 3);
        assert_eq!(parent.fetch_sockets().await.expect("room").len(), 3);
        assert_eq!(parent.local_sockets().await.expect("room").len(), 3);
        parent.all().join("all").expect("room");
        parent.to("hall").leave("hall").expect("room");
        assert_eq!(parent.rooms().await.expect("room"), ["all".into()]);
        let answers = parent.to("all").emit_with_ack::<usize>("ask", ());
        for (n, (client, name)) in clients.iter_mut().enumerate() {
            client.ask_back(&format!(r#"42{name},0["ask"]"#), &format!("43{name},0[{n}]")).await;
        }
        let answers = soon("all answers", answers).await.expect("room");
        let mut answers: Vec<_> =
            answers.into_iter().map(|(_, answer)| answer.expect("it answers")).collect();
        answers.sort_unstable();
        assert_eq!(answers, [0, 1, 2]);
        parent.all().disconnect(false).expect("room");
        for (client, name) in &mut clients {
            client.expect(&format!("41{name},")).await;
        }
        server.io.root().emit("end", ()).expect("room");
        outside.expect(r#"42["end"]"#).await;
        assert_eq!(parent.count().await.expect("room"), 0);
    }
}

/// Waits until the server has no other namespace than `/`.
async fn until_removed(server: &Server) {
    let removed = async {
        while names(&server.io) != ["/"] {
            tokio::task::yield_now().await;
        }
    };
    soon("the namespaces' end", removed).await;
}

#[tokio::test]
async fn an_empty_child_is_removed_by_option_alone() {
    let set_up = |io: &Switchboard| {
        io.of_pattern(numbers());
        io.of("/fixed");
    };
    let keeps = Server::workers(1, set_up).await;
    let mut client = keeps.open().await;
    client.join("/dynamic-1").await;
    client.send("41/dynamic-1,").await;
    client.join("/fixed").await;
    assert_eq!(names(&keeps.io), ["/", "/dynamic-1", "/fixed"]);
    let (said, mut told) = log();
    let server = Server::start(with_cleanup(1), |io| {
        let parent = io.of_pattern(numbers());
        parent.middleware(
            |socket: Socket| {
                if socket.auth() == "{}" { Ok(()) } else { Err(Error::new("no")) }
            },
        );
        parent.on_disconnect(move |socket: Socket| said.say(socket.namespace().name()));
    })
    .await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    for client in [&mut one, &mut two] {
        client.join("/dynamic-1").await;
        client.join("/dynamic-2").await;
    }
    let before = server.io.of("/dynamic-1");
    before.on("own", || 1);
    one.send("41/dynamic-1,").await;
    assert_eq!(told.next().await, "/dynamic-1");
    assert_eq!(names(&server.io), ["/", "/dynamic-1", "/dynamic-2"]);
    // The server ends one, and the connection the other.
    before.all().disconnect(false).expect("room");
    two.expect("41/dynamic-1,").await;
    // What the client has sent before it knew is no fault of its own, though the namespace is gone.
    two.send(r#"42/dynamic-1,["late"]"#).await;
    one.send("41/dynamic-2,").await;
    two.close().await;
    until_removed(&server).await;
    assert_eq!(server.io.hub().find_scope("/dynamic-1"), None);
    // One that is refused leaves nothing behind.
    one.send(r#"40/dynamic-3,{"a":1}"#).await;
    one.expect(r#"44/dynamic-3,{"message":"no"}"#).await;
    until_removed(&server).await;
    // It is made anew, without what was the removed one's own. That one reaches nobody any more.
    one.join("/dynamic-1").await;
    before.emit("nobody", ()).expect("room");
    one.send(r#"42/dynamic-1,0["own"]"#).await;
    server.io.of("/dynamic-1").emit("all", ()).expect("room");
    one.expect(r#"42/dynamic-1,["all"]"#).await;
}

#[tokio::test]
async fn children_that_come_and_go_at_the_same_time_lose_no_socket() {
    let server = Server::start(with_cleanup(4), |io| {
        io.of_pattern(numbers()).on("echo", |socket: Socket, Data(n): Data<u32>| {
            socket.namespace().to(socket.id()).emit("echo", n)
        });
    })
    .await;
    let mut running = Vec::new();
    for _ in 0..16 {
        let mut client = server.open().await;
        running.push(tokio::spawn(async move {
            for n in 0..100 {
                client.join("/dynamic-1").await;
                client.send(&format!(r#"42/dynamic-1,["echo",{n}]"#)).await;
                client.expect(&format!(r#"42/dynamic-1,["echo",{n}]"#)).await;
                client.send("41/dynamic-1,").await;
            }
            client
        }));
    }
    for running in running {
        running.await.expect("no panic").close().await;
    }
    until_removed(&server).await;
}

#[tokio::test]
async fn children_are_bounded_in_number_and_name() {
    let builder = Switchboard::builder().workers(1).max_child_namespaces(2);
    let server = Server::start(builder, |io| {
        io.of_pattern(NamespacePattern::prefix("/x"));
    })
    .await;
    let mut client = server.open().await;
    let longest = format!("/x{}", "y".repeat(254));
    client.join(&longest).await;
    refused(&mut client, &format!("{longest}z"), "Invalid namespace").await;
    client.join("/x2").await;
    refused(&mut client, "/x3", "too many namespaces").await;
    // One that is there may be joined.
    let mut other = server.open().await;
    other.join("/x2").await;
}
