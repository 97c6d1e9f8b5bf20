//! The task of a connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::{Worker, WorkerId};

use super::{Connection, ConnectionEnd, Flag, Phase, Step};
use crate::transport::io::Io;

/// The task of a connection, to be run by the worker's executor. A connection that is traced runs it as a task
/// of tokio's.
pub struct ConnectionTask {
    pub(super) running: Running,
    pub(super) worker: Rc<Worker>,
}

/// A connection whose task runs. When this is dropped, the stream is closed.
pub(super) struct Running(Rc<Connection>);

impl Running {
    pub(super) fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.0)
    }
}

/// What a task waits for instead of reading.
pub(super) enum Waiting {
    /// The connection's end.
    End(Pin<Box<dyn Future<Output = ConnectionEnd>>>),
    /// Room in a worker's inbox.
    Room(Pin<Box<dyn Future<Output = ()>>>),
}

impl Waiting {
    fn end(connection: &Rc<Connection>, worker: &Rc<Worker>) -> Self {
        let (connection, worker) = (Rc::clone(connection), Rc::clone(worker));
        Self::End(Box::pin(async move { connection.close_down(&worker).await }))
    }

    fn room(worker: &Rc<Worker>, inbox: WorkerId) -> Self {
        let worker = Rc::clone(worker);
        Self::Room(Box::pin(async move { worker.room(inbox).await }))
    }
}

impl ConnectionTask {
    pub(super) fn new(connection: Rc<Connection>, worker: Rc<Worker>) -> Self {
        Self { running: Running(connection), worker }
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.running.0.poll_guarded(&self.worker, cx)
    }
}

impl Connection {
    /// Polls the connection's task. A panic is the end of its connection, and of no other.
    #[inline]
    pub(super) fn poll_guarded(self: &Rc<Self>, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_end(worker, cx)));
        if let Ok(Poll::Pending) = polled {
            return Poll::Pending;
        }
        let end = match polled {
            Ok(Poll::Ready(end)) => end,
            Ok(Poll::Pending) | Err(_) => {
                // The session is told too: users' functions are guarded there.
                tracing::error!("the task of a connection panicked");
                ConnectionEnd::Panicked
            }
        };
        self.phase.set(Phase::Ended);
        if catch_unwind(AssertUnwindSafe(|| self.tell_end(worker, end))).is_err() {
            tracing::error!("the end of a connection panicked");
        }
        Poll::Ready(())
    }

    #[inline]
    fn poll_end(self: &Rc<Self>, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        loop {
            if let Some(end) = ready!(self.poll_waiting(worker, cx)) {
                return Poll::Ready(end);
            }
            let waiting = match ready!(self.poll_open(worker, cx)) {
                Step::End(end) => return Poll::Ready(end),
                Step::Closing => match self.end_at_once(worker, cx) {
                    Some(end) => return Poll::Ready(end),
                    None => Waiting::end(self, worker),
                },
                // A handler met a full inbox: this peer is read again when there is room.
                Step::Full(inbox) => {
                    self.set(Flag::AwaitsInbox, true);
                    Waiting::room(worker, inbox)
                }
            };
            self.rare().waiting.set(Some(waiting));
        }
    }

    /// Awaits what the task waits for instead of reading, if anything. Ready with an end, or where it is to be
    /// read.
    #[inline]
    fn poll_waiting(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<ConnectionEnd>> {
        let waiting = self.rare.get().and_then(|rare| rare.waiting.take());
        match waiting {
            None => Poll::Ready(None),
            Some(waiting) => self.poll_this(waiting, worker, cx),
        }
    }

    #[cold]
    fn poll_this(
        self: &Rc<Self>,
        mut waiting: Waiting,
        worker: &Rc<Worker>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<ConnectionEnd>> {
        let polled = match &mut waiting {
            Waiting::End(end) => end.as_mut().poll(cx),
            Waiting::Room(room) => {
                if self.phase.get() != Phase::Open || room.as_mut().poll(cx).is_ready() {
                    self.set(Flag::AwaitsInbox, false);
                    return Poll::Ready(None);
                }
                // The connection's output goes on meanwhile, and it may end.
                self.poll_write_only(worker, cx)
            }
        };
        if polled.is_pending() {
            self.rare().waiting.set(Some(waiting));
        }
        polled.map(Some)
    }
}

impl Drop for Running {
    /// Closes the stream when its task ends, or is dropped with its runtime: a handle to the connection does
    /// not keep it open.
    fn drop(&mut self) {
        let stream = self.0.io.replace(Io::Closed);
        self.0.phase.set(Phase::Ended);
        drop(stream);
        // It may hold the connection.
        drop(self.0.rare.get().and_then(|rare| rare.waiting.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_idle_connection_are_small() {
        // The allocator's blocks are multiples of 16 bytes, of which it takes 8; a connection has two counts
        // before it.
        assert!(size_of::<Connection>() + 16 <= 184, "{} bytes", size_of::<Connection>());
    }
}
