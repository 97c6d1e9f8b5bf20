//! Parents of namespaces that clients make: what they allow, and how a client's namespace is found.

use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};

use serde::de::DeserializeOwned;
use switchboard_hub::Worker;

use super::namespace::NamespaceInner;
use super::namespaces::{Namespaces, TooManyChildren};
use super::pattern::NamespacePattern;
use super::queue::{AuthCharge, JoinCharge};
use super::sockets::Sockets;
use crate::functions::{caught_future, guarded};
use crate::handshake::Handshake;
use crate::{Error, Result};

/// What a parent lets clients make.
#[derive(Clone)]
pub(crate) enum Allows {
    Pattern(NamespacePattern),
    Function(AllowsFn),
}

/// A function that is asked whether a client may make a namespace.
pub(crate) type AllowsFn =
    Arc<dyn Fn(NamespaceRequest) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// A parent, and what it lets clients make.
#[derive(Clone)]
pub(crate) struct Parent {
    pub(super) namespace: Arc<NamespaceInner>,
    pub(super) allows: Allows,
}

impl Parent {
    pub(super) fn is_pattern_of(&self, name: &str) -> bool {
        matches!(&self.allows, Allows::Pattern(pattern) if pattern.matches(name))
    }

    async fn allows(&self, request: &NamespaceRequest) -> bool {
        match &self.allows {
            Allows::Pattern(pattern) => pattern.matches(&request.name),
            Allows::Function(function) => match guarded(|| function(request.clone())) {
                Some(answer) => caught_future(answer).await.unwrap_or_else(|| {
                    tracing::error!(namespace = &*request.name, "a function of namespaces panicked");
                    false
                }),
                None => false,
            },
        }
    }
}

/// A client's wish for a namespace that is not there: see
/// [`Switchboard::of_function`](crate::Switchboard::of_function).
#[derive(Debug, Clone)]
pub struct NamespaceRequest {
    name: Arc<str>,
    auth: Arc<str>,
    handshake: Handshake,
}

impl NamespaceRequest {
    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the client sent to authenticate itself, as JSON; `{}` if it sent nothing.
    pub fn auth(&self) -> &str {
        if self.auth.is_empty() { "{}" } else { &self.auth }
    }

    /// The same, read with serde.
    ///
    /// # Errors
    /// What the client sent is not a `T`.
    pub fn auth_as<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(self.auth())?)
    }

    /// The request that the client's session began with.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl Namespaces {
    /// Whether a client may make namespaces.
    pub(super) fn has_parents(&self) -> bool {
        !self.parents().is_empty()
    }

    /// The child that a client asks for, made where there is none; `None`: no parent allows it.
    async fn find_child(
        &self,
        request: &NamespaceRequest,
    ) -> std::result::Result<Option<Arc<NamespaceInner>>, TooManyChildren> {
        if request.name.len() > self.options.max_child_name_bytes {
            return Ok(None);
        }
        for parent in &*self.parents() {
            if parent.allows(request).await {
                return self.child(&parent.namespace, &request.name).map(Some);
            }
        }
        Ok(None)
    }
}

/// A client that asks for a namespace which is not there. Middleware and the rest follow when it is.
///
/// It does not keep the client's sockets: where a function waits for ever, this is left of a client that has
/// gone.
pub(super) struct AskingForChild {
    worker: Rc<Worker>,
    namespaces: Arc<Namespaces>,
    sockets: Weak<Sockets>,
    request: NamespaceRequest,
    charge: Option<Rc<AuthCharge>>,
}

impl AskingForChild {
    /// Asks the parents in their order. Most of them do not wait; one that does goes on in a task.
    pub(super) fn start(
        worker: &Rc<Worker>,
        sockets: &Sockets,
        name: &str,
        auth: &str,
        charge: Option<Rc<AuthCharge>>,
    ) {
        let handshake = sockets.handshake().clone();
        let asking = Self {
            worker: Rc::clone(worker),
            namespaces: Arc::clone(sockets.namespaces()),
            sockets: sockets.weak(),
            request: NamespaceRequest { name: name.into(), auth: auth.into(), handshake },
            charge,
        };
        let mut asking = Box::pin(asking.run());
        if asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            let charge = JoinCharge::new(sockets.load());
            tokio::task::spawn_local(async move {
                asking.await;
                drop(charge);
            });
        }
    }

    async fn run(self) {
        let found = self.namespaces.find_child(&self.request).await;
        let Some(sockets) = self.sockets.upgrade() else { return };
        let NamespaceRequest { name, auth, .. } = &self.request;
        // The client may have left, or its session may have ended.
        if !sockets.end_asking(name) {
            return;
        }
        match found {
            Ok(Some(namespace)) => {
                if sockets.admit_to_child(&self.worker, &namespace) {
                    sockets.join(&self.worker, &namespace, auth, self.charge);
                }
            }
            Ok(None) => sockets.refuse(&self.worker, name, &Error::new("Invalid namespace")),
            Err(TooManyChildren) => sockets.refuse(&self.worker, name, &Error::new("too many namespaces")),
        }
    }
}
