//! TLS on our own listener: accepted and refused connections. The choice of certificates is tested in
//! [`certificates`](super::certificates).

use std::time::Duration;

use rustls::HandshakeKind;
use switchboard::{ListenerOptions, Switchboard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, SHORT, Server, eventually, get, metric, session_id, text_frame, upgrade};
use crate::tls_client::{Certificate, TlsClient, Trust};

/// A binary message as clients frame it, masked with zeros.
fn binary_frame(bytes: &[u8]) -> Vec<u8> {
    let length = u64::try_from(bytes.len()).expect("not that long").to_be_bytes();
    let mut frame = vec![0x82];
    match echo_head(bytes.len()) {
        2 => frame.push(0x80 | length[7]),
        4 => frame.extend([&[0xFE], &length[6..]].concat()),
        _ => frame.extend([&[0xFF], &length[..]].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(bytes);
    frame
}

/// The head of an echo with the given number of bytes.
fn echo_head(len: usize) -> usize {
    match len {
        0..126 => 2,
        126..65536 => 4,
        _ => 10,
    }
}

/// Sends messages of many sizes, and compares the echoes.
async fn echo(client: &mut TlsClient) {
    for len in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_536, 300_000, 1 << 20] {
        let message: Vec<_> = (0..len).map(|at| (at % 251) as u8).collect();
        let frame = binary_frame(&message);
        // Both directions at once: the server need not read all before it answers.
        let (mut read, mut write) = tokio::io::split(&mut client.stream);
        let mut answer = vec![0; echo_head(len) + len];
        let (written, answered) = tokio::join!(
            async {
                write.write_all(&frame).await?;
                write.flush().await
            },
            tokio::time::timeout(crate::harness::DEADLINE, read.read_exact(&mut answer))
        );
        written.expect("the server reads");
        answered.expect("in time").expect("the whole echo");
        assert!(answer.ends_with(&message), "an echo of {len} bytes");
    }
}

fn four_workers() -> switchboard::Builder {
    Switchboard::builder().workers(4)
}

#[tokio::test]
async fn messages_of_all_sizes_come_through_in_both_versions_after_an_early_or_late_upgrade() {
    let certificate = Certificate::of("localhost");
    let server = Server::start_tls(four_workers(), certificate.tls()).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let trust = Trust::with_versions([&certificate], &[version]);
        let mut first = trust.connect(server.address).await;
        first.send(upgrade("/ws")).await;
        first.until("\r\n\r\n").await;
        echo(&mut first).await;

        // On the path through hyper, and to whichever worker is next.
        for _ in 0..4 {
            let mut later = trust.connect(server.address).await;
            later.send(get("/nothing", "")).await;
            later.until("not found\n").await;
            later.send([upgrade("/ws").as_bytes(), &text_frame("at once")].concat()).await;
            later.until("at once").await;
            echo(&mut later).await;
        }
    }
}

