//! The handshake of 0.9, and what else is asked below the path.

use http::StatusCode;
use switchboard::{Origins, Refusal, Switchboard};

use crate::client::{SHORT, ask, builder, shake_hands, status, times};
use crate::harness::{Server, request};

#[tokio::test]
async fn the_handshake_tells_an_id_the_times_and_the_transports() {
    let server = Server::start(builder(), |_| {}).await;
    for method in ["GET", "POST"] {
        let (head, body) =
            request(server.address, method, "/socket.io/1/?t=1", "origin: http://a.example\r\n", "").await;
        assert_eq!(status(&head), 200);
        assert!(head.contains("content-type: text/plain\r\n"), "{head}");
        assert!(head.contains("access-control-allow-origin: http://a.example\r\n"), "{head}");
        assert!(head.contains("access-control-allow-credentials: true"), "{head}");
        let (sid, rest) = body.split_once(':').expect("parts");
        assert_eq!(sid.len(), 20);
        assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{sid}");
        assert_eq!(rest, "60:60:websocket,htmlfile,xhr-polling,jsonp-polling");
    }
    let (head, _) = request(server.address, "GET", "/socket.io/1/", "", "").await;
    assert!(!head.contains("access-control"), "{head}");
}

#[tokio::test]
async fn the_handshake_by_a_script_calls_a_function_of_its_page_by_number() {
    let server = Server::start(builder(), |_| {}).await;
    let (head, body) = request(server.address, "GET", "/socket.io/1/?jsonp=3", "", "").await;
    assert!(head.contains("content-type: application/javascript\r\n"), "{head}");
    let told = body.strip_prefix("io.j[3](\"").and_then(|told| told.strip_suffix("\");"));
    assert!(told.is_some_and(|told| told.contains(":60:60:websocket")), "{body}");
    // Anything but a number is no index.
    for index in ["alert(1)", "", "1%5D", "-1"] {
        let (_, body) = ask(server.address, "GET", &format!("/socket.io/1/?jsonp={index}"), "").await;
        assert!(body.contains(":60:60:") && !body.contains("io.j"), "{body}");
    }
}

