//! How events reach handlers: in order for each socket, in place where a handler does not wait, held back where one does.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use switchboard_hub::{Endpoint, Worker};
use switchboard_protocol::socketio::{ArgsError, validate};

use super::extract::EventContext;
use super::handler::{AnyEventHandler, Called, Outcome, Waiting};
use super::local::LocalSocket;
use super::namespace::Table;
use crate::DisconnectReason;

/// Bytes of events that may wait for a handler before the client is not read any more.
const MAX_HELD_BYTES: usize = 1 << 20;

/// An event on its way to handlers. Held back, it owns its parts.
#[derive(Debug, Clone)]
pub(crate) struct EventRef<'a> {
    pub(crate) name: Cow<'a, str>,
    /// `["event",argument,…]`, and where the arguments begin.
    pub(crate) data: Cow<'a, str>,
    pub(crate) offset: usize,
    pub(crate) attachments: Cow<'a, [Bytes]>,
    pub(crate) ack: Option<u64>,
}

impl EventRef<'_> {
    fn into_owned(self) -> EventRef<'static> {
        EventRef {
            name: Cow::Owned(self.name.into_owned()),
            data: Cow::Owned(self.data.into_owned()),
            offset: self.offset,
            attachments: Cow::Owned(self.attachments.into_owned()),
            ack: self.ack,
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.data.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The events of one socket that wait for a handler to be done.
#[derive(Default)]
pub(crate) struct Queue {
    /// A handler waits.
    busy: Cell<bool>,
    /// The session's input is stopped because of this queue.
    full: Cell<bool>,
    bytes: Cell<usize>,
    held: RefCell<VecDeque<EventRef<'static>>>,
}

impl Queue {
    pub(crate) fn set_busy(&self) {
        self.busy.set(true);
    }

    fn hold(&self, event: EventRef<'_>, socket: &LocalSocket) {
        self.bytes.set(self.bytes.get() + event.size());
        self.held.borrow_mut().push_back(event.into_owned());
        if self.bytes.get() > MAX_HELD_BYTES && !self.full.replace(true) {
            metrics::counter!("switchboard_held_events_full_total").increment(1);
            socket.session.pause();
        }
    }

    fn next(&self, socket: &LocalSocket, worker: &Rc<Worker>) -> Option<EventRef<'static>> {
        let event = self.held.borrow_mut().pop_front();
        match &event {
            Some(event) => self.bytes.set(self.bytes.get().saturating_sub(event.size())),
            None => self.held.borrow_mut().shrink_to(0),
        }
        if self.bytes.get() <= MAX_HELD_BYTES / 2 && self.full.replace(false) {
            socket.session.resume(worker);
        }
        event
    }

    /// Drops what is held: the socket has gone.
    pub(crate) fn clear(&self, socket: &LocalSocket, worker: &Rc<Worker>) {
        drop(self.held.take());
        self.bytes.set(0);
        if self.full.replace(false) {
            socket.session.resume(worker);
        }
    }
}

/// Calls a user's function; `None` where it panicked, which is logged and counted.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        on_panic();
    }
    result.ok()
}

/// Awaits a user's future; `None` where it panicked.
pub(crate) async fn guarded_future(mut waiting: Waiting) -> Option<Outcome> {
    poll_fn(|cx| poll_guarded(&mut waiting, cx)).await
}

fn poll_guarded(waiting: &mut Waiting, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
    catch_unwind(AssertUnwindSafe(|| waiting.as_mut().poll(cx))).map_or_else(
        |_panic| {
            on_panic();
            Poll::Ready(None)
        },
        |polled| polled.map(Some),
    )
}

fn on_panic() {
    metrics::counter!("switchboard_handler_panics_total").increment(1);
    tracing::error!("a handler panicked: its socket is closed");
}

impl LocalSocket {
    /// An event has come.
    pub(crate) fn on_event(self: &Rc<Self>, worker: &Rc<Worker>, event: EventRef<'_>) {
        if self.queue.busy.get() {
            self.queue.hold(event, self);
        } else {
            self.handle(worker, event);
        }
    }

