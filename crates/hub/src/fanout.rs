//! Fan-out: one message to all members of a target, encoded once for each form that one of them needs.

use std::any::Any;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::history::Position;
use crate::outbox::{Framing, Key};
use crate::request::{Broadcast, Target};
use crate::sessions::Session;
use crate::worker::Worker;
use crate::{HubError, MemberKey};

/// The way in which a member's protocol writes messages. The protocols give it its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant(pub u32);

/// A message, before a protocol has encoded it.
pub trait Payload: Any + Send + Sync {
    /// Appends the message to `out` as one packet of the given variant and framing. `false`: members of this
    /// variant have no use for the message, and get nothing.
    fn encode(&self, variant: Variant, framing: Framing, out: &mut Vec<u8>) -> bool;

    /// A worker is about to send the message to its members in the target. It is called once on each worker,
    /// with nothing of the worker borrowed. What it sends itself comes before the message. Default: nothing.
    fn sending(&self, worker: &Worker, target: &Target) {
        let _ = (worker, target);
    }

    /// Whether the message is not to be compressed. A session that compresses all its waiting bytes as one is
    /// told by [`Session::note_plain`](crate::Session::note_plain).
    fn is_plain(&self) -> bool {
        false
    }

    /// The message has got its position in the history of its scope. Called once at most, before it is encoded.
    fn placed(&self, position: Position) {
        let _ = position;
    }

    /// The bytes that the message holds. They count in the inboxes in which it waits.
    fn bytes(&self) -> usize;

    /// Appends the message in a form that another process's
    /// [`Remote::read_payload`](crate::Remote::read_payload) reads.
    fn write(&self, out: &mut Vec<u8>);
}

/// Broadcasts that wait for the end of the turn at most. Further ones are added to the outboxes at once,
/// which have bounds of their own.
const DEFERRED_UP_TO: usize = 64;

/// The packets of one form, for members of one variant and one framing. `None`: these members have no use for
/// them.
type Form = (Variant, Framing, Option<Rc<[u8]>>);

/// Broadcasts to the same members. They are encoded once for each form, end to end.
struct Batch<'a> {
    broadcasts: &'a [Arc<Broadcast>],
    forms: SmallVec<[Form; 2]>,
}

impl<'a> Batch<'a> {
    fn new(broadcasts: &'a [Arc<Broadcast>]) -> Self {
        Self { broadcasts, forms: SmallVec::new() }
    }

    /// The packets for members of this variant and framing; `None` if these members have no use for any.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: 20 instructions of each delivery, as it has two callers"
    )]
    fn form(&mut self, worker: &Worker, variant: Variant, framing: Framing) -> Option<&Rc<[u8]>> {
        let known = self.forms.iter().position(|form| form.0 == variant && form.1 == framing);
        let at = known.unwrap_or_else(|| {
            let packets = worker
                .with_scratch(|out| self.encode(worker, variant, framing, out).then(|| Rc::from(&**out)));
            self.forms.push((variant, framing, packets));
            self.forms.len() - 1
        });
        self.forms.get(at).and_then(|form| form.2.as_ref())
    }

    fn encode(&self, worker: &Worker, variant: Variant, framing: Framing, out: &mut Vec<u8>) -> bool {
        let mut any = false;
        for broadcast in self.broadcasts {
            let before = out.len();
            if any {
                out.extend(framing.separator);
            }
            // A payload that panics is left out; the others of its batch are not.
            let encode = || broadcast.payload.encode(variant, framing, out);
            if worker.catch_panic("a payload's encoding", encode).unwrap_or_default() {
                any = true;
            } else {
                out.truncate(before);
            }
        }
        any
    }
}

/// Broadcasts to the same members, each by itself: for members whose packets may be dropped one by one.
struct Singles<'a> {
    broadcasts: &'a [Arc<Broadcast>],
    batches: Vec<Batch<'a>>,
}

impl<'a> Singles<'a> {
    fn new(broadcasts: &'a [Arc<Broadcast>]) -> Self {
        Self { broadcasts, batches: Vec::new() }
    }

    /// Adds the broadcasts to the outbox of a member. Returns whether it took one.
    #[cold]
    fn deliver(&mut self, worker: &Worker, session: &Rc<dyn Session>, variant: Variant) -> bool {
        if self.batches.is_empty() {
            self.batches.extend(self.broadcasts.chunks(1).map(Batch::new));
        }
        let mut any = false;
        for batch in &mut self.batches {
            let outbox = session.outbox();
            let plain = batch.broadcasts.iter().all(|broadcast| broadcast.payload.is_plain());
            let Some(packet) = batch.form(worker, variant, outbox.framing()) else { continue };
            if !plain {
                outbox.note_shared();
            }
            let before = outbox.bytes();
            if worker.deliver_shared(session, None, packet, 0) {
                any = true;
                if plain {
                    session.note_plain(before);
                }
            }
        }
        any
    }
}

