//! The limits on open connections: in total, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::limits::network::network;

/// Counts connections and refuses those beyond a limit.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    open: AtomicUsize,
    max: usize,
    max_per_address: usize,
    /// Filled only if there is a limit for each address. Locked when a connection opens or closes, never for
    /// a message.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    emptied: Notify,
}

/// One counted connection. Dropping it ends the count.
pub(crate) struct Permit {
    limit: Arc<ConnectionLimit>,
    /// Boxed, because few connections have rare fields.
    rare: Option<Box<Rare>>,
}

/// Fields that few connections have.
#[derive(Default)]
struct Rare {
    /// The address that the connection is counted for.
    address: Option<IpAddr>,
    /// The guard of the HTTP/2 stream, if the connection is one.
    stream: Option<Box<dyn Send>>,
}

/// The limit that was reached.
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

    /// Counts a refused connection.
    pub(crate) fn count(self) {
        metrics::counter!("switchboard_connections_refused_total", "reason" => self.as_str()).increment(1);
    }
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            max,
            max_per_address,
            addresses: Mutex::default(),
            emptied: Notify::new(),
        })
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Counts an accepted connection, or refuses it.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Permit, Refusal> {
        let (before, permit) = self.count();
        if before >= self.max { Err(Refusal::Total) } else { Ok(permit) }
    }

    /// Counts a connection or request that another server accepted. It is never refused, but the shutdown
    /// waits for it.
    pub(crate) fn enter_unlimited(self: &Arc<Self>) -> Permit {
        self.count().1
    }

    /// Counts one more connection. Returns the number before it and the permit.
    fn count(self: &Arc<Self>) -> (usize, Permit) {
        metrics::gauge!("switchboard_connections").increment(1.0);
        (self.open.fetch_add(1, Ordering::AcqRel), Permit { limit: Arc::clone(self), rare: None })
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
    /// Counts the connection for an address: the peer's, or the client's if a PROXY protocol header names it.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> Result<(), Refusal> {
        if self.limit.max_per_address == usize::MAX {
            return Ok(());
        }
        let address = network(address);
        let mut addresses = self.limit.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.limit.max_per_address {
            return Err(Refusal::Address);
        }
        *count += 1;
        drop(addresses);
        self.rare.get_or_insert_default().address = Some(address);
        Ok(())
    }

    /// Keeps an HTTP/2 stream counted as open.
    pub(crate) fn keep(&mut self, stream: impl Send + 'static) {
        self.rare.get_or_insert_default().stream = Some(Box::new(stream));
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.rare.as_deref().and_then(|rare| rare.address.as_ref()) {
            let mut addresses = self.limit.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            match addresses.get_mut(address) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(addresses.remove(address)),
            }
        }
        self.limit.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_its_connection_ends() {
        let limit = ConnectionLimit::new(2, 1);
        let (a, b) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut first = limit.enter().unwrap();
        first.count_for(a).unwrap();
        let mut second = limit.enter().unwrap();
        assert_eq!(second.count_for(a), Err(Refusal::Address));
        second.count_for(b).unwrap();
        assert_eq!(limit.enter().unwrap_err(), Refusal::Total);
        assert_eq!(limit.open(), 2);
        drop(first);
        assert_eq!(limit.open(), 1);
        limit.enter().unwrap().count_for(a).unwrap();
        assert_eq!(limit.addresses.lock().unwrap().len(), 1);
        drop(second);
        assert_eq!((limit.open(), limit.addresses.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn a_connection_of_another_server_is_counted_but_not_refused() {
        let limit = ConnectionLimit::new(1, usize::MAX);
        let (accepted, _other) = (limit.enter_unlimited(), limit.enter_unlimited());
        assert_eq!(limit.open(), 2);
        drop(accepted);
        assert_eq!(limit.enter().unwrap_err(), Refusal::Total);
        assert_eq!(limit.open(), 1);
    }
}
