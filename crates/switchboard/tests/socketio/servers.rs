//! Several Socket.IO servers on one port, and one server at several paths with different parsers.

use switchboard::{Data, MsgPack, Socket, State, Switchboard};

use crate::harness::{Client, Server};

fn set_up(io: &Switchboard, name: &'static str) {
    io.state(name);
    let root = io.root();
    root.on("who", |name: State<&'static str>| (*name).to_owned());
    root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
    root.on("all", |io: Switchboard| io.root().emit("said", ()));
}

#[tokio::test]
async fn servers_at_two_paths_of_a_port_have_nothing_in_common_but_the_port() {
    for workers in [1, 4] {
        let server = Server::workers(workers, |io| {
            set_up(io, "first");
            let second = Switchboard::builder().path("/second").max_payload(1000).build_on(io);
            set_up(&second.expect("the path is free"), "second");
        })
        .await;
        let mut clients = Vec::new();
        for (path, name) in [("/socket.io/", "first"), ("/second/", "second")] {
            let mut client = server.open_path(&format!("{path}?EIO=4&transport=websocket")).await;
            client.join("/").await;
            client.ask(r#"421["who"]"#, &format!(r#"431["{name}"]"#)).await;
            client.ask(r#"422["join","room"]"#, "432[]").await;
            clients.push(client);
        }
        for at in [0, 1] {
            clients[at].send(r#"42["all"]"#).await;
            clients[at].expect(r#"42["said"]"#).await;
            // The other one hears nothing of it.
            let other: &mut Client = &mut clients[1 - at];
            other.ask(r#"421["who"]"#, if at == 0 { r#"431["second"]"# } else { r#"431["first"]"# }).await;
        }
        // Each has its own bounds: of 1000 bytes, and of a million.
        let long = format!(r#"423["join","{}"]"#, "x".repeat(2000));
        clients[0].ask(&long, "433[]").await;
        clients[1].send(&long).await;
        assert_eq!(clients[1].ended().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_further_server_needs_a_path_of_its_own_and_leaves_the_options_of_all_servers_alone() {
    let io = Switchboard::builder().workers(1).build().unwrap();
    let error = |builder: switchboard::Builder| builder.build_on(&io).unwrap_err().to_string();
    assert_eq!(error(Switchboard::builder()), "the path /socket.io is taken");
    assert_eq!(error(Switchboard::builder().path("//socket.io/")), "the path //socket.io/ is taken");
    let another = Switchboard::builder().path("/another");
    assert_eq!(error(another.workers(1)), "`workers` is an option of the first server on a port");
    let another = Switchboard::builder().path("/another").drafts(true);
    assert_eq!(error(another), "`drafts` is an option of the first server on a port");
    assert!(Switchboard::builder().path("/another").build_on(&io).is_ok());
    assert!(io.parser_at("another/", MsgPack::default()).is_err());
}
