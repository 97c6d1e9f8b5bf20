//! The meters of addresses. Clients of IPv6 have a network of their own, in which they may take any address:
//! it is the network that counts, the first 64 bits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::RateLimits;
use super::meter::{Meter, Scope};

/// Meters of addresses that are kept at most. Clients of further addresses share one.
const MAX_METERS: usize = 1 << 17;

/// Meters that are not needed any more are looked for where there are as many.
const SWEEP_FROM: usize = 1024;

/// The part of an address that stands for one client: all of IPv4, and the first 64 bits of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The meters of all addresses. Locked when a client comes, never for an event.
#[derive(Debug)]
pub(crate) struct AddressMeters {
    limits: RateLimits,
    meters: Mutex<Meters>,
}

#[derive(Debug)]
struct Meters {
    by_network: HashMap<IpAddr, Arc<Meter>>,
    /// The number of meters at which they are swept next.
    sweep_at: usize,
    /// The one that clients share for which there is no room.
    shared: Option<Arc<Meter>>,
}

impl AddressMeters {
    pub(crate) fn new(limits: RateLimits) -> Self {
        let meters = Meters { by_network: HashMap::new(), sweep_at: SWEEP_FROM, shared: None };
        Self { limits, meters: Mutex::new(meters) }
    }

    /// The meter of an address. It outlives its last client until all is paid for, so that nobody gains by
    /// coming again.
    pub(crate) fn get(&self, address: IpAddr, now: Instant) -> Arc<Meter> {
        let network = network(address);
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.by_network.get(&network) {
            return Arc::clone(meter);
        }
        let new = || Arc::new(Meter::new(Scope::Address, self.limits, now));
        if meters.by_network.len() >= meters.sweep_at {
            meters.by_network.retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_paid(now));
            meters.sweep_at = (meters.by_network.len() * 2).clamp(SWEEP_FROM, MAX_METERS);
        }
        if meters.by_network.len() >= MAX_METERS {
            return Arc::clone(meters.shared.get_or_insert_with(new));
        }
        let meter = new();
        meters.by_network.insert(network, Arc::clone(&meter));
        meter
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::meter::Input;
    use crate::limits::rate::Rate;

    #[test]
    fn an_address_of_ipv6_counts_by_its_first_64_bits() {
        for (address, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::1", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(network(address.parse().expect(address)).to_string(), counted);
        }
    }

    #[test]
    fn a_client_that_comes_again_has_what_is_left() {
        let meters = AddressMeters::new(RateLimits::default().events(Rate::per_second(1)));
        let (now, address) = (Instant::now(), |n: u32| IpAddr::from(n.to_be_bytes()));
        assert!(meters.get(address(1), now).admit(Input::Event { bytes: 1 }, now).is_some());
        for n in 2..5000 {
            meters.get(address(n), now);
        }
        assert!(meters.get(address(1), now).admit(Input::Event { bytes: 1 }, now).is_none());
        assert!(meters.get(address(2), now).admit(Input::Event { bytes: 1 }, now).is_some());
        let kept = meters.meters.lock().expect("not poisoned").by_network.len();
        assert!(kept <= 2 * SWEEP_FROM, "{kept} meters");
        let later = now + Duration::from_secs(1);
        assert!(meters.get(address(1), later).admit(Input::Event { bytes: 1 }, later).is_some());
    }

    #[test]
    fn addresses_beyond_the_bound_share_one_meter() {
        let meters = AddressMeters::new(RateLimits::default().events(Rate::per_second(1)));
        let now = Instant::now();
        let kept: Vec<_> =
            (0..MAX_METERS as u32).map(|n| meters.get(IpAddr::from(n.to_be_bytes()), now)).collect();
        let [one, other] =
            ["192.0.2.1", "192.0.2.2"].map(|ip| meters.get(ip.parse().expect("an address"), now));
        assert!(Arc::ptr_eq(&one, &other) && !kept.iter().any(|meter| Arc::ptr_eq(meter, &one)));
    }
}
