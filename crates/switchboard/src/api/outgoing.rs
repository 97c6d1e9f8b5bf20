//! Handlers that see the events which the server sends (`onAnyOutgoing` of Node): those of a namespace, and
//! those of one socket.
//!
//! A namespace without such handlers pays a look at a flag for each event to one socket, and for each
//! broadcast on each worker.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use switchboard_hub::{Target, Worker};
use switchboard_protocol::socketio::event_name;

use super::extract::EventContext;
use super::handler::{AnyEventHandler, EventHandler, HandlerCall, Outcome, event_handler};
use super::local::LocalSocket;
use super::namespace::{Namespace, NamespaceInner};
use super::report::{ErrorContext, HandlerKind};
use super::socket::Socket;
use crate::EmitError;
use crate::event::{Event, Outgoing};
use crate::functions::{caught, caught_future};

impl Namespace {
    /// Calls the handler with every event that is sent to a socket of the namespace, before it is sent, in
    /// the order of registration (`onAnyOutgoing` of Node). A broadcast calls it once for each socket that it
    /// is for. A volatile event calls it whether or not it is then dropped. Acknowledgements do not.
    ///
    /// It has the arguments of [`on`](Self::on); [`Socket`](crate::Socket) is the one that is sent to. It
    /// changes nothing of the event. Its return value is dropped, and its error goes to
    /// [`on_error`](Self::on_error). An async handler is not awaited before the event is sent. What a handler
    /// itself sends before it first waits calls no such handler.
    ///
    /// ```
    /// use switchboard::{Args, Event, Socket, Switchboard};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// io.root().on_any_outgoing(|socket: Socket, Event(event): Event, args: Args| {
    ///     println!("{}: {event} {}", socket.id(), args.as_json());
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_any_outgoing<M>(&self, handler: impl EventHandler<M>) -> &Self {
        let handler = self.early(HandlerKind::AnyOutgoing, handler);
        self.inner.change(|table| table.outgoing.push(handler));
        self.inner.begin_telling_outgoing();
        self
    }

    /// As [`on_any_outgoing`](Self::on_any_outgoing), before those that were registered so far.
    pub fn prepend_any_outgoing<M>(&self, handler: impl EventHandler<M>) -> &Self {
        let handler = self.early(HandlerKind::AnyOutgoing, handler);
        self.inner.change(|table| table.outgoing.insert(0, handler));
        self.inner.begin_telling_outgoing();
        self
    }

    /// Takes back all handlers of [`on_any_outgoing`](Self::on_any_outgoing); those of single sockets stay.
    pub fn off_any_outgoing(&self) -> &Self {
        self.inner.change(|table| table.outgoing.clear());
        self
    }
}

impl Socket {
    /// Calls the handler with every event that is sent to this socket alone, after those of
    /// [`Namespace::on_any_outgoing`](crate::Namespace::on_any_outgoing).
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn on_any_outgoing<M>(&self, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        self.change_outgoing(event_handler(handler), Vec::push)
    }

    /// As [`on_any_outgoing`](Self::on_any_outgoing), before those that were registered so far.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn prepend_any_outgoing<M>(&self, handler: impl EventHandler<M>) -> Result<(), EmitError> {
        self.change_outgoing(event_handler(handler), |outgoing, handler| outgoing.insert(0, handler))
    }

    /// Takes back all handlers of [`on_any_outgoing`](Self::on_any_outgoing) of this socket's own.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`].
    pub fn off_any_outgoing(&self) -> Result<(), EmitError> {
        self.on_worker(move |_, local| {
            // They are the user's: dropped when nothing is borrowed any more.
            drop(local.change_own_early(|own| std::mem::take(&mut own.outgoing)));
            Ok(())
        })
    }

    fn change_outgoing(
        &self,
        handler: AnyEventHandler,
        add: fn(&mut Vec<AnyEventHandler>, AnyEventHandler),
    ) -> Result<(), EmitError> {
        self.on_worker(move |_, local| {
            local.change_own_early(|own| add(&mut own.outgoing, handler));
            local.socket.shared.namespace.begin_telling_outgoing();
            Ok(())
        })
    }
}

impl NamespaceInner {
    /// There are handlers of outgoing events from now on.
    pub(super) fn begin_telling_outgoing(&self) {
        for child in self.children() {
            child.begin_telling_outgoing();
        }
        self.events.set_outgoing(Box::new(ToEachSocket));
        self.tells_outgoing.store(true, Ordering::Relaxed);
    }
}

/// Tells of a broadcast for each of the worker's sockets that it is for.
struct ToEachSocket;

impl Outgoing for ToEachSocket {
    fn sending(&self, worker: &Worker, target: &Target, event: &Event) {
        for endpoint in worker.matching(target).into_iter().filter_map(|key| worker.endpoint(key)) {
            if let Some(local) = endpoint.as_any().downcast_ref::<LocalSocket>() {
                local.tell_outgoing(worker, event.json_bytes(), event.attachments());
            }
        }
    }
}

/// Whether a handler of outgoing events runs on this worker.
#[derive(Default)]
struct Telling(Cell<bool>);

/// Ends the telling when it is dropped.
struct Told<'a>(&'a Telling);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.0.set(false);
    }
}

impl LocalSocket {
    /// An event is about to be sent to the socket.
    #[cold]
    pub(super) fn tell_outgoing(&self, worker: &Worker, json: &[u8], attachments: &[Bytes]) {
        let telling = worker.extension::<Telling>();
        if telling.0.replace(true) {
            // A handler of outgoing events sends this one.
            return;
        }
        let _told = Told(&telling);
        let data = std::str::from_utf8(json).unwrap_or_default();
        let Ok((event, offset)) = event_name(data) else { return };
        let table = self.socket.shared.namespace.table.load_full();
        let own = self.own_early();
        let own = own.iter().flat_map(|own| &own.outgoing);
        for handler in table.outgoing.iter().chain(own) {
            let context = EventContext {
                socket: &self.socket,
                event: &event,
                data,
                offset,
                attachments,
                ack: Cell::new(None),
            };
            let name = handler.type_name();
            match caught(|| handler.call(&context)) {
                Some(HandlerCall::Done(outcome)) => report(&self.socket, &event, name, Some(outcome)),
                Some(HandlerCall::Waits(waiting)) => {
                    let (socket, event) = (self.socket.clone(), event.clone().into_owned());
                    tokio::task::spawn_local(async move {
                        let outcome = caught_future(waiting).await;
                        report(&socket, &event, name, outcome);
                    });
                }
                None => report(&self.socket, &event, name, None),
            }
        }
    }
}

/// Reports a handler's outcome; `None`: it panicked.
fn report(socket: &Socket, event: &str, handler: &'static str, outcome: Option<Outcome>) {
    let context = ErrorContext { socket, kind: HandlerKind::AnyOutgoing, event: Some(event), handler };
    match outcome {
        Some(Ok(_)) => {}
        Some(Err(error)) => context.report(&error),
        None => context.report_panic(),
    }
}
