//! The way Engine.IO's sessions reach the namespaces.

use std::rc::Rc;
use std::sync::Arc;

use switchboard_hub::Worker;

use super::client::Client;
use super::dialect::SocketIoDialect;
use crate::api::namespaces::Namespaces;
use crate::engineio::application::{Application, Conversation};
use crate::engineio::session::EngineSession;
use crate::event::DialectId;

/// Socket.IO over the sessions of an Engine.IO endpoint.
pub(crate) struct SocketIo {
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) dialect: DialectId,
}

impl SocketIo {
    pub(crate) fn new(namespaces: &Arc<Namespaces>) -> Self {
        let dialect = namespaces.dialects.add(SocketIoDialect);
        Self { namespaces: Arc::clone(namespaces), dialect }
    }
}

impl Application for SocketIo {
    fn open(&self, _worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation> {
        Client::open(self, session)
    }
}
