//! The limit on open connections. Each connection is counted exactly as long as it is open, on every path.

use switchboard::{ListenerOptions, Switchboard};

use crate::harness::{Client, Server, eventually, get, metric, session_id, text_frame, upgrade};

/// A way to hold a connection open: the bytes it has sent, and the response.
async fn hold(way: &str, server: &Server) -> Client {
    let mut client = server.connect().await;
    match way {
        "nothing sent" => {}
        "half a head" => client.send("GET /ws HT").await,
        "first upgrade" => {
            client.send(upgrade("/ws")).await;
            client.head().await;
        }
        "kept" => {
            client.send(get("/nothing", "")).await;
            client.until("not found\n").await;
        }
        "later upgrade" => {
            client.send(get("/nothing", "")).await;
            client.until("not found\n").await;
            client.send(upgrade("/ws")).await;
            client.head().await;
        }
        "poll" => {
            client.send(get("/socket.io/?EIO=4&transport=polling", "")).await;
            let open = client.until("}").await;
            let sid = session_id(&String::from_utf8_lossy(&open));
            client.send(get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), "")).await;
        }
        _ => unreachable!("{way}"),
    }
    client
}

const WAYS: [&str; 6] = ["nothing sent", "half a head", "first upgrade", "kept", "later upgrade", "poll"];

async fn is_let_in(server: &Server) -> bool {
    server.send(get("/nothing", "connection: close")).await.is_answered().await
}

#[tokio::test]
async fn a_connection_holds_its_place_as_long_as_it_is_open() {
    for change in [(|options| options.max_connections = 1) as fn(&mut ListenerOptions), |options| {
        options.max_connections_per_address = 1;
    }] {
        for way in WAYS {
            let server = Server::with(change).await;
            let held = hold(way, &server).await;
            for _ in 0..3 {
                assert!(!is_let_in(&server).await, "{way}: its place is held");
            }
            drop(held);
            eventually(way, async || is_let_in(&server).await).await;
        }
    }
    for reason in ["too many connections\"", "too many connections from one address"] {
        assert!(metric("switchboard_connections_refused_total", reason) > 0.0);
    }
}

#[tokio::test]
async fn a_probe_takes_its_place_along_to_its_sessions_worker() {
    let mut options = ListenerOptions::default();
    options.max_connections = 1;
    let server = Server::start(Switchboard::builder().workers(2).listener(options)).await;
    let polling = get("/socket.io/?EIO=4&transport=polling", "connection: close");
    // In one of two rounds the probe is accepted by a worker that does not have the session.
    for _ in 0..12 {
        let mut open = String::new();
        eventually("the place is free", async || {
            open = server.send(&polling).await.try_rest().await.unwrap_or_default();
            !open.is_empty()
        })
        .await;
        let probe = upgrade(&format!("/socket.io/?EIO=4&transport=websocket&sid={}", session_id(&open)));
        let mut held = server.connect().await;
        eventually("the place is free again", async || {
            held = server.send(&probe).await;
            held.is_answered().await
        })
        .await;
        held.send(text_frame("2probe")).await;
        held.until("3probe").await;
        assert!(!is_let_in(&server).await, "its place is held");
    }
}

#[tokio::test]
async fn a_refused_upgrade_gives_its_place_back() {
    let server = Server::with(|options| options.max_connections = 1).await;
    for _ in 0..5 {
        let refused = upgrade("/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA");
        let mut client = server.send(refused).await;
        eventually("it is let in", async || {
            if client.is_answered().await {
                return true;
            }
            client = server.send(upgrade("/socket.io/?EIO=9&transport=websocket")).await;
            false
        })
        .await;
        client.rest().await;
    }
}
