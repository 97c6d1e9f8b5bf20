//! The namespaces of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use arc_swap::ArcSwap;
use switchboard_hub::{Hub, Payload, Remote, ReplySender, ScopeId, ServerEvent};

use super::namespace::{Namespace, NamespaceInner};
use super::options::SocketIoOptions;
use super::parents::{Allows, Parent};
use super::room_events::WatchedRooms;
use super::server_events;
use crate::event::{Dialects, Event};
use crate::functions::guarded;
use crate::limits::network::AddressMeters;
use crate::states::{SharedStates, States, replace};

/// The namespaces of a server, and what they share.
pub(crate) struct Namespaces {
    pub(crate) options: Arc<SocketIoOptions>,
    pub(crate) dialects: Arc<Dialects>,
    pub(crate) states: Arc<SharedStates>,
    /// The rates of addresses, if they have any.
    pub(super) address_meters: Option<AddressMeters>,
    pub(super) hub: Arc<Hub>,
    /// What the hub's names of these namespaces begin with, beside those of other servers on one port.
    prefix: String,
    /// The namespaces of all servers on these ports.
    servers: Servers,
    pub(super) rooms: Arc<WatchedRooms>,
    by_name: ArcSwap<HashMap<Arc<str>, Arc<NamespaceInner>>>,
    /// Held while the namespaces are replaced.
    writing: Mutex<()>,
    parents: ArcSwap<Vec<Parent>>,
    /// Namespaces that clients have made.
    children: RwLock<HashMap<Arc<str>, Arc<NamespaceInner>>>,
    /// Told of each namespace that is made.
    on_new: ArcSwap<Vec<OnNew>>,
    me: Weak<Self>,
}

/// The namespaces of each server on the same ports.
type Servers = Arc<ArcSwap<Vec<Weak<Namespaces>>>>;

/// A function that is told of each namespace that is made.
pub(crate) type OnNew = Arc<dyn Fn(&Namespace) + Send + Sync>;

/// There are as many children as there may be.
#[derive(Debug)]
pub(super) struct TooManyChildren;

impl Namespaces {
    /// The namespaces of a process's first server.
    pub(crate) fn new(options: SocketIoOptions, hub: &Arc<Hub>, states: States) -> Arc<Self> {
        Self::start(options, hub, states, String::new(), Arc::default())
    }

    /// The namespaces of a further server on the same ports, at a path of its own.
    pub(crate) fn beside(&self, path: &str, options: SocketIoOptions, states: States) -> Arc<Self> {
        // Names of namespaces begin with a slash, and no path has a `#`: the hub's names of two servers differ.
        let prefix = format!("{}#", path.trim_matches('/'));
        Self::start(options, &self.hub, states, prefix, Arc::clone(&self.servers))
    }

    fn start(
        options: SocketIoOptions,
        hub: &Arc<Hub>,
        states: States,
        prefix: String,
        servers: Servers,
    ) -> Arc<Self> {
        let namespaces = Arc::new_cyclic(|me| Self {
            address_meters: options.address_limits.map(AddressMeters::new),
            options: Arc::new(options),
            dialects: Arc::default(),
            states: Arc::new(SharedStates::new(states)),
            hub: Arc::clone(hub),
            prefix,
            servers,
            rooms: Arc::default(),
            by_name: ArcSwap::default(),
            writing: Mutex::new(()),
            parents: ArcSwap::default(),
            children: RwLock::default(),
            on_new: ArcSwap::default(),
            me: Weak::clone(me),
        });
        replace(&namespaces.servers, |servers| servers.push(Arc::downgrade(&namespaces)));
        // As in Node, the main namespace is there though nobody asked for it.
        namespaces.of("/");
        namespaces
    }

    /// The hub's name of a namespace.
    pub(super) fn scope_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The hub's scope of a namespace, made where there is none.
    pub(super) fn scope(&self, name: &str) -> ScopeId {
        self.hub.scope(&self.scope_name(name))
    }

