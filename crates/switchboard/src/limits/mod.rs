//! How much clients may send in a time: rates, and what becomes of input beyond them.
//!
//! Reading order: [`rate`] (one rate, as arithmetic), [`meter`] (the rates of one socket, one address or one
//! namespace, and how much of them is used), [`network`] (the meters of addresses).

pub(crate) mod meter;
pub(crate) mod network;
pub(crate) mod rate;

use rate::Rate;

/// What becomes of the input of a client that passes a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverLimit {
    /// An event is dropped. If its client asked for an acknowledgement, that is what
    /// [`on_error_reply`](crate::Namespace::on_error_reply) makes of the error, or
    /// `{"error":"rate limit exceeded"}`. A CONNECT is refused with `CONNECT_ERROR`.
    #[default]
    Drop,
    /// The client is not read until the rate allows for more. Nothing is lost: the client's own connection
    /// holds what it sends. The packets that have been read already are handled, and are paid for first.
    HoldBack,
    /// The client is disconnected: it gets DISCONNECT, and does not come back by itself.
    Disconnect,
}

/// The rates of one socket, one address or one namespace, and what becomes of input beyond them. The default
/// has none.
///
/// A rate is a bucket of tokens, which is full at the start: as much as its [burst](Rate::burst) may come at
/// once, then as much as the rate says.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{OverLimit, Rate, RateLimits, Switchboard};
///
/// # fn main() -> std::io::Result<()> {
/// let io = Switchboard::builder()
///     .limit_sockets(RateLimits::default().events(Rate::per_second(50).burst(200)))
///     .limit_addresses(RateLimits::default().connects(Rate::per(20, Duration::from_secs(60))))
///     .build()?;
/// let chat = io.of("/chat");
/// chat.limit(RateLimits::default().bytes(Rate::per_second(1_000_000)).over(OverLimit::HoldBack));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Events.
    pub events: Option<Rate>,
    /// Bytes of events: names, arguments as JSON, attachments.
    pub bytes: Option<Rate>,
    /// CONNECTs to namespaces, also those that are refused.
    pub connects: Option<Rate>,
    /// What becomes of input beyond them.
    pub over: OverLimit,
}

impl RateLimits {
    /// Limits events.
    #[must_use]
    pub const fn events(mut self, rate: Rate) -> Self {
        self.events = Some(rate);
        self
    }

    /// Limits the bytes of events. An event with more bytes than the burst passes if nothing else came for as
    /// long as the burst takes.
    #[must_use]
    pub const fn bytes(mut self, rate: Rate) -> Self {
        self.bytes = Some(rate);
        self
    }

    /// Limits CONNECTs to namespaces.
    #[must_use]
    pub const fn connects(mut self, rate: Rate) -> Self {
        self.connects = Some(rate);
        self
    }

    /// What becomes of input beyond the rates.
    #[must_use]
    pub const fn over(mut self, over: OverLimit) -> Self {
        self.over = over;
        self
    }

    pub(crate) fn limits_events(&self) -> bool {
        self.events.is_some() || self.bytes.is_some()
    }
}
