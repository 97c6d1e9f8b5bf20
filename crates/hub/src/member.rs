//! Members: a session in one scope, as rooms and fan-out see it.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::question::Asking;
use crate::sessions::Session;
use crate::worker::Worker;
use crate::{MemberId, ScopeId, Variant, WorkerId};

/// Finds a member again, on its worker. A key may outlive its member; it finds nothing then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberKey {
    /// The worker that the member belongs to.
    pub worker: WorkerId,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A member, as its protocol implements it. (The hub writes to the member's [`Session`](crate::Session).)
pub trait Endpoint: 'static {
    /// Disconnects the member from its scope; `close` closes its session too.
    fn disconnect(&self, close: bool);

    /// The member's client has come back by another connection: ends this one, as if it had broken. Default: it is
    /// [disconnected](Self::disconnect) with its session.
    fn supersede(&self) {
        self.disconnect(true);
    }

    /// Appends the application's data of the member's session, as
    /// [`SessionState::data`](crate::SessionState::data) holds it. Default: none.
    fn session_data(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Appends the bytes that describe the member to other workers and nodes: see
    /// [`SocketInfo`](crate::SocketInfo). Nothing of the worker is borrowed meanwhile. Default: none.
    fn snapshot(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Sends the member a message that asks for an answer. [`Asking::answer`] gives the sender of the answer,
    /// which is [`NoAnswer::TimedOut`](crate::NoAnswer::TimedOut) when the message's time is over. Returns
    /// whether the member is asked. Default: it cannot answer, and gets nothing.
    fn ask(&self, worker: &Rc<Worker>, asking: &Asking<'_>) -> bool {
        let _ = (worker, asking);
        false
    }

    /// The protocol's own type, for the protocol.
    fn as_any(&self) -> &dyn Any;
}

/// A room of a member, and the member's place in the room's list.
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
    /// Its place in its scope's list of all members.
    pub(crate) position: u32,
    pub(crate) entries: SmallVec<[RoomEntry; 2]>,
    /// The last fan-out that met this member, so that a member in two rooms gets one copy.
    pub(crate) mark: Cell<u64>,
    pub(crate) session: Rc<dyn Session>,
    pub(crate) endpoint: Rc<dyn Endpoint>,
}
