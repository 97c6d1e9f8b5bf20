//! Packets of 0.9, in both directions.

use switchboard::{Binary, Data, DisconnectReason, Error, Socket};

use crate::client::{Socket09, answering, builder, telling};
use crate::harness::{Server, log};

#[tokio::test]
async fn messages_events_and_acknowledgements_are_answered_in_their_form() {
    let server = Server::start(builder(), answering).await;
    let mut client = Socket09::open(&server).await;
    for (packet, answer) in [
        ("3:::hello", "3:::hello"),
        ("3::", "3:::"),
        ("3:::", "3:::"),
        ("3:::a:b\nc \u{1f600}", "3:::a:b\nc \u{1f600}"),
        (r#"4:::"json""#, "3:::json"),
        (
            r#"5:::{"name":"echo","args":["\ud83d\ude00 \u20ac"]}"#,
            "5:::{\"name\":\"echo\",\"args\":[\"\u{1f600} \u{20ac}\"]}",
        ),
        (r#"5:::{"name":"message","args":["as an event"]}"#, "3:::as an event"),
        // Half of an emoji is replaced.
        (r#"5:::{"name":"echo","args":["\ud83d"]}"#, "5:::{\"name\":\"echo\",\"args\":[\"\u{fffd}\"]}"),
        // An id with a plus is acknowledged with data by the application.
        (r#"5:7+::{"name":"sum","args":[20,22]}"#, "6:::7+[42]"),
        (r#"5:18446744073709551615+::{"name":"sum","args":[1,2]}"#, "6:::18446744073709551615+[3]"),
        (r#"5:8+::{"name":"join","args":["hall"]}"#, "6:::8"),
    ] {
        client.ask(packet, answer).await;
    }
    // An id without one is acknowledged at once.
    client.ask("3:9::hi", "6:::9").await;
    client.expect("3:::hi").await;
    client.ask(r#"5:10::{"name":"sum","args":[1,2]}"#, "6:::10").await;
    client.ask("3:::next", "3:::next").await;
}

#[tokio::test]
async fn the_server_asks_for_acknowledgements_with_data() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| {
        io.root().on("ask me", async move |socket: Socket| -> switchboard::Result {
            let answer: (String, u8) = socket.emit_with_ack("question", (1, "two")).await?;
            let nothing: () = socket.emit_with_ack("again", ()).await?;
            said.say(format!("{answer:?} {nothing:?}"));
            Ok(())
        });
    })
    .await;
    let mut client = Socket09::open(&server).await;
    client.ask(r#"5:::{"name":"ask me"}"#, r#"5:1+::{"name":"question","args":[1,"two"]}"#).await;
    // One that nobody awaits is no harm.
    client.send(r#"6:::99+["x"]"#).await;
    client.send("6:::0").await;
    client.ask(r#"6:::1+["yes",3]"#, r#"5:2+::{"name":"again"}"#).await;
    client.send("6:::2").await;
    assert_eq!(told.next().await, r#"("yes", 3) ()"#);
}

#[tokio::test]
async fn bytes_are_objects_with_base64_for_a_client_that_has_none() {
    let server = Server::start(builder(), |io| {
        io.root().on("picture", |socket: Socket| -> Result<Binary, Error> {
            socket.emit("picture", ("a.png", Binary::from(b"\x00\xff")))?;
            socket.namespace().emit("all", Binary::from(b"hi"))?;
            Ok(Binary::from(b"ack"))
        });
    })
    .await;
    let mut client = Socket09::open(&server).await;
    client.send(r#"5:1+::{"name":"picture"}"#).await;
    client.expect(r#"5:::{"name":"picture","args":["a.png",{"base64":"AP8="}]}"#).await;
    client.expect(r#"5:::{"name":"all","args":[{"base64":"aGk="}]}"#).await;
    client.expect(r#"6:::1+[{"base64":"YWNr"}]"#).await;
}

#[tokio::test]
async fn what_means_nothing_is_passed_over() {
    let server = Server::start(builder(), answering).await;
    let mut client = Socket09::open(&server).await;
    for packet in [
        // Names of the library's own events, an event without a handler, and what only servers send.
        r#"5:::{"name":"disconnect","args":["booted"]}"#,
        r#"5:::{"name":"connect"}"#,
        r#"5:::{"name":"nobody hears this"}"#,
        "7:::1+0",
        "8::",
        "2::",
        // Namespaces that were not joined, or that there are not.
        r#"5:4+:/chat:{"name":"sum","args":[1,2]}"#,
        "3:4:/nowhere:hello",
        "0::/chat",
        "6::/chat:1",
    ] {
        client.send(packet).await;
    }
    client.ask("3:::still here", "3:::still here").await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_closed() {
    for packet in [
        "",
        "9::",
        "hello",
        "5:::",
        "5:::{",
        r#"5:::{"args":[]}"#,
        r#"5:::{"name":1}"#,
        "4:::{",
        "6:::x",
        "6:::1+{}",
        "5:x::{}",
        // A payload is no packet of a WebSocket.
        "\u{fffd}5\u{fffd}3:::a\u{fffd}5\u{fffd}3:::b",
    ] {
        let (said, mut told) = log();
        let server = Server::start(builder(), |io| telling(io, said)).await;
        let mut client = Socket09::open(&server).await;
        client.send(packet).await;
        assert_eq!(client.next().await, None, "{packet:?}");
        assert_eq!(told.next().await, DisconnectReason::ParseError.as_str());
    }
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| telling(io, said)).await;
    let mut client = Socket09::open(&server).await;
    client.send_binary(b"3:::a").await;
    assert_eq!(client.next().await, None);
    assert_eq!(told.next().await, DisconnectReason::ParseError.as_str());
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_no_end() {
    let server = Server::start(builder(), |io| {
        answering(io);
        io.root().on("number", |Data(number): Data<u8>| number);
    })
    .await;
    let mut client = Socket09::open(&server).await;
    client.send(r#"5:1+::{"name":"number","args":["no"]}"#).await;
    client.ask(r#"5:2+::{"name":"number","args":[5]}"#, "6:::2+[5]").await;
}
