//! Parents and children: namespaces that clients make by connecting, and the parent whose functions serve
//! them.
//!
//! A child has its parent's table of functions, and only then one of its own when functions are registered for
//! it alone. So a child costs no more than its name and its rooms. A parent is no namespace that a client can
//! be in: what is sent to it goes to its children.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::namespace::{Namespace, NamespaceInner};
use super::namespaces::Namespaces;
use super::table::Table;

/// A namespace's place among parents and children.
#[derive(Default)]
pub(super) struct Family {
    /// Of a child.
    parent: Option<Arc<NamespaceInner>>,
    /// Of a parent.
    children: Option<Mutex<Children>>,
    /// Of a child: the functions that were registered for it alone. Locked after the parent's children.
    own: Mutex<Option<Box<Table>>>,
    /// Of a namespace without a parent: held while its table is replaced.
    writing: Mutex<()>,
    /// Of a child that is removed when it is empty.
    presence: Option<Presence>,
}

#[derive(Default)]
struct Children {
    all: Vec<Weak<NamespaceInner>>,
    /// Those that have gone are taken off the list when it has so many entries.
    tidy_at: usize,
}

/// Who is in a child, and on the way into it.
struct Presence {
    server: Weak<Namespaces>,
    sockets: AtomicUsize,
}

/// The number of sockets of a child that was removed.
const REMOVED: usize = usize::MAX;

impl Family {
    pub(super) fn parent() -> Self {
        Self { children: Some(Mutex::default()), ..Self::default() }
    }

    /// `server`: it is removed when it is empty.
    pub(super) fn child(parent: &Arc<NamespaceInner>, server: Option<Weak<Namespaces>>) -> Self {
        let presence = server.map(|server| Presence { server, sockets: AtomicUsize::new(0) });
        Self { parent: Some(Arc::clone(parent)), presence, ..Self::default() }
    }

    fn lock_children(&self) -> Option<MutexGuard<'_, Children>> {
        let children = self.children.as_ref()?;
        Some(children.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Children {
    fn add(&mut self, child: &Arc<NamespaceInner>) {
        if self.all.len() >= self.tidy_at {
            self.all.retain(|child| child.strong_count() > 0);
            self.tidy_at = (self.all.len() * 2).max(64);
        }
        self.all.push(Arc::downgrade(child));
    }

    fn live(&self) -> impl Iterator<Item = Arc<NamespaceInner>> {
        self.all.iter().filter_map(Weak::upgrade)
    }
}

impl NamespaceInner {
    /// Replaces the functions, and those of its children.
    pub(super) fn change(&self, change: impl FnOnce(&mut Table)) {
        // Functions that are replaced are a user's: dropped when nothing is locked any more.
        let mut before = Vec::new();
        if let Some(parent) = &self.family.parent {
            let children = parent.family.lock_children();
            let own_before = {
                let mut own = self.family.own.lock().unwrap_or_else(PoisonError::into_inner);
                let mut table = own.as_deref().cloned().unwrap_or_default();
                change(&mut table);
                own.replace(Box::new(table))
            };
            before.push(self.inherit(parent));
            drop(children);
            drop(own_before);
            return;
        }
        let writing = self.family.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let children = self.family.lock_children();
        let mut table = Table::clone(&self.table.load());
        change(&mut table);
        before.push(self.table.swap(Arc::new(table)));
        if let Some(children) = &children {
            before.extend(children.live().map(|child| child.inherit(self)));
        }
        drop((children, writing));
        drop(before);
    }

    /// Takes the parent's functions, and its own after them. Returns the table that was there before.
    fn inherit(&self, parent: &Self) -> Arc<Table> {
        let own = self.family.own.lock().unwrap_or_else(PoisonError::into_inner);
        let of_parent = parent.table.load_full();
        self.table.swap(match &*own {
            Some(own) => Arc::new(of_parent.with(own)),
            None => of_parent,
        })
    }

    /// A child that was just made, and that nobody knows yet, takes what its parent has.
    pub(super) fn begin_as_child(self: &Arc<Self>) {
        let Some(parent) = &self.family.parent else { return };
        let Some(mut children) = parent.family.lock_children() else { return };
        let _empty = self.inherit(parent);
        self.ordered_broadcasts.store(parent.ordered_broadcasts.load(Ordering::Relaxed), Ordering::Relaxed);
        self.rates.store(parent.rates.load_full());
        if parent.tells_outgoing.load(Ordering::Relaxed) {
            self.begin_telling_outgoing();
        }
        if !self.table.load().room_events.is_empty() {
            self.rooms.watch(self);
        }
        if let Some(recovery) = parent.recovery.get() {
            self.keep_history(recovery.clone());
        }
        children.add(self);
    }

    /// Whether it is a parent.
    pub(super) fn is_parent(&self) -> bool {
        self.family.children.is_some()
    }

    /// Its children, if it is a parent.
    pub(super) fn children(&self) -> Vec<Arc<Self>> {
        self.family.lock_children().map_or_else(Vec::new, |children| children.live().collect())
    }

    /// The namespaces that what is sent to this one goes to: its children if it is a parent, else itself.
    pub(super) fn members(self: &Arc<Self>) -> Vec<Arc<Self>> {
        if self.is_parent() { self.children() } else { vec![Arc::clone(self)] }
    }

    /// A socket is on its way into the namespace. `false`: the namespace was removed, and the name is to be
    /// looked up again. Each socket [exits](Self::exit) once.
    pub(super) fn enter(&self) -> bool {
        let Some(presence) = &self.family.presence else { return true };
        let more = |sockets: usize| (sockets != REMOVED).then(|| sockets + 1);
        presence.sockets.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// The namespace is not removed from now on: others than sockets are in it.
    pub(crate) fn keep(&self) {
        let _removed = self.enter();
    }

    /// A socket has gone.
    #[inline]
    pub(super) fn exit(&self) {
        if let Some(presence) = &self.family.presence
            && presence.sockets.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(server) = presence.server.upgrade()
        {
            server.remove_empty(self);
        }
    }

    /// Refuses further sockets if there is none. Returns whether it does.
    pub(super) fn close_if_empty(&self) -> bool {
        // Clients of a session that waits for them come back to the namespace.
        let stays = self.recovery.get().is_some();
        self.family.presence.as_ref().filter(|_| !stays).is_some_and(|presence| {
            presence.sockets.compare_exchange(0, REMOVED, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }
}

impl Namespace {
    /// The namespaces that clients have made by connecting, if this is what [`of_pattern`] or [`of_function`]
    /// gave; in no order.
    ///
    /// [`of_pattern`]: crate::Switchboard::of_pattern
    /// [`of_function`]: crate::Switchboard::of_function
    pub fn children(&self) -> Vec<Namespace> {
        self.inner.children().into_iter().map(|inner| Namespace { inner }).collect()
    }

    /// The parent of a namespace that a client has made by connecting.
    pub fn parent(&self) -> Option<Namespace> {
        self.inner.family.parent.as_ref().map(|parent| Namespace { inner: Arc::clone(parent) })
    }
}
