//! The log of users' mistakes: each is logged once, or a bounded number of times. The test runs in its own
//! process, because the log belongs to the process.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "socketio/harness.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod harness;
#[path = "common/log.rs"]
mod log;

use std::sync::LazyLock;
use std::time::Duration;

use harness::{Server, Signal, soon};
use log::Log;
use switchboard::{Data, Error, Socket, State, Switchboard};
use tracing::Level;

/// The process's log. Each test finds its lines by its namespace.
static LOG: LazyLock<Log> = LazyLock::new(|| Log::start(Level::INFO));

/// The lines of a namespace.
fn lines_of(namespace: &str) -> Vec<String> {
    let field = format!("namespace=\"{namespace}\"");
    LOG.text().lines().filter(|line| line.contains(&field)).map(str::to_owned).collect()
}

fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

#[tokio::test]
async fn the_first_data_of_each_kind_that_does_not_fit_is_a_warning() {
    LazyLock::force(&LOG);
    let server = Server::workers(2, |io| {
        let chat = io.of("/misfit");
        chat.on("say", |_: Data<(String, u32)>| ());
        chat.on("upload", |_: Data<Vec<u8>>| ());
        chat.on_any(|_: Data<Option<u8>>| ());
        chat.on("done", || ());
    })
    .await;
    for _ in 0..3 {
        let mut client = server.open().await;
        client.join("/misfit").await;
        for n in 0..3 {
            client.send(r#"42/misfit,["say","text"]"#).await;
            client.send(r#"451-/misfit,["upload",{"_placeholder":true,"num":0}]"#).await;
            client.send_binary(b"bytes").await;
            // Names that a client makes up do not count as separate kinds.
            client.send(&format!(r#"42/misfit,["made up {n}","text"]"#)).await;
        }
        client.ask(r#"42/misfit,1["done"]"#, "43/misfit,1[]").await;
    }
    let lines = lines_of("/misfit");
    let about = |what: &str| lines.iter().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let say = about(r#"event="say""#);
    // The second line is that of `on_any`.
    assert_says(say[0], &["WARN", r#"wanted="core::option::Option<u8>""#]);
    let say = about(r#"wanted="(alloc::string::String, u32)""#);
    assert_eq!(say.len(), 1, "{lines:#?}");
    assert_says(say[0], &["WARN", r#"event="say""#, "argument 1 is missing", "handler=\"logs::"]);
    let upload = about(r#"event="upload""#);
    assert_eq!(upload.len(), 1, "{lines:#?}");
    assert_says(upload[0], &["WARN", "alloc::vec::Vec<u8>", "switchboard::Binary"]);
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[tokio::test]
async fn a_failed_handler_and_one_that_panics_are_named_and_do_not_fill_the_log() {
    LazyLock::force(&LOG);
    let server = Server::workers(1, |io| {
        let chat = io.of("/failed");
        chat.on("fail", || Err::<(), _>(Error::new("on purpose")));
        chat.on("panic", || -> () { panic!("on purpose") });
        chat.on("done", || ());
        io.of("/panicked").on("panic", || -> () { panic!("on purpose") });
    })
    .await;
    let mut client = server.open().await;
    client.join("/failed").await;
    client.join("/panicked").await;
    for _ in 0..500 {
        client.send(r#"42/failed,["fail"]"#).await;
    }
    client.ask(r#"42/failed,1["done"]"#, "43/failed,1[]").await;
    client.ask(r#"42/panicked,["panic"]"#, "41/panicked,").await;
    let lines = lines_of("/failed");
    assert_says(
        &lines[0],
        &["WARN", "a handler failed", r#"event="fail""#, "error=on purpose", r#"registered_by="on""#],
    );
    assert!(lines.len() < 200, "{} lines", lines.len());
    let lines = lines_of("/panicked");
    assert_says(&lines[0], &["ERROR", "a handler panicked", r#"event="panic""#, "handler=\"logs::"]);
}

#[tokio::test]
async fn handlers_that_cannot_work_are_told_when_they_are_registered() {
    struct Missing;
    LazyLock::force(&LOG);
    let io = Switchboard::builder().workers(1).state(7_u8).build().expect("the options are good");
    let chat = io.of("/registered");
    for event in ["connect", "connection", "disconnect", "disconnecting", "error"] {
        chat.on(event, |_: Socket| ());
        chat.on(event, |_: Socket| ());
    }
    chat.on("say", |_: State<u8>, _: State<Missing>| ());
    chat.on_connect(async |_: State<Missing>| ());
    let lines = lines_of("/registered");
    for (line, (event, instead)) in lines.iter().zip([
        ("connect", "on_connect"),
        ("connection", "on_connect"),
        ("disconnect", "on_disconnect"),
        ("disconnecting", "on_disconnect"),
        ("error", "on_error"),
    ]) {
        let parts = ["WARN", &format!("event=\"{event}\""), &format!("instead=\"{instead}\"")];
        assert_says(line, &parts.map(|part| part as &str));
    }
    assert_says(&lines[5], &["ERROR", r#"event="say""#, "Missing", "Builder::state"]);
    assert_says(&lines[6], &["ERROR", r#"registered_by="on_connect""#, "Missing"]);
    assert_eq!(lines.len(), 7, "{lines:#?}");
}

#[tokio::test]
async fn a_handler_that_holds_events_back_for_long_is_named_once() {
    LazyLock::force(&LOG);
    let builder = Switchboard::builder().workers(1).held_warning(Duration::from_millis(1));
    let gate = Signal::new();
    let server = Server::start(builder, |io| {
        for name in ["/held", "/quiet"] {
            let gate = gate.clone();
            io.of(name).on("wait", async move || gate.passed().await);
            io.of(name).on("echo", |Data(text): Data<String>| text);
        }
        let connect = gate.clone();
        io.of("/connect").on_connect(async move || connect.passed().await);
        io.of("/connect").on("echo", |Data(text): Data<String>| text);
        let concurrent = gate.clone();
        io.of("/concurrent").on_concurrent("wait", async move || concurrent.passed().await);
        io.of("/concurrent").on("echo", |Data(text): Data<String>| text);
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.open().await;
        for name in ["/held", "/quiet", "/connect", "/concurrent"] {
            client.join(name).await;
        }
        client.send(r#"42/quiet,["wait"]"#).await;
        client.send(r#"42/held,["wait"]"#).await;
        client.send(r#"42/held,["echo","held"]"#).await;
        client.send(r#"42/connect,["echo","held"]"#).await;
        client.send(r#"42/concurrent,["wait"]"#).await;
        client.ask(r#"42/concurrent,1["echo","on"]"#, r#"43/concurrent,1["on"]"#).await;
        clients.push(client);
    }
    let warned = async {
        while lines_of("/held").is_empty() || lines_of("/connect").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a warning", warned).await;
    gate.open();
    for client in &mut clients {
        client.ask(r#"42/held,2["echo","on"]"#, r#"43/held,2["on"]"#).await;
    }
    let lines = lines_of("/held");
    assert_says(&lines[0], &["WARN", r#"event="wait""#, "on_concurrent"]);
    assert_says(&lines_of("/connect")[0], &["WARN", r#"registered_by="on_connect""#]);
    for (name, lines) in [("/held", 1), ("/connect", 1), ("/quiet", 0), ("/concurrent", 0)] {
        assert_eq!(lines_of(name).len(), lines, "{:#?}", lines_of(name));
    }
}
