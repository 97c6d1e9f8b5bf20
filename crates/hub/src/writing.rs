//! Writing to sessions: into their outboxes, and from there, at the end of a turn, to their transports.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::HubError;
use crate::outbox::{Full, Key, Outbox, Place, WhenFull};
use crate::sessions::Session;
use crate::worker::Worker;

/// What flushes an outbox next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushedBy {
    /// Nothing: the outbox has not changed.
    Nothing,
    /// Its session's transport, which is reading and looks at the outbox after that.
    Reader,
    /// The flusher: the session is in the worker's list.
    Flusher,
}

impl Worker {
    /// Encodes one packet for a session with `encode`, which may only append to its buffer and must not call
    /// the worker.
    ///
    /// A full outbox is first written as far as the transport takes its bytes.
    ///
    /// # Errors
    /// [`HubError::OutboxFull`]; the session is told when the worker next flushes.
    #[inline]
    pub fn write(
        self: &Rc<Self>,
        session: &Rc<dyn Session>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), HubError> {
        self.write_packet(session.outbox(), || Rc::clone(session), Place::Kept, encode)
    }

    /// As [`write`](Self::write), for a packet with a given place in the outbox. `outbox` is the outbox of the
    /// session that `session` returns. Of several packets in one turn, only the first makes a reference to the
    /// session.
    ///
    /// # Errors
    /// As [`write`](Self::write); none if the packet [follows](Place::Follows) another, or is
    /// [always](Place::Always) taken.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured, with what it calls: 70 instructions of each event")]
    pub fn write_packet(
        self: &Rc<Self>,
        outbox: &Outbox,
        session: impl Fn() -> Rc<dyn Session>,
        place: Place,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), HubError> {
        self.apply_deferred();
        if !matches!(place, Place::Follows | Place::Always) && outbox.check().is_err() {
            self.make_room(&session(), place)?;
        }
        outbox.write(&self.pool, place, encode);
        self.stats().messages_sent.add(1);
        if outbox.flushed_by.get() == FlushedBy::Nothing {
            outbox.flushed_by.set(FlushedBy::Flusher);
            self.remember(session());
        }
        Ok(())
    }

    /// As [`write`](Self::write), for a packet that belongs to the one before it: the bound is not checked
    /// again.
    pub fn write_more(self: &Rc<Self>, session: &Rc<dyn Session>, encode: impl FnOnce(&mut Vec<u8>)) {
        let _always_taken =
            self.write_packet(session.outbox(), || Rc::clone(session), Place::Follows, encode);
    }

    /// As [`write`](Self::write), for a packet that tells the newest state of its key's subject: it takes the
    /// place of the packet of the same key that waits. One that is on its way to the transport does not wait
    /// any more. Attachments of the packet may [follow](Self::write_more).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[inline(never)]
    pub fn write_conflated(
        self: &Rc<Self>,
        session: &Rc<dyn Session>,
        key: &Key,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), HubError> {
        self.apply_deferred();
        let place = self.conflate(session, key)?;
        self.write_packet(session.outbox(), || Rc::clone(session), place, encode)
    }

    /// Makes a place for a packet with a key.
    fn conflate(&self, session: &Rc<dyn Session>, key: &Key) -> Result<Place, HubError> {
        let outbox = session.outbox();
        if outbox.is_empty() {
            return Ok(Place::Droppable);
        }
        if !outbox.holds(key) {
            self.check_room(session, Place::Droppable)?;
            // Room may have been made by a write of all that waited.
            if outbox.is_empty() {
                return Ok(Place::Droppable);
            }
        }
        outbox.conflate(key);
        Ok(Place::Follows)
    }

