//! How events reach handlers: in order for each socket, in place where a handler does not wait, held back where one does.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use switchboard_hub::{Endpoint, Worker};
use switchboard_protocol::socketio::{ArgsError, validate_within};

use super::extract::EventContext;
use super::handler::{AnyEventHandler, HandlerCall, Outcome, Waiting};
use super::local::{EarlyHandlers, LocalSocket};
use super::namespace::Table;
use super::queue::{EventRef, HeldEvent};
use crate::DisconnectReason;
use crate::functions::{guarded, guarded_future, poll_guarded};

impl LocalSocket {
    /// An event has come.
    #[inline]
    pub(crate) fn on_event(self: &Rc<Self>, worker: &Rc<Worker>, event: EventRef<'_>) {
        if self.queue.is_busy() {
            self.queue.hold(event, self);
        } else if let Some(stopped) = self.run(worker, &event, None) {
            self.go_on_in_task(worker, event.keep(self), stopped);
        }
    }

    /// A handler that held events back is done.
    pub(crate) fn release(self: &Rc<Self>, worker: &Rc<Worker>) {
        self.queue.set_busy(false);
        while !self.queue.is_busy() && !self.is_gone() {
            let Some(event) = self.queue.next(self, worker) else { break };
            if let Some(stopped) = self.run(worker, &event.as_ref(), None) {
                self.go_on_in_task(worker, event, stopped);
            }
        }
        self.note_handled();
    }

    /// A handler waits: it is awaited in a task.
    #[inline(never)]
    fn go_on_in_task(self: &Rc<Self>, worker: &Rc<Worker>, mut event: HeldEvent, stopped: Stopped) {
        let concurrent = stopped.concurrent;
        let weight = if concurrent { event.size() } else { 0 };
        if concurrent {
            self.queue.add(weight, self);
        } else {
            self.queue.set_busy(true);
        }
        event.count_handler();
        let (me, worker) = (Rc::downgrade(self), Rc::clone(worker));
        tokio::task::spawn_local(async move {
            Self::finish(&me, &worker, event, stopped).await;
            let Some(me) = me.upgrade() else { return };
            if concurrent {
                me.queue.subtract(weight, &me, &worker);
            } else {
                me.release(&worker);
            }
        });
    }

    /// Awaits a handler, then calls those after it. A socket that has gone meanwhile is not kept by its handlers.
    async fn finish(me: &Weak<Self>, worker: &Rc<Worker>, event: HeldEvent, mut stopped: Stopped) {
        loop {
            let outcome = guarded_future(stopped.waiting).await;
            let Some(me) = me.upgrade().filter(|me| !me.is_gone()) else { return };
            let goes_on = me.settle(worker, &event.as_ref(), outcome) || stopped.kind == Kind::Any;
            if !goes_on || stopped.kind == Kind::Last || me.is_gone() {
                return;
            }
            match me.run(worker, &event.as_ref(), Some((stopped.step + 1, stopped.chain))) {
                Some(next) => stopped = next,
                None => return,
            }
        }
    }

    /// Calls the handlers of an event in turn, from the first or from a step on, until one waits.
    fn run(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        event: &EventRef<'_>,
        from: Option<(usize, Chain)>,
    ) -> Option<Stopped> {
        let (first, chain) = from.unwrap_or_else(|| (0, Chain::of(self)));
        for step in first.. {
            let own;
            let (kind, handler, concurrent, ack) = if let Some((kind, handler)) = chain.early(step) {
                (kind, handler, false, None)
            } else {
                own = self.own_handler(event.name);
                let Some(last) = own.as_ref().or_else(|| chain.table.events.get(event.name)) else {
                    self.on_unhandled(worker, event);
                    return None;
                };
                (Kind::Last, &last.handler, last.concurrent, event.ack)
            };
            let context = EventContext {
                socket: &self.socket,
                event: event.name,
                data: event.data,
                offset: event.offset,
                attachments: event.attachments,
                ack: Cell::new(ack),
            };
            let outcome = match guarded(|| handler(&context)) {
                Some(HandlerCall::Done(outcome)) => Some(outcome),
                Some(HandlerCall::Waits(mut waiting)) => {
                    // Most futures are ready at once; only one that is not costs a task.
                    match poll_guarded(&mut waiting, &mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(outcome) => outcome,
                        Poll::Pending => {
                            return Some(Stopped { step, kind, waiting, concurrent, chain: chain.keep() });
                        }
                    }
                }
                None => None,
            };
            let goes_on = self.settle(worker, event, outcome) || kind == Kind::Any;
            if !goes_on || kind == Kind::Last || self.is_gone() {
                return None;
            }
        }
        None
    }