impl Worker {
    /// Delivers a broadcast to this worker's members at the end of this turn, or before anything else is
    /// written to them. It goes to the members that are in its rooms at the time of the call.
    ///
    /// All broadcasts of a turn go to a member together: one visit to its memory, and one write.
    pub fn broadcast(&self, broadcast: Arc<Broadcast>) {
        broadcast.payload.sending(self, &broadcast.target);
        if broadcast.volatile || broadcast.key.is_some() {
            // The members' transports must take it now, not at the end of the turn; and it is not to be dropped
            // or replaced together with others.
            self.apply_deferred();
            self.fan_out(broadcast);
            return;
        }
        self.deferred.borrow_mut().push(broadcast);
        if self.deferred.borrow().len() >= DEFERRED_UP_TO {
            self.apply_deferred();
        } else {
            self.wake_flusher();
        }
    }

    /// Adds the waiting broadcasts to the outboxes, before something else is written and before members come
    /// or go.
    #[inline]
    pub fn apply_deferred(&self) {
        if !self.deferred.borrow().is_empty() {
            self.apply_deferred_now();
        }
    }

    fn apply_deferred_now(&self) {
        for broadcast in self.deferred.take() {
            self.fan_out(broadcast);
        }
    }

    /// Writes the waiting broadcasts at the end of the turn: straight to the transports that take them, else
    /// into outboxes.
    pub(crate) fn write_deferred(&self) {
        if self.deferred.borrow().is_empty() {
            return;
        }
        let deferred = self.deferred.take();
        for alike in deferred.chunk_by(|a, b| a.target == b.target) {
            self.fan_out_all(alike, true);
        }
    }

    /// Adds a broadcast to the outboxes of this worker's members, and returns to how many.
    ///
    /// No handler of a user runs inside: a member whose outbox is full is closed when the worker next
    /// flushes.
    pub fn fan_out(&self, broadcast: impl Into<Arc<Broadcast>>) -> usize {
        self.fan_out_all(&[broadcast.into()], false)
    }

    /// Adds broadcasts that a member has missed to its outbox.
    ///
    /// # Errors
    /// [`HubError::Gone`]; [`HubError::OutboxFull`]: none was added.
    pub fn deliver_missed(&self, key: MemberKey, missed: &[Arc<Broadcast>]) -> Result<(), HubError> {
        self.apply_deferred();
        let (session, variant) = {
            let rooms = self.rooms.borrow();
            let member = rooms.get(key.index, key.generation).ok_or(HubError::Gone)?;
            (Rc::clone(&member.session), member.variant)
        };
        let mut batch = Batch::new(missed);
        let Some(packets) = batch.form(self, variant, session.outbox().framing()) else { return Ok(()) };
        session.outbox().note_shared();
        if !self.deliver_shared(&session, None, packets, 0) {
            return Err(HubError::OutboxFull {
                bytes: session.outbox().bytes(),
                limit: session.outbox().limit(),
            });
        }
        self.stats().messages_sent.add(missed.len() as u64);
        Ok(())
    }

    fn fan_out_all(&self, broadcasts: &[Arc<Broadcast>], write: bool) -> usize {
        let Some(first) = broadcasts.first() else { return 0 };
        let count = broadcasts.len() as u64;
        let mut batch = Batch::new(broadcasts);
        let mut singles = Singles::new(broadcasts);
        let key = first.key.as_ref().map(|name| Key { scope: first.target.scope, name: Arc::clone(name) });
        let plain = broadcasts.iter().all(|broadcast| broadcast.payload.is_plain());
        let (mut delivered, mut dropped, mut written) = (0, 0, 0);
        self.visit(&first.target, |member| {
            let session = &member.session;
            if first.volatile && !session.writable() {
                dropped += count;
                return;
            }
            let outbox = session.outbox();
            if count > 1 && !outbox.is_empty() && (outbox.has_backlog() || outbox.check().is_err()) {
                delivered += usize::from(singles.deliver(self, session, member.variant));
                return;
            }
            let Some(packets) = batch.form(self, member.variant, outbox.framing()) else { return };
            delivered += 1;
            if !plain {
                outbox.note_shared();
            }
            // Bytes in an outbox are written first.
            let n =
                if write && outbox.is_empty() { session.write_through(&[IoSlice::new(packets)]) } else { 0 };
            written += n as u64;
            let before = outbox.bytes();
            if n < packets.len() && !self.deliver_shared(session, key.as_ref(), packets, n) {
                delivered -= 1;
            } else if plain {
                session.note_plain(before);
            }
        });
        let stats = self.stats();
        stats.messages_sent.add(delivered as u64 * count);
        stats.bytes_sent.add(written);
        stats.volatile_dropped.add(dropped);
        delivered
    }
}
