//! What the server refuses is told in one place.

use switchboard::{Error, FullOutbox, Rate, RateLimits, Refused, RefusedKind, Socket, Switchboard};

use crate::harness::{Log, Polling, Server, log, request, soon};

fn tell(said: &Log) -> impl Fn(&Refused<'_>) + Send + Sync + 'static + use<> {
    let said = said.clone();
    move |refused| {
        assert!(refused.address.is_some_and(|address| address.is_loopback()), "{refused:?}");
        let of = refused.namespace.map_or_else(String::new, |namespace| format!(" of {namespace}"));
        said.say(format!("{:?}{of}: {}", refused.kind, refused.reason));
    }
}

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn refused_requests_are_told_whichever_protocol_they_are_for() {
    let (said, mut told) = log();
    let builder =
        Switchboard::builder().workers(1).max_sessions(1).on_refused(tell(&said)).allow_request_async(
            async |head: http::request::Parts, _| {
                if head.headers.contains_key("x-stranger") { Err("no strangers") } else { Ok(()) }
            },
        );
    let server = Server::start(builder, |io| {
        io.websocket("/ws");
    })
    .await;
    for (method, target, headers, expected) in [
        ("GET", HANDSHAKE, "origin: http://elsewhere.example\r\n", "Request: origin"),
        ("GET", HANDSHAKE, "x-stranger: 1\r\n", "Request: Forbidden"),
        ("POST", HANDSHAKE, "", "Request: Bad handshake method"),
        ("GET", "/socket.io/?EIO=4&transport=pigeon", "", "Request: Transport unknown"),
        ("GET", "/socket.io/?EIO=9&transport=polling", "", "Request: Unsupported protocol version"),
        ("GET", "/ws", "", "Request: bad handshake"),
    ] {
        let answer = soon("an answer", request(server.address, method, target, headers, "")).await;
        assert!(answer.0.starts_with("HTTP/1.1 4"), "{target}: {}", answer.0);
        assert_eq!(told.next().await, expected, "{target} {headers}");
    }
    let _only = Polling::open(&server).await;
    soon("an answer", request(server.address, "GET", HANDSHAKE, "", "")).await;
    assert_eq!(told.next().await, "Request: too many sessions");
    assert_eq!(told.now(), [""; 0]);
}

#[tokio::test]
async fn refused_connections_are_told() {
    let (said, mut told) = log();
    let mut listener = switchboard::ListenerOptions::default();
    listener.max_connections = 1;
    let builder = Switchboard::builder().workers(1).listener(listener).on_refused(tell(&said));
    let server = Server::start(builder, |_| ()).await;
    let _only = server.client().await;
    let _refused = tokio::net::TcpStream::connect(server.address).await.expect("it is accepted first");
    assert_eq!(told.next().await, "Connection: too many connections");
}

#[tokio::test]
async fn refused_packets_events_and_connects_are_told() {
    let (said, mut told) = log();
    let limits = RateLimits::default().events(Rate::per(1, std::time::Duration::from_secs(3600)));
    let builder = Switchboard::builder().workers(1).on_refused(tell(&said));
    let server = Server::start(builder, |io| {
        io.root().limit_sockets(limits);
        io.of("/closed").middleware(|_: Socket| Err::<(), _>(Error::new("closed")));
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"42["a"]"#).await;
    client.send(r#"42["b"]"#).await;
    assert_eq!(told.next().await, "Event of /: socket rate");
    client.send("40/closed,").await;
    assert_eq!(told.next().await, "Connect of /closed: closed");
    client.send("40/nowhere,").await;
    assert_eq!(told.next().await, "Connect of /nowhere: Invalid namespace");
    client.send("nonsense").await;
    assert_eq!(told.next().await, "Packet: parse error");
    let mut client = server.client().await;
    client.send(r#"42/nowhere,["a"]"#).await;
    assert_eq!(told.next().await, "Packet: out of place");
    let polling = Polling::open(&server).await;
    polling.try_post("nonsense").await;
    assert_eq!(told.next().await, "Packet: parse error");
}

#[tokio::test]
async fn dropped_events_are_told_with_their_number() {
    for (policy, expected) in [
        (FullOutbox::DropOldest, "dropped"),
        (FullOutbox::DropNewest, "dropped"),
        (FullOutbox::Refuse, "full outbox"),
        (FullOutbox::Disconnect, "full outbox"),
    ] {
        let (said, mut told) = log();
        let counts = said.clone();
        let builder =
            Switchboard::builder().workers(1).max_outbox_bytes(1000).full_outbox(policy).on_refused(
                move |refused| {
                    assert_eq!(refused.kind, RefusedKind::Delivery);
                    counts.say(format!("{} {}", refused.reason, refused.count));
                },
            );
        let server = Server::start(builder, |io| {
            io.root().on("all", |socket: Socket| {
                (0..40).filter(|n| socket.emit("n", (n, "x".repeat(100))).is_err()).count()
            });
        })
        .await;
        let polling = Polling::open(&server).await;
        polling.post("40").await;
        polling.get().await;
        polling.try_post(r#"421["all"]"#).await;
        let packets = polling.get().await;
        let events = packets.iter().filter(|packet| packet.starts_with("42")).count();
        let word = told.next().await;
        let (reason, count) = word.rsplit_once(' ').expect("two words");
        assert_eq!(reason, expected, "{policy:?}");
        if expected == "dropped" {
            assert_eq!(events + count.parse::<usize>().expect("a number"), 40, "{policy:?}: {packets:?}");
            assert!(packets.iter().any(|packet| packet.starts_with("431[")), "its acknowledgement is kept");
        }
    }
}
