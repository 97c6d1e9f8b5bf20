//! The ids of sessions. An id names the worker that owns its session; the rest is random, unless the server's
//! user makes it.

use std::fmt;
use std::sync::Arc;

use switchboard_hub::{Hub, WorkerId};
use switchboard_protocol::engineio::{SessionId, Version};

use crate::functions::guarded;
use crate::handshake::Handshake;

/// A function that makes the part of sessions' ids that is random by default: see
/// [`Builder::generate_id`](crate::Builder::generate_id).
#[derive(Clone)]
pub struct GenerateId(Arc<Generate>);

type Generate = dyn Fn(&Handshake) -> [u8; 14] + Send + Sync;

impl GenerateId {
    /// The ids that this function makes, given the request that the session begins with.
    pub fn new(generate: impl Fn(&Handshake) -> [u8; 14] + Send + Sync + 'static) -> Self {
        Self(Arc::new(generate))
    }
}

impl fmt::Debug for GenerateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerateId").finish_non_exhaustive()
    }
}

/// An id for a session of a worker, of this version; `None` where the system has no randomness, or the user's
/// function panics.
///
/// A client of protocol 3 takes it for the id of its socket, so a room has its name: such an id is none that the
/// hub could take for one of its own.
pub(super) fn new_id(
    generate: Option<&GenerateId>,
    version: Version,
    hub: &Hub,
    worker: WorkerId,
    handshake: &Handshake,
) -> Option<SessionId> {
    let is_fit = |sid: &SessionId| version != Version::V3 || !hub.is_like_own_id(sid.as_str());
    if let Some(GenerateId(generate)) = generate {
        let made = guarded(|| generate(handshake))?;
        let sid = SessionId::new(worker.0, made);
        if is_fit(&sid) {
            return Some(sid);
        }
    }
    loop {
        let sid = random_id(worker)?;
        if is_fit(&sid) {
            return Some(sid);
        }
    }
}

/// A random id for a session of a worker; `None` where the system has no randomness.
pub(crate) fn random_id(worker: WorkerId) -> Option<SessionId> {
    let mut random = [0; 14];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "no randomness for a session id");
        return None;
    }
    Some(SessionId::new(worker.0, random))
}
