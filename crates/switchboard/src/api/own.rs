//! What few sockets have: handlers of their own, rates that their events count in, and events that wait for a
//! handler to be registered.

use std::sync::Arc;

use hashbrown::HashMap;

use super::early::Early;
use super::local::LocalSocket;
use super::table::Registered;
use crate::limits::meter::Meter;

/// Handlers of one socket alone, by event; `true`: for one event only.
type Handlers = HashMap<Box<str>, (Registered, bool), foldhash::fast::RandomState>;

#[derive(Default)]
pub(crate) struct Own {
    handlers: Handlers,
    pub(super) meters: Option<Arc<[Arc<Meter>]>>,
    pub(super) early: Early,
}

impl LocalSocket {
    /// Changes what the socket has of its own.
    pub(super) fn with_own<R>(&self, change: impl FnOnce(&mut Own) -> R) -> R {
        change(self.own.borrow_mut().get_or_insert_default())
    }

    pub(crate) fn register(&self, event: Box<str>, registered: Registered, once: bool) {
        // What it replaces is a user's: dropped when nothing is borrowed any more.
        let _before = self.with_own(|own| own.handlers.insert(event, (registered, once)));
    }

    pub(crate) fn unregister(&self, event: &str) {
        let _removed = self.own.borrow_mut().as_mut().and_then(|own| own.handlers.remove(event));
    }

    /// The socket's own handler of an event; one for a single event is taken.
    pub(crate) fn own_handler(&self, event: &str) -> Option<Registered> {
        let mut own = self.own.borrow_mut();
        let handlers = &mut own.as_mut()?.handlers;
        let (registered, once) = handlers.get(event)?;
        if *once {
            handlers.remove(event).map(|(registered, _)| registered)
        } else {
            Some(registered.clone())
        }
    }

    pub(super) fn drop_own(&self) {
        let own = self.own.take();
        if let Some(own) = &own {
            self.count_early(own.early.len());
        }
        drop(own);
        drop(self.own_early.take());
    }
}
