//! The functions that users give: how they are called, and those of a service of plain messages.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;

use crate::Result;
use crate::message::{IntoResult, Message};

type OnConnect<S> = Arc<dyn Fn(&S) -> Result + Send + Sync>;
type OnMessage<S> = Arc<dyn Fn(&S, Message<'_>) -> Result + Send + Sync>;
type OnClose<S, E> = Arc<dyn Fn(&S, E) + Send + Sync>;

/// The functions of a service with clients of type `S`; `E` is the reason why a client's connection ended.
pub(crate) struct Functions<S, E> {
    connect: Option<OnConnect<S>>,
    message: Option<OnMessage<S>>,
    close: Option<OnClose<S, E>>,
}

impl<S, E> Clone for Functions<S, E> {
    fn clone(&self) -> Self {
        Self { connect: self.connect.clone(), message: self.message.clone(), close: self.close.clone() }
    }
}

impl<S, E> Default for Functions<S, E> {
    fn default() -> Self {
        Self { connect: None, message: None, close: None }
    }
}

impl<S, E> Functions<S, E> {
    /// With another function for clients that have connected.
    pub(crate) fn with_connect<R: IntoResult>(
        function: impl Fn(&S) -> R + Send + Sync + 'static,
    ) -> impl Fn(&mut Self) {
        let function: OnConnect<S> = Arc::new(move |socket| function(socket).into_result());
        move |functions| functions.connect = Some(Arc::clone(&function))
    }

    /// With another function for messages.
    pub(crate) fn with_message<R: IntoResult>(
        function: impl Fn(&S, Message<'_>) -> R + Send + Sync + 'static,
    ) -> impl Fn(&mut Self) {
        let function: OnMessage<S> = Arc::new(move |socket, message| function(socket, message).into_result());
        move |functions| functions.message = Some(Arc::clone(&function))
    }

    /// With another function for clients that have gone.
    pub(crate) fn with_close(function: impl Fn(&S, E) + Send + Sync + 'static) -> impl Fn(&mut Self) {
        let function: OnClose<S, E> = Arc::new(function);
        move |functions| functions.close = Some(Arc::clone(&function))
    }

    pub(crate) fn on_connect(&self, socket: &S) -> Result {
        self.connect.as_ref().map_or(Ok(()), |connect| connect(socket))
    }

    /// `None`: there is no function for messages.
    #[inline]
    pub(crate) fn on_message(&self, socket: &S, message: Message<'_>) -> Option<Result> {
        self.message.as_ref().map(|on_message| on_message(socket, message))
    }

    pub(crate) fn on_close(&self, socket: &S, end: E) {
        if let Some(close) = &self.close {
            close(socket, end);
        }
    }
}

/// Replaces a value as a whole, so that reading it takes no lock. `change` may be called more than once.
pub(crate) fn replace<T: Clone>(value: &ArcSwap<T>, change: impl Fn(&mut T)) {
    value.rcu(|value| {
        let mut value = T::clone(value);
        change(&mut value);
        value
    });
}

/// Calls a user's function; `None` where it panicked, which is logged and counted.
#[inline]
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = caught(call);
    if result.is_none() {
        tracing::error!("a function of the server's user panicked");
    }
    result
}

/// Calls a user's function; `None` where it panicked, which is counted, for the caller to log.
#[inline]
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        count_panic();
    }
    result.ok()
}

/// Awaits a user's future; `None` where it panicked, as [`caught`] has it.
pub(crate) async fn caught_future<F: Future + Unpin>(mut waiting: F) -> Option<F::Output> {
    poll_fn(|cx| poll_caught(&mut waiting, cx)).await
}

/// Polls a user's future; `None` where it panicked, as [`caught`] has it.
pub(crate) fn poll_caught<F: Future + Unpin>(
    waiting: &mut F,
    cx: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    catch_unwind(AssertUnwindSafe(|| Pin::new(waiting).poll(cx))).map_or_else(
        |_panic| {
            count_panic();
            Poll::Ready(None)
        },
        |polled| polled.map(Some),
    )
}

#[cold]
fn count_panic() {
    metrics::counter!("switchboard_handler_panics_total").increment(1);
}
