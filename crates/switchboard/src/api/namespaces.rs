//! The namespaces of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use switchboard_hub::{Hub, Payload, Remote, ReplySender, ServerEvent};

use super::namespace::NamespaceInner;
use super::options::SocketIoOptions;
use crate::event::{Dialects, Event};
use crate::states::{SharedStates, States};

/// The namespaces of a server, and what they share.
pub(crate) struct Namespaces {
    pub(crate) options: Arc<SocketIoOptions>,
    pub(crate) dialects: Arc<Dialects>,
    pub(crate) states: Arc<SharedStates>,
    hub: Arc<Hub>,
    by_name: ArcSwap<HashMap<Arc<str>, Arc<NamespaceInner>>>,
    /// Held while the namespaces are replaced.
    writing: Mutex<()>,
}

impl Namespaces {
    pub(crate) fn new(options: SocketIoOptions, hub: &Arc<Hub>, states: States) -> Arc<Self> {
        let namespaces = Arc::new(Self {
            options: Arc::new(options),
            dialects: Arc::default(),
            states: Arc::new(SharedStates::new(states)),
            hub: Arc::clone(hub),
            by_name: ArcSwap::default(),
            writing: Mutex::new(()),
        });
        // As in Node, the main namespace is there though nobody asked for it.
        namespaces.of("/");
        namespaces
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<NamespaceInner>> {
        self.by_name.load().get(name).cloned()
    }

    /// The namespace of this name, made where there is none. A missing leading slash is added, as in Node.
    pub(crate) fn of(&self, name: &str) -> Arc<NamespaceInner> {
        let name = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = self.namespace(&name) {
            return namespace;
        }
        let namespace = NamespaceInner::new(&name, &self.hub, &self.states, &self.options, &self.dialects);
        let mut namespaces = HashMap::clone(&self.by_name.load());
        namespaces.insert(Arc::clone(&namespace.name), Arc::clone(&namespace));
        self.by_name.store(Arc::new(namespaces));
        namespace
    }
}

/// The way requests of other nodes reach the server. The hub holds it, and the server holds the hub.
pub(crate) struct FromNodes(pub(crate) Weak<Namespaces>);

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
