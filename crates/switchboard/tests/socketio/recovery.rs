//! Recovery of connection state, by what stands on the wire: a client shows its `pid` and the offset of the last
//! event that it has got, and gets what it has missed, in order, and then the answer to its CONNECT.

use std::sync::Arc;
use std::time::Duration;

use switchboard::{Builder, Data, DisconnectReason, RecoveryOptions, Socket, Switchboard};

use switchboard_hub::{MemoryStore, Store};

use crate::harness::{Client, Server, log};

fn recovering(workers: usize) -> Builder {
    Switchboard::builder().workers(workers).recovery(RecoveryOptions::default())
}

/// A client's place in a namespace, as the answer to its CONNECT tells it.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    sid: String,
    pid: String,
}

impl Place {
    fn read(answer: &str) -> Self {
        let mut texts = answer.strip_prefix("40").expect("it is connected").split('"').skip(1).step_by(2);
        let mut after = |key| {
            assert_eq!(texts.next(), Some(key), "{answer}");
            texts.next().expect("a value").to_owned()
        };
        Self { sid: after("sid"), pid: after("pid") }
    }

    /// CONNECT with this session, and with this offset if there is one.
    fn connect(&self, offset: Option<&str>) -> String {
        let offset = offset.map_or_else(String::new, |offset| format!(r#","offset":"{offset}""#));
        format!(r#"40{{"pid":"{}"{offset}}}"#, self.pid)
    }
}

/// The offset that stands at the end of an event.
fn offset(event: &str) -> String {
    let offset = event.rsplit('"').nth(1).expect("an offset");
    assert!(event.ends_with("\"]") && offset.split('-').count() == 2, "{event}");
    offset.to_owned()
}

async fn enter(server: &Server) -> (Client, Place) {
    let mut client = server.open().await;
    client.send("40").await;
    let place = Place::read(&client.text().await);
    (client, place)
}

/// Expects an event with these arguments and an offset, which is returned.
async fn expect(client: &mut Client, event: &str) -> String {
    let text = client.text().await;
    let offset = offset(&text);
    assert_eq!(text, format!(r#"42["{event}","{offset}"]"#));
    offset
}

/// A server with rooms, which says when sockets come and go.
async fn rooms(builder: Builder) -> (Server, crate::harness::Told) {
    let (log, told) = log();
    let server = Server::start(builder, |io| {
        let root = io.root();
        let (came, gone) = (log.clone(), log);
        root.on_connect(move |socket: Socket| {
            came.say(if socket.recovered() { "recovered" } else { "new" });
        });
        root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
        root.on_disconnect(move |_: Socket, reason: DisconnectReason| gone.say(reason.as_str()));
    })
    .await;
    (server, told)
}

#[tokio::test]
async fn a_client_that_was_cut_gets_its_id_rooms_and_missed_events_and_then_its_connect() {
    for workers in [1, 4] {
        let (server, mut told) = rooms(recovering(workers)).await;
        let (mut client, place) = enter(&server).await;
        client.ask(r#"420["join","hall"]"#, "430[]").await;
        let root = server.io.root();
        root.to("hall").emit("one", ()).expect("room");
        let seen = offset(&client.text().await);
        client.reset();
        assert_eq!((told.next().await, told.next().await), ("new".into(), "transport error".into()));
        root.to("hall").emit("two", ()).expect("room");
        root.to("elsewhere").emit("not for it", ()).expect("room");
        root.emit("three", ()).expect("room");
        root.volatile().emit("not kept", ()).expect("room");
        root.except("hall").emit("not for it", ()).expect("room");
        root.to(place.sid.as_str()).emit("four", ()).expect("room");
        let mut client = server.open().await;
        client.send(&place.connect(Some(&seen))).await;
        for event in ["two", "three"] {
            expect(&mut client, event).await;
        }
        let last = expect(&mut client, "four").await;
        assert_eq!(Place::read(&client.text().await), place, "the same sid and pid");
        assert_eq!(told.next().await, "recovered");
        // It is in its room, and gets what comes next once.
        root.to("hall").emit("five", ()).expect("room");
        let next = expect(&mut client, "five").await;
        assert!(next > last);
    }
}

#[tokio::test]
async fn a_session_is_recovered_again_and_again_and_from_its_very_beginning() {
    let (server, mut told) = rooms(recovering(2)).await;
    let (mut client, place) = enter(&server).await;
    assert_eq!(told.next().await, "new");
    // It has got no event yet, so it has no offset.
    for event in ["one", "two", "three"] {
        client.reset();
        assert_eq!(told.next().await, "transport error");
        server.io.root().emit(event, ()).expect("room");
        client = server.open().await;
        client.send(&place.connect(None)).await;
        // Each time all that came since the beginning: it has told of none.
        for before in ["one", "two", "three"] {
            expect(&mut client, before).await;
            if before == event {
                break;
            }
        }
        assert_eq!(Place::read(&client.text().await), place);
        assert_eq!(told.next().await, "recovered");
    }
}

#[tokio::test]
async fn an_old_connection_that_is_still_open_is_ended() {
    let (server, mut told) = rooms(recovering(2)).await;
    let (mut old, place) = enter(&server).await;
    assert_eq!(told.next().await, "new");
    server.io.root().emit("one", ()).expect("room");
    let seen = offset(&old.text().await);
    let mut client = server.open().await;
    client.send(&place.connect(Some(&seen))).await;
    assert_eq!(Place::read(&client.text().await), place);
    // Handlers of two workers, which may run at the same time.
    let mut said = [told.next().await, told.next().await];
    said.sort();
    assert_eq!(said, ["forced server close", "recovered"]);
    server.io.root().emit("two", ()).expect("room");
    expect(&mut client, "two").await;
    assert_eq!(old.ended().await, [""; 0], "no event went to the old one");
}

#[tokio::test]
async fn a_session_that_was_ended_on_purpose_or_is_not_known_is_new_without_an_error() {
    let (server, mut told) = rooms(recovering(2)).await;
    let (mut client, place) = enter(&server).await;
    assert_eq!(told.next().await, "new");
    client.send("41").await;
    assert_eq!(told.next().await, "client namespace disconnect");
    let stranger = Place { pid: format!("{}AAAAAAAAAAAAAAAA", place.sid), ..place.clone() };
    for connect in [
        place.connect(None),
        stranger.connect(None),
        r#"40{"pid":5}"#.to_owned(),
        r#"40{"pid":"abc","offset":"abc"}"#.to_owned(),
        r#"40{"pid":null,"offset":[]}"#.to_owned(),
    ] {
        client.close().await;
        client = server.open().await;
        client.send(&connect).await;
        let other = Place::read(&client.text().await);
        assert!(other.sid != place.sid && other.pid != place.pid);
        while told.next().await != "new" {}
    }
}

#[tokio::test]
async fn an_offset_that_the_server_has_not_given_out_recovers_nothing() {
    let (server, mut told) = rooms(recovering(1)).await;
    let (mut client, place) = enter(&server).await;
    server.io.root().emit("one", ()).expect("room");
    let seen = offset(&client.text().await);
    client.reset();
    let ahead = seen.replace("-1", "-2");
    for wrong in ["", "x", ahead.as_str()] {
        let mut client = server.open().await;
        client.send(&place.connect(Some(wrong))).await;
        assert_ne!(Place::read(&client.text().await).sid, place.sid);
    }
    // An offset of an earlier session is older than this one, whatever server gave it.
    for other in ["1-5", "ffffffffffffffff-1"] {
        let mut client = server.open().await;
        client.send(&place.connect(Some(other))).await;
        expect(&mut client, "one").await;
        assert_eq!(Place::read(&client.text().await), place);
        client.reset();
    }
    while told.next().await != "recovered" {}
}

#[tokio::test]
async fn an_event_of_the_socket_alone_is_kept_and_one_with_an_acknowledgement_is_not() {
    let (log, mut told) = log();
    let server = Server::start(recovering(2), |io| {
        io.root().on("go", |socket: Socket| -> switchboard::Result {
            socket.emit("kept", 1)?;
            socket.volatile().emit("volatile", "text")?;
            drop(socket.emit_with_ack::<()>("asked", "text"));
            socket.broadcast().emit("others", ())?;
            Ok(socket.emit("kept", 2)?)
        });
        io.root().on_disconnect(move |_: Socket| log.say("gone"));
    })
    .await;
    let (mut client, place) = enter(&server).await;
    client.send(r#"420["go"]"#).await;
    let first = client.text().await;
    assert!(first.starts_with(r#"42["kept",1,""#), "{first}");
    client.expect(r#"42["volatile","text"]"#).await;
    client.expect(r#"420["asked","text"]"#).await;
    let second = client.text().await;
    assert!(second.starts_with(r#"42["kept",2,""#), "{second}");
    client.expect("430[]").await;
    client.reset();
    assert_eq!(told.next().await, "gone");
    let mut client = server.open().await;
    client.send(&place.connect(Some(&offset(&first)))).await;
    client.expect(&second).await;
    assert_eq!(Place::read(&client.text().await), place);
}

#[tokio::test]
async fn values_and_data_come_back_and_middleware_is_passed_by_if_the_option_says_so() {
    struct Name(&'static str);
    for skip in [true, false] {
        let (log, mut told) = log();
        let mut options = RecoveryOptions::default();
        options.skip_middleware = skip;
        let server = Server::start(Switchboard::builder().workers(2), |io| {
            let chat = io.of("/");
            chat.recovery(options);
            let (middleware, connect) = (log.clone(), log.clone());
            chat.middleware(move |socket: Socket| {
                middleware.say(format!("middleware {}", socket.recovered()));
                socket.insert(Name("Ada"));
            });
            chat.on_connect(move |socket: Socket| -> switchboard::Result {
                let name = socket.get::<Name>().map_or("nobody", |name| name.0);
                connect.say(format!("{name} {}", socket.data::<Option<u8>>()?.unwrap_or(0)));
                Ok(socket.set_data(7)?)
            });
            chat.on_disconnect(move |_: Socket| log.say("gone"));
        })
        .await;
        let (client, place) = enter(&server).await;
        assert_eq!((told.next().await, told.next().await), ("middleware false".into(), "Ada 0".into()));
        client.reset();
        assert_eq!(told.next().await, "gone");
        let mut client = server.open().await;
        client.send(&place.connect(None)).await;
        assert_eq!(Place::read(&client.text().await), place);
        if !skip {
            assert_eq!(told.next().await, "middleware true");
        }
        assert_eq!(told.next().await, "Ada 7");
    }
}

#[tokio::test]
async fn without_the_option_there_is_neither_pid_nor_offset() {
    let (server, mut told) = rooms(Switchboard::builder().workers(2)).await;
    let mut client = server.open().await;
    client.send(r#"40{"pid":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","offset":"1-1"}"#).await;
    let answer = client.text().await;
    assert!(answer.starts_with(r#"40{"sid":""#) && !answer.contains("pid"), "{answer}");
    assert_eq!(told.next().await, "new");
    server.io.root().emit("one", ()).expect("room");
    client.expect(r#"42["one"]"#).await;
}

#[tokio::test]
async fn a_client_on_polling_is_recovered_too() {
    use crate::harness::Polling;
    let (server, mut told) = rooms(recovering(2)).await;
    let (client, place) = enter(&server).await;
    assert_eq!(told.next().await, "new");
    client.reset();
    assert_eq!(told.next().await, "transport error");
    server.io.root().emit("one", ()).expect("room");
    server.io.root().emit("two", switchboard::Binary::from(vec![1])).expect("room");
    let session = Polling::open(&server).await;
    session.post(&place.connect(None)).await;
    let packets = session.get().await;
    assert!(packets[0].starts_with(r#"42["one","#), "{packets:?}");
    assert!(packets[1].starts_with(r#"451-["two",{"_placeholder":true,"num":0},""#), "{packets:?}");
    assert_eq!((packets[2].as_str(), Place::read(&packets[3])), ("bAQ==", place));
}

#[tokio::test]
async fn the_application_is_told_when_the_window_of_a_client_closes() {
    let (log, mut told) = log();
    let mut options = RecoveryOptions::default();
    options.window = Duration::from_millis(1);
    let server = Server::start(Switchboard::builder().workers(2).recovery(options), |io| {
        let root = io.root();
        root.on_connect(|socket: Socket| -> switchboard::Result {
            socket.set_data("Ada")?;
            Ok(socket.join("hall")?)
        });
        root.on_expired(move |session| {
            let name: String = session.data().expect("it is a string");
            log.say(format!("{} {name} {:?}", session.id(), session.rooms()));
        });
    })
    .await;
    let (client, place) = enter(&server).await;
    client.reset();
    assert_eq!(told.next().await, format!(r#"{} Ada ["hall"]"#, place.sid));
    let mut client = server.open().await;
    client.send(&place.connect(None)).await;
    assert_ne!(Place::read(&client.text().await).sid, place.sid);
}

/// The server is killed, and another one goes on with what its store had at that moment.
#[tokio::test]
async fn a_client_is_recovered_by_the_server_that_goes_on_with_the_store() {
    let start = async |store: &Arc<MemoryStore>| {
        let options = RecoveryOptions::default().store(Arc::clone(store) as Arc<dyn Store>);
        Server::start(Switchboard::builder().workers(2).recovery(options), |io| {
            let root = io.root();
            root.middleware(|socket: Socket| socket.set_data("early"));
            root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
            root.on("name", |socket: Socket, Data(name): Data<String>| socket.set_data(name));
            root.on("who", |socket: Socket| socket.data::<String>());
            root.on("say", |socket: Socket, Data(word): Data<String>| {
                socket.namespace().to("hall").emit("said", word)
            });
        })
        .await
    };
    let mut store = Arc::new(MemoryStore::default());
    let mut server = start(&store).await;
    let (mut client, place) = enter(&server).await;
    client.ask(r#"420["who"]"#, r#"430["early"]"#).await;
    client.ask(r#"420["join","hall"]"#, "430[]").await;
    client.ask(r#"420["name","Ada"]"#, "430[]").await;
    let mut seen = None;
    for n in 0..3 {
        // Its own word comes before the acknowledgement, and both when the store has it.
        let (mut other, _) = enter(&server).await;
        other.ask(r#"420["say","one"]"#, "430[]").await;
        let said = client.text().await;
        assert!(said.starts_with(r#"42["said","one","#), "{n}: {said}");
        seen = Some(offset(&said)).or(seen);
        other.ask(r#"420["say","two"]"#, "430[]").await;
        // From here on nothing of what the first server does counts.
        store = Arc::new(store.copy());
        server = start(&store).await;
        client = server.open().await;
        client.send(&place.connect(seen.as_deref())).await;
        let said = client.text().await;
        assert!(said.starts_with(r#"42["said","two","#), "{n}: {said}");
        seen = Some(offset(&said));
        assert_eq!(Place::read(&client.text().await), place);
        client.ask(r#"420["who"]"#, r#"430["Ada"]"#).await;
    }
}

/// A client that reads up to so many numbers, and is cut after each few of them.
async fn follow(
    server: &Server,
    (mut client, place): (Client, Place),
    count: usize,
    cut_after: usize,
) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let packet = client.text().await;
        if packet.starts_with("40") {
            assert_eq!(Place::read(&packet), place);
            continue;
        }
        let number = packet.strip_prefix(r#"42["n","#).and_then(|rest| rest.split(',').next());
        numbers.push(number.and_then(|number| number.parse().ok()).expect("a number"));
        let seen = offset(&packet);
        if numbers.len() % cut_after == 0 {
            client.reset();
            client = server.open().await;
            client.send(&place.connect(Some(&seen))).await;
        }
    }
    numbers
}

/// Sends numbers, by each server in turn, while clients of all of them are cut again and again.
async fn send_and_follow(servers: &[Server]) -> Vec<Vec<usize>> {
    const NUMBERS: usize = 600;
    let mut readers = tokio::task::JoinSet::new();
    for (number, server) in servers.iter().cycle().take(12).enumerate() {
        let client = enter(server).await;
        let server = Server { io: server.io.clone(), address: server.address };
        readers.spawn(async move { follow(&server, client, NUMBERS, 20 + 7 * number).await });
    }
    for number in 0..NUMBERS {
        servers[number % servers.len()].io.root().emit("n", number).expect("room");
        if number % 5 == 0 {
            servers[0].io.root().saved().await.expect("room");
        }
    }
    readers.join_all().await
}

#[tokio::test]
async fn clients_that_are_cut_again_and_again_get_each_event_once_and_in_order() {
    let server = Server::start(recovering(4), |_| {}).await;
    for numbers in send_and_follow(&[server]).await {
        assert!(numbers.into_iter().eq(0..600));
    }
}

#[tokio::test]
async fn clients_of_two_nodes_get_the_events_of_both_once_and_each_nodes_in_order() {
    let servers = crate::nodes::servers_of(|| recovering(2), |_| {}).await;
    for numbers in send_and_follow(&servers).await {
        for node in 0..2 {
            let of_node = numbers.iter().copied().filter(|number| number % 2 == node);
            assert!(of_node.eq((node..600).step_by(2)), "node {node}");
        }
    }
}
