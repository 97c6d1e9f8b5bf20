//! The server's own listener: each worker accepts on a socket of its own (`SO_REUSEPORT`), or on one that all
//! share, takes a WebSocket upgrade that comes first on a fast path, and leaves every other request to hyper.
//! Both ways ask the same [`decide`](crate::door).

mod accept;
pub(crate) mod address;
mod connection;
mod first;
pub(crate) mod flash;
pub(crate) mod http2;
mod keep_alive;
mod opening;
mod polls;
mod proxy_protocol;
mod requests;
pub(crate) mod sockets;

use std::io;
use std::net::SocketAddr;

pub use address::ListenAddress;
use sockets::Bound;

use crate::server::KeepAlive;

fn count_tls_error(reason: &'static str) {
    metrics::counter!("switchboard_tls_handshake_errors_total", "reason" => reason).increment(1);
}

/// A server that listens. Dropped, it goes on listening until the server is shut down.
#[derive(Debug)]
pub struct Listening {
    server: KeepAlive,
    bound: Bound,
}

impl std::fmt::Display for Listening {
    /// Where it listens: `127.0.0.1:3000`, or `unix:` and a path.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.bound {
            Bound::Tcp(address) => address.fmt(f),
            Bound::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listening {
    /// Opens a socket for each worker, and lets it accept.
    pub(crate) async fn start(server: KeepAlive, address: ListenAddress) -> io::Result<Self> {
        let bound = accept::start(&server, address).await?;
        let listening = Self { server, bound };
        tracing::info!(address = %listening, "listening");
        Ok(listening)
    }

    /// The address it listens on; its port is known even where the one asked for was 0. Of a Unix-domain
    /// socket, which has none, it is `0.0.0.0:0`: such a one is [shown](std::fmt::Display) by its path.
    pub fn local_addr(&self) -> SocketAddr {
        match self.bound {
            Bound::Tcp(address) => address,
            Bound::Unix(_) => SocketAddr::from(([0; 4], 0)),
        }
    }

    /// Returns when the server is shutting down, and no connection is open any more.
    pub async fn done(&self) {
        let server = &self.server;
        let mut closed = server.idle_end.subscribe();
        // The sender is in `server`, which is kept here.
        drop(closed.wait_for(|closed| *closed).await);
        server.connections.emptied().await;
    }
}
