//! The server as an argument of handlers.

use std::sync::{Arc, Weak};

use super::Switchboard;
use crate::api::extract::{EventContext, FromEvent, FromSocket, HasSocket};
use crate::api::namespace::NamespaceInner;
use crate::api::namespaces::Namespaces;
use crate::api::server_events::ServerEvent;
use crate::engineio::EngineOptions;
use crate::server::WeakKeepAlive;
use crate::{Error, Result};

/// The server, as a value for handlers that does not keep it running.
pub(crate) struct WeakSwitchboard {
    server: WeakKeepAlive,
    namespaces: Weak<Namespaces>,
    /// Nothing else keeps those of a server whose last handle was dropped, while others are on its ports.
    engine: Arc<EngineOptions>,
}

impl WeakSwitchboard {
    pub(crate) fn new(io: &Switchboard) -> Self {
        Self {
            server: io.server.downgrade(),
            namespaces: Arc::downgrade(&io.namespaces),
            engine: Arc::clone(&io.engine),
        }
    }

    pub(crate) fn upgrade(&self) -> Option<Switchboard> {
        Some(Switchboard {
            server: self.server.upgrade()?,
            namespaces: self.namespaces.upgrade()?,
            engine: Arc::clone(&self.engine),
        })
    }
}

fn server_of(namespace: &NamespaceInner) -> Result<Switchboard> {
    let server = namespace.states.get::<WeakSwitchboard>();
    server.and_then(|server| server.upgrade()).ok_or_else(|| Error::internal("the server is no more"))
}

/// The server. It fails where the last handle to the server was dropped.
impl FromEvent for Switchboard {
    fn from_event(context: &EventContext<'_>) -> Result<Self> {
        server_of(&context.socket().shared.namespace)
    }
}

/// The server. It fails where the last handle to the server was dropped.
impl<C: HasSocket> FromSocket<C> for Switchboard {
    fn from_socket(context: &C) -> Result<Self> {
        server_of(&context.socket().shared.namespace)
    }
}

/// The server. It fails where the last handle to the server was dropped.
impl FromSocket<ServerEvent> for Switchboard {
    fn from_socket(context: &ServerEvent) -> Result<Self> {
        server_of(&context.namespace().inner)
    }
}
