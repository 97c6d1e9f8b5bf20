//! Events: their handlers, the handlers of all events, and the events that may not be sent.

use std::collections::HashMap;

use switchboard::{Args, Binary, Data, EmitError, Error, Event, Socket, Switchboard, WriteError};

use crate::harness::{Server, log};

#[tokio::test]
async fn any_handlers_then_middleware_then_the_events_own() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        let say = |name: &'static str| {
            let said = said.clone();
            move |Event(event): Event| said.say(format!("{name} {event}"))
        };
        root.event_middleware(say("middleware"));
        root.on_any(say("any"));
        let own = said.clone();
        root.on_connect(move |socket: Socket| -> switchboard::Result {
            let say = |name: &'static str| {
                let said = own.clone();
                move |Event(event): Event| said.say(format!("{name} {event}"))
            };
            socket.event_middleware(say("own middleware"))?;
            socket.on_any(say("own any"))?;
            Ok(())
        });
        root.event_middleware(async |Event(event): Event| {
            tokio::task::yield_now().await;
            if event == "stop" { Err(Error::new("stopped")) } else { Ok(()) }
        });
        // Neither an error nor arguments of another type stop an event from reaching the next handler.
        root.on_any(|Data(n): Data<u8>| if n == 1 { Err(Error::new("one")) } else { Ok(()) });
        let errors = said.clone();
        root.on_error(move |_, error| errors.say(error.to_string()));
        root.on("go", |_: Socket| "gone");
        root.on("stop", |_: Socket| "not this");
    })
    .await;
    let mut client = server.client().await;
    client.ask(r#"421["go",1]"#, r#"431["gone"]"#).await;
    assert_eq!(told.now(), ["any go", "one", "own any go", "middleware go", "own middleware go"]);
    client.send(r#"422["stop",2]"#).await;
    client.ask(r#"423["go",3]"#, r#"433["gone"]"#).await;
    let said = told.now();
    assert_eq!(said[..4], ["any stop", "own any stop", "middleware stop", "stopped"]);
    assert_eq!(said[4..], ["any go", "own any go", "middleware go", "own middleware go"]);
    // Another socket does not have this socket's handlers.
    client.send(r#"42["unheard","text"]"#).await;
    client.ask(r#"424["go",4]"#, r#"434["gone"]"#).await;
    assert!(told.now()[1].starts_with("arguments of another type"));
}

#[tokio::test]
async fn a_sockets_own_handler_comes_instead_of_the_namespaces() {
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("name", |_: Socket| "namespace");
        root.on("own", |socket: Socket| socket.on("name", |_: Socket| "socket"));
        root.on("once", |socket: Socket| socket.once("name", |_: Socket| "once"));
        root.on("off", |socket: Socket| socket.off("name"));
        root.on("replace", |socket: Socket| {
            socket.namespace().on("name", |_: Socket| "replaced");
        });
        root.on("take-back", |socket: Socket| {
            socket.namespace().off("name");
        });
        root.on("concurrent", |socket: Socket| {
            socket.on_concurrent("name", async |_: Socket| {
                tokio::task::yield_now().await;
                "concurrent"
            })
        });
    })
    .await;
    let mut client = server.client().await;
    let mut other = server.client().await;
    let cases = [
        ("own", "socket"),
        ("once", "once"),
        ("off", "namespace"),
        ("once", "once"),
        ("ignored", "namespace"),
        ("replace", "replaced"),
        ("concurrent", "concurrent"),
        ("take-back", "concurrent"),
    ];
    for (change, name) in cases {
        client.send(&format!(r#"42["{change}"]"#)).await;
        client.ask(r#"421["name"]"#, &format!(r#"431["{name}"]"#)).await;
    }
    // The other socket's events went to the namespace's handler, which has been removed.
    other.send(r#"421["name"]"#).await;
    other.ask(r#"422["off"]"#, "432[]").await;
}

#[tokio::test]
async fn data_is_read_as_the_handler_asks() {
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("one", |Data(text): Data<String>| text);
        root.on("two", |Data((a, b)): Data<(String, Option<u8>)>| (a, b));
        root.on("list", |Data((list,)): Data<(Vec<u8>,)>| list);
        root.on("binary", |Data((n, binary)): Data<(u8, Binary)>| (n, binary.len()));
        root.on("args", |args: Args| args.as_json().to_owned());
    })
    .await;
    let mut client = server.client().await;
    for (event, answer) in [
        (r#"["one","text","ignored"]"#, r#"["text"]"#),
        (r#"["two","a",2]"#, r#"["a",2]"#),
        (r#"["two","a"]"#, r#"["a",null]"#),
        (r#"["list",[1,2]]"#, "[[1,2]]"),
        (r#"["args",1,{"a":null}]"#, r#"["[1,{\"a\":null}]"]"#),
    ] {
        client.ask(&format!("421{event}"), &format!("431{answer}")).await;
    }
    client.send(r#"451-1["binary",1,{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(b"four").await;
    client.expect("431[1,4]").await;
}

#[tokio::test]
async fn a_value_that_cannot_be_sent_is_an_error_and_nothing_is_sent() {
    for workers in [1, 2] {
        let server = Server::workers(workers, |io| {
            io.root().on("try", |socket: Socket, Data(event): Data<String>| try_all(&socket, &event));
        })
        .await;
        let mut client = server.client().await;
        let reserved =
            ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
        for event in reserved {
            client.ask(&format!(r#"421["try","{event}"]"#), "431[true]").await;
        }
        client.ask(r#"421["try","unwritable"]"#, "431[true]").await;
        // The same from another thread.
        let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
        assert!(reserved.iter().chain(&["unwritable"]).all(|event| try_all(&socket, event)));
        socket.emit("last", ()).expect("connected");
        client.expect(r#"42["last"]"#).await;
    }
}

/// Whether every way to send this event fails because of its arguments.
fn try_all(socket: &Socket, event: &str) -> bool {
    let unwritable = HashMap::from([((1, 2), 3)]);
    let arguments = |sent: Result<(), EmitError>| matches!(sent, Err(EmitError::Arguments(_)));
    if event == "unwritable" {
        let half = ("written", [Binary::from(vec![1])], &unwritable);
        return arguments(socket.emit(event, &unwritable))
            && arguments(socket.emit(event, &half))
            && arguments(socket.namespace().emit(event, &half))
            && arguments(socket.to("room").emit(event, &unwritable));
    }
    let is_reserved = |sent: Result<(), EmitError>| matches!(sent, Err(EmitError::Arguments(WriteError::ReservedEvent(name))) if name == event);
    is_reserved(socket.emit(event, ()))
        && is_reserved(socket.volatile().emit(event, ()))
        && is_reserved(socket.broadcast().emit(event, ()))
        && is_reserved(socket.namespace().emit(event, ()))
}

#[tokio::test]
async fn a_reserved_event_from_a_client_is_a_parse_error() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        io.root().on_any(|_: Socket| -> () { panic!("not to be called") });
        io.root().on_disconnect(move |reason: switchboard::DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    for packet in [r#"42["disconnect"]"#, r#"42["connect_error"]"#, "42[null]", "42{}", "42[", r#"42["a",]"#]
    {
        let mut client = server.client().await;
        client.send(packet).await;
        client.ended().await;
        assert_eq!(told.next().await, "parse error", "{packet}");
    }
}

#[tokio::test]
async fn events_that_nobody_handles_are_ignored_but_must_be_packets() {
    let server = Server::workers(1, |io| {
        io.root().on("echo", |_: Socket| ());
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"421["unknown",{"a":[1]}]"#).await;
    client.ask(r#"422["echo"]"#, "432[]").await;
    client.send(r#"42["unknown",{"a":]"#).await;
    client.ended().await;
}

#[tokio::test]
async fn a_server_is_built_of_options_that_make_sense() {
    for builder in [
        Switchboard::builder().workers(0),
        Switchboard::builder().path("socket.io"),
        Switchboard::builder().transports(false, false),
    ] {
        assert_eq!(builder.build().expect_err("refused").kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_documents_tree_may_nest_deeply() {
    let server = Server::start(Switchboard::builder().workers(1).max_depth(1000), |io| {
        let root = io.root();
        root.on("json", |Data(value): Data<serde_json::Value>| value);
        root.on("value", |Data(value): Data<switchboard::Value>| value);
        root.on("args", |args: switchboard::Args| args);
    })
    .await;
    let mut client = server.client().await;
    for event in ["json", "value", "args", "nobody"] {
        for levels in [127, 128, 500] {
            let tree = format!("{}1{}", r#"{"content":["#.repeat(levels), "]}".repeat(levels));
            client.send(&format!(r#"420["{event}",{tree}]"#)).await;
            if event != "nobody" {
                assert_eq!(client.text().await, format!("430[{tree}]"), "{event} {levels}");
            }
        }
    }
    // With an attachment it takes another path.
    let tree = format!(r#"{}{{"_placeholder":true,"num":0}}{}"#, "[".repeat(900), "]".repeat(900));
    client.send(&format!(r#"451-0["value",{tree}]"#)).await;
    client.send_binary(b"x").await;
    assert_eq!(client.text().await, format!("461-0[{tree}]"));
    assert_eq!(client.next().await.as_deref(), Some("<x>"));
    for event in ["json", "value", "args", "nobody"] {
        let mut client = server.client().await;
        let tree = format!("{}{}", "[".repeat(1001), "]".repeat(1001));
        client.send(&format!(r#"420["{event}",{tree}]"#)).await;
        assert_eq!(client.ended().await, [""; 0]);
    }
}
