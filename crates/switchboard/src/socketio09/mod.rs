//! Socket.IO 0.9 (protocol 1, clients of 0.7 to 0.9) and 0.6, the server's end: sessions over WebSocket,
//! htmlfile, multipart, and polling by XHR or JSONP.
//!
//! Sources: `LearnBoost/socket.io-spec`, socket.io 0.9.19 and 0.6.17. Reading order: [`request`] (what a path
//! asks for), [`decide`] (its checks), [`exchange`] (on the session's worker), [`session`], [`carrier`] and
//! [`dialect`]. The packets are in `switchboard_protocol::socketio09` and `socketio06`.

mod answers;
mod carrier;
mod decide;
mod dialect;
mod exchange;
mod input;
mod options;
mod refused;
mod request;
mod session;

use std::sync::Arc;

use switchboard_protocol::socketio09::Times;

use crate::api::namespaces::Namespaces;
use crate::engineio::EngineServer;
use crate::event::DialectId;
use crate::http::cors::Origins;
use dialect::{Dialect06, Dialect09};
pub use options::OldClientOptions;

/// The two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Version {
    V09,
    V06,
}

/// The old clients of one Socket.IO endpoint. Its options, and its bounds on sessions, are those of the
/// endpoint.
pub(crate) struct OldClients {
    engine: Arc<EngineServer>,
    options: OldClientOptions,
    namespaces: Arc<Namespaces>,
    dialect_09: DialectId,
    dialect_06: DialectId,
    /// As those of the endpoint. 0.9 asks with credentials in each request to another origin, and browsers keep an
    /// answer from it that does not allow them.
    cors_09: Origins,
}

impl OldClients {
    pub(crate) fn new(
        engine: &Arc<EngineServer>,
        options: OldClientOptions,
        namespaces: &Arc<Namespaces>,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            options,
            namespaces: Arc::clone(namespaces),
            dialect_09: namespaces.dialects.add(Dialect09),
            dialect_06: namespaces.dialects.add(Dialect06),
            cors_09: engine.options.origins.clone().credentials(true),
        }
    }

    fn dialect(&self, version: Version) -> DialectId {
        match version {
            Version::V09 => self.dialect_09,
            Version::V06 => self.dialect_06,
        }
    }

    fn times(&self, version: Version) -> Times {
        match version {
            Version::V09 => self.options.times_09(),
            Version::V06 => self.options.times_06(),
        }
    }

    fn cors(&self, version: Version) -> &Origins {
        match version {
            Version::V09 => &self.cors_09,
            Version::V06 => &self.engine.options.origins,
        }
    }
}
