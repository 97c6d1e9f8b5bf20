//! The task of a connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::{Worker, WorkerId};

use super::{Connection, ConnectionEnd, Phase, Step};
use crate::transport::io::Io;

/// A connection's one task: no larger than what tokio's own part of a task leaves of a block of 128 bytes. What it seldom waits for is boxed,
/// as the task lives as long as the connection does.
pub(crate) struct ConnectionTask {
    connection: Rc<Connection>,
    worker: Rc<Worker>,
    waiting: Option<Box<Waiting>>,
}

/// What a task waits for instead of reading: the connection's end, or, where it is not for that, to read on.
type Waiting = Pin<Box<dyn Future<Output = Option<ConnectionEnd>>>>;

impl ConnectionTask {
    pub(super) fn new(connection: Rc<Connection>, worker: Rc<Worker>) -> Self {
        Self { connection, worker, waiting: None }
    }

    fn closing(&self) -> Waiting {
        let (connection, worker) = (Rc::clone(&self.connection), Rc::clone(&self.worker));
        Box::pin(async move { Some(connection.close_down(&worker).await) })
    }

    fn room(&self, inbox: WorkerId) -> Waiting {
        let worker = Rc::clone(&self.worker);
        Box::pin(async move {
            worker.room(inbox).await;
            None
        })
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = loop {
            if let Some(waiting) = &mut self.waiting {
                match ready!(Pin::new(waiting).poll(cx)) {
                    Some(end) => break end,
                    None => self.waiting = None,
                }
            }
            match ready!(self.connection.poll_open(&self.worker, cx)) {
                Step::End(end) => break end,
                Step::Closing => match self.connection.end_at_once(&self.worker, cx) {
                    Some(end) => break end,
                    None => self.waiting = Some(Box::new(self.closing())),
                },
                // A handler met a full inbox: this peer is read again when there is room.
                Step::Full(inbox) => self.waiting = Some(Box::new(self.room(inbox))),
            }
        };
        self.connection.phase.set(Phase::Ended);
        self.connection.tell_end(&self.worker, end);
        Poll::Ready(())
    }
}

impl Drop for ConnectionTask {
    /// Closes the stream when its task ends, or is dropped with its runtime: whoever still holds the connection does not hold the connection.
    fn drop(&mut self) {
        let stream = self.connection.io.replace(Io::Closed);
        self.connection.phase.set(Phase::Ended);
        drop(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_idle_connection_has_is_small() {
        // The allocator's blocks are multiples of 16 bytes, of which it takes 8; a connection has two counts before it.
        assert!(size_of::<Connection>() + 16 <= 184, "{} bytes", size_of::<Connection>());
        // tokio puts 104 bytes beside it, and rounds up to 128.
        assert!(size_of::<ConnectionTask>() <= 24, "{} bytes", size_of::<ConnectionTask>());
    }
}
