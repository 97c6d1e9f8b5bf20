//! The way Engine.IO's sessions reach the namespaces.

use std::rc::Rc;
use std::sync::Arc;

use switchboard_hub::Worker;
use switchboard_protocol::engineio::Version;

use super::client::Client;
use super::dialect::SocketIoDialect;
use super::parser::Parser;
use super::parser::client::ParsedClient;
use super::parser::dialect::ParserDialect;
use super::v4::{ClientV4, DialectV4};
use crate::api::namespaces::Namespaces;
use crate::engineio::application::{Application, Conversation};
use crate::engineio::session::EngineSession;
use crate::event::DialectId;

/// Socket.IO over the sessions of an Engine.IO endpoint.
pub(crate) struct SocketIo {
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) dialect: DialectId,
    /// The dialect of clients of Engine.IO protocol 3, which speak by the default parser.
    pub(crate) dialect_v4: DialectId,
    /// `None`: the default one, which costs no call.
    parser: Option<Arc<dyn Parser>>,
}

impl SocketIo {
    pub(crate) fn new(namespaces: &Arc<Namespaces>, parser: Option<Arc<dyn Parser>>) -> Self {
        let dialect = match &parser {
            None => namespaces.dialects.add(SocketIoDialect),
            Some(parser) => namespaces.dialects.add_another(ParserDialect(Arc::clone(parser))),
        };
        let dialect_v4 = namespaces.dialects.add(DialectV4);
        Self { namespaces: Arc::clone(namespaces), dialect, dialect_v4, parser }
    }
}

impl Application for SocketIo {
    fn open(&self, _worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation> {
        match (session.version(), &self.parser) {
            (Version::V3, _) => ClientV4::open(self, session),
            (Version::V4, None) => Client::open(self, session),
            (Version::V4, Some(parser)) => ParsedClient::open(self, session, parser),
        }
    }
}
