//! The packets of an outbox that are not on their way to the transport: they can be dropped or replaced one by
//! one. An outbox has a backlog only if its session drops packets, or if it was given packets with keys.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{BUFFER_UP_TO, COPY_UP_TO, Chunk, ON_WAY, Outbox, Place, Pool, Queue};
use crate::ScopeId;

/// The subject of a packet that tells the newest state of it. The packet replaces an older one with the same
/// key that is not on its way yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The scope of the name.
    pub scope: ScopeId,
    /// The name, which the sender gives.
    pub name: Arc<str>,
}

/// A packet that is not on its way: `own`, and the shared bytes behind it.
#[derive(Debug)]
struct Waiting {
    /// Counts all packets of the backlog, in their order.
    number: u64,
    own: Vec<u8>,
    shared: Option<Rc<[u8]>>,
    key: Option<Key>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |shared| shared.len())
    }
}

/// The place of the packet that was added last.
#[derive(Debug, Clone, Copy, Default)]
enum Last {
    #[default]
    Kept,
    /// The position of a packet that may be dropped.
    Droppable(u64),
}

/// Packets that are not on their way, in their order.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    droppable: VecDeque<Waiting>,
    kept: VecDeque<Waiting>,
    /// The number of the next packet.
    next: u64,
    /// The position of the first packet that may be dropped: so many have left.
    gone: u64,
    /// The positions of the packets with keys.
    keys: HashMap<Key, u64, foldhash::fast::RandomState>,
    last: Last,
    /// Takes the bytes that belong to no packet. There are none.
    nothing: Vec<u8>,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.droppable.is_empty() && self.kept.is_empty()
    }

    /// The buffer into which a packet is encoded.
    pub(super) fn buffer(&mut self, place: Place) -> &mut Vec<u8> {
        match place {
            Place::Droppable => self.add_droppable(Vec::new(), None, None),
            Place::Kept | Place::Always => {
                let number = self.number();
                self.kept.push_back(Waiting { number, own: Vec::new(), shared: None, key: None });
                self.last = Last::Kept;
            }
            Place::Follows => {}
        }
        let last = match self.last {
            Last::Kept => self.kept.back_mut(),
            Last::Droppable(position) => {
                usize::try_from(position - self.gone).ok().and_then(|at| self.droppable.get_mut(at))
            }
        };
        debug_assert!(last.is_some(), "a packet follows one that has left");
        last.map_or(&mut self.nothing, |waiting| &mut waiting.own)
    }

    /// Adds a packet that other outboxes hold as well.
    pub(super) fn push(&mut self, separator: Option<u8>, packet: Rc<[u8]>) {
        self.add_droppable(separator.into_iter().collect(), Some(packet), None);
    }

    /// Whether a packet of this key waits.
    fn holds(&self, key: &Key) -> bool {
        self.keys.contains_key(key)
    }

    /// Makes a place for a packet of this key: the place of the one that waits, or the end. Returns the bytes
    /// that were in that place; `None`: it is the end.
    fn conflate(&mut self, key: &Key) -> Option<usize> {
        if let Some(&position) = self.keys.get(key)
            && let Ok(at) = usize::try_from(position - self.gone)
            && let Some(waiting) = self.droppable.get_mut(at)
        {
            let bytes = waiting.len();
            waiting.own.clear();
            waiting.shared = None;
            self.last = Last::Droppable(position);
            return Some(bytes);
        }
        self.add_droppable(Vec::new(), None, Some(key.clone()));
        None
    }

    /// Sets the shared bytes of the packet that was added last.
    fn set_shared(&mut self, separator: Option<u8>, packet: Rc<[u8]>) {
        self.buffer(Place::Follows).extend(separator);
        if let Last::Droppable(position) = self.last
            && let Ok(at) = usize::try_from(position - self.gone)
            && let Some(waiting) = self.droppable.get_mut(at)
        {
            waiting.shared = Some(packet);
        }
    }

    /// Drops the oldest packet that may be dropped; returns its bytes.
    fn drop_oldest(&mut self) -> Option<usize> {
        self.take_droppable().map(|waiting| waiting.len())
    }

    fn take_first(&mut self) -> Option<Waiting> {
        let kept = self.kept.front().map_or(u64::MAX, |waiting| waiting.number);
        let droppable = self.droppable.front().map_or(u64::MAX, |waiting| waiting.number);
        if kept < droppable { self.kept.pop_front() } else { self.take_droppable() }
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn add_droppable(&mut self, own: Vec<u8>, shared: Option<Rc<[u8]>>, key: Option<Key>) {
        let (number, position) = (self.number(), self.gone + self.droppable.len() as u64);
        if let Some(key) = &key {
            self.keys.insert(key.clone(), position);
        }
        self.droppable.push_back(Waiting { number, own, shared, key });
        self.last = Last::Droppable(position);
    }

    fn take_droppable(&mut self) -> Option<Waiting> {
        let waiting = self.droppable.pop_front()?;
        self.gone += 1;
        if let Some(key) = &waiting.key {
            self.keys.remove(key);
        }
        Some(waiting)
    }
}

