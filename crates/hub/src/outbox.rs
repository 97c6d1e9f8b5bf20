//! Outboxes: the bytes that wait to be written to one peer.
//!
//! An outbox is a queue of byte chunks: small owned buffers, into which packets are encoded back to back, and
//! references to broadcasts that other outboxes hold too. An idle outbox holds no buffer at all: its queue
//! and its buffers come from the worker's [`Pool`], and go back there when all is written.

mod backlog;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::rc::Rc;

pub use self::backlog::Key;
use self::backlog::{Backlog, append};
use crate::gather::Gathered;
use crate::writing::FlushedBy;

/// Shared bytes up to this length are copied into the buffer before them rather than referenced: a small copy
/// is cheaper than another slice of a vectored write.
const COPY_UP_TO: usize = 512;

/// An owned buffer is not extended past this length, so that a large packet does not move what is before it.
const BUFFER_UP_TO: usize = 16 * 1024;

/// Buffers that grew past this capacity are freed rather than pooled.
const POOL_BUFFER_UP_TO: usize = 64 * 1024;

/// A queue keeps its buffer up to this capacity: what a peer is sent in one turn is seldom more, and the
/// buffer need not be fetched.
const QUEUE_BUFFER_UP_TO: usize = 1024;

/// Buffers and queues that a worker keeps at most.
const POOL_UP_TO: usize = 256;

/// Slices of one vectored write at most.
const SLICES: usize = 64;

/// Packets of a backlog are handed to the transport while fewer bytes than these are on their way.
const ON_WAY: usize = 64 * 1024;

/// The form in which a transport needs its packets, and how they follow one another. The hub knows only the
/// separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Framing {
    /// Tells framings apart. The protocols give it its meaning.
    pub id: u8,
    /// Written between two packets.
    pub separator: Option<u8>,
}

/// The outbox holds as many bytes as it may. The packet was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Bytes that wait.
    pub bytes: usize,
    /// The bound that was met.
    pub limit: usize,
}

/// What becomes of a packet if the outbox of a session that [drops packets](WhenFull) has no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It may be dropped: an event that nobody awaits the answer of.
    Droppable,
    /// It is kept: an acknowledgement, a ping, a packet that a client cannot do without.
    Kept,
    /// It belongs to the packet before it, and shares its fate: the bound is not checked again.
    Follows,
    /// It is taken though the outbox is full, and is kept at the end of what waits: a close, a ping.
    Always,
}

impl Place {
    /// The place of a ping. A session that refuses packets at its bound lets the ping pass it: there is one for
    /// each interval, and a peer whose outbox is full at that moment may well read.
    pub fn of_ping(when_full: WhenFull) -> Self {
        if when_full == WhenFull::Refuse { Self::Always } else { Self::Kept }
    }
}

/// What a session does with a packet for which its outbox has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The packet is refused, and the session is told: [`Session::overflow`](crate::Session::overflow).
    #[default]
    Refuse,
    /// The oldest packets that may be dropped and are not on their way make room. The outbox's own bound is
    /// [`Outbox::on_way`] of these bytes.
    DropOldest {
        /// Bytes that may wait in all.
        max_bytes: usize,
    },
    /// As `DropOldest`, but it is the new packet that is dropped.
    DropNewest {
        /// Bytes that may wait in all.
        max_bytes: usize,
    },
}

#[derive(Debug)]
pub(crate) enum Chunk {
    Owned(Vec<u8>),
    Shared(Rc<[u8]>),
    /// Packets that are not on their way yet. It is the last chunk, and never the only one.
    Backlog(Box<Backlog>),
}

impl Chunk {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
            Chunk::Backlog(_) => &[],
        }
    }
}

/// The chunks of an outbox that is not empty.
#[derive(Debug, Default)]
struct Queue {
    /// A queue that comes from the pool holds nothing, or one empty buffer.
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    written: usize,
}

