//! Users' functions: plain or async closures. Their arguments' types say what each is called with.
//!
//! Each argument is extracted by its type ([`FromEvent`], [`FromSocket`]). The return value is the
//! acknowledgement: any value that serialises, or a `Result` of one. A marker type, which the compiler
//! infers, tells these kinds of closures apart.

use std::any::type_name_of_val;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use super::extract::{EventContext, FromEvent, FromSocket, Requirements};
use crate::Error;
use crate::error::Reply;

/// The result of a handler: an acknowledgement if one is wanted, or an error.
pub type Outcome = Result<Option<Reply>, Error>;

/// A handler's future.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// The result of calling a handler: the outcome, or a future of it.
pub(crate) enum HandlerCall {
    Done(Outcome),
    Waits(Waiting),
}

/// A return value of handlers: a value that serialises, or a `Result` of one. `M` tells which.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "the return value is the acknowledgement: a type that implements `serde::Serialize`, or a `Result` of one with an error that \
            converts into `switchboard::Error` (any `std::error::Error` does)"
)]
pub trait IntoReply<M> {
    /// The acknowledgement, written if `wanted`.
    ///
    /// # Errors
    /// The handler's own error, or the error of writing.
    fn into_reply(self, wanted: bool) -> Outcome;
}

/// Marks handlers that return a value.
#[derive(Debug)]
pub struct ReturnsValue;

/// Marks handlers that return a `Result`.
#[derive(Debug)]
pub struct ReturnsResult;

impl<T: Serialize> IntoReply<ReturnsValue> for T {
    fn into_reply(self, wanted: bool) -> Outcome {
        if !wanted {
            return Ok(None);
        }
        Ok(Some(Reply::of(&self)?))
    }
}

impl<T: Serialize, E: Into<Error>> IntoReply<ReturnsResult> for Result<T, E> {
    fn into_reply(self, wanted: bool) -> Outcome {
        self.map_err(Into::into)?.into_reply(wanted)
    }
}

/// Marks plain handlers; `R` as for [`IntoReply`], `A` their arguments.
#[derive(Debug)]
pub struct Plain<R, A>(PhantomData<(R, A)>);

/// Marks handlers that return a future; `R` as for [`IntoReply`], `A` their arguments.
#[derive(Debug)]
pub struct Async<R, A>(PhantomData<(R, A)>);

/// A function that handles events: a plain or async closure of up to eight arguments that implement
/// [`FromEvent`].
///
/// A plain one runs in place. An async one holds back the further events of its own socket while it waits,
/// and those only.
///
/// ```
/// use switchboard::{Ack, Args, Data, Error, Socket, Switchboard};
///
/// # fn main() -> std::io::Result<()> {
/// let io = Switchboard::builder().workers(1).build()?;
/// let root = io.root();
/// // The return value is the acknowledgement: a value, a tuple (several arguments), nothing, or a `Result` of one.
/// root.on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
/// root.on("split", |Data(text): Data<String>| text.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())));
/// root.on("join", |socket: Socket, Data(room): Data<String>| socket.join(room));
/// root.on("parse", |Data(text): Data<String>| -> Result<i64, Error> { Ok(text.parse()?) });
/// root.on("ask", async |socket: Socket| -> switchboard::Result<String> {
///     let (name,): (String,) = socket.emit_with_ack("who are you?", ()).await?;
///     Ok(name)
/// });
/// // By hand, and untouched.
/// root.on("later", |ack: Ack, args: Args| {
///     std::thread::spawn(move || ack.send(args));
/// });
/// # Ok(())
/// # }
/// ```
///
/// An argument that is no extractor, a return value that does not serialise and a future that is not `Send`
/// are compile errors:
///
/// ```compile_fail,E0277
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// io.root().on("say", |text: String| ()); // Data(text): Data<String>
/// ```
/// ```compile_fail,E0277
/// # use switchboard::Socket;
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// struct Answer; // without #[derive(Serialize)]
/// io.root().on("ask", |_: Socket| Answer);
/// ```
/// ```compile_fail
/// # use switchboard::Socket;
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// io.root().on("wait", async |_: Socket| {
///     let here = std::rc::Rc::new(1);
///     std::future::ready(()).await;
///     drop(here);
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of events",
    label = "not a handler",
    note = "a handler is a closure or function, plain or async, of up to eight arguments, whose types are written out",
    note = "arguments: each implements `switchboard::FromEvent`, such as `Socket`, `Data<T>` (the event's data as a `T`), `Args`, `Ack`, \
            `Event`, `Auth<T>`, `State<T>`, `Extension<T>`, `Handshake`, `Namespace`, `Switchboard`",
    note = "return value: the acknowledgement, which implements `serde::Serialize`, or a `Result` of one with an error that converts into \
            `switchboard::Error`; a handler that never returns says `-> ()`",
    note = "where `?` is used the closure says what it returns: `|...| -> switchboard::Result {{ ... }}`",
    note = "`switchboard::handler!(|...| ...)` around a closure tells which argument it is",
    note = "async: its future is `Send`, so what is not (an `Rc`, the guard of a lock) must not be held over an `.await`"
)]
pub trait EventHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, context: &EventContext<'_>) -> CalledOutcome;

    /// The values that its arguments need, and that the server must have been given before.
    #[doc(hidden)]
    fn requirements(&self) -> Requirements;
}

