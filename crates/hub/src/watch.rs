//! Watches on rooms: they are told of joins and leaves. They are for room events, for presence, and for a bus
//! that subscribes to rooms.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::hub::Hub;
use crate::member::MemberKey;
use crate::worker::Worker;
use crate::{MemberId, ScopeId};

/// Is told of joins and leaves of rooms. Its methods are called on the worker's thread after the change.
/// Nothing of the worker is borrowed then: they may call it. The room of a member's own id is not reported.
pub trait Watch: Send + Sync + 'static {
    /// A member has joined a room. `first`: none of this worker's members was in it before.
    fn joined(&self, worker: &Worker, scope: ScopeId, room: &str, member: MemberId, first: bool);

    /// A member has left a room, or its scope. `last`: none of this worker's members is in the room any more.
    fn left(&self, worker: &Worker, scope: ScopeId, room: &str, member: MemberId, last: bool);
}

/// The watches of a hub. They are few, and none goes.
#[derive(Default)]
pub(crate) struct Watches(ArcSwap<Vec<Arc<dyn Watch>>>);

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches").field("len", &self.0.load().len()).finish()
    }
}

impl Hub {
    /// Adds a watch on rooms. It is told of the joins and leaves from now on. They are told to the watches in
    /// the order in which these were added.
    pub fn watch(&self, watch: &Arc<dyn Watch>) {
        self.watches.0.rcu(|watches| {
            let mut watches = Vec::clone(watches);
            watches.push(Arc::clone(watch));
            watches
        });
    }

    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.0.load().is_empty()
    }
}

impl Worker {
    pub(crate) fn tell_watch(&self, tell: impl Fn(&dyn Watch)) {
        for watch in &**self.hub().watches.0.load() {
            self.catch_panic("a watch of rooms", || tell(&**watch));
        }
    }

    /// Tells of a member that is still there.
    pub(crate) fn tell_watch_of(&self, key: MemberKey, tell: impl Fn(&dyn Watch, ScopeId, MemberId)) {
        if !self.hub().is_watched() {
            return;
        }
        let member =
            self.rooms.borrow().get(key.index, key.generation).map(|member| (member.scope, member.id));
        if let Some((scope, id)) = member {
            self.tell_watch(|watch| tell(watch, scope, id));
        }
    }
}
