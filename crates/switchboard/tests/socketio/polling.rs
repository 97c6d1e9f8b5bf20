//! Sessions on polling: their rules and their ends.

use std::task::Poll;
use std::time::Duration;

use switchboard::{Data, DisconnectReason, SessionCookie, Socket, Switchboard, TrustedProxies};
use switchboard_websocket::{Config, WebSocketStream};
use tower_service::Service;

use crate::harness::{Polling, Server, Signal, log, request, soon};

fn byes(socket: &Socket) {
    for n in 0..100 {
        socket.emit("bye", n).expect("room");
    }
    socket.disconnect(true).expect("it is connected");
}

fn told_byes() -> Vec<String> {
    (0..100).map(|n| format!(r#"42["bye",{n}]"#)).chain(["41".to_owned()]).collect()
}

/// Joins the root namespace, and fetches all waiting packets.
async fn joined(server: &Server) -> Polling {
    let client = Polling::open(server).await;
    client.post("40").await;
    assert_eq!(client.get().await.len(), 1);
    client
}

#[tokio::test]
async fn a_close_waits_for_a_poll_of_its_own_where_anything_waits_before_it() {
    let server = Server::workers(1, |io| {
        io.root().on("leave", |socket: Socket| byes(&socket));
        io.of("/shy").on_connect(|socket: Socket| byes(&socket));
    })
    .await;
    let client = joined(&server).await;
    client.post(r#"42["leave"]"#).await;
    assert_eq!(client.get().await, told_byes());
    assert_eq!(client.get().await, ["6", "1"]);
    client.is_unknown().await;
    // The same if a poll waits at that time.
    let client = joined(&server).await;
    let (packets, ()) = tokio::join!(client.get(), client.post(r#"42["leave"]"#));
    assert_eq!(packets, told_byes());
    assert_eq!(client.get().await, ["6", "1"]);
    client.is_unknown().await;
    // In `on_connect`.
    let client = Polling::open(&server).await;
    client.post("40/shy,").await;
    let packets = client.get().await;
    assert_eq!(packets.len(), 102, "{packets:?}");
    assert_eq!(packets.last().map(String::as_str), Some("41/shy,"));
    assert_eq!(client.get().await, ["6", "1"]);
}

#[tokio::test]
async fn a_session_that_is_closed_amid_its_upgrade_tells_all_over_websocket() {
    let server = Server::workers(1, |io| {
        io.root().on("leave", |socket: Socket| byes(&socket));
    })
    .await;
    let client = joined(&server).await;
    let mut probe = server.probe(&client).await;
    probe.ask("2probe", "3probe").await;
    // From here on the client polls no more. Only its POST was under way.
    client.post(r#"42["leave"]"#).await;
    probe.send("5").await;
    assert_eq!(probe.ended().await, told_byes());
    client.is_unknown().await;
}

#[tokio::test]
async fn a_disconnect_from_outside_is_told_before_the_close() {
    let server = Server::workers(1, |_| {}).await;
    let client = joined(&server).await;
    server.io.root().emit("bye", 1).expect("room");
    server.io.root().all().disconnect(true).expect("room");
    assert_eq!(client.get().await, [r#"42["bye",1]"#, "41"]);
    // A client that has not yet seen the close may send a POST.
    client.post(r#"42["late"]"#).await;
    assert_eq!(client.get().await, ["6", "1"]);
    client.is_unknown().await;
}

#[tokio::test]
async fn a_session_that_broke_is_not_kept() {
    let (said, mut told) = log();
    let builder = Switchboard::builder()
        .workers(1)
        .ping_interval(Duration::from_millis(50))
        .ping_timeout(Duration::from_millis(200));
    let server = Server::start(builder, |io| {
        io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let client = joined(&server).await;
    assert_eq!(client.answer("POST", "", "abc").await.0, 400);
    assert_eq!(told.next().await, "parse error");
    client.is_unknown().await;
    // Protocol 4 has no binary payloads.
    let client = joined(&server).await;
    let binary = "content-type: application/octet-stream\r\n";
    assert_eq!(client.answer("POST", binary, "4").await, (400, String::new()));
    assert_eq!(told.next().await, "transport error");
    client.is_unknown().await;
    let client = joined(&server).await;
    assert_eq!(told.next().await, "ping timeout");
    client.is_unknown().await;
}

#[tokio::test]
async fn a_post_brings_as_many_events_as_its_bytes_allow() {
    const EVENTS: usize = 20_000;
    let server = Server::workers(1, |io| {
        io.root().on("n", |Data(n): Data<usize>| n);
    })
    .await;
    let client = joined(&server).await;
    let events: Vec<_> = (0..EVENTS).map(|n| format!(r#"42{n}["n",{n}]"#)).collect();
    client.post(&events.join("\x1e")).await;
    let mut answers = Vec::new();
    while answers.len() < EVENTS {
        answers.extend(client.get().await);
    }
    assert_eq!(answers, (0..EVENTS).map(|n| format!("43{n}[{n}]")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_post_while_another_is_held_is_an_overlap() {
    let (said, mut told) = log();
    let gate = Signal::new();
    let waits = gate.clone();
    let builder = Switchboard::builder().workers(1).max_held_bytes(1000);
    let server = Server::start(builder, |io| {
        io.root().on("load", async move |_: Socket, Data(_): Data<String>| waits.passed().await);
        io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let client = joined(&server).await;
    let load = format!(r#"42["load","{}"]"#, "x".repeat(2000));
    let first = tokio::spawn({
        let (client, load) = (client.clone(), [load.as_str(); 2].join("\x1e"));
        async move { client.answer("POST", "", &load).await }
    });
    // Only a held POST makes the next one an overlap.
    let second = soon("a refusal", async {
        loop {
            let answer = client.answer("POST", "", "6").await;
            if answer.0 != 200 {
                return answer;
            }
        }
    });
    assert_eq!(second.await, (400, String::new()));
    assert_eq!(first.await.expect("no panic").0, 200);
    gate.open();
    assert_eq!(told.next().await, "transport error");
    client.is_unknown().await;
}

#[tokio::test]
async fn a_post_that_is_held_is_answered_when_the_session_is_upgraded() {
    let gate = Signal::new();
    let waits = gate.clone();
    let (said, mut told) = log();
    let builder = Switchboard::builder().workers(1).max_held_bytes(1000);
    let server = Server::start(builder, |io| {
        io.root().on("load", async move |socket: Socket, Data(_): Data<String>| {
            said.say("load");
            waits.passed().await;
            socket.emit("done", ())
        });
    })
    .await;
    let client = joined(&server).await;
    let mut probe = server.probe(&client).await;
    probe.ask("2probe", "3probe").await;
    let load = [format!(r#"42["load","{}"]"#, "x".repeat(2000)), r#"42["load",""]"#.to_owned()].join("\x1e");
    let (held, ()) = tokio::join!(client.answer("POST", "", &load), async {
        assert_eq!(told.next().await, "load");
        // Out of order: a correct client waits until its POST returns.
        probe.send("5").await;
    });
    assert_eq!(held, (200, "ok".to_owned()));
    gate.open();
    assert_eq!(told.next().await, "load");
    probe.expect(r#"42["done"]"#).await;
    probe.expect(r#"42["done"]"#).await;
}

#[tokio::test]
async fn a_broadcast_before_a_shutdown_reaches_a_client_that_polls() {
    for workers in [1, 2] {
        let server = Server::workers(workers, |_| {}).await;
        let client = joined(&server).await;
        // The kernel decides whether the first poll is already waiting.
        let polls = tokio::spawn(async move { [client.try_get().await, client.try_get().await] });
        server.io.root().emit("bye", 1).expect("room");
        assert!(server.io.shutdown(Duration::from_secs(30)).await);
        let answers = polls.await.expect("no panic");
        for (answer, packets) in answers.iter().zip(["42[\"bye\",1]", "1"]) {
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(packets), "{answer}");
        }
    }
}

/// A handshake on polling: the head and the body of the response.
async fn handshake(server: &Server, headers: &str) -> (String, String) {
    let target = "/socket.io/?EIO=4&transport=polling";
    soon("a handshake", request(server.address, "GET", target, headers, "")).await
}

#[tokio::test]
async fn sessions_are_as_many_as_the_options_let_in() {
    let server = Server::start(Switchboard::builder().workers(2).max_sessions(3), |_| {}).await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(Polling::open(&server).await);
    }
    let websocket = server.open().await;
    let (head, body) = handshake(&server, "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "too many sessions\n");
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let refused = soon("a refusal", WebSocketStream::connect(&url, &Config::default())).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("503")));
    // A session that ends makes room.
    sessions[0].post("1").await;
    let _in = Polling::open(&server).await;
    drop(websocket);
}

#[tokio::test]
async fn sessions_from_one_address_are_as_many_as_the_options_let_in() {
    let proxies = TrustedProxies::loopback();
    let builder = Switchboard::builder().workers(1).max_sessions_per_address(1).trusted_proxies(proxies);
    let server = Server::start(builder, |_| {}).await;
    for (address, status) in [("192.0.2.1", "200"), ("192.0.2.1", "503"), ("192.0.2.2", "200")] {
        let (head, body) = handshake(&server, &format!("x-forwarded-for: {address}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{address}: {head}");
        assert_eq!(body == "too many sessions from one address\n", status == "503", "{body}");
    }
}

#[tokio::test]
async fn a_session_ends_whose_opener_leaves_before_its_answer() {
    loop {
        let server = Server::start(Switchboard::builder().workers(1).max_sessions(1), |_| {}).await;
        let mut service = server.io.service();
        let mut open = || {
            let request = http::Request::get("/socket.io/?EIO=4&transport=polling").body(String::new());
            Box::pin(service.call(request.expect("it is a request")))
        };
        let mut opening = open();
        let waits = std::future::poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx).is_pending())).await;
        drop(opening);
        if !waits {
            // The worker was faster: the test tries again.
            continue;
        }
        // Otherwise the session would count until its heartbeat ends it.
        let opened = async { while open().await.expect("it does not fail").status() != 200 {} };
        return soon("room for a session", opened).await;
    }
}

#[tokio::test]
async fn the_first_answer_on_polling_sets_the_cookie_and_no_other_does() {
    let builder = Switchboard::builder().workers(1).cookie(SessionCookie::default());
    let server = Server::start(builder, |_| {}).await;
    let (head, body) = handshake(&server, "").await;
    let sid = body.split('"').nth(3).expect("a session id");
    assert!(head.contains(&format!("set-cookie: io={sid}; Path=/; HttpOnly; SameSite=Lax")), "{head}");
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    let (head, _) = request(server.address, "POST", &target, "", "40").await;
    assert!(!head.contains("cookie"), "{head}");
    let (head, _) = request(server.address, "GET", &target, "", "").await;
    assert!(!head.contains("cookie"), "{head}");
    assert!(Switchboard::builder().cookie(SessionCookie::new("a b")).build().is_err());
}

#[tokio::test]
async fn a_request_that_names_another_version_than_its_sessions_harms_nobody() {
    let server = Server::workers(1, |_| {}).await;
    let client = joined(&server).await;
    let bad = r#"{"code":3,"message":"Bad request"}"#;
    for version in ["EIO=3&", ""] {
        let target = format!("/socket.io/?{version}transport=polling&sid={}", client.sid());
        for method in ["GET", "POST"] {
            let (head, body) = request(server.address, method, &target, "", "").await;
            assert!(head.starts_with("HTTP/1.1 400"), "{head}");
            assert_eq!(body, bad);
        }
    }
    server.io.root().emit("still", "here").expect("room");
    assert_eq!(client.get().await, [r#"42["still","here"]"#]);
}
