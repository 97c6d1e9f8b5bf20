//! The sender of a request.

use std::net::{IpAddr, SocketAddr};

/// Where a request came from, as the listener or the outer server knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Peer {
    /// The address of the client: of the connection, or what a trusted proxy says.
    pub address: Option<SocketAddr>,
    /// Whether the connection (or the client's, to a trusted proxy) is encrypted.
    pub secure: bool,
    /// Whether a [trusted proxy](crate::TrustedProxies) handed on the request, whose headers about the client
    /// are heard.
    pub proxied: bool,
    /// Whether a PROXY protocol header names the address.
    pub(crate) named: bool,
    /// Whether it came by a Unix-domain socket, and so has no address.
    pub(crate) unix: bool,
}

impl Peer {
    /// A peer at an address. One of IPv4 that a socket for both families shows as IPv6 (`::ffff:192.0.2.1`)
    /// is taken as IPv4.
    pub fn new(address: SocketAddr) -> Self {
        let address = match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
            IpAddr::V6(_) => address,
        };
        Self { address: Some(address), ..Self::default() }
    }

    /// A peer of a Unix-domain socket.
    pub(crate) fn unix() -> Self {
        Self { unix: true, ..Self::default() }
    }

    /// The address without its port.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }
}
