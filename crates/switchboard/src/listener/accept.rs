//! Accepting connections, on each worker.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use switchboard_hub::{Command, Worker, WorkerId};
use tokio::net::TcpListener;
use tracing::Instrument;

use super::connection;
use crate::Peer;
use crate::switchboard::Inner;
use crate::transport::stream::Stream;

/// The first pause after accepting failed for want of something; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Binds a socket for each worker and lets each accept. Returns the address.
pub(super) async fn start(inner: &Arc<Inner>, address: SocketAddr) -> io::Result<SocketAddr> {
    let address = claim(address)?;
    let backlog = inner.listener.backlog;
    let sockets = (0..inner.hub.workers()).map(|_| bind(address, backlog)).collect::<io::Result<Vec<_>>>()?;
    for (number, socket) in sockets.into_iter().enumerate() {
        let inner_here = Arc::clone(inner);
        let start = Command::Run(Box::new(move |worker| {
            tokio::task::spawn_local(run(Rc::clone(worker), inner_here, socket));
        }));
        inner.hub.send_when_room(WorkerId(number as u8), start).await.map_err(io::Error::other)?;
    }
    Ok(address)
}

/// The address with its port, if nobody listens there: with `SO_REUSEPORT` alone a second server would share the first one's
/// connections, in silence.
fn claim(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // What is left of connections that have ended is no hindrance.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    std::net::TcpListener::from(socket).local_addr()
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

async fn run(worker: Rc<Worker>, inner: Arc<Inner>, socket: std::net::TcpListener) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a worker cannot listen"),
    };
    let mut closed = inner.closed.subscribe();
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = FIRST_PAUSE;
                admit(&worker, &inner, stream.into(), Peer::new(address));
            }
            Err(error) if is_of_one_connection(&error) => {
                metrics::counter!("switchboard_accept_errors_total", "reason" => "connection").increment(1);
            }
            Err(error) => {
                // Out of file descriptors or memory: those who wait in the backlog are not lost, and we do not spin.
                metrics::counter!("switchboard_accept_errors_total", "reason" => "resources").increment(1);
                tracing::warn!(%error, ?pause, "cannot accept");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = closed.wait_for(|closed| *closed) => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn admit(worker: &Rc<Worker>, inner: &Arc<Inner>, stream: Stream, peer: Peer) {
    let permit = match inner.gate.enter() {
        Ok(permit) => permit,
        Err(refusal) => {
            super::count_refused(refusal);
            return tracing::debug!(peer = %Shown(peer), reason = refusal.as_str(), "connection refused");
        }
    };
    metrics::counter!("switchboard_connections_accepted_total").increment(1);
    let span = tracing::debug_span!("connection", peer = %Shown(peer), worker = %worker.id());
    let serve = connection::serve(Rc::clone(worker), Arc::clone(inner), stream, peer, permit);
    // A task that nobody traces does not carry a span about.
    if span.is_disabled() {
        tokio::task::spawn_local(serve);
    } else {
        tokio::task::spawn_local(serve.instrument(span));
    }
}

/// A peer as traces show it.
struct Shown(Peer);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// Errors of `accept` that only concern the connection that was to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