#[tokio::test]
async fn a_session_goes_from_polling_to_websocket_on_its_own_worker() {
    let certificate = Certificate::of("localhost");
    let server = Server::start_tls(four_workers(), certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    for first in [true, false].repeat(8) {
        let mut poller = trust.connect(server.address).await;
        poller.send(get("/socket.io/?EIO=4&transport=polling", "")).await;
        let sid = session_id(&poller.until("}").await);
        let mut prober = trust.connect(server.address).await;
        if !first {
            prober.send(get("/nothing", "")).await;
            prober.until("not found\n").await;
        }
        let probe = upgrade(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"));
        prober.send([probe.as_bytes(), &text_frame("2probe")].concat()).await;
        prober.until("3probe").await;
    }
}

#[tokio::test]
async fn records_may_come_byte_by_byte_and_many_at_once() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    // A relay between client and server that passes on one byte at a time.
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let through = relay.local_addr().expect("it is bound");
    let server_address = server.address;
    tokio::spawn(async move {
        let (client, _) = relay.accept().await.expect("a client comes");
        let upstream = TcpStream::connect(server_address).await.expect("it listens");
        upstream.set_nodelay(true).expect("it is TCP");
        let (mut client_read, mut client_write) = client.into_split();
        let (mut server_read, mut server_write) = upstream.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut server_read, &mut client_write).await });
        let mut byte = [0];
        while client_read.read_exact(&mut byte).await.is_ok() {
            if server_write.write_all(&byte).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut client = trust.connect(through).await;
    client.send(upgrade("/ws")).await;
    client.until("\r\n\r\n").await;
    let many: Vec<_> = (0..200).flat_map(|number| text_frame(&number.to_string())).collect();
    for frame in many.chunks(7) {
        client.send(frame).await;
    }
    client.until("199").await;
}

#[tokio::test]
async fn both_are_answered_on_one_port_where_that_is_asked_for() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls().plain_too(true)).await;
    let mut plain = server.send(upgrade("/who")).await;
    assert!(plain.until(">").await.ends_with(b"<127.0.0.1 false>"));
    let mut encrypted = Trust::of([&certificate]).connect(server.address).await;
    encrypted.send(upgrade("/who")).await;
    assert!(encrypted.until(">").await.ends_with("<127.0.0.1 true>"));
}

#[tokio::test]
async fn a_request_without_tls_is_told_so_where_there_is_nothing_else() {
    let server = Server::with_tls(Certificate::of("localhost").tls()).await;
    for request in [
        get("/nothing", ""),
        upgrade("/ws"),
        "POST / HTTP/1.1\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "<policy-file-request/>\0".to_owned(),
    ] {
        let answer = server.send(&request).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("TLS only"), "{request:?}: {answer}");
    }
    assert!(metric("switchboard_tls_handshake_errors_total", "not TLS") >= 5.0);
}

#[tokio::test]
async fn a_client_gets_the_protocol_that_both_know() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    for (offered, agreed) in [
        (&[][..], None),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
    ] {
        let client = trust.clone().offering(offered).connect(server.address).await;
        assert_eq!(client.alpn(), agreed.map(str::as_bytes), "{offered:?}");
    }
    // RFC 7301, 3.2: no protocol in common.
    assert!(trust.offering(&["spdy/3"]).try_connect(server.address, "localhost").await.is_err());
    eventually("it is counted", async || {
        metric("switchboard_tls_handshake_errors_total", "\"refused\"") > 0.0
    })
    .await;

    let mut options = ListenerOptions::default();
    options.http2.enabled = false;
    let server =
        Server::start_tls(Switchboard::builder().workers(1).listener(options), certificate.tls()).await;
    let client = Trust::of([&certificate]).offering(&["h2", "http/1.1"]).connect(server.address).await;
    assert_eq!(client.alpn(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_client_that_comes_again_resumes_its_session() {
    let certificate = Certificate::of("localhost");
    let server = Server::start_tls(four_workers(), certificate.tls()).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let trust = Trust::with_versions([&certificate], &[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut client = trust.connect(server.address).await;
            assert_eq!(client.kind(), kind, "{version:?}");
            // The server's tickets come with the response.
            client.send(get("/nothing", "connection: close")).await;
            client.rest().await;
        }
    }
    assert!(metric("switchboard_tls_handshakes_total", "full") >= 2.0);
    assert!(metric("switchboard_tls_handshakes_total", "resumed") >= 4.0);
}

#[tokio::test]
async fn the_end_is_said_in_tls_too() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    let mut http = trust.connect(server.address).await;
    http.send(get("/nothing", "connection: close")).await;
    assert!(http.rest().await.starts_with("HTTP/1.1 404"));
    let mut refused = trust.connect(server.address).await;
    refused.send(get("/ws", "upgrade: websocket")).await;
    assert!(refused.rest().await.starts_with("HTTP/1.1 4"));
    let mut websocket = trust.connect(server.address).await;
    websocket.send(upgrade("/ws")).await;
    websocket.until("\r\n\r\n").await;
    websocket.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await;
    assert_eq!(websocket.rest().await.as_bytes(), "\u{FFFD}\x02\x03\u{FFFD}".as_bytes());
    // A client that closes with close_notify, and one that closes without.
    for in_order in [true, false] {
        let mut gone = trust.connect(server.address).await;
        gone.send(upgrade("/ws")).await;
        gone.until("\r\n\r\n").await;
        if in_order {
            gone.stream.shutdown().await.expect("it is open");
        }
        drop(gone);
    }
    assert!(server.io.shutdown(crate::harness::DEADLINE).await, "all have ended");
}

/// The first bytes of a correct handshake.
async fn hello(trust: &Trust) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (trust, mut bytes) = (trust.clone(), vec![0; 4096]);
    let client = tokio::spawn(async move { trust.try_connect(address, "localhost").await.map(drop) });
    let (mut stream, _) = listener.accept().await.expect("it comes");
    let read = stream.read(&mut bytes).await.expect("it speaks first");
    client.abort();
    bytes.truncate(read);
    bytes
}

