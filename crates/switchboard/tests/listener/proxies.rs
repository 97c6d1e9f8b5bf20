//! Proxies in front of the server: the PROXY protocol, and headers that count only from trusted proxies.

use switchboard::{Builder, ListenerOptions, Switchboard, TrustedProxies, WebSocket};

use crate::harness::{Client, SHORT, Server, eventually, get, metric, upgrade};

/// Serves `/who`, which tells a client its address and whether it came over TLS.
async fn start(change: impl FnOnce(&mut ListenerOptions), and: impl FnOnce(Builder) -> Builder) -> Server {
    let mut options = ListenerOptions::default();
    change(&mut options);
    let server = Server::start(and(Switchboard::builder().workers(1).listener(options))).await;
    server.io.websocket("/who").on_connect(|socket: &WebSocket| {
        let peer = socket.handshake().peer();
        socket.send(format!(
            "<{} {}>",
            peer.address.map_or("?".to_owned(), |address| address.to_string()),
            peer.secure
        ))
    });
    server
}

async fn proxied() -> Server {
    start(|options| options.proxy_protocol = true, |builder| builder).await
}

async fn told(mut client: Client) -> String {
    let bytes = client.until(">").await;
    let text = String::from_utf8_lossy(&bytes);
    text.rsplit('<').next().unwrap_or_default().trim_end_matches('>').to_owned()
}

fn v2(command: u8, client: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, 0x11, 0, 12 + 4]);
    bytes.extend(client);
    bytes.extend([10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    // A TLV.
    bytes.extend([0x04, 0, 1, 0]);
    bytes
}

#[tokio::test]
async fn a_proxy_protocol_header_names_the_client() {
    let server = proxied().await;
    let v1 = |line: &str| format!("PROXY {line}\r\n").into_bytes();
    for (header, address) in [
        (v1("TCP4 192.0.2.7 10.0.0.1 4711 80"), Some("192.0.2.7:4711")),
        (v1("TCP6 2001:db8::7 ::1 4711 80"), Some("[2001:db8::7]:4711")),
        (v1("UNKNOWN"), None),
        (v2(0x21, [192, 0, 2, 8]), Some("192.0.2.8:4711")),
        (v2(0x20, [192, 0, 2, 8]), None),
    ] {
        let one_write = server.send([&header[..], upgrade("/who").as_bytes()].concat()).await;
        let own = one_write.stream.local_addr().expect("it is connected").to_string();
        assert_eq!(told(one_write).await, format!("{} false", address.unwrap_or(&own)));

        let mut in_pieces = server.connect().await;
        in_pieces.stream.set_nodelay(true).expect("it is TCP");
        let own = in_pieces.stream.local_addr().expect("it is connected").to_string();
        for piece in header.chunks(7).chain(upgrade("/who").as_bytes().chunks(50)) {
            in_pieces.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(told(in_pieces).await, format!("{} false", address.unwrap_or(&own)));

        // On the path through hyper, which must find the request after the header.
        let polling = get("/socket.io/?EIO=4&transport=polling", "connection: close");
        let answer = server.send([&header[..], polling.as_bytes()].concat()).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_without_a_proxy_protocol_header_is_closed_and_counted() {
    let server = proxied().await;
    for bytes in
        [upgrade("/who").into_bytes(), b"PROXY TCP4 nonsense\r\n".to_vec(), vec![b'P'; 200], v2(0x25, [0; 4])]
    {
        let before = metric("switchboard_proxy_protocol_errors_total", "");
        assert!(server.send(&bytes).await.is_cut().await, "{}", bytes.escape_ascii());
        eventually("counted", async || metric("switchboard_proxy_protocol_errors_total", "") > before).await;
    }
}

#[tokio::test]
async fn a_proxy_protocol_header_has_to_come_in_time() {
    let change =
        |options: &mut ListenerOptions| (options.proxy_protocol, options.head_timeout) = (true, SHORT);
    let server = start(change, |builder| builder).await;
    assert!(server.send("PROXY TCP4 192.0.").await.is_cut().await);
    assert!(server.send("PROXY UNKNOWN\r\n").await.is_cut().await);
}

#[tokio::test]
async fn a_proxy_protocol_header_from_an_untrusted_address_is_refused() {
    for (list, trusted) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let proxies = TrustedProxies::list([list]).expect("a network");
        let server =
            start(|options| options.proxy_protocol = true, |builder| builder.trusted_proxies(proxies)).await;
        let mut client =
            server.send(format!("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n{}", upgrade("/who"))).await;
        if trusted {
            assert_eq!(told(client).await, "192.0.2.7:4711 false");
        } else {
            assert!(client.is_cut().await);
        }
    }
}

#[tokio::test]
async fn places_for_each_address_are_the_clients_not_the_proxys() {
    let change = |options: &mut ListenerOptions| {
        (options.proxy_protocol, options.max_connections_per_address) = (true, 1);
    };
    let server = start(change, |builder| builder).await;
    let connect = async |last: u8| {
        server.send([&v2(0x21, [192, 0, 2, last])[..], upgrade("/who").as_bytes()].concat()).await
    };
    let mut first = connect(1).await;
    first.until(">").await;
    let mut second = connect(2).await;
    second.until(">").await;
    assert!(connect(1).await.is_cut().await);
    drop(first);
    eventually("its place is free", async || connect(1).await.is_answered().await).await;
}

#[tokio::test]
async fn forwarded_headers_are_heard_from_trusted_proxies_only() {
    let forwarded = upgrade("/who").replace(
        "connection:",
        "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: https\r\nforwarded: for=6.6.6.6\r\nconnection:",
    );
    for (proxies, trusted) in [
        (TrustedProxies::none(), false),
        (TrustedProxies::list(["10.0.0.0/8"]).expect("a network"), false),
        (TrustedProxies::loopback(), true),
        (TrustedProxies::hops(1), true),
    ] {
        let server = start(|_| {}, |builder| builder.trusted_proxies(proxies)).await;
        let client = server.send(&forwarded).await;
        let own = client.stream.local_addr().expect("it is connected");
        let expected = if trusted { "192.0.2.7:0 true".to_owned() } else { format!("{own} false") };
        assert_eq!(told(client).await, expected);
    }
}

#[tokio::test]
async fn a_page_of_the_forwarded_host_is_let_in_behind_trusted_proxies_only() {
    let handshake = upgrade("/who").replace(
        "connection:",
        "origin: https://public.example\r\nx-forwarded-host: public.example\r\nconnection:",
    );
    for (proxies, status) in [(TrustedProxies::none(), "403"), (TrustedProxies::loopback(), "101")] {
        let server = start(|_| {}, |builder| builder.trusted_proxies(proxies)).await;
        let head = server.send(&handshake).await.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
}
