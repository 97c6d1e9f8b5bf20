//! Extractors: the types that arguments of handlers may have.

use std::any::{TypeId, type_name};
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use switchboard_hub::Worker;
use switchboard_protocol::socketio::{Args, from_args_within, validate_within};

use super::handler::HandlerContext;
use super::local::LocalSocket;
use super::namespace::{Namespace, NamespaceInner};
use super::socket::Socket;
use crate::error::Reply;
use crate::handshake::Handshake;
use crate::{DisconnectReason, EmitError, Error};

/// An event, for extractors.
pub struct EventContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) event: &'a str,
    /// `["event",argument,…]`, and where the arguments begin.
    pub(crate) data: &'a str,
    pub(crate) offset: usize,
    pub(crate) attachments: &'a [Bytes],
    /// The number of the acknowledgement that the client asks for, until an [`Ack`] takes it.
    pub(crate) ack: Cell<Option<u64>>,
}

impl std::fmt::Debug for EventContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventContext")
            .field("event", &self.event)
            .field("ack", &self.ack)
            .finish_non_exhaustive()
    }
}

impl EventContext<'_> {
    /// The event's name.
    pub fn event(&self) -> &str {
        self.event
    }

    /// The socket it came from.
    pub fn socket(&self) -> &Socket {
        self.socket
    }

    /// Checks the syntax of the data and its attachments.
    pub(crate) fn check_data(&self) -> Result<(), Error> {
        Ok(validate_within(self.data, self.attachments, self.max_depth())?)
    }

    fn max_depth(&self) -> usize {
        self.socket.shared.namespace.options.packets.max_depth
    }

    pub(crate) fn wants_reply(&self) -> bool {
        self.ack.get().is_some()
    }
}

/// The values that a handler's arguments need: the types of [`State`]s, with their names.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Requirements {
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl Requirements {
    pub(crate) fn and(mut self, require: fn(&mut Self)) -> Self {
        require(&mut self);
        self
    }
}

/// A type that arguments of event handlers may have.
#[diagnostic::on_unimplemented(
    message = "a handler of events cannot have an argument of type `{Self}`",
    note = "wrap the event's data in `Data<...>`; other arguments are `Socket`, `Args`, `Ack`, `Event`, `Auth<T>`, `State<T>`, `Handshake`, \
            `Namespace`, `Switchboard`",
    note = "the type in `Data<...>` owns what it holds and implements `serde::Deserialize`: `Data<String>`, not `Data<&str>`"
)]
pub trait FromEvent: Sized {
    /// Whether it reads the event's data, and so finds malformed JSON. Where no argument does, the data is
    /// checked before the handler is called.
    #[doc(hidden)]
    const READS_DATA: bool = false;

    /// Whether it is [`Data`]: a handler has one.
    #[doc(hidden)]
    const IS_DATA: bool = false;

    /// Notes the values that it needs.
    #[doc(hidden)]
    fn require(_: &mut Requirements) {}

    /// Takes it from the event.
    ///
    /// # Errors
    /// The error goes to `on_error`, and the handler is not called.
    fn from_event(context: &EventContext<'_>) -> Result<Self, Error>;
}

/// A socket that connects, for extractors of `on_connect` and of middleware.
#[derive(Debug)]
pub struct Connecting {
    pub(crate) socket: Socket,
}

/// A socket that was disconnected, for extractors of `on_disconnect`.
#[derive(Debug)]
pub struct Disconnected {
    pub(crate) socket: Socket,
    pub(crate) reason: DisconnectReason,
}

impl HandlerContext for Connecting {}

impl HandlerContext for Disconnected {}

/// A context that has a socket.
pub trait HasSocket {
    /// The socket.
    fn socket(&self) -> &Socket;
}

impl HasSocket for Connecting {
    fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl HasSocket for Disconnected {
    fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// A type that arguments of `on_connect`, `on_disconnect` and middleware may have.
#[diagnostic::on_unimplemented(
    message = "a handler cannot have an argument of type `{Self}` here",
    note = "arguments are `Socket`, `Auth<T>`, `State<T>` and `Handshake`; `DisconnectReason` in `on_disconnect`; `Data<T>` comes with events only"
)]
pub trait FromSocket<C>: Sized {
    /// Notes the values that it needs.
    #[doc(hidden)]
    fn require(_: &mut Requirements) {}

    /// Takes it from the socket.
    ///
    /// # Errors
    /// In `on_connect` and middleware the client gets a `CONNECT_ERROR`, with the error's message where it
    /// was made by [`Error::new`].
    fn from_socket(context: &C) -> Result<Self, Error>;
}

impl FromEvent for Socket {
    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, Error> {
        Ok(context.socket.clone())
    }
}

/// The event's data, read with serde: a tuple is the argument list, anything else the one argument.
///
/// - A handler has one `Data`, which is the whole list. `Data((a, b)): Data<(A, B)>` reads two arguments; a
///   second `Data` would read the first argument again, and does not compile.
/// - The type owns what it holds: `Data<String>`, not `Data<&str>`.
/// - Arguments that are missing are `None` where the type is an `Option`. Further ones are ignored.
/// - Binary data is [`Binary`](crate::Binary), anywhere in the type. `Vec<u8>` is a list of numbers.
/// - Half of a surrogate pair, which JavaScript's strings may hold and Rust's may not (an emoji that was cut
///   in two), becomes `U+FFFD`.
///
/// Data that is not a `T` goes to [`on_error`](crate::Namespace::on_error), and the handler is not called.
/// Without `on_error` the first of each kind is a warning in the log; further ones are logged at the level
/// `debug`, as any client can cause them.
///
/// ```compile_fail
/// # use switchboard::Data;
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// io.root().on("sum", |Data(a): Data<i64>, Data(b): Data<i64>| a + b); // Data((a, b)): Data<(i64, i64)>
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromEvent for Data<T> {
    const READS_DATA: bool = true;
    const IS_DATA: bool = true;

    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, Error> {
        let depth = context.max_depth();
        match from_args_within(context.data, context.offset, context.attachments, depth) {
            Ok(data) => Ok(Self(data)),
            Err(error) => Err(Error::from(error).wanted_by::<T>()),
        }
    }
}

impl FromEvent for Args {
    const READS_DATA: bool = true;

