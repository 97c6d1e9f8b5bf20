//! Bounds on sessions, workers, and the end of the server.

use std::time::Duration;

use switchboard::Socket;

use crate::client::{Polling, Socket09, Stream, answering, ask, builder, shake_hands, telling};
use crate::harness::{Server, log, soon};

#[tokio::test]
async fn sessions_are_found_on_the_worker_that_they_belong_to() {
    let server = Server::start(builder().workers(4), answering).await;
    for _ in 0..8 {
        let client = Polling::open(&server).await;
        client.post("3:::here").await;
        assert_eq!(client.get().await, "3:::here");
        let mut socket = Socket09::open(&server).await;
        socket.ask("3:::here", "3:::here").await;
        let (status, id) = ask(server.address, "GET", "/socket.io/xhr-polling//1", "").await;
        assert_eq!(status, 200);
        let id = id.rsplit('~').next().expect("an id");
        let target = format!("/socket.io/xhr-polling/{id}/send");
        assert_eq!(ask(server.address, "POST", &target, "data=~m~4~m~here").await, (200, "ok".to_owned()));
        assert_eq!(
            ask(server.address, "GET", &format!("/socket.io/xhr-polling/{id}/1"), "").await.1,
            "~m~4~m~here"
        );
    }
}

#[tokio::test]
async fn an_ended_session_makes_room_for_another() {
    let server = Server::start(builder().max_sessions(2).max_sessions_per_address(1), answering).await;
    let mut client = Socket09::open(&server).await;
    let refused = (503, "too many sessions from one address\n".to_owned());
    assert_eq!(ask(server.address, "GET", "/socket.io/1/", "").await, refused);
    client.ask("0::", "0::").await;
    assert_eq!(client.next().await, None);
    let polling = Polling::open(&server).await;
    polling.post("0::").await;
    assert_eq!(polling.get().await, "0::");
    shake_hands(&server).await;
}

#[tokio::test]
async fn a_full_outbox_of_a_client_that_does_not_poll_ends_its_session() {
    let (said, mut told) = log();
    let server = Server::start(builder().max_outbox_bytes(10_000), |io| {
        telling(io, said);
        io.root().on("flood", |socket: Socket| {
            let text = "x".repeat(1000);
            while socket.emit("message", &text).is_ok() {}
        });
    })
    .await;
    let client = Polling::open(&server).await;
    client.post(r#"5:::{"name":"flood"}"#).await;
    assert_eq!(told.next().await, "forced server close");
    // What was not refused is there for the next poll.
    assert_eq!(client.get().await.matches("3:::xxx").count(), 10);
    client.is_unknown().await;
}

#[tokio::test]
async fn a_server_that_shuts_down_tells_polls_pages_and_websockets() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| {
        answering(io);
        telling(io, said);
    })
    .await;
    let client = Polling::open(&server).await;
    let mut old = client.begin_get().await;
    let mut poll = client.begin_get().await;
    // One of the two has taken the other's place: the server has both.
    let poll = tokio::select! {
        _ = old.until("8::") => poll,
        _ = poll.until("8::") => old,
    };
    let page = Polling::at(&server, &shake_hands(&server).await);
    let mut html = Stream::get(server.address, &format!("/socket.io/1/htmlfile/{}", page.sid())).await;
    html.until(r#"_("1::");</script>"#).await;
    let mut websocket = Socket09::open(&server).await;
    let ended = tokio::join!(soon("the end", server.io.shutdown(Duration::from_secs(20))), async {
        assert!(poll.rest().await.ends_with("7:::1+0"));
        assert!(html.rest().await.ends_with("0\r\n\r\n"));
        assert_eq!(websocket.next().await, None);
        websocket.close().await;
    },);
    assert!(ended.0, "all ended by themselves");
    for _ in 0..3 {
        assert_eq!(told.next().await, "server shutting down");
    }
}
