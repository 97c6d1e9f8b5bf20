//! What the hub and a session's WebSocket connection call: flushes, timers, messages.

use std::any::Any;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Instant;

use switchboard_hub::{Outbox, Session, Worker};
use switchboard_protocol::engineio::{HeartbeatAction, Packet};
use switchboard_websocket::{CloseCode, Message, Opcode};

use super::{EngineSession, Registry, Sending, State, Transport};
use crate::DisconnectReason;
use crate::engineio::FullOutbox;
use crate::transport::connection::{Connection, ConnectionEnd, ConnectionOwner};

impl Session for EngineSession {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        match &*self.transport.borrow() {
            Transport::WebSocket(connection) => connection.flush(worker, &self.outbox),
            Transport::Polling(polling) if !self.outbox.is_empty() && polling.is_waiting() => {
                let body = worker.take(&self.outbox);
                let compress = polling.take_plain() != body.len();
                polling.release(body.into(), compress);
            }
            Transport::Polling(_) | Transport::None => return,
        }
        if self.state.get() == State::Lingering && self.outbox.is_empty() {
            self.forget(worker);
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
                Transport::Polling(polling) => polling.is_waiting() && self.outbox.is_empty(),
                Transport::None => false,
            }
    }

    fn overflow(&self, worker: &Rc<Worker>) {
        let (bytes, full) = (self.outbox.bytes(), self.server.options.full_outbox);
        if full == FullOutbox::Refuse {
            tracing::debug!(bytes, "the outbox of a client is full: what was sent was refused");
            return;
        }
        tracing::warn!(bytes, "a client does not read as fast as it is sent to: closing its session");
        // What waits is written yet, if the client reads.
        if let Some(me) = worker.extension::<Registry>().get(&self.sid) {
            me.close(worker, DisconnectReason::ForcedServerClose);
        }
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        if !self.is_open() {
            self.forget(worker);
            return None;
        }
        let me = worker.extension::<Registry>().get(&self.sid)?;
        let elapsed = now.saturating_duration_since(worker.origin());
        if self.paused.get() {
            let lost = match &*self.transport.borrow() {
                Transport::WebSocket(connection) => connection.has_lost_peer(),
                Transport::Polling(_) | Transport::None => false,
            };
            if lost {
                me.close(worker, DisconnectReason::TransportClose);
                return None;
            }
            // Its pong may have come: it is not read, and its silence is ours.
            if self.awaits_pong.replace(false) {
                self.heartbeat.borrow_mut().on_pong(elapsed);
            }
        }
        let action = self.heartbeat.borrow_mut().poll(elapsed);
        match action {
            HeartbeatAction::SendPing => {
                self.awaits_pong.set(true);
                if let Transport::WebSocket(connection) = &*self.transport.borrow() {
                    connection.rest();
                }
                let _full = me.send(worker, Opcode::Text, b"2", Sending::default());
            }
            HeartbeatAction::TimedOut => {
                me.close(worker, DisconnectReason::PingTimeout);
                return None;
            }
            HeartbeatAction::None => {}
        }
        let application = self.conversation()?.on_timer(worker, now);
        let own = worker.origin() + self.heartbeat.borrow().deadline();
        self.is_open().then(|| application.map_or(own, |deadline| deadline.min(own)))
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        if let Some(me) = worker.extension::<Registry>().get(&self.sid) {
            me.close_with(worker, DisconnectReason::ServerShuttingDown, Some(CloseCode::GoingAway));
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ConnectionOwner for EngineSession {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, message: Message<'_>) {
        match message {
            Message::Text(text) => match Packet::decode_text(text) {
                Ok(packet) => self.on_packet(worker, packet),
                Err(error) => {
                    metrics::counter!("switchboard_parse_errors_total").increment(1);
                    tracing::debug!(%error, "not a packet");
                    self.close(worker, DisconnectReason::ParseError);
                }
            },
            Message::Binary(bytes) => self.on_packet(worker, Packet::Binary(bytes.into())),
            _ => {}
        }
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, end: ConnectionEnd) {
        let reason = match end {
            ConnectionEnd::Closed { .. } => DisconnectReason::TransportClose,
            ConnectionEnd::Protocol(error) => {
                tracing::debug!(%error, "not a WebSocket peer");
                DisconnectReason::TransportError
            }
            ConnectionEnd::Io(error) => {
                tracing::debug!(%error, "a connection failed");
                DisconnectReason::TransportError
            }
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
