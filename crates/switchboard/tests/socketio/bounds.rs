//! The limits on one client's pending work, and the work left when the client is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use switchboard::{Auth, Data, DisconnectReason, EventsDropped, Socket, Switchboard};

use crate::harness::{Polling, Server, Signal, log, soon};

#[tokio::test]
async fn joins_that_wait_are_bounded_though_their_sockets_have_left() {
    let gate = Signal::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let server = Server::start(Switchboard::builder().workers(1).max_namespaces(4), |io| {
        let (waits, begun) = (gate.clone(), Arc::clone(&begun));
        io.of("/slow").middleware(async move |_: Socket| {
            begun.fetch_add(1, Ordering::SeqCst);
            waits.passed().await;
        });
        io.of("/waits").on_connect(async |_: Socket| std::future::pending::<()>().await);
    })
    .await;
    let mut client = server.open().await;
    for _ in 0..4 {
        client.send("40/slow,").await;
        client.send("41/slow,").await;
    }
    client.ask("40/slow,", r#"44/slow,{"message":"too many namespaces"}"#).await;
    assert_eq!(begun.load(Ordering::SeqCst), 4);
    gate.open();
    // Finished handlers make room.
    soon("room", async {
        loop {
            client.send("40/slow,").await;
            if client.text().await.starts_with("40/slow,") {
                return;
            }
        }
    })
    .await;
    // The same for handlers of `on_connect`.
    for _ in 0..3 {
        client.join("/waits").await;
        client.send("41/waits,").await;
    }
    client.join("/waits").await;
    client.send("41/waits,").await;
    client.ask("40/waits,", r#"44/waits,{"message":"too many namespaces"}"#).await;
}

#[tokio::test]
async fn auth_is_bounded_for_all_sockets_of_a_client() {
    let gate = Signal::new();
    let server = Server::start(Switchboard::builder().workers(1).max_auth_bytes(1000), |io| {
        for name in ["/a", "/b"] {
            io.of(name).on("auth", |Auth(auth): Auth<String>| auth.len());
        }
        let waits = gate.clone();
        io.of("/slow").middleware(async move |_: Socket| waits.passed().await);
    })
    .await;
    let mut client = server.open().await;
    let auth = format!(r#"{{"token":"{}"}}"#, "x".repeat(600));
    let too_much = |name: &str| format!(r#"44{name},{{"message":"too much auth"}}"#);
    client.send(&format!("40/a,{auth}")).await;
    assert!(client.text().await.starts_with("40/a,"));
    client.ask(&format!("40/b,{auth}"), &too_much("/b")).await;
    // Without `auth` there is room. A socket that leaves makes room too.
    client.join("/b").await;
    client.send("41/b,").await;
    client.send("41/a,").await;
    client.send(&format!("40/b,{auth}")).await;
    assert!(client.text().await.starts_with("40/b,"));
    client.send("41/b,").await;
    // A socket in middleware counts even after it has left.
    client.send(&format!("40/slow,{auth}")).await;
    client.send("41/slow,").await;
    client.ask(&format!("40/a,{auth}"), &too_much("/a")).await;
    gate.open();
    soon("room", async {
        loop {
            client.send(&format!("40/a,{auth}")).await;
            if client.text().await.starts_with("40/a,") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn handlers_that_wait_are_bounded_for_all_sockets_of_a_client() {
    let begun = Arc::new(AtomicUsize::new(0));
    for (builder, filler) in [
        (Switchboard::builder().max_waiting_handlers(8), 10),
        (Switchboard::builder().max_client_held_bytes(16_000), 2000),
    ] {
        begun.store(0, Ordering::SeqCst);
        let gate = Signal::new();
        let server = Server::start(builder.workers(1), |io| {
            for name in ["/", "/other"] {
                let (waits, begun) = (gate.clone(), Arc::clone(&begun));
                io.of(name).on("wait", async move |_: Data<String>| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    waits.passed().await;
                });
            }
        })
        .await;
        let client = Polling::open(&server).await;
        // Each round leaves one handler behind in both namespaces.
        let filler = "x".repeat(filler);
        let round = ["", "/other,"].map(|prefix| {
            [format!("40{prefix}"), format!(r#"42{prefix}["wait","{filler}"]"#), format!("41{prefix}")]
                .join("\x1e")
        });
        let round = round.join("\x1e");
        let rounds = {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    client.post(&round).await;
                }
            })
        };
        // The POST that reaches the limit is not answered. This holds its client back.
        soon("the bound", async {
            while begun.load(Ordering::SeqCst) < 8 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for _ in 0..3 {
            // The socket's worker has had its turn.
            server.io.root().local_sockets().await.expect("sockets");
        }
        assert!(begun.load(Ordering::SeqCst) <= 10, "{begun:?}");
        assert!(!rounds.is_finished());
        gate.open();
        soon("the rest", rounds).await.expect("taken");
        assert_eq!(begun.load(Ordering::SeqCst), 100);
    }
}

/// A server with a handler that waits forever, and the reports about the events behind it.
async fn stuck(builder: switchboard::Builder) -> (Server, crate::harness::Told) {
    let (said, told) = log();
    let server = Server::start(builder.workers(1), |io| {
        let root = io.root();
        let begun = said.clone();
        root.on("stuck", async move |_: Socket| {
            begun.say("stuck");
            std::future::pending::<()>().await;
        });
        root.on("quick", |_: Data<String>| -> () { panic!("it is not handled") });
        let dropped = said.clone();
        root.on_error(move |_, error| {
            let events = error.downcast_ref::<EventsDropped>().expect("events were dropped");
            dropped.say(format!("{} dropped", events.events));
        });
        root.on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
        io.of("/other");
    })
    .await;
    (server, told)
}

#[tokio::test]
async fn events_wait_no_longer_than_their_time_after_the_end() {
    let builder = Switchboard::builder().held_events_timeout(Duration::from_millis(20));
    let (server, mut told) = stuck(builder).await;
    let mut client = server.client().await;
    for event in [r#"42["stuck"]"#, r#"42["quick","a"]"#, r#"42["quick","b"]"#] {
        client.send(event).await;
    }
    assert_eq!(told.next().await, "stuck");
    client.close().await;
    assert_eq!([told.next().await, told.next().await], ["2 dropped", "transport close"]);
}

#[tokio::test]
async fn events_left_over_by_clients_are_bounded_in_bytes() {
    let (server, mut told) = stuck(Switchboard::builder().max_left_over_bytes(10_000)).await;
    let filler = "x".repeat(4000);
    for n in 0..3 {
        let mut client = server.client().await;
        client.send(r#"42["stuck"]"#).await;
        client.send(&format!(r#"42["quick","{filler}"]"#)).await;
        assert_eq!(told.next().await, "stuck");
        // When this is answered, the other event has been read.
        client.join("/other").await;
        client.close().await;
        if n == 2 {
            // Two events already wait.
            assert_eq!([told.next().await, told.next().await], ["1 dropped", "transport close"]);
        }
    }
    assert_eq!(told.now(), [""; 0]);
}

#[tokio::test]
async fn events_that_wait_when_the_server_stops_are_told_of() {
    let (server, mut told) = stuck(Switchboard::builder()).await;
    let mut client = server.client().await;
    for event in [r#"42["stuck"]"#, r#"42["quick","a"]"#] {
        client.send(event).await;
    }
    assert_eq!(told.next().await, "stuck");
    // The second event has come by then.
    client.ask("40/nowhere,", r#"44/nowhere,{"message":"Invalid namespace"}"#).await;
    let io = server.io.clone();
    let down = tokio::spawn(async move { io.shutdown(Duration::from_secs(20)).await });
    client.ended().await;
    drop(client);
    assert!(soon("the end", down).await.expect("no panic"));
    assert_eq!([told.next().await, told.next().await], ["1 dropped", "server shutting down"]);
}