    /// The namespace that has this name at the hub, of any server.
    fn by_scope_name(&self, scope: &str) -> Option<Arc<NamespaceInner>> {
        let servers = self.servers.load();
        servers.iter().filter_map(Weak::upgrade).find_map(|server| {
            let name = scope.strip_prefix(&*server.prefix)?;
            server.namespace(name)
        })
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<NamespaceInner>> {
        let fixed = self.by_name.load().get(name).cloned();
        if fixed.is_some() || self.parents.load().is_empty() {
            return fixed;
        }
        self.children.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The namespace of this name, made where there is none. A missing leading slash is added, as in Node.
    /// Where a pattern matches, it is a child of that pattern's parent.
    pub(crate) fn of(&self, name: &str) -> Arc<NamespaceInner> {
        let name = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        if let Some(namespace) = self.namespace(&name) {
            return namespace;
        }
        let parents = self.parents.load_full();
        if let Some(parent) = parents.iter().find(|parent| parent.is_pattern_of(&name))
            && let Ok(child) = self.child(&parent.namespace, &name)
        {
            return child;
        }
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = self.by_name.load().get(&*name) {
            return Arc::clone(namespace);
        }
        let namespace = NamespaceInner::new(&name, self);
        let mut namespaces = HashMap::clone(&self.by_name.load());
        namespaces.insert(Arc::clone(&namespace.name), Arc::clone(&namespace));
        self.by_name.store(Arc::new(namespaces));
        drop(writing);
        self.tell_new(&namespace);
        namespace
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<NamespaceInner>> {
        let mut all: Vec<_> = self.by_name.load().values().cloned().collect();
        all.extend(self.children.read().unwrap_or_else(PoisonError::into_inner).values().cloned());
        all
    }

    // Parents and children.

    /// Adds a parent behind those that are there.
    pub(crate) fn add_parent(&self, name: &str, allows: Allows) -> Arc<NamespaceInner> {
        let parent = Parent { namespace: NamespaceInner::new_parent(name, self), allows };
        replace(&self.parents, |parents| parents.push(parent.clone()));
        parent.namespace
    }

    pub(super) fn parents(&self) -> Arc<Vec<Parent>> {
        self.parents.load_full()
    }

    /// Whether children are removed when they are empty, by whom.
    pub(super) fn cleanup(&self) -> Option<Weak<Self>> {
        self.options.cleanup_empty_child_namespaces.then(|| Weak::clone(&self.me))
    }

    /// The namespace of this name, which is made as a child of the parent where there is none.
    pub(super) fn child(
        &self,
        parent: &Arc<NamespaceInner>,
        name: &str,
    ) -> Result<Arc<NamespaceInner>, TooManyChildren> {
        let child = {
            let mut children = self.children.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = children.get(name).or(self.by_name.load().get(name)) {
                return Ok(Arc::clone(known));
            }
            if children.len() >= self.options.max_child_namespaces {
                metrics::counter!("switchboard_child_namespaces_refused_total").increment(1);
                return Err(TooManyChildren);
            }
            let child = NamespaceInner::new_child(name, self, parent);
            children.insert(Arc::clone(&child.name), Arc::clone(&child));
            child
        };
        tracing::debug!(namespace = name, "a client made a namespace");
        self.tell_new(&child);
        Ok(child)
    }

    /// Removes a child, if no socket is in it or on its way into it.
    pub(super) fn remove_empty(&self, child: &NamespaceInner) {
        let removed = {
            let mut children = self.children.write().unwrap_or_else(PoisonError::into_inner);
            if !child.close_if_empty() {
                return;
            }
            self.hub.remove_scope(child.scope);
            children.remove(&child.name)
        };
        self.rooms.forget(child.scope);
        // Its functions are a user's: dropped when nothing is locked any more.
        drop(removed);
        tracing::debug!(namespace = &*child.name, "an empty namespace was removed");
    }

    /// Calls the function with each namespace that is made from now on.
    pub(crate) fn on_new(&self, function: &OnNew) {
        replace(&self.on_new, |functions| functions.push(Arc::clone(function)));
    }

    /// Tells the user's functions of a namespace, with nothing locked.
    fn tell_new(&self, namespace: &Arc<NamespaceInner>) {
        for function in &**self.on_new.load() {
            let _panicked = guarded(|| function(&Namespace { inner: Arc::clone(namespace) }));
        }
    }
}

/// The way requests of other nodes reach the server. The hub holds it, and the server holds the hub.
pub(crate) struct FromNodes(pub(crate) Weak<Namespaces>);

impl Remote for FromNodes {
    fn read_payload(&self, bytes: &[u8]) -> Option<Arc<dyn Payload>> {
        let server = self.0.upgrade()?;
        Some(Arc::new(Event::read(bytes, |name| Some(Arc::clone(&server.by_scope_name(name)?.events)))?))
    }

    fn on_event(&self, event: ServerEvent, reply: Option<ReplySender>) {
        let Some(server) = self.0.upgrade() else { return };
        let name = server.hub.scope_name(event.scope);
        server_events::receive(name.and_then(|name| server.by_scope_name(&name)), event.data, reply);
    }
}
