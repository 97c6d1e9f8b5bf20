//! Rooms and broadcasts: the recipients, on one worker and across several.

use switchboard::{BroadcastOperator, Data, DisconnectReason, Namespace, Socket, SocketId};

use crate::harness::{Client, Server, log, soon};

/// Twelve clients, enough to be on all workers. The n-th is in the rooms `even` or `odd`, `low` (below 6) and
/// `all`.
struct Crowd {
    server: Server,
    clients: Vec<Client>,
    ids: Vec<String>,
}

const SIZE: usize = 12;

impl Crowd {
    async fn new(workers: usize) -> Self {
        let server = Server::workers(workers, |io| {
            io.root().on("join", |socket: Socket, Data(rooms): Data<Vec<String>>| socket.join(rooms));
            io.root().on("rooms", async |socket: Socket| -> switchboard::Result<Vec<String>> {
                let mut rooms: Vec<_> = socket.rooms().await?.iter().map(ToString::to_string).collect();
                rooms.sort();
                Ok(rooms)
            });
        })
        .await;
        let mut crowd = Self { server, clients: Vec::new(), ids: Vec::new() };
        for n in 0..SIZE {
            let mut client = crowd.server.open().await;
            crowd.ids.push(client.join("/").await);
            let mut rooms = vec!["all", if n % 2 == 0 { "even" } else { "odd" }];
            if n < 6 {
                rooms.push("low");
            }
            client.ask(&format!(r#"420["join",[{}]]"#, rooms.map_quoted()), "430[]").await;
            crowd.clients.push(client);
        }
        crowd
    }

    fn root(&self) -> Namespace {
        self.server.io.root()
    }

    /// The socket of the n-th client.
    async fn socket(&self, n: usize) -> Socket {
        let sockets = self.root().local_sockets().await.expect("sockets");
        sockets.into_iter().find(|socket| socket.id().as_str() == self.ids[n]).expect("connected")
    }

    /// The clients that got event `x`, once for each copy, before `end`, which goes to all.
    async fn got(&mut self) -> Vec<(usize, usize)> {
        self.root().emit("end", ()).expect("room in the inbox");
        let mut got = Vec::new();
        for (n, client) in self.clients.iter_mut().enumerate() {
            let packets = client.until(r#"42["end"]"#).await;
            assert!(packets.iter().all(|packet| packet == r#"42["x"]"#), "{packets:?}");
            if !packets.is_empty() {
                got.push((n, packets.len()));
            }
        }
        got
    }
}

trait Quoted {
    fn map_quoted(&self) -> String;
}

impl Quoted for Vec<&str> {
    fn map_quoted(&self) -> String {
        self.iter().map(|room| format!("{room:?}")).collect::<Vec<_>>().join(",")
    }
}

fn one_copy(of: impl IntoIterator<Item = usize>) -> Vec<(usize, usize)> {
    of.into_iter().map(|n| (n, 1)).collect()
}

#[tokio::test]
async fn a_broadcast_goes_once_to_each_that_is_meant() {
    for workers in [1, 4] {
        let mut crowd = Crowd::new(workers).await;
        let root = crowd.root();
        let sender = crowd.socket(3).await;
        let seventh = SocketId::parse(&crowd.ids[7]).expect("an id");
        let everyone = 0..SIZE;
        let even = |n: &usize| n.is_multiple_of(2);
        let but_3 = |n: &usize| *n != 3;
        let cases: Vec<(&str, BroadcastOperator, Vec<usize>)> = vec![
            ("all", root.all(), everyone.clone().collect()),
            ("local", root.local(), everyone.clone().collect()),
            ("a room", root.to("even"), everyone.clone().filter(even).collect()),
            (
                "several rooms",
                root.to(["even", "low"]),
                everyone.clone().filter(|n| n % 2 == 0 || *n < 6).collect(),
            ),
            ("rooms named in turn", root.to("even").within("odd").to("all"), everyone.clone().collect()),
            ("an empty room", root.to("nobody"), vec![]),
            ("an id", root.to(seventh), vec![7]),
            ("an id and its room", root.to([crowd.ids[7].as_str(), "odd"]), vec![1, 3, 5, 7, 9, 11]),
            ("but a room", root.except("even"), vec![1, 3, 5, 7, 9, 11]),
            ("a room but another", root.to("low").except("even"), vec![1, 3, 5]),
            ("but several", root.except(vec!["low", "odd"]), vec![6, 8, 10]),
            ("except wins", root.to("low").except("low"), vec![]),
            ("but an id", root.to("odd").except(seventh), vec![1, 3, 5, 9, 11]),
            ("without the sender", sender.broadcast(), everyone.clone().filter(but_3).collect()),
            ("the sender's room", sender.to("low"), vec![0, 1, 2, 4, 5]),
            ("the sender's own room", sender.to(sender.id()), vec![]),
            ("but the sender and a room", sender.except("even"), vec![1, 5, 7, 9, 11]),
            ("local without the sender", sender.local(), everyone.clone().filter(but_3).collect()),
        ];
        for (what, operator, meant) in cases {
            operator.clone().emit("x", ()).expect("room in the inbox");
            assert_eq!(crowd.got().await, one_copy(meant.clone()), "{what}");
            let mut found = operator.local_sockets().await.expect("sockets");
            found.sort_by_key(|socket| crowd.ids.iter().position(|id| id == socket.id().as_str()));
            let ids: Vec<_> = found.iter().map(|socket| socket.id().to_string()).collect();
            assert_eq!(ids, meant.iter().map(|n| crowd.ids[*n].clone()).collect::<Vec<_>>(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_volatile_event_goes_to_the_clients_that_can_take_it() {
    for workers in [1, 4] {
        let mut crowd = Crowd::new(workers).await;
        crowd.root().volatile().emit("x", ()).expect("room in the inbox");
        assert_eq!(crowd.got().await, one_copy(0..SIZE));
        let sender = crowd.socket(0).await;
        sender.to("low").volatile().emit("x", ()).expect("room in the inbox");
        assert_eq!(crowd.got().await, one_copy(1..6));
        sender.volatile().emit("x", ()).expect("connected");
        assert_eq!(crowd.got().await, one_copy([0]));
        // A client on polling cannot get them without a poll.
        let polling = crate::harness::Polling::open(&crowd.server).await;
        polling.post("40").await;
        polling.get().await;
        crowd.root().volatile().emit("x", ()).expect("room in the inbox");
        crowd.root().emit("y", ()).expect("room in the inbox");
        assert_eq!(polling.get().await, [r#"42["y"]"#]);
    }
}

#[tokio::test]
async fn operators_join_leave_and_disconnect_on_all_workers() {
    for workers in [1, 4] {
        let mut crowd = Crowd::new(workers).await;
        let root = crowd.root();
        root.to("even").join(["new", "other"]).expect("room in the inbox");
        root.to("new").emit("x", ()).expect("room in the inbox");
        assert_eq!(crowd.got().await, one_copy((0..SIZE).step_by(2)));
        root.to("low").leave("new").expect("room in the inbox");
        root.to("new").emit("x", ()).expect("room in the inbox");
        assert_eq!(crowd.got().await, one_copy([6, 8, 10]));
        let id = crowd.ids[8].clone();
        let expected = ["all", "even", "new", "other", &id];
        let mut expected: Vec<_> = expected.to_vec();
        expected.sort_unstable();
        let rooms = crowd.socket(8).await.rooms().await.expect("connected");
        assert_eq!(&*rooms[0], id.as_str(), "its own room comes first");
        crowd.clients[8].ask(r#"421["rooms"]"#, &format!("431[[{}]]", expected.map_quoted())).await;

        root.to("new").disconnect(false).expect("room in the inbox");
        for n in [6, 8, 10] {
            crowd.clients[n].expect("41").await;
            crowd.clients[n].join("/").await;
        }
        root.to("low").disconnect(true).expect("room in the inbox");
        for n in (0..6).rev() {
            let packets = crowd.clients.remove(n).ended().await;
            assert_eq!(packets, ["41"]);
        }
        assert_eq!(root.local_sockets().await.expect("sockets").len(), 6);
        assert_eq!(crowd.got().await, vec![]);
    }
}

#[tokio::test]
async fn on_disconnect_sees_the_rooms_and_reaches_those_in_them() {
    for workers in [1, 4] {
        let (said, mut told) = log();
        let server = Server::workers(workers, |io| {
            let root = io.root();
            root.on_connect(|socket: Socket| socket.join(["room", "lobby"]));
            let plain = said.clone();
            root.on_disconnect(move |socket: Socket, reason: DisconnectReason| -> switchboard::Result {
                plain.say(format!("{reason} {}", socket.is_connected()));
                assert!(socket.emit("late", ()).is_err());
                Ok(socket.to("room").emit("left", socket.id())?)
            });
            let later = said.clone();
            root.on_disconnect(async move |socket: Socket| -> switchboard::Result {
                let rooms = socket.rooms().await?;
                later.say(rooms[1..].join(","));
                tokio::task::yield_now().await;
                later.say(format!("{}", socket.rooms().await.is_err()));
                Ok(())
            });
        })
        .await;
        let mut stays = server.client().await;
        for by_server in [false, true] {
            let mut leaves = server.open().await;
            let id = leaves.join("/").await;
            if by_server {
                server.io.root().to(id.as_str()).disconnect(false).expect("room in the inbox");
                leaves.expect("41").await;
                assert_eq!(told.next().await, "server namespace disconnect false");
            } else {
                leaves.close().await;
                assert_eq!(told.next().await, "transport close false");
            }
            assert_eq!([told.next().await, told.next().await], ["room,lobby", "true"]);
            stays.expect(&format!(r#"42["left","{id}"]"#)).await;
            let left = soon("sockets", server.io.root().to("room").local_sockets()).await.expect("sockets");
            assert_eq!(left.len(), 1);
        }
    }
}

#[tokio::test]
async fn sockets_are_counted_once_and_rooms_are_listed() {
    for workers in [1, 4] {
        let crowd = Crowd::new(workers).await;
        let root = crowd.server.io.root();
        let count =
            async |to: switchboard::BroadcastOperator| soon("a count", to.count()).await.expect("sockets");
        assert_eq!(soon("a count", root.count()).await.expect("sockets"), SIZE as u64);
        assert_eq!(count(root.to("even")).await, 6);
        assert_eq!(count(root.to(["even", "low"])).await, 9);
        assert_eq!(count(root.to("all").except("low")).await, 6);
        assert_eq!(count(root.to(crowd.ids[0].as_str())).await, 1);
        assert_eq!(count(root.to("nobody")).await, 0);
        let mut rooms = soon("rooms", root.rooms()).await.expect("rooms");
        rooms.sort();
        assert_eq!(rooms.iter().map(|room| &**room).collect::<Vec<_>>(), ["all", "even", "low", "odd"]);
        assert!(soon("rooms", crowd.server.io.of("/other").rooms()).await.expect("rooms").is_empty());
    }
}
