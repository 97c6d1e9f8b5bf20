//! The ids of sockets, where the server's user makes the random part of them.

use std::fmt;
use std::sync::Arc;

use switchboard_hub::{MemberId, Worker};

use super::namespace::NamespaceInner;
use crate::functions::guarded;
use crate::handshake::Handshake;

/// A function that makes the part of sockets' ids that is random by default: see
/// [`Builder::generate_socket_id`](crate::Builder::generate_socket_id).
#[derive(Clone)]
pub struct GenerateSocketId(Arc<Generate>);

type Generate = dyn Fn(&str, &Handshake) -> [u8; 12] + Send + Sync;

impl GenerateSocketId {
    /// The ids that this function makes, given the name of the namespace and the request that the session
    /// began with.
    pub fn new(generate: impl Fn(&str, &Handshake) -> [u8; 12] + Send + Sync + 'static) -> Self {
        Self(Arc::new(generate))
    }
}

impl fmt::Debug for GenerateSocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerateSocketId").finish_non_exhaustive()
    }
}

/// An id for a socket that joins a namespace. `None` where the system has no randomness.
pub(super) fn new_socket_id(
    worker: &Worker,
    namespace: &NamespaceInner,
    handshake: &Handshake,
) -> Option<MemberId> {
    let Some(GenerateSocketId(generate)) = &namespace.options.generate_socket_id else {
        return worker.new_member_id();
    };
    let made = guarded(|| generate(&namespace.name, handshake)).map(|part| worker.member_id_with(part));
    let new = made.filter(|id| !worker.has_member(namespace.scope, *id));
    if new.is_none() {
        tracing::error!(
            namespace = &*namespace.name,
            "`generate_socket_id` made no new id: a random one is used"
        );
    }
    new.or_else(|| worker.new_member_id())
}
