//! How events reach handlers: in order for each socket, in place where a handler does not wait, held back
//! where one does.

use std::cell::Cell;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use switchboard_hub::{Endpoint, Worker};
use switchboard_protocol::socketio::{ArgsError, validate_within};

use super::extract::EventContext;
use super::handler::{AnyEventHandler, HandlerCall, Outcome, Waiting};
use super::local::{EarlyHandlers, LocalSocket};
use super::queue::{EventRef, HeldEvent};
use super::report::{ErrorContext, HandlerKind};
use super::table::Table;
use crate::functions::{caught, caught_future, guarded, poll_caught};
use crate::{DisconnectReason, Error};

impl LocalSocket {
    /// An event has come.
    #[inline]
    pub(crate) fn on_event(self: &Rc<Self>, worker: &Rc<Worker>, event: EventRef<'_>) {
        if !self.queue.is_straight() {
            self.on_event_by_detour(worker, event);
        } else if let Some(stopped) = self.run(worker, &event, None) {
            self.go_on_in_task(worker, event.keep(self), stopped);
        }
    }

    /// An event that counts in rates, or that comes while a handler waits.
    #[inline(never)]
    fn on_event_by_detour(self: &Rc<Self>, worker: &Rc<Worker>, event: EventRef<'_>) {
        if self.queue.is_metered() && !self.admit(worker, &event) {
            return;
        }
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
            let from = event.is_early().then(|| Chain::of(self).at_its_end());
            if let Some(stopped) = self.run(worker, &event.as_ref(), from) {
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
            let ((), full_inbox) =
                worker.handle_input_in_task(Self::finish(&me, &worker, event, stopped)).await;
            if let Some(inbox) = full_inbox {
                // The next events of its socket wait until there is room.
                worker.room(inbox).await;
            }
            let Some(me) = me.upgrade() else { return };
            if concurrent {
                me.queue.subtract(weight, &me, &worker);
            } else {
                me.release(&worker);
            }
        });
    }

    /// Awaits a handler, then calls those after it. A socket that has gone meanwhile is not kept by its
    /// handlers.
    async fn finish(me: &Weak<Self>, worker: &Rc<Worker>, event: HeldEvent, mut stopped: Stopped) {
        loop {
            let Stopped { call, step, waiting, concurrent, chain } = stopped;
            let waiting = caught_future(waiting);
            let outcome = if concurrent {
                waiting.await
            } else {
                holding_back(me, call.kind, Some(event.as_ref().name), call.handler, waiting).await
            };
            let Some(me) = me.upgrade().filter(|me| !me.is_gone()) else { return };
            let goes_on = me.settle(worker, &event.as_ref(), outcome, || call);
            if !goes_on || call.kind == HandlerKind::Event {
                return;
            }
            match me.run(worker, &event.as_ref(), Some((step + 1, chain))) {
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
            let (kind, handler, concurrent) = if let Some((kind, handler)) = chain.early(step) {
                (kind, handler, false)
            } else {
                own = self.own_handler(event.name);
                let Some(last) = own.as_ref().or_else(|| chain.table.events.get(event.name)) else {
                    self.on_unhandled(worker, event);
                    return None;
                };
                (HandlerKind::Event, &last.handler, last.concurrent)
            };
            let context = EventContext {
                socket: &self.socket,
                event: event.name,
                data: event.data,
                offset: event.offset,
                attachments: event.attachments,
                ack: Cell::new(if kind == HandlerKind::Event { event.ack } else { None }),
            };
            let outcome = match caught(|| handler.call(&context)) {
                Some(HandlerCall::Done(outcome)) => Some(outcome),
                Some(HandlerCall::Waits(mut waiting)) => {
                    // Most futures are ready at once; only one that is not costs a task.
                    match poll_caught(&mut waiting, &mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(outcome) => outcome,
                        Poll::Pending => {
                            let call = FinishedCall::new(kind, handler, &context, event);
                            return Some(Stopped { call, step, waiting, concurrent, chain: chain.keep() });
                        }
                    }
                }
                None => None,
            };
            if !self.settle(worker, event, outcome, || FinishedCall::new(kind, handler, &context, event))
                || kind == HandlerKind::Event
            {
                return None;
            }
        }
        None
    }

    /// Does what a handler's outcome asks for; `None`: it panicked. Returns whether the event is handed on.
    #[inline]
    fn settle(
        &self,
        worker: &Rc<Worker>,
        event: &EventRef<'_>,
        outcome: Option<Outcome>,
        call: impl FnOnce() -> FinishedCall,
    ) -> bool {
        match outcome {
            Some(Ok(None)) => !self.is_gone(),
            Some(Ok(Some(reply))) => {
                // One who has left awaits nothing.
                if self.is_here()
                    && let Some(id) = event.ack
                    && let Err(error) = self.send_ack(worker, id, &reply)
                {
                    self.error_context(event, call()).report(&error.into());
                }
                !self.is_gone()
            }
            failed => self.fail(worker, event, failed.and_then(Result::err), call()) && !self.is_gone(),
        }
    }

    /// A handler failed, or panicked where there is no error. Returns whether the event is handed on all the
    /// same.
    #[cold]
    fn fail(
        &self,
        worker: &Rc<Worker>,
        event: &EventRef<'_>,
        error: Option<Error>,
        call: FinishedCall,
    ) -> bool {
        let context = self.error_context(event, call);
        let Some(mut error) = error else {
            context.report_panic();
            self.disconnect(false);
            return false;
        };
        let is_malformed = match error.downcast_ref() {
            Some(ArgsError::Syntax(_)) => true,
            // Also said where the type has no place for binary, which is not the client's fault.
            Some(ArgsError::Attachment(_)) => self.check(event).is_err(),
            _ => false,
        };
        if is_malformed {
            metrics::counter!("switchboard_parse_errors_total").increment(1);
            tracing::debug!(%error, "not a packet");
            self.close(worker, DisconnectReason::ParseError);
            return false;
        }
        context.report(&error);
        if let Some(id) = call.answers {
            self.send_error_reply(worker, id, &context, &mut error);
        }
        call.kind == HandlerKind::Any
    }

    /// Answers with what an error has as its reply, or what the namespace makes of it.
    pub(super) fn send_error_reply(
        &self,
        worker: &Rc<Worker>,
        id: u64,
        context: &ErrorContext<'_>,
        error: &mut Error,
    ) {
        let reply = error.take_reply().or_else(|| {
            let function = self.socket.shared.namespace.table.load().error_reply.clone()?;
            let written = guarded(|| function(context, error))?;
            written.inspect_err(|error| context.report(&Error::internal(error.to_string()))).ok()
        });
        if let Some(reply) = reply
            && let Err(error) = self.send_ack(worker, id, &reply)
        {
            context.report(&error.into());
        }
    }

    fn error_context<'a>(&'a self, event: &EventRef<'a>, call: FinishedCall) -> ErrorContext<'a> {
        let FinishedCall { kind, handler, .. } = call;
        ErrorContext { socket: &self.socket, kind, event: Some(event.name), handler }
    }

    /// Whether an event's data is what an event's has to be.
    fn check(&self, event: &EventRef<'_>) -> Result<(), ArgsError> {
        validate_within(event.data, event.attachments, self.options().packets.max_depth)
    }

    /// Nobody reads this event: its syntax is held to all the same.
    fn on_unhandled(&self, worker: &Rc<Worker>, event: &EventRef<'_>) {
        if let Err(error) = self.check(event) {
            metrics::counter!("switchboard_parse_errors_total").increment(1);
            tracing::debug!(%error, "not a packet");
            self.close(worker, DisconnectReason::ParseError);
        } else if !self.keep_early(worker, event) {
            metrics::counter!("switchboard_events_unhandled_total").increment(1);
        }
    }
}

