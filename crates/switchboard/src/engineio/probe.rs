//! The probe: a WebSocket connection that asks to take over a session which is on polling.
//!
//! [Engine.IO protocol 4,
//! Upgrade](https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v4-current.md#upgrade). A
//! probe that fails leaves the session where it is.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::message::Message;
use switchboard_hub::{Outbox, Session, Worker};
use switchboard_protocol::engineio::{Packet, ProbeStep, SessionId};

use super::EngineServer;
use super::session::{EngineSession, Registry};
use crate::transport::connection::{
    Connection, ConnectionEnd, ConnectionOwner, ConnectionTask, Opened, Timeouts,
};
use crate::transport::framing::write_text;

/// A probe sends a pong and a close frame, and no more.
const OUTBOX_BYTES: usize = 1024;

struct Probe {
    session: Rc<EngineSession>,
    outbox: Outbox,
    connection: RefCell<Option<Rc<Connection>>>,
}

/// Starts a probe. One for a session that is gone, upgraded or being probed is closed.
pub(crate) fn start(
    worker: &Rc<Worker>,
    server: &Arc<EngineServer>,
    sid: SessionId,
    opened: Opened<'_>,
) -> Option<ConnectionTask> {
    let session = worker.extension::<Registry>().get(&sid)?;
    let started = session.rules.borrow_mut().start_probe(worker.elapsed(), server.options.upgrade_timeout);
    let probe = Rc::new(Probe {
        session,
        outbox: Outbox::new(OUTBOX_BYTES, opened.wire.framing()),
        connection: RefCell::default(),
    });
    let owner = Rc::clone(&probe) as Rc<dyn ConnectionOwner>;
    let (connection, task) = Connection::start(worker, opened, server.websocket_limits(), owner);
    *probe.connection.borrow_mut() = Some(Rc::clone(&connection));
    if let Err(error) = started {
        metrics::counter!("switchboard_upgrades_failed_total").increment(1);
        tracing::debug!(%error, "probe refused");
        connection.close(worker, None, "");
        return task;
    }
    *probe.session.probing.borrow_mut() = Some(connection);
    probe.session.arm_deadline(worker);
    task
}

impl Probe {
    fn connection(&self) -> Option<Rc<Connection>> {
        self.connection.borrow().clone()
    }

    /// Whether the session still waits for this probe: not for another one, or none.
    fn is_current(&self) -> bool {
        match (&*self.session.probing.borrow(), &*self.connection.borrow()) {
            (Some(probing), Some(own)) => Rc::ptr_eq(probing, own),
            _ => false,
        }
    }

    fn fail(&self, worker: &Rc<Worker>) {
        if self.is_current() {
            drop(self.session.probing.take());
            metrics::counter!("switchboard_upgrades_failed_total").increment(1);
            self.session.rules.borrow_mut().on_probe_lost();
        }
        if let Some(connection) = self.connection() {
            connection.close(worker, None, "");
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

    /// The session keeps the time of its probe.
    fn on_timer(&self, _worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
        None
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
        if !self.is_current() {
            return self.fail(worker);
        }
        let step = self.session.rules.borrow_mut().on_probe_packet(&packet, worker.elapsed());
        match step {
            ProbeStep::SendPong => {
                let me = Rc::clone(&self) as Rc<dyn Session>;
                let _full = worker.write(&me, |out| write_text(self.outbox.framing(), out, b"3probe"));
                self.session.keep_rules(worker, Worker::clock());
                self.session.arm_deadline(worker);
            }
            ProbeStep::Swap => {
                drop(self.session.probing.take());
                *self.connection.borrow_mut() = None;
                self.session.upgrade_to(worker, connection);
            }
            ProbeStep::Fail => self.fail(worker),
        }
    }

    fn timeouts(&self) -> Timeouts {
        // A probe as a whole has its time.
        Timeouts { message: None, close: self.session.server.options.close_timeout }
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
