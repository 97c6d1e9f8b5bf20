//! Two servers connected by a bus of bytes act as one server.

use std::sync::{Arc, OnceLock, Weak};

use switchboard::{Binary, Data, Socket, Switchboard};
use switchboard_hub::{Bus, BusFull, Hub, Reply, ReplyTo, Request};

use crate::harness::Server;

/// Carries bytes from one server's hub to the other's, on the caller's thread.
#[derive(Default)]
struct Bytewise {
    here: OnceLock<Weak<Hub>>,
    there: OnceLock<Weak<Hub>>,
}

fn hub(end: &OnceLock<Weak<Hub>>) -> Arc<Hub> {
    end.get().and_then(Weak::upgrade).expect("both servers run")
}

impl Bus for Bytewise {
    fn nodes(&self) -> usize {
        1
    }

    fn publish(&self, scope: &str, request: &Request, reply_to: Option<ReplyTo>) -> Result<(), BusFull> {
        let (mut bytes, there) = (Vec::new(), hub(&self.there));
        request.encode(&mut bytes);
        let request = there.decode_request(scope, &bytes).expect("a request");
        there.receive(hub(&self.here).node(), request, reply_to).expect("room");
        Ok(())
    }

    fn reply(&self, to: ReplyTo, reply: &Reply) -> Result<(), BusFull> {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        hub(&self.there).receive_reply(to.request, Reply::decode(&bytes).expect("a reply"));
        Ok(())
    }
}

async fn servers(set_up: fn(&Switchboard)) -> [Server; 2] {
    let start = async |node| Server::start(Switchboard::builder().workers(2).node(node), set_up).await;
    let servers = [start(1).await, start(2).await];
    let [one, two] = &servers;
    for (here, there) in [(one, two), (two, one)] {
        let bus = Bytewise::default();
        let weak = |server: &Server| Arc::downgrade(server.io.hub());
        assert!(bus.here.set(weak(here)).is_ok() && bus.there.set(weak(there)).is_ok());
        assert!(here.io.attach_bus(Arc::new(bus)));
    }
    servers
}

#[tokio::test]
async fn a_broadcast_of_one_server_reaches_the_clients_of_the_other() {
    let servers = servers(|io| {
        io.of("/chat").on("say", |socket: Socket, Data((room, word)): Data<(String, String)>| {
            socket.namespace().to(room).emit("said", (word, Binary::from(vec![b'x'])))
        });
        io.of("/chat").on("join", |socket: Socket, Data(room): Data<String>| {
            // The sockets of all nodes.
            socket.namespace().all().join(room)
        });
    })
    .await;
    let mut clients = [servers[0].open().await, servers[1].open().await];
    let mut ids = Vec::new();
    for client in &mut clients {
        ids.push(client.join("/chat").await);
    }
    clients[0].ask(r#"42/chat,0["join","room"]"#, "43/chat,0[]").await;
    for (room, to) in [("room", vec![0, 1]), (ids[0].as_str(), vec![0]), (ids[1].as_str(), vec![1])] {
        clients[1].send(&format!(r#"42/chat,["say","{room}","hello"]"#)).await;
        for n in to {
            clients[n].expect(r#"451-/chat,["said","hello",{"_placeholder":true,"num":0}]"#).await;
            clients[n].expect("<x>").await;
        }
    }
    servers[1].io.of("/chat").local().disconnect(false).expect("room");
    clients[1].expect("41/chat,").await;
    servers[1].io.of("/chat").all().disconnect(false).expect("room");
    clients[0].expect("41/chat,").await;
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Profile {
    name: String,
}

#[tokio::test]
async fn sockets_of_all_workers_and_nodes_are_fetched_and_acted_on() {
    let servers = servers(|io| {
        let chat = io.of("/chat");
        chat.on("profile", |socket: Socket, Data(name): Data<String>| -> switchboard::Result<String> {
            socket.join([&*name, "hall"])?;
            socket.set_data(Profile { name })?;
            Ok(socket.data::<Profile>()?.name)
        });
        chat.on("bare", |socket: Socket| -> switchboard::Result<bool> {
            Ok(socket.data::<Option<Profile>>()?.is_none() && socket.data::<Profile>().is_err())
        });
    })
    .await;
    let mut clients = Vec::new();
    for (n, name) in ["Ada", "Bob", "Cleo", "Dan"].into_iter().enumerate() {
        let mut client = servers[n % 2].open_at(&format!("&name={name}")).await;
        let id = client.join("/chat").await;
        client.ask(r#"42/chat,0["bare"]"#, "43/chat,0[true]").await;
        client.ask(&format!(r#"42/chat,0["profile","{name}"]"#), &format!(r#"43/chat,0["{name}"]"#)).await;
        clients.push((client, id, name));
    }
    let chat = servers[0].io.of("/chat");
    let mut found = chat.to("hall").fetch_sockets().await.expect("sockets");
    found.sort_by_key(|socket| socket.data::<Profile>().expect("it was set").name);
    assert_eq!(found.len(), 4);
    for (socket, (client, id, name)) in found.iter().zip(&mut clients) {
        assert_eq!(socket.id().as_str(), id);
        assert_eq!(socket.data::<Profile>(), Ok(Profile { name: (*name).to_owned() }));
        assert!(socket.data::<u8>().is_err());
        let mut rooms: Vec<_> = socket.rooms().iter().map(|room| &**room).collect();
        rooms.sort_unstable();
        assert_eq!(rooms, [name, "hall"]);
        let handshake = socket.handshake();
        assert_eq!(handshake.query("name").as_deref(), Some(*name));
        assert!(handshake.url().starts_with("/socket.io/") && !handshake.is_secure());
        assert!(handshake.address().is_some_and(|address| address.is_loopback()));
        assert!(handshake.time().elapsed().is_ok());
        socket.emit("private", (*name, 1)).expect("room");
        client.expect(&format!(r#"42/chat,["private","{name}",1]"#)).await;
        socket.join("chosen").expect("room");
        socket.leave("hall").expect("room");
    }
    assert_eq!(chat.to("hall").fetch_sockets().await.expect("sockets").len(), 0);
    assert_eq!(chat.to("chosen").fetch_sockets().await.expect("sockets").len(), 4);
    assert_eq!(chat.to("chosen").local_sockets().await.expect("sockets").len(), 2);
    assert_eq!(chat.local().fetch_sockets().await.expect("sockets").len(), 2);
    for (socket, (client, ..)) in found.iter().zip(&mut clients) {
        socket.disconnect(false).expect("room");
        client.expect("41/chat,").await;
        // It has left already, which is not an error.
        socket.emit("private", ()).expect("room");
    }
    assert_eq!(chat.fetch_sockets().await.expect("sockets").len(), 0);
}