#[tokio::test]
async fn a_handshake_that_is_slow_is_cut_and_others_do_not_wait_for_it() {
    let certificate = Certificate::of("localhost");
    let mut options = ListenerOptions::default();
    options.head_timeout = SHORT;
    let server =
        Server::start_tls(Switchboard::builder().workers(1).listener(options), certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    let hello = hello(&trust).await;
    let before = metric("switchboard_head_timeouts_total", "");
    let mut slow = Vec::new();
    for at in [1, 5, 60, hello.len()] {
        slow.push((at, server.send(&hello[..at]).await));
    }
    let mut idle = trust.connect(server.address).await;
    let mut half_head = trust.connect(server.address).await;
    half_head.send("GET /ws HT").await;
    for (at, client) in &mut slow {
        // The whole hello is answered. The connection is closed after that.
        let rest = client.try_rest().await;
        assert!(*at == hello.len() || rest.is_ok_and(|rest| rest.is_empty()), "{at} bytes of the hello");
    }
    for client in [&mut idle, &mut half_head] {
        let mut bytes = Vec::new();
        let end = tokio::time::timeout(crate::harness::DEADLINE, client.stream.read_to_end(&mut bytes)).await;
        assert!(end.is_ok() && bytes.is_empty());
    }
    eventually("they are counted", async || metric("switchboard_head_timeouts_total", "") >= before + 6.0)
        .await;
}

#[tokio::test]
async fn bytes_that_are_no_tls_end_their_connection_and_no_other() {
    let certificate = Certificate::of("localhost");
    let mut options = ListenerOptions::default();
    options.max_connections = 2;
    let server =
        Server::start_tls(Switchboard::builder().workers(1).listener(options), certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    let mut held = trust.connect(server.address).await;
    held.send(upgrade("/ws")).await;
    held.until("\r\n\r\n").await;
    let hello = hello(&trust).await;
    let garbage: &[&[u8]] = &[
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16garbage that has no length and no version",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x03\x00\x04\x01\xff\xff\xff",
    ];
    let over: Vec<Vec<u8>> = vec![
        // A correct hello, and then bytes that do not belong there.
        [&hello[..], b"\x17\x03\x03\x00\x05hello"].concat(),
        [&hello[..], &[0xff; 70_000]].concat(),
        [&hello[..], b"\x16\x03\x03\x40\x00", &[1; 16_384]].concat(),
    ];
    for bytes in garbage.iter().copied().chain(over.iter().map(Vec::as_slice)) {
        let mut client = server.connect().await;
        // The connection may be closed before all bytes are sent.
        let _cut = client.stream.write_all(bytes).await;
        let _half = client.stream.shutdown().await;
        let _end = client.try_rest().await;
        drop(client);
        // The only allowed connection is free again.
        eventually("its place is given back", async || {
            trust.try_connect(server.address, "localhost").await.is_ok()
        })
        .await;
    }
    // Closed with a reset: once after everything was sent, and once in the middle.
    for bytes in [&hello[..], &hello[..100]] {
        let Client { stream } = server.send(bytes).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("it is TCP");
        drop(stream);
        eventually("its place is given back", async || {
            trust.try_connect(server.address, "localhost").await.is_ok()
        })
        .await;
    }
    held.send(text_frame("still here")).await;
    held.until("still here").await;
}

#[tokio::test]
async fn inside_tls_garbage_is_refused_as_it_is_outside() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    let mut twice = trust.connect(server.address).await;
    twice.send(b"\x16\x03\x01\x00\x05hello").await;
    assert!(twice.rest().await.starts_with("HTTP/1.1 400"));
    let mut broken = trust.connect(server.address).await;
    broken.send(upgrade("/ws")).await;
    broken.until("\r\n\r\n").await;
    // A record that is not encrypted.
    broken
        .stream
        .get_mut()
        .0
        .write_all(b"\x17\x03\x03\x00\x20................................")
        .await
        .expect("it is open");
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(crate::harness::DEADLINE, broken.stream.read_to_end(&mut bytes)).await;
    let error = end.expect("in time").expect_err("an alert");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    let mut slow = trust.connect(server.address).await;
    slow.send(upgrade("/ws")).await;
    slow.until("\r\n\r\n").await;
    let message: Vec<_> = (0..8_u32 << 20).map(|at| (at % 253) as u8).collect();
    // The server reads everything, and its echo fills the socket long before it is sent.
    slow.send(binary_frame(&message)).await;
    let mut other = trust.connect(server.address).await;
    other.send(upgrade("/ws")).await;
    other.send(text_frame("meanwhile")).await;
    other.until("meanwhile").await;
    let echo = slow.bytes(10 + message.len()).await;
    assert!(echo.ends_with(&message));
}

#[tokio::test]
async fn behind_the_proxy_protocol_the_client_has_its_name_and_its_tls() {
    let certificate = Certificate::of("localhost");
    let mut options = ListenerOptions::default();
    options.proxy_protocol = true;
    let builder = Switchboard::builder().workers(1).listener(options);
    let server = Server::start_tls(builder, certificate.tls()).await;
    let Client { stream } = server.send("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n").await;
    let mut client = Trust::of([&certificate]).over(stream, "localhost").await.expect("a good handshake");
    client.send(upgrade("/who")).await;
    assert!(client.until(">").await.ends_with("<192.0.2.7 true>"));
    let mut plain = server.send("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n").await;
    plain.send(get("/", "")).await;
    assert!(plain.rest().await.contains("TLS only"));
}

#[tokio::test]
async fn pages_of_the_same_host_and_port_may_connect() {
    let certificate = Certificate::of("localhost");
    let server = Server::with_tls(certificate.tls()).await;
    let trust = Trust::of([&certificate]);
    for (host, origin, status) in [
        ("chat.example", "https://chat.example", "101"),
        ("chat.example:443", "https://chat.example", "101"),
        ("chat.example", "https://chat.example:443", "101"),
        ("chat.example:8443", "https://chat.example:8443", "101"),
        ("chat.example", "https://chat.example:8443", "403"),
        ("chat.example", "https://evil.example", "403"),
        // The origin's port is 80, not ours. A third party on the network could change that page, so it is
        // not admitted.
        ("chat.example", "http://chat.example", "403"),
    ] {
        let mut client = trust.connect(server.address).await;
        let headers = format!("host: {host}\r\norigin: {origin}\r\nconnection: Upgrade");
        client.send(upgrade("/ws").replace("host: localhost\r\nconnection: Upgrade", &headers)).await;
        let head = client.until("\r\n").await;
        assert!(head.contains(status), "{host} {origin}: {head}");
    }
}
