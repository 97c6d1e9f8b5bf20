//! The answers to requests that do not become a WebSocket.

use http::HeaderValue;
use http_body_util::Empty;

use crate::harness::{ALL, Client, serve, text};

/// Replaces a header, or removes it where the value is empty.
fn change(request: &mut http::Request<Empty<bytes::Bytes>>, name: &'static str, value: &'static str) {
    request.headers_mut().remove(name);
    if !value.is_empty() {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

#[tokio::test]
async fn a_request_not_in_order_is_refused_over_http_1() {
    let table = [
        ("upgrade", "", 400),
        ("connection", "close", 400),
        ("sec-websocket-key", "short", 400),
        ("sec-websocket-key", "", 400),
        ("sec-websocket-version", "9", 426),
        ("sec-websocket-protocol", "chat room", 400),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
    ];
    for by in ALL {
        let address = serve(by).await;
        for (name, value, status) in table {
            let mut client = Client::http1(address).await;
            let mut request = client.request().body(Empty::new()).unwrap();
            change(&mut request, name, value);
            let answer = client.send(request).await;
            assert_eq!(answer.status(), status, "{by:?} {name}: {value}");
            let versions = answer.headers().get("sec-websocket-version").map(HeaderValue::as_bytes);
            assert_eq!(versions.is_some_and(|versions| versions.starts_with(b"13")), status == 426);
        }
        let mut client = Client::http1(address).await;
        let post = client.request().method("POST").body(Empty::new()).unwrap();
        let answer = client.send(post).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (405, &HeaderValue::from_static("GET"))
        );
    }
}

#[tokio::test]
async fn a_request_not_in_order_is_refused_over_http_2() {
    let table = [
        ("sec-websocket-version", "", 426),
        ("sec-websocket-version", "9", 426),
        ("sec-websocket-protocol", "chat room", 400),
        ("origin", "https://evil.example", 403),
    ];
    for by in ALL {
        let mut client = Client::http2(serve(by).await).await;
        for (name, value, status) in table {
            let mut request = client.request().body(Empty::new()).unwrap();
            change(&mut request, name, value);
            let answer = client.send(request).await;
            assert_eq!(answer.status(), status, "{by:?} {name}: {value}");
            assert_eq!(answer.headers().get("connection"), None, "which is of HTTP/1.1");
        }
        let other = hyper::ext::Protocol::from_static("connect-udp");
        let request = client.request().extension(other).body(Empty::new()).unwrap();
        assert_eq!(client.send(request).await.status(), 501, "{by:?}: another protocol");
        let get = http::Request::get("http://chat.example/").header("sec-websocket-version", "13");
        let answer = client.send(get.body(Empty::new()).unwrap()).await;
        let connect = HeaderValue::from_static("CONNECT");
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &connect), "{by:?}");
    }
}

#[tokio::test]
async fn an_origin_is_checked_by_default_and_its_refusal_names_the_option() {
    for by in ALL {
        let address = serve(by).await;
        for (origin, allowed) in [
            ("https://chat.example", true),
            ("http://chat.example", true),
            ("https://app.example", true),
            ("https://app.example.evil.example", false),
            ("https://evil.example", false),
        ] {
            for mut client in [Client::http1(address).await, Client::http2(address).await] {
                let request = client.request().header("origin", origin).body(Empty::new()).unwrap();
                let answer = client.send(request).await;
                if allowed {
                    assert!([101, 200].contains(&answer.status().as_u16()), "{by:?} {origin}");
                } else {
                    assert_eq!(answer.status(), 403, "{by:?} {origin}");
                    assert!(text(answer).await.contains("option `origin`"));
                }
            }
        }
    }
}
