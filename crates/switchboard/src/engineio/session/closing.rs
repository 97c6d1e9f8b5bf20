//! The end of a session: its application is told, then its transport.

use std::rc::Rc;

use switchboard_hub::Worker;
use switchboard_protocol::engineio::{Closing, Ending, GetAnswer};
use switchboard_websocket::CloseCode;

use super::{EngineSession, Registry, Transport};
use crate::DisconnectReason;
use crate::refusals::RefusedKind;

/// How a session ends for a reason. Only a close by the server's own will waits for the client to be told.
fn ending(reason: DisconnectReason) -> Ending {
    match reason {
        DisconnectReason::TransportError
        | DisconnectReason::TransportClose
        | DisconnectReason::PingTimeout
        | DisconnectReason::ParseError
        | DisconnectReason::ServerShuttingDown => Ending::Immediate,
        DisconnectReason::ForcedClose
        | DisconnectReason::ForcedServerClose
        | DisconnectReason::ClientNamespaceDisconnect
        | DisconnectReason::ServerNamespaceDisconnect => Ending::Orderly,
    }
}

impl EngineSession {
    /// Closes the session: the application is told, the outbox is still written, then the transport is
    /// closed. On polling, a close by the server's own will waits for the polls that fetch the outbox and the
    /// close.
    pub(crate) fn close(self: &Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.close_with(worker, reason, ending(reason), None);
    }

    pub(super) fn close_with(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        reason: DisconnectReason,
        how: Ending,
        code: Option<CloseCode>,
    ) {
        // The broadcasts of this turn came before the close.
        worker.apply_deferred();
        let was_open = self.is_open();
        let closing = self.rules.borrow_mut().close(worker.elapsed(), how, self.outbox.is_empty());
        if closing == Closing::None {
            return;
        }
        match &*self.transport.borrow() {
            // The connection reads on, up to its end.
            Transport::WebSocket(connection) => connection.resume(),
            Transport::Polling(polling) => polling.answer_post(),
            Transport::None => {}
        }
        if was_open {
            self.tell_end(worker, reason);
        }
        match closing {
            Closing::Over(answer) => self.finish(worker, answer, code),
            Closing::Lingers | Closing::None => self.arm_deadline(worker),
        }
    }

    fn tell_end(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        tracing::debug!(sid = self.sid.as_str().get(..4), %reason, "session closed");
        metrics::counter!("switchboard_sessions_closed_total", "reason" => reason.as_str()).increment(1);
        metrics::gauge!("switchboard_sessions").decrement(1.0);
        if reason == DisconnectReason::ParseError {
            self.tell_refused(RefusedKind::Packet, reason.as_str(), 1);
        }
        let conversation = self.conversation.take();
        if let Some(conversation) = conversation {
            conversation.closed(worker, reason);
        }
    }

    /// The last step of a session that is over: the GET that waits is answered, the connections are closed,
    /// and nobody finds the session any more.
    pub(super) fn finish(&self, worker: &Rc<Worker>, answer: Option<GetAnswer>, code: Option<CloseCode>) {
        if let Some(answer) = answer {
            self.answer_get(worker, answer);
        }
        let transport = std::mem::replace(&mut *self.transport.borrow_mut(), Transport::None);
        if let Transport::WebSocket(connection) = transport {
            connection.close(worker, code, "");
        }
        let probing = self.probing.take();
        if let Some(connection) = probing {
            connection.close(worker, None, "");
        }
        worker.extension::<Registry>().sessions.borrow_mut().remove(&self.sid);
        if let Some(key) = self.key.take() {
            self.server.sessions.leave(self.handshake.address().map(|address| address.ip()));
            worker.remove_session(key);
        }
    }
}
