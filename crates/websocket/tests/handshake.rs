//! The opening handshake (RFC 6455 §4), rule by rule.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{COOKIE, HOST, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use switchboard_websocket::{
    OriginCheck, drafts,
    handshake::{
        accept_key,
        client::{ClientError, Handshake},
        head::{Head, HeadError, HeadLimits, HeaderNames},
        server::{HandshakeError, Upgrade},
    },
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request of RFC 6455 §1.2.
fn request() -> Parts {
    let request = Request::get("/chat")
        .header("Host", "server.example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", KEY)
        .header("Origin", "http://example.com")
        .header("Sec-WebSocket-Protocol", "chat, superchat")
        .header("Sec-WebSocket-Version", "13");
    request.body(()).unwrap().into_parts().0
}

/// The same with one header set, or removed where the value is empty.
fn with(name: &'static str, value: &'static str) -> Parts {
    let mut parts = request();
    parts.headers.remove(name);
    if !value.is_empty() {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    parts
}

fn refusal(parts: &Parts) -> HandshakeError {
    Upgrade::check(parts).expect_err("to be refused")
}

#[test]
fn a_key_is_answered_as_the_standard_does() {
    assert_eq!(accept_key(KEY.as_bytes()), ACCEPT.as_bytes());
}

#[test]
fn a_request_in_order_is_accepted() {
    let table = [
        ("Upgrade", "WebSocket"),
        ("Upgrade", "h2c, websocket"),
        ("Upgrade", "websocket,"),
        ("Connection", "upgrade"),
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", "keep-alive,UPGRADE , other"),
        ("Sec-WebSocket-Protocol", ""),
        ("Origin", ""),
        ("Content-Length", "0"),
    ];
    for (name, value) in table {
        let parts = with(name, value);
        assert!(Upgrade::check(&parts).is_ok(), "{name}: {value}");
    }
    let mut two_lines = request();
    two_lines.headers.insert("connection", HeaderValue::from_static("keep-alive"));
    two_lines.headers.append("connection", HeaderValue::from_static("upgrade"));
    assert!(Upgrade::check(&two_lines).is_ok(), "a list may come in several lines");
}

#[test]
fn a_request_not_in_order_is_refused_with_its_status() {
    use HandshakeError as E;
    let mut post = request();
    post.method = Method::POST;
    let mut old = request();
    old.version = Version::HTTP_10;
    let mut two_keys = request();
    two_keys.headers.append("sec-websocket-key", HeaderValue::from_static(KEY));
    let mut two_hosts = request();
    two_hosts.headers.append("host", HeaderValue::from_static("other.example"));
    let table = [
        (two_hosts, E::Host, 400),
        (post, E::Method { method: Method::POST }, 405),
        (old, E::HttpVersion { version: Version::HTTP_10 }, 400),
        (with("Host", ""), E::Host, 400),
        (with("Content-Length", "3"), E::Body, 400),
        (with("Transfer-Encoding", "chunked"), E::Body, 400),
        (with("Upgrade", ""), E::Upgrade, 400),
        (with("Upgrade", "websockets"), E::Upgrade, 400),
        (with("Upgrade", "web socket"), E::Upgrade, 400),
        (with("Connection", ""), E::Connection, 400),
        (with("Connection", "close"), E::Connection, 400),
        (with("Sec-WebSocket-Version", ""), E::WebSocketVersion { supported: "13" }, 426),
        (with("Sec-WebSocket-Version", "12"), E::WebSocketVersion { supported: "13" }, 426),
        (with("Sec-WebSocket-Version", "130"), E::WebSocketVersion { supported: "13" }, 426),
        (with("Sec-WebSocket-Key", ""), E::Key, 400),
        (with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"), E::Key, 400),
        (with("Sec-WebSocket-Key", "not base64 at all!!!"), E::Key, 400),
        (with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWFhYWFhYWFhYWFhYWFhYWFhYWE="), E::Key, 400),
        (two_keys, E::Key, 400),
        (with("Sec-WebSocket-Protocol", "chat room"), E::Protocol, 400),
    ];
    for (parts, error, status) in table {
        assert_eq!(refusal(&parts), error);
        assert_eq!(error.status(), status, "{error}");
        assert_eq!(error.response().status(), status);
    }
}

/// An extended CONNECT, as in RFC 8441 §5.1.
fn connect() -> Parts {
    let request = Request::connect("https://server.example.com/chat")
        .version(Version::HTTP_2)
        .header("Sec-WebSocket-Protocol", "chat, superchat")
        .header("Sec-WebSocket-Extensions", "permessage-deflate")
        .header("Sec-WebSocket-Version", "13")
        .header("Origin", "http://www.example.com");
    request.body(()).unwrap().into_parts().0
}

#[test]
fn an_extended_connect_is_answered_200_without_a_key() {
    for version in [Version::HTTP_2, Version::HTTP_3] {
        let mut parts = connect();
        parts.version = version;
        let mut upgrade = Upgrade::check_connect(&parts, Some("websocket")).unwrap();
        assert_eq!(upgrade.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        assert_eq!(upgrade.select(&["superchat"]), Some("superchat"));
        assert_eq!(upgrade.check_origin(&OriginCheck::default()), Err(HandshakeError::Origin));
        assert_eq!(upgrade.check_origin(&OriginCheck::list(["http://www.example.com"]).unwrap()), Ok(()));
        let answer = upgrade.response();
        assert_eq!(answer.status(), StatusCode::OK);
        let expected =
            HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("superchat"))]);
        assert_eq!(answer.headers(), &expected, "no accept, no Upgrade, no Connection");
    }
}

#[test]
fn an_extended_connect_not_in_order_is_refused_with_its_status() {
    use HandshakeError as E;
    let with = |name: &'static str, value: &'static str| {
        let mut parts = connect();
        parts.headers.insert(name, HeaderValue::from_static(value));
        parts
    };
    let change = |change: fn(&mut Parts)| {
        let mut parts = connect();
        change(&mut parts);
        parts
    };
    let websocket = Some("websocket");
    let table = [
        (
            change(|parts| parts.version = Version::HTTP_11),
            websocket,
            E::HttpVersion { version: Version::HTTP_11 },
            400,
        ),
        (change(|parts| parts.method = Method::GET), websocket, E::NotConnect { method: Method::GET }, 405),
        (connect(), None, E::ConnectProtocol, 501),
        (connect(), Some("connect-udp"), E::ConnectProtocol, 501),
        (with("Upgrade", "websocket"), websocket, E::ConnectionHeader, 400),
        (with("Connection", "upgrade"), websocket, E::ConnectionHeader, 400),
        (with("Transfer-Encoding", "chunked"), websocket, E::ConnectionHeader, 400),
        (change(|parts| parts.uri = Uri::from_static("/chat")), websocket, E::Host, 400),
        (with("Content-Length", "3"), websocket, E::Body, 400),
        (with("Sec-WebSocket-Version", "8"), websocket, E::WebSocketVersion { supported: "13" }, 426),
        (
            change(|parts| drop(parts.headers.remove("sec-websocket-version"))),
            websocket,
            E::WebSocketVersion { supported: "13" },
            426,
        ),
        (with("Sec-WebSocket-Protocol", "chat room"), websocket, E::Protocol, 400),
    ];
    for (parts, protocol, error, status) in table {
        assert_eq!(Upgrade::check_connect(&parts, protocol).expect_err("to be refused"), error);
        assert_eq!(error.response().status(), status, "{error}");
    }
    assert_eq!(E::NotConnect { method: Method::GET }.response().headers()["allow"], "CONNECT");
    let upgrade = Upgrade::check(&connect()).expect_err("to be refused");
    assert_eq!(upgrade, E::Method { method: Method::CONNECT }, "the check for HTTP/1.1 takes no CONNECT");
}

#[test]
fn a_subprotocol_that_is_not_ascii_is_refused() {
    let mut parts = request();
    parts.headers.insert("sec-websocket-protocol", HeaderValue::from_bytes("채팅".as_bytes()).unwrap());
    assert_eq!(refusal(&parts), HandshakeError::Protocol);
}

#[test]
fn a_refusal_names_the_values_that_are_supported() {
    let method = HandshakeError::Method { method: Method::PUT }.response();
    assert_eq!(method.headers()["allow"], "GET");
    let version = HandshakeError::WebSocketVersion { supported: "13" }.response();
    assert_eq!(version.headers()["sec-websocket-version"], "13");
    let mut bytes = Vec::new();
    HandshakeError::WebSocketVersion { supported: "13" }.write_response(&mut bytes);
    let (parts, len) = Head::new(HeadLimits::default()).response(&bytes).unwrap().unwrap();
    assert_eq!(parts.status, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(parts.headers["sec-websocket-version"], "13");
    assert_eq!(parts.headers["connection"], "close");
    assert_eq!(parts.headers["content-length"], (bytes.len() - len).to_string());
}

#[test]
fn a_page_of_another_host_is_refused_by_default() {
    let parts = request();
    let upgrade = Upgrade::check(&parts).unwrap();
    assert_eq!(upgrade.origin().unwrap(), "http://example.com");
    assert_eq!(upgrade.check_origin(&OriginCheck::any()), Ok(()));
    let refused = upgrade.check_origin(&OriginCheck::default()).unwrap_err();
    assert_eq!((refused.clone(), refused.status()), (HandshakeError::Origin, StatusCode::FORBIDDEN));
    assert!(refused.response().body().contains("option `origin`"), "the answer names the option");
    let own = with("Origin", "https://server.example.com");
    assert_eq!(Upgrade::check(&own).unwrap().check_origin(&OriginCheck::default()), Ok(()));
}

#[test]
fn a_host_that_is_no_host_and_port_is_of_no_page() {
    for host in [
        "[", "]", "[::1", "::1", ":", ":80", "a:", "a:b", "a:65536", "a:-1", "a b", "@", "http://a", "*", "é",
    ] {
        let mut parts = with("Origin", "http://a");
        parts.headers.insert("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
        let upgrade = Upgrade::check(&parts).unwrap();
        assert_eq!(upgrade.check_origin(&OriginCheck::default()), Err(HandshakeError::Origin), "{host}");
        let _ = drafts::hixie::Upgrade::check(&parts);
    }
}

#[test]
fn the_first_of_the_clients_subprotocols_that_is_supported_is_selected() {
    for (supported, selected) in [
        (vec!["superchat", "chat"], Some("chat")),
        (vec!["superchat"], Some("superchat")),
        (vec!["Chat"], None),
        (vec![], None),
    ] {
        let parts = request();
        let mut upgrade = Upgrade::check(&parts).unwrap();
        assert_eq!(upgrade.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        assert_eq!(upgrade.select(&supported), selected);
        let response = upgrade.response();
        assert_eq!(
            response.headers().get("sec-websocket-protocol").map(HeaderValue::as_bytes),
            selected.map(str::as_bytes)
        );
    }
}

#[test]
fn the_answer_is_the_same_in_parts_and_in_bytes() {
    let parts = request();
    let mut upgrade = Upgrade::check(&parts).unwrap();
    upgrade.select(&["chat"]);
    let mut bytes = Vec::new();
    let extra = HeaderMap::from_iter([(http::header::SET_COOKIE, HeaderValue::from_static("a=b"))]);
    upgrade.write_response(&mut bytes, &extra);
    let (mut written, len) = Head::new(HeadLimits::default()).response(&bytes).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    assert_eq!(written.headers.remove("set-cookie").unwrap(), "a=b");
    let response = upgrade.response();
    assert_eq!(response.status(), written.status);
    assert_eq!(response.headers(), &written.headers);
    assert_eq!(response.headers()["sec-websocket-accept"], ACCEPT);
}

fn head_of(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Parts, usize)>, HeadError> {
    Head::new(limits).request(bytes)
}

#[test]
fn a_head_may_come_in_any_pieces_and_the_bytes_behind_it_are_left() {
    let bytes =
        b"GET /chat?x=1 HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n\x81\x80";
    let end = bytes.len() - 2;
    for step in 1..bytes.len() {
        let mut head = Head::new(HeadLimits::default());
        let mut found = None;
        let mut come = 0;
        while found.is_none() {
            assert!(come < end, "found at its end");
            come = (come + step).min(bytes.len());
            found = head.request(&bytes[..come]).unwrap();
        }
        let (parts, len) = found.unwrap();
        assert_eq!(len, end);
        assert_eq!(parts.uri, Uri::from_static("/chat?x=1"));
        assert_eq!(parts.headers["x-empty"], "");
        assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=b", "c=d"]);
    }
}

#[test]
fn of_a_head_only_the_headers_that_are_asked_for_are_kept() {
    let bytes = b"GET /a HTTP/1.1\r\nHOST: a\r\nX-Own: 1\r\ncookie: a=b\r\nHose: c\r\nCookie: c=d\r\n\r\n";
    let names = HeaderNames::from_iter([HOST, COOKIE]);
    let mut target = None;
    let asked = Head::new(HeadLimits::default()).request_with(bytes, |uri| {
        target = Some(uri.clone());
        Some(|line: &str| names.get(line).cloned())
    });
    let (parts, len) = asked.unwrap().unwrap();
    assert_eq!((target, len), (Some(parts.uri), bytes.len()));
    let kept: Vec<_> = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(kept, [("host", b"a".as_slice()), ("cookie", b"a=b"), ("cookie", b"c=d")]);
    let all = Head::new(HeadLimits::default()).request_with(bytes, |_| None::<fn(&str) -> _>);
    assert_eq!(all.unwrap().unwrap().0.headers.len(), 5);
}

#[test]
fn a_head_over_a_limit_is_refused_before_its_end() {
    let limits = HeadLimits::default().max_bytes(100).max_headers(3);
    let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 82]].concat();
    assert!(head_of(&long[..100], limits).unwrap().is_none(), "not over it yet");
    assert_eq!(head_of(&long, limits).unwrap_err(), HeadError::TooLarge { limit: 100 });
    let many = b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n";
    let error = head_of(many, limits).unwrap_err();
    assert_eq!(error, HeadError::TooManyHeaders { limit: 3 });
    assert_eq!(HandshakeError::from(error).status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let behind = [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0; 200]].concat();
    assert!(head_of(&behind, limits).unwrap().is_some(), "the bytes behind a head do not belong to it");
}

#[test]
fn bytes_that_are_no_head_are_refused() {
    for bytes in [
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".as_slice(),
        b"GET / HTTP/1.1\nHost: a\n\nGET /admin HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"G\xc3T / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ] {
        let error = head_of(bytes, HeadLimits::default()).unwrap_err();
        assert!(matches!(error, HeadError::Malformed { .. }), "{error}");
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }
}

#[test]
fn a_server_accepts_the_request_of_a_client() {
    let handshake = Handshake::new(&["chat", "superchat"]).unwrap();
    let mut bytes = Vec::new();
    let extra = HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static("http://a"))]);
    let uri = Uri::from_static("ws://user:secret@example.com:8080/chat?room=1");
    handshake.write_request(&mut bytes, &uri, &extra).unwrap();
    let (parts, len) = head_of(&bytes, HeadLimits::default()).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    assert_eq!(parts.uri, "/chat?room=1");
    assert_eq!(parts.headers["host"], "example.com:8080");
    assert_eq!(parts.headers["origin"], "http://a");
    let mut upgrade = Upgrade::check(&parts).unwrap();
    upgrade.select(&["superchat"]);
    let (answer, ()) = upgrade.response().into_parts();
    assert_eq!(handshake.check(&answer), Ok(Some("superchat")));
}