#[tokio::test]
async fn a_client_that_is_refused_is_told_by_403_and_a_script_by_an_error() {
    let refusing = builder().allow_request(|head: &http::request::Parts, _| {
        match head.headers.get("x-key").and_then(|key| key.to_str().ok()) {
            Some("good") => Ok(()),
            Some(_) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "no")),
            None => Err(Refusal::from("no")),
        }
    });
    let server = Server::start(refusing, |_| {}).await;
    let unauthorized = || "handshake unauthorized".to_owned();
    assert_eq!(ask(server.address, "GET", "/socket.io/1/", "").await, (403, unauthorized()));
    let (head, body) = request(server.address, "GET", "/socket.io/1/", "x-key: bad\r\n", "").await;
    assert_eq!((status(&head), body), (401, unauthorized()));
    let (head, _) = request(server.address, "GET", "/socket.io/1/", "x-key: good\r\n", "").await;
    assert_eq!(status(&head), 200);
    let by_script = ask(server.address, "GET", "/socket.io/1/?jsonp=2", "").await;
    assert_eq!(by_script, (200, r#"io.j[2](new Error("handshake unauthorized"));"#.to_owned()));
}

#[tokio::test]
async fn a_check_that_takes_time_is_awaited() {
    let slow = builder().allow_request_async(async |head: http::request::Parts, _| {
        tokio::task::yield_now().await;
        if head.uri.query() == Some("let-in") { Ok(()) } else { Err("no") }
    });
    let server = Server::start(slow, |_| {}).await;
    assert_eq!(ask(server.address, "GET", "/socket.io/1/?let-in", "").await.0, 200);
    let refused = (403, "handshake unauthorized".to_owned());
    assert_eq!(ask(server.address, "GET", "/socket.io/1/", "").await, refused);
    assert_eq!(ask(server.address, "GET", "/socket.io/xhr-polling//1", "").await.0, 403);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_in_each_of_its_requests() {
    let server = Server::start(builder().origins(Origins::same()), |_| {}).await;
    let evil = "origin: http://evil.example\r\n";
    let (head, body) = request(server.address, "GET", "/socket.io/1/", evil, "").await;
    assert_eq!((status(&head), &*body), (403, "handshake bad origin"));
    assert!(!head.contains("access-control"), "{head}");
    let (_, body) = request(server.address, "GET", "/socket.io/1/?jsonp=0", evil, "").await;
    assert_eq!(body, r#"io.j[0](new Error("handshake bad origin"));"#);
    // A script does not say its origin: it is known by the address of its page.
    let (_, body) = request(server.address, "GET", "/socket.io/1/?jsonp=0", "", "").await;
    assert_eq!(body, r#"io.j[0](new Error("handshake bad origin"));"#);
    let own = "referer: http://test/page\r\n";
    let (_, body) = request(server.address, "GET", "/socket.io/1/?jsonp=0", own, "").await;
    assert!(body.starts_with("io.j[0](\""), "{body}");
    let sid = shake_hands(&server).await;
    for (method, target) in [
        ("GET", format!("/socket.io/1/xhr-polling/{sid}")),
        ("POST", format!("/socket.io/1/xhr-polling/{sid}")),
        ("GET", format!("/socket.io/1/htmlfile/{sid}")),
        ("GET", format!("/socket.io/1//{sid}/?disconnect=1")),
        ("GET", "/socket.io/xhr-polling//1".to_owned()),
    ] {
        let (head, body) = request(server.address, method, &target, evil, "").await;
        assert_eq!(status(&head), 403, "{target}: {body}");
    }
    let script = format!("/socket.io/1/jsonp-polling/{sid}?i=0");
    assert_eq!(ask(server.address, "GET", &script, "").await.0, 403);
    let upgrade = "origin: http://evil.example\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
    let target = format!("/socket.io/1/websocket/{sid}");
    let (head, _) = request(server.address, "GET", &target, upgrade, "").await;
    assert_eq!(status(&head), 403);
}

#[tokio::test]
async fn other_protocols_and_other_paths_are_answered_as_node_does() {
    let server = Server::start(builder(), |_| {}).await;
    for (target, answer) in [
        ("/socket.io/", (200, "Welcome to socket.io.")),
        ("/socket.io", (200, "Welcome to socket.io.")),
        ("/socket.io/2/", (500, "Protocol version not supported.")),
        ("/socket.io/0/websocket/abc", (500, "Protocol version not supported.")),
    ] {
        let (status, body) = ask(server.address, "GET", target, "").await;
        assert_eq!((status, &*body), answer, "{target}");
    }
    assert_eq!(ask(server.address, "GET", "/socket.io/socket.io.js", "").await.0, 404);
    // Engine.IO's clients are served as ever.
    let (status, body) = ask(server.address, "GET", "/socket.io/?EIO=4&transport=polling", "").await;
    assert!(status == 200 && body.starts_with("0{"), "{body}");
}

#[tokio::test]
async fn a_transport_that_is_off_is_not_told_and_its_connection_ends() {
    let server = Server::start(builder().transports(false, true), |_| {}).await;
    let (_, body) = ask(server.address, "GET", "/socket.io/1/", "").await;
    assert!(body.ends_with(":60:60:websocket"), "{body}");
    let sid = body.split(':').next().expect("an id");
    for transport in ["xhr-polling", "htmlfile", "jsonp-polling", "xhr-multipart", "toString"] {
        let target = format!("/socket.io/1/{transport}/{sid}");
        let (head, body) = request(server.address, "GET", &target, "", "").await;
        assert_eq!((status(&head), &*body), (400, ""), "{transport}");
        assert!(head.contains("connection: close"), "{head}");
    }
    let server = Server::start(builder().jsonp(false), |_| {}).await;
    let (_, body) = ask(server.address, "GET", "/socket.io/1/", "").await;
    assert!(body.ends_with(":60:60:websocket,htmlfile,xhr-polling"), "{body}");
    let (_, body) = ask(server.address, "GET", "/socket.io/1/?jsonp=0", "").await;
    assert_eq!(body, r#"io.j[0](new Error("handshake unauthorized"));"#);
}

#[tokio::test]
async fn old_clients_are_not_served_unless_they_are_asked_for() {
    let server = Server::start(Switchboard::builder().workers(1), |_| {}).await;
    for target in ["/socket.io/1/", "/socket.io/1/xhr-polling/abc", "/socket.io/xhr-polling//1"] {
        assert_eq!(ask(server.address, "GET", target, "").await.0, 404, "{target}");
    }
}

#[tokio::test]
async fn a_handshake_counts_as_a_session_and_dies_unused() {
    let builder = builder()
        .max_sessions(1)
        .old_client_options(times(|times| times.handshake_timeout = std::time::Duration::from_secs(1)));
    let server = Server::start(builder, |_| {}).await;
    shake_hands(&server).await;
    for target in ["/socket.io/1/", "/socket.io/xhr-polling//1", "/socket.io/?EIO=4&transport=polling"] {
        let refused = (503, "too many sessions\n".to_owned());
        assert_eq!(ask(server.address, "GET", target, "").await, refused, "{target}");
    }
    // Then there is room again.
    while ask(server.address, "GET", "/socket.io/1/", "").await.0 == 503 {}
}

#[tokio::test]
async fn times_that_make_no_sense_are_refused_by_name() {
    for (options, name) in [
        (times(|times| times.poll_duration = std::time::Duration::ZERO), "poll_duration"),
        (times(|times| times.close_timeout = SHORT), "heartbeat_interval"),
        (times(|times| times.heartbeat_interval = times.heartbeat_timeout), "heartbeat_interval"),
    ] {
        let error = builder().old_client_options(options).build().expect_err("it makes no sense");
        assert!(error.to_string().contains(name), "{error}");
    }
}
