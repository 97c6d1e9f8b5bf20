//! The server from its start to its end.

use std::io::{self, Write};
use std::net::SocketAddr;

use axum::Router;
use switchboard::{Listening, Switchboard};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::MetricsAt;
use crate::{Config, demo, numbers, pages};

/// Serves until SIGTERM or SIGINT, then lets sessions end within the time the options give them. A second signal ends at once.
///
/// Prints `listening on ADDRESS:PORT` when it accepts connections.
///
/// # Errors
/// A sentence for whoever started it: an address that is in use or not this machine's, options that make no sense.
pub fn run(config: &Config) -> io::Result<()> {
    let metrics = config.metrics.map(|at| numbers::install().map(|handle| (at, handle))).transpose()?;
    let io = config.builder().client_files(pages::client_files()).build()?;
    demo::chat::mount(&io)?;
    // Workers have threads of their own: this one only waits.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut pages = pages::routes();
        if let Some((at, handle)) = metrics {
            tokio::spawn(numbers::upkeep(handle.clone()));
            match at {
                MetricsAt::Here => pages = pages.merge(numbers::routes(handle)),
                MetricsAt::At(address) => serve_apart(address, numbers::routes(handle)).await?,
            }
        }
        io.fallback(pages);
        let mut stop = Stop::new()?;
        let listening = bind(&io, config.socket_address()).await?;
        announce(listening.local_addr())?;
        stop.asked().await;
        tokio::select! {
            _in_time = io.shutdown(config.shutdown_timeout()) => {}
            () = stop.asked() => tracing::warn!("stopped at once, as asked for again"),
        }
        Ok(())
    })
}

async fn bind(io: &Switchboard, address: SocketAddr) -> io::Result<Listening> {
    // The workers' sockets share the port among them, and would share it with another server of the same user too: only one that does
    // not share finds out whether the port is taken.
    drop(std::net::TcpListener::bind(address).map_err(|error| explain(&error, address))?);
    io.bind(address).await.map_err(|error| explain(&error, address))
}

async fn serve_apart(address: SocketAddr, routes: Router) -> io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(|error| explain(&error, address))?;
    tracing::info!(address = %listener.local_addr()?, "metrics");
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(())
}

fn explain(error: &io::Error, address: SocketAddr) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {address}")?;
    out.flush()
}

/// The signals that ask the server to stop.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