/// An outbox and its backlog.
impl Outbox {
    /// The bound for an outbox of a session that drops packets rather than let more than `max_bytes` wait:
    /// the bytes up to it are on their way, and are not dropped.
    pub fn on_way(max_bytes: usize) -> usize {
        (max_bytes / 2).clamp(1, ON_WAY)
    }

    /// Whether packets wait that are not on their way. Such a packet may be dropped or replaced, so no packet
    /// behind it may be written in a form that needs it.
    #[inline]
    pub fn has_backlog(&self) -> bool {
        self.has_backlog.get()
    }

    /// Changes the backlog. It begins behind the bytes that wait, of which there must be some.
    fn with_backlog<R>(&self, change: impl FnOnce(&mut Backlog) -> R) -> Option<R> {
        let mut lent = self.lend();
        let chunks = &mut lent.queue.as_deref_mut()?.chunks;
        if !self.has_backlog.replace(true) {
            debug_assert!(!self.is_empty(), "a backlog stands alone");
            chunks.push_back(Chunk::Backlog(Box::default()));
        }
        let Some(Chunk::Backlog(backlog)) = chunks.back_mut() else { return None };
        Some(change(backlog))
    }

    /// Begins the backlog: further packets are not on their way. Some bytes must wait.
    pub(crate) fn begin_backlog(&self) {
        self.with_backlog(|_| ());
    }

    /// Drops the oldest packets that may be, until fewer than `max_bytes` wait. Returns how many.
    pub(crate) fn drop_oldest(&self, max_bytes: usize) -> usize {
        let mut dropped = 0;
        self.with_backlog(|backlog| {
            while self.bytes.get() >= max_bytes
                && let Some(bytes) = backlog.drop_oldest()
            {
                self.bytes.set(self.bytes.get().saturating_sub(bytes));
                dropped += 1;
            }
        });
        dropped
    }

    /// Makes a place for a packet with a key: that of the packet of the same key that waits, which is
    /// replaced, or the end. The packet itself [follows](Place::Follows).
    pub(crate) fn conflate(&self, key: &Key) {
        let replaced = self.with_backlog(|backlog| backlog.conflate(key)).flatten();
        self.bytes.set(self.bytes.get().saturating_sub(replaced.unwrap_or(0)));
    }

    /// As [`push_shared`](Self::push_shared), in the place that [`conflate`](Self::conflate) has made.
    pub(crate) fn set_shared(&self, packet: &Rc<[u8]>) {
        let separator = self.framing.get().separator;
        self.with_backlog(|backlog| backlog.set_shared(separator, Rc::clone(packet)));
        self.bytes.set(self.bytes.get() + packet.len() + usize::from(separator.is_some()));
    }

    /// Whether a packet of this key waits.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.has_backlog() && self.with_backlog(|backlog| backlog.holds(key)).unwrap_or_default()
    }

    /// Hands packets of the backlog to the transport while fewer than `up_to` bytes are on their way.
    #[cold]
    pub(super) fn hand_on(&self, pool: &Pool, queue: &mut Queue, up_to: usize) {
        if !self.has_backlog.get() {
            return;
        }
        let Some(Chunk::Backlog(mut backlog)) = queue.chunks.pop_back() else { return };
        let on_way: usize = queue.chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
        let mut on_way = on_way.saturating_sub(queue.written);
        while on_way < up_to
            && let Some(first) = backlog.take_first()
        {
            on_way += first.len();
            append(&mut queue.chunks, pool, None, Chunk::Owned(first.own));
            if let Some(shared) = first.shared {
                append(&mut queue.chunks, pool, None, Chunk::Shared(shared));
            }
        }
        self.has_backlog.set(!backlog.is_empty());
        if !backlog.is_empty() {
            queue.chunks.push_back(Chunk::Backlog(backlog));
        }
    }
}

/// Adds a packet behind chunks that are on their way.
pub(super) fn append(chunks: &mut VecDeque<Chunk>, pool: &Pool, separator: Option<u8>, packet: Chunk) {
    let bytes = packet.as_slice();
    if bytes.is_empty() && separator.is_none() {
        return;
    }
    match chunks.back_mut() {
        Some(Chunk::Owned(buffer)) if bytes.len() <= COPY_UP_TO && buffer.len() < BUFFER_UP_TO => {
            buffer.extend(separator);
            buffer.extend_from_slice(bytes);
        }
        back => {
            if let Some(separator) = separator {
                if let Some(Chunk::Owned(buffer)) = back {
                    buffer.push(separator);
                } else {
                    let mut buffer = pool.buffer();
                    buffer.push(separator);
                    chunks.push_back(Chunk::Owned(buffer));
                }
            }
            chunks.push_back(packet);
        }
    }
}
