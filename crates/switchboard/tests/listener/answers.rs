//! Responses to unusual requests: paths, queries, files, subprotocols, slow bodies, and checks that panic.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use switchboard::{Builder, ClientFile, ClientFiles, Message, Origins, Switchboard, WebSocketOptions};

use crate::harness::{SHORT, Server, eventually, get, metric, post, session_id, upgrade};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn builder() -> Builder {
    Switchboard::builder().workers(1)
}

fn file() -> ClientFile {
    let mut file = ClientFile::new("socket.io.esm.min.js", "export {}");
    file.etag = HeaderValue::from_static("\"tag\"");
    file
}

async fn answer(server: &Server, request: &str, headers: &str) -> String {
    let end = if headers.is_empty() { "connection: close\r\n\r\n" } else { "\r\nconnection: close\r\n\r\n" };
    let request = request.replacen("\r\n\r\n", &format!("\r\n{headers}{end}"), 1);
    server.send(request).await.rest().await
}

#[tokio::test]
async fn an_endpoint_is_found_by_its_path_with_any_slashes() {
    let server = Server::start(builder().client_files([file()])).await;
    for path in ["/socket.io", "/socket.io/", "/socket.io//", "//socket.io/", "/socket.io/any/thing"] {
        let request = get(&format!("{path}?EIO=4&transport=polling"), "");
        assert!(answer(&server, &request, "").await.starts_with("HTTP/1.1 200 "), "{path}");
        let mut client = server.send(upgrade(&format!("{path}?EIO=4&transport=websocket"))).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "), "{path}");
    }
    // A path below the endpoint that is not a request of Engine.IO belongs to the application.
    for path in ["/socket.io2/", "/", "/nothing", "/socket.io/nothing.js"] {
        assert!(answer(&server, &get(path, ""), "").await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let bundle = answer(&server, &get("/socket.io//socket.io.esm.min.js", ""), "").await;
    assert!(bundle.ends_with("export {}"), "{bundle}");
}

#[tokio::test]
async fn the_later_of_two_services_at_one_path_is_there_with_any_slashes() {
    let server = Server::start(builder()).await;
    for (path, name) in [("/a", "first"), ("/a/", "second"), ("/a/below", "third")] {
        server.io.engine(path).on_connect(move |socket| socket.send(name));
    }
    for (path, name) in [("/a", "second"), ("/a/", "second"), ("/a/below/", "third"), ("/a/other", "second")]
    {
        let request = upgrade(&format!("{path}?EIO=4&transport=websocket"));
        server.send(request).await.until(name).await;
    }
}

#[tokio::test]
async fn a_query_that_its_client_did_not_encode_is_served() {
    let server = Server::start(builder()).await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    server.io.engine("/e").on_connect({
        let seen = Arc::clone(&seen);
        move |socket| seen.lock().unwrap().push(socket.handshake().query("name").unwrap_or_default())
    });
    for (query, name) in [("\"J\"", "\"J\""), ("<b>", "<b>"), ("J\u{fc}", "J\u{fc}")] {
        let websocket = upgrade(&format!("/e?EIO=4&transport=websocket&name={query}"));
        let polling = get(&format!("/e?EIO=4&transport=polling&name={query}"), "connection: close");
        let old = polling.replace("HTTP/1.1", "HTTP/1.0");
        let (half, rest) = websocket.split_at(websocket.len() / 2);
        assert!(server.send(&websocket).await.head().await.starts_with("HTTP/1.1 101 "), "{query}");
        let mut in_pieces = server.send(half).await;
        in_pieces.send(rest).await;
        assert!(in_pieces.head().await.starts_with("HTTP/1.1 101 "), "{query}");
        for request in [polling, old] {
            assert!(server.send(&request).await.head().await.contains(" 200 OK"), "{request}");
        }
        eventually("it is shown", async || *seen.lock().unwrap() == [name; 4]).await;
        seen.lock().unwrap().clear();
    }
    // A byte in a query that is not UTF-8 is shown as the replacement character.
    let latin = upgrade("/e?EIO=4&transport=websocket&name=J~").replace('~', "\u{1}").into_bytes();
    let latin: Vec<_> = latin.into_iter().map(|byte| if byte == 1 { 0xFC } else { byte }).collect();
    assert!(server.send(latin).await.head().await.starts_with("HTTP/1.1 101 "));
    eventually("it is shown", async || *seen.lock().unwrap() == ["J\u{fffd}"]).await;
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_import_the_clients_bundle() {
    let origins = Origins::list(["https://app.example"]).unwrap().credentials(true);
    let server = Server::start(builder().origins(origins).client_files([file()])).await;
    let request = get("/socket.io/socket.io.esm.min.js", "");
    let listed = answer(&server, &request, "origin: https://app.example").await;
    assert!(listed.contains("\r\naccess-control-allow-origin: https://app.example\r\n"), "{listed}");
    assert!(listed.contains("\r\naccess-control-allow-credentials: true\r\n"), "{listed}");
    let other = answer(&server, &request, "origin: https://other.example").await;
    assert!(other.starts_with("HTTP/1.1 200 ") && !other.contains("access-control"), "{other}");
}

#[tokio::test]
async fn a_bundle_that_a_cache_has_is_not_sent_again() {
    let server = Server::start(builder().client_files([file()])).await;
    let request = get("/socket.io/socket.io.esm.min.js", "");
    for (tag, status) in
        [("\"tag\"", 304), ("W/\"tag\"", 304), ("\"a\", W/\"tag\"", 304), ("*", 304), ("tag", 200)]
    {
        let answer = answer(&server, &request, &format!("if-none-match: {tag}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{tag}: {answer}");
        assert!(answer.contains("\r\netag: \"tag\"\r\n"), "{tag}: {answer}");
    }
}

#[tokio::test]
async fn a_websocket_of_engine_io_has_the_subprotocol_that_its_client_offered_first() {
    let server = Server::start(builder()).await;
    let mut options = server.io.engine_options();
    (options.path, options.subprotocols) = ("/chosen".to_owned(), vec!["b".to_owned()]);
    let services =
        [server.io.engine("/first"), server.io.engine_with(options).expect("the options are good")];
    for service in &services {
        service.on_connect(|socket| socket.send(format!("has {:?}", socket.handshake().protocol())));
    }
    for (path, offered, selected) in [
        ("/first", "a, b", Some("a")),
        ("/first", "", None),
        ("/chosen", "a, b", Some("b")),
        ("/chosen", "a", None),
    ] {
        let request = upgrade(&format!("{path}?EIO=4&transport=websocket"));
        let header = format!("\r\nsec-websocket-protocol: {offered}\r\n\r\n");
        let request = if offered.is_empty() { request } else { request.replacen("\r\n\r\n", &header, 1) };
        let mut client = server.send(request).await;
        let head = client.head().await;
        let named = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(named, selected, "{head}");
        client.until(format!("has {selected:?}")).await;
    }
}

#[tokio::test]
async fn a_check_that_panics_is_a_500_for_its_request_only() {
    let allow = |_: &http::request::Parts, _| -> Result<(), String> { panic!("a user's mistake") };
    let server = Server::start(builder().allow_request(allow)).await;
    let mut options = WebSocketOptions::default();
    options.origins = Origins::check(|_| panic!("a user's mistake"));
    server
        .io
        .websocket_with("/checked", options)
        .expect("the options are good")
        .on_message(|socket, message: Message<'_>| socket.send(message));
    let before = metric("switchboard_handler_panics_total", "");
    for (request, headers) in
        [(get(POLLING, ""), ""), (upgrade(WEBSOCKET), ""), (upgrade("/checked"), "origin: https://a.example")]
    {
        let answer = answer(&server, &request, headers).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
    assert!(metric("switchboard_handler_panics_total", "") >= before + 3.0);
    assert!(server.send(upgrade("/ws")).await.head().await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_a_408_and_ends_its_session() {
    let server = Server::start(builder()).await;
    let mut options = server.io.engine_options();
    (options.path, options.body_timeout) = ("/e".to_owned(), SHORT);
    server.io.engine_with(options).expect("the options are good");
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let open = answer(&server, &get("/e?EIO=4&transport=polling", ""), "").await;
        let path = format!("/e?EIO=4&transport=polling&sid={}", session_id(&open));
        let body = if framing.starts_with('c') { "4he" } else { "3\r\n4he\r\n" };
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{body}");
        let late = server.send(request).await.rest().await;
        assert!(late.starts_with("HTTP/1.1 408 ") && late.ends_with("\r\n\r\n"), "{late}");
        let gone = answer(&server, &post(&path, "content-type: text/plain", "3"), "").await;
        assert!(gone.starts_with("HTTP/1.1 400 "), "{gone}");
    }
}

#[tokio::test]
async fn a_body_in_too_many_pieces_is_a_413_and_ends_its_session() {
    let server = Server::start(builder()).await;
    let mut options = server.io.engine_options();
    (options.path, options.max_body_pieces) = ("/e".to_owned(), 20);
    server.io.engine_with(options).expect("the options are good");
    for (pieces, status) in [(20, 200), (21, 413)] {
        let open = answer(&server, &get("/e?EIO=4&transport=polling", ""), "").await;
        let path = format!("/e?EIO=4&transport=polling&sid={}", session_id(&open));
        let body = "1\r\n4\r\n".repeat(pieces);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
        );
        let answered = server.send(request).await.rest().await;
        assert!(answered.starts_with(&format!("HTTP/1.1 {status} ")), "{pieces}: {answered}");
        let still = answer(&server, &post(&path, "content-type: text/plain", "3"), "").await;
        assert_eq!(still.starts_with("HTTP/1.1 200 "), status == 200, "{still}");
    }
}

#[tokio::test]
async fn an_answer_says_for_how_long_its_connection_is_kept_and_so_it_is() {
    let server = Server::with(|options| {
        (options.head_timeout, options.keep_alive_timeout) = (SHORT, Duration::from_secs(65));
    })
    .await;
    for path in [POLLING, "/nothing"] {
        let mut client = server.send(get(path, "")).await;
        let head = client.head().await;
        assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
        assert!(head.contains("\r\nkeep-alive: timeout=65\r\n"), "{head}");
        // Longer than the time limit for a first head.
        tokio::time::sleep(SHORT * 2).await;
        client.send(get("/nothing", "connection: close")).await;
        assert!(client.rest().await.contains("HTTP/1.1 404 "));
    }
    let last = server.send(get("/nothing", "connection: close")).await.rest().await;
    assert!(!last.contains("keep-alive"), "{last}");
}

#[tokio::test]
async fn a_kept_connection_that_is_idle_is_closed_in_time() {
    let server = Server::with(|options| options.keep_alive_timeout = SHORT).await;
    for path in [POLLING, "/nothing"] {
        let answers = server.send(get(path, "")).await.rest().await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    }
}

#[tokio::test]
async fn a_bundle_goes_in_the_form_that_its_client_likes_best_and_each_form_has_its_own_tag() {
    let mut file = file();
    (file.brotli, file.gzip) = (Some("as brotli".into()), Some("as gzip".into()));
    let server = Server::start(builder().client_files([file])).await;
    let request = get("/socket.io/socket.io.esm.min.js", "");
    for (accepted, body, coding, tag) in [
        ("gzip, deflate, br, zstd", "as brotli", Some("br"), "tag-br"),
        ("gzip;q=1.0, br;q=0.9", "as gzip", Some("gzip"), "tag-gzip"),
        ("gzip, br;q=0", "as gzip", Some("gzip"), "tag-gzip"),
        ("*", "as brotli", Some("br"), "tag-br"),
        ("deflate", "export {}", None, "tag"),
        ("identity", "export {}", None, "tag"),
    ] {
        let accepted = format!("accept-encoding: {accepted}");
        let whole = answer(&server, &request, &accepted).await;
        let (head, sent) = whole.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 ") && sent == body, "{accepted}: {whole}");
        let header = coding.map(|coding| format!("\r\ncontent-encoding: {coding}\r\n"));
        assert_eq!(head.contains("\r\ncontent-encoding: "), coding.is_some(), "{accepted}: {whole}");
        assert!(header.is_none_or(|header| head.contains(&header)), "{accepted}: {whole}");
        for (tag, status) in [(tag, 304), ("tag-other", 200)] {
            let headers = format!("{accepted}\r\nif-none-match: \"{tag}\"");
            let again = answer(&server, &request, &headers).await;
            assert!(again.starts_with(&format!("HTTP/1.1 {status} ")), "{accepted}: {again}");
            assert!(again.contains("\r\nvary: accept-encoding\r\n"), "{accepted}: {again}");
        }
        assert!(head.contains(&format!("\r\netag: \"{tag}\"")), "{accepted}: {whole}");
    }
}

#[tokio::test]
async fn the_bundles_of_a_folder_are_served_by_their_names_alone() {
    let folder = std::env::temp_dir().join(format!("switchboard-bundles-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    assert_eq!(ClientFiles::read(&folder).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let long = "the bundle ".repeat(100);
    for (name, content) in [("socket.io.js", &*long), ("socket.io.js.map", "{}"), ("index.js", "no bundle")] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    std::fs::write(folder.join("socket.io.js.br"), "as brotli").unwrap();
    let files = ClientFiles::read(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let server = Server::start(builder().client_files(files)).await;
    for (name, accepted, status, part) in [
        ("socket.io.js", "", 200, &*long),
        ("socket.io.js", "accept-encoding: br", 200, "as brotli"),
        ("socket.io.js", "accept-encoding: gzip", 200, "\r\ncontent-encoding: gzip\r\n"),
        ("socket.io.js.map", "", 200, "\r\ncontent-type: application/json\r\n"),
        ("index.js", "", 404, ""),
        ("socket.io.js.br", "", 404, ""),
        ("socket.io.min.js", "", 404, ""),
    ] {
        let answer = answer(&server, &get(&format!("/socket.io/{name}"), ""), accepted).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part),
            "{name}: {answer}"
        );
    }
}
