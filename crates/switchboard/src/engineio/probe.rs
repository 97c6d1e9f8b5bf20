//! The probe: a WebSocket connection that asks to take over a session which is on polling.
//!
//! [Engine.IO protocol 4, Upgrade](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v4-current.md#upgrade).
//! A probe that fails leaves the session where it is.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use switchboard_hub::{Outbox, Session, SessionKey, Worker};
use switchboard_protocol::engineio::{Packet, SessionId, UpgradeAction, UpgradeStep};
use switchboard_websocket::Message;

use super::EngineServer;
use super::session::{EngineSession, Registry};
use crate::transport::connection::{Connection, ConnectionEnd, ConnectionOwner, Opened};
use crate::transport::wire::write_text;

/// A probe sends a pong and a close frame, and no more.
const OUTBOX_BYTES: usize = 1024;

struct Probe {
    session: Rc<EngineSession>,
    outbox: Outbox,
    key: Cell<Option<SessionKey>>,
    connection: RefCell<Option<Rc<Connection>>>,
}

/// Starts a probe. One for a session that is gone, upgraded or being probed is closed.
pub(crate) fn start(worker: &Rc<Worker>, server: &Arc<EngineServer>, sid: SessionId, opened: Opened<'_>) {
    let Some(session) = worker.extension::<Registry>().get(&sid).filter(|session| session.is_open()) else {
        return;
    };
    let started = session.upgrade.borrow_mut().start(worker.elapsed(), server.options.upgrade_timeout);
    let probe = Rc::new(Probe {
        session,
        outbox: Outbox::new(OUTBOX_BYTES, opened.wire.framing()),
        key: Cell::new(None),
        connection: RefCell::default(),
    });
    let owner = Rc::clone(&probe) as Rc<dyn ConnectionOwner>;
    let connection = Connection::start(worker, opened, server.websocket_limits(), owner);
    *probe.connection.borrow_mut() = Some(Rc::clone(&connection));
    if let Err(error) = started {
        metrics::counter!("switchboard_upgrades_failed_total").increment(1);
        tracing::debug!(%error, "probe refused");
        connection.close(worker, None, "");
        return;
    }
    *probe.session.probing.borrow_mut() = Some(connection);
    let key = worker.add_session(Rc::clone(&probe) as Rc<dyn Session>);
    probe.key.set(Some(key));
    probe.arm(worker);
}

impl Probe {
    fn connection(&self) -> Option<Rc<Connection>> {
        self.connection.borrow().clone()
    }

    fn deadline(&self, worker: &Worker) -> Option<Instant> {
        self.session.upgrade.borrow().deadline().map(|deadline| worker.origin() + deadline)
    }

    fn arm(&self, worker: &Worker) {
        if let (Some(key), Some(deadline)) = (self.key.get(), self.deadline(worker)) {
            worker.arm(key, deadline);
        }
    }

    /// Ends the probe, whatever came of it.
    fn finish(&self, worker: &Worker) -> bool {
        let key = self.key.take();
        if let Some(key) = key {
            worker.remove_session(key);
            drop(self.session.probing.take());
        }
        key.is_some()
    }

    fn fail(&self, worker: &Rc<Worker>) {
        if self.finish(worker) {
            metrics::counter!("switchboard_upgrades_failed_total").increment(1);
            self.session.upgrade.borrow_mut().fail();
        }
        if let Some(connection) = self.connection() {
            connection.close(worker, None, "");
        }
    }

    fn step(&self, worker: &Rc<Worker>) {
        let action = self.session.upgrade.borrow_mut().poll(worker.elapsed());
        match action {
            UpgradeAction::None => {}
            UpgradeAction::FlushPolling => self.session.release_poll(),
            UpgradeAction::TimedOut => self.fail(worker),
        }
    }
}

impl Session for Probe {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Some(connection) = self.connection() {
            connection.flush(worker, &self.outbox);
        }
    }

    fn writable(&self) -> bool {
        false
    }

    fn overflow(&self, worker: &Rc<Worker>) {
        self.fail(worker);
        if let Some(connection) = self.connection() {
            connection.abort();
        }
    }

    fn on_timer(&self, worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
        self.step(worker);
        self.key.get().and_then(|_still_probing| self.deadline(worker))
    }

    fn shut_down(&self, worker: &Rc<Worker>) {
        self.fail(worker);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ConnectionOwner for Probe {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, connection: &Rc<Connection>, message: Message<'_>) {
        let Message::Text(text) = message else { return self.fail(worker) };
        let Ok(packet) = Packet::decode_text(text) else { return self.fail(worker) };
        if !self.session.is_open() || self.key.get().is_none() {
            return self.fail(worker);
        }
        let step = self.session.upgrade.borrow_mut().on_packet(&packet, worker.elapsed());
        match step {
            UpgradeStep::SendPong => {
                let me = Rc::clone(&self) as Rc<dyn Session>;
                let _full = worker.write(&me, |out| write_text(self.outbox.framing(), out, b"3probe"));
                self.step(worker);
                self.arm(worker);
            }
            UpgradeStep::Swap => {
                self.finish(worker);
                *self.connection.borrow_mut() = None;
                self.session.upgrade_to(worker, connection);
            }
            UpgradeStep::Fail => self.fail(worker),
        }
    }

    fn on_connection_end(self: Rc<Self>, worker: &Rc<Worker>, _link: &Rc<Connection>, _end: ConnectionEnd) {
        self.fail(worker);
        *self.connection.borrow_mut() = None;
    }

    fn span(&self) -> tracing::Span {
        self.session.span_on("websocket")
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}
