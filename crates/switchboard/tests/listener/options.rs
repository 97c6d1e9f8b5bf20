//! Meaningless options are refused by name, and every time limit accepts "never".

use std::io::ErrorKind;
use std::time::Duration;

use switchboard::{EngineOptions, ListenerOptions, SocketIoOptions, Switchboard, WebSocketOptions};
use switchboard_websocket::OwnedMessage;

use crate::harness::{Server, get, session_id};

type Change<T> = fn(&mut T);

fn built() -> Switchboard {
    Switchboard::builder().workers(1).build().expect("the options are good")
}

#[tokio::test]
async fn options_of_engines_that_make_no_sense_are_refused_by_name() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let cases: [(&str, Change<EngineOptions>); 10] = [
        ("path", |options| options.path = "chat".to_owned()),
        ("ping_interval", |options| options.ping_interval = Duration::ZERO),
        ("ping_interval", |options| options.ping_interval = Duration::MAX),
        ("ping_timeout", |options| options.ping_timeout = Duration::ZERO),
        ("ping_timeout", |options| (options.ping_interval, options.ping_timeout) = (12 * DAY, 13 * DAY)),
        ("upgrade_timeout", |options| options.upgrade_timeout = Duration::ZERO),
        ("message_timeout", |options| options.message_timeout = Some(Duration::ZERO)),
        ("max_payload", |options| options.max_payload = 0),
        ("max_outbox_bytes", |options| options.max_outbox_bytes = 0),
        ("transports", |options| (options.polling, options.websocket) = (false, false)),
    ];
    for (name, change) in cases {
        let io = built();
        let mut options = io.engine_options();
        change(&mut options);
        let error = io.engine_with(options).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("`{name}`")), "{name}: {error}");
    }
    let error = Switchboard::builder().ping_interval(Duration::MAX).build().expect_err("too long");
    assert!(error.to_string().contains("`ping_interval`"), "{error}");
}

#[tokio::test]
async fn options_of_raw_services_that_make_no_sense_are_refused_by_name() {
    let cases: [(&str, Change<WebSocketOptions>); 5] = [
        ("ping_interval", |options| options.ping_interval = Some(Duration::ZERO)),
        ("message_timeout", |options| options.message_timeout = Some(Duration::ZERO)),
        ("max_message_bytes", |options| options.max_message_bytes = 0),
        ("max_fragments", |options| options.max_fragments = 0),
        ("max_outbox_bytes", |options| options.max_outbox_bytes = 0),
    ];
    for (name, change) in cases {
        let mut options = WebSocketOptions::default();
        change(&mut options);
        let error = built().websocket_with("/ws", options).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("`{name}`")), "{name}: {error}");
    }
}

#[tokio::test]
async fn never_is_taken_for_every_time() {
    const NEVER: Duration = Duration::MAX;
    let mut listener = ListenerOptions::default();
    (listener.head_timeout, listener.keep_alive_timeout, listener.write_timeout) = (NEVER, NEVER, NEVER);
    listener.decision_timeout = NEVER;
    (listener.http2.ping_interval, listener.http2.ping_timeout) = (Some(NEVER), NEVER);
    let builder = Switchboard::builder().workers(1).listener(listener);
    let builder = builder.allow_request_async(async |_, _| Ok::<_, String>(()));
    let builder = builder.upgrade_timeout(NEVER).connect_timeout(NEVER);
    let builder = builder.message_timeout(Some(NEVER)).close_timeout(Some(NEVER));
    let server = Server::start(builder).await;
    for interval in [Some(NEVER), None] {
        let mut options = WebSocketOptions::default();
        options.ping_interval = interval;
        (options.message_timeout, options.close_timeout) = (interval, interval);
        let service = server.io.websocket_with("/never", options).expect("the options are good");
        service.on_message(|socket, message| socket.send(message));
        let mut socket = server.websocket("/never").await;
        // Long enough to arrive in several reads.
        let text = "x".repeat(300_000);
        socket.send(text.clone()).await.expect("it is read");
        assert_eq!(socket.recv().await.expect("in order"), Some(OwnedMessage::Text(text)));
        socket.close(switchboard_websocket::CloseCode::Normal, "").await.expect("it is answered");
    }
    let mut options = server.io.engine_options();
    (options.body_timeout, options.path) = (NEVER, "/engine".to_owned());
    server.io.engine_with(options).expect("the options are good");
    let open = get("/engine/?EIO=4&transport=polling", "connection: close");
    let sid = session_id(&server.send(open).await.rest().await);
    let mut probe = server.websocket(&format!("/engine/?EIO=4&transport=websocket&sid={sid}")).await;
    probe.send("2probe").await.expect("it is read");
    assert_eq!(probe.recv().await.expect("in order"), Some(OwnedMessage::Text("3probe".to_owned())));
    probe.send("5").await.expect("it is read");
    assert!(server.websocket("/socket.io/?EIO=4&transport=websocket").await.recv().await.is_ok());
    // By way of hyper, whose connection is kept.
    let mut kept = server.connect().await;
    for _ in 0..2 {
        kept.send(get("/socket.io/?EIO=4&transport=polling", "connection: keep-alive, te")).await;
        kept.until("}").await;
    }
}

#[tokio::test]
async fn a_path_gets_its_slash() {
    let server = Server::start(Switchboard::builder().workers(1)).await;
    server.io.websocket("feed").on_connect(|socket| socket.send("hello"));
    server.io.engine("bare");
    let told = server.websocket("/feed").await.recv().await.expect("in order");
    assert_eq!(told, Some(OwnedMessage::Text("hello".to_owned())));
    let open = get("/bare/?EIO=4&transport=polling", "connection: close");
    assert!(server.send(open).await.rest().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_options_of_an_engine_are_nodes_by_default() {
    let server = Server::start(Switchboard::builder().workers(1).max_payload(7)).await;
    server.io.engine_with(EngineOptions::default()).expect("the options are good");
    let open = server.websocket("/engine.io/?EIO=4&transport=websocket").await.recv().await;
    let Ok(Some(OwnedMessage::Text(open))) = open else { panic!("{open:?}") };
    let (_, times) = open.split_once(r#""upgrades":[],"#).expect("nothing to upgrade to");
    assert_eq!(times, r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#);
}

#[tokio::test]
async fn all_options_of_socket_io_replace_those_that_were_set_before() {
    let mut options = SocketIoOptions::default();
    options.max_namespaces = 1;
    let builder = Switchboard::builder().workers(1).max_namespaces(9).max_depth(3).socketio(options);
    let server = Server::start(builder).await;
    server.io.of("/other");
    let mut client = server.websocket("/socket.io/?EIO=4&transport=websocket").await;
    // Deeper than the bound that was set before.
    for packet in [r#"40{"a":[[[[]]]]}"#, "40/other,"] {
        client.send(packet).await.expect("it is open");
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        match client.recv().await.expect("it is open") {
            Some(OwnedMessage::Text(text)) => answers.push(text),
            end => panic!("{end:?}"),
        }
    }
    assert!(answers[1].starts_with(r#"40{"sid":""#), "{answers:?}");
    assert!(answers[2].starts_with("44/other,"), "{answers:?}");
}
