//! The admin page's server side, by a client that writes the page's packets by hand.

use serde_json::{Value, json};
use switchboard::{AdminMode, AdminOptions, Data, Socket, Switchboard};

use crate::harness::{Client, Server};

/// Of the password `changeit`, with the least cost.
fn options() -> AdminOptions {
    AdminOptions::basic("ada", bcrypt::hash("changeit", 4).expect("a cost that is allowed"))
}

async fn server(options: AdminOptions) -> Server {
    Server::start(Switchboard::builder().workers(2), |io| {
        io.admin(options).expect("the options are good");
        let root = io.root();
        root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        io.of("/admin").on("done?", || true);
        root.on("greet", |socket: Socket| socket.emit("hello", (1, "two")));
    })
    .await
}

/// Asks to join `/admin` with this `auth`.
async fn asked(server: &Server, auth: &Value) -> (Client, String) {
    let mut client = server.open().await;
    client.send(&format!("40/admin,{auth}")).await;
    let answer = client.text().await;
    (client, answer)
}

/// A page that has logged in; returns the id of its login.
async fn page(server: &Server) -> (Client, String) {
    let (mut client, answer) = asked(server, &json!({ "username": "ada", "password": "changeit" })).await;
    assert!(answer.starts_with(r#"40/admin,{"sid":"#), "{answer}");
    let session = told(&mut client, "session").await;
    (client, session[0].as_str().expect("an id").to_owned())
}

/// The arguments of the next event of this name; others are passed over.
async fn told(client: &mut Client, event: &str) -> Vec<Value> {
    loop {
        let packet = client.text().await;
        let list = packet.strip_prefix("42/admin,").unwrap_or_else(|| panic!("no event: {packet}"));
        let mut list: Vec<Value> = serde_json::from_str(list).expect("a list");
        if list[0] == event {
            list.remove(0);
            return list;
        }
    }
}

async fn ask(client: &mut Client, event: &Value) {
    client.send(&format!("42/admin,{event}")).await;
}

#[tokio::test]
async fn only_users_who_have_logged_in_are_let_in() {
    let server = server(options()).await;
    let refused = r#"44/admin,{"message":"invalid credentials"}"#;
    for auth in [
        json!({}),
        json!({ "username": "ada" }),
        json!({ "username": "ada", "password": "changeit " }),
        json!({ "username": "tom", "password": "changeit" }),
        json!({ "username": ["ada"], "password": { "toString": "changeit" } }),
        json!({ "sessionId": "" }),
        json!({ "sessionId": "0".repeat(32) }),
    ] {
        assert_eq!(asked(&server, &auth).await.1, refused, "{auth}");
    }
    let (_page, session) = page(&server).await;
    // A page that comes back has the id of its login, and is told no other.
    let (mut back, answer) = asked(&server, &json!({ "sessionId": session })).await;
    assert!(answer.starts_with(r#"40/admin,{"sid":"#), "{answer}");
    assert!(back.text().await.starts_with(r#"42/admin,["config","#));
}

#[test]
fn a_hash_that_is_not_one_of_bcrypts_is_an_error() {
    let io = Switchboard::builder().workers(1).build().expect("the options are good");
    for hash in ["", "changeit", "$1$abc$def"] {
        let error = io.admin(AdminOptions::basic("ada", hash)).expect_err(hash);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{hash}");
    }
}

#[tokio::test]
async fn the_page_is_told_of_sockets_rooms_and_events_and_of_those_that_were_there() {
    let server = server(options()).await;
    let mut early = server.client().await;
    early.ask(r#"421["join","hall"]"#, "431[]").await;
    let (mut page, _) = page(&server).await;
    let config = told(&mut page, "config").await;
    assert_eq!(config[0]["supportedFeatures"].as_array().map(Vec::len), Some(9));
    let all = told(&mut page, "all_sockets").await;
    let found = all[0].as_array().expect("a list").iter().find(|socket| socket["nsp"] == "/");
    let found = found.expect("the early one");
    assert_eq!((&found["rooms"][0], &found["rooms"][1]), (&found["id"], &json!("hall")));
    assert_eq!(
        (&found["transport"], &found["handshake"]["query"]["EIO"]),
        (&json!("websocket"), &json!("4"))
    );

    let mut client = server.open().await;
    let id = client.join("/").await;
    let mut connected = told(&mut page, "socket_connected").await;
    if connected[0]["nsp"] == "/admin" {
        // The page itself.
        connected = told(&mut page, "socket_connected").await;
    }
    assert_eq!((&connected[0]["id"], &connected[0]["nsp"]), (&json!(id), &json!("/")));
    assert_ne!(connected[0]["clientId"], found["clientId"]);
    assert!(connected[1].as_str().is_some_and(|time| time.ends_with('Z')), "{connected:?}");
    client.send(r#"42["join","hall"]"#).await;
    let received = told(&mut page, "event_received").await;
    assert_eq!(received[..3], [json!("/"), json!(id), json!(["join", "hall"])]);
    assert_eq!(told(&mut page, "room_joined").await[..3], [json!("/"), json!("hall"), json!(id)]);
    client.ask(r#"42["greet"]"#, r#"42["hello",1,"two"]"#).await;
    assert_eq!(told(&mut page, "event_sent").await[..3], [json!("/"), json!(id), json!(["hello", 1, "two"])]);
    client.send("41").await;
    let reason = json!("client namespace disconnect");
    assert_eq!(told(&mut page, "socket_disconnected").await[..3], [json!("/"), json!(id), reason]);
    assert_eq!(told(&mut page, "room_left").await[..3], [json!("/"), json!("hall"), json!(id)]);
}

#[tokio::test]
async fn the_page_is_told_the_numbers_of_the_server() {
    let server = server(options().server_id("one").mode(AdminMode::Production)).await;
    let mut client = server.client().await;
    client.ask(r#"421["join","hall"]"#, "431[]").await;
    let (mut page, _) = page(&server).await;
    let config = told(&mut page, "config").await;
    assert!(!config[0]["supportedFeatures"].as_array().expect("a list").contains(&json!("ALL_EVENTS")));
    // The first numbers may be older than the clients.
    loop {
        let stats = told(&mut page, "server_stats").await.remove(0);
        assert_eq!((&stats["serverId"], &stats["pid"]), (&json!("one"), &json!(std::process::id())));
        if stats["clientsCount"] == 2 {
            assert_eq!(stats["pollingClientsCount"], 0);
            let root = json!({ "name": "/", "socketsCount": 1 });
            assert!(stats["namespaces"].as_array().is_some_and(|all| all.contains(&root)), "{stats}");
            return;
        }
    }
}

#[tokio::test]
async fn the_page_emits_joins_leaves_and_disconnects_for_sockets_and_rooms() {
    let server = server(options()).await;
    let (mut page, _) = page(&server).await;
    let (mut one, mut other) = (server.open().await, server.open().await);
    let (id, other_id) = (one.join("/").await, other.join("/").await);
    ask(&mut page, &json!(["emit", "/", id, "hello", 1, { "a": [true] }])).await;
    one.expect(r#"42["hello",1,{"a":[true]}]"#).await;
    ask(&mut page, &json!(["join", "/", "hall", id])).await;
    ask(&mut page, &json!(["join", "/", "yard", null])).await;
    ask(&mut page, &json!(["emit", "/", "hall", "in the hall"])).await;
    one.expect(r#"42["in the hall"]"#).await;
    ask(&mut page, &json!(["leave", "/", "hall", id])).await;
    ask(&mut page, &json!(["emit", "/", ["hall", "yard"], "in the yard"])).await;
    one.expect(r#"42["in the yard"]"#).await;
    other.expect(r#"42["in the yard"]"#).await;
    // Reserved names, namespaces that are not there, and arguments of other types do nothing.
    for event in [
        json!(["emit", "/", "", "disconnect"]),
        json!(["emit", "/nowhere", "", "hello"]),
        json!(["emit", 1]),
        json!(["join", {}, [], 3]),
        json!(["_disconnect", "/nowhere", true]),
    ] {
        ask(&mut page, &event).await;
    }
    ask(&mut page, &json!(["emit", "/", "", "to all"])).await;
    one.expect(r#"42["to all"]"#).await;
    ask(&mut page, &json!(["_disconnect", "/", false, id])).await;
    one.expect("41").await;
    ask(&mut page, &json!(["_disconnect", "/", true, other_id])).await;
    assert_eq!(other.until("41").await, [r#"42["to all"]"#]);
    assert_eq!(other.ended().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_that_may_only_look_does_nothing() {
    let server = server(options().read_only(true)).await;
    let (mut page, _) = page(&server).await;
    let config = told(&mut page, "config").await;
    assert_eq!(config[0], json!({ "supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS"] }));
    let mut client = server.client().await;
    ask(&mut page, &json!(["emit", "/", "", "hello"])).await;
    ask(&mut page, &json!(["_disconnect", "/", true])).await;
    page.send(r#"42/admin,1["done?"]"#).await;
    while page.text().await != "43/admin,1[true]" {}
    // The client was sent nothing before this.
    client.ask(r#"421["join","hall"]"#, "431[]").await;
}
