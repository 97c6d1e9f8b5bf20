//! A connection that has no session: one for a session that is not known, and one whose session has gone on to
//! another transport. It is told what there is to tell, and closed.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchboard_hub::{Framing, Outbox, Session, Worker};

use super::{OldClients, Version, answers};
use crate::message::Message;
use crate::transport::connection::{
    Connection, ConnectionEnd, ConnectionOwner, ConnectionTask, Opened, Timeouts,
};
use crate::transport::framing::write_text;

/// Bytes that it is sent at most: the answer to the handshake, an error and a close.
const OUTBOX_BYTES: usize = 4096;

struct Refused {
    outbox: Outbox,
    close_timeout: Option<Duration>,
    connection: RefCell<Option<Rc<Connection>>>,
}

fn refused(framing: Framing, old: &OldClients) -> Rc<Refused> {
    let close_timeout = old.engine.options.close_timeout;
    Rc::new(Refused {
        outbox: Outbox::new(OUTBOX_BYTES, framing),
        close_timeout,
        connection: RefCell::default(),
    })
}

/// Tells the peer of a new connection that there is no such session. `version`: that of a WebSocket.
pub(super) fn start(
    worker: &Rc<Worker>,
    old: &Arc<OldClients>,
    version: Option<Version>,
    opened: Opened<'_>,
) -> Option<ConnectionTask> {
    crate::http::refused("socketio09", "unknown session");
    let owner = refused(opened.wire.framing(), old);
    let limits = old.engine.websocket_limits();
    let (connection, task) =
        Connection::start(worker, opened, limits, Rc::clone(&owner) as Rc<dyn ConnectionOwner>);
    *owner.connection.borrow_mut() = Some(Rc::clone(&connection));
    if version == Some(Version::V09) {
        let session = Rc::clone(&owner) as Rc<dyn Session>;
        let _new = worker.write(&session, |out| {
            write_text(owner.outbox.framing(), out, answers::not_handshaken().as_bytes());
        });
    }
    connection.close(worker, None, "");
    task
}

/// Closes a connection whose session has gone on to another transport.
pub(super) fn let_go(worker: &Rc<Worker>, old: &OldClients, connection: &Rc<Connection>) {
    let owner = refused(connection.wire().framing(), old);
    *owner.connection.borrow_mut() = Some(Rc::clone(connection));
    connection.set_owner(owner);
    connection.resume();
    connection.close(worker, None, "");
}

impl Session for Refused {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.flush(worker, &self.outbox);
        }
    }

    fn writable(&self) -> bool {
        false
    }

    fn overflow(&self, _worker: &Rc<Worker>) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.abort();
        }
    }

    fn on_timer(&self, _worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
        None
    }

    /// It is closing already.
    fn shut_down(&self, _worker: &Rc<Worker>) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ConnectionOwner for Refused {
    fn on_message(self: Rc<Self>, _: &Rc<Worker>, _: &Rc<Connection>, _: Message<'_>) {}

    fn timeouts(&self) -> Timeouts {
        Timeouts { message: None, close: self.close_timeout }
    }

    fn on_connection_end(self: Rc<Self>, _: &Rc<Worker>, _: &Rc<Connection>, _: ConnectionEnd) {
        *self.connection.borrow_mut() = None;
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}
