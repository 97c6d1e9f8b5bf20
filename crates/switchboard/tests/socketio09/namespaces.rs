//! Endpoints: how they are joined, refused and left.

use switchboard::{Auth, Data, DisconnectReason, Error, Socket, Value};

use crate::client::{Polling, Socket09, builder, payload};
use crate::harness::{Server, Signal, log};

#[tokio::test]
async fn an_endpoint_is_joined_with_or_without_a_query_and_left() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| {
        let chat = io.of("/chat");
        let auths = said.clone();
        chat.on_connect(move |Auth(auth): Auth<Value>| auths.say(format!("{auth:?}")));
        chat.on("echo", |socket: Socket, Data(text): Data<String>| socket.emit("echo", text));
        chat.on("away", |socket: Socket| socket.disconnect(false));
        chat.on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let mut client = Socket09::open(&server).await;
    for connect in ["1::/chat", "1::/chat?token=a%20b&x", "1::/chat:?token=c"] {
        client.ask(connect, "1::/chat").await;
        let auth = told.next().await;
        let expected = match connect {
            "1::/chat" => None,
            "1::/chat:?token=c" => Some("c"),
            _ => Some("a b"),
        };
        assert!(expected.is_none_or(|token| auth.contains(&format!("{token:?}"))), "{auth}");
        client
            .ask(r#"5::/chat:{"name":"echo","args":["hi"]}"#, r#"5::/chat:{"name":"echo","args":["hi"]}"#)
            .await;
        // A second connect is confirmed, and changes nothing.
        client.ask("1::/chat?other=1", "1::/chat").await;
        client.send("0::/chat").await;
        assert_eq!(told.next().await, "client namespace disconnect");
    }
    client.ask("1::/chat", "1::/chat").await;
    told.next().await;
    client.ask(r#"5::/chat:{"name":"away"}"#, "0::/chat").await;
    assert_eq!(told.next().await, "server namespace disconnect");
    // The session goes on.
    client.ask("1::/chat", "1::/chat").await;
}

#[tokio::test]
async fn an_endpoint_that_is_refused_or_unknown_is_told_so() {
    let server = Server::start(builder(), |io| {
        io.of("/closed").middleware(|_: Socket| Err::<(), _>(Error::new("not today")));
        io.of("/chat").on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
    })
    .await;
    let mut client = Socket09::open(&server).await;
    client.ask("1::/closed", "7::/closed:2").await;
    client.ask("1::/nowhere", "7::/nowhere:2").await;
    client.ask("1::/chat", "1::/chat").await;
    client.ask(r#"5:1+:/chat:{"name":"sum","args":[1,2]}"#, "6::/chat:1+[3]").await;
    client.ask(r#"5:2:/chat:{"name":"sum","args":[1,2]}"#, "6::/chat:2").await;
}

#[tokio::test]
async fn a_client_that_may_not_be_in_the_main_endpoint_has_no_session() {
    let server = Server::start(builder(), |io| {
        io.root().middleware(|_: Socket| Err::<(), _>(Error::new("not today")));
    })
    .await;
    let sid = crate::client::shake_hands(&server).await;
    let mut client = Socket09::at(server.address, &format!("/socket.io/1/websocket/{sid}")).await;
    client.expect("7:::2").await;
    assert_eq!(client.next().await, None);
    let client = Polling::at(&server, &crate::client::shake_hands(&server).await);
    assert_eq!(client.get().await, "7:::2");
    client.is_unknown().await;
}

#[tokio::test]
async fn events_that_come_before_their_endpoint_is_joined_wait_in_order() {
    let (gate, (said, mut told)) = (Signal::new(), log());
    let passed = gate.clone();
    let server = Server::start(builder().max_held_bytes(1000), |io| {
        let slow = io.of("/slow");
        slow.middleware(async move |_: Socket| passed.passed().await);
        let word = said.clone();
        slow.on("say", move |Data(n): Data<u32>| word.say(n.to_string()));
        io.root().on("say", move |Data(n): Data<u32>| said.say(format!("root {n}")));
    })
    .await;
    let mut client = Socket09::open(&server).await;
    client.send("1::/slow").await;
    for n in 0..3 {
        client.send(&format!(r#"5::/slow:{{"name":"say","args":[{n}]}}"#)).await;
    }
    // What came behind them for another namespace is handled: they are there, and wait.
    client.send(r#"5:::{"name":"say","args":[0]}"#).await;
    assert_eq!(told.next().await, "root 0");
    gate.open();
    for n in 0..3 {
        assert_eq!(told.next().await, n.to_string());
    }
    client.close().await;
    // More than may wait: the client is not read for a while, and nothing is lost.
    let mut client = Socket09::open(&server).await;
    client.send("1::/slow").await;
    for n in 0..20 {
        client.send(&format!(r#"5::/slow:{{"name":"say","args":[{n}]}}"#)).await;
    }
    client.send(r#"5:::{"name":"say","args":[1]}"#).await;
    gate.open();
    client.expect("1::/slow").await;
    for n in 0..20 {
        assert_eq!(told.next().await, n.to_string());
    }
    assert_eq!(told.next().await, "root 1");
}

#[tokio::test]
async fn a_post_is_answered_when_its_events_that_came_early_may_wait() {
    let (gate, (said, mut told)) = (Signal::new(), log());
    let passed = gate.clone();
    let server = Server::start(builder().max_held_bytes(400), |io| {
        let slow = io.of("/slow");
        slow.middleware(async move |_: Socket| passed.passed().await);
        slow.on("say", move |Data(n): Data<u32>| said.say(n.to_string()));
    })
    .await;
    let client = Polling::open(&server).await;
    let packets: Vec<_> = std::iter::once("1::/slow".to_owned())
        .chain((0..20).map(|n| format!(r#"5::/slow:{{"name":"say","args":[{n}]}}"#)))
        .collect();
    let body = payload(&packets);
    let ((), connected) = tokio::join!(client.post(&body), async {
        gate.open();
        client.get().await
    });
    assert_eq!(connected, "1::/slow");
    for n in 0..20 {
        assert_eq!(told.next().await, n.to_string());
    }
}
