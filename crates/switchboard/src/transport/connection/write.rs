//! What a connection writes: its outbox, as far as the socket takes it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::{Outbox, Worker};
use switchboard_websocket::{Opcode, encode_frame};

use super::{Connection, ConnectionEnd, Flag, Phase};

/// Pongs that may wait for a peer which does not read, as many as `ws` has.
const MAX_PONGS: u8 = 60;

/// Bytes of a write to which more will be added: as much as goes out in one piece. That is 64 KiB at most, headers and all: 45 segments
/// of Ethernet, and one of loopback. Of a write that is longer the kernel makes a second piece, which is often tiny, and which BBR
/// has wait for a timer: an echo of 16 KiB messages cost twice the processor time for that.
const PIECE: usize = 45 * 1448;

impl Connection {
    /// Writes what the outbox holds, as far as the socket takes it.
    pub fn flush(&self, worker: &Worker, outbox: &Outbox) {
        self.write_now(|cx| self.poll_write_out(worker, outbox, cx));
    }

    /// Writes what is queued as far as it is whole pieces: while it is in the processor's cache, and so that its buffers can serve
    /// what is queued next.
    pub(super) fn write_pieces(&self, worker: &Rc<Worker>, outbox: &Outbox) {
        if outbox.bytes() >= PIECE {
            self.write_now(|cx| {
                while outbox.bytes() >= PIECE {
                    ready!(self.poll_write_once(worker, outbox, PIECE, cx))?;
                }
                Poll::Ready(Ok(()))
            });
        }
    }

    /// Writes what is queued, if it is much: all that was read is handled, and other connections have their turn before the flusher.
    pub(super) fn write_early(&self, worker: &Rc<Worker>, outbox: &Outbox) {
        if outbox.bytes() >= PIECE {
            self.flush(worker, outbox);
        }
    }

    /// Writes outside the task, which is woken where the socket takes no more.
    fn write_now(&self, write: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<()>>) {
        if self.is(Flag::Blocked) || self.phase.get() == Phase::Ended {
            return;
        }
        // Before the task's first turn there is no waker; that turn flushes.
        let Some(waker) = self.waker.get() else { return };
        if let Poll::Ready(Err(error)) = write(&mut Context::from_waker(waker)) {
            tracing::debug!(%error, "a write failed");
            self.phase.set(Phase::Ended);
            waker.wake_by_ref();
        }
    }

    /// Writes bytes past the outbox, which is empty; returns how many the socket took.
    pub fn write_through(&self, slices: &[io::IoSlice<'_>]) -> usize {
        if self.is(Flag::Blocked) || self.phase.get() != Phase::Open {
            return 0;
        }
        let Some(waker) = self.waker.get() else { return 0 };
        match self.io.borrow_mut().poll_write_now(&mut Context::from_waker(waker), slices) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a write failed");
                self.phase.set(Phase::Ended);
                waker.wake_by_ref();
                slices.iter().map(|slice| slice.len()).sum()
            }
            Poll::Pending => {
                self.set(Flag::Blocked, true);
                // Its task is woken when the socket has room, and writes what will be in the outbox.
                0
            }
        }
    }

    /// Answers a ping (RFC 6455, 5.5.3). Returns an end where too many pongs wait for the peer to read them.
    pub(super) fn answer_ping(&self, worker: &Rc<Worker>, payload: &[u8]) -> Option<ConnectionEnd> {
        if self.pongs.get() >= MAX_PONGS {
            self.flush(worker, self.owner()?.outbox());
            if self.pongs.get() >= MAX_PONGS {
                metrics::counter!("switchboard_websocket_ping_floods_total").increment(1);
                self.abort();
                return Some(ConnectionEnd::PingFlood);
            }
        }
        self.pongs.set(self.pongs.get() + 1);
        self.write_control(worker, Opcode::Pong, payload);
        None
    }

    /// Queues a ping or a pong. A peer that does not read meets its outbox's bound like any other, which closes the connection.
    pub(super) fn write_control(&self, worker: &Rc<Worker>, opcode: Opcode, payload: &[u8]) {
        if let Some(owner) = self.owner() {
            let _full = worker.write(&owner.as_session(), |out| encode_frame(out, opcode, payload));
        }
    }

    /// Writes what waits while nothing is read; ready when that has failed.
    pub(super) fn poll_write_only(&self, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        if self.is(Flag::Blocked)
            && let Poll::Ready(Err(error)) = self.poll_write_waiting(worker, cx)
        {
            return Poll::Ready(ConnectionEnd::Io(error));
        }
        Poll::Pending
    }

    /// Writes what has waited for the socket. A peer that takes some of it lives.
    pub(super) fn poll_write_waiting(
        &self,
        worker: &Rc<Worker>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(owner) = self.owner() else { return Poll::Ready(Ok(())) };
        let outbox = owner.outbox();
        let before = outbox.bytes();
        let written = self.poll_write_out(worker, outbox, cx);
        if outbox.bytes() < before {
            self.set(Flag::Alive, true);
        }
        written
    }

    pub(super) fn poll_write_out(
        &self,
        worker: &Worker,
        outbox: &Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !outbox.is_empty() {
            ready!(self.poll_write_once(worker, outbox, usize::MAX, cx))?;
        }
        self.pongs.set(0);
        let flushed = self.io.borrow_mut().poll_flush(cx);
        self.set(Flag::Blocked, flushed.is_pending());
        flushed
    }

    /// One write of at most so many bytes.
    fn poll_write_once(
        &self,
        worker: &Worker,
        outbox: &Outbox,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        let written = worker.drain(outbox, most, |slices| match io.poll_write(cx, slices) {
            Poll::Ready(Ok(0)) => Err(Some(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => written.map_err(Some),
            Poll::Pending => Err(None),
        });
        match written {
            Ok(_) => Poll::Ready(Ok(())),
            Err(Some(error)) => Poll::Ready(Err(error)),
            Err(None) => {
                self.set(Flag::Blocked, true);
                Poll::Pending
            }
        }
    }
}