/// The buffers and queues that the outboxes of one worker share.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "an idle outbox has room for a pointer to a queue, and no more")]
pub(crate) struct Pool {
    buffers: RefCell<Vec<Vec<u8>>>,
    queues: RefCell<Vec<Box<Queue>>>,
    gathered: RefCell<Gathered>,
}

impl Pool {
    /// The turn is over: references to broadcasts are dropped.
    pub(crate) fn end_turn(&self) {
        self.gathered.borrow_mut().clear();
    }

    fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    fn put_chunk(&self, chunk: Chunk) {
        if let Chunk::Owned(mut buffer) = chunk {
            let mut buffers = self.buffers.borrow_mut();
            if buffers.len() < POOL_UP_TO && buffer.capacity() <= POOL_BUFFER_UP_TO {
                buffer.clear();
                buffers.push(buffer);
            }
        }
    }

    #[expect(clippy::unnecessary_box_returns, reason = "it is the box that is kept")]
    fn queue(&self) -> Box<Queue> {
        self.queues.borrow_mut().pop().unwrap_or_default()
    }

    fn put_queue(&self, queue: Box<Queue>) {
        let mut queues = self.queues.borrow_mut();
        if queues.len() < POOL_UP_TO * 16 && queue.chunks.capacity() <= 1024 {
            queues.push(queue);
        }
    }
}

/// An outbox's queue while it is written to. It goes back when this is dropped, also by a panic.
struct Lent<'a> {
    outbox: &'a Outbox,
    queue: Option<Box<Queue>>,
}

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        let meanwhile = self.outbox.queue.replace(self.queue.take());
        debug_assert!(meanwhile.is_none(), "an outbox was written to while it was written to");
    }
}

