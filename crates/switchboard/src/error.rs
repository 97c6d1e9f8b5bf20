//! The errors of handlers, of emitting, and of acknowledgements.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use switchboard_hub::HubError;
use switchboard_protocol::socketio::{ArgsError, WriteError, write_args};
use thiserror::Error as ThisError;

/// The result of a handler.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// An error of a handler, an extractor or a middleware. It is a message for the client, or any other error.
///
/// Every error type converts into it, so `?` works in handlers. (For that reason it does not implement
/// `std::error::Error` itself.) **There are two ways to make one, and clients see them differently**:
///
/// - [`Error::new`] takes a message for the client. If a middleware or an extractor of `on_connect` returns
///   it, the client gets the message in its `connect_error`.
/// - An error that `?` converted is internal: its text may name files, hosts and types. The client sees
///   `internal error`, and the text goes to the log.
///
/// [Data](Self::with_data) and a [reply](Self::with_reply) always go to the client. An error of an event
/// handler goes to [`on_error`](crate::Namespace::on_error). The client sees only its reply, if it has one.
///
/// ```
/// use switchboard::{Data, Error, Namespace};
///
/// fn handlers(files: &Namespace) {
///     files.on("read", async |Data(name): Data<String>| -> switchboard::Result<String> {
///         if name.contains('/') {
///             return Err(Error::new("no such file").with_reply(("error", "no such file")));
///         }
///         // If this fails, the client gets no answer, unless the namespace has `on_error_reply`.
///         Ok(tokio::task::spawn_blocking(move || std::fs::read_to_string(name)).await??)
///     });
/// }
/// # let io = switchboard::Switchboard::builder().workers(1).build().unwrap();
/// # handlers(&io.root());
/// ```
pub struct Error(Box<Inner>);

/// Boxed, so that a handler's result is one or two words: it is returned through several calls.
#[derive(Default)]
struct Inner {
    /// A message for the client.
    message: Option<Box<str>>,
    /// A text for the log.
    source: Option<Box<dyn StdError + Send + Sync>>,
    data: Option<serde_json::Value>,
    reply: Option<Reply>,
    /// The type that the handler asked for, if the client's data did not fit it.
    wanted: Option<&'static str>,
}

/// The arguments of an acknowledgement, as JSON.
#[derive(Debug)]
pub struct Reply(Box<Written>);

/// Boxed, because most results have no reply.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) json: Vec<u8>,
    pub(crate) attachments: Vec<Bytes>,
}

impl Reply {
    pub(crate) fn of<T: Serialize>(args: &T) -> std::result::Result<Self, WriteError> {
        let (mut json, mut attachments) = (Vec::new(), Vec::new());
        write_args(&mut json, &mut attachments, None, args)?;
        Ok(Self(Box::new(Written { json, attachments })))
    }

    pub(crate) fn written(&self) -> &Written {
        &self.0
    }
}

/// The message that clients see in place of an internal error's text.
const INTERNAL: &str = "internal error";

impl Error {
    /// An error with a message for the client.
    pub fn new(message: impl Into<String>) -> Self {
        let message = Some(message.into().into_boxed_str());
        Self(Box::new(Inner { message, ..Inner::default() }))
    }

    /// An error with a text only for the log.
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        let source = Some(text.into().into());
        Self(Box::new(Inner { source, ..Inner::default() }))
    }

    /// Adds the error that caused this one. It goes to the log, not to the client.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the `data` of a `CONNECT_ERROR`. A value that does not serialise is left out and logged.
    #[must_use]
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        self.0.data = serde_json::to_value(data)
            .inspect_err(|error| tracing::warn!(%error, "the data of an error does not serialise"))
            .ok();
        self
    }

    /// Adds the acknowledgement that the client gets if it asked for one. An error of an event's handler or
    /// middleware is then an answer, not a time-out. A tuple is the argument list; any other value is one
    /// argument. A value that does not serialise is left out and logged.
    /// [`on_error_reply`](crate::Namespace::on_error_reply) makes a reply for all errors of a namespace.
    #[must_use]
    pub fn with_reply(mut self, args: impl Serialize) -> Self {
        self.0.reply = Reply::of(&args)
            .inspect_err(|error| tracing::warn!(%error, "the reply of an error does not serialise"))
            .ok();
        self
    }

    /// Names the type that the client's data did not fit.
    pub(crate) fn wanted_by<T>(mut self) -> Self {
        self.0.wanted = Some(std::any::type_name::<T>());
        self
    }

    /// The message that clients see: the message of [`Error::new`], or `internal error`.
    pub fn public_message(&self) -> &str {
        self.0.message.as_deref().unwrap_or(INTERNAL)
    }

    /// Whether the error has a message for the client.
    pub(crate) fn is_public(&self) -> bool {
        self.0.message.is_some()
    }

    /// The data for the client.
    pub fn data(&self) -> Option<&serde_json::Value> {
        self.0.data.as_ref()
    }

    /// The type that a handler asked for and that the client's data did not fit, such as the `T` of
    /// `Data<T>`. `None` for all other errors.
    pub fn wanted_type(&self) -> Option<&'static str> {
        self.0.wanted
    }

    pub(crate) fn take_reply(&mut self) -> Option<Reply> {
        self.0.reply.take()
    }

    /// The error that caused this one.
    pub fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }

    /// The error that caused this one, if it is of type `T`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.source()?.downcast_ref()
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(Inner { source: Some(Box::new(error)), ..Inner::default() }))
    }
}

