//! Errors of handlers: the part that clients see, and the part that the server's own code gets.

use std::io;

use serde_json::json;
use switchboard::{
    Ack, Auth, Data, Error, ErrorContext, Event, EventContext, FromEvent, Namespace, Socket, State,
    Switchboard,
};

use crate::harness::{Server, log};

/// The errors that a namespace's `on_error` gets.
fn heard(context: &ErrorContext<'_>, error: &Error) -> String {
    let event = context.event().unwrap_or("-");
    format!("{} {} {event}: {error}", context.socket().namespace().name(), context.registered_by())
}

#[tokio::test]
async fn on_error_is_told_of_the_event_and_of_the_handler() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let chat = io.of("/chat");
        chat.on_error(move |context, error| {
            assert!(context.handler().is_empty() || context.handler().contains("errors"));
            said.say(heard(context, error));
        });
        chat.on_connect(async || {
            tokio::task::yield_now().await;
        });
        chat.on("parse", |Data(text): Data<String>| -> switchboard::Result<u8> { Ok(text.parse()?) });
        chat.on("later", async || {
            tokio::task::yield_now().await;
            Err::<(), _>(Error::new("too late"))
        });
        chat.on_concurrent("concurrent", async || {
            tokio::task::yield_now().await;
            Err::<(), _>(Error::new("failed"))
        });
        chat.on("own", |socket: Socket| {
            socket.on("mine", || Err::<(), _>(Error::new("mine failed")))?;
            socket
                .on_any(|Event(event): Event| if event == "mine" { Err(Error::new("seen")) } else { Ok(()) })
        });
        chat.event_middleware(
            |Event(event): Event| {
                if event == "forbidden" { Err(Error::new("no")) } else { Ok(()) }
            },
        );
        chat.on_disconnect(|| Err::<(), _>(Error::new("gone")));
    })
    .await;
    let mut client = server.open().await;
    client.join("/chat").await;
    for (event, error) in [
        (r#"["parse","x"]"#, "/chat on parse: invalid digit found in string"),
        (r#"["parse",1]"#, "/chat on parse: arguments of another type: invalid type"),
        (r#"["later"]"#, "/chat on later: too late"),
        (r#"["concurrent"]"#, "/chat on concurrent: failed"),
        (r#"["forbidden"]"#, "/chat event_middleware forbidden: no"),
    ] {
        client.send(&format!("42/chat,{event}")).await;
        let told = told.next().await;
        assert!(told.starts_with(error), "{told}");
    }
    client.ask(r#"42/chat,1["own"]"#, "43/chat,1[]").await;
    client.send(r#"42/chat,["mine"]"#).await;
    assert_eq!(told.next().await, "/chat on_any mine: seen");
    assert_eq!(told.next().await, "/chat on mine: mine failed");
    client.send("41/chat").await;
    assert_eq!(told.next().await, "/chat on_disconnect -: gone");
    assert!(told.now().is_empty());
}

#[tokio::test]
async fn an_error_that_is_not_meant_for_the_client_is_an_internal_error_there_and_said_here() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        for name in ["/middleware", "/later", "/extractor", "/auth", "/state", "/message"] {
            let said = said.clone();
            io.of(name).on_error(move |context, error| said.say(heard(context, error)));
        }
        let read = || -> io::Result<()> { Err(io::Error::other("/etc/secret: no such file")) };
        io.of("/middleware").middleware(move |_: Socket| -> switchboard::Result { Ok(read()?) });
        io.of("/later").middleware(async move |_: Socket| -> switchboard::Result {
            tokio::task::yield_now().await;
            read().map_err(|error| Error::from(error).with_data(json!({"retry": true})))
        });
        io.of("/auth").on_connect(|_: Auth<(u8, u8)>| ());
        io.of("/state").on_connect(|_: State<std::path::PathBuf>| ());
        io.of("/message").middleware(|_: Socket| Err::<(), _>(Error::new("who are you?")));
    })
    .await;
    let mut client = server.open().await;
    for (name, answer, error) in [
        ("/middleware", r#"{"message":"internal error"}"#, "middleware -: /etc/secret: no such file"),
        (
            "/later",
            r#"{"message":"internal error","data":{"retry":true}}"#,
            "middleware -: /etc/secret: no such file",
        ),
        ("/auth", r#"{"message":"invalid auth"}"#, "on_connect -: invalid auth: invalid type"),
        ("/state", r#"{"message":"internal error"}"#, "on_connect -: no state of type std::path::PathBuf"),
        ("/message", r#"{"message":"who are you?"}"#, ""),
    ] {
        client.ask(&format!("40{name},"), &format!("44{name},{answer}")).await;
        if !error.is_empty() {
            let told = told.next().await;
            assert!(told.starts_with(&format!("{name} {error}")), "{told}");
        }
    }
    assert!(told.now().is_empty());
}

#[tokio::test]
async fn an_error_may_have_a_reply_for_the_client_that_asked() {
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on("own", || Err::<(), _>(Error::new("no").with_reply(("error", "no such room"))));
        root.on("later", async || {
            tokio::task::yield_now().await;
            Err::<(), _>(Error::new("no").with_reply("late"))
        });
        root.event_middleware(|Event(event): Event| {
            if event == "forbidden" { Err(Error::new("no").with_reply("forbidden")) } else { Ok(()) }
        });
        root.on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut client = server.client().await;
    client.ask(r#"421["own"]"#, r#"431["error","no such room"]"#).await;
    client.ask(r#"422["later"]"#, r#"432["late"]"#).await;
    client.ask(r#"423["forbidden"]"#, r#"433["forbidden"]"#).await;
    // A client that did not ask gets no answer.
    client.send(r#"42["own"]"#).await;
    client.ask(r#"424["echo","on"]"#, r#"434["on"]"#).await;
}

/// An extractor that fails.
struct Never;

impl FromEvent for Never {
    fn from_event(_: &EventContext<'_>) -> Result<Self, Error> {
        Err(Error::new("never"))
    }
}

#[tokio::test]
async fn a_namespace_may_answer_all_errors_except_where_the_handler_has_the_ack() {
    let server = Server::workers(1, |io| {
        let root = io.root();
        root.on_error_reply(
            |context, error| json!({"event": context.event(), "error": error.public_message()}),
        );
        root.on("public", || Err::<(), _>(Error::new("not today")));
        root.on("internal", || Err::<(), _>(io::Error::other("/etc/secret")));
        root.on("own", || Err::<(), _>(Error::new("no").with_reply("own")));
        root.on("data", |_: Ack, Data(n): Data<u8>| n);
        root.on("extractor", |_: Ack, _: Never| ());
        root.on("taken", |ack: Ack| -> switchboard::Result {
            ack.send("by hand")?;
            Err(Error::new("but failed"))
        });
        root.on("dropped", |_: Ack| Err::<(), _>(Error::new("failed")));
        root.on_any(|Event(event): Event| if event == "echo" { Err(Error::new("no")) } else { Ok(()) });
        root.on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut client = server.client().await;
    client.ask(r#"421["public"]"#, r#"431[{"error":"not today","event":"public"}]"#).await;
    client.ask(r#"422["internal"]"#, r#"432[{"error":"internal error","event":"internal"}]"#).await;
    client.ask(r#"423["own"]"#, r#"433["own"]"#).await;
    client.ask(r#"424["data","x"]"#, r#"434[{"error":"internal error","event":"data"}]"#).await;
    client.ask(r#"425["extractor"]"#, r#"435[{"error":"never","event":"extractor"}]"#).await;
    client.ask(r#"426["taken"]"#, r#"436["by hand"]"#).await;
    client.send(r#"427["dropped"]"#).await;
    // An error of `on_any` does not cause an answer.
    client.ask(r#"428["echo","on"]"#, r#"438["on"]"#).await;
}

#[tokio::test]
async fn binary_where_the_type_has_no_place_for_it_does_not_close_the_session() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        io.root().on("upload", |_: Data<Vec<u8>>| ());
        io.root().on("echo", |Data(text): Data<String>| text);
        io.root().on_error(move |context, error| said.say(heard(context, error)));
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"451-["upload",{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(b"bytes").await;
    client.ask(r#"421["echo","on"]"#, r#"431["on"]"#).await;
    assert_eq!(told.next().await, "/ on upload: attachment: the type holds no binary data here");
    // With a wrong placeholder the packet is invalid, as in Node.
    client.send(r#"451-["upload",{"_placeholder":true,"num":7}]"#).await;
    client.send_binary(b"bytes").await;
    client.ended().await;
}

#[tokio::test]
async fn handlers_have_the_server_and_values_given_when_it_was_there() {
    struct App {
        io: Switchboard,
        name: &'static str,
    }
    let server = Server::workers(1, |io| {
        io.state(App { io: io.clone(), name: "first" });
        io.state(App { io: io.clone(), name: "app" });
        io.root().on_connect(|io: Switchboard, namespace: Namespace| {
            assert_eq!(io.root().name(), namespace.name());
        });
        io.root().on("server", |io: Switchboard| io.of("/other").name().to_owned());
        io.root().on("app", |app: State<App>| (app.name, app.io.root().name().to_owned()));
    })
    .await;
    let mut client = server.client().await;
    client.ask(r#"421["server"]"#, r#"431["/other"]"#).await;
    client.ask(r#"422["app"]"#, r#"432["app","/"]"#).await;
    // A state that holds the server does not keep the server from ending.
    tokio::join!(server.io.shutdown(crate::harness::DEADLINE), client.ended());
}

#[tokio::test]
async fn any_handlers_may_come_first_and_be_taken_back() {
    let (said, mut told) = log();
    let server = Server::workers(1, |io| {
        let root = io.root();
        let say = move |name: &'static str| {
            let said = said.clone();
            move || said.say(name)
        };
        root.on_any(say("second"));
        root.prepend_any(say("first"));
        let own = say.clone();
        root.on_connect(move |socket: Socket| {
            socket.on_any(own("own second"))?;
            socket.prepend_any(own("own first"))
        });
        root.on("echo", |Data(text): Data<String>| text);
        root.on("off", |socket: Socket| {
            socket.namespace().off_any();
            socket.off_any()
        });
    })
    .await;
    let mut client = server.client().await;
    client.ask(r#"421["echo","on"]"#, r#"431["on"]"#).await;
    assert_eq!(told.now(), ["first", "second", "own first", "own second"]);
    client.ask(r#"422["off"]"#, "432[]").await;
    assert_eq!(told.now().len(), 4);
    client.ask(r#"423["echo","on"]"#, r#"433["on"]"#).await;
    assert!(told.now().is_empty());
}