    /// The outbox of a session, if it takes one packet more.
    #[inline]
    fn check_room<'a>(&self, session: &'a Rc<dyn Session>, place: Place) -> Result<&'a Outbox, HubError> {
        let outbox = session.outbox();
        if outbox.check().is_err() {
            self.make_room(session, place)?;
        }
        Ok(outbox)
    }

    /// Writes the bytes of a full outbox, as far as the transport takes them. If it takes none, the session
    /// may have packets dropped.
    ///
    /// # Errors
    /// [`HubError::OutboxFull`] if there is no room for a packet of this place. The session is told when the
    /// worker next flushes.
    #[cold]
    fn make_room(&self, session: &Rc<dyn Session>, place: Place) -> Result<(), HubError> {
        if let Some(worker) = Self::current().filter(|worker| std::ptr::eq(&raw const **worker, self)) {
            session.flush(&worker);
        }
        let Err(full) = session.outbox().check() else { return Ok(()) };
        let room = match session.when_full() {
            WhenFull::Refuse => {
                self.overflow(session);
                Err(full)
            }
            WhenFull::DropOldest { max_bytes } => {
                let dropped = session.outbox().drop_oldest(max_bytes);
                self.check_backlog(session, place, max_bytes, dropped)
            }
            WhenFull::DropNewest { max_bytes } => self.check_backlog(session, place, max_bytes, 0),
        };
        room.map_err(|full| HubError::OutboxFull { bytes: full.bytes, limit: full.limit })
    }

    /// Checks that a packet has room in the backlog of a session that drops packets, and begins the backlog.
    /// `dropped`: the number of packets that were dropped for it.
    ///
    /// Packets that are kept may pass the bound once more. A peer that reads nothing, and for which as many of
    /// them wait, overflows its outbox.
    fn check_backlog(
        &self,
        session: &Rc<dyn Session>,
        place: Place,
        max_bytes: usize,
        dropped: usize,
    ) -> Result<(), Full> {
        let bytes = session.outbox().bytes();
        let is_droppable = place == Place::Droppable;
        let limit = if is_droppable { max_bytes } else { max_bytes.saturating_mul(2) };
        let is_refused = bytes >= limit;
        let lost = dropped + usize::from(is_refused && is_droppable);
        if lost > 0 {
            self.note_dropped(session, lost);
        }
        if !is_refused {
            session.outbox().begin_backlog();
            return Ok(());
        }
        if !is_droppable {
            self.overflow(session);
        }
        Err(Full { bytes, limit })
    }

    fn note_dropped(&self, session: &Rc<dyn Session>, packets: usize) {
        self.stats().packets_dropped.add(packets as u64);
        {
            let mut dropped = self.dropped.borrow_mut();
            match dropped.last_mut() {
                Some((last, count)) if Rc::ptr_eq(last, session) => *count += packets,
                _ => dropped.push((Rc::clone(session), packets)),
            }
        }
        self.changed(session);
    }

    /// Tells sessions of the packets that were dropped.
    fn tell_dropped(self: &Rc<Self>) {
        let dropped = self.dropped.take();
        for (session, packets) in dropped {
            self.catch_panic("a session", || session.dropped(self, packets));
        }
    }

    /// As [`write`](Self::write), for a packet that is `head` and then `body`, which is long. If the outbox
    /// is empty, the packet goes to the transport at once, without a copy. The bytes that the transport does
    /// not take are copied into the outbox.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_long(
        self: &Rc<Self>,
        session: &Rc<dyn Session>,
        head: &[u8],
        body: &[u8],
    ) -> Result<(), HubError> {
        self.apply_deferred();
        let outbox = self.check_room(session, Place::Kept)?;
        let slices = [io::IoSlice::new(head), io::IoSlice::new(body)];
        let written = if outbox.is_empty() { session.write_through(&slices) } else { 0 };
        self.stats().messages_sent.add(1);
        self.stats().bytes_sent.add(written as u64);
        if written < head.len() + body.len() {
            outbox.write_parts(&self.pool, head, body, written);
            self.changed(session);
        }
        Ok(())
    }

    /// Adds packets that other sessions get too to an outbox. Their first `written` bytes are written
    /// already. `key`: the key of the one packet, if it has one.
    pub(crate) fn deliver_shared(
        &self,
        session: &Rc<dyn Session>,
        key: Option<&Key>,
        packets: &Rc<[u8]>,
        written: usize,
    ) -> bool {
        let outbox = session.outbox();
        let place = match key.filter(|_| written == 0) {
            Some(key) => self.conflate(session, key),
            None => self.check_room(session, Place::Droppable).map(|_| Place::Droppable),
        };
        match place {
            Ok(Place::Follows) => outbox.set_shared(packets),
            Ok(_) => {
                outbox.push_shared(&self.pool, packets);
                outbox.consume(&self.pool, written);
            }
            Err(_) => return false,
        }
        self.changed(session);
        true
    }

    #[cold]
    fn overflow(&self, session: &Rc<dyn Session>) {
        if !session.outbox().overflowed.replace(true) {
            metrics::counter!("switchboard_outbox_overflow_total").increment(1);
            self.changed(session);
        }
    }

    /// Tells the flusher that the session has something to write (or another reason to be flushed).
    #[inline]
    pub fn changed(&self, session: &Rc<dyn Session>) {
        if session.outbox().flushed_by.replace(FlushedBy::Flusher) != FlushedBy::Flusher {
            self.remember(Rc::clone(session));
        }
    }

    /// A transport is about to handle what it has read of the session with this outbox. Packets that are
    /// written to the outbox meanwhile need no flusher: the transport calls [`end_read`](Self::end_read) in
    /// the same turn. `false` where the flusher has the session in its list already.
    #[inline]
    pub fn begin_read(&self, outbox: &Outbox) -> bool {
        let begins = outbox.flushed_by.get() == FlushedBy::Nothing;
        if begins {
            outbox.flushed_by.set(FlushedBy::Reader);
        }
        begins
    }

    /// What a transport has read is handled, after [`begin_read`](Self::begin_read) has returned `true`.
    /// Returns whether the transport is to write the outbox now. If not, nothing waits in it, or the flusher
    /// writes it at the end of the turn.
    ///
    /// The transport writes if `may_write`, and if no other session has packets for the end of this turn:
    /// where sessions write to each other, all that a turn brings for a peer is one write.
    #[inline]
    pub fn end_read(
        &self,
        outbox: &Outbox,
        session: impl FnOnce() -> Rc<dyn Session>,
        may_write: bool,
    ) -> bool {
        if outbox.flushed_by.get() != FlushedBy::Reader {
            return false;
        }
        outbox.flushed_by.set(FlushedBy::Nothing);
        if outbox.is_empty() {
            return false;
        }
        let alone = self.dirty.borrow().is_empty() && self.deferred.borrow().is_empty();
        if !alone || !may_write {
            self.changed(&session());
            return false;
        }
        true
    }

    fn remember(&self, session: Rc<dyn Session>) {
        let first = {
            let mut dirty = self.dirty.borrow_mut();
            dirty.push(session);
            dirty.len() == 1
        };
        if first {
            self.wake_flusher();
        }
    }

    pub(crate) fn wake_flusher(&self) {
        if let Some(flusher) = self.flusher.borrow().as_ref() {
            flusher.wake_by_ref();
        }
    }

    /// Runs after all connections that were ready in this turn, so that a burst of packets to one peer is one
    /// write.
    pub(crate) async fn flush_changed(self: Rc<Self>) {
        let mut batch = Vec::new();
        poll_fn(|context| {
            if self.flusher.borrow().as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                *self.flusher.borrow_mut() = Some(context.waker().clone());
            }
            self.catch_panic("a broadcast", || self.write_deferred());
            std::mem::swap(&mut batch, &mut *self.dirty.borrow_mut());
            // One session's panic is not the end of the others' turn.
            let next = Cell::new(0);
            while next.get() < batch.len() {
                self.catch_panic("a session", || self.flush_from(&batch, &next));
            }
            batch.clear();
            self.pool.end_turn();
            if !self.dropped.borrow().is_empty() {
                self.tell_dropped();
            }
            // Packets that closing sessions wrote meanwhile have a turn of their own.
            if !self.dirty.borrow().is_empty() || !self.deferred.borrow().is_empty() {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Flushes the sessions from `next` on, which is moved on before each.
    fn flush_from(self: &Rc<Self>, batch: &[Rc<dyn Session>], next: &Cell<usize>) {
        while let Some(session) = batch.get(next.get()) {
            next.set(next.get() + 1);
            let outbox = session.outbox();
            outbox.flushed_by.set(FlushedBy::Nothing);
            if outbox.overflowed.replace(false) {
                session.overflow(self);
            }
            session.flush(self);
        }
    }

    /// Shows a session's waiting bytes, `most` at most, to `write`, which returns how many it wrote. Those
    /// are removed then.
    ///
    /// # Errors
    /// The errors of `write`.
    pub fn drain<E>(
        &self,
        outbox: &Outbox,
        most: usize,
        write: impl FnOnce(&[io::IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let written = outbox.drain(&self.pool, most, write)?;
        self.tell_of_room();
        self.stats().bytes_sent.add(written as u64);
        Ok(written)
    }

    /// Takes all bytes that wait in an outbox.
    pub fn take(&self, outbox: &Outbox) -> Vec<u8> {
        self.apply_deferred();
        let body = outbox.take(&self.pool);
        self.tell_of_room();
        self.stats().bytes_sent.add(body.len() as u64);
        body
    }

    /// Returns when `done` returns `true`. It is called at once, and again whenever outboxes of this worker
    /// were written, sessions ended, or [`tell_of_room`](Self::tell_of_room) was called. Cancel safe.
    pub async fn wait_for_room(&self, mut done: impl FnMut() -> bool) {
        poll_fn(|context| {
            if done() {
                return Poll::Ready(());
            }
            self.awaiting_room.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Wakes the tasks that [wait for room](Self::wait_for_room).
    #[inline]
    pub fn tell_of_room(&self) {
        if !self.awaiting_room.borrow().is_empty() {
            self.wake_awaiting_room();
        }
    }

    #[cold]
    fn wake_awaiting_room(&self) {
        let awaiting = self.awaiting_room.take();
        awaiting.into_iter().for_each(Waker::wake);
    }
}
