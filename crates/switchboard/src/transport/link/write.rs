//! What a connection writes: its outbox, as far as the socket takes it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use switchboard_hub::{Outbox, Worker};

use super::{Link, Phase};

/// What the messages of one read have queued is written when it is so many bytes, before the next of them is handled: while it is
/// in the processor's cache, and its buffers can serve the next ones.
const WRITE_AT: usize = 64 << 10;

impl Link {
    /// Writes what the outbox holds, as far as the socket takes it.
    pub(crate) fn flush(&self, worker: &Rc<Worker>, outbox: &Outbox) {
        if self.blocked.get() || self.phase.get() == Phase::Ended {
            return;
        }
        let driver = self.driver.borrow();
        // Before the task's first turn there is no waker; that turn flushes.
        let Some(waker) = driver.as_ref() else { return };
        if let Poll::Ready(Err(error)) = self.poll_write_out(worker, outbox, &mut Context::from_waker(waker))
        {
            tracing::debug!(%error, "a write failed");
            self.phase.set(Phase::Ended);
            waker.wake_by_ref();
        }
    }

    /// Writes bytes past the outbox, which is empty; returns how many the socket took.
    pub(crate) fn write_through(&self, slices: &[io::IoSlice<'_>]) -> usize {
        if self.blocked.get() || self.phase.get() != Phase::Open {
            return 0;
        }
        let driver = self.driver.borrow();
        let Some(waker) = driver.as_ref() else { return 0 };
        match self.io.borrow_mut().poll_write_now(&mut Context::from_waker(waker), slices) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a write failed");
                self.phase.set(Phase::Ended);
                waker.wake_by_ref();
                slices.iter().map(|slice| slice.len()).sum()
            }
            Poll::Pending => {
                self.blocked.set(true);
                // Its task is woken when the socket has room, and writes what will be in the outbox.
                0
            }
        }
    }

    /// Writes what is queued already, if it is much.
    pub(super) fn write_early(&self, worker: &Rc<Worker>) {
        let owner = self.owner.borrow();
        if owner.outbox().bytes() >= WRITE_AT {
            self.flush(worker, owner.outbox());
        }
    }

    pub(super) fn poll_write_out(
        &self,
        worker: &Worker,
        outbox: &Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        while !outbox.is_empty() {
            let written = worker.drain(outbox, |slices| match io.poll_write(cx, slices) {
                Poll::Ready(Ok(0)) => Err(Some(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written.map_err(Some),
                Poll::Pending => Err(None),
            });
            match written {
                Ok(_) => {}
                Err(Some(error)) => return Poll::Ready(Err(error)),
                Err(None) => {
                    self.blocked.set(true);
                    return Poll::Pending;
                }
            }
        }
        let flushed = io.poll_flush(cx);
        self.blocked.set(flushed.is_pending());
        flushed
    }
}
