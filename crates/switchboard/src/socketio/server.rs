//! The namespaces of a Socket.IO server, and its options.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use switchboard_hub::{Hub, Worker};
use switchboard_protocol::socketio::Limits;

use super::client::Client;
use crate::api::namespace::NamespaceInner;
use crate::engineio::application::{Application, Conversation};
use crate::engineio::session::EngineSession;
use crate::states::States;

/// The options of the Socket.IO layer. Names and defaults are those of socket.io 4.8 unless it says otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SocketIoOptions {
    /// How long a client has to join a first namespace before its session is closed. Default 45 s.
    pub connect_timeout: Duration,
    /// Bounds on one packet: attachments (10) and their bytes in all (10 000 000).
    pub packets: Limits,
    /// Namespaces that one client may be in. Default 1000; further ones get a `CONNECT_ERROR`.
    pub max_namespaces: usize,
    /// Bytes of events of one socket that may wait for its handlers, or be with its concurrent ones. Default 1 MiB; then the client is
    /// not read until half of them have been handled.
    pub max_held_bytes: usize,
    /// Acknowledgements that may be awaited of one socket. Default 10 000; further ones are [`AckError::TooMany`](crate::AckError::TooMany).
    pub max_pending_acks: usize,
}

impl Default for SocketIoOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(45),
            packets: Limits::default(),
            max_namespaces: 1000,
            max_held_bytes: 1 << 20,
            max_pending_acks: 10_000,
        }
    }
}

/// A Socket.IO server: its namespaces.
pub(crate) struct SocketIo {
    pub(crate) options: SocketIoOptions,
    hub: Arc<Hub>,
    states: Arc<States>,
    namespaces: ArcSwap<HashMap<Arc<str>, Arc<NamespaceInner>>>,
    /// Held while the namespaces are replaced.
    writing: Mutex<()>,
}

impl SocketIo {
    pub(crate) fn new(options: SocketIoOptions, hub: &Arc<Hub>, states: States) -> Arc<Self> {
        let server = Arc::new(Self {
            options,
            hub: Arc::clone(hub),
            states: Arc::new(states),
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
        let namespace = NamespaceInner::new(&name, &self.hub, &self.states, &self.options);
        let mut namespaces = HashMap::clone(&self.namespaces.load());
        namespaces.insert(Arc::clone(&namespace.name), Arc::clone(&namespace));
        self.namespaces.store(Arc::new(namespaces));
        namespace
    }
}

/// The way sessions reach the server.
pub(crate) struct SocketIoApplication(pub(crate) Arc<SocketIo>);

impl Application for SocketIoApplication {
    fn open(&self, _worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation> {
        Client::open(&self.0, session)
    }
}
