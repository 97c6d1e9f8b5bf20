//! Clients of Socket.IO 0.6.

use crate::client::{SHORT, Socket09, Stream, answering, ask, builder, frame, status, telling, times};
use crate::harness::{Server, log, request};

/// The number of the frame that a session begins with.
fn id(frame: &str) -> String {
    let (length, id) = frame.strip_prefix("~m~").and_then(|rest| rest.split_once("~m~")).expect("a frame");
    assert_eq!(length.parse(), Ok(id.len()), "{frame}");
    assert!(id.bytes().all(|byte| byte.is_ascii_digit()), "{frame}");
    id.to_owned()
}

#[tokio::test]
async fn polls_begin_with_the_id_and_carry_frames() {
    let server = Server::start(builder(), answering).await;
    let (head, frame) =
        request(server.address, "GET", "/socket.io/xhr-polling//1", "origin: http://a.example\r\n", "").await;
    assert!(head.contains("content-type: text/plain; charset=UTF-8\r\n"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert!(!head.contains("credentials"), "{head}");
    let id = id(&frame);
    let (poll, send) =
        (format!("/socket.io/xhr-polling/{id}/2"), format!("/socket.io/xhr-polling/{id}/send"));
    for (body, answer) in [
        ("data=~m~2~m~hi", "~m~2~m~hi"),
        ("data=%7Em%7E2%7Em%7Ea%2B~m~0~m~", "~m~2~m~a+~m~0~m~"),
        ("data=~m~7~m~~j~%22js%22&x=1", "~m~2~m~js"),
        ("data=~m~2~m~%F0%9F%98%80", "~m~2~m~\u{1f600}"),
        (r#"data=~m~31~m~~j~{"name":"echo","args":["x"]}"#, r#"~m~31~m~~j~{"name":"echo","args":["x"]}"#),
    ] {
        let (head, words) = request(server.address, "POST", &send, "", body).await;
        assert_eq!((status(&head), &*words), (200, "ok"), "{body}");
        assert!(head.contains("content-type: text/plain\r\n"), "{head}");
        assert_eq!(ask(server.address, "GET", &poll, "").await, (200, answer.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_poll_that_nothing_comes_for_ends_empty_and_a_silent_client_is_given_up() {
    let (said, mut told) = log();
    let options = times(|times| (times.poll_duration, times.close_timeout_06) = (SHORT, SHORT));
    let server = Server::start(builder().old_client_options(options), |io| telling(io, said)).await;
    let id = id(&ask(server.address, "GET", "/socket.io/xhr-polling//1", "").await.1);
    let poll = format!("/socket.io/xhr-polling/{id}/2");
    // On a slow machine the session may be over by then.
    let (status, body) = ask(server.address, "GET", &poll, "").await;
    assert!((status, &*body) == (200, "") || status == 400, "{status} {body}");
    assert_eq!(told.next().await, "ping timeout");
    // Its connection ends without a word.
    let (head, body) = request(server.address, "GET", &poll, "", "").await;
    assert!(head.contains("connection: close") && body.is_empty(), "{head}");
}

#[tokio::test]
async fn what_is_no_frame_ends_the_session() {
    for body in ["data=hello", "data=~m~5~m~a", "nothing=1", "data=~m~4~m~~j~{"] {
        let (said, mut told) = log();
        let server = Server::start(builder(), |io| telling(io, said)).await;
        let id = id(&ask(server.address, "GET", "/socket.io/xhr-polling//1", "").await.1);
        ask(server.address, "POST", &format!("/socket.io/xhr-polling/{id}/send"), body).await;
        assert_eq!(told.next().await, "parse error", "{body}");
    }
}

#[tokio::test]
async fn scripts_poll_by_the_last_part_of_the_path() {
    let server = Server::start(builder(), answering).await;
    let (head, script) =
        request(server.address, "GET", "/socket.io/jsonp-polling//1300000000/3", "", "").await;
    assert!(head.contains("content-type: text/javascript; charset=UTF-8\r\n"), "{head}");
    let frame = script.strip_prefix("io.JSONP[3]._(\"").and_then(|rest| rest.strip_suffix("\");"));
    let id = id(frame.unwrap_or_else(|| panic!("{script}")));
    let target = format!("/socket.io/jsonp-polling/{id}/1300000001");
    assert_eq!(
        ask(server.address, "POST", &format!("{target}/4"), "data=~m~2~m~hi").await,
        (200, "ok".to_owned())
    );
    for (index, called) in [("5", "5"), ("alert(1)", "0")] {
        ask(server.address, "POST", &format!("{target}/4"), "data=~m~2~m~ho").await;
        let (_, script) = ask(server.address, "GET", &format!("{target}/{index}"), "").await;
        assert!(script.starts_with(&format!("io.JSONP[{called}]._(\"~m~2~m~h")), "{script}");
    }
}

#[tokio::test]
async fn htmlfile_is_a_page_of_scripts() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| {
        answering(io);
        telling(io, said);
    })
    .await;
    let mut page = Stream::get(server.address, "/socket.io/htmlfile//1").await;
    page.until(&format!("<html><body>{}", " ".repeat(244))).await;
    page.until("<script>parent.s._(\"").await;
    let frame = page.until("\", document);</script>").await;
    let id = id(frame.trim_end_matches("\", document);</script>"));
    let send = format!("/socket.io/htmlfile/{id}/send");
    assert_eq!(ask(server.address, "POST", &send, "data=~m~2~m~%3C/").await, (200, "ok".to_owned()));
    page.until(r#"<script>parent.s._("~m~2~m~\u003c\/", document);</script>"#).await;
    drop(page);
    assert_eq!(told.next().await, "transport close");
}

#[tokio::test]
async fn multipart_is_an_answer_of_parts() {
    let (said, mut told) = log();
    let server = Server::start(builder(), |io| {
        answering(io);
        telling(io, said);
    })
    .await;
    let request =
        "GET /socket.io/xhr-multipart//1 HTTP/1.1\r\nhost: test\r\norigin: http://a.example\r\n\r\n";
    let mut parts = Stream::send(server.address, request).await;
    let head = parts.until("\r\n\r\n").await;
    assert!(head.contains("content-type: multipart/x-mixed-replace;boundary=\"socketio\"\r\n"), "{head}");
    assert!(head.contains("access-control-allow-origin: *") && !head.contains("credentials"), "{head}");
    // Not in chunks.
    assert!(!head.contains("transfer-encoding"), "{head}");
    parts.until("--socketio\n").await;
    parts.until("Content-Type: text/plain\n\n").await;
    let part = parts.until("\n--socketio\n").await;
    let id = id(part.trim_end_matches("\n--socketio\n"));
    let send = format!("/socket.io/xhr-multipart/{id}/send");
    assert_eq!(ask(server.address, "POST", &send, "data=~m~2~m~hi").await, (200, "ok".to_owned()));
    parts.until("Content-Type: text/plain\n\n~m~2~m~hi\n--socketio\n").await;
    drop(parts);
    assert_eq!(told.next().await, "transport close");
}

#[tokio::test]
async fn heartbeats_are_numbered_and_an_answer_has_the_number() {
    let (said, mut told) = log();
    let options =
        times(|times| (times.heartbeat_interval_06, times.heartbeat_timeout_06) = (SHORT, SHORT * 20));
    let server = Server::start(builder().old_client_options(options), |io| {
        answering(io);
        telling(io, said);
    })
    .await;
    let mut client = Socket09::at(server.address, "/socket.io/websocket").await;
    id(&client.next().await.expect("an id"));
    for n in 1..4 {
        client.expect(&format!("~m~4~m~~h~{n}")).await;
        client.send(&format!("~m~4~m~~h~{n}")).await;
    }
    client.expect("~m~4~m~~h~4").await;
    client.send("~m~4~m~~h~3").await;
    assert_eq!(client.next().await, None);
    assert_eq!(told.next().await, "ping timeout");
}

#[tokio::test]
async fn a_websocket_begins_with_the_id_and_may_bring_several_frames_at_once() {
    let server = Server::start(builder(), answering).await;
    let mut client = Socket09::at(server.address, "/socket.io/websocket").await;
    id(&client.next().await.expect("an id"));
    client.send("~m~1~m~a~m~1~m~b").await;
    client.expect("~m~1~m~a").await;
    client.expect("~m~1~m~b").await;
    let mut client = Socket09::at(server.address, "/socket.io/websocket/123").await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn the_end_by_the_server_is_the_end_of_the_transport() {
    let server = Server::start(builder(), answering).await;
    let mut client = Socket09::at(server.address, "/socket.io/websocket").await;
    client.next().await.expect("an id");
    client.send(&frame(r#"~j~{"name":"leave","args":[]}"#)).await;
    assert_eq!(client.next().await, None);
}
