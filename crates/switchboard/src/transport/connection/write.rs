//! Writing: the outbox goes out as far as the socket takes it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::{Outbox, Place, Worker};
use switchboard_websocket::{Opcode, encode_frame};

use super::{Connection, ConnectionEnd, Flag, Phase};

/// Pongs that may wait for a peer which does not read, as many as `ws` has.
const MAX_PONGS: u8 = 60;

/// Bytes of a write while more is to come: the kernel sends them in one piece. A piece is 64 KiB at most,
/// with its headers: 45 segments of Ethernet, and one of loopback. The kernel makes a second piece of a
/// longer write. That piece is often tiny, and waits for a timer under BBR: an echo of 16 KiB messages took
/// twice the processor time for it.
const PIECE: usize = 45 * 1448;

impl Connection {
    /// Writes what the outbox holds, as far as the socket takes it.
    pub fn flush(&self, worker: &Worker, outbox: &Outbox) {
        self.write_now(|cx| self.poll_write_out(worker, outbox, cx));
    }

    /// Writes the answers to what was read: as [`flush`](Self::flush), by a shorter way for the few bytes of a
    /// plain TCP socket, which takes them nearly always.
    #[inline]
    pub(super) fn write_answers(&self, worker: &Worker, outbox: &Outbox) {
        if !self.is(Flag::Blocked)
            && self.phase.get() != Phase::Ended
            && outbox.bytes() < PIECE
            && let Some(socket) = self.io.borrow().as_tcp()
            // An error, whatever it is, comes again.
            && worker.drain(outbox, PIECE, |slices| socket.try_send(slices)).is_ok()
            && outbox.is_empty()
        {
            self.pongs.set(0);
            return;
        }
        self.flush(worker, outbox);
    }

    /// Writes the whole pieces of what is queued, while the processor has them in its cache. Their buffers
    /// then serve what is queued next.
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

    /// Writes what is queued, if it is much. All that was read is handled, and the flusher runs only after
    /// the other connections.
    pub(super) fn write_early(&self, worker: &Rc<Worker>, outbox: &Outbox) {
        if outbox.bytes() >= PIECE {
            self.flush(worker, outbox);
        }
    }

    /// Writes outside of the task. The task is woken later if the socket takes no more.
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

    /// Queues a ping, whether the outbox is full or not.
    pub(super) fn write_ping(&self, worker: &Rc<Worker>) {
        if let Some(owner) = self.owner() {
            let session = owner.as_session();
            let place = Place::of_ping(session.when_full());
            let encode = |out: &mut Vec<u8>| encode_frame(out, Opcode::Ping, &[]);
            let _full = worker.write_packet(session.outbox(), || Rc::clone(&session), place, encode);
        }
    }

    /// Queues a control frame. If the outbox is full, the peer does not read, and the connection is closed for
    /// that.
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

    /// Writes what has waited for the socket. A peer that takes some of it is alive.
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
