//! Clients of all protocols in one room.

use switchboard::{Binary, Data, Socket};

use crate::client::{Polling, Socket09, Stream, answering, builder, frame, shake_hands};
use crate::harness::Server;

#[tokio::test]
async fn a_broadcast_reaches_clients_of_all_protocols_each_in_its_form() {
    let server = Server::start(builder(), |io| {
        answering(io);
        io.root().on("tell", |socket: Socket, Data(text): Data<String>| socket.to("hall").emit("told", text));
    })
    .await;
    let mut newest = server.client().await;
    newest.ask(r#"421["join","hall"]"#, "431[]").await;
    let mut websocket = Socket09::open(&server).await;
    websocket.ask(r#"5:1+::{"name":"join","args":["hall"]}"#, "6:::1").await;
    let polling = Polling::open(&server).await;
    polling.post(r#"5:1+::{"name":"join","args":["hall"]}"#).await;
    assert_eq!(polling.get().await, "6:::1");
    let page = Polling::at(&server, &shake_hands(&server).await);
    let mut html = Stream::get(server.address, &format!("/socket.io/1/htmlfile/{}", page.sid())).await;
    html.until(r#"_("1::");</script>"#).await;
    page.post(r#"5:1+::{"name":"join","args":["hall"]}"#).await;
    html.until(r#"_("6:::1");</script>"#).await;
    let mut oldest = Socket09::at(server.address, "/socket.io/websocket").await;
    oldest.next().await.expect("an id");
    oldest.send(&frame(r#"~j~{"name":"join","args":["hall"]}"#)).await;
    oldest
        .ask(&frame(r#"~j~{"name":"echo","args":["here"]}"#), &frame(r#"~j~{"name":"echo","args":["here"]}"#))
        .await;

    let picture = (1, "two \u{1f600}", Binary::from(b"hi"));
    server.io.root().to("hall").emit("news", picture).expect("room");
    newest.expect("451-[\"news\",1,\"two \u{1f600}\",{\"_placeholder\":true,\"num\":0}]").await;
    newest.expect("<hi>").await;
    let packet = "5:::{\"name\":\"news\",\"args\":[1,\"two \u{1f600}\",{\"base64\":\"aGk=\"}]}";
    websocket.expect(packet).await;
    assert_eq!(polling.get().await, packet);
    let data = "{\"name\":\"news\",\"args\":[1,\"two \u{1f600}\",{\"base64\":\"aGk=\"}]}";
    oldest.expect(&frame(&format!("~j~{data}"))).await;
    // Each of them tells the others.
    newest.send(r#"42["tell","from 5"]"#).await;
    websocket.expect(r#"5:::{"name":"told","args":["from 5"]}"#).await;
    html.until(r#"5:::{\"name\":\"told\",\"args\":[\"from 5\"]}");</script>"#).await;
    websocket.send(r#"5:::{"name":"tell","args":["from 1"]}"#).await;
    newest.expect(r#"42["told","from 1"]"#).await;
    polling.post(r#"5:::{"name":"tell","args":["from a poll"]}"#).await;
    newest.expect(r#"42["told","from a poll"]"#).await;
    oldest.send(&frame(r#"~j~{"name":"tell","args":["from 0.6"]}"#)).await;
    newest.expect(r#"42["told","from 0.6"]"#).await;
    assert_eq!(server.io.root().local_sockets().await.expect("sockets").len(), 5);
}

#[tokio::test]
async fn an_event_to_one_socket_and_events_in_order_with_broadcasts_arrive_in_order() {
    let server = Server::start(builder(), |io| {
        io.root().on("mixed", |socket: Socket| -> switchboard::Result {
            for n in 0..50 {
                socket.emit("own", n)?;
                socket.namespace().emit("all", n)?;
            }
            Ok(())
        });
    })
    .await;
    let mut client = Socket09::open(&server).await;
    client.send(r#"5:::{"name":"mixed"}"#).await;
    for n in 0..50 {
        client.expect(&format!(r#"5:::{{"name":"own","args":[{n}]}}"#)).await;
        client.expect(&format!(r#"5:::{{"name":"all","args":[{n}]}}"#)).await;
    }
}
