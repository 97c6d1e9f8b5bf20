//! The end of a session: its application is told, then its transport.

use std::rc::Rc;
use std::time::Duration;

use switchboard_hub::Worker;
use switchboard_websocket::{CloseCode, Opcode};

use super::{EngineSession, Registry, Sending, State, Transport};
use crate::DisconnectReason;

/// How long a closed session waits for one more poll to tell its client so.
const LINGER: Duration = Duration::from_secs(30);

impl EngineSession {
    /// Closes the session: the application is told, what waits is still written, then the transport is closed.
    pub(crate) fn close(self: &Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.close_with(worker, reason, None);
    }

    pub(super) fn close_with(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        reason: DisconnectReason,
        code: Option<CloseCode>,
    ) {
        if self.state.get() != State::Open {
            return;
        }
        self.resume(worker);
        let polls = matches!(&*self.transport.borrow(), Transport::Polling(_));
        if polls {
            // Whoever does not read as fast as it is sent to is told, too.
            let _told =
                self.send(worker, Opcode::Text, b"1", Sending { follows: true, ..Sending::default() });
        }
        self.state.set(State::Lingering);
        tracing::debug!(sid = self.sid.as_str().get(..4), %reason, "session closed");
        metrics::counter!("switchboard_sessions_closed_total", "reason" => reason.as_str()).increment(1);
        metrics::gauge!("switchboard_sessions").decrement(1.0);
        let conversation = self.conversation.take();
        if let Some(conversation) = conversation {
            conversation.closed(worker, reason);
        }
        let probing = self.probing.take();
        if let Some(connection) = probing {
            connection.close(worker, None, "");
        }
        if polls {
            self.arm(worker, Worker::clock() + LINGER);
        } else {
            let transport = std::mem::replace(&mut *self.transport.borrow_mut(), Transport::None);
            if let Transport::WebSocket(connection) = transport {
                connection.close(worker, code, "");
            }
            self.forget(worker);
        }
    }

    /// The last step: nobody finds the session any more.
    pub(in crate::engineio) fn forget(&self, worker: &Worker) {
        self.state.set(State::Closed);
        worker.extension::<Registry>().sessions.borrow_mut().remove(&self.sid);
        if let Some(key) = self.key.take() {
            worker.remove_session(key);
        }
    }
}