    fn from_event(context: &EventContext<'_>) -> Result<Self, Error> {
        Ok(Args::parse_within(
            context.data,
            context.offset,
            context.attachments.to_vec(),
            context.max_depth(),
        )?)
    }
}

/// The event's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event(pub String);

impl FromEvent for Event {
    fn from_event(context: &EventContext<'_>) -> Result<Self, Error> {
        Ok(Self(context.event.to_owned()))
    }
}

/// The acknowledgement, to be sent by hand: at any time, once. The handler's return value is not sent then.
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
}

impl Ack {
    /// Whether the client asked for it.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Sends the acknowledgement, if the client asked for one.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send<T: Serialize>(self, args: T) -> Result<(), EmitError> {
        let Some(id) = self.id else { return Ok(()) };
        let reply = Reply::of(&args)?;
        self.socket.on_worker(move |worker: &std::rc::Rc<Worker>, local: &LocalSocket| {
            local.send_ack(worker, id, &reply)
        })
    }
}

impl FromEvent for Ack {
    fn from_event(context: &EventContext<'_>) -> Result<Self, Error> {
        Ok(Self { socket: context.socket.clone(), id: context.ack.take() })
    }
}

/// The client's `auth`, by which it authenticates itself, read with serde; `{}` where it sent none. A client
/// whose `auth` is not a `T` sees `invalid auth`, and the log has the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned> Auth<T> {
    fn of(socket: &Socket) -> Result<Self, Error> {
        serde_json::from_str(socket.auth())
            .map(Self)
            .map_err(|error| Error::new("invalid auth").with_source(error).wanted_by::<T>())
    }
}

/// The value of this type that was given to [`Builder::state`](crate::Builder::state) or
/// [`Switchboard::state`](crate::Switchboard::state).
///
/// Where none was given, the log has an error as soon as the handler is registered. A call of the handler
/// fails, and clients see `internal error`. (axum has an extractor of the same name: a module that uses both
/// imports one of them under another name.)
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> std::ops::Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> State<T> {
    pub(super) fn require(requirements: &mut Requirements) {
        requirements.states.push((TypeId::of::<T>(), type_name::<T>()));
    }

    fn of(socket: &Socket) -> Result<Self, Error> {
        Self::of_namespace(&socket.shared.namespace)
    }

    pub(super) fn of_namespace(namespace: &NamespaceInner) -> Result<Self, Error> {
        namespace.states.get().map(Self).ok_or_else(|| {
            Error::internal(format!("no state of type {} was given to the server", type_name::<T>()))
        })
    }
}

/// The value of this type that [`allow_request`](crate::Builder::allow_request) gave the session. Where it
/// gave none, the call is an error in the log, and clients see `internal error`. (axum has an extractor of
/// the same name.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extension<T>(pub T);

impl<T: Clone + Send + Sync + 'static> Extension<T> {
    fn of(socket: &Socket) -> Result<Self, Error> {
        let value = socket.handshake().extension::<T>().cloned();
        value.map(Self).ok_or_else(|| {
            Error::internal(format!("`allow_request` gave the session no {}", type_name::<T>()))
        })
    }
}

impl<C: HasSocket> FromSocket<C> for Socket {
    fn from_socket(context: &C) -> Result<Self, Error> {
        Ok(context.socket().clone())
    }
}

impl FromSocket<Disconnected> for DisconnectReason {
    fn from_socket(context: &Disconnected) -> Result<Self, Error> {
        Ok(context.reason)
    }
}

/// Implements both traits for types that need the socket alone.
macro_rules! from_socket_alone {
    ($([$($generics:tt)*] $type:ty => $take:expr $(, requires $require:expr)?;)*) => {$(
        impl<$($generics)*> FromEvent for $type {
            $(fn require(requirements: &mut Requirements) {
                let require: fn(&mut Requirements) = $require;
                require(requirements);
            })?

            fn from_event(context: &EventContext<'_>) -> Result<Self, Error> {
                let take: fn(&Socket) -> Result<Self, Error> = $take;
                take(context.socket)
            }
        }

        impl<C: HasSocket, $($generics)*> FromSocket<C> for $type {
            $(fn require(requirements: &mut Requirements) {
                let require: fn(&mut Requirements) = $require;
                require(requirements);
            })?

            fn from_socket(context: &C) -> Result<Self, Error> {
                let take: fn(&Socket) -> Result<Self, Error> = $take;
                take(context.socket())
            }
        }
    )*};
}

from_socket_alone! {
    [T: DeserializeOwned] Auth<T> => Self::of;
    [T: Clone + Send + Sync + 'static] Extension<T> => Self::of;
    [T: Send + Sync + 'static] State<T> => Self::of, requires Self::require;
    [] Handshake => |socket| Ok(socket.handshake().clone());
    [] Namespace => |socket| Ok(socket.namespace());
}
