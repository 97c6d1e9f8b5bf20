//! What the hub and a session's WebSocket connection call: flushes, timers, messages.

use std::any::Any;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::message::Message;
use switchboard_hub::{Outbox, Place, Session, WhenFull, Worker};
use switchboard_protocol::engineio::{Ending, Packet, ServerAction};
use switchboard_websocket::{CloseCode, Opcode};

use super::{EngineSession, Registry, Sending, Transport};
use crate::DisconnectReason;
use crate::engineio::FullOutbox;
use crate::refusals::{Refused, RefusedKind};
use crate::transport::connection::{Connection, ConnectionEnd, ConnectionOwner, Timeouts};

impl Session for EngineSession {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Transport::WebSocket(connection) = &*self.transport.borrow() {
            return connection.flush(worker, &self.outbox);
        }
        let answer = self.rules.borrow_mut().answer_get(self.outbox.is_empty());
        if let Some(answer) = answer {
            self.answer_get(worker, answer);
            if self.rules.borrow().is_over() {
                self.finish(worker, None, None);
            }
        }
    }

    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        match &*self.transport.borrow() {
            Transport::WebSocket(connection) => connection.write_through(slices),
            Transport::Polling(_) | Transport::None => 0,
        }
    }

    fn note_plain(&self, before: usize) {
        if let Transport::Polling(polling) = &*self.transport.borrow() {
            polling.add_plain(before, self.outbox.bytes());
        }
    }

    fn writable(&self) -> bool {
        self.is_open()
            && match &*self.transport.borrow() {
                Transport::WebSocket(connection) => connection.writable(),
                Transport::Polling(_) => self.rules.borrow().get_waits() && self.outbox.is_empty(),
                Transport::None => false,
            }
    }

    fn overflow(&self, worker: &Rc<Worker>) {
        let (bytes, full) = (self.outbox.bytes(), self.server.options.full_outbox);
        self.tell_refused(RefusedKind::Delivery, "full outbox", 1);
        if full == FullOutbox::Refuse {
            tracing::debug!(bytes, "the outbox of a client is full: what was sent was refused");
            return;
        }
        tracing::warn!(bytes, "a client does not read as fast as it is sent to: closing its session");
        // The packets that wait are still written, if the client reads.
        if let Some(me) = worker.extension::<Registry>().get(&self.sid) {
            me.close(worker, DisconnectReason::ForcedServerClose);
        }
    }

    fn when_full(&self) -> WhenFull {
        self.server.options.when_full()
    }

    fn dropped(&self, _worker: &Rc<Worker>, packets: usize) {
        self.tell_refused(RefusedKind::Delivery, "dropped", packets);
        tracing::debug!(packets, "a client does not read as fast as it is sent to: packets were dropped");
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        let me = worker.extension::<Registry>().get(&self.sid)?;
        me.excuse_silence(worker, now);
        me.keep_rules(worker, now);
        let application = self.conversation().and_then(|conversation| conversation.on_timer(worker, now));
        let own = self.deadline(worker)?;
        Some(application.map_or(own, |deadline| deadline.min(own)))
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        if let Some(me) = worker.extension::<Registry>().get(&self.sid) {
            let (reason, code) = (DisconnectReason::ServerShuttingDown, Some(CloseCode::GoingAway));
            // The broadcasts of this turn came before.
            worker.apply_deferred();
            // No shutdown waits for a poll that would fetch nothing but the close. A session that lingers
            // already goes on.
            let waits = self.lingers() || !self.outbox.is_empty();
            let how = if waits { Ending::Orderly } else { Ending::Immediate };
            me.close_with(worker, reason, how, code);
        }
    }

    fn lingers(&self) -> bool {
        let rules = self.rules.borrow();
        !rules.is_open() && !rules.is_over()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl EngineSession {
    /// Tells of something that was refused.
    pub(crate) fn tell_refused(&self, kind: RefusedKind, reason: &str, count: usize) {
        let refusals = &self.server.options.refusals;
        if refusals.is_heard() {
            let address = self.handshake.address().map(|address| address.ip());
            refusals.tell(&Refused { count, ..Refused::new(kind, reason, address) });
        }
    }

    /// Carries out the actions that the session's rules ask for at this time.
    pub(in crate::engineio) fn keep_rules(self: &Rc<Self>, worker: &Rc<Worker>, now: Instant) {
        let elapsed = now.saturating_duration_since(worker.origin());
        loop {
            let action = self.rules.borrow_mut().poll(elapsed);
            match action {
                None => return,
                Some(ServerAction::SendPing) => {
                    if let Transport::WebSocket(connection) = &*self.transport.borrow() {
                        connection.release_unused();
                    }
                    let place = Place::of_ping(self.when_full());
                    let _full = self.send(worker, Opcode::Text, b"2", Sending { compress: true, place });
                }
                Some(ServerAction::PingTimedOut) => self.close(worker, DisconnectReason::PingTimeout),
                Some(ServerAction::CheckPeer) => self.check_peer(worker),
                Some(ServerAction::ReleaseGet) => self.release_get(worker),
                Some(ServerAction::ProbeTimedOut) => self.close_probe(worker),
                Some(ServerAction::GiveUp) => self.finish(worker, None, None),
            }
        }
    }

    /// Whether the client is not read for now, so that nothing of it can come.
    pub(crate) fn is_unread(&self) -> bool {
        let connection = match &*self.transport.borrow() {
            Transport::WebSocket(connection) => connection.is_unread(),
            Transport::Polling(_) | Transport::None => false,
        };
        connection || self.rules.borrow().is_paused()
    }

    /// How long a message may take, or the next attachment of a packet.
    pub(crate) fn message_timeout(&self) -> Option<Duration> {
        self.server.options.message_timeout
    }

    /// Excuses the silence of a client whose connection is not read for a while.
    fn excuse_silence(&self, worker: &Rc<Worker>, now: Instant) {
        if let Transport::WebSocket(connection) = &*self.transport.borrow()
            && connection.is_unread()
        {
            // One that does not take its answers has to take some.
            let elapsed = now.saturating_duration_since(worker.origin());
            self.rules.borrow_mut().excuse_silence(elapsed, || connection.take_alive());
        }
    }

    /// A session that does not read looks whether its connection is still there.
    fn check_peer(self: &Rc<Self>, worker: &Rc<Worker>) {
        let lost = match &*self.transport.borrow() {
            Transport::WebSocket(connection) => connection.has_lost_peer(),
            Transport::Polling(_) | Transport::None => false,
        };
        if lost {
            self.close(worker, DisconnectReason::TransportClose);
        }
    }

    fn close_probe(&self, worker: &Rc<Worker>) {
        let probing = self.probing.take();
        if let Some(connection) = probing {
            metrics::counter!("switchboard_upgrades_failed_total").increment(1);
            connection.close(worker, None, "");
        }
    }
}

impl ConnectionOwner for EngineSession {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, message: Message<'_>) {
        match message {
            Message::Text(text) => match Packet::decode_text(text) {
                // What begins with `b` depends on the version.
                Ok(packet) if !matches!(packet, Packet::Binary(_)) => self.on_packet(worker, packet),
                odd => self.on_odd_text(worker, text, odd),
            },
            Message::Binary(bytes) => self.on_binary(worker, bytes),
        }
    }

    fn hold_back_at(&self) -> usize {
        self.server.options.hold_back_at()
    }

    fn timeouts(&self) -> Timeouts {
        let options = &self.server.options;
        Timeouts { message: options.message_timeout, close: options.close_timeout }
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, end: ConnectionEnd) {
        end.trace();
        let reason = match end {
            ConnectionEnd::Closed { .. } => DisconnectReason::TransportClose,
            _ => DisconnectReason::TransportError,
        };
        self.close(worker, reason);
    }

    fn span(&self) -> tracing::Span {
        self.span_on("websocket")
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}
