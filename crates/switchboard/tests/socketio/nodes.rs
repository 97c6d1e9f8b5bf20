//! Two servers that a bus of bytes connects are one to their clients.

use std::sync::{Arc, OnceLock, Weak};

use switchboard::{Binary, Data, Socket, Switchboard};
use switchboard_hub::{Bus, BusFull, Hub, Reply, ReplyTo, Request};

use crate::harness::Server;

/// Carries bytes from one server's hub to that of the other, on the caller's thread.
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
            // All sockets of all nodes.
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