/// A call of a handler that has come to something, or waits.
#[derive(Debug, Clone, Copy)]
struct FinishedCall {
    kind: HandlerKind,
    handler: &'static str,
    /// The acknowledgement that an error of it may answer: one is asked for, and the handler did not take it.
    answers: Option<u64>,
}

impl FinishedCall {
    #[cold]
    fn new(
        kind: HandlerKind,
        handler: &AnyEventHandler,
        context: &EventContext<'_>,
        event: &EventRef<'_>,
    ) -> Self {
        let answers = match kind {
            HandlerKind::Event => context.ack.get(),
            HandlerKind::EventMiddleware => event.ack,
            _ => None,
        };
        Self { kind, handler: handler.type_name(), answers }
    }
}

/// Awaits a handler that holds back its socket's events. One that does so for long is named in the log.
pub(crate) async fn holding_back<F: Future>(
    local: &Weak<LocalSocket>,
    kind: HandlerKind,
    event: Option<&str>,
    handler: &'static str,
    waiting: F,
) -> F::Output {
    let mut waiting = pin!(waiting);
    let since = Instant::now();
    let mut after = local.upgrade().map_or(Duration::MAX, |local| local.options().held_warning);
    loop {
        tokio::select! {
            biased;
            output = &mut waiting => return output,
            () = tokio::time::sleep(after) => {}
        }
        let Some(local) = local.upgrade() else { return waiting.await };
        if local.queue.len() > 0 {
            ErrorContext { socket: &local.socket, kind, event, handler }.report_held(since.elapsed());
            drop(local);
            return waiting.await;
        }
        after = after.saturating_mul(2);
    }
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

    /// The step of the event's own handler.
    fn at_its_end(self) -> (usize, Self) {
        (self.lists().iter().map(|(_, list)| list.len()).sum(), self)
    }

    /// Those that come before the event's own handler, in order: the namespace's, then the socket's.
    fn lists(&self) -> [(HandlerKind, &[AnyEventHandler]); 4] {
        let (any, middleware) = self
            .own
            .as_ref()
            .map_or((&[][..], &[][..]), |own| (own.any.as_slice(), own.middleware.as_slice()));
        [
            (HandlerKind::Any, &self.table.any),
            (HandlerKind::Any, any),
            (HandlerKind::EventMiddleware, &self.table.event_middleware),
            (HandlerKind::EventMiddleware, middleware),
        ]
    }

    /// The handler of a step; `None`: it is the event's own.
    #[inline]
    fn early(&self, step: usize) -> Option<(HandlerKind, &AnyEventHandler)> {
        // Most namespaces have none.
        let is_short =
            self.own.is_none() && self.table.any.is_empty() && self.table.event_middleware.is_empty();
        if is_short { None } else { self.find_early(step) }
    }

    fn find_early(&self, mut step: usize) -> Option<(HandlerKind, &AnyEventHandler)> {
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
    call: FinishedCall,
    step: usize,
    waiting: Waiting,
    concurrent: bool,
    chain: Chain,
}
