//! A watch on rooms: it is told of joins and leaves. It is for presence, and for a bus that subscribes to
//! rooms.

use std::sync::Arc;

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

/// The watch of a hub.
pub(crate) struct WatchHandle(Arc<dyn Watch>);

impl std::fmt::Debug for WatchHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchHandle").finish_non_exhaustive()
    }
}

impl Hub {
    /// Sets the watch on rooms, before members come. `false`: there is one already, which stays.
    pub fn watch(&self, watch: Arc<dyn Watch>) -> bool {
        self.watch.set(WatchHandle(watch)).is_ok()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watch.get().is_some()
    }
}

impl Worker {
    pub(crate) fn tell_watch(&self, tell: impl FnOnce(&dyn Watch)) {
        if let Some(WatchHandle(watch)) = self.hub().watch.get() {
            self.catch_panic("a watch of rooms", || tell(&**watch));
        }
    }

    /// Tells of a member that is still there.
    pub(crate) fn tell_watch_of(&self, key: MemberKey, tell: impl FnOnce(&dyn Watch, ScopeId, MemberId)) {
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
