//! The task of a connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::{Worker, WorkerId};

use super::{Connection, ConnectionEnd, Flag, Phase, Step};
use crate::transport::io::Io;

/// The task of a connection. It lives as long as the connection, so what it waits for seldom is boxed.
pub struct ConnectionTask {
    pub(super) connection: Rc<Connection>,
    worker: Rc<Worker>,
    waiting: Option<Box<Waiting>>,
}

/// What a task waits for instead of reading.
enum Waiting {
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
        Self { connection, worker, waiting: None }
    }

    /// Ends the connection whose task has panicked. Without this its session would stay, and its connection is
    /// gone. Users' functions are guarded in it.
    pub(super) fn tell_panic(&self) {
        tracing::error!("the task of a connection panicked");
        self.connection.phase.set(Phase::Ended);
        self.connection.tell_end(&self.worker, ConnectionEnd::Panicked);
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let Self { connection, worker, waiting } = self;
        loop {
            match waiting.as_deref_mut() {
                Some(Waiting::End(end)) => return end.as_mut().poll(cx),
                Some(Waiting::Room(room)) => {
                    // The connection's output goes on meanwhile, and it may end.
                    if connection.phase.get() == Phase::Open && room.as_mut().poll(cx).is_pending() {
                        return connection.poll_write_only(worker, cx);
                    }
                    connection.set(Flag::AwaitsInbox, false);
                    *waiting = None;
                }
                None => {}
            }
            match ready!(connection.poll_open(worker, cx)) {
                Step::End(end) => return Poll::Ready(end),
                Step::Closing => match connection.end_at_once(worker, cx) {
                    Some(end) => return Poll::Ready(end),
                    None => *waiting = Some(Box::new(Waiting::end(connection, worker))),
                },
                // A handler met a full inbox: this peer is read again when there is room.
                Step::Full(inbox) => {
                    connection.set(Flag::AwaitsInbox, true);
                    *waiting = Some(Box::new(Waiting::room(worker, inbox)));
                }
            }
        }
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = ready!(self.poll_end(cx));
        self.connection.phase.set(Phase::Ended);
        self.connection.tell_end(&self.worker, end);
        Poll::Ready(())
    }
}

impl Drop for ConnectionTask {
    /// Closes the stream when its task ends, or is dropped with its runtime: a handle to the connection does
    /// not keep it open.
    fn drop(&mut self) {
        let stream = self.connection.io.replace(Io::Closed);
        self.connection.phase.set(Phase::Ended);
        drop(stream);
        if std::thread::panicking() {
            self.tell_panic();
        }
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
        // The executor's table has no more for each.
        assert!(size_of::<Option<ConnectionTask>>() <= 24, "{} bytes", size_of::<ConnectionTask>());
    }
}
