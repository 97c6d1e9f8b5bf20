//! The namespaces of a Socket.IO server.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use switchboard_hub::{Hub, Payload, Remote, ReplySender, ServerEvent, Worker};

use super::client::Client;
use super::dialect::SocketIoDialect;
use crate::api::namespace::NamespaceInner;
use crate::api::options::SocketIoOptions;
use crate::engineio::application::{Application, Conversation};
use crate::engineio::session::EngineSession;
use crate::event::{DialectId, Dialects, Event};
use crate::states::{SharedStates, States};

/// A Socket.IO server: its namespaces.
pub(crate) struct SocketIo {
    pub(crate) options: Arc<SocketIoOptions>,
    /// The table of dialects, and Socket.IO's own row.
    pub(crate) dialects: Arc<Dialects>,
    pub(crate) dialect: DialectId,
    hub: Arc<Hub>,
    pub(crate) states: Arc<SharedStates>,
    namespaces: ArcSwap<HashMap<Arc<str>, Arc<NamespaceInner>>>,
    /// Held while the namespaces are replaced.
    writing: Mutex<()>,
}

impl SocketIo {
    pub(crate) fn new(options: SocketIoOptions, hub: &Arc<Hub>, states: States) -> Arc<Self> {
        let dialects = Arc::<Dialects>::default();
        let dialect = dialects.add(SocketIoDialect);
        let server = Arc::new(Self {
            dialects,
            dialect,
            options: Arc::new(options),
            hub: Arc::clone(hub),
            states: Arc::new(SharedStates::new(states)),
            namespaces: ArcSwap::default(),
            writing: Mutex::new(()),
        });
        // As in Node, the main namespace is there though nobody asked for it.
        server.of("/");
        server
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<NamespaceInner>> {
        self.namespaces.load().get(name).cloned()
    }

    /// The namespace of this name, made where there is none. A missing leading slash is added, as in Node.
    pub(crate) fn of(&self, name: &str) -> Arc<NamespaceInner> {
        let name = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = self.namespace(&name) {
            return namespace;
        }
        let namespace = NamespaceInner::new(&name, &self.hub, &self.states, &self.options, &self.dialects);
        let mut namespaces = HashMap::clone(&self.namespaces.load());
        namespaces.insert(Arc::clone(&namespace.name), Arc::clone(&namespace));
        self.namespaces.store(Arc::new(namespaces));
        namespace
    }
}

/// The way requests of other nodes reach the server. The hub holds it, and the server holds the hub.
pub(crate) struct FromNodes(pub(crate) Weak<SocketIo>);

impl Remote for FromNodes {
    fn read_payload(&self, bytes: &[u8]) -> Option<Arc<dyn Payload>> {
        let server = self.0.upgrade()?;
        Some(Arc::new(Event::read(bytes, |name| Some(Arc::clone(&server.namespace(name)?.events)))?))
    }

    fn on_event(&self, _event: ServerEvent, _reply: Option<ReplySender>) {
        metrics::counter!("switchboard_server_events_unhandled_total").increment(1);
        tracing::debug!("another node's event has no handler here");
    }
}

/// The way sessions reach the server.
pub(crate) struct SocketIoApplication(pub(crate) Arc<SocketIo>);

impl Application for SocketIoApplication {
    fn open(&self, _worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation> {
        Client::open(&self.0, session)
    }
}
