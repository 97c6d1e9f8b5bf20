//! Handles used on other threads: messages from one thread arrive in its order.

use switchboard::{Socket, Switchboard};

use crate::harness::{Polling, Server, soon};

const EVENTS: usize = 300;

async fn server(workers: usize) -> Server {
    Server::workers(workers, |io| {
        io.root().on_connect(|socket: Socket| socket.join("room"));
    })
    .await
}

/// Alternates between the room and one socket. For that socket both are in one order.
fn emit(io: &Switchboard, socket: &Socket, n: usize) {
    if n.is_multiple_of(2) {
        io.root().to("room").emit("n", n).expect("room in the inbox");
    } else {
        socket.emit("n", n).expect("room in the inbox");
    }
}

#[tokio::test]
async fn the_transport_is_known_on_every_thread() {
    let server = Server::workers(2, |io| drop(io.root())).await;
    let session = Polling::open(&server).await;
    session.post("40").await;
    soon("a poll", session.get()).await;
    let mut client = server.client().await;
    let sockets = soon("sockets", server.io.root().local_sockets()).await.expect("sockets");
    let mut transports: Vec<_> = sockets.iter().filter_map(switchboard::Socket::transport).collect();
    transports.sort_unstable();
    assert_eq!(transports, ["polling", "websocket"]);
    server.io.root().all().disconnect(true).expect("room in the inboxes");
    client.ended().await;
    let gone = async {
        while sockets.iter().any(switchboard::Socket::is_connected) {
            tokio::task::yield_now().await;
        }
    };
    soon("all are disconnected", gone).await;
    assert!(sockets.iter().all(|socket| socket.transport().is_none()));
}

#[tokio::test]
async fn events_of_a_thread_arrive_in_its_order() {
    for workers in [1, 4] {
        let server = server(workers).await;
        let mut client = server.client().await;
        let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
        let io = server.io.clone();
        let thread = std::thread::spawn(move || (0..EVENTS).for_each(|n| emit(&io, &socket, n)));
        for n in 0..EVENTS {
            client.expect(&format!(r#"42["n",{n}]"#)).await;
        }
        thread.join().expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn events_of_a_task_arrive_in_its_order_on_any_thread() {
    for workers in [1, 4] {
        let server = server(workers).await;
        let mut client = server.client().await;
        let socket = server.io.root().local_sockets().await.expect("sockets").pop().expect("one");
        let io = server.io.clone();
        let task = tokio::spawn(async move {
            for n in 0..EVENTS {
                emit(&io, &socket, n);
                tokio::task::yield_now().await;
            }
        });
        for n in 0..EVENTS {
            client.expect(&format!(r#"42["n",{n}]"#)).await;
        }
        soon("the task", task).await.expect("no panic");
    }
}

#[tokio::test]
async fn handlers_of_one_server_may_emit_through_another() {
    let there = Server::workers(2, |_| ()).await;
    let mut listener = there.client().await;
    let io = there.io.clone();
    let here = Server::workers(2, |own| {
        own.root().on_connect(move |socket: Socket| io.root().emit("joined", socket.id()));
    })
    .await;
    for _ in 0..4 {
        let mut client = here.open().await;
        let id = client.join("/").await;
        listener.expect(&format!(r#"42["joined","{id}"]"#)).await;
    }
}
