//! A dropped `connect` closes its connections, at every step.

use std::{
    collections::HashSet,
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use switchboard_websocket::client::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    task::yield_now,
};

use crate::servers::{each, echo_server, listen, soon};

/// Polls a future until it has waited `waits` times, then drops it.
async fn cut<F: Future>(future: F, waits: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A server, or a proxy before it, whose answers come in pieces. It knows which connections are open.
#[derive(Clone, Debug, Default)]
struct Wire {
    seen: Arc<Mutex<HashSet<SocketAddr>>>,
    open: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Wire {
    async fn to(server: SocketAddr, piece: usize) -> (SocketAddr, Self) {
        let (listener, address) = listen().await;
        let wire = Self::default();
        let noted = wire.clone();
        each(listener, move |client| noted.clone().relay(client, server, piece));
        (address, wire)
    }

    async fn relay(self, client: TcpStream, server: SocketAddr, piece: usize) {
        // A connection that was reset before it was accepted has ended.
        let Ok(peer) = client.peer_addr() else { return };
        self.open.lock().unwrap().insert(peer);
        self.seen.lock().unwrap().insert(peer);
        client.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
        // Only the client ends a connection here.
        select! {
            () = copy(from_client, to_server, 1 << 16) => {}
            () = async { copy(from_server, to_client, piece).await; std::future::pending().await } => {}
        }
        self.open.lock().unwrap().remove(&peer);
    }

    /// Waits until all connections that were opened before have ended.
    async fn is_quiet(&self, address: SocketAddr) {
        let last = TcpStream::connect(address).await.unwrap();
        let own = last.local_addr().unwrap();
        while !self.seen.lock().unwrap().contains(&own) {
            yield_now().await;
        }
        drop(last);
        while !self.open.lock().unwrap().is_empty() {
            yield_now().await;
        }
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, piece: usize) {
    let mut buffer = vec![0; piece];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        // The other end gets the chance to see the end by itself.
        for _ in 0..100 {
            yield_now().await;
        }
    }
}

/// Drops `client.connect()` at each point where it waits. `address` is the first address that the client
/// connects to.
async fn drop_everywhere(client: Client, address: SocketAddr, wire: Wire) {
    for waits in 0..1000 {
        let connected = soon(cut(Box::pin(client.connect()), waits)).await;
        let is_done = connected.is_some();
        drop(connected.transpose().unwrap());
        soon(wire.is_quiet(address)).await;
        if is_done {
            assert!(waits > 5, "{waits} waits are not every step");
            return;
        }
    }
    panic!("it waits without end");
}

#[tokio::test]
async fn a_connect_that_is_dropped_leaves_nothing_open() {
    let (server, _) = echo_server().await;
    let (address, wire) = Wire::to(server, 10).await;
    drop_everywhere(Client::new(format!("ws://{address}/")), address, wire).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_connect_that_is_dropped_within_tls_and_a_proxy_leaves_nothing_open() {
    use tokio::io::copy_bidirectional;

    use crate::{
        servers::head,
        tls::{Authority, tls_server, trusting},
    };

    let authority = Authority::new();
    let (server, _) = tls_server(authority.acceptor(&["a.example"])).await;
    let (listener, proxy) = listen().await;
    each(listener, move |mut stream| async move {
        head(&mut stream).await;
        if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
            let mut upstream = TcpStream::connect(server).await.unwrap();
            let _ended = copy_bidirectional(&mut stream, &mut upstream).await;
        }
    });
    let (address, wire) = Wire::to(proxy, 50).await;
    let client =
        Client::new("wss://a.example/").proxy(&*format!("http://{address}")).tls(trusting(&[&authority]));
    drop_everywhere(client, address, wire).await;
}
