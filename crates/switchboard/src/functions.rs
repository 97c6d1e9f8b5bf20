//! How the library calls the functions that users give.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Calls a user's function. `None` if it panicked; the panic is logged and counted.
#[inline]
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = caught(call);
    if result.is_none() {
        tracing::error!("a function of the server's user panicked");
    }
    result
}

/// Calls a user's function. `None` if it panicked; the panic is counted, and the caller logs it.
#[inline]
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        count_panic();
    }
    result.ok()
}

/// Awaits a user's future. `None` if it panicked, as in [`caught`].
pub(crate) async fn caught_future<F: Future + Unpin>(mut waiting: F) -> Option<F::Output> {
    poll_fn(|cx| poll_caught(&mut waiting, cx)).await
}

/// Polls a user's future. `None` if it panicked, as in [`caught`].
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
