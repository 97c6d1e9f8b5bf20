//! Handlers of one socket alone.

use super::handler::{EventHandler, event_handler};
use super::report::check_event;
use super::socket::Socket;
use super::table::Registered;
use crate::EmitError;

impl Socket {
    /// Handles an event of this socket alone, instead of the namespace's handler. See
    /// [`Namespace::on`](crate::Namespace::on). It replaces the socket's own handler of that event, if it has
    /// one.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn on<M>(&self, event: &str, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        self.register(event, Registered { handler: event_handler(handler), concurrent: false }, false)
    }

    /// As [`on`](Self::on), but further events do not wait for an async handler to be done.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn on_concurrent<M>(&self, event: &str, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        self.register(event, Registered { handler: event_handler(handler), concurrent: true }, false)
    }

    /// As [`on`](Self::on), for the next such event only.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn once<M>(&self, event: &str, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        self.register(event, Registered { handler: event_handler(handler), concurrent: false }, true)
    }

    fn register(&self, event: &str, registered: Registered, once: bool) -> Result<(), EmitError> {
        check_event(&self.shared.namespace, event);
        let event: Box<str> = event.into();
        self.on_worker(move |worker, local| {
            local.register(event.clone(), registered, once);
            local.hand_over_early(worker, &event);
            Ok(())
        })
    }

    /// Calls the handler with every event of this socket alone, after those of
    /// [`Namespace::on_any`](crate::Namespace::on_any).
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn on_any<M>(&self, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        let handler = event_handler(handler);
        self.on_worker(move |_, local| {
            local.change_own_early(|own| own.any.push(handler));
            Ok(())
        })
    }

    /// As [`on_any`](Self::on_any), before those that were registered so far.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn prepend_any<M>(&self, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        let handler = event_handler(handler);
        self.on_worker(move |_, local| {
            local.change_own_early(|own| own.any.insert(0, handler));
            Ok(())
        })
    }

    /// Takes back all handlers of [`on_any`](Self::on_any) of this socket's own.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn off_any(&self) -> Result<(), EmitError> {
        self.on_worker(move |_, local| {
            // They are the user's: dropped when nothing is borrowed any more.
            drop(local.change_own_early(|own| std::mem::take(&mut own.any)));
            Ok(())
        })
    }

    /// Calls the handler with every event of this socket alone, after those of
    /// [`Namespace::event_middleware`](crate::Namespace::event_middleware); an `Err` of its stops the event
    /// (`socket.use` of Node).
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn event_middleware<M>(&self, middleware: impl EventHandler<M>) -> Result<(), EmitError> {
        let middleware = event_handler(middleware);
        self.on_worker(move |_, local| {
            local.change_own_early(|own| own.middleware.push(middleware));
            Ok(())
        })
    }

    /// Takes back a handler of this socket's own.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn off(&self, event: &str) -> Result<(), EmitError> {
        let event: Box<str> = event.into();
        self.on_worker(move |_, local| {
            local.unregister(&event);
            Ok(())
        })
    }
}
