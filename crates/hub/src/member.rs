//! Members: a session in one scope, as rooms and fan-out see it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::sessions::Session;
use crate::{Variant, WorkerId};

/// A namespace of ids and rooms; made by [`Hub::scope`](crate::Hub::scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId(pub(crate) u32);

/// The public id of a member: 20 ASCII characters, unguessable, not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId([u8; 20]);

impl MemberId {
    /// The id of these characters; `None` unless all are ASCII letters, digits, `-` or `_`.
    pub fn new(characters: [u8; 20]) -> Option<Self> {
        let plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        characters.iter().all(plain).then_some(Self(characters))
    }

    /// Parses an id, as a room's name may be one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(text.as_bytes().try_into().ok()?)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // All characters were checked to be ASCII; the empty string stands for what cannot be.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As its text.
impl serde::Serialize for MemberId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for MemberId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a socket's id"))
    }
}

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