    /// Does what a handler's outcome asks for. `false`: the event is not handed on.
    fn settle(&self, worker: &Rc<Worker>, event: &EventRef<'_>, outcome: Option<Outcome>) -> bool {
        match outcome {
            Some(Ok(None)) => true,
            Some(Ok(Some(reply))) => {
                // One who has left awaits nothing.
                if self.is_here()
                    && let Some(id) = event.ack
                    && let Err(error) = self.send_ack(worker, id, &reply)
                {
                    self.report(&error.into());
                }
                true
            }
            Some(Err(error)) => {
                match error.downcast_ref() {
                    Some(ArgsError::Syntax(_) | ArgsError::Attachment(_)) => {
                        metrics::counter!("switchboard_parse_errors_total").increment(1);
                        tracing::debug!(%error, "not a packet");
                        self.session.close(worker, DisconnectReason::ParseError);
                    }
                    _ => self.report(&error),
                }
                false
            }
            None => {
                self.disconnect(false);
                false
            }
        }
    }

    /// Nobody reads this event: its syntax is held to all the same.
    fn on_unhandled(&self, worker: &Rc<Worker>, event: &EventRef<'_>) {
        metrics::counter!("switchboard_events_unhandled_total").increment(1);
        if let Err(error) = validate_within(event.data, event.attachments, self.options().packets.max_depth) {
            metrics::counter!("switchboard_parse_errors_total").increment(1);
            tracing::debug!(%error, "not a packet");
            self.session.close(worker, DisconnectReason::ParseError);
        }
    }
}

/// What a step of an event's way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `on_any`: sees the event, does not stop it.
    Any,
    /// Middleware: may stop the event.
    Middleware,
    /// The event's own handler.
    Last,
}

/// The handlers that an event meets on its way, as they were when it set out.
struct Chain {
    table: arc_swap::Guard<Arc<Table>>,
    own: Option<Arc<EarlyHandlers>>,
}

impl Chain {
    fn of(socket: &LocalSocket) -> Self {
        Self { table: socket.socket.shared.namespace.table.load(), own: socket.own_early() }
    }

    /// For longer than a call.
    fn keep(self) -> Self {
        Self { table: arc_swap::Guard::from_inner(arc_swap::Guard::into_inner(self.table)), own: self.own }
    }

    /// Those that come before the event's own handler, in order: the namespace's, then the socket's.
    fn lists(&self) -> [(Kind, &[AnyEventHandler]); 4] {
        let (any, middleware) = self
            .own
            .as_ref()
            .map_or((&[][..], &[][..]), |own| (own.any.as_slice(), own.middleware.as_slice()));
        [
            (Kind::Any, &self.table.any),
            (Kind::Any, any),
            (Kind::Middleware, &self.table.event_middleware),
            (Kind::Middleware, middleware),
        ]
    }

    /// The handler of a step; `None`: it is the event's own.
    #[inline]
    fn early(&self, step: usize) -> Option<(Kind, &AnyEventHandler)> {
        // Most namespaces have none.
        let is_short =
            self.own.is_none() && self.table.any.is_empty() && self.table.event_middleware.is_empty();
        if is_short { None } else { self.find_early(step) }
    }

    fn find_early(&self, mut step: usize) -> Option<(Kind, &AnyEventHandler)> {
        for (kind, list) in self.lists() {
            if let Some(handler) = list.get(step) {
                return Some((kind, handler));
            }
            step -= list.len();
        }
        None
    }
}

/// A handler that waits.
struct Stopped {
    step: usize,
    kind: Kind,
    waiting: Waiting,
    concurrent: bool,
    chain: Chain,
}
