//! What the hub and a session's WebSocket connection call: flushes, timers, messages.

use std::any::Any;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Instant;

use switchboard_hub::{Outbox, Session, WhenFull, Worker};
use switchboard_protocol::socketio06;
use switchboard_protocol::socketio09::{Action, HEARTBEAT, Lost};
use switchboard_websocket::CloseCode;

use super::{OldSession, Transport};
use crate::DisconnectReason;
use crate::engineio::FullOutbox;
use crate::message::Message;
use crate::socketio09::Version;
use crate::transport::connection::{Connection, ConnectionEnd, ConnectionOwner, Timeouts};

impl Session for OldSession {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Transport::WebSocket(connection) | Transport::Stream(connection) = &*self.transport.borrow() {
            return connection.flush(worker, &self.outbox);
        }
        let Some(me) = self.me.upgrade() else { return };
        me.answer_poll(worker);
        me.fetch_last(worker);
    }

    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        match &*self.transport.borrow() {
            Transport::WebSocket(connection) | Transport::Stream(connection) => {
                connection.write_through(slices)
            }
            Transport::Poll { .. } | Transport::None => 0,
        }
    }

    fn writable(&self) -> bool {
        self.is_open()
            && match &*self.transport.borrow() {
                Transport::WebSocket(connection) | Transport::Stream(connection) => connection.writable(),
                Transport::Poll { reply, .. } => !reply.is_closed() && self.outbox.is_empty(),
                Transport::None => false,
            }
    }

    fn overflow(&self, worker: &Rc<Worker>) {
        let (bytes, full) = (self.outbox.bytes(), self.old.engine.options.full_outbox);
        if full == FullOutbox::Refuse {
            tracing::debug!(bytes, "the outbox of a client is full: what was sent was refused");
            return;
        }
        tracing::warn!(bytes, "a client does not read as fast as it is sent to: closing its session");
        // The packets that wait are still written, if the client reads.
        if let Some(me) = self.me.upgrade() {
            me.close(worker, DisconnectReason::ForcedServerClose);
        }
    }

    fn when_full(&self) -> WhenFull {
        self.old.engine.options.when_full()
    }

    fn dropped(&self, _worker: &Rc<Worker>, packets: usize) {
        tracing::debug!(packets, "a client does not read as fast as it is sent to: packets were dropped");
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        let me = self.me.upgrade()?;
        me.keep_rules(worker, now);
        let sockets = self.sockets().and_then(|sockets| sockets.on_timer(worker, now));
        let own = self.deadline(worker)?;
        Some(sockets.map_or(own, |deadline| deadline.min(own)))
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        if let Some(me) = self.me.upgrade() {
            me.close_with(worker, DisconnectReason::ServerShuttingDown, Some(CloseCode::GoingAway));
        }
    }

    fn lingers(&self) -> bool {
        self.rules.borrow().lingers()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl OldSession {
    /// Carries out the actions that the session's rules ask for at this time.
    fn keep_rules(self: &Rc<Self>, worker: &Rc<Worker>, now: Instant) {
        let elapsed = now.saturating_duration_since(worker.origin());
        self.excuse_silence(worker, elapsed);
        loop {
            let action = self.rules.borrow_mut().poll(elapsed);
            match action {
                None => return,
                Some(Action::SendHeartbeat) => self.send_heartbeat(worker),
                Some(Action::EndPoll) => self.expire_poll(worker),
                Some(Action::Close(lost)) => {
                    let reason = match lost {
                        Lost::Unused => DisconnectReason::TransportClose,
                        Lost::Heartbeat | Lost::NoPoll => DisconnectReason::PingTimeout,
                    };
                    self.lose(worker, reason);
                }
                Some(Action::GiveUp) => self.finish(worker),
            }
        }
    }

    fn send_heartbeat(self: &Rc<Self>, worker: &Rc<Worker>) {
        if let Transport::WebSocket(connection) = &*self.transport.borrow() {
            connection.release_unused();
        }
        self.heartbeats.set(self.heartbeats.get() + 1);
        match self.version {
            Version::V09 => self.tell(worker, HEARTBEAT.as_bytes()),
            Version::V06 => {
                let mut frame = Vec::new();
                socketio06::write_heartbeat(&mut frame, self.heartbeats.get());
                self.tell(worker, &frame);
            }
        }
    }

    /// Excuses the silence of a client that is not read for a while. One that does not take its answers has to
    /// take some, and one that has gone is not waited for.
    fn excuse_silence(self: &Rc<Self>, worker: &Rc<Worker>, elapsed: std::time::Duration) {
        let is_due = self.rules.borrow().deadline().is_some_and(|deadline| deadline <= elapsed);
        if !is_due || !self.is_unread() {
            return;
        }
        let (is_lost, is_alive) = match &*self.transport.borrow() {
            Transport::WebSocket(connection) => (connection.has_lost_peer(), connection.take_alive()),
            _ => (false, true),
        };
        if is_lost {
            self.lose(worker, DisconnectReason::TransportClose);
        } else if is_alive {
            self.rules.borrow_mut().excuse(elapsed);
        }
    }
}

impl ConnectionOwner for OldSession {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, message: Message<'_>) {
        let is_read = match message {
            Message::Text(text) => self.on_text(worker, text),
            Message::Binary(_) => false,
        };
        if !is_read {
            self.close(worker, DisconnectReason::ParseError);
        }
    }

    fn hold_back_at(&self) -> usize {
        self.old.engine.options.hold_back_at()
    }

    fn timeouts(&self) -> Timeouts {
        let options = &self.old.engine.options;
        Timeouts { message: options.message_timeout, close: options.close_timeout }
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, end: ConnectionEnd) {
        end.trace();
        let reason = match end {
            ConnectionEnd::Closed { .. } => DisconnectReason::TransportClose,
            _ => DisconnectReason::TransportError,
        };
        self.lose(worker, reason);
    }

    fn span(&self) -> tracing::Span {
        OldSession::span(self)
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}
