//! Clients of Socket.IO 1 and 2 (Engine.IO protocol 3), by hand: what they are sent, what is read of them, and the
//! same bounds as for others. Polling by scripts.

use std::time::Duration;

use switchboard::{
    Args, Auth, Binary, Builder, DisconnectReason, Error, Origins, Socket, Switchboard, Value,
};
use switchboard_websocket::{Config, OwnedMessage, WebSocketStream, client::ClientIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, log, request, soon};

const POLL: &str = "/socket.io/?EIO=3&transport=polling";

fn builder() -> Builder {
    Switchboard::builder().workers(1).old_clients(true)
}

/// A server that sends back what it is sent.
async fn echo(builder: Builder) -> Server {
    Server::start(builder, |io| {
        for namespace in [io.root(), io.of("/chat")] {
            namespace.on_connect(|socket: Socket, Auth(auth): Auth<Value>| socket.emit("auth", auth));
            namespace.on("echo", |socket: Socket, args: Args| socket.emit("echo", args));
            namespace.on("ack", |args: Args| args);
        }
    })
    .await
}

/// A request with a body of any bytes; returns the status, the head and the body of the answer.
async fn ask(
    server: &Server,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("the connection lives");
    let mut answer = Vec::new();
    soon("an answer", stream.read_to_end(&mut answer)).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

/// Packets as the body of a request or an answer has them. A length counts UTF-16 units.
fn payload(packets: &[&str]) -> String {
    let packets = packets.iter().map(|packet| format!("{}:{packet}", packet.encode_utf16().count()));
    packets.collect::<Vec<_>>().concat()
}

/// A session on polling. Its requests have `query` behind the transport's.
struct Polling<'a> {
    server: &'a Server,
    target: String,
    /// The first answer.
    opened: String,
}

impl<'a> Polling<'a> {
    async fn open(server: &'a Server, query: &str) -> Self {
        let target = format!("{POLL}{query}");
        let (status, _, opened) = ask(server, "GET", &target, "", b"").await;
        assert_eq!(status, 200, "{opened}");
        let sid =
            opened.split("sid").nth(1).and_then(|rest| rest.split(['"', '\\']).find(|part| part.len() == 20));
        let target = format!("{target}&sid={}", sid.expect("a session id"));
        Self { server, target, opened }
    }

    fn sid(&self) -> &str {
        self.target.rsplit('=').next().expect("it is the query's end")
    }

    async fn get(&self) -> String {
        let (status, _, body) = ask(self.server, "GET", &self.target, "", b"").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn post(&self, headers: &str, body: &[u8]) -> (u16, String) {
        let (status, _, body) = ask(self.server, "POST", &self.target, headers, body).await;
        (status, body)
    }

    /// Sends packets, each with its length.
    async fn send(&self, packets: &[&str]) {
        let body = payload(packets);
        assert_eq!(self.post("", body.as_bytes()).await, (200, "ok".to_owned()), "{body}");
    }

    /// Expects the answer to a poll to be these packets.
    async fn expect(&self, packets: &[&str]) {
        assert_eq!(self.get().await, payload(packets));
    }
}

/// A session over WebSocket, or a probe.
struct Peer(WebSocketStream<ClientIo>);

impl Peer {
    async fn open(server: &Server, query: &str) -> Self {
        let url = format!("ws://{}/socket.io/?EIO=3&transport=websocket{query}", server.address);
        Self(
            soon("a connection", WebSocketStream::connect(&url, &Config::default()))
                .await
                .expect("a handshake"),
        )
    }

    /// The next message; bytes as `<bytes>`.
    async fn next(&mut self) -> String {
        match soon("a message", self.0.recv()).await {
            Ok(Some(OwnedMessage::Text(text))) => text,
            Ok(Some(OwnedMessage::Binary(bytes))) => format!("<{bytes:?}>"),
            other => format!("{other:?}"),
        }
    }

    async fn send(&mut self, text: &str) {
        soon("sending", self.0.send(text)).await.expect("the connection lives");
    }

