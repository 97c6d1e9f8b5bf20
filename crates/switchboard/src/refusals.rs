//! What the server refused or dropped, told in one place.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use switchboard_hub::MemberId as SocketId;

use crate::functions::guarded;

/// The kind of a thing that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedKind {
    /// A connection, as soon as it was accepted: there are too many.
    Connection,
    /// A request, by its head: its origin, [`allow_request`](crate::Builder::allow_request), a bound on
    /// sessions, or no handshake at all.
    Request,
    /// A CONNECT to a namespace: a bound, a rate, a namespace that is not there, or the error of a middleware.
    Connect,
    /// A packet that is none, or that is out of place. Its session is closed.
    Packet,
    /// An event that passes a [rate](crate::RateLimits), or that [waited](crate::EarlyEvents) for a handler in
    /// vain.
    Event,
    /// Events to a client that does not read as fast as it is sent to: its outbox was
    /// [full](crate::FullOutbox).
    Delivery,
}

/// Something that the server refused or dropped; see [`Builder::on_refused`](crate::Builder::on_refused).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Refused<'a> {
    /// Its kind.
    pub kind: RefusedKind,
    /// The reason in words, such as `origin` or `socket rate`.
    pub reason: &'a str,
    /// How many: events that were dropped together, else 1.
    pub count: usize,
    /// The address of the client, where it has one.
    pub address: Option<IpAddr>,
    /// The namespace, where it is about one.
    pub namespace: Option<&'a str>,
    /// The socket, where it is about one.
    pub socket: Option<SocketId>,
}

impl<'a> Refused<'a> {
    pub(crate) fn new(kind: RefusedKind, reason: &'a str, address: Option<IpAddr>) -> Self {
        Self { kind, reason, count: 1, address, namespace: None, socket: None }
    }
}

/// The function that is told of refusals, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Option<Arc<Tell>>);

type Tell = dyn Fn(&Refused<'_>) + Send + Sync;

impl Refusals {
    pub(crate) fn new(tell: impl Fn(&Refused<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Whether anyone is told.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of a refusal. A function that panics is heard of in the log.
    pub(crate) fn tell(&self, refused: &Refused<'_>) {
        if let Some(tell) = &self.0 {
            let _panicked = guarded(|| tell(refused));
        }
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("is_heard", &self.is_heard()).finish()
    }
}
