//! Fan-out: one message to all members that are meant, encoded once for each form that any of them needs.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::command::Broadcast;
use crate::outbox::Framing;
use crate::worker::Worker;

/// How a member's protocol writes messages. Opaque to the hub; the protocols give it its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant(pub u32);

/// A message, before it is written in anyone's protocol.
pub trait Payload: Send + Sync + 'static {
    /// Appends the message to `out` as one packet of the given variant and framing. `false`: members of this variant have
    /// no use for it, and get nothing.
    fn encode(&self, variant: Variant, framing: Framing, out: &mut Vec<u8>) -> bool;
}

/// The encoded forms of one broadcast on one worker.
type Forms = SmallVec<[(Variant, Framing, Option<Rc<[u8]>>); 2]>;

impl Worker {
    /// Delivers a broadcast to this worker's members, and returns to how many.
    ///
    /// Nothing of a user's runs inside: a member whose outbox is full is closed when the worker next flushes.
    pub fn fan_out(self: &Rc<Self>, broadcast: &Broadcast) -> usize {
        let mut forms = Forms::new();
        let mut delivered = 0;
        let mut dropped = 0;
        self.visit(&broadcast.target, |member| {
            let session = &member.session;
            if broadcast.volatile && !session.writable() {
                dropped += 1;
                return;
            }
            let framing = session.outbox().framing();
            let known = forms.iter().position(|form| form.0 == member.variant && form.1 == framing);
            let form = if let Some(at) = known {
                forms.get(at)
            } else {
                let packet = self.encode(broadcast, member.variant, framing);
                forms.push((member.variant, framing, packet));
                forms.last()
            };
            if let Some((_, _, Some(packet))) = form
                && self.deliver_shared(session, packet)
            {
                delivered += 1;
            }
        });
        self.stats().volatile_dropped.add(dropped);
        delivered
    }

    fn encode(&self, broadcast: &Broadcast, variant: Variant, framing: Framing) -> Option<Rc<[u8]>> {
        self.with_scratch(|out| broadcast.payload.encode(variant, framing, out).then(|| Rc::from(&**out)))
    }
}