    async fn send_binary(&mut self, bytes: &[u8]) {
        soon("sending", self.0.send(bytes)).await.expect("the connection lives");
    }
}

#[tokio::test]
async fn such_a_client_is_refused_unless_the_option_is_on() {
    let server = Server::workers(1, |_| {}).await;
    for eio in ["EIO=3", "EIO=2", "EIO=5", "x=1"] {
        let target = format!("/socket.io/?{eio}&transport=polling");
        let (head, body) = request(server.address, "GET", &target, "", "").await;
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        assert_eq!(body, r#"{"code":5,"message":"Unsupported protocol version"}"#);
    }
}

#[tokio::test]
async fn a_client_is_in_the_root_namespace_without_asking() {
    let server = echo(builder()).await;
    for eio in ["3", "2"] {
        let (_, _, body) =
            ask(&server, "GET", &format!("/socket.io/?EIO={eio}&transport=polling"), "", b"").await;
        let (length, rest) = body.split_once(':').expect("a length");
        let (open, rest) = rest.split_at(length.parse().expect("a number"));
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
        assert!(
            open.contains(r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000"#),
            "{open}"
        );
        assert_eq!(rest, r#"2:4013:42["auth",{}]"#);
    }
    let mut peer = Peer::open(&server, "").await;
    assert!(peer.next().await.starts_with(r#"0{"sid":"#));
    assert_eq!(peer.next().await, "40");
    assert_eq!(peer.next().await, r#"42["auth",{}]"#);
}

#[tokio::test]
async fn a_namespace_is_asked_for_with_a_query_that_becomes_auth() {
    let server = echo(builder()).await;
    let client = Polling::open(&server, "").await;
    // As 1.x and 2.x write it.
    client.send(&["40/chat"]).await;
    client.expect(&["40/chat,", r#"42/chat,["auth",{}]"#]).await;
    let client = Polling::open(&server, "").await;
    client.send(&["40/chat?token=a%20b&n=1,"]).await;
    client.expect(&["40/chat,", r#"42/chat,["auth",{"n":"1","token":"a b"}]"#]).await;
    client.send(&[r#"42/chat,["echo",1]"#]).await;
    client.expect(&[r#"42/chat,["echo",1]"#]).await;
    // One that is not there.
    client.send(&["40/nowhere"]).await;
    client.expect(&[r#"44/nowhere,"Invalid namespace""#]).await;
}

#[tokio::test]
async fn a_refusal_is_the_data_of_its_error_or_else_its_message() {
    let server = Server::start(builder(), |io| {
        io.of("/words").middleware(|| Err::<(), _>(Error::new("not you")));
        io.of("/data")
            .middleware(|| Err::<(), _>(Error::new("not you").with_data(serde_json::json!({"why": "é"}))));
        io.of("/secret").middleware(|| Err::<(), _>(std::io::Error::other("the database is down")));
    })
    .await;
    let client = Polling::open(&server, "").await;
    for (ask, told) in [
        ("40/words", r#"44/words,"not you""#),
        ("40/data", r#"44/data,{"why":"\u00e9"}"#),
        ("40/secret", r#"44/secret,"internal error""#),
    ] {
        client.send(&[ask]).await;
        client.expect(&[told]).await;
    }
}

#[tokio::test]
async fn json_goes_out_in_ascii_and_lengths_count_utf_16_units() {
    let server = echo(builder()).await;
    let client = Polling::open(&server, "").await;
    // Fifteen characters, sixteen units, nineteen bytes.
    assert_eq!(client.post("", r#"16:42["echo","é😀"]"#.as_bytes()).await.0, 200);
    client.expect(&[r#"42["echo","\u00e9\ud83d\ude00"]"#]).await;
    client.send(&[r#"420["ack","😀"]"#]).await;
    client.expect(&[r#"430["\ud83d\ude00"]"#]).await;
    // Half of an emoji.
    client.send(&[r#"42["echo","\ud83d"]"#]).await;
    client.expect(&[r#"42["echo","\ufffd"]"#]).await;
    let mut peer = Peer::open(&server, "").await;
    for _ in 0..3 {
        peer.next().await;
    }
    peer.send(r#"42["echo","é😀"]"#).await;
    assert_eq!(peer.next().await, r#"42["echo","\u00e9\ud83d\ude00"]"#);
}

#[tokio::test]
async fn texts_that_were_encoded_twice_are_read_on_either_transport() {
    let server = echo(builder()).await;
    let twice = |text: &str| text.bytes().map(char::from).collect::<String>();
    let client = Polling::open(&server, "").await;
    client.send(&[&twice(r#"42["echo","é😀"]"#)]).await;
    client.expect(&[r#"42["echo","\u00e9\ud83d\ude00"]"#]).await;
    // After the upgrade a client of 1.1 to 1.3 encodes once.
    let mut probe = Peer::open(&server, &format!("&sid={}", client.sid())).await;
    probe.send("2probe").await;
    assert_eq!(probe.next().await, "3probe");
    probe.send("5").await;
    probe.send(r#"42["echo","é"]"#).await;
    assert_eq!(probe.next().await, r#"42["echo","\u00e9"]"#);
    let mut peer = Peer::open(&server, "").await;
    for _ in 0..3 {
        peer.next().await;
    }
    peer.send(&twice(r#"42["echo","é"]"#)).await;
    assert_eq!(peer.next().await, r#"42["echo","\u00e9"]"#);
}

#[tokio::test]
async fn binary_comes_in_each_form_and_goes_out_as_base64_or_with_its_type() {
    let server = echo(builder()).await;
    let client = Polling::open(&server, "").await;
    let head = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    // As base64, which begins with the digit of the type here.
    client.send(&[head, "b44AAA"]).await;
    client.expect(&[head, "b44AAA"]).await;
    // A payload in the binary form.
    let digits: Vec<_> = head.len().to_string().bytes().map(|digit| digit - b'0').collect();
    let body = [&[0], &*digits, &[0xff], head.as_bytes(), b"\x01\x03\xff\x04\xe0\x00"].concat();
    let octets = "content-type: application/octet-stream\r\n";
    assert_eq!(client.post(octets, &body).await, (200, "ok".to_owned()));
    client.expect(&[head, "b44AA="]).await;
    let mut peer = Peer::open(&server, "").await;
    for _ in 0..3 {
        peer.next().await;
    }
    peer.send(head).await;
    peer.send_binary(b"\x04\xe0\x00").await;
    assert_eq!([peer.next().await, peer.next().await], [head, "<[4, 224, 0]>"]);
    // As base64 on WebSocket, and a binary packet without attachments, as 2.x writes it on demand.
    peer.send(head).await;
    peer.send("b4AQ==").await;
    assert_eq!([peer.next().await, peer.next().await], [head, "<[4, 1]>"]);
    peer.send(r#"450-["echo",1]"#).await;
    assert_eq!(peer.next().await, r#"42["echo",1]"#);
}

#[tokio::test]
async fn an_early_client_with_binary_support_gets_payloads_in_the_binary_form() {
    let server = echo(builder()).await;
    let target = format!("{POLL}&t=1400000000000-0");
    let (_, head, opened) = ask(&server, "GET", &target, "", b"").await;
    assert!(head.contains("application/octet-stream"), "{head}");
    // The byte `FF` is shown as U+FFFD here.
    assert!(opened.starts_with('\0') && opened.contains("\u{fffd}0{\"sid\":\""), "{opened:?}");
    let (connect, auth) = ("\0\x02\u{fffd}40", "\0\x01\x03\u{fffd}42[\"auth\",{}]");
    assert!(opened.ends_with(&format!("{connect}{auth}")), "{opened:?}");
    let (status, head, _) = ask(&server, "GET", &format!("{target}&sid=x"), "", b"").await;
    assert!(status == 400 && head.contains("application/json"), "{head}");
}

#[tokio::test]
async fn what_waits_for_a_poll_goes_on_as_frames_after_an_upgrade() {
    let server = Server::start(builder(), |io| {
        io.root().on_connect(|socket: Socket| {
            socket.emit("first", "é")?;
            socket.emit("second", Binary::from(b"\x00\x01"))
        });
    })
    .await;
    let client = Polling::open(&server, "").await;
    assert!(client.opened.contains("first"), "{}", client.opened);
    server.io.root().emit("third", Binary::from(b"\x02")).expect("room");
    server.io.root().emit("fourth", "é").expect("room");
    let mut probe = Peer::open(&server, &format!("&sid={}", client.sid())).await;
    probe.send("2probe").await;
    assert_eq!(probe.next().await, "3probe");
    probe.send("5").await;
    assert_eq!(probe.next().await, r#"451-["third",{"_placeholder":true,"num":0}]"#);
    assert_eq!(probe.next().await, "<[4, 2]>");
    assert_eq!(probe.next().await, r#"42["fourth","\u00e9"]"#);
}

#[tokio::test]
async fn the_client_pings_and_the_server_does_not() {
    let (said, mut told) = log();
    let brisk = builder().ping_interval(Duration::from_millis(40)).ping_timeout(Duration::from_millis(40));
    let server = Server::start(brisk, move |io| {
        io.root().on_disconnect(move |reason: DisconnectReason| said.say(reason.as_str()));
    })
    .await;
    let mut peer = Peer::open(&server, "").await;
    assert!(peer.next().await.starts_with('0'));
    assert_eq!(peer.next().await, "40");
    peer.send("2abc").await;
    assert_eq!(peer.next().await, "3abc");
    // Silence ends it, and nothing was sent meanwhile.
    assert_eq!(told.next().await, "ping timeout");
    assert!(!peer.next().await.starts_with('2'));
    // A pong is out of place.
    let mut peer = Peer::open(&server, "").await;
    peer.send("3").await;
    assert_eq!(told.next().await, "transport error");
}

#[tokio::test]
async fn the_id_that_a_client_knows_of_itself_is_a_room_of_it() {
    let server = echo(builder()).await;
    let client = Polling::open(&server, "").await;
    client.send(&["40/chat"]).await;
    client.get().await;
    let sid = client.sid();
    server.io.root().to(sid).emit("you", 1).expect("room");
    client.expect(&[r#"42["you",1]"#]).await;
    let chat = server.io.of("/chat");
    for room in [sid.to_owned(), format!("/chat#{sid}")] {
        chat.to(room).emit("you", 2).expect("room");
        client.expect(&[r#"42/chat,["you",2]"#]).await;
    }
}

#[tokio::test]
async fn an_acknowledgement_has_the_form_that_its_client_reads() {
    let server = Server::start(builder(), |io| {
        io.root().on("ack", |args: Args| args);
        io.root().on("ask", async |socket: Socket| {
            let answer: Value = socket.emit_with_ack("ask", ()).await?;
            Ok::<_, Error>(socket.emit("asked", answer)?)
        });
    })
    .await;
    // 1.0.0 to 1.0.2 and 1.0.3 to 1.3 look alike: each reads one of two forms, and ignores the other.
    let client = Polling::open(&server, "&b64=1&t=1400000000000-0").await;
    let blob = r#"451-7["ack",{"_placeholder":true,"num":0}]"#;
    client.send(&[r#"427["ack",1]"#]).await;
    client.expect(&["460-7[1]", "430-7[1]"]).await;
    client.send(&[blob, "b4AQ=="]).await;
    let json = r#"[{"_placeholder":true,"num":0}]"#;
    client.expect(&[&format!("461-7{json}"), &format!("431-7{json}"), "b4AQ=="]).await;
    // An acknowledgement of its own tells.
    client.send(&[r#"42["ask"]"#]).await;
    client.expect(&[r#"420["ask"]"#]).await;
    client.send(&[r#"430-0["x"]"#]).await;
    client.expect(&[r#"42["asked","x"]"#]).await;
    client.send(&[r#"427["ack",1]"#]).await;
    client.expect(&["430-7[1]"]).await;
    // Others get the common form.
    let client = Polling::open(&server, "&t=Nxyz-0").await;
    client.send(&[r#"427["ack",1]"#]).await;
    client.expect(&["437[1]"]).await;
}

#[tokio::test]
async fn a_packet_for_a_namespace_that_is_not_joined_is_dropped_and_the_session_goes_on() {
    let server = echo(builder()).await;
    let client = Polling::open(&server, "").await;
    client.send(&[r#"42/chat,["echo",1]"#, "43/chat,0", "41/chat,", r#"42["echo",2]"#]).await;
    client.expect(&[r#"42["echo",2]"#]).await;
}

#[tokio::test]
async fn a_body_that_is_no_payload_ends_the_session_with_a_400() {
    let server = echo(builder().max_payload(1000)).await;
    let octets = "content-type: application/octet-stream\r\n";
    for (headers, body) in [
        ("", &b""[..]),
        ("", b"4:6"),
        ("", b"99999999999999999999999:4"),
        ("", b"2:4\xff"),
        ("", b"5:bAQ=="),
        (octets, b"1:6"),
        (octets, b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4"),
        (octets, b"\x01\x01\xff4"),
    ] {
        let client = Polling::open(&server, "").await;
        assert_eq!(client.post(headers, body).await.0, 400, "{body:?}");
        let (status, unknown) = client.post("", b"1:6").await;
        assert_eq!((status, unknown.as_str()), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    }
    let client = Polling::open(&server, "").await;
    assert_eq!(client.post("", "1001:".repeat(201).as_bytes()).await.0, 413);
    // Of no packets.
    let client = Polling::open(&server, "").await;
    assert_eq!(client.post("", b"0:").await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn a_request_of_another_version_is_refused_and_the_session_goes_on() {
    let server = echo(builder()).await;
    let client = Polling::open(&server, "").await;
    let other = client.target.replace("EIO=3", "EIO=4");
    let (status, _, body) = ask(&server, "GET", &other, "", b"").await;
    assert_eq!((status, body.as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
    client.send(&[r#"42["echo",2]"#]).await;
    client.expect(&[r#"42["echo",2]"#]).await;
}

#[tokio::test]
async fn a_broadcast_reaches_each_version_in_its_own_form() {
    let server = Server::start(builder(), |_| {}).await;
    let mut new = server.client().await;
    let old = Polling::open(&server, "").await;
    let mut socket = Peer::open(&server, "").await;
    for _ in 0..2 {
        socket.next().await;
    }
    server.io.root().emit("news", ("é", Binary::from(b"\x00"))).expect("room");
    let json = |text: &str| format!(r#"451-["news","{text}",{{"_placeholder":true,"num":0}}]"#);
    new.expect(&json("é")).await;
    new.expect("<\0>").await;
    assert_eq!(socket.next().await, json(r"\u00e9"));
    assert_eq!(socket.next().await, "<[4, 0]>");
    let head = json(r"\u00e9");
    old.expect(&[&head, "b4AA=="]).await;
}

#[tokio::test]
async fn a_script_gets_its_packets_in_a_call_and_a_form_brings_them() {
    let server = echo(builder().jsonp(true).origins(Origins::any())).await;
    let client = Polling::open(&server, "&j=3").await;
    let (start, end) = (r#"___eio[3]("118:0{\"sid\":\""#, r#"]");"#);
    assert!(client.opened.starts_with(start) && client.opened.ends_with(end), "{}", client.opened);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let body = r"d=19%3A42%5B%22echo%22%2C%22a\\nb+%E2%82%AC%22%5D";
    assert_eq!(client.post(form, body.as_bytes()).await, (200, "ok".to_owned()));
    let (status, head, body) = ask(&server, "GET", &client.target, "", b"").await;
    assert_eq!(status, 200);
    assert_eq!(body, r#"___eio[3]("24:42[\"echo\",\"a\\nb \\u20ac\"]");"#);
    assert!(head.contains("text/javascript; charset=UTF-8") && head.contains("nosniff"), "{head}");
    // What is called is never what a request says.
    let target = "/socket.io/?EIO=4&transport=polling&j=1](alert)(%3Cscript%3E";
    let (_, _, body) = ask(&server, "GET", target, "", b"").await;
    assert!(body.starts_with(r#"___eio[1]("0{"#), "{body}");
    // A form without a payload is none.
    assert_eq!(client.post(form, b"x=1").await.0, 400);
}

#[tokio::test]
async fn a_script_of_another_page_is_refused_and_so_is_one_whose_page_is_hidden() {
    let server = echo(builder().jsonp(true)).await;
    let target = format!("{POLL}&j=0");
    for (headers, status) in [
        ("", 403),
        ("referer: http://evil.example/\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("sec-fetch-site: cross-site\r\nreferer: http://evil.example/test\r\n", 403),
        ("sec-fetch-site: same-origin\r\n", 200),
        ("referer: http://test/page\r\n", 200),
    ] {
        assert_eq!(ask(&server, "GET", &target, headers, b"").await.0, status, "{headers}");
    }
    // The further requests of a session are of a page too.
    let page = "referer: http://test/page\r\n";
    let (_, _, opened) = ask(&server, "GET", &target, page, b"").await;
    let sid = opened.split(['"', '\\']).find(|part| part.len() == 20).expect("a session id");
    let target = format!("{target}&sid={sid}");
    let form = format!("{page}content-type: application/x-www-form-urlencoded\r\n");
    assert_eq!(ask(&server, "POST", &target, &form, b"d=14%3A420%5B%22ack%22%2C%22x%22%5D").await.0, 200);
    assert_eq!(ask(&server, "GET", &target, "", b"").await.0, 403);
    assert_eq!(ask(&server, "GET", &target, page, b"").await.0, 200);
    // Off by default.
    let server = echo(builder().origins(Origins::any())).await;
    assert_eq!(ask(&server, "GET", &target, "", b"").await.0, 400);
}
