//! Errors: what handlers return, what emitting may meet, what building may meet.

use std::error::Error as StdError;
use std::fmt;

use switchboard_hub::HubError;
use switchboard_protocol::socketio::{ArgsError, WriteError};
use thiserror::Error as ThisError;

/// What a handler returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a handler, an extractor or a middleware did not succeed: any error, or a message, and data for the peer.
///
/// It converts from every error type, so that `?` works in handlers; which is why it is none itself. A middleware's or an `on_connect`
/// extractor's error is sent to the client as `CONNECT_ERROR` with the message and the data. Errors of event handlers are not sent: they go to
/// `on_error`.
pub struct Error(Box<Inner>);

/// Boxed, so that what handlers return is a word or two: every event's outcome is handed up through several calls.
struct Inner {
    source: Box<dyn StdError + Send + Sync>,
    data: Option<serde_json::Value>,
}

impl Error {
    /// An error with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner { source: message.into().into(), data: None }))
    }

    /// Adds the `data` of a `CONNECT_ERROR`. What does not serialise is left out, and said in the log.
    #[must_use]
    pub fn with_data(mut self, data: impl serde::Serialize) -> Self {
        self.0.data = serde_json::to_value(data)
            .inspect_err(|error| tracing::warn!(%error, "the data of an error does not serialise"))
            .ok();
        self
    }

    /// The data for the peer.
    pub fn data(&self) -> Option<&serde_json::Value> {
        self.0.data.as_ref()
    }

    /// The error it was made from, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.source.downcast_ref()
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(Inner { source: Box::new(error), data: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source.fmt(f)
    }
}

/// Why something was not sent.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is disconnected.
    #[error("the socket is disconnected")]
    Disconnected,
    /// The arguments do not serialise, or the event's name is reserved.
    #[error(transparent)]
    Arguments(#[from] WriteError),
    /// Binary for a WebSocket client that only takes text, as those of the drafts hixie-75 and -76.
    #[error("the client's WebSocket only takes text")]
    TextOnly,
    /// The hub did not take it: an inbox or the client's outbox is full.
    #[error(transparent)]
    Hub(HubError),
}

impl From<HubError> for EmitError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Gone => Self::Disconnected,
            error => Self::Hub(error),
        }
    }
}

/// Events that their handlers did not get: they waited behind a handler when their socket ended. Told to
/// [`on_error`](crate::Namespace::on_error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[non_exhaustive]
#[error("{events} events were dropped after the end of their socket: {}", match *.why {
    "time" => "the handler before them took too long",
    "full" => "too many bytes of events wait so",
    _ => "the server stopped",
})]
pub struct EventsDropped {
    /// How many.
    pub events: usize,
    /// As the label `reason` of `switchboard_events_dropped_total` has it.
    pub(crate) why: &'static str,
}

/// Why there was no acknowledgement.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The peer did not acknowledge in time.
    #[error("no acknowledgement within {0:?}")]
    Timeout(std::time::Duration),
    /// The socket was disconnected first.
    #[error("the socket was disconnected before it acknowledged")]
    Disconnected,
    /// As many acknowledgements are awaited of the socket as may be.
    #[error("{0} acknowledgements are awaited of the socket already")]
    TooMany(usize),
    /// What the peer acknowledged with is not what was asked for.
    #[error(transparent)]
    Arguments(#[from] ArgsError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::handler::Outcome;

    #[test]
    fn what_handlers_return_is_a_word_or_two() {
        assert_eq!(size_of::<Result>(), size_of::<usize>());
        assert!(size_of::<Outcome>() <= 2 * size_of::<usize>());
    }
}
