//! A check of handlers whose errors name the argument that is wrong.

use crate::api::extract::{FromEvent, FromSocket};
use crate::api::handler::IntoReply;

/// A handler of events, checked argument by argument: the same closure, with better errors where it does not
/// compile.
///
/// `on` says of a closure that is no handler what may be wrong with it, and not which of its arguments is.
/// Around the closure, this macro says it. It costs nothing, and may stay. `handler!(on_connect: …)` and
/// `handler!(on_disconnect: …)` check the handlers of those and, the first of them, `middleware`.
///
/// It takes closures, plain or async, whose arguments have their types written out; a plain closure that
/// returns a future is none of them.
///
/// ```
/// use switchboard::{Data, DisconnectReason, Socket, Switchboard, handler};
///
/// # fn main() -> std::io::Result<()> {
/// # let io = Switchboard::builder().workers(1).build()?;
/// let chat = io.of("/chat");
/// chat.on_connect(handler!(on_connect: |socket: Socket| socket.join("lobby")));
/// chat.on("say", handler!(|socket: Socket, Data(text): Data<String>| socket.to("lobby").emit("said", text)));
/// chat.on("sum", handler!(async move |Data((a, b)): Data<(i64, i64)>| -> switchboard::Result<i64> { Ok(a + b) }));
/// chat.on_disconnect(handler!(on_disconnect: |reason: DisconnectReason| println!("{reason}")));
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # use switchboard::{Socket, handler};
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// io.root().on("say", handler!(|socket: Socket, text: String| drop((socket, text))));
/// // error: a handler of events cannot have an argument of type `String`
/// ```
/// ```compile_fail,E0277
/// # use switchboard::handler;
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// struct Answer; // without #[derive(Serialize)]
/// io.root().on("ask", handler!(|| Answer));
/// // error: a handler cannot return `Answer`
/// ```
/// ```compile_fail
/// # use switchboard::handler;
/// # let io = switchboard::Switchboard::builder().build().unwrap();
/// io.root().on("wait", handler!(async || {
///     let here = std::rc::Rc::new(1);
///     std::future::ready(()).await;
///     drop(here);
/// }));
/// // error: future cannot be sent between threads safely
/// ```
#[macro_export]
macro_rules! handler {
    (on_connect: $($closure:tt)+) => {
        $crate::__check_handler!([connecting] [$($closure)+] $($closure)+)
    };
    (on_disconnect: $($closure:tt)+) => {
        $crate::__check_handler!([disconnected] [$($closure)+] $($closure)+)
    };
    ($($closure:tt)+) => {
        $crate::__check_handler!([event] [$($closure)+] $($closure)+)
    };
}

/// Finds the types of a closure's arguments: it looks for `: type` behind each pattern.
#[doc(hidden)]
#[macro_export]
macro_rules! __check_handler {
    // The modifiers and the bar before the arguments.
    ([$of:ident] $all:tt async move $($rest:tt)+) => { $crate::__check_handler!(@bar [$of] $all [future] $($rest)+) };
    ([$of:ident] $all:tt async $($rest:tt)+) => { $crate::__check_handler!(@bar [$of] $all [future] $($rest)+) };
    ([$of:ident] $all:tt move $($rest:tt)+) => { $crate::__check_handler!(@bar [$of] $all [value] $($rest)+) };
    ([$of:ident] $all:tt $($rest:tt)+) => { $crate::__check_handler!(@bar [$of] $all [value] $($rest)+) };
    (@bar $of:tt $all:tt $returned:tt || $($rest:tt)+) => { $crate::__check_handler!(@check $of $all $returned []) };
    (@bar $of:tt $all:tt $returned:tt | $($rest:tt)+) => {
        $crate::__check_handler!(@scan $of $all $returned [] $($rest)+)
    };
    // One argument after the other.
    (@scan $of:tt $all:tt $returned:tt [$($types:ty,)*] | $($rest:tt)+) => {
        $crate::__check_handler!(@check $of $all $returned [$($types,)*])
    };
    (@scan $of:tt $all:tt $returned:tt [$($types:ty,)*] : $type:ty, $($rest:tt)+) => {
        $crate::__check_handler!(@scan $of $all $returned [$($types,)* $type,] $($rest)+)
    };
    (@scan $of:tt $all:tt $returned:tt [$($types:ty,)*] : $type:ty | $($rest:tt)+) => {
        $crate::__check_handler!(@check $of $all $returned [$($types,)* $type,])
    };
    (@scan $of:tt $all:tt $returned:tt $types:tt $pattern:tt $($rest:tt)+) => {
        $crate::__check_handler!(@scan $of $all $returned $types $($rest)+)
    };
    // Each type, then what the closure returns; the call of it is never made.
    (@check [$of:ident] [$($closure:tt)+] [value] [$($types:ty,)*]) => {{
        $( $crate::__check::$of::<$types>(); )*
        let handler = $($closure)+;
        let _never_called = || $crate::__check::value(handler($($crate::__check::argument::<$types>()),*));
        handler
    }};
    (@check [$of:ident] [$($closure:tt)+] [future] [$($types:ty,)*]) => {{
        $( $crate::__check::$of::<$types>(); )*
        let handler = $($closure)+;
        let _never_called = || {
            let handler = ::core::clone::Clone::clone(&handler);
            $crate::__check::future(handler($($crate::__check::argument::<$types>()),*))
        };
        handler
    }};
}

/// What the macro asks of types.
#[doc(hidden)]
pub mod __check {
    use super::{FromEvent, FromSocket, IntoReply};
    use crate::{Connecting, Disconnected};

    pub const fn event<T: FromEvent>() {}
    pub const fn connecting<T: FromSocket<Connecting>>() {}
    pub const fn disconnected<T: FromSocket<Disconnected>>() {}
    pub fn value<M, R: IntoReply<M>>(_: R) {}
    pub fn future<M, R: IntoReply<M>>(_: impl Future<Output = R> + Send) {}

    /// An argument for a call that is never made.
    pub fn argument<T>() -> T {
        unreachable!("handlers are checked without a call")
    }
}
