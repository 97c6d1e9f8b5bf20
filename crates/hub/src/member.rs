//! Members: a session in one scope, as rooms and fan-out see it.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::sessions::Session;
use crate::{MemberId, Variant, WorkerId};

/// A namespace of ids and rooms; made by [`Hub::scope`](crate::Hub::scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId(pub(crate) u32);

/// Finds a member again, on its worker. A key outlives its member and then finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberKey {
    /// The worker that the member belongs to.
    pub worker: WorkerId,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What a protocol lets the hub do with a member besides writing to it.
pub trait Endpoint: 'static {
    /// Disconnects the member from its scope; `close` closes its session too.
    fn disconnect(&self, close: bool);

    /// Appends what other workers and nodes are shown of the member: see [`SocketInfo`](crate::SocketInfo). Nothing of the worker is
    /// borrowed meanwhile. Default: nothing.
    fn snapshot(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// The protocol's own type, for the protocol.
    fn as_any(&self) -> &dyn Any;
}

/// Where a member stands in a room's list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomEntry {
    pub(crate) room: u32,
    pub(crate) position: u32,
}

pub(crate) struct Member {
    pub(crate) generation: u32,
    pub(crate) scope: ScopeId,
    pub(crate) id: MemberId,
    pub(crate) variant: Variant,
    /// Where the member stands in its scope's list of all.
    pub(crate) position: u32,
    pub(crate) entries: SmallVec<[RoomEntry; 2]>,
    /// The fan-out that last met this member, so that one in two rooms gets one copy.
    pub(crate) mark: Cell<u64>,
    pub(crate) session: Rc<dyn Session>,
    pub(crate) endpoint: Rc<dyn Endpoint>,
}