    /// A handler that held events back is done.
    pub(crate) fn release(self: &Rc<Self>, worker: &Rc<Worker>) {
        self.queue.busy.set(false);
        while !self.queue.busy.get() && !self.is_gone() {
            let Some(event) = self.queue.next(self, worker) else { return };
            self.handle(worker, event);
        }
    }

    fn handle(self: &Rc<Self>, worker: &Rc<Worker>, event: EventRef<'_>) {
        let Some(stopped) = self.run(worker, &event, 0) else { return };
        if !stopped.concurrent {
            self.queue.set_busy();
        }
        let (me, worker, event) = (Rc::clone(self), Rc::clone(worker), event.into_owned());
        tokio::task::spawn_local(async move {
            let concurrent = stopped.concurrent;
            me.finish(&worker, event, stopped).await;
            if !concurrent {
                me.release(&worker);
            }
        });
    }

    async fn finish(self: &Rc<Self>, worker: &Rc<Worker>, event: EventRef<'static>, mut stopped: Stopped) {
        loop {
            let outcome = guarded_future(stopped.waiting).await;
            if self.is_gone() || !self.settle(worker, &event, outcome) {
                return;
            }
            match self.run(worker, &event, stopped.step + 1) {
                Some(next) => stopped = next,
                None => return,
            }
        }
    }

    /// Calls the handlers of an event in turn, from a step on, until one waits.
    fn run(self: &Rc<Self>, worker: &Rc<Worker>, event: &EventRef<'_>, from: usize) -> Option<Stopped> {
        let table = self.socket.shared.namespace.table.load();
        let before = table.event_middleware.len() + table.any.len();
        for step in from..=before {
            let (handler, concurrent, ack) = if step < before {
                (Cow::Borrowed(early_handler(&table, step)?), false, None)
            } else {
                let own = self.own_handler(&event.name).map(|own| (Cow::Owned(own.handler), own.concurrent));
                let shared = || table.events.get(&*event.name).map(|shared| (Cow::Borrowed(&shared.handler), shared.concurrent));
                let Some((handler, concurrent)) = own.or_else(shared) else {
                    self.on_unhandled(worker, event);
                    return None;
                };
                (handler, concurrent, event.ack)
            };
            let context = EventContext {
                socket: &self.socket,
                event: &event.name,
                data: &event.data,
                offset: event.offset,
                attachments: &event.attachments,
                ack: Cell::new(ack),
            };
            let outcome = match guarded(|| handler(&context)) {
                Some(Called::Done(outcome)) => Some(outcome),
                Some(Called::Waits(mut waiting)) => {
                    // Most futures are ready at once; only one that is not costs a task.
                    match poll_guarded(&mut waiting, &mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(outcome) => outcome,
                        Poll::Pending => return Some(Stopped { step, waiting, concurrent }),
                    }
                }
                None => None,
            };
            if !self.settle(worker, event, outcome) || self.is_gone() {
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
                if let Some(id) = event.ack
                    && let Err(error) = self.send_ack(worker, id, &reply)
                {
                    self.report(&error.into());
                }
                true
            }
            Some(Err(error)) => {
                match error.downcast_ref() {
                    Some(ArgsError::Syntax(_) | ArgsError::Attachment(_)) => {
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
        if let Err(error) = validate(&event.data, &event.attachments) {
            tracing::debug!(%error, "not a packet");
            self.session.close(worker, DisconnectReason::ParseError);
        }
    }
}

fn early_handler(table: &Table, step: usize) -> Option<&AnyEventHandler> {
    let middleware = table.event_middleware.len();
    if step < middleware { table.event_middleware.get(step) } else { table.any.get(step - middleware) }
}

/// A handler that waits.
struct Stopped {
    step: usize,
    waiting: Waiting,
    concurrent: bool,
}
