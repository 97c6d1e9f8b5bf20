//! Two servers connected by a bus of bytes act as one server.

use std::sync::{Arc, OnceLock, Weak};

use switchboard::{
    AckError, Args, Binary, BroadcastOperator, Builder, Data, Error, Event, Namespace, NamespacePattern,
    RemoteSocket, Socket, SocketId, State, Switchboard,
};
use switchboard_hub::{Bus, BusFull, Hub, Reply, ReplyTo, Request};

use crate::harness::{Client, Server, soon};

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
    servers_of(|| Switchboard::builder().workers(2), set_up).await
}

/// Two servers of these options, connected.
pub(crate) async fn servers_of(builder: fn() -> Builder, set_up: fn(&Switchboard)) -> [Server; 2] {
    let start = async |node| Server::start(builder().node(node), set_up).await;
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

/// The rooms of each client. The first two clients are on the first server.
const ROOMS: [&[&str]; 4] = [&["a"], &["a", "b"], &["b"], &["a", "b"]];

/// Four clients on two servers.
struct Crowd {
    servers: [Server; 2],
    clients: Vec<Client>,
    ids: Vec<String>,
}

impl Crowd {
    async fn new() -> Self {
        let servers = servers(|io| {
            let chat = io.of("/chat");
            chat.on("rooms", |socket: Socket, Data(rooms): Data<Vec<String>>| socket.join(rooms));
        })
        .await;
        let clients = vec![
            servers[0].open().await,
            servers[0].open().await,
            servers[1].open().await,
            servers[1].open().await,
        ];
        let mut crowd = Self { servers, clients, ids: vec![String::new(); 4] };
        for n in 0..4 {
            crowd.enter(n).await;
        }
        crowd
    }

    async fn enter(&mut self, n: usize) {
        self.ids[n] = self.clients[n].join("/chat").await;
        let rooms = serde_json::to_string(ROOMS[n]).expect("JSON");
        self.clients[n].ask(&format!(r#"42/chat,0["rooms",{rooms}]"#), "43/chat,0[]").await;
    }

    fn chat(&self, server: usize) -> Namespace {
        self.servers[server].io.of("/chat")
    }

    fn id(&self, n: usize) -> SocketId {
        SocketId::parse(&self.ids[n]).expect("an id")
    }

    fn ids(&self, of: &[usize]) -> Vec<SocketId> {
        let mut ids: Vec<_> = of.iter().map(|&n| self.id(n)).collect();
        ids.sort();
        ids
    }

    /// Each filter on each server, and the clients that it names.
    async fn filters(&self) -> Vec<(String, BroadcastOperator, Vec<usize>)> {
        let mut filters = Vec::new();
        for server in 0..2 {
            let (chat, here) = (self.chat(server), server * 2);
            let sockets = chat.local_sockets().await.expect("sockets");
            let sender = sockets.into_iter().find(|socket| socket.id() == self.id(here)).expect("it is here");
            let others = |all: &[usize]| all.iter().copied().filter(|&n| n != here).collect::<Vec<_>>();
            let in_b: &[usize] = if server == 0 { &[1] } else { &[2, 3] };
            let cases: Vec<(&str, BroadcastOperator, Vec<usize>)> = vec![
                ("all", chat.all(), vec![0, 1, 2, 3]),
                ("a room", chat.to("a"), vec![0, 1, 3]),
                ("two rooms", chat.to(["a", "b"]), vec![0, 1, 2, 3]),
                ("a room but another", chat.to("a").except("b"), vec![0]),
                ("all but rooms", chat.except(["b", "c"]), vec![0]),
                ("an id", chat.to(self.id(2)), vec![2]),
                ("all but an id", chat.except(self.id(1)), vec![0, 2, 3]),
                ("all but the sender", sender.broadcast(), others(&[0, 1, 2, 3])),
                ("a room but the sender", sender.to("b"), others(&[1, 2, 3])),
                ("this node", chat.local(), vec![here, here + 1]),
                ("a room of this node", chat.to("b").local(), in_b.to_vec()),
                ("an empty room", chat.to("c"), vec![]),
            ];
            let named = cases.into_iter();
            filters.extend(
                named.map(|(name, filter, of)| (format!("{name}, from server {server}"), filter, of)),
            );
        }
        filters
    }

    /// Expects that these clients, and no others, got this packet.
    async fn expect(&mut self, of: &[usize], packet: &str, filter: &str) {
        self.chat(0).emit("end", ()).expect("room");
        for (n, client) in self.clients.iter_mut().enumerate() {
            let expected = if of.contains(&n) { vec![packet] } else { vec![] };
            assert_eq!(client.until(r#"42/chat,["end"]"#).await, expected, "client {n}, {filter}");
        }
    }
}

#[tokio::test]
async fn every_filter_names_the_same_sockets_for_every_request() {
    let mut crowd = Crowd::new().await;
    for (name, filter, of) in crowd.filters().await {
        filter.clone().emit("x", 1).expect("room");
        crowd.expect(&of, r#"42/chat,["x",1]"#, &name).await;
        filter.clone().volatile().compress(false).emit("y", 1).expect("room");
        crowd.expect(&of, r#"42/chat,["y",1]"#, &name).await;
        let count = filter.clone().count().await.expect("both servers answer");
        assert_eq!(count, of.len() as u64, "{name}");
        let found = filter.clone().fetch_sockets().await.expect("both servers answer");
        let mut found: Vec<_> = found.iter().map(RemoteSocket::id).collect();
        found.sort();
        assert_eq!(found, crowd.ids(&of), "{name}");
        // Joining, and leaving.
        let all = crowd.chat(0);
        for (begin, joins) in [(false, true), (true, false)] {
            if begin {
                all.all().join("t").expect("room");
            }
            let moved =
                if joins { filter.clone().join(["t", "u"]) } else { filter.clone().leave(["t", "u"]) };
            moved.expect("room");
            let inside = all.to("t").fetch_sockets().await.expect("both servers answer");
            let mut inside: Vec<_> = inside.iter().map(RemoteSocket::id).collect();
            inside.sort();
            let expected: Vec<_> = (0..4).filter(|n| of.contains(n) == joins).collect();
            assert_eq!(inside, crowd.ids(&expected), "{name}, joins: {joins}");
            all.all().leave(["t", "u"]).expect("room");
        }
    }
}

#[tokio::test]
async fn every_filter_names_the_same_sockets_for_a_broadcast_with_acknowledgements() {
    let mut crowd = Crowd::new().await;
    for (round, (name, filter, of)) in crowd.filters().await.into_iter().enumerate() {
        let answers = filter.emit_with_ack::<(usize, Binary)>("ask", ("?", Binary::from(vec![b'x'])));
        for &n in &of {
            let client = &mut crowd.clients[n];
            let packet = client.text().await;
            let id =
                packet.strip_prefix("451-/chat,").and_then(|rest| rest.split_once('[')).expect("an event").0;
            assert_eq!(client.next().await.as_deref(), Some("<x>"));
            client.send(&format!(r#"461-/chat,{id}[{n},{{"_placeholder":true,"num":0}}]"#)).await;
            client.send_binary(&[n as u8]).await;
        }
        let answers = soon("all answers", answers).await.expect("room");
        assert_eq!(answers.missing(), 0);
        let mut answers: Vec<_> = answers
            .into_iter()
            .map(|(id, answer)| {
                let (n, bytes) = answer.expect("it answers");
                assert_eq!(bytes, Binary::from(vec![n as u8]));
                (id, n)
            })
            .collect();
        answers.sort();
        let mut expected: Vec<_> = of.iter().map(|&n| (crowd.id(n), n)).collect();
        expected.sort();
        assert_eq!(answers, expected, "{name}, round {round}");
        crowd.expect(&[], "", &name).await;
    }
}

#[tokio::test]
async fn every_filter_names_the_same_sockets_for_a_disconnect() {
    let mut crowd = Crowd::new().await;
    for n in 0..crowd.filters().await.len() {
        let (name, filter, of) = crowd.filters().await.swap_remove(n);
        filter.disconnect(false).expect("room");
        crowd.chat(0).emit("end", ()).expect("room");
        for n in 0..4 {
            if of.contains(&n) {
                crowd.clients[n].expect("41/chat,").await;
                crowd.enter(n).await;
            } else {
                let packets = crowd.clients[n].until(r#"42/chat,["end"]"#).await;
                assert!(packets.is_empty(), "client {n}, {name}: {packets:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_socket_of_a_broadcast_with_acknowledgements_has_its_own_error() {
    let mut crowd = Crowd::new().await;
    let answers = crowd.chat(0).all().emit_with_ack::<u8>("ask", ());
    for (n, client) in crowd.clients.iter_mut().enumerate() {
        client.expect(r#"42/chat,0["ask"]"#).await;
        client.send(["43/chat,0[7]", "41/chat,", r#"43/chat,0["text"]"#, "41/chat,"][n]).await;
    }
    let answers = soon("all answers", answers).await.expect("room");
    assert_eq!(answers.len(), 4);
    for (id, answer) in &answers {
        match (0..4).find(|&n| crowd.id(n) == *id) {
            Some(0) => assert_eq!(*answer.as_ref().expect("an answer"), 7),
            Some(2) => assert!(matches!(answer, Err(AckError::Arguments(_))), "{answer:?}"),
            _ => assert!(matches!(answer, Err(AckError::Disconnected)), "{answer:?}"),
        }
    }
    let mut crowd = Crowd::new().await;
    let late =
        crowd.chat(1).to("a").timeout(std::time::Duration::from_millis(20)).emit_with_ack::<u8>("ask", ());
    let late = soon("time-outs", late).await.expect("room");
    assert_eq!((late.len(), late.missing()), (3, 0));
    assert!(late.iter().all(|(_, answer)| matches!(answer, Err(AckError::Timeout(_)))));
    crowd.expect(&[0, 1, 3], r#"42/chat,0["ask"]"#, "late").await;
}

struct Name(&'static str);

#[tokio::test]
async fn a_server_side_event_is_handled_on_the_other_servers_alone() {
    let servers = servers(|io| {
        io.state(Name("a server"));
        let chat = io.of("/chat");
        chat.on_server_event("tell", |chat: Namespace, Data((text, bytes)): Data<(String, Binary)>| {
            chat.local().emit("told", (text, bytes.len()))
        });
        chat.on_server_event("sum", |Data((a, b)): Data<(i32, i32)>| a + b);
        chat.on_server_event("pair", async |Event(event): Event, args: Args, name: State<Name>| {
            tokio::task::yield_now().await;
            (event, args, name.0.0)
        });
        chat.on_server_event("fail", || Err::<(), _>(Error::new("on purpose")));
        chat.on_server_event("panic", || -> () { panic!("on purpose") });
        chat.on_server_event("workers", |io: Switchboard| io.hub().workers());
        chat.on_server_event("off", || 1).off_server_event("off");
        chat.on("tell", |socket: Socket, Data(text): Data<String>| {
            socket.namespace().server_side_emit("tell", (text, Binary::from(vec![1, 2, 3])))
        });
    })
    .await;
    let mut clients = [servers[0].open().await, servers[1].open().await];
    for client in &mut clients {
        client.join("/chat").await;
    }
    clients[0].ask(r#"42/chat,0["tell","hello"]"#, "43/chat,0[]").await;
    clients[1].expect(r#"42/chat,["told","hello",3]"#).await;
    let chat = servers[1].io.of("/chat");
    for n in 0..20 {
        let tell = (n.to_string(), Binary::default());
        chat.server_side_emit("tell", tell).expect("room");
    }
    for n in 0..20 {
        clients[0].expect(&format!(r#"42/chat,["told","{n}",0]"#)).await;
    }
    let sum = chat.server_side_emit_with_ack::<i32>("sum", (20, 22)).await.expect("room");
    assert_eq!((sum.answers.len(), sum.missing), (1, 0));
    assert_eq!(*sum.answers[0].as_ref().expect("a number"), 42);
    let pair = chat.server_side_emit_with_ack::<(String, Vec<u8>, String)>("pair", 5).await.expect("room");
    assert_eq!(
        pair.answers[0].as_ref().expect("three values"),
        &("pair".to_owned(), vec![5], "a server".to_owned())
    );
    let workers = chat.server_side_emit_with_ack::<usize>("workers", ()).await.expect("room");
    assert_eq!(*workers.answers[0].as_ref().expect("a number"), 2);
    for event in ["fail", "panic"] {
        let failed = chat.server_side_emit_with_ack::<()>(event, ()).await.expect("room");
        assert!(matches!(&failed.answers[..], [Err(AckError::Failed(_))]), "{event}: {failed:?}");
    }
    let wrong = chat.server_side_emit_with_ack::<i32>("sum", ("a", "b")).await.expect("room");
    assert!(matches!(&wrong.answers[..], [Err(AckError::Failed(_))]), "{wrong:?}");
    let other = chat.server_side_emit_with_ack::<String>("sum", (1, 2)).await.expect("room");
    assert!(matches!(&other.answers[..], [Err(AckError::Arguments(_))]), "{other:?}");
    // Nobody handles these.
    for (namespace, event) in [("/chat", "off"), ("/chat", "unknown"), ("/", "sum")] {
        let namespace = servers[0].io.of(namespace);
        let none = namespace.server_side_emit_with_ack::<i32>(event, ()).await.expect("room");
        assert_eq!((none.answers.len(), none.missing), (0, 0));
    }
}

#[tokio::test]
async fn a_server_without_a_bus_has_no_other_node() {
    let server = Server::workers(2, |io| {
        io.root().on_server_event("x", || 1);
    })
    .await;
    server.io.root().server_side_emit("x", ()).expect("nobody is there");
    let answers = server.io.root().server_side_emit_with_ack::<u8>("x", ()).await.expect("nobody is there");
    assert!(answers.answers.is_empty() && answers.missing == 0);
}

#[tokio::test]
async fn each_server_of_a_port_speaks_with_the_one_at_its_path_on_other_nodes() {
    let servers = servers(|io| {
        let second = Switchboard::builder().path("/second").build_on(io).expect("the path is free");
        for io in [io, &second] {
            io.root().on("all", |io: Switchboard, Data(word): Data<String>| io.root().emit("said", word));
        }
    })
    .await;
    for path in ["/socket.io/", "/second/"] {
        let mut clients = Vec::new();
        for (server, path) in [(0, path), (1, "/socket.io/"), (1, "/second/")] {
            let mut client = servers[server].open_path(&format!("{path}?EIO=4&transport=websocket")).await;
            client.join("/").await;
            clients.push((path, client));
        }
        clients[0].1.send(&format!(r#"42["all","to {path}"]"#)).await;
        for (of, client) in &mut clients {
            // The last event of each is one that all servers answer.
            client.send(r#"42["all","end"]"#).await;
            if *of == path {
                client.expect(&format!(r#"42["said","to {path}"]"#)).await;
            }
            let before = client.until(r#"42["said","end"]"#).await;
            assert!(before.iter().all(|packet| !packet.contains("to /")), "{of}: {before:?}");
        }
    }
}

#[tokio::test]
async fn a_namespace_that_only_one_server_has_is_empty_on_the_other() {
    let servers = servers(|io| {
        io.of_pattern(NamespacePattern::prefix("/child-"));
    })
    .await;
    let mut client = servers[0].open().await;
    let id = client.join("/child-1").await;
    let child = servers[0].io.of("/child-1");
    child.emit("all", ()).expect("room");
    client.expect(r#"42/child-1,["all"]"#).await;
    let answers = child.all().emit_with_ack::<u8>("ask", ());
    client.ask_back(r#"42/child-1,0["ask"]"#, "43/child-1,0[7]").await;
    let answers = soon("an answer", answers).await.expect("room");
    assert_eq!((answers.len(), answers.missing()), (1, 0));
    assert_eq!(child.count().await.expect("both answer"), 1);
    assert_eq!(child.fetch_sockets().await.expect("both answer").len(), 1);
    let none = child.server_side_emit_with_ack::<u8>("x", ()).await.expect("room");
    assert_eq!((none.answers.len(), none.missing), (0, 0));
    assert_eq!(servers[1].io.hub().find_scope("/child-1"), None);
    // The other server reaches it by its name.
    servers[1].io.of("/child-1").to(id).emit("from afar", ()).expect("room");
    client.expect(r#"42/child-1,["from afar"]"#).await;
}
