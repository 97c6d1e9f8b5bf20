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

/// Signals within this time after the first one belong to the same request to stop. A terminal, `npm` and
/// `timeout` signal a whole group of processes, and some of these pass the signal on.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT, then gives sessions the configured time to end. A further signal, at least
/// half a second after the first, ends the server at once.
///
/// When it accepts connections, it prints `listening on ADDRESS:PORT` (`listening on unix:PATH` for a
/// Unix-domain socket) and tells systemd.
///
/// # Errors
/// A message for the user who started the server: the address is in use or does not belong to this machine,
/// or options contradict each other.
pub fn run(config: &Config) -> io::Result<()> {
    config.check()?;
    // Done before any other thread exists that could read the environment.
    let passed = ListenAddress::passed()?;
    let addresses = config.sockets.addresses(passed, config.socket_address())?;
    let metrics = config.metrics.map(|at| numbers::install().map(|handle| (at, handle))).transpose()?;
    let io = config.builder().client_files(pages::client_files()).build()?;
    demo::chat::mount(&io)?;
    if let Some(options) = config.admin.options() {
        io.admin(options)?;
    }
    // Workers have their own threads. This thread only waits.
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
            () = stop.asked_again() => tracing::warn!("stopped at once: a second signal came"),
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
        io::ErrorKind::PermissionDenied => "this needs a privilege, as all ports below 1024 do".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
}

fn announce(listening: &Listening) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {listening}")?;
    out.flush()
}

/// The signals that tell the server to stop.
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

    /// Returns at a signal that does not belong to the first request to stop, which has just come.
    async fn asked_again(&mut self) {
        let first = Instant::now();
        while first.elapsed() < SAME_REQUEST {
            self.asked().await;
        }
    }
}
