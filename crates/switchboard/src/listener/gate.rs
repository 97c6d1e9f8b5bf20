//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::ListenerOptions;
use super::streams::OpenStream;

/// Counts connections and refuses those that are too many.
#[derive(Debug)]
pub(crate) struct Gate {
    open: AtomicUsize,
    max: usize,
    max_per_address: usize,
    /// Counted only where there is a bound. Taken when a connection comes or goes, never for a message.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    emptied: Notify,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    /// Boxed, as few connections have more.
    more: Option<Box<More>>,
}

/// What few connections have.
#[derive(Debug, Default)]
struct More {
    /// The address it is counted for.
    address: Option<IpAddr>,
    /// The stream of HTTP/2 that it is.
    stream: Option<OpenStream>,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Total,
    Address,
}

impl Refusal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refusal::Total => "too many connections",
            Refusal::Address => "too many connections from one address",
        }
    }
}

impl Gate {
    pub(crate) fn new(options: &ListenerOptions) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            max: options.max_connections,
            max_per_address: options.max_connections_per_address,
            addresses: Mutex::default(),
            emptied: Notify::new(),
        })
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for one connection that was accepted.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Permit, Refusal> {
        let (before, permit) = self.count();
        if before >= self.max { Err(Refusal::Total) } else { Ok(permit) }
    }

    /// A place for what another server has let in: a request, or a connection that was upgraded. It is waited for in the end,
    /// but not refused.
    pub(crate) fn guest(self: &Arc<Self>) -> Permit {
        self.count().1
    }

    /// One more: how many there were before, and its place.
    fn count(self: &Arc<Self>) -> (usize, Permit) {
        metrics::gauge!("switchboard_connections").increment(1.0);
        (self.open.fetch_add(1, Ordering::AcqRel), Permit { gate: Arc::clone(self), more: None })
    }

    fn leave(&self) {
        metrics::gauge!("switchboard_connections").decrement(1.0);
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    /// Returns when no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Permit {
    /// Counts the connection for an address: its peer's, or its client's where a PROXY protocol header names one.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> Result<(), Refusal> {
        if self.gate.max_per_address == usize::MAX {
            return Ok(());
        }
        let mut addresses = self.gate.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.gate.max_per_address {
            return Err(Refusal::Address);
        }
        *count += 1;
        drop(addresses);
        self.more.get_or_insert_default().address = Some(address);
        Ok(())
    }

    /// Keeps a stream of HTTP/2 counted as open.
    pub(crate) fn keep(&mut self, stream: OpenStream) {
        self.more.get_or_insert_default().stream = Some(stream);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.more.as_deref().and_then(|more| more.address.as_ref()) {
            let mut addresses = self.gate.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            match addresses.get_mut(address) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(addresses.remove(address)),
            }
        }
        self.gate.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max_connections: usize, max_connections_per_address: usize) -> Arc<Gate> {
        Gate::new(&ListenerOptions {
            max_connections,
            max_connections_per_address,
            ..ListenerOptions::default()
        })
    }

    #[test]
    fn a_place_is_given_back_when_its_connection_ends() {
        let gate = gate(2, 1);
        let (a, b) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut first = gate.enter().unwrap();
        first.count_for(a).unwrap();
        let mut second = gate.enter().unwrap();
        assert_eq!(second.count_for(a), Err(Refusal::Address));
        second.count_for(b).unwrap();
        assert_eq!(gate.enter().unwrap_err(), Refusal::Total);
        assert_eq!(gate.open(), 2);
        drop(first);
        assert_eq!(gate.open(), 1);
        gate.enter().unwrap().count_for(a).unwrap();
        assert_eq!(gate.addresses.lock().unwrap().len(), 1);
        drop(second);
        assert_eq!((gate.open(), gate.addresses.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn what_another_server_let_in_is_counted_but_not_refused() {
        let gate = gate(1, usize::MAX);
        let (guest, _other) = (gate.guest(), gate.guest());
        assert_eq!(gate.open(), 2);
        drop(guest);
        assert_eq!(gate.enter().unwrap_err(), Refusal::Total);
        assert_eq!(gate.open(), 1);
    }
}
