//! How many sessions an endpoint has, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::EngineOptions;
use crate::limits::network::network;

/// Counts the sessions of an endpoint and refuses those that are too many. A session on polling has no
/// connection of its own that could be counted in its place.
pub(crate) struct SessionLimit {
    open: AtomicUsize,
    max: usize,
    max_per_address: usize,
    /// Counted only where there is a bound. Locked when a session opens or ends, never for a message.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// Why a session is refused on its worker: which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooManySessions {
    Total,
    Address,
    /// A user's function made an id that another session has.
    IdTaken,
}

impl TooManySessions {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TooManySessions::Total => "too many sessions",
            TooManySessions::Address => "too many sessions from one address",
            TooManySessions::IdTaken => "the id of the session is taken",
        }
    }
}

impl SessionLimit {
    pub(crate) fn new(options: &EngineOptions) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: options.max_sessions,
            max_per_address: options.max_sessions_per_address,
            addresses: Mutex::default(),
        }
    }

    /// Whether a session from this address would be refused now.
    pub(crate) fn check(&self, address: Option<IpAddr>) -> Result<(), TooManySessions> {
        if self.open.load(Ordering::Relaxed) >= self.max {
            return Err(TooManySessions::Total);
        }
        let Some(address) = self.counted(address) else { return Ok(()) };
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        match addresses.get(&address) {
            Some(count) if *count >= self.max_per_address => Err(TooManySessions::Address),
            None if self.max_per_address == 0 => Err(TooManySessions::Address),
            _ => Ok(()),
        }
    }

    /// Counts a session that opens. If it is let in, [`leave`](Self::leave) is to be called once with the
    /// same address.
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Result<(), TooManySessions> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(TooManySessions::Total);
        }
        let Some(address) = self.counted(address) else { return Ok(()) };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.max_per_address {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(TooManySessions::Address);
        }
        *count += 1;
        Ok(())
    }

    /// A session that was let in has ended.
    pub(crate) fn leave(&self, address: Option<IpAddr>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.counted(address) else { return };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }

    /// The address that a session is counted for, if it is. Clients of a Unix-domain socket have none.
    fn counted(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        address.filter(|_| self.max_per_address < usize::MAX).map(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_in_all_and_for_each_address() {
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().ok());
        let mut options = EngineOptions::default();
        (options.max_sessions, options.max_sessions_per_address) = (3, 2);
        let limit = SessionLimit::new(&options);
        assert_eq!(limit.enter(one), Ok(()));
        assert_eq!(limit.enter(one), Ok(()));
        for result in [limit.check(one), limit.enter(one)] {
            assert_eq!(result, Err(TooManySessions::Address));
        }
        assert_eq!(limit.enter(other), Ok(()));
        for result in [limit.check(None), limit.enter(None)] {
            assert_eq!(result, Err(TooManySessions::Total));
        }
        limit.leave(one);
        assert_eq!(limit.enter(one), Ok(()));
        for address in [one, one, other] {
            limit.leave(address);
        }
        assert!(limit.addresses.lock().unwrap().is_empty());
        assert_eq!(limit.open.load(Ordering::Relaxed), 0);
    }
}
