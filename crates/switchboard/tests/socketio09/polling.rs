//! xhr-polling and jsonp-polling of 0.9.

use switchboard::{Data, Socket};

use crate::client::{
    Polling, SHORT, Socket09, Stream, answering, ask, builder, payload, shake_hands, status, telling, times,
};
use crate::harness::{Server, log, request};

#[tokio::test]
async fn a_poll_is_answered_with_one_packet_or_with_a_payload_of_several() {
    let server = Server::start(builder(), |io| {
        answering(io);
        io.root().on("three", |socket: Socket| -> switchboard::Result {
            for text in ["a", "\u{1f600}"] {
                socket.emit("message", text)?;
            }
            Ok(socket.emit("end", ())?)
        });
    })
    .await;
    let client = Polling::open(&server).await;
    client.post("3:::hello").await;
    assert_eq!(client.get().await, "3:::hello");
    client.post(r#"5:::{"name":"three"}"#).await;
    let several =
        "\u{fffd}5\u{fffd}3:::a\u{fffd}6\u{fffd}3:::\u{1f600}\u{fffd}18\u{fffd}5:::{\"name\":\"end\"}";
    assert_eq!(client.get().await, several);
    // A payload of several packets in a POST, whose lengths count UTF-16.
    client.post("\u{fffd}6\u{fffd}3:::\u{1f600}\u{fffd}5\u{fffd}3:::b").await;
    assert_eq!(client.get().await, "\u{fffd}6\u{fffd}3:::\u{1f600}\u{fffd}5\u{fffd}3:::b");
    // A poll that waits is answered when there is something.
    let (polled, ()) = tokio::join!(client.get(), client.post("3:::later"));
    assert_eq!(polled, "3:::later");
}

#[tokio::test]
async fn answers_have_the_headers_of_node() {
    let server = Server::start(builder(), answering).await;
    let client = Polling::at(&server, &shake_hands(&server).await);
    let origin = "origin: http://a.example\r\n";
    for (method, body) in [("GET", "1::"), ("POST", "1")] {
        let (head, got) = request(client.address, method, &client.target, origin, "").await;
        assert_eq!((status(&head), &*got), (200, body));
        assert!(head.contains("content-type: text/plain; charset=UTF-8\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(head.contains("access-control-allow-origin: http://a.example\r\n"), "{head}");
        assert!(head.contains("access-control-allow-credentials: true"), "{head}");
    }
    // The connection is kept.
    let mut kept = client.begin_get().await;
    client.post("3:::x").await;
    assert!(kept.until("3:::x").await.contains("connection: keep-alive"));
    let (head, _) = request(client.address, "OPTIONS", &client.target, origin, "").await;
    assert_eq!(status(&head), 204);
    assert!(head.contains("access-control-allow-methods: GET,POST,OPTIONS"), "{head}");
}

#[tokio::test]
async fn a_poll_that_nothing_comes_for_ends_with_a_noop() {
    let options = times(|times| times.poll_duration = SHORT);
    let server = Server::start(builder().old_client_options(options), |_| {}).await;
    let client = Polling::open(&server).await;
    assert_eq!(client.get().await, "8::");
    assert_eq!(client.get().await, "8::");
}

#[tokio::test]
async fn a_new_poll_takes_the_place_of_the_one_that_waits() {
    let server = Server::start(builder(), answering).await;
    let client = Polling::open(&server).await;
    let mut first = client.begin_get().await;
    // The first one is answered only by the second, whichever the server sees first.
    let second = client.begin_get().await;
    let mut second = second;
    let answered = tokio::select! {
        _ = first.until("8::") => &mut second,
        _ = second.until("8::") => &mut first,
    };
    client.post("3:::x").await;
    answered.until("3:::x").await;
}

#[tokio::test]
async fn packets_wait_for_the_next_poll_and_volatile_ones_do_not() {
    let server = Server::start(builder(), |io| {
        answering(io);
        io.root().on("both", |socket: Socket| -> switchboard::Result {
            socket.volatile().emit("lost", 1)?;
            socket.emit("kept", 2)?;
            socket.volatile().emit("lost", 3)?;
            Ok(())
        });
    })
    .await;
    let client = Polling::open(&server).await;
    client.post(r#"5:::{"name":"both"}"#).await;
    assert_eq!(client.get().await, r#"5:::{"name":"kept","args":[2]}"#);
}

#[tokio::test]
async fn what_is_sent_to_a_poll_whose_caller_has_left_waits_for_the_next() {
    let server = Server::start(builder(), answering).await;
    let client = Polling::open(&server).await;
    client.begin_get().await.leave().await;
    client.post("3:::a").await;
    client.post("3:::b").await;
    assert_eq!(client.get().await, "\u{fffd}5\u{fffd}3:::a\u{fffd}5\u{fffd}3:::b");
}

#[tokio::test]
async fn a_client_that_does_not_poll_any_more_is_given_up() {
    let (said, mut told) = log();
    let options = times(|times| {
        times.heartbeat_interval = SHORT / 4;
        times.close_timeout = SHORT;
    });
    let server = Server::start(builder().old_client_options(options), |io| telling(io, said)).await;
    let client = Polling::open(&server).await;
    assert_eq!(told.next().await, "ping timeout");
    client.is_unknown().await;
}

#[tokio::test]
async fn a_session_that_is_not_known_is_told_to_begin_anew_and_none_begins_by_a_post() {
    let server = Server::start(builder(), answering).await;
    let gone = Polling::open(&server).await;
    gone.post("0::").await;
    assert_eq!(gone.get().await, "0::");
    for sid in ["AAAAAAAAAAAAAAAAAAAA", "abc", "toString", "%00", gone.sid(), "_____AAAAAAAAAAAAAAA"] {
        let client = Polling::at(&server, sid);
        client.is_unknown().await;
        assert_eq!(client.try_post("3:::ghost").await, (400, "7:::1+0".to_owned()), "{sid}");
        client.is_unknown().await;
        let script = format!("/socket.io/1/jsonp-polling/{sid}?i=4");
        assert_eq!(ask(server.address, "GET", &script, "").await, (200, r#"io.j[4]("7:::1+0");"#.to_owned()));
        assert_eq!(ask(server.address, "GET", &format!("/socket.io/1/htmlfile/{sid}"), "").await.0, 400);
        if !sid.contains('%') {
            let mut socket = Socket09::at(server.address, &format!("/socket.io/1/websocket/{sid}")).await;
            socket.expect("7:::1+0").await;
            assert_eq!(socket.next().await, None);
        }
    }
}

#[tokio::test]
async fn the_client_ends_the_session_by_a_packet_or_by_a_request_and_it_is_confirmed() {
    for way in ["packet", "?disconnect", "//?disconnect=1"] {
        let (said, mut told) = log();
        let server = Server::start(builder(), |io| telling(io, said)).await;
        let client = Polling::open(&server).await;
        let mut poll = client.begin_get().await;
        let disconnect = async {
            match way {
                "packet" => client.post("0::").await,
                "?disconnect" => {
                    let target = format!("{}?disconnect", client.target);
                    assert_eq!(ask(client.address, "GET", &target, "").await, (200, String::new()));
                }
                _ => {
                    let target = format!("/socket.io/1//{}/?disconnect=1", client.sid());
                    assert_eq!(ask(client.address, "GET", &target, "").await, (200, String::new()));
                }
            }
        };
        let (polled, ()) = tokio::join!(poll.until("0::"), disconnect);
        assert!(polled.starts_with("HTTP/1.1 200"), "{polled}");
        assert_eq!(told.next().await, "client namespace disconnect");
        client.is_unknown().await;
    }
}

#[tokio::test]
async fn a_client_that_the_server_disconnects_is_told_so_by_its_next_poll() {
    for event in ["leave", "close"] {
        let (said, mut told) = log();
        let server = Server::start(builder(), |io| {
            answering(io);
            telling(io, said);
        })
        .await;
        let client = Polling::open(&server).await;
        client
            .post(&format!(
                "\u{fffd}5\u{fffd}3:::a\u{fffd}{}\u{fffd}5:::{{\"name\":\"{event}\"}}",
                15 + event.len()
            ))
            .await;
        assert_eq!(told.next().await, "server namespace disconnect");
        assert_eq!(client.get().await, "\u{fffd}5\u{fffd}3:::a\u{fffd}3\u{fffd}0::");
        client.is_unknown().await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_or_no_payload_ends_the_session() {
    let (said, mut told) = log();
    let server = Server::start(builder().max_payload(1000), |io| telling(io, said)).await;
    let client = Polling::open(&server).await;
    assert_eq!(client.try_post(&"x".repeat(1001)).await.0, 413);
    assert_eq!(told.next().await, "transport error");
    for body in ["hello", "\u{fffd}99\u{fffd}3:::a", "\u{fffd}5\u{fffd}3:::a\u{fffd}"] {
        let client = Polling::open(&server).await;
        assert_eq!(client.try_post(body).await.0, 400, "{body}");
        assert_eq!(told.next().await, "parse error");
        client.is_unknown().await;
    }
    // Nothing is no wrong payload.
    Polling::open(&server).await.post("").await;
}

#[tokio::test]
async fn a_post_is_answered_when_its_handlers_have_room_and_one_ahead_is_refused() {
    let gate = crate::harness::Signal::new();
    let (passed, (said, mut told)) = (gate.clone(), log());
    let server = Server::start(builder().max_held_bytes(100), |io| {
        io.root().on("slow", async move |Data(text): Data<String>| {
            passed.passed().await;
            said.say(text.len().to_string());
        });
    })
    .await;
    let client = Polling::open(&server).await;
    let event = |name: &str| format!(r#"5:::{{"name":"slow","args":["{}"]}}"#, name.repeat(100));
    let events = payload(&["a", "b", "c"].map(event));
    let mut held = Stream::send(
        client.address,
        &format!(
            "POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{events}",
            client.target,
            events.len()
        ),
    )
    .await;
    // Until it is there, others are answered.
    while client.try_post("2::").await.0 != 429 {}
    gate.open();
    held.until("\r\n\r\n1").await;
    for _ in 0..3 {
        assert_eq!(told.next().await, "100");
    }
    client.post("2::").await;
}

#[tokio::test]
async fn scripts_poll_by_the_number_of_their_function_and_post_forms() {
    let server = Server::start(builder(), answering).await;
    let target = format!("/socket.io/1/jsonp-polling/{}", shake_hands(&server).await);
    let (head, body) = request(server.address, "GET", &format!("{target}?t=1&i=12"), "", "").await;
    assert_eq!((status(&head), &*body), (200, r#"io.j[12]("1::");"#));
    assert!(head.contains("content-type: text/javascript; charset=UTF-8\r\n"), "{head}");
    assert!(head.contains("x-xss-protection: 0"), "{head}");
    for (form, script) in [
        ("d=%223%3A%3A%3Aa%2Fb%22", r#"io.j[0]("3:::a/b");"#),
        // A line end of Unicode's would end the string in JavaScript.
        ("d=%223%3A%3A%3A%5Cu2028%22", r#"io.j[0]("3:::\u2028");"#),
        (
            "d=%22%EF%BF%BD5%EF%BF%BD3%3A%3A%3Aa%EF%BF%BD5%EF%BF%BD3%3A%3A%3Ab%22&x=1",
            "io.j[0](\"\u{fffd}5\u{fffd}3:::a\u{fffd}5\u{fffd}3:::b\");",
        ),
    ] {
        assert_eq!(ask(server.address, "POST", &target, form).await, (200, "1".to_owned()));
        for index in ["", "?i=x", "?i=1)"] {
            if index.is_empty() {
                assert_eq!(ask(server.address, "GET", &format!("{target}{index}"), "").await.1, script);
            }
        }
    }
    for index in ["?i=x", "?i=1)", "?i="] {
        ask(server.address, "POST", &target, "d=%223%3A%3A%3Aa%22").await;
        assert_eq!(
            ask(server.address, "GET", &format!("{target}{index}"), "").await.1,
            r#"io.j[0]("3:::a");"#
        );
    }
}

#[tokio::test]
async fn a_form_that_holds_no_json_gets_an_error_that_advises_to_begin_anew() {
    for form in ["d=3%3A%3A%3Aa", "x=1", "", "d=%5B%5D"] {
        let (said, mut told) = log();
        let server = Server::start(builder(), |io| telling(io, said)).await;
        let target = format!("/socket.io/1/jsonp-polling/{}", shake_hands(&server).await);
        assert_eq!(ask(server.address, "GET", &target, "").await.1, r#"io.j[0]("1::");"#);
        let mut poll = Stream::get(server.address, &target).await;
        // The poll is there before the form is: its session has no other transport.
        let another = Stream::get(server.address, &target).await;
        poll.until("8::").await;
        let mut poll = another;
        ask(server.address, "POST", &target, form).await;
        poll.until(r#"io.j[0]("7:::+0");"#).await;
        assert_eq!(told.next().await, "parse error");
    }
}
