//! Ids whose random part the server's user makes.

use std::sync::atomic::{AtomicU8, Ordering};

use switchboard::{SocketId, Switchboard};

use crate::harness::{Polling, Server, request};

#[tokio::test]
async fn ids_hold_what_the_users_functions_made_and_name_node_and_worker() {
    let sessions = AtomicU8::new(0);
    let builder = Switchboard::builder()
        .workers(3)
        .node(7)
        .generate_id(move |handshake| {
            assert!(handshake.url().starts_with("/socket.io/"));
            let mut id = [0x41; 14];
            id[13] = sessions.fetch_add(1, Ordering::Relaxed);
            id
        })
        .generate_socket_id(|namespace, handshake| {
            let mut id = [0; 12];
            let name = format!("{namespace}{}", handshake.query("name").unwrap_or_default());
            id[..name.len()].copy_from_slice(name.as_bytes());
            id
        });
    let server = Server::start(builder, |io| {
        io.of("/chat");
    })
    .await;
    for (n, name) in ["ada", "bob", "cleo"].into_iter().enumerate() {
        let mut client = server.open_at(&format!("&name={name}")).await;
        let id = client.join("/chat").await;
        let expected = SocketId::parse(&id).expect("an id");
        let (node, worker) = expected.home();
        assert_eq!(node.0, 7);
        assert!(worker.0 < 3);
        let part = format!("/chat{name}");
        let mut random = [0; 12];
        random[..part.len()].copy_from_slice(part.as_bytes());
        assert_eq!(SocketId::with_random(node, worker, random), expected);
        // A broadcast to the id goes to its worker.
        server.io.of("/chat").to(expected).emit("hello", n).expect("room");
        client.expect(&format!(r#"42/chat,["hello",{n}]"#)).await;
        // The session's id is the user's, too, on polling and on WebSocket.
        let session = Polling::open(&server).await;
        assert!(session.sid().contains("FBQUFBQUFBQUFBQU"), "{}", session.sid());
        session.post("40").await;
        assert!(session.get().await[0].starts_with("40{"));
    }
}

#[tokio::test]
async fn an_id_that_is_taken_takes_nothing_from_its_owner() {
    let builder =
        Switchboard::builder().workers(1).generate_id(|_| [7; 14]).generate_socket_id(|_, _| [7; 12]);
    let server = Server::start(builder, |io| {
        io.of("/chat");
    })
    .await;
    let session = Polling::open(&server).await;
    let target = "/socket.io/?EIO=4&transport=polling";
    let (head, body) = request(server.address, "GET", target, "", "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "the id of the session is taken\n");
    // The first goes on. Two of its sockets in one namespace cannot be; in two namespaces ids may be the same.
    session.post("40/chat,\x1e40").await;
    let answers = session.get().await.join(" ");
    let ids: Vec<_> = answers.split('"').filter(|part| part.len() == 20).collect();
    assert_eq!(ids.len(), 2, "{answers}");
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_socket_whose_id_is_taken_has_a_random_one() {
    let builder = Switchboard::builder().workers(1).generate_socket_id(|_, _| [7; 12]);
    let server = Server::start(builder, |_| {}).await;
    let (mut one, mut other) = (server.open().await, server.open().await);
    let ids = [one.join("/").await, other.join("/").await];
    assert_ne!(ids[0], ids[1]);
    server.io.root().to(&ids[0]).emit("one", ()).expect("room");
    server.io.root().to(&ids[1]).emit("other", ()).expect("room");
    one.expect(r#"42["one"]"#).await;
    other.expect(r#"42["other"]"#).await;
}

#[tokio::test]
async fn a_function_of_ids_that_panics_refuses_its_session_alone() {
    let builder = Switchboard::builder().workers(1).generate_id(|handshake| {
        assert!(handshake.query("bad").is_none());
        let mut id = [0; 14];
        id[0] = handshake.query("n").and_then(|n| n.parse().ok()).unwrap_or_default();
        id
    });
    let server = Server::start(builder, |_| {}).await;
    let target = "/socket.io/?EIO=4&transport=polling&bad=1";
    let (head, _) = request(server.address, "GET", target, "", "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let mut client = server.open_at("&n=1").await;
    client.join("/").await;
    let mut other = server.open_at("&n=2").await;
    other.join("/").await;
}
