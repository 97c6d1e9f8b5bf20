//! The end of sockets and sessions: every cause has its reason.

use std::time::Duration;

use switchboard::{Data, DisconnectReason, EmitError, Socket, Switchboard};

use crate::harness::{Log, Server, Told, log, soon};

fn set_up(io: &Switchboard, said: &Log) {
    for name in ["/", "/other"] {
        let said = said.clone();
        io.of(name).on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            said.say(format!("{} {reason}", socket.namespace().name()));
        });
        io.of(name).on("leave", |socket: Socket| socket.disconnect(false));
        io.of(name).on("close", |socket: Socket| socket.disconnect(true));
    }
}

async fn two(told: &mut Told) -> [String; 2] {
    let mut reasons = [told.next().await, told.next().await];
    reasons.sort();
    reasons
}

#[tokio::test]
async fn every_cause_has_its_reason() {
    let cases = [
        ("1", "transport close"),
        ("2", "transport error"),
        ("garbage", "parse error"),
        ("49", "parse error"),
        (r#"450-["a"]"#, "parse error"),
        (r#"42["a"#, "parse error"),
        ("42/unjoined,[\"a\"]", "forced server close"),
        ("40", "forced server close"),
        (r#"44{"message":"x"}"#, "forced server close"),
        (r#"451-["x",{"_placeholder":true,"num":0}]"#, "parse error when interrupted"),
    ];
    for workers in [1, 4] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| set_up(io, &said)).await;
        for (packet, reason) in cases {
            let mut client = server.client().await;
            client.join("/other").await;
            client.send(packet).await;
            if reason == "parse error when interrupted" {
                client.send(r#"42["another"]"#).await;
            }
            client.ended().await;
            let reason = reason.trim_end_matches(" when interrupted");
            assert_eq!(two(&mut told).await, [format!("/ {reason}"), format!("/other {reason}")], "{packet}");
        }
        let mut client = server.client().await;
        client.join("/other").await;
        client.close().await;
        assert_eq!(two(&mut told).await, ["/ transport close", "/other transport close"]);
        let mut client = server.client().await;
        client.join("/other").await;
        client.reset();
        let reasons = two(&mut told).await;
        assert_eq!(reasons, ["/ transport error", "/other transport error"]);
    }
}

#[tokio::test]
async fn a_socket_leaves_its_namespace_alone() {
    for workers in [1, 4] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| set_up(io, &said)).await;
        let mut client = server.client().await;
        client.join("/other").await;
        client.send("41").await;
        assert_eq!(told.next().await, "/ client namespace disconnect");
        client.join("/").await;
        client.ask(r#"42["leave"]"#, "41").await;
        assert_eq!(told.next().await, "/ server namespace disconnect");
        client.join("/").await;
        // As in Node, closing first disconnects all of the client's sockets.
        client.send(r#"42["close"]"#).await;
        let mut packets = client.ended().await;
        packets.sort();
        assert_eq!(packets, ["41", "41/other,"]);
        assert_eq!(
            two(&mut told).await,
            ["/ server namespace disconnect", "/other server namespace disconnect"]
        );
    }
}

#[tokio::test]
async fn a_handle_of_a_socket_that_has_gone_fails() {
    for workers in [1, 4] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| set_up(io, &said)).await;
        let client = server.client().await;
        let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
        socket.insert("kept");
        client.close().await;
        assert_eq!(told.next().await, "/ transport close");
        let refused = [
            socket.emit("x", ()),
            socket.volatile().emit("x", ()),
            socket.join("room"),
            socket.leave("room"),
            socket.on("x", || ()),
            socket.off("x"),
            socket.disconnect(true),
            soon("rooms", socket.rooms()).await.map(drop),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(EmitError::Disconnected)), "{refused:?}");
        }
        assert!(!socket.is_connected() && socket.transport().is_none());
        // The handle's own values are still there, and so are the other sockets of its namespace.
        assert_eq!(socket.get::<&str>().as_deref(), Some(&"kept"));
        socket.to("room").emit("x", ()).expect("room in the inbox");
    }
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let (said, mut told) = log();
    let builder = Switchboard::builder()
        .workers(1)
        .ping_interval(Duration::from_millis(30))
        .ping_timeout(Duration::from_millis(30));
    let server = Server::start(builder, |io| set_up(io, &said)).await;
    let client = server.client().await;
    assert_eq!(told.next().await, "/ ping timeout");
    drop(client);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let (said, mut told) = log();
    let builder = Switchboard::builder().workers(1).max_outbox_bytes(1 << 16);
    let server = Server::start(builder, |io| set_up(io, &said)).await;
    let client = server.client().await;
    let text = "x".repeat(1 << 18);
    let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
    soon("a full outbox", async {
        while socket.is_connected() {
            // The worker's inbox may be full for a moment. The test is about the outbox.
            let _full = socket.emit("text", &text);
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(told.next().await, "/ forced server close");
    drop(client);
}

#[tokio::test]
async fn a_server_that_shuts_down_says_so() {
    for workers in [1, 4] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| set_up(io, &said)).await;
        let mut clients = [server.client().await, server.client().await];
        let io = server.io.clone();
        let down = tokio::spawn(async move { io.shutdown(Duration::from_secs(20)).await });
        for client in &mut clients {
            client.ended().await;
        }
        drop(clients);
        assert_eq!(two(&mut told).await, ["/ server shutting down", "/ server shutting down"]);
        assert!(soon("the end", down).await.expect("no panic"), "all ended by themselves");
        // The workers end a moment later.
        soon("an error", async {
            while server.io.root().emit("x", ()).is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Sends a long event, and disconnects its client amid it.
fn disconnects_amid_an_event(io: &Switchboard) {
    io.root().on("long", |socket: Socket| -> switchboard::Result {
        socket.emit("long", "x".repeat(12 << 20))?;
        Ok(socket.disconnect(true)?)
    });
}

#[tokio::test]
async fn a_disconnect_amid_a_long_event_cuts_nothing_off() {
    let server = Server::workers(1, disconnects_amid_an_event).await;
    let mut client = server.client().await;
    client.send(r#"42["long"]"#).await;
    let long = client.text().await;
    assert_eq!(long.len(), (12 << 20) + r#"42["long",""]"#.len());
    client.expect("41").await;
    // A close frame, not the end of the connection alone.
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn a_disconnected_client_that_takes_nothing_is_cut_when_its_time_is_over() {
    let (said, mut told) = log();
    let builder = Switchboard::builder().workers(1).close_timeout(Some(Duration::from_millis(100)));
    let server = Server::start(builder, |io| {
        disconnects_amid_an_event(io);
        io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"42["long"]"#).await;
    assert_eq!(told.next().await, "server namespace disconnect");
    // Its connection is the last, and ends though the client has read nothing.
    assert!(soon("the end", server.io.shutdown(Duration::from_secs(3600))).await);
    drop(client);
}

#[tokio::test]
async fn a_client_is_told_why_it_is_disconnected_before_it_is() {
    for close in [false, true] {
        let (said, mut told) = log();
        let server = Server::workers(2, |io| {
            io.root().on("ban", move |socket: Socket| socket.disconnect_with(close, ("banned", 7)));
            io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
            io.root().on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        })
        .await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(server.client().await);
        }
        let mut last = server.open().await;
        let id = last.join("/").await;
        clients[0].send(r#"42["ban"]"#).await;
        for client in &mut clients[1..3] {
            client.ask(r#"420["join","hall"]"#, "430[]").await;
        }
        server.io.root().to("hall").disconnect_with(close, vec!["maintenance"]).expect("room");
        let reasons = [r#""banned",7"#, r#"["maintenance"]"#, r#"["maintenance"]"#];
        for (client, reason) in clients.iter_mut().zip(reasons) {
            client.expect(&format!(r#"42["disconnect_reason",{reason}]"#)).await;
            client.expect("41").await;
            assert_eq!(told.next().await, "server namespace disconnect");
            if close {
                assert_eq!(client.ended().await.len(), 0);
            } else {
                client.join("/").await;
            }
        }
        // The last one is as it was.
        let found = server.io.root().to(id).fetch_sockets().await.expect("sockets");
        found[0].disconnect_with(close, ()).expect("room");
        last.expect(r#"42["disconnect_reason"]"#).await;
        last.expect("41").await;
    }
}
