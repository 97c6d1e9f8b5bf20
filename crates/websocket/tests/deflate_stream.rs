//! Compression over a stream: the agreement in the handshake at both ends, halves, and messages for many
//! connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use switchboard_websocket::{
    Config, Error, Limits, OwnedMessage, Prepared, ProtocolError, Role, WebSocketStream, WhenFull,
    deflate::{DeflateOptions, DeflateParameters},
};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

fn config(options: Option<DeflateOptions>) -> Config {
    let mut config = Config::default();
    config.deflate = options;
    config
}

async fn shake_hands(
    server: &Config,
    client: &Config,
) -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (near, far) = duplex(1 << 20);
    let (server, client) = tokio::join!(
        WebSocketStream::accept(near, server),
        WebSocketStream::connect_over(far, "ws://example.org/", client),
    );
    (server.unwrap(), client.unwrap())
}

/// A server that agreed on compression, and the bare stream of its client.
fn server(options: DeflateOptions, config: &Config) -> (WebSocketStream<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    let parameters = DeflateParameters {
        server_no_context_takeover: options.server_no_context_takeover,
        client_no_context_takeover: options.client_no_context_takeover,
        server_max_window_bits: options.server_max_window_bits,
        client_max_window_bits: options.client_max_window_bits,
    };
    (WebSocketStream::from_raw(near, Role::Server, config).with_deflate(parameters, &options), far)
}

async fn read(io: &mut DuplexStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    io.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn text() -> String {
    "what is said often is said shortly; ".repeat(200)
}

#[tokio::test(start_paused = true)]
async fn ends_that_both_want_it_compress() {
    let frugal = DeflateOptions::default();
    let takeover = frugal.context_takeover(true).max_window_bits(11);
    for options in [frugal, takeover] {
        let (mut server, mut client) = shake_hands(&config(Some(options)), &config(Some(takeover))).await;
        let agreed = server.deflate().expect("both want it");
        assert_eq!(client.deflate(), Some(agreed));
        assert_eq!(agreed.server_max_window_bits, 11);
        for _ in 0..3 {
            client.send(text()).await.unwrap();
            assert_eq!(server.recv().await.unwrap(), Some(text().into()));
            server.send(text().into_bytes()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), Some(text().into_bytes().into()));
            server.forget_context();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_end_alone_does_not_compress() {
    for (server, client) in [(true, false), (false, true), (false, false)] {
        let options = |wanted: bool| config(wanted.then(DeflateOptions::default));
        let (mut server, mut client) = shake_hands(&options(server), &options(client)).await;
        assert_eq!((server.deflate(), client.deflate()), (None, None));
        client.send(text()).await.unwrap();
        assert_eq!(server.recv().await.unwrap(), Some(text().into()));
    }
}

#[tokio::test(start_paused = true)]
async fn halves_compress_as_the_whole_did() {
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    let wanted = config(Some(DeflateOptions::default().context_takeover(true)));
    let (server, client) = tokio::join!(
        WebSocketStream::accept(near, &wanted),
        WebSocketStream::connect_over(far, "ws://example.org/", &wanted),
    );
    let (mut server, (mut reader, mut writer)) = (server.unwrap(), client.unwrap().split());
    assert_eq!(writer.deflate(), server.deflate());
    writer.send(text()).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(text().into()));
    server.send_prepared(&Prepared::text(text())).await.unwrap();
    assert_eq!(reader.recv().await.unwrap(), Some(text().into()));
    writer.send_prepared(&Prepared::text(text())).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(text().into()));
}

#[tokio::test(start_paused = true)]
async fn a_prepared_message_is_sent_as_it_was_made_by_all_that_share_it() {
    let news = Prepared::text(text());
    let large = Prepared::binary((0..100_000u64).map(|i| ((i * i) >> 7) as u8).collect::<Vec<_>>());
    let (mut plain, mut compressed) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (mut socket, mut peer) = server(DeflateOptions::default(), &Config::default());
        socket.feed_prepared(&news).unwrap();
        socket.send_prepared(&large).await.unwrap();
        drop(socket);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        compressed.push(all);
        let (near, mut peer) = duplex(1 << 20);
        let mut socket = WebSocketStream::from_raw(near, Role::Server, &Config::default());
        socket.send_prepared(&news).await.unwrap();
        plain.push(read(&mut peer, news.frame().len()).await);
    }
    assert_eq!(plain[0], news.frame()[..]);
    assert_eq!(compressed[0], compressed[1]);
    assert_eq!(compressed[0][0], 0xC1);
    assert!(compressed[0].len() < news.payload().len() + large.payload().len());
}

#[tokio::test(start_paused = true)]
async fn a_prepared_message_meets_the_bound_like_any_other() {
    let news = Prepared::text(text());
    let mut config = Config::default();
    config.max_write_buffer_bytes = news.payload().len() + 10;
    let (mut socket, _peer) = server(DeflateOptions::default().threshold(usize::MAX), &config);
    socket.feed_prepared(&news).unwrap();
    match socket.feed_prepared(&news) {
        Err(Error::WriteBufferFull { message, .. }) => assert_eq!(*message, OwnedMessage::Text(text())),
        other => panic!("{other:?}"),
    }
    config.when_full = WhenFull::DropNewest;
    let (mut socket, _peer) = server(DeflateOptions::default().threshold(usize::MAX), &config);
    socket.feed_prepared(&news).unwrap();
    socket.feed_prepared(&news).unwrap();
    assert_eq!(socket.dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bomb_closes_the_connection_with_1009() {
    let mut bounded = config(Some(DeflateOptions::default()));
    bounded.limits = Limits::default().max_message_bytes(10_000);
    let (mut server, mut client) = shake_hands(&bounded, &config(Some(DeflateOptions::default()))).await;
    client.send(vec![0; 10_000_000]).await.unwrap();
    let (refused, told) = tokio::join!(server.recv(), client.recv());
    let limit = 10_000;
    let too_large = ProtocolError::MessageTooLarge { length: 10_001, limit };
    assert!(matches!(refused, Err(Error::Protocol(error)) if error == too_large), "{refused:?}");
    let Some(OwnedMessage::Close(Some(close))) = told.unwrap() else { panic!("a close") };
    assert_eq!(close.code.get(), 1009);
}
