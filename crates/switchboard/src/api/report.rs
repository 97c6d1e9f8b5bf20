//! What becomes of handlers' errors, panics and mistakes: `on_error`, or the log, which no peer can fill.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use switchboard_protocol::socketio::ArgsError;

use super::extract::Requirements;
use super::namespace::NamespaceInner;
use super::socket::Socket;
use crate::Error;
use crate::functions::guarded;

/// Which handler it is, by the method that registered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandlerKind {
    /// `on`, `on_concurrent`, `once`.
    Event,
    Any,
    AnyOutgoing,
    EventMiddleware,
    Middleware,
    Connect,
    Disconnect,
    ServerEvent,
}

impl HandlerKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "on",
            Self::Any => "on_any",
            Self::AnyOutgoing => "on_any_outgoing",
            Self::EventMiddleware => "event_middleware",
            Self::Middleware => "middleware",
            Self::Connect => "on_connect",
            Self::Disconnect => "on_disconnect",
            Self::ServerEvent => "on_server_event",
        }
    }
}

/// Where a handler's error came from, as [`Namespace::on_error`](crate::Namespace::on_error) sees it.
#[derive(Debug, Clone, Copy)]
pub struct ErrorContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) kind: HandlerKind,
    pub(crate) event: Option<&'a str>,
    /// The name of the handler's type.
    pub(crate) handler: &'static str,
}

impl<'a> ErrorContext<'a> {
    /// The socket whose handler failed.
    pub fn socket(&self) -> &'a Socket {
        self.socket
    }

    /// The event, where the handler is one of events.
    pub fn event(&self) -> Option<&'a str> {
        self.event
    }

    /// The method that registered the handler: `on` (also for those of
    /// [`on_concurrent`](crate::Namespace::on_concurrent) and [`once`](Socket::once)), `on_any`,
    /// `on_any_outgoing`, `event_middleware`, `middleware`, `on_connect` or `on_disconnect`.
    pub fn registered_by(&self) -> &'static str {
        self.kind.as_str()
    }

    /// The name of the handler's type, as [`std::any::type_name`] gives it: of a closure, it names the
    /// function that the closure is in. Empty where the error is no handler's
    /// ([`EventsDropped`](crate::EventsDropped)).
    pub fn handler(&self) -> &'static str {
        self.handler
    }

    fn namespace(&self) -> &'a NamespaceInner {
        &self.socket.shared.namespace
    }

    /// The event by its registered name: names that clients made up are no kinds of mistakes.
    fn registered_event(&self) -> &'a str {
        match (self.kind, self.event) {
            (HandlerKind::Event, Some(event)) => event,
            _ => self.kind.as_str(),
        }
    }

    /// Tells `on_error` of an error, or the log where there is none.
    pub(crate) fn report(&self, error: &Error) {
        metrics::counter!("switchboard_handler_errors_total").increment(1);
        let table = self.namespace().table.load();
        if let Some(on_error) = &table.error {
            let _panicked = guarded(|| on_error(self, error));
            return;
        }
        drop(table);
        if let Some(wanted) = error.wanted_type() {
            self.log_misfit(error, wanted);
        } else {
            self.log_failure(error);
        }
    }

    /// Any peer can cause it as often as it likes: the first of each kind is a warning.
    fn log_misfit(&self, error: &Error, wanted: &'static str) {
        let Self { event, handler, .. } = *self;
        let (namespace, socket) = (&*self.namespace().name, self.socket.id());
        let is_binary = matches!(error.downcast_ref(), Some(ArgsError::Attachment(_)));
        let hint = is_binary.then_some("binary data is read as `switchboard::Binary`, not as `Vec<u8>`");
        let kind = (self.registered_event(), wanted);
        if self.namespace().log.is_first(&kind) {
            tracing::warn!(
                namespace, event, wanted, %error, hint, handler, %socket,
                "what a client sent does not fit the type that its handler asks for, so the handler was not called; further cases of \
                 this event and type are logged at the level debug"
            );
        } else {
            tracing::debug!(
                namespace, event, wanted, %error, hint, handler, %socket,
                "what a client sent does not fit the type that its handler asks for"
            );
        }
    }

    fn log_failure(&self, error: &Error) {
        let Some(skipped) = self.namespace().log.admit() else { return };
        let Self { event, handler, kind, .. } = *self;
        tracing::warn!(
            namespace = &*self.namespace().name, event, registered_by = kind.as_str(), %error, handler,
            socket = %self.socket.id(), skipped, "a handler failed"
        );
    }

    /// A handler panicked, which is counted already.
    pub(crate) fn report_panic(&self) {
        let Some(skipped) = self.namespace().log.admit() else { return };
        let Self { event, handler, kind, .. } = *self;
        tracing::error!(
            namespace = &*self.namespace().name, event, registered_by = kind.as_str(), handler,
            socket = %self.socket.id(), skipped, "a handler panicked"
        );
    }

    /// A handler has held back its socket's events for a while; said once for each handler.
    pub(crate) fn report_held(&self, since: Duration) {
        let Self { event, handler, kind, .. } = *self;
        if self.namespace().log.is_first(&("held", self.registered_event(), handler)) {
            tracing::warn!(
                namespace = &*self.namespace().name, event, registered_by = kind.as_str(), handler,
                socket = %self.socket.id(), ?since,
                "a handler is still waiting, and events of its socket wait behind it; if they need not, register it with `on_concurrent`, \
                 or spawn a task from it"
            );
        }
    }
}