/// The bytes that wait to be written to one peer, bounded.
pub struct Outbox {
    /// Empty while the outbox is written to.
    queue: Cell<Option<Box<Queue>>>,
    bytes: Cell<usize>,
    limit: usize,
    framing: Cell<Framing>,
    /// Shared packets that may be compressed went to this peer since [`take_shared`](Self::take_shared) was
    /// called last.
    shared: Cell<bool>,
    /// What will flush it.
    pub(crate) flushed_by: Cell<FlushedBy>,
    /// The outbox met its bound, and its session is to be told.
    pub(crate) overflowed: Cell<bool>,
    /// The last chunk is a backlog.
    has_backlog: Cell<bool>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, limit, framing, .. } = self;
        f.debug_struct("Outbox")
            .field("bytes", bytes)
            .field("limit", limit)
            .field("framing", framing)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// An empty outbox that takes up to `limit` bytes. One packet may pass the bound, which is checked before
    /// a packet is added.
    pub fn new(limit: usize, framing: Framing) -> Self {
        Self {
            queue: Cell::default(),
            bytes: Cell::new(0),
            limit,
            framing: Cell::new(framing),
            shared: Cell::new(false),
            flushed_by: Cell::new(FlushedBy::Nothing),
            overflowed: Cell::new(false),
            has_backlog: Cell::new(false),
        }
    }

    /// Bytes that wait.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// How many bytes may wait.
    #[inline]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.get() == 0
    }

    /// How packets follow one another now.
    #[inline]
    pub fn framing(&self) -> Framing {
        self.framing.get()
    }

    /// Changes the framing for packets to come. The outbox must be empty, as the packets in it have the old
    /// framing.
    pub fn set_framing(&self, framing: Framing) {
        debug_assert!(self.is_empty(), "a framing changed under packets that wait");
        self.framing.set(framing);
    }

    /// Notes that shared packets, which may be compressed, go to this peer.
    #[inline]
    pub fn note_shared(&self) {
        self.shared.set(true);
    }

    /// Whether shared packets, which may be compressed, went to this peer since the last call. It is for
    /// protocols that compress a packet by the packets before it.
    pub fn take_shared(&self) -> bool {
        self.shared.replace(false)
    }

    /// Whether the outbox is at most half full.
    pub fn has_room(&self) -> bool {
        self.bytes.get() <= self.limit / 2
    }

    /// Fails if no further packet is taken.
    ///
    /// # Errors
    /// [`Full`] at or above the limit.
    #[inline]
    pub fn check(&self) -> Result<(), Full> {
        let bytes = self.bytes.get();
        if bytes >= self.limit { Err(Full { bytes, limit: self.limit }) } else { Ok(()) }
    }

    /// Encodes a packet with `encode`, which may only append to the buffer it is given.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured, with its callers: 70 instructions of each event")]
    pub(crate) fn write(&self, pool: &Pool, place: Place, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut lent = self.lend();
        let chunks = &mut lent.queue.get_or_insert_with(|| pool.queue()).chunks;
        let buffer = match chunks.back_mut() {
            Some(Chunk::Owned(buffer)) if buffer.len() < BUFFER_UP_TO => buffer,
            Some(Chunk::Backlog(backlog)) => backlog.buffer(place),
            _ => {
                chunks.push_back(Chunk::Owned(pool.buffer()));
                let Some(Chunk::Owned(buffer)) = chunks.back_mut() else { return };
                buffer
            }
        };
        let before = buffer.len();
        if let Some(separator) = self.framing.get().separator
            && !self.is_empty()
        {
            buffer.push(separator);
        }
        encode(buffer);
        let added = buffer.len().saturating_sub(before);
        self.bytes.set(self.bytes.get() + added);
    }

    /// The queue of an outbox that is about to hold shared chunks, without the empty buffer that it may have.
    fn chunks<'a>(&self, pool: &Pool, lent: &'a mut Lent<'_>) -> &'a mut VecDeque<Chunk> {
        let chunks = &mut lent.queue.get_or_insert_with(|| pool.queue()).chunks;
        if self.is_empty()
            && let Some(unused) = chunks.pop_front()
        {
            pool.put_chunk(unused);
        }
        chunks
    }

    /// Adds a packet that is `head` and then `body`, without its first `written` bytes. Its buffers have a
    /// size that the pool keeps.
    pub(crate) fn write_parts(&self, pool: &Pool, head: &[u8], body: &[u8], written: usize) {
        if self.has_backlog() {
            return self.write(pool, Place::Kept, |buffer| buffer.extend([head, body].concat()));
        }
        if written == 0 {
            self.write(pool, Place::Kept, |buffer| buffer.extend_from_slice(head));
        }
        let rest = body.get(written.saturating_sub(head.len())..).unwrap_or_default();
        // If the head was written in part, its rest comes first.
        let head = if written == 0 { &[] } else { head.get(written..).unwrap_or_default() };
        let mut lent = self.lend();
        let chunks = self.chunks(pool, &mut lent);
        for piece in
            std::iter::once(head).filter(|head| !head.is_empty()).chain(rest.chunks(POOL_BUFFER_UP_TO))
        {
            let mut buffer = pool.buffer();
            buffer.reserve_exact(POOL_BUFFER_UP_TO);
            buffer.extend_from_slice(piece);
            chunks.push_back(Chunk::Owned(buffer));
        }
        self.bytes.set(self.bytes.get() + head.len() + rest.len());
    }

    /// Adds a packet that other outboxes hold as well.
    pub(crate) fn push_shared(&self, pool: &Pool, packet: &Rc<[u8]>) {
        let mut lent = self.lend();
        let chunks = self.chunks(pool, &mut lent);
        let separator = self.framing.get().separator.filter(|_| !self.is_empty());
        if let Some(Chunk::Backlog(backlog)) = chunks.back_mut() {
            backlog.push(separator, Rc::clone(packet));
        } else {
            append(chunks, pool, separator, Chunk::Shared(Rc::clone(packet)));
        }
        self.bytes.set(self.bytes.get() + packet.len() + usize::from(separator.is_some()));
    }

    #[inline]
    fn lend(&self) -> Lent<'_> {
        Lent { outbox: self, queue: self.queue.take() }
    }

    /// Shows the waiting bytes to `write`: `most` at most, and as many slices as one vectored write takes.
    /// `write` returns how many bytes it wrote; those are removed. It must not touch this outbox.
    pub(crate) fn drain<E>(
        &self,
        pool: &Pool,
        most: usize,
        write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let n = {
            let mut lent = self.lend();
            let Some(queue) = lent.queue.as_deref_mut() else { return write(&[]) };
            if let (1, Some(only)) = (queue.chunks.len(), queue.chunks.front()) {
                let waiting = only.as_slice().get(queue.written..).unwrap_or_default();
                let n = write(&[IoSlice::new(waiting.get(..most).unwrap_or(waiting))])?;
                if n == waiting.len() {
                    self.give_back(pool, lent);
                } else {
                    drop(lent);
                    self.consume(pool, n);
                }
                return Ok(n);
            }
            if self.has_backlog.get() {
                self.hand_on(pool, queue, self.limit.min(ON_WAY));
            }
            let Queue { chunks, written } = queue;
            let mut gathered = pool.gathered.borrow_mut();
            // The first chunk still holds its bytes that are written already.
            let joined = gathered.concat(chunks, self.bytes.get() + *written);
            if let Some(joined) = joined.and_then(|joined| joined.get(*written..)) {
                let n = write(&[IoSlice::new(joined.get(..most).unwrap_or(joined))])?;
                drop((lent, gathered));
                self.consume(pool, n);
                return Ok(n);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let (mut skip, mut room) = (*written, most);
            for (slot, chunk) in slices.iter_mut().zip(chunks.iter()) {
                if room == 0 {
                    break;
                }
                let bytes = chunk.as_slice().get(skip..).unwrap_or_default();
                let bytes = bytes.get(..room).unwrap_or(bytes);
                *slot = IoSlice::new(bytes);
                (skip, room) = (0, room - bytes.len());
                count += 1;
            }
            write(slices.get(..count).unwrap_or_default())?
        };
        self.consume(pool, n);
        Ok(n)
    }

    /// All waiting bytes, which were one chunk, are written.
    #[inline]
    fn give_back(&self, pool: &Pool, mut lent: Lent<'_>) {
        self.bytes.set(0);
        if let Some(mut queue) = lent.queue.take() {
            queue.written = 0;
            match queue.chunks.front_mut() {
                Some(Chunk::Owned(buffer)) if buffer.capacity() <= QUEUE_BUFFER_UP_TO => buffer.clear(),
                _ => {
                    if let Some(chunk) = queue.chunks.pop_front() {
                        pool.put_chunk(chunk);
                    }
                }
            }
            pool.put_queue(queue);
        }
    }

    /// Takes all waiting bytes as one buffer. The outbox is empty then.
    pub(crate) fn take(&self, pool: &Pool) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes.get());
        if let Some(queue) = &mut self.lend().queue {
            self.hand_on(pool, queue, usize::MAX);
            let mut skip = queue.written;
            for chunk in &queue.chunks {
                body.extend_from_slice(chunk.as_slice().get(skip..).unwrap_or_default());
                skip = 0;
            }
        }
        self.consume(pool, body.len());
        body
    }

    /// Removes the first `n` bytes: they are written.
    pub(crate) fn consume(&self, pool: &Pool, n: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(n));
        let mut lent = self.lend();
        let Some(queue) = lent.queue.as_deref_mut() else { return };
        let Queue { chunks, written } = queue;
        let mut done = *written + n;
        while let Some(front) = chunks.front() {
            let len = front.as_slice().len();
            if done < len || matches!(front, Chunk::Backlog(_)) {
                break;
            }
            done -= len;
            if let Some(chunk) = chunks.pop_front() {
                pool.put_chunk(chunk);
            }
        }
        *written = if chunks.is_empty() { 0 } else { done };
        if matches!(chunks.front(), Some(Chunk::Backlog(_))) {
            self.hand_on(pool, queue, self.limit.min(ON_WAY));
        } else if chunks.is_empty()
            && let Some(queue) = lent.queue.take()
        {
            pool.put_queue(queue);
        }
    }
}

#[cfg(test)]
mod tests;
