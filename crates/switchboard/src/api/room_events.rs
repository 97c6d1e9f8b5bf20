//! Room events: a function of the server's user is told when rooms come and go, and who joins and leaves
//! them.
//!
//! The hub tells of each worker's rooms. Here the workers that have sockets in a room are counted, so that a
//! room is created and deleted once for all of them. A server whose namespaces have no such functions has no
//! watch on its hub, and pays nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use switchboard_hub::{Hub, MemberId, RoomName, ScopeId, Watch, Worker};

use super::namespace::{Namespace, NamespaceInner};
use crate::SocketId;
use crate::functions::guarded;

/// A change of a namespace's rooms on this node: see [`Namespace::on_room_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent<'a> {
    /// A room has its first socket (`create-room`). Its [`Joined`](Self::Joined) follows.
    Created {
        /// The room's name.
        room: &'a str,
    },
    /// A socket has joined a room (`join-room`).
    Joined {
        /// The room's name.
        room: &'a str,
        /// The socket's id.
        socket: SocketId,
    },
    /// A socket has left a room, or its namespace (`leave-room`).
    Left {
        /// The room's name.
        room: &'a str,
        /// The socket's id.
        socket: SocketId,
    },
    /// The last socket of a room has left it (`delete-room`).
    Deleted {
        /// The room's name.
        room: &'a str,
    },
}

impl<'a> RoomEvent<'a> {
    /// The room's name.
    pub fn room(&self) -> &'a str {
        match *self {
            Self::Created { room }
            | Self::Joined { room, .. }
            | Self::Left { room, .. }
            | Self::Deleted { room } => room,
        }
    }

    /// The socket that has joined or left.
    pub fn socket(&self) -> Option<SocketId> {
        match *self {
            Self::Joined { socket, .. } | Self::Left { socket, .. } => Some(socket),
            Self::Created { .. } | Self::Deleted { .. } => None,
        }
    }
}

/// A function that is told of room events.
pub(crate) type OnRoomEvent = Arc<dyn Fn(&Namespace, &RoomEvent<'_>) + Send + Sync>;

impl Namespace {
    /// Calls the function with each change of the namespace's rooms on this node: `create-room`, `join-room`,
    /// `leave-room` and `delete-room` of Node's adapter. Set it before sockets connect: rooms that were
    /// joined before are not counted, so their [`Created`](RoomEvent::Created) and
    /// [`Deleted`](RoomEvent::Deleted) may be wrong.
    ///
    /// It is called on the thread of the socket's worker, after the change, and must not block. Each worker
    /// tells of its own changes in their order. Changes of sockets of different workers may be told at the
    /// same time, and in any order. A socket is told to have left its rooms after its
    /// [`on_disconnect`](Self::on_disconnect) began. The room of a socket's own id is not told: it comes and
    /// goes with the socket.
    ///
    /// ```
    /// use switchboard::{RoomEvent, Switchboard};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// io.of("/chat").on_room_event(|chat, event| match event {
    ///     RoomEvent::Created { room } => println!("{}: the room {room} is there", chat.name()),
    ///     RoomEvent::Deleted { room } => println!("{}: the room {room} is gone", chat.name()),
    ///     _ => {}
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_room_event(
        &self,
        function: impl Fn(&Namespace, &RoomEvent<'_>) + Send + Sync + 'static,
    ) -> &Self {
        let function: OnRoomEvent = Arc::new(function);
        self.inner.change(|table| table.room_events.push(function));
        for namespace in self.inner.members() {
            namespace.rooms.watch(&namespace);
        }
        self
    }
}

/// The namespaces of a server whose rooms are watched.
#[derive(Default)]
pub(crate) struct WatchedRooms {
    /// The watch that the hub has, once there is a function to tell.
    watch: OnceLock<Arc<RoomWatch>>,
}

impl WatchedRooms {
    /// Tells the namespace's functions of its rooms from now on.
    pub(super) fn watch(&self, namespace: &Arc<NamespaceInner>) {
        let watch = self.watch.get_or_init(|| RoomWatch::start(&namespace.hub));
        watch.add(namespace);
    }

    /// The scope was removed.
    pub(super) fn forget(&self, scope: ScopeId) {
        if let Some(watch) = self.watch.get() {
            watch.scopes.write().unwrap_or_else(PoisonError::into_inner).remove(&scope);
        }
    }
}

#[derive(Default)]
struct RoomWatch {
    scopes: RwLock<HashMap<ScopeId, Arc<WatchedScope>>>,
}

struct WatchedScope {
    namespace: Weak<NamespaceInner>,
    /// How many workers have sockets in each room.
    workers: Mutex<HashMap<RoomName, usize>>,
}

impl RoomWatch {
    fn start(hub: &Hub) -> Arc<Self> {
        let watch = Arc::new(Self::default());
        hub.watch(&(Arc::clone(&watch) as Arc<dyn Watch>));
        watch
    }

    fn add(&self, namespace: &Arc<NamespaceInner>) {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        scopes.entry(namespace.scope).or_insert_with(|| {
            Arc::new(WatchedScope { namespace: Arc::downgrade(namespace), workers: Mutex::default() })
        });
    }

    fn scope(&self, scope: ScopeId) -> Option<Arc<WatchedScope>> {
        self.scopes.read().unwrap_or_else(PoisonError::into_inner).get(&scope).cloned()
    }
}

impl WatchedScope {
    /// A worker has its first socket in a room. Returns whether no other worker has one there.
    fn enter(&self, room: &str) -> bool {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        match workers.get_mut(room) {
            Some(workers) => {
                *workers += 1;
                false
            }
            None => workers.insert(room.into(), 1).is_none(),
        }
    }

    /// A worker's last socket has left a room. Returns whether no other worker has one there.
    fn leave(&self, room: &str) -> bool {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        match workers.get_mut(room) {
            Some(others) if *others > 1 => {
                *others -= 1;
                false
            }
            _ => {
                workers.remove(room);
                true
            }
        }
    }

    /// Calls the namespace's functions, with nothing locked.
    fn tell(&self, event: RoomEvent<'_>) {
        let Some(inner) = self.namespace.upgrade() else { return };
        let functions = inner.table.load_full();
        let namespace = Namespace { inner };
        for function in &functions.room_events {
            let _panicked = guarded(|| function(&namespace, &event));
        }
    }
}

impl Watch for RoomWatch {
    fn joined(&self, _worker: &Worker, scope: ScopeId, room: &str, socket: MemberId, first: bool) {
        let Some(scope) = self.scope(scope) else { return };
        if first && scope.enter(room) {
            scope.tell(RoomEvent::Created { room });
        }
        scope.tell(RoomEvent::Joined { room, socket });
    }

    fn left(&self, _worker: &Worker, scope: ScopeId, room: &str, socket: MemberId, last: bool) {
        let Some(scope) = self.scope(scope) else { return };
        scope.tell(RoomEvent::Left { room, socket });
        if last && scope.leave(room) {
            scope.tell(RoomEvent::Deleted { room });
        }
    }
}