/// The message and the text of the cause. This is for logs, not for clients.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.message, &self.0.source) {
            (Some(message), Some(source)) => write!(f, "{message}: {source}"),
            (Some(message), None) => f.write_str(message),
            (None, Some(source)) => source.fmt(f),
            (None, None) => f.write_str(INTERNAL),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The reason why an event was not sent.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is disconnected.
    #[error("the socket is disconnected")]
    Disconnected,
    /// The arguments do not serialise, or the event's name is reserved.
    #[error(transparent)]
    Arguments(#[from] WriteError),
    /// The event has binary data, and the client takes only text, as clients of the drafts hixie-75 and -76
    /// do.
    #[error("the client's WebSocket only takes text")]
    TextOnly,
    /// The hub refused the event: an inbox or the client's outbox is full.
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

/// Events that no handler got, because the socket ended while they waited for an earlier handler. They are
/// reported to [`on_error`](crate::Namespace::on_error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[non_exhaustive]
#[error("{events} events were dropped after the end of their socket: {}", match *.why {
    "time" => "the handler before them took too long",
    "full" => "too many bytes of events wait so",
    _ => "the server stopped",
})]
pub struct EventsDropped {
    /// The number of events.
    pub events: usize,
    /// The label `reason` of `switchboard_events_dropped_total`.
    pub(crate) why: &'static str,
}

/// The reason for a missing acknowledgement.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client did not acknowledge in time.
    #[error("no acknowledgement within {0:?}")]
    Timeout(std::time::Duration),
    /// The socket was disconnected before the acknowledgement came.
    #[error("the socket was disconnected before it acknowledged")]
    Disconnected,
    /// The socket already awaits the greatest allowed number of acknowledgements.
    #[error("{0} acknowledgements are awaited of the socket already")]
    TooMany(usize),
    /// The arguments of the acknowledgement do not fit the type that was asked for.
    #[error(transparent)]
    Arguments(#[from] ArgsError),
    /// The handler of another node's server failed with this error.
    #[error("the handler of another node failed: {0}")]
    Failed(String),
}

/// Checks that an option (a size or a time) is not zero.
///
/// # Errors
/// A message that names the option.
pub(crate) fn more_than_nothing(what: &str, is_more: bool) -> Result<(), String> {
    if is_more { Ok(()) } else { Err(format!("`{what}` must be greater than zero")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::handler::Outcome;

    #[test]
    fn the_result_of_a_handler_is_a_word_or_two() {
        assert_eq!(size_of::<Result>(), size_of::<usize>());
        assert!(size_of::<Outcome>() <= 2 * size_of::<usize>());
    }

    #[test]
    fn clients_see_only_the_texts_meant_for_them() {
        let io = || std::io::Error::other("/etc/secret: permission denied");
        let cases = [
            (Error::new("no such room"), "no such room", "no such room"),
            (Error::from(io()), "internal error", "/etc/secret: permission denied"),
            (
                Error::new("try later").with_source(io()),
                "try later",
                "try later: /etc/secret: permission denied",
            ),
            (Error::internal("no state"), "internal error", "no state"),
            (
                Error::from(io()).with_data("x").with_reply(1),
                "internal error",
                "/etc/secret: permission denied",
            ),
        ];
        for (error, public, logged) in cases {
            assert_eq!((error.public_message(), &*error.to_string()), (public, logged));
        }
        assert!(Error::new("try later").with_source(io()).downcast_ref::<std::io::Error>().is_some());
    }
}
