//! Events that come before a handler is registered for them.

use std::time::Duration;

use switchboard::{Data, EarlyEvents, Event, Socket, Switchboard};

use crate::harness::{Log, Server, Told, log};

fn bounds() -> EarlyEvents {
    EarlyEvents::default()
}

/// A server that registers a socket's handler of `say` when its client asks for it, and says what is refused.
async fn server(bounds: EarlyEvents, set_up: impl FnOnce(&Switchboard, &Log)) -> (Server, Told) {
    let (said, told) = log();
    let refused = said.clone();
    let builder = Switchboard::builder()
        .workers(2)
        .early_events(bounds)
        .on_refused(move |event| refused.say(format!("{} {:?}: {}", event.count, event.kind, event.reason)));
    let server = Server::start(builder, |io| {
        let handler = said.clone();
        io.root().on("register", move |socket: Socket| {
            let said = handler.clone();
            socket.on("say", move |Data(text): Data<String>| {
                said.say(&text);
                text
            })
        });
        io.root().on("barrier", || ());
        set_up(io, &said);
    })
    .await;
    (server, told)
}

#[tokio::test]
async fn early_events_are_handed_over_in_order_when_a_socket_registers_a_handler() {
    let (server, mut told) = server(bounds(), |io, said| {
        let said = said.clone();
        io.root().on_any(move |Event(event): Event| said.say(format!("any {event}")));
    })
    .await;
    let mut client = server.client().await;
    for packet in [
        r#"421["say","a"]"#,
        r#"42["other",1]"#,
        r#"42["say","b"]"#,
        r#"422["register"]"#,
        r#"423["say","c"]"#,
    ] {
        client.send(packet).await;
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.text().await);
    }
    assert_eq!(answers, ["432[]", r#"431["a"]"#, r#"433["c"]"#]);
    let words = told.now();
    // A handler of all events sees each of them once.
    assert_eq!(words, ["any say", "any other", "any say", "any register", "a", "b", "any say", "c"]);
}

#[tokio::test]
async fn early_events_are_handed_over_when_a_namespace_registers_a_handler() {
    let (server, mut told) = server(bounds(), |_, _| ()).await;
    let mut clients = Vec::new();
    for n in 0..4 {
        let mut client = server.client().await;
        client.send(&format!(r#"42["late",{n}]"#)).await;
        client.ask(r#"421["barrier"]"#, "431[]").await;
        clients.push(client);
    }
    let (said, _) = log();
    drop(said);
    let (late, mut heard) = log();
    server.io.root().on("late", move |Data(n): Data<usize>| late.say(n.to_string()));
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(heard.next().await);
    }
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
    assert_eq!(told.now(), [""; 0]);
}

#[tokio::test]
async fn a_handler_for_one_event_takes_one_and_the_others_wait_on() {
    let (server, mut told) = server(bounds(), |io, said| {
        let said = said.clone();
        io.root().on("once", move |socket: Socket| {
            let said = said.clone();
            socket.once("say", move |Data(text): Data<String>| said.say(format!("once {text}")))
        });
    })
    .await;
    let mut client = server.client().await;
    for packet in [r#"42["say","a"]"#, r#"42["say","b"]"#, r#"42["once"]"#, r#"42["register"]"#] {
        client.send(packet).await;
    }
    client.ask(r#"421["barrier"]"#, "431[]").await;
    assert_eq!(told.now(), ["once a", "b"]);
}

#[tokio::test]
async fn early_events_beyond_the_bounds_are_dropped_and_told() {
    let mut few = bounds();
    few.max_events = 2;
    let mut small = bounds();
    small.max_bytes = 700;
    for (bounds, kept) in [(few, 2), (small, 1)] {
        let (server, mut told) = server(bounds, |_, _| ()).await;
        let mut client = server.client().await;
        let text = "x".repeat(300);
        for _ in 0..4 {
            client.send(&format!(r#"42["say","{text}"]"#)).await;
        }
        client.ask(r#"421["register"]"#, "431[]").await;
        client.ask(r#"422["barrier"]"#, "432[]").await;
        let words = told.now();
        let dropped = words.iter().filter(|word| *word == "1 Event: no handler").count();
        assert_eq!(
            (dropped, words.iter().filter(|word| **word == text).count()),
            (4 - kept, kept),
            "{words:?}"
        );
    }
}

#[tokio::test]
async fn early_events_whose_time_is_over_are_dropped_and_told() {
    let mut short = bounds();
    short.time = Duration::from_millis(1);
    let (server, mut told) = server(short, |_, _| ()).await;
    let mut client = server.client().await;
    client.send(r#"42["say","a"]"#).await;
    assert_eq!(told.next().await, "1 Event: no handler");
    client.ask(r#"421["register"]"#, "431[]").await;
    client.ask(r#"422["say","b"]"#, r#"432["b"]"#).await;
    assert_eq!(told.now(), ["b"]);
}

#[tokio::test]
async fn early_events_of_a_client_that_leaves_are_dropped_and_told() {
    let (server, mut told) = server(bounds(), |_, _| ()).await;
    let mut client = server.client().await;
    client.send(r#"42["say","a"]"#).await;
    client.send(r#"42["say","b"]"#).await;
    client.close().await;
    assert_eq!(told.next().await, "2 Event: no handler");
}

#[tokio::test]
async fn an_early_event_that_is_malformed_closes_the_session() {
    let (server, mut told) = server(bounds(), |_, _| ()).await;
    let mut client = server.client().await;
    client.send(r#"42["say",nonsense]"#).await;
    assert_eq!(client.ended().await, [""; 0]);
    assert_eq!(told.next().await, "1 Packet: parse error");
}
