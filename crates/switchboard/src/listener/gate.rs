//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::ListenerOptions;

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
    address: Option<IpAddr>,
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

    /// A place for one connection.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.max {
            self.leave();
            return Err(Refusal::Total);
        }
        let mut permit = Permit { gate: Arc::clone(self), address: None };
        if self.max_per_address < usize::MAX {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(address).or_default();
            if *count >= self.max_per_address {
                drop(addresses);
                return Err(Refusal::Address);
            }
            *count += 1;
            permit.address = Some(address);
        }
        Ok(permit)
    }

    fn leave(&self) {
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

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut addresses = self.gate.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = addresses.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    addresses.remove(&address);
                }
            }
        }
        self.gate.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max_connections: usize, max_connections_per_address: usize) -> Arc<Gate> {
        Gate::new(&ListenerOptions { max_connections, max_connections_per_address, ..ListenerOptions::default() })
    }

    #[test]
    fn a_place_is_given_back_when_its_connection_ends() {
        let gate = gate(2, 1);
        let (a, b, c) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into(), [127, 0, 0, 3].into());
        let first = gate.enter(a).unwrap();
        assert_eq!(gate.enter(a).unwrap_err(), Refusal::Address);
        let _second = gate.enter(b).unwrap();
        assert_eq!(gate.enter(c).unwrap_err(), Refusal::Total);
        drop(first);
        assert_eq!(gate.open(), 1);
        gate.enter(a).unwrap();
        assert_eq!(gate.addresses.lock().unwrap().len(), 1);
    }
}
