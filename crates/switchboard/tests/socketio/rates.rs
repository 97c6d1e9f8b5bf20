//! Clients that send more than they may.

use std::time::Duration;

use serde_json::json;
use switchboard::{Data, DisconnectReason, OverLimit, Rate, RateLimits, Switchboard};

use crate::harness::{Client, Polling, Server, Told, log};

const HOUR: Duration = Duration::from_secs(3600);

fn events(amount: u64) -> RateLimits {
    RateLimits::default().events(Rate::per(amount, HOUR))
}

const EXCEEDED: &str = r#"[{"error":"rate limit exceeded"}]"#;

/// A server whose namespaces `/` and `/other` acknowledge `echo`.
async fn server(builder: switchboard::Builder, set_up: impl FnOnce(&Switchboard)) -> (Server, Told) {
    let (said, told) = log();
    let server = Server::start(builder, |io| {
        for name in ["/", "/other"] {
            let said = said.clone();
            io.of(name).on("echo", |Data(text): Data<String>| text);
            io.of(name).on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
        }
        set_up(io);
    })
    .await;
    (server, told)
}

fn builder() -> switchboard::Builder {
    Switchboard::builder().workers(2)
}

/// Sends echoes; returns how many of them were answered, and not refused.
async fn echoes(client: &mut Client, namespace: &str, count: usize) -> usize {
    let mut answered = 0;
    for n in 0..count {
        client.send(&format!(r#"42{namespace}{n}["echo","x"]"#)).await;
        let answer = client.text().await;
        let expected = format!("43{namespace}{n}");
        match answer.strip_prefix(&expected) {
            Some(r#"["x"]"#) => answered += 1,
            refused => assert_eq!(refused, Some(EXCEEDED)),
        }
    }
    answered
}

#[tokio::test]
async fn events_beyond_a_sockets_rate_are_dropped_with_an_error_to_the_acknowledgement() {
    let (server, mut told) = server(builder().limit_sockets(events(3)), |_| ()).await;
    let mut client = server.client().await;
    assert_eq!(echoes(&mut client, "", 5).await, 3);
    // Without an acknowledgement nobody is told.
    client.send(r#"42["echo","x"]"#).await;
    // Each socket has a rate of its own.
    client.join("/other").await;
    assert_eq!(echoes(&mut client, "/other,", 5).await, 3);
    assert_eq!(echoes(&mut server.client().await, "", 5).await, 3);
    let polling = Polling::open(&server).await;
    polling.post("40").await;
    polling.get().await;
    let packets: Vec<_> = (0..5).map(|n| format!(r#"42{n}["echo","x"]"#)).collect();
    polling.post(&packets.join("\x1e")).await;
    let answers = polling.get().await;
    assert_eq!(answers.iter().filter(|answer| answer.ends_with(r#"["x"]"#)).count(), 3, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.ends_with(EXCEEDED)).count(), 2, "{answers:?}");
    assert_eq!(told.now().iter().filter(|word| *word != "transport close").count(), 0);
}

#[tokio::test]
async fn the_error_reply_of_the_namespace_answers_for_events_beyond_a_rate() {
    let (server, _told) = server(builder().limit_sockets(events(1)), |io| {
        io.root().on_error_reply(|context, error| json!([context.event(), error.public_message()]));
    })
    .await;
    let mut client = server.client().await;
    client.ask(r#"421["echo","x"]"#, r#"431["x"]"#).await;
    client.ask(r#"422["echo","x"]"#, r#"432[["echo","rate limit exceeded"]]"#).await;
}

#[tokio::test]
async fn bytes_are_limited_with_those_of_attachments() {
    let limits = RateLimits::default().bytes(Rate::per(200, HOUR));
    let (server, _told) = server(builder().limit_sockets(limits), |io| {
        io.root().on("count", |args: switchboard::Args| args.values().map(|values| values.len()));
    })
    .await;
    let mut client = server.client().await;
    assert_eq!(echoes(&mut client, "", 2).await, 2);
    client.send(r#"451-1["count",{"_placeholder":true,"num":0}]"#).await;
    client.send_binary(&[0; 180]).await;
    client.expect(&format!("431{EXCEEDED}")).await;
    assert_eq!(echoes(&mut client, "", 1).await, 1);
}

#[tokio::test]
async fn a_client_beyond_its_rate_is_held_back_and_loses_nothing() {
    let limits = RateLimits::default().over(OverLimit::HoldBack);
    let quick = limits.events(Rate::per(1, Duration::from_millis(2)).burst(3));
    let (server, _told) = server(builder().limit_sockets(quick), |io| {
        io.of("/other").limit_sockets(limits.events(Rate::per(2, HOUR)));
    })
    .await;
    let mut client = server.client().await;
    for n in 0..50 {
        client.send(&format!(r#"42{n}["echo","{n}"]"#)).await;
    }
    for n in 0..50 {
        client.expect(&format!(r#"43{n}["{n}"]"#)).await;
    }
    // One POST is handled whole. The next one is answered when there is room.
    let polling = Polling::open(&server).await;
    polling.post("40").await;
    polling.get().await;
    for n in 0..5 {
        polling
            .post(&format!("42{n}0[\"echo\",\"a\"]\x1e42{n}1[\"echo\",\"b\"]\x1e42{n}2[\"echo\",\"c\"]"))
            .await;
    }
    let mut answers = Vec::new();
    while answers.len() < 15 {
        answers.extend(polling.get().await);
    }
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("43")).count(), 15);
    // In the other namespace the third event would come in half an hour: the client is not read.
    let mut client = server.open().await;
    client.join("/other").await;
    for n in 0..3 {
        client.send(&format!(r#"42/other,{n}["echo","{n}"]"#)).await;
    }
    client.send("41/other,").await;
    for n in 0..2 {
        client.expect(&format!(r#"43/other,{n}["{n}"]"#)).await;
    }
    assert_eq!(server.io.of("/other").count().await.expect("a count"), 1, "its leave is not read");
}

#[tokio::test]
async fn a_client_beyond_its_rate_is_disconnected_if_that_is_asked_for() {
    let limits = events(2).over(OverLimit::Disconnect);
    let (server, mut told) = server(builder().limit_sockets(limits), |_| ()).await;
    let mut client = server.client().await;
    assert_eq!(echoes(&mut client, "", 2).await, 2);
    client.send(r#"421["echo","x"]"#).await;
    assert_eq!(client.ended().await, ["41"]);
    assert_eq!(told.next().await, "server namespace disconnect");
}

#[tokio::test]
async fn sockets_from_one_address_share_its_rate() {
    let limits = events(7).connects(Rate::per(3, HOUR));
    let (server, _told) = server(builder().limit_addresses(limits), |_| ()).await;
    let [mut first, mut second] = [server.client().await, server.client().await];
    assert_eq!(echoes(&mut first, "", 5).await, 5);
    assert_eq!(echoes(&mut second, "", 5).await, 2);
    first.close().await;
    // Nobody gains by coming again.
    let mut third = server.client().await;
    assert_eq!(echoes(&mut third, "", 1).await, 0);
    third.ask("40/other,", r#"44/other,{"message":"rate limit exceeded"}"#).await;
}

#[tokio::test]
async fn sockets_of_one_namespace_share_its_rate() {
    let (server, _told) = server(builder(), |io| {
        io.of("/other").limit(events(7).connects(Rate::per(2, HOUR)));
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        client.join("/other").await;
        clients.push(client);
    }
    assert_eq!(echoes(&mut clients[0], "/other,", 5).await, 5);
    assert_eq!(echoes(&mut clients[1], "/other,", 5).await, 2);
    assert_eq!(echoes(&mut clients[1], "", 5).await, 5);
    let mut third = server.open().await;
    third.ask("40/other,", r#"44/other,{"message":"rate limit exceeded"}"#).await;
}

#[tokio::test]
async fn connects_of_a_client_are_limited() {
    let limits = RateLimits::default().connects(Rate::per(2, HOUR));
    let (server, _told) = server(builder().limit_sockets(limits), |_| ()).await;
    let mut client = server.client().await;
    client.join("/other").await;
    client.send("41/other,").await;
    client.ask("40/other,", r#"44/other,{"message":"rate limit exceeded"}"#).await;
    assert_eq!(echoes(&mut client, "", 1).await, 1);
    let (server, _told) =
        self::server(builder().limit_sockets(limits.over(OverLimit::Disconnect)), |_| ()).await;
    let mut client = server.client().await;
    client.join("/other").await;
    client.send("41/other,").await;
    client.ask("40/other,", r#"44/other,{"message":"rate limit exceeded"}"#).await;
    assert_eq!(client.next().await, None);
}