/// The opaque outcome of a call.
#[doc(hidden)]
pub struct CalledOutcome(pub(crate) HandlerCall);

/// A function that is called when a socket connects or disconnects: a plain or async closure of up to eight
/// arguments that implement [`FromSocket<C>`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called here",
    label = "not a handler",
    note = "a handler is a closure or function, plain or async, of up to eight arguments, whose types are written out",
    note = "arguments: each implements `switchboard::FromSocket`, such as `Socket`, `Auth<T>`, `State<T>`, `Handshake`, and in `on_disconnect` \
            `DisconnectReason`; `Data<T>` comes with events only",
    note = "return value: nothing, or a `Result` with an error that converts into `switchboard::Error`; a handler that never returns says \
            `-> ()`",
    note = "where `?` is used the closure says what it returns: `|...| -> switchboard::Result {{ ... }}`",
    note = "`switchboard::handler!(on_connect: |...| ...)` around a closure tells which argument it is",
    note = "async: its future is `Send`, so what is not (an `Rc`, the guard of a lock) must not be held over an `.await`"
)]
pub trait SocketHandler<C, M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn extract(&self, context: &C) -> Result<Extracted, Error>;

    /// The values that its arguments need, and that the server must have been given before.
    #[doc(hidden)]
    fn requirements(&self) -> Requirements;
}

/// A context that handlers are called with: [`Connecting`](crate::Connecting),
/// [`Disconnected`](crate::Disconnected), [`ServerEvent`](crate::ServerEvent).
#[doc(hidden)]
pub trait HandlerContext {
    /// Whether the handler's return value is awaited.
    fn wants_reply(&self) -> bool {
        false
    }
}

/// A handler with its arguments, to be called.
#[doc(hidden)]
pub struct Extracted(pub(crate) Box<dyn FnOnce() -> HandlerCall + Send>);

/// The compiler's message for a handler that would read the first argument twice.
const TWO_DATA: &str = "a handler has one `Data<...>` only, which is the whole argument list: `Data((a, b)): Data<(A, B)>` reads two arguments";

/// Binds each argument's name to what its extractor takes from the event. Where one fails, its error is the
/// outcome of the call.
macro_rules! extract {
    ($context:ident, $($argument:ident)*) => {
        const { assert!(2 > 0 $(+ $argument::IS_DATA as usize)*, "{}", TWO_DATA) };
        if !(false $(|| $argument::READS_DATA)*)
            && let Err(error) = $context.check_data()
        {
            return CalledOutcome(HandlerCall::Done(Err(error)));
        }
        let asked = $context.ack.get();
        $(let $argument = match $argument::from_event($context) {
            Ok(argument) => argument,
            Err(error) => {
                // An `Ack` among the arguments before is dropped unused: an error may answer instead.
                $context.ack.set(asked);
                return CalledOutcome(HandlerCall::Done(Err(error)));
            }
        };)*
    };
}

