//! Clients that have gone leave nothing behind, whatever their end. The test runs in its own process, because
//! it counts the process's objects.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "socketio/harness.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod harness;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use harness::{Client, Polling, Server, Signal, soon};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use switchboard::{Data, Socket, Switchboard};

/// The number of these values that exist.
struct Counted(Arc<AtomicI64>);

impl Counted {
    fn new(count: &Arc<AtomicI64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The process's recorder. It exists before the first session, because gauges would miss that otherwise.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().expect("the first recorder"))
}

/// A gauge's value; 0 if it was never set.
fn gauge(metrics: &PrometheusHandle, name: &str) -> f64 {
    let page = metrics.render();
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// Events behind a handler that never ends are not waited for long.
fn builder(workers: usize) -> switchboard::Builder {
    Switchboard::builder().workers(workers).held_events_timeout(Duration::from_millis(50))
}

fn set_up(io: &Switchboard, count: &Arc<AtomicI64>, gate: &Signal) {
    for name in ["/", "/other"] {
        let namespace = io.of(name);
        let kept = Arc::clone(count);
        namespace.middleware(move |socket: Socket| drop(socket.insert(Counted::new(&kept))));
        namespace.on_connect(|socket: Socket| -> switchboard::Result {
            socket.on("own", |_: Socket| ())?;
            socket.on_any(|_: Socket| ())?;
            Ok(socket.join(["room", "lobby"])?)
        });
        let waits = gate.clone();
        namespace.on("wait", async move |_: Socket| waits.passed().await);
        namespace.on("for-ever", async |_: Socket| std::future::pending::<()>().await);
        namespace.on_concurrent("aside", async |_: Socket| std::future::pending::<()>().await);
        namespace.on("ask", async |socket: Socket| socket.emit_with_ack::<()>("question", ()).await.is_ok());
        namespace.on("load", |_: Data<String>| ());
        namespace.on("leave", |socket: Socket| socket.disconnect(true));
        namespace.on_disconnect(async |socket: Socket| drop(socket.rooms().await));
    }
    let kept = Arc::clone(count);
    io.of("/never").middleware(async move |socket: Socket| {
        socket.insert(Counted::new(&kept));
        std::future::pending::<()>().await;
    });
    io.of("/stays-out").on_connect(async |_: Socket| std::future::pending::<()>().await);
}

/// One client connects and ends in the n-th way.
async fn come_and_go(server: &Server, n: usize) {
    let polls = n.is_multiple_of(3);
    if polls {
        return poll_and_go(server, n / 3).await;
    }
    let mut client = server.open().await;
    if n % 13 == 1 {
        // Before it has joined a namespace.
        return client.reset();
    }
    client.join("/").await;
    client.join("/other").await;
    let says: &[&str] = match n % 11 {
        0 => &[r#"42["wait"]"#, r#"42["load","held"]"#],
        1 => &[r#"42["for-ever"]"#, r#"42["load","held"]"#, r#"42/other,["for-ever"]"#],
        2 => &[r#"42["aside"]"#, r#"42["aside"]"#],
        3 => &[r#"42["ask"]"#],
        // In the middle of a binary packet.
        4 => &[r#"452-["load",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#],
        5 => &["40/never,"],
        6 => &["40/stays-out,"],
        7 => &["41"],
        8 => &[r#"42["leave"]"#],
        9 => &["garbage"],
        _ => &[],
    };
    for packet in says {
        client.send(packet).await;
    }
    if n % 11 == 4 {
        client.send_binary(b"the first of two").await;
    }
    match n % 11 {
        // The server closes the session.
        8 | 9 => drop(client.ended().await),
        _ => go(client, n).await,
    }
}

async fn go(mut client: Client, n: usize) {
    match n % 4 {
        0 => client.close().await,
        1 => client.reset(),
        2 => drop(client),
        _ => {
            client.send("1").await;
            client.ended().await;
        }
    }
}

/// The same on polling: the client closes, or its poll is abandoned.
async fn poll_and_go(server: &Server, n: usize) {
    let client = Polling::open(server).await;
    if n.is_multiple_of(2) {
        client.post("40\x1e40/other,").await;
        client.get().await;
    }
    if n.is_multiple_of(3) {
        let poll = client.clone();
        let poll = tokio::spawn(async move { poll.get().await });
        client.post(if n.is_multiple_of(2) { r#"42["for-ever"]"# } else { "3" }).await;
        poll.abort();
        // If its poll had not begun yet, closing ends it.
        let _aborted = poll.await;
        client.try_post("1").await;
    } else {
        client.post("1").await;
    }
}

#[tokio::test]
async fn nothing_is_left_of_clients_that_have_gone() {
    let metrics = recorder();
    for workers in [1, 4] {
        let (count, gate) = (Arc::new(AtomicI64::new(0)), Signal::new());
        let server = Server::start(builder(workers), |io| set_up(io, &count, &gate)).await;
        for n in 0..200 {
            come_and_go(&server, n).await;
        }
        soon("the end of all sockets", async {
            while gauge(metrics, "switchboard_sockets") != 0.0
                || gauge(metrics, "switchboard_sessions") != 0.0
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for name in ["/", "/other", "/stays-out"] {
            let left = server.io.of(name).local_sockets().await.expect("sockets");
            assert!(left.is_empty(), "{name}: {left:?}");
        }
        gate.open();
        // Each handler and middleware that waits forever holds a handle of its socket, as this user's code
        // asked. Everything else is gone.
        let for_ever = Arc::clone(&count);
        drop(server);
        soon("the end of all handles", async {
            while for_ever.load(Ordering::SeqCst) != 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn handles_are_dropped_with_their_sockets() {
    recorder();
    for workers in [1, 4] {
        let count = Arc::new(AtomicI64::new(0));
        let server = Server::start(builder(workers), |io| {
            let kept = Arc::clone(&count);
            io.root().on_connect(move |socket: Socket| drop(socket.insert(Counted::new(&kept))));
            io.root().on("wait", async || std::future::pending::<()>().await);
            io.root()
                .on("ask", async |socket: Socket| socket.emit_with_ack::<()>("question", ()).await.is_ok());
        })
        .await;
        for n in 0..60_usize {
            let mut client = server.client().await;
            // A handler without a handle may wait forever. A handler whose acknowledgement can no longer come
            // does not wait.
            client.send(if n.is_multiple_of(2) { r#"42["wait"]"# } else { r#"421["ask"]"# }).await;
            client.send(r#"42["wait"]"#).await;
            go(client, n).await;
        }
        soon("the end of all handles", async {
            while count.load(Ordering::SeqCst) != 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
