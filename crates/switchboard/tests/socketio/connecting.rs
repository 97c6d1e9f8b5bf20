//! Joining a namespace: middleware, extractors, `on_connect`, and the handshake that handlers see.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;
use switchboard::{
    Auth, Connecting, EmitError, Error, FromSocket, Handshake, HasSocket, KeepHeaders, Namespace, Socket,
    State, Switchboard,
};

use crate::harness::{Log, Polling, Server, Signal, log, soon};

#[derive(Debug, Deserialize)]
struct Token {
    token: String,
}

/// A user's extractor whose error has data.
struct Admitted(String);

impl FromSocket<Connecting> for Admitted {
    fn from_socket(context: &Connecting) -> Result<Self, Error> {
        match serde_json::from_str::<Token>(context.socket().auth()) {
            Ok(Token { token }) if token == "secret" => Ok(Self(token)),
            Ok(_) => Err(Error::new("wrong token").with_data(json!({"code": 7}))),
            Err(error) => Err(error.into()),
        }
    }
}

#[tokio::test]
async fn an_extractor_of_on_connect_that_fails_is_a_connect_error() {
    for workers in [1, 4] {
        let server = Server::workers(workers, |io| {
            io.root().on_connect(|socket: Socket, Admitted(token): Admitted| socket.emit("welcome", token));
            io.of("/typed").on_connect(|_: Auth<Token>| ());
            io.of("/stateless").on_connect(|_: State<u64>| ());
        })
        .await;
        let mut client = server.open().await;
        client.ask(r#"40{"token":"guess"}"#, r#"44{"message":"wrong token","data":{"code":7}}"#).await;
        client.ask("40", r#"44{"message":"internal error"}"#).await;
        client.ask("40/typed,{}", r#"44/typed,{"message":"invalid auth"}"#).await;
        client.ask("40/stateless,", r#"44/stateless,{"message":"internal error"}"#).await;
        client.ask("40/nowhere,", r#"44/nowhere,{"message":"Invalid namespace"}"#).await;
        // Whether refused or not, the client may try again.
        client.send(r#"40{"token":"secret"}"#).await;
        assert!(client.text().await.starts_with(r#"40{"sid":""#));
        client.expect(r#"42["welcome","secret"]"#).await;
        assert_eq!(server.io.root().local_sockets().await.expect("sockets").len(), 1);
        assert_eq!(server.io.of("/typed").local_sockets().await.expect("sockets").len(), 0);
    }
}

#[tokio::test]
async fn a_socket_that_a_namespace_has_refused_leaves_nothing_behind() {
    /// A value that tells when nobody holds it any more.
    struct Told(Log);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.say("dropped");
        }
    }

    let (said, mut told) = log();
    let server = Server::workers(2, |io| {
        let (ends, value) = (said.clone(), said.clone());
        let refuses = io.of("/refuses");
        refuses.middleware(move |socket: Socket| {
            socket.insert(Told(value.clone()));
            let _not_connected_yet = socket.join("hall");
            Err::<(), _>(Error::new("no"))
        });
        refuses.on_disconnect(move || ends.say("disconnected"));
    })
    .await;
    let mut client = server.client().await;
    client.ask("40/refuses,", r#"44/refuses,{"message":"no"}"#).await;
    assert_eq!(told.next().await, "dropped");
    let refuses = server.io.of("/refuses");
    assert_eq!(refuses.count().await.expect("a count"), 0);
    assert!(refuses.rooms().await.expect("rooms").is_empty());
    refuses.emit("all", ()).expect("room");
    refuses.to("hall").emit("hall", ()).expect("room");
    // Neither event goes to the client, which may be heard in its other namespace.
    server.io.root().emit("there", ()).expect("room");
    client.expect(r#"42["there"]"#).await;
    assert_eq!(told.now(), [""; 0]);
}

#[tokio::test]
async fn an_on_connect_that_fails_or_panics_disconnects() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        for (name, later) in [("/fails", false), ("/fails-later", true)] {
            let said = said.clone();
            io.of(name).on_error(move |context, error| {
                said.say(format!("{} {error}", context.socket().namespace().name()));
            });
            io.of(name).on_connect(async move |_: Socket| -> switchboard::Result {
                if later {
                    tokio::task::yield_now().await;
                }
                Err(Error::new("not today").with_data("unseen"))
            });
        }
        io.of("/panics").on_connect(|_: Socket| -> () { panic!("on purpose") });
    })
    .await;
    let mut client = server.open().await;
    for name in ["/fails", "/fails-later", "/panics"] {
        client.join(name).await;
        client.expect(&format!("41{name},")).await;
    }
    assert_eq!([told.next().await, told.next().await], ["/fails not today", "/fails-later not today"]);
    assert!(told.now().is_empty());
}

#[tokio::test]
async fn middleware_runs_in_order_and_may_refuse() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        let say = |name: &'static str| {
            let said = said.clone();
            move |_: Socket| said.say(name)
        };
        root.middleware(say("first"));
        let second = said.clone();
        root.middleware(async move |Auth(auth): Auth<serde_json::Value>| -> switchboard::Result {
            tokio::task::yield_now().await;
            second.say("second");
            match auth["refuse"].as_str() {
                Some(why) => Err(Error::new(why).with_data([1, 2])),
                None => Ok(()),
            }
        });
        root.middleware(say("third"));
        root.on_connect(say("connected"));
        root.on_disconnect(say("disconnected"));
        io.of("/panics").middleware(|_: Socket| -> () { panic!("on purpose") });
    })
    .await;
    let mut client = server.open().await;
    client.ask(r#"40{"refuse":"no \"entry\""}"#, r#"44{"message":"no \"entry\"","data":[1,2]}"#).await;
    client.ask("40/panics,", r#"44/panics,{"message":"internal error"}"#).await;
    client.join("/").await;
    client.ask("40/panics,", r#"44/panics,{"message":"internal error"}"#).await;
    assert_eq!(told.now(), ["first", "second", "first", "second", "third", "connected"]);
}

#[tokio::test]
async fn a_socket_in_middleware_is_not_connected_but_takes_values() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.middleware(move |socket: Socket| {
            let refused = [
                socket.emit("early", ()),
                socket.join("room"),
                socket.on("event", |_: Socket| ()),
                socket.disconnect(true),
            ];
            assert!(refused.iter().all(|refused| matches!(refused, Err(EmitError::Disconnected))));
            assert!(!socket.is_connected());
            said.say(format!("{:?}", socket.insert(7_u32)));
        });
        root.on_connect(|socket: Socket| {
            let before = socket.insert(8_u32);
            socket.emit(
                "kept",
                (before.map(|kept| *kept), socket.get::<u32>().map(|kept| *kept), socket.is_connected()),
            )
        });
        root.on("take", |socket: Socket| {
            (socket.remove::<u32>().map(|kept| *kept), socket.get::<u32>().is_none())
        });
    })
    .await;
    let mut client = server.client().await;
    assert_eq!(told.next().await, "None");
    client.expect(r#"42["kept",7,8,true]"#).await;
    client.ask(r#"420["take"]"#, "430[8,true]").await;
    client.ask(r#"421["take"]"#, "431[null,true]").await;
}

#[tokio::test]
async fn handlers_see_the_handshake_and_the_state() {
    struct Greeting(&'static str);
    let before = SystemTime::now();
    let builder = Switchboard::builder().workers(1).state(Greeting("hi")).keep_headers(KeepHeaders::All);
    let server = Server::start(builder, |io| {
        io.root().on(
            "handshake",
            |handshake: Handshake, greeting: State<Greeting>, namespace: Namespace, auth: Auth<Token>| {
                (
                    handshake.query("room"),
                    handshake.query("none"),
                    handshake.header("Upgrade").map(str::to_owned),
                    handshake.address().map(|address| address.ip().to_string()),
                    handshake.url().starts_with("/socket.io/?EIO=4"),
                    (greeting.0.0, namespace.name().to_owned(), auth.0.token),
                )
            },
        );
        io.root().on("auth", |socket: Socket| socket.auth_as::<Token>().map(|auth| auth.token));
        io.root().on("time", |socket: Socket| socket.handshake().time().elapsed().is_ok());
        io.root().on("transport", |socket: Socket| socket.transport());
    })
    .await;
    let mut client = server.open_at("&room=caf%C3%A9").await;
    client.send(r#"40{"token":"t"}"#).await;
    client.text().await;
    let answer = r#"430["café",null,"websocket","127.0.0.1",true,["hi","/","t"]]"#;
    client.ask(r#"420["handshake"]"#, answer).await;
    client.ask(r#"421["time"]"#, "431[true]").await;
    client.ask(r#"422["transport"]"#, r#"432["websocket"]"#).await;
    client.ask(r#"423["auth"]"#, r#"433["t"]"#).await;
    assert!(before.elapsed().is_ok());
}

#[tokio::test]
async fn a_client_that_joins_nothing_in_time_is_closed() {
    let builder = Switchboard::builder().workers(1).connect_timeout(Duration::from_millis(50));
    let server = Server::start(builder, |io| {
        io.of("/slow").middleware(async |_: Socket| std::future::pending::<()>().await);
        io.of("/refuses").middleware(|_: Socket| Err::<(), _>(Error::new("no")));
    })
    .await;
    for packet in ["", "40/slow,", "40/refuses,"] {
        let mut client = server.open().await;
        if !packet.is_empty() {
            client.send(packet).await;
        }
        client.ended().await;
    }
    // A client that has joined stays.
    server.io.root().on("echo", |_: Socket| ());
    let mut client = server.client().await;
    let mut silent = server.open().await;
    silent.ended().await;
    client.ask(r#"420["echo"]"#, "430[]").await;
}

#[tokio::test]
async fn a_client_is_in_as_many_namespaces_as_allowed() {
    let server = Server::start(Switchboard::builder().workers(1).max_namespaces(2), |io| {
        for name in ["/a", "/b"] {
            io.of(name);
        }
    })
    .await;
    let mut client = server.client().await;
    client.join("/a").await;
    client.ask("40/b,", r#"44/b,{"message":"too many namespaces"}"#).await;
    client.send("41/a,").await;
    client.join("/b").await;
}

#[tokio::test]
async fn ids_differ_in_each_namespace_and_are_not_the_sessions() {
    let server = Server::workers(1, |io| drop(io.of("/a"))).await;
    let mut client = server.open().await;
    let (one, two) = (client.join("/").await, client.join("/a").await);
    assert_ne!(one, two);
    let session = crate::harness::Polling::open(&server).await;
    session.post("40").await;
    let packets = soon("a poll", session.get()).await;
    assert!(packets[0].starts_with(r#"40{"sid":""#) && !session.knows(&packets[0]));
}

#[tokio::test]
async fn a_namespaces_name_gets_its_slash() {
    let server = Server::workers(1, |io| {
        io.of("chat").on("here", |namespace: Namespace| namespace.name().to_owned());
        assert_eq!(io.of("/chat").name(), io.of("chat").name());
    })
    .await;
    let mut client = server.open().await;
    client.join("/chat").await;
    client.ask(r#"42/chat,1["here"]"#, r#"43/chat,1["/chat"]"#).await;
}

#[tokio::test]
async fn a_namespace_is_joined_once_however_often_the_client_asks_while_its_middleware_waits() {
    let gate = Signal::new();
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let slow = io.of("/slow");
        let waits = gate.clone();
        slow.middleware(async move |_: Socket| waits.passed().await);
        slow.on_connect(move |auth: Auth<Token>| said.say(auth.0.token));
        slow.on("echo", |text: switchboard::Data<String>| text.0);
        io.root().on("echo", |text: switchboard::Data<String>| text.0);
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"40/slow,{"token":"first"}"#).await;
    // Other packets in between change nothing.
    client.ask(r#"421["echo","here"]"#, r#"431["here"]"#).await;
    client.send(r#"40/slow,{"token":"second"}"#).await;
    client.ask(r#"422["echo","untouched"]"#, r#"432["untouched"]"#).await;
    gate.open();
    let answer = client.text().await;
    assert!(answer.starts_with(r#"40/slow,{"sid":""#), "{answer}");
    client.ask(r#"42/slow,3["echo","in"]"#, r#"43/slow,3["in"]"#).await;
    assert_eq!(told.now(), ["first"]);
    assert_eq!(server.io.of("/slow").local_sockets().await.expect("sockets").len(), 1);
}

#[tokio::test]
async fn connect_disconnect_and_connect_in_one_turn_leave_one_socket() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        for (name, later) in [("/plain", false), ("/later", true)] {
            let namespace = io.of(name);
            if later {
                namespace.middleware(async |_: Socket| tokio::task::yield_now().await);
            }
            let here = said.clone();
            namespace.on_connect(move |_: Socket| here.say("connected"));
            let gone = said.clone();
            namespace.on_disconnect(move |_: Socket| gone.say("disconnected"));
            namespace.on("echo", |text: switchboard::Data<String>| text.0);
        }
    })
    .await;
    for name in ["/plain", "/later"] {
        // The official client does not report a disconnect before it is connected: CONNECT comes twice.
        for packets in [vec!["0", "0"], vec!["0", "1", "0"]] {
            let client = Polling::open(&server).await;
            client.post("40").await;
            client.get().await;
            let packets: Vec<_> = packets.iter().map(|kind| format!("4{kind}{name},")).collect();
            client.post(&packets.join("\x1e")).await;
            client.post(&format!(r#"42{name},1["echo","in"]"#)).await;
            let mut answers = Vec::new();
            while !answers.iter().any(|packet: &String| packet.starts_with("43")) {
                answers.extend(client.get().await);
            }
            let last = answers.len() - 1;
            assert_eq!(answers[last], format!(r#"43{name},1["in"]"#));
            let connected = answers.iter().filter(|packet| packet.starts_with(&format!("40{name},"))).count();
            let words = told.now();
            let (here, gone) = words.iter().partition::<Vec<_>, _>(|word| *word == "connected");
            // Each answered CONNECT has a socket, and one of them is left.
            assert_eq!(here.len(), connected, "{packets:?}");
            assert_eq!(here.len() - gone.len(), 1, "{packets:?}");
            client.post("1").await;
            assert_eq!(told.next().await, "disconnected");
        }
    }
}