macro_rules! handlers {
    ($($argument:ident)*) => {
        impl<F, R, M, $($argument),*> EventHandler<Plain<M, ($($argument,)*)>> for F
        where
            F: Fn($($argument),*) -> R + Send + Sync + 'static,
            R: IntoReply<M>,
            $($argument: FromEvent,)*
        {
            #[inline]
            #[allow(non_snake_case, unused_variables, reason = "one identifier serves as type and variable")]
            fn call(&self, context: &EventContext<'_>) -> CalledOutcome {
                extract!(context, $($argument)*);
                let returned = self($($argument),*);
                CalledOutcome(HandlerCall::Done(returned.into_reply(context.wants_reply())))
            }

            fn requirements(&self) -> Requirements {
                Requirements::default()$(.and($argument::require))*
            }
        }

        impl<F, Fut, R, M, $($argument),*> EventHandler<Async<M, ($($argument,)*)>> for F
        where
            F: FnOnce($($argument),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoReply<M>,
            $($argument: FromEvent,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "one identifier serves as type and variable")]
            fn call(&self, context: &EventContext<'_>) -> CalledOutcome {
                extract!(context, $($argument)*);
                let future = self.clone()($($argument),*);
                let wanted = context.wants_reply();
                CalledOutcome(HandlerCall::Waits(Box::pin(async move { future.await.into_reply(wanted) })))
            }

            fn requirements(&self) -> Requirements {
                Requirements::default()$(.and($argument::require))*
            }
        }

        impl<C, F, R, M, $($argument),*> SocketHandler<C, Plain<M, ($($argument,)*)>> for F
        where
            C: HandlerContext,
            F: Fn($($argument),*) -> R + Clone + Send + Sync + 'static,
            R: IntoReply<M>,
            $($argument: FromSocket<C> + Send + 'static,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "one identifier serves as type and variable")]
            fn extract(&self, context: &C) -> Result<Extracted, Error> {
                $(let $argument = $argument::from_socket(context)?;)*
                let (function, wanted) = (self.clone(), context.wants_reply());
                Ok(Extracted(Box::new(move || HandlerCall::Done(function($($argument),*).into_reply(wanted)))))
            }

            fn requirements(&self) -> Requirements {
                Requirements::default()$(.and(<$argument as FromSocket<C>>::require))*
            }
        }

        impl<C, F, Fut, R, M, $($argument),*> SocketHandler<C, Async<M, ($($argument,)*)>> for F
        where
            C: HandlerContext,
            F: FnOnce($($argument),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoReply<M>,
            $($argument: FromSocket<C> + Send + 'static,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "one identifier serves as type and variable")]
            fn extract(&self, context: &C) -> Result<Extracted, Error> {
                $(let $argument = $argument::from_socket(context)?;)*
                let (function, wanted) = (self.clone(), context.wants_reply());
                Ok(Extracted(Box::new(move || {
                    let future = function($($argument),*);
                    HandlerCall::Waits(Box::pin(async move { future.await.into_reply(wanted) }))
                })))
            }

            fn requirements(&self) -> Requirements {
                Requirements::default()$(.and(<$argument as FromSocket<C>>::require))*
            }
        }
    };
}

handlers!();
handlers!(A1);
handlers!(A1 A2);
handlers!(A1 A2 A3);
handlers!(A1 A2 A3 A4);
handlers!(A1 A2 A3 A4 A5);
handlers!(A1 A2 A3 A4 A5 A6);
handlers!(A1 A2 A3 A4 A5 A6 A7);
handlers!(A1 A2 A3 A4 A5 A6 A7 A8);

/// A handler of events, without its type.
pub(crate) type AnyEventHandler = Arc<dyn CallEvent>;

/// A handler of a socket's connect or disconnect, without its type.
pub(crate) type AnySocketHandler<C> = Arc<dyn CallSocket<C>>;

pub(crate) trait CallEvent: Send + Sync {
    fn call(&self, context: &EventContext<'_>) -> HandlerCall;

    /// The name of the handler's type, which names the function that a closure stands in.
    fn type_name(&self) -> &'static str;
}

pub(crate) trait CallSocket<C>: Send + Sync {
    fn extract(&self, context: &C) -> Result<Extracted, Error>;

    /// As [`CallEvent::type_name`].
    fn type_name(&self) -> &'static str;
}

/// A handler as a function of its context, with the name of its type.
struct Named<F> {
    name: &'static str,
    function: F,
}

impl<F: Fn(&EventContext<'_>) -> HandlerCall + Send + Sync> CallEvent for Named<F> {
    fn call(&self, context: &EventContext<'_>) -> HandlerCall {
        (self.function)(context)
    }

    fn type_name(&self) -> &'static str {
        self.name
    }
}

impl<C, F: Fn(&C) -> Result<Extracted, Error> + Send + Sync> CallSocket<C> for Named<F> {
    fn extract(&self, context: &C) -> Result<Extracted, Error> {
        (self.function)(context)
    }

    fn type_name(&self) -> &'static str {
        self.name
    }
}

pub(crate) fn event_handler<M>(handler: impl EventHandler<M>) -> AnyEventHandler {
    let name = type_name_of_val(&handler);
    Arc::new(Named { name, function: move |context: &EventContext<'_>| handler.call(context).0 })
}

pub(crate) fn socket_handler<C, M>(handler: impl SocketHandler<C, M>) -> AnySocketHandler<C> {
    let name = type_name_of_val(&handler);
    Arc::new(Named { name, function: move |context: &C| handler.extract(context) })
}