#[test]
fn every_handshake_has_a_key_of_its_own() {
    let request = || {
        let mut bytes = Vec::new();
        let handshake = Handshake::new(&[] as &[&str]).unwrap();
        handshake.write_request(&mut bytes, &Uri::from_static("ws://a/"), &HeaderMap::new()).unwrap();
        bytes
    };
    assert_ne!(request(), request());
}

#[test]
fn an_answer_not_in_order_is_refused() {
    use ClientError as E;
    let handshake = Handshake::with_nonce(*b"the sample nonce", &["chat"]).unwrap();
    let answer = |name: &'static str, value: &'static str| {
        let mut parts = Response::builder()
            .status(101)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Accept", ACCEPT)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        parts.headers.remove(name);
        if !value.is_empty() {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
        parts
    };
    assert_eq!(handshake.check(&answer("X", "y")), Ok(None));
    assert_eq!(handshake.check(&answer("Sec-WebSocket-Protocol", "chat")), Ok(Some("chat")));
    let mut found = answer("X", "y");
    found.status = StatusCode::OK;
    let table = [
        (found, E::Status { status: StatusCode::OK }),
        (answer("Upgrade", ""), E::Upgrade),
        (answer("Upgrade", "h2c"), E::Upgrade),
        (answer("Connection", "close"), E::Connection),
        (answer("Sec-WebSocket-Accept", ""), E::Accept),
        (answer("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOA="), E::Accept),
        (answer("Sec-WebSocket-Protocol", "superchat"), E::Protocol),
        (answer("Sec-WebSocket-Extensions", "permessage-deflate"), E::Extension),
    ];
    for (parts, error) in table {
        assert_eq!(handshake.check(&parts), Err(error));
    }
}

#[test]
fn a_subprotocol_to_offer_is_a_token() {
    let error = Handshake::new(&["chat\r\nX-Injected: yes"]).unwrap_err();
    assert!(matches!(error, ClientError::ProtocolName { .. }), "{error}");
}
