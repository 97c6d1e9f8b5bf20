//! `allow_request`: synchronous and asynchronous, refusals of every kind, values for the session, and the
//! headers that an endpoint adds to its responses.

use std::sync::{Arc, Mutex};

use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use switchboard::{
    AllowRequest, Allowed, Builder, Extension, Refusal, Socket, Switchboard, WebSocketOptions,
};

use crate::harness::{Server, eventually, get, metric, post, session_id, text_frame, upgrade};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

#[derive(Clone, Debug, PartialEq)]
struct User(String);

/// Admits clients that give a name, except for one name.
fn check(head: &Parts) -> Result<Allowed, Refusal> {
    match head.headers.get(AUTHORIZATION).and_then(|name| name.to_str().ok()) {
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "who are you?")),
        Some("Eve") => {
            let later = HeaderValue::from_static("60");
            Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "not so fast").header(RETRY_AFTER, later))
        }
        Some("Mallory") => Err("not you".into()),
        Some(name) => Ok(Allowed::with(User(name.to_owned()))),
    }
}

async fn in_time(head: Parts) -> Result<Allowed, Refusal> {
    tokio::task::yield_now().await;
    check(&head)
}

fn with(request: &str, header: &str) -> String {
    request.replacen("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"), 1)
}

/// A server whose endpoints check requests synchronously or asynchronously.
async fn server(later: bool) -> Server {
    let builder = Switchboard::builder().workers(1);
    let mut raw = WebSocketOptions::default();
    let builder: Builder = if later {
        raw.allow_request = Some(AllowRequest::from_async(|head, _| in_time(head)));
        builder.allow_request_async(|head, _| in_time(head))
    } else {
        raw.allow_request = Some(AllowRequest::new(|head, _| check(head)));
        builder.allow_request(|head, _| check(head))
    };
    let server = Server::start(builder).await;
    server.io.websocket_with("/raw", raw).expect("the options are good").on_connect(|socket| {
        let user = socket.handshake().extension::<User>();
        socket.send(format!("raw {}", user.map_or("nobody", |user| &user.0)))
    });
    server.io.root().on_connect(|socket: Socket, Extension(user): Extension<User>| {
        assert_eq!(socket.extension(), Some(&user));
        socket.emit("user", user.0)
    });
    server
}

#[tokio::test]
async fn a_refusal_may_have_any_status_and_headers() {
    for later in [false, true] {
        let server = server(later).await;
        for (header, status, part) in [
            ("x: y", 401, "who are you?"),
            ("authorization: Eve", 429, "not so fast"),
            ("authorization: Mallory", 403, "not you"),
        ] {
            for request in [get(POLLING, "connection: close"), upgrade(WEBSOCKET), upgrade("/raw")] {
                let answer = server.send(with(&request, header)).await.rest().await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{later} {answer}");
                assert!(answer.contains(part), "{answer}");
                assert_eq!(answer.contains("\r\nretry-after: 60\r\n"), status == 429, "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_has_the_values_that_the_check_gave_it() {
    for later in [false, true] {
        let server = server(later).await;
        let header = "authorization: Alice";
        server.send(with(&upgrade("/raw"), header)).await.until("raw Alice").await;
        let mut client = server.send(with(&upgrade(WEBSOCKET), header)).await;
        client.until("\"maxPayload\":1000000}").await;
        client.send(text_frame("40")).await;
        client.until(r#"42["user","Alice"]"#).await;
        let open = server.send(with(&get(POLLING, "connection: close"), header)).await.rest().await;
        let path = format!("{POLLING}&sid={}", session_id(&open));
        server.send(post(&path, "connection: close", "40")).await.rest().await;
        server.send(get(&path, "")).await.until(r#"42["user","Alice"]"#).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_decided_on_is_decided_on_no_more() {
    struct Dropped(Arc<Mutex<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = true;
        }
    }
    let dropped = Arc::new(Mutex::new(false));
    let check = {
        let dropped = Arc::clone(&dropped);
        move |_: Parts, _| {
            let guard = Dropped(Arc::clone(&dropped));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        }
    };
    let server = Server::start(Switchboard::builder().workers(1).allow_request_async(check)).await;
    drop(server.send(get(POLLING, "")).await);
    eventually("it is dropped", async || *dropped.lock().unwrap()).await;
    *dropped.lock().unwrap() = false;
    drop(server.send(upgrade(WEBSOCKET)).await);
    eventually("it is dropped", async || *dropped.lock().unwrap()).await;
}

#[tokio::test]
async fn a_check_in_time_that_panics_is_a_500_for_its_request_only() {
    let check = async |_: Parts, _| -> Result<(), String> {
        tokio::task::yield_now().await;
        panic!("a user's mistake")
    };
    let server = Server::start(Switchboard::builder().workers(1).allow_request_async(check)).await;
    let before = metric("switchboard_handler_panics_total", "");
    for request in [get(POLLING, "connection: close"), upgrade(WEBSOCKET)] {
        let answer = server.send(request).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
    assert!(metric("switchboard_handler_panics_total", "") >= before + 2.0);
}

#[tokio::test]
async fn answers_have_the_headers_that_hooks_add_and_refused_requests_are_told() {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&refused);
    let builder = Switchboard::builder()
        .workers(1)
        .initial_headers(|headers, _| drop(headers.insert("x-initial", HeaderValue::from_static("1"))))
        .headers(|headers, head| {
            let path = HeaderValue::from_str(head.uri.path()).unwrap();
            headers.insert(HeaderName::from_static("x-path"), path);
            headers.extend(
                head.headers.get("x-own").map(|own| (HeaderName::from_static("x-seen"), own.clone())),
            );
        })
        .on_connection_error(move |refused| {
            seen.lock().unwrap().push((refused.status.as_u16(), refused.code, refused.message.to_owned()));
        });
    let server = Server::start(builder).await;
    let open = server.send(get(POLLING, "connection: close")).await.rest().await;
    let sid = session_id(&open);
    assert!(open.contains("\r\nx-initial: 1\r\n") && open.contains("\r\nx-path: /socket.io/\r\n"), "{open}");
    let mut later =
        server.send(post(&format!("{POLLING}&sid={sid}"), "connection: close\r\nx-own: 7", "40")).await;
    let later = later.rest().await;
    assert!(later.contains("\r\nx-seen: 7\r\n"), "the hook sees all headers: {later}");
    assert!(!later.contains("x-initial") && later.contains("\r\nx-path: /socket.io/\r\n"), "{later}");
    let probe = server.send(upgrade(&format!("{WEBSOCKET}&sid={sid}"))).await.head().await;
    assert!(!probe.contains("x-initial") && probe.contains("\r\nx-path: /socket.io/\r\n"), "{probe}");
    let websocket = server.send(upgrade(WEBSOCKET)).await.head().await;
    assert!(websocket.contains("\r\nx-initial: 1\r\n") && websocket.contains("\r\nx-path: "), "{websocket}");
    server.send(get("/socket.io/?EIO=4&transport=pigeon", "connection: close")).await.rest().await;
    server.send(upgrade("/socket.io/?EIO=3&transport=websocket")).await.rest().await;
    assert_eq!(
        *refused.lock().unwrap(),
        [
            (400, Some(0), "Transport unknown".to_owned()),
            (400, Some(5), "Unsupported protocol version".to_owned())
        ]
    );
}
