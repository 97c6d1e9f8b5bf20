//! Accepting connections, on each worker.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use switchboard_hub::{Command, Worker, WorkerId};
use tracing::Instrument;

use super::ListenAddress;
use super::connection::{self, Accepted};
use super::sockets::{self, Bound, StdListener};
use crate::Peer;
use crate::refusals::{Refused, RefusedKind};
use crate::server::Server;
use crate::transport::connection::Executor;
use crate::transport::stream::Stream;
use crate::transport::tls::Acceptor;

/// The first pause after accepting failed for want of something; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listens at an address, and lets each worker accept. Returns where.
pub(super) async fn start(server: &Arc<Server>, address: ListenAddress) -> io::Result<Bound> {
    let ListenAddress { place, mode, tls, .. } = address;
    let tls = tls.map(|tls| Acceptor::new(tls, server.listener.http2.enabled)).transpose()?.map(Arc::new);
    let sockets = sockets::open(place, mode, server.listener.backlog, server.hub.workers()).await?;
    if let Some(bytes) = server.listener.max_unsent_bytes {
        sockets.set_max_unsent_bytes(bytes)?;
    }
    if let Some(file) = sockets.file {
        server.keep_socket_file(file);
    }
    for (number, socket) in sockets.each.into_iter().enumerate() {
        let (server_here, tls) = (Arc::clone(server), tls.clone());
        let start = Command::run(move |worker| {
            if let (0, Some((tls, interval))) =
                (number, tls.as_ref().and_then(|tls| Some((tls, tls.reload_interval()?))))
            {
                tokio::task::spawn_local(Acceptor::keep_fresh(Arc::downgrade(tls), interval));
            }
            tokio::task::spawn_local(run(Rc::clone(worker), server_here, socket, tls));
        });
        server.hub.send_when_room(WorkerId(number as u8), start).await.map_err(io::Error::other)?;
    }
    Ok(sockets.bound)
}

async fn run(worker: Rc<Worker>, server: Arc<Server>, socket: StdListener, tls: Option<Arc<Acceptor>>) {
    let listener = match socket.attach() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a worker cannot listen"),
    };
    let mut closed = server.idle_end.subscribe();
    let executor = worker.extension::<Executor>();
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                let executor = Rc::clone(&executor);
                admit(&worker, &server, executor, stream, peer, tls.as_ref());
            }
            Err(error) if is_of_one_connection(&error) => {
                metrics::counter!("switchboard_accept_errors_total", "reason" => "connection").increment(1);
            }
            Err(error) => {
                // Out of file descriptors or memory: those who wait in the backlog are not lost, and we do
                // not spin.
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

fn admit(
    worker: &Rc<Worker>,
    server: &Arc<Server>,
    executor: Rc<Executor>,
    stream: Stream,
    peer: Peer,
    tls: Option<&Arc<Acceptor>>,
) {
    let permit = match server.connections.enter() {
        Ok(permit) => permit,
        Err(refusal) => {
            refusal.count();
            server.refusals.tell(&Refused::new(RefusedKind::Connection, refusal.as_str(), peer.ip()));
            return tracing::debug!(peer = %Shown(peer), reason = refusal.as_str(), "connection refused");
        }
    };
    metrics::counter!("switchboard_connections_accepted_total").increment(1);
    let span = tracing::debug_span!("connection", peer = %Shown(peer), worker = %worker.id());
    let (worker, server, tls) = (Rc::clone(worker), Arc::clone(server), tls.cloned());
    let accepted = Accepted { worker, server, stream, peer, permit };
    // Boxed, so that each of these tasks takes the same small block, which the next one takes again.
    let opening = Box::pin(connection::serve(accepted, tls));
    let serve = async move {
        if let Some(task) = opening.await {
            executor.run(task);
        }
    };
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
