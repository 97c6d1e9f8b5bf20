//! The end of a socket: the events that wait are handled, then `on_disconnect` is called.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use switchboard_hub::{RoomName, Worker};
use tokio::sync::Notify;

use super::extract::Disconnected;
use super::handler::{Extracted, HandlerCall, Outcome, Waiting};
use super::local::{LocalSocket, Presence};
use super::queue::count_dropped;
use super::report::{ErrorContext, HandlerKind};
use super::socket::Socket;
use crate::functions::{caught, caught_future, poll_caught};
use crate::{DisconnectReason, EventsDropped};

/// The rooms that a socket was in at its end, kept with it where it is no member any more when
/// `on_disconnect` is called.
pub(crate) struct RoomsAtEnd(pub(crate) Vec<RoomName>);

impl LocalSocket {
    /// The client has left the namespace, or its session has ended. Events that wait for a handler are
    /// still handled, in order. Then `on_disconnect` is called.
    pub(crate) fn leave(self: &Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        let Some(was_connected) = self.stop(worker, reason) else { return };
        if !was_connected || self.queue.len() == 0 {
            return self.end(worker, reason, was_connected);
        }
        // The client may bring events to its other sockets.
        self.queue.let_go(self, worker);
        let has_room = self.sockets.upgrade().is_none_or(|sockets| sockets.may_leave_over(worker));
        if !has_room {
            self.drop_events(worker, "full");
            return self.end(worker, reason, was_connected);
        }
        // Nothing is sent to it any more.
        if let Some(key) = self.socket.shared.key.get() {
            let rooms = worker.rooms_of(*key).unwrap_or_default();
            self.socket.insert(RoomsAtEnd(rooms));
            worker.remove_member(*key);
        }
        self.presence.set(Presence::Ending);
        let handled = Rc::new(Notify::new());
        *self.handled.borrow_mut() = Some(Rc::clone(&handled));
        let ending =
            Ending { socket: Rc::clone(self), worker: Rc::clone(worker), reason, dropped: "stopped" };
        tokio::task::spawn_local(ending.run(handled));
    }

    /// The server disconnects the socket. Events that wait are dropped, as what comes behind them is.
    pub(crate) fn leave_at_once(&self, worker: &Rc<Worker>) {
        let reason = DisconnectReason::ServerNamespaceDisconnect;
        if let Some(was_connected) = self.stop(worker, reason) {
            count_dropped(self.queue.clear(self, worker), "disconnected");
            self.end(worker, reason, was_connected);
        }
    }

    /// The socket sends nothing any more. Returns whether it had connected; `None`: it has been stopped
    /// before.
    fn stop(&self, worker: &Worker, reason: DisconnectReason) -> Option<bool> {
        if self.presence.get() != Presence::Here {
            return None;
        }
        self.presence.set(Presence::Gone);
        let was_connected = self.socket.shared.connected.swap(false, Ordering::AcqRel);
        // Those who await an acknowledgement see their channel closed; those who await room are told.
        self.drop_acks();
        worker.tell_of_room();
        if was_connected {
            self.keep_session(worker, reason);
            tracing::debug!(namespace = self.namespace(), socket = %self.socket.id(), %reason, "socket disconnected");
            metrics::counter!("switchboard_sockets_disconnected_total", "reason" => reason.as_str())
                .increment(1);
            metrics::gauge!("switchboard_sockets").decrement(1.0);
        }
        Some(was_connected)
    }

    fn end(&self, worker: &Rc<Worker>, reason: DisconnectReason, was_connected: bool) {
        self.presence.set(Presence::Gone);
        self.queue.clear(self, worker);
        if was_connected {
            self.tell_disconnected(reason);
            self.socket.remove::<RoomsAtEnd>();
        }
        if let Some(key) = self.socket.shared.key.get() {
            worker.remove_member(*key);
        }
        self.drop_own();
    }

    /// Drops the events that wait, and says so.
    fn drop_events(&self, worker: &Rc<Worker>, why: &'static str) {
        let events = self.queue.clear(self, worker);
        count_dropped(events, why);
        if events > 0 {
            let context =
                ErrorContext { socket: &self.socket, kind: HandlerKind::Event, event: None, handler: "" };
            context.report(&EventsDropped { events, why }.into());
        }
    }

    /// A handler failed so that the socket is not to have what comes behind; or the server's code says so.
    pub(crate) fn abandon_events(&self, worker: &Rc<Worker>) {
        count_dropped(self.queue.clear(self, worker), "disconnected");
        self.note_handled();
    }

    /// An event has been handled after the end of its socket.
    pub(crate) fn note_handled(&self) {
        if let Some(handled) = &*self.handled.borrow() {
            handled.notify_one();
        }
    }

    fn tell_disconnected(&self, reason: DisconnectReason) {
        let context = Disconnected { socket: self.socket.clone(), reason };
        for handler in &self.socket.shared.namespace.table.load().disconnect {
            let name = handler.type_name();
            let called = match caught(|| handler.extract(&context)) {
                Some(Ok(Extracted(call))) => caught(call),
                Some(Err(error)) => Some(HandlerCall::Done(Err(error))),
                None => None,
            };
            match called {
                Some(HandlerCall::Done(outcome)) => report_outcome(&self.socket, name, Some(outcome)),
                Some(HandlerCall::Waits(waiting)) => self.finish_disconnected(name, waiting),
                None => report_outcome(&self.socket, name, None),
            }
        }
    }

    /// What an async handler does before it first waits is done while the socket is still in its rooms.
    fn finish_disconnected(&self, handler: &'static str, mut waiting: Waiting) {
        match poll_caught(&mut waiting, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => report_outcome(&self.socket, handler, outcome),
            Poll::Pending => {
                let socket = self.socket.clone();
                tokio::task::spawn_local(async move {
                    let outcome = caught_future(waiting).await;
                    report_outcome(&socket, handler, outcome);
                });
            }
        }
    }
}

/// Reports what an `on_disconnect` came to; `None`: it panicked.
fn report_outcome(socket: &Socket, handler: &'static str, outcome: Option<Outcome>) {
    let context = ErrorContext { socket, kind: HandlerKind::Disconnect, event: None, handler };
    match outcome {
        Some(Ok(_)) => {}
        Some(Err(error)) => context.report(&error),
        None => context.report_panic(),
    }
}

/// A socket that has left while its events are still handled. When this is dropped, for whatever reason, the
/// socket has ended.
struct Ending {
    socket: Rc<LocalSocket>,
    worker: Rc<Worker>,
    reason: DisconnectReason,
    /// Why events that wait now would be dropped.
    dropped: &'static str,
}

impl Ending {
    async fn run(mut self, handled: Rc<Notify>) {
        let timeout = self.socket.options().held_events_timeout;
        while self.socket.queue.is_busy() || self.socket.queue.len() > 0 {
            if tokio::time::timeout(timeout, handled.notified()).await.is_err() {
                self.dropped = "time";
                return;
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.socket.drop_events(&self.worker, self.dropped);
        self.socket.end(&self.worker, self.reason, true);
        drop(self.socket.handled.take());
    }
}
