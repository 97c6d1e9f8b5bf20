//! The server from its start to its end.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use switchboard::{ListenAddress, Listening, Switchboard};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::config::MetricsAt;
use crate::notify::{READY, STOPPING, notify};
use crate::{Config, demo, numbers, pages};

/// Signals within this time of the first are the same request to stop: a terminal, `npm` and `timeout` signal
/// a whole group of processes, and some of these pass the signal on.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT, then lets sessions end within the time that the options give them. A
/// further signal, half a second after the first or later, ends the server at once.
///
/// Prints `listening on ADDRESS:PORT` when it accepts connections (`listening on unix:PATH` at a Unix-domain
/// socket), and tells systemd.
///
/// # Errors
/// A sentence for the user who started the server: an address that is in use or is not this machine's,
/// options that make no sense.
pub fn run(config: &Config) -> io::Result<()> {
    config.check()?;
    // While there is no other thread that could be reading the environment.
    let passed = ListenAddress::passed()?;
    let addresses = config.sockets.addresses(passed, config.socket_address())?;
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
        if let Some(address) = config.flash_policy {
            let address = io.bind_flash_policy(address).await.map_err(|error| explain(&error, &address))?;
            tracing::info!(%address, "Flash's socket policy");
        }
        for address in addresses {
            announce(&bind(&io, address).await?)?;
        }
        notify(READY);
        stop.asked().await;
        notify(STOPPING);
        tokio::select! {
            _in_time = io.shutdown(config.shutdown_timeout()) => {}
            () = stop.asked_again() => tracing::warn!("stopped at once, as asked for again"),
        }
        Ok(())
    })
}

async fn bind(io: &Switchboard, address: ListenAddress) -> io::Result<Listening> {
    let place = address.to_string();
    io.bind(address).await.map_err(|error| explain(&error, &place))
}

async fn serve_apart(address: SocketAddr, routes: Router) -> io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(|error| explain(&error, &address))?;
    tracing::info!(address = %listener.local_addr()?, "metrics");
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(())
}

fn explain(error: &io::Error, address: &dyn Display) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse if error.raw_os_error().is_some() => {
            "another program listens there".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "that needs a privilege, as ports below 1024 do".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
}

fn announce(listening: &Listening) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {listening}")?;
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

    /// Returns at a signal that is not of the same request as the first, which has just come.
    async fn asked_again(&mut self) {
        let first = Instant::now();
        while first.elapsed() < SAME_REQUEST {
            self.asked().await;
        }
    }
}
