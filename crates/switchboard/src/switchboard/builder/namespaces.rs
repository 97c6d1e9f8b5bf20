//! Options of dynamic namespaces, and of ids.

use super::Builder;
use crate::api::socket_ids::GenerateSocketId;
use crate::engineio::GenerateId;
use crate::handshake::Handshake;

impl Builder {
    /// Namespaces that clients may make by connecting, where there is a
    /// [pattern](crate::Switchboard::of_pattern) for them. Default 100 000.
    pub fn max_child_namespaces(mut self, namespaces: usize) -> Self {
        self.socketio.max_child_namespaces = namespaces;
        self
    }

    /// Whether a namespace that a client has made by connecting is removed when its last socket has gone
    /// (`cleanupEmptyChildNamespaces`). Functions that were registered for it alone go with it. A namespace
    /// whose connection state is recovered stays. Default: no.
    pub fn cleanup_empty_child_namespaces(mut self, cleanup: bool) -> Self {
        self.socketio.cleanup_empty_child_namespaces = cleanup;
        self
    }

    /// Makes the part of sessions' ids that is random by default (`generateId` of Node, whose ids are free text).
    /// The id names the worker in its first character or two, and these 14 bytes in the others, as base64 for
    /// URLs. Sessions of clients before Socket.IO 1.0 have random ids all the same.
    ///
    /// **A session's id is a secret**: whoever knows it can act as the session's client. The bytes must be
    /// unpredictable, from a cryptographically secure generator, and new each time. A session whose id is
    /// taken gets a 503. The function is called on the server's threads, and must not block.
    pub fn generate_id(mut self, generate: impl Fn(&Handshake) -> [u8; 14] + Send + Sync + 'static) -> Self {
        self.engine.generate_id = Some(GenerateId::new(generate));
        self
    }

    /// Makes the part of sockets' ids that is random by default, given the name of the namespace and the
    /// request that the session began with. The id names its node and worker in 4 characters, and these 12
    /// bytes in 16 others, as base64 for URLs.
    ///
    /// A socket's id is public. It must be new each time: if a socket of the same worker and namespace has it,
    /// the new socket gets a random one, which is an error in the log.
    pub fn generate_socket_id(
        mut self,
        generate: impl Fn(&str, &Handshake) -> [u8; 12] + Send + Sync + 'static,
    ) -> Self {
        self.socketio.generate_socket_id = Some(GenerateSocketId::new(generate));
        self
    }
}