/// Says where a handler was registered that will never be called, or not with success.
pub(crate) fn check_registration(
    namespace: &NamespaceInner,
    kind: HandlerKind,
    event: Option<&str>,
    requirements: &Requirements,
) {
    for (_, state) in requirements.states.iter().filter(|(id, _)| !namespace.states.has(*id)) {
        tracing::error!(
            namespace = &*namespace.name,
            event,
            registered_by = kind.as_str(),
            state,
            "a handler asks for a `State` of a type that was not given to the server: give it with `Builder::state` or \
             `Switchboard::state` before the handler is registered"
        );
    }
    if let Some(event) = event {
        check_event(namespace, event);
    }
}

/// Names that mean something else in Node: no client sends them as events, or hardly any.
pub(crate) fn check_event(namespace: &NamespaceInner, event: &str) {
    let instead = match event {
        "connect" | "connection" => "on_connect",
        "disconnect" | "disconnecting" => "on_disconnect",
        "error" | "connect_error" => "on_error",
        _ => return,
    };
    if namespace.log.is_first(&("event", event)) {
        tracing::warn!(
            namespace = &*namespace.name,
            event,
            instead,
            "`on` handles events that clients send, and this is none of them"
        );
    }
}

/// What a namespace has logged: it bounds what its peers can make it log.
pub(crate) struct LogLimit {
    /// Hashes of the kinds of mistakes that were logged; 0 where there is room for one.
    kinds: [AtomicU64; MAX_KINDS],
    start: Instant,
    second: AtomicU64,
    /// Lines in that second.
    lines: AtomicU32,
    /// Lines that were too many since the last one.
    skipped: AtomicU64,
}

/// Further kinds of mistakes are not warned of.
const MAX_KINDS: usize = 64;

/// Further failures in the same second are counted; the next line that is logged says how many.
const MAX_LINES: u32 = 20;

impl Default for LogLimit {
    fn default() -> Self {
        Self {
            kinds: std::array::from_fn(|_| AtomicU64::new(0)),
            start: Instant::now(),
            second: AtomicU64::new(0),
            lines: AtomicU32::new(0),
            skipped: AtomicU64::new(0),
        }
    }
}

impl LogLimit {
    /// Whether it is the first of its kind.
    fn is_first(&self, kind: &impl Hash) -> bool {
        let hash = foldhash::fast::FixedState::default().hash_one(kind) | 1;
        for known in &self.kinds {
            let mut before = known.load(Ordering::Relaxed);
            if before == 0 {
                match known.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(other) => before = other,
                }
            }
            if before == hash {
                return false;
            }
        }
        false
    }

    /// Whether another line may be logged now, and how many before it were not.
    pub(crate) fn admit(&self) -> Option<u64> {
        let now = self.start.elapsed().as_secs();
        if self.second.swap(now, Ordering::Relaxed) != now {
            self.lines.store(0, Ordering::Relaxed);
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) >= MAX_LINES {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.skipped.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_told_from_later_ones() {
        let log = LogLimit::default();
        assert!(log.is_first(&("say", "u8")));
        assert!(!log.is_first(&("say", "u8")));
        assert!(log.is_first(&("say", "String")));
        let first = (0..1000).filter(|n| log.is_first(n)).count();
        assert_eq!(first, MAX_KINDS - 2, "no more kinds are kept than there is room for");
    }

    #[test]
    fn lines_are_bounded_and_those_left_out_are_counted() {
        let log = LogLimit::default();
        let logged = (0..1000).filter(|_| log.admit().is_some()).count() as u64;
        assert!(logged < 200, "{logged}");
        log.second.store(u64::MAX, Ordering::Relaxed);
        let skipped = log.admit().unwrap_or_default();
        assert!(skipped > 0 && skipped <= 1000 - u64::from(MAX_LINES), "{skipped}");
    }
}
