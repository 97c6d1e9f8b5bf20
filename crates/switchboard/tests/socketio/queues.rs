//! Clients that read slowly, and whose events are dropped or replaced rather than wait.

use switchboard::{Binary, EmitError, FullOutbox, HubError, MsgPack, Socket, Switchboard};
use switchboard_websocket::deflate::DeflateOptions;
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream};

use crate::harness::{Polling, Server, log, soon};

const LIMIT: usize = 256 << 10;

fn builder(full: FullOutbox) -> switchboard::Builder {
    Switchboard::builder().workers(1).max_outbox_bytes(LIMIT).full_outbox(full)
}

/// Events of 10 kB each are more than the kernel's buffers can hold.
const EVENTS: usize = 3000;

fn long() -> String {
    "x".repeat(10_000)
}

/// The numbers of the events `n` among packets.
fn numbers(packets: &[String]) -> Vec<usize> {
    let events = packets.iter().filter_map(|packet| packet.strip_prefix(r#"42["n","#));
    events.map(|rest| rest.split(',').next().and_then(|n| n.parse().ok()).expect("a number")).collect()
}

#[tokio::test]
async fn the_oldest_events_make_room_and_acknowledgements_are_kept() {
    let (said, mut told) = log();
    let server = Server::start(builder(FullOutbox::DropOldest), |io| {
        let root = io.root();
        let all_said = said.clone();
        root.on("all", move |socket: Socket| -> switchboard::Result {
            (0..EVENTS).try_for_each(|n| socket.emit("n", (n, long())))?;
            all_said.say("all");
            Ok(())
        });
        root.on("broadcast", move |socket: Socket| -> switchboard::Result {
            (0..EVENTS).try_for_each(|n| socket.namespace().emit("n", (n, long())))?;
            said.say("broadcast");
            Ok(())
        });
        root.on("echo", |switchboard::Data(text): switchboard::Data<String>| text);
    })
    .await;
    for (number, event) in ["all", "broadcast"].into_iter().enumerate() {
        let mut client = server.client().await;
        client.send(&format!(r#"42{number}["{event}"]"#)).await;
        // A client that reads meanwhile may read as fast as it is sent to.
        assert_eq!(told.next().await, event);
        let packets = client.until(&format!("43{number}[]")).await;
        let numbers = numbers(&packets);
        assert!(numbers.len() < EVENTS && numbers.is_sorted(), "{} events", numbers.len());
        assert_eq!((numbers.first(), numbers.last()), (Some(&0), Some(&(EVENTS - 1))));
        // The newest are there without a gap: as many as may wait.
        let newest = numbers.iter().rev().zip((0..EVENTS).rev()).take_while(|(n, expected)| **n == *expected);
        assert!(newest.count() * 10_000 >= LIMIT / 4);
        client.ask(r#"429["echo","here"]"#, r#"439["here"]"#).await;
    }
}

#[tokio::test]
async fn the_newest_event_is_refused_where_that_is_asked_for_and_acknowledgements_are_kept() {
    let (said, mut told) = log();
    let server = Server::start(builder(FullOutbox::DropNewest), |io| {
        io.root().on("all", move |socket: Socket| {
            let taken = |n: &usize| match socket.emit("n", (n, long())) {
                Ok(()) => true,
                Err(EmitError::Hub(HubError::OutboxFull { limit: LIMIT, .. })) => false,
                Err(error) => panic!("{error}"),
            };
            said.say((0..EVENTS).filter(taken).count().to_string());
        });
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"421["all"]"#).await;
    let taken: usize = told.next().await.parse().expect("a number");
    assert!(taken < EVENTS);
    let numbers = numbers(&client.until("431[]").await);
    assert_eq!(numbers.len(), taken);
    assert!(numbers.is_sorted());
}

#[tokio::test]
async fn attachments_are_dropped_with_their_event() {
    let server = Server::start(builder(FullOutbox::DropOldest), |io| {
        io.root().on("all", |socket: Socket| {
            let binary = || Binary::from(vec![7; 5000]);
            (0..EVENTS).try_for_each(|n| socket.emit("two", (n, binary(), binary())))
        });
    })
    .await;
    let mut client = server.client().await;
    client.send(r#"421["all"]"#).await;
    let mut events = 0;
    loop {
        match client.text().await {
            ack if ack == "431[]" => break,
            event => assert!(event.starts_with(r#"452-["two","#), "{event}"),
        }
        for _ in 0..2 {
            assert!(client.text().await.starts_with('<'));
        }
        events += 1;
    }
    assert!((10..EVENTS).contains(&events), "{events}");
}

fn tell_prices(socket: &Socket, to_all: bool) -> Result<(), EmitError> {
    for n in 0..EVENTS {
        for key in ["tea", "salt", "silk"] {
            let args = (n, key, long());
            if to_all {
                socket.namespace().all().conflate(key).emit("n", args)?;
            } else {
                socket.conflate(key).emit("n", args)?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_event_with_a_key_takes_the_place_of_the_one_that_waits() {
    let server = Server::start(builder(FullOutbox::Disconnect), |io| {
        io.root().on("own", |socket: Socket| tell_prices(&socket, false));
        io.root().on("all", |socket: Socket| tell_prices(&socket, true));
    })
    .await;
    for event in ["own", "all"] {
        let mut client = server.client().await;
        client.send(&format!(r#"421["{event}"]"#)).await;
        let packets = client.until("431[]").await;
        for key in ["tea", "salt", "silk"] {
            let of_key: Vec<_> =
                packets.iter().filter(|packet| packet.contains(&format!(",\"{key}\","))).cloned().collect();
            let numbers = numbers(&of_key);
            assert!(numbers.is_sorted() && numbers.len() < 50, "{} of {key}", numbers.len());
            assert_eq!(numbers.last(), Some(&(EVENTS - 1)));
        }
        let polling = Polling::open(&server).await;
        polling.post("40").await;
        polling.get().await;
        polling.post(&format!(r#"421["{event}"]"#)).await;
        let numbers = numbers(&polling.get().await);
        assert_eq!(numbers, [0, EVENTS - 1, EVENTS - 1, EVENTS - 1], "the first was on its way");
    }
}

#[tokio::test]
async fn a_client_whose_compressor_keeps_its_past_reads_what_is_left_of_a_backlog() {
    let deflate = DeflateOptions::default().context_takeover(true).threshold(0);
    let (said, mut told) = log();
    let server = Server::start(builder(FullOutbox::DropOldest).per_message_deflate(deflate), |io| {
        io.root().on("all", move |socket: Socket| -> switchboard::Result {
            // Text that does not compress well, and that begins like the text before it.
            let mut seed = 1u32;
            let mut noise = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b' ' + (seed >> 24) as u8 % 90)
            };
            let same: String = (0..400).map(|_| noise()).filter(|c| !"\"\\".contains(*c)).collect();
            for n in 0..EVENTS {
                let more: String = (0..20_000).map(|_| noise()).filter(|c| !"\"\\".contains(*c)).collect();
                socket.emit("n", (n, &same, more))?;
                socket.conflate("key").emit("keyed", (n, &same))?;
            }
            said.say("all");
            Ok(())
        });
    })
    .await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
    let mut config = Config::default();
    config.deflate = Some(deflate);
    let mut client = WebSocketStream::connect(&url, &config).await.expect("a handshake");
    client.send("40").await.expect("it is read");
    client.send(r#"421["all"]"#).await.expect("it is read");
    assert_eq!(told.next().await, "all");
    let mut packets = Vec::new();
    let reading = async {
        loop {
            match client.recv().await.expect("frames that inflate") {
                Some(OwnedMessage::Text(text)) if text == "431[]" => break,
                Some(OwnedMessage::Text(text)) => packets.push(text),
                other => panic!("{other:?}"),
            }
        }
    };
    soon("the acknowledgement", reading).await;
    let numbers = numbers(&packets);
    assert!(numbers.is_sorted() && numbers.len() < EVENTS, "{} events", numbers.len());
    assert_eq!(numbers.last(), Some(&(EVENTS - 1)));
    assert!(packets.iter().any(|packet| packet.starts_with(&format!(r#"42["keyed",{},"#, EVENTS - 1))));
}

#[tokio::test]
async fn a_parsers_event_with_a_key_takes_the_place_of_the_one_that_waits() {
    let server = Server::start(Switchboard::builder().workers(1).parser(MsgPack::default()), |io| {
        io.root().on("all", |socket: Socket| -> Result<(), EmitError> {
            socket.emit("first", ())?;
            (0..10).try_for_each(|n| socket.conflate("key").emit("n", n))
        });
    })
    .await;
    let client = Polling::open(&server).await;
    // CONNECT, and the event `all`, as MessagePack.
    client.post("bgqR0eXBlAKNuc3ChLw==").await;
    client.get().await;
    client.post("bg6R0eXBlAqNuc3ChL6RkYXRhkaNhbGw=").await;
    let packets = client.get().await;
    assert_eq!(packets.len(), 2, "{packets:?}");
}
