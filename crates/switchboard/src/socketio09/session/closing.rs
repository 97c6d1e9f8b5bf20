//! The end of a session: its sockets are told, then its transport.

use std::rc::Rc;

use switchboard_hub::Worker;
use switchboard_protocol::socketio09::write_disconnect;
use switchboard_websocket::CloseCode;

use super::{OldSession, Registry, Transport};
use crate::DisconnectReason;
use crate::socketio09::Version;

/// Whether packets that wait are kept for a poll yet to come: where the client is there, and the server ends the
/// session, or the client has asked for it.
fn is_orderly(reason: DisconnectReason) -> bool {
    match reason {
        DisconnectReason::TransportError
        | DisconnectReason::TransportClose
        | DisconnectReason::PingTimeout
        | DisconnectReason::ParseError => false,
        DisconnectReason::ForcedClose
        | DisconnectReason::ForcedServerClose
        | DisconnectReason::ClientNamespaceDisconnect
        | DisconnectReason::ServerNamespaceDisconnect
        | DisconnectReason::ServerShuttingDown => true,
    }
}

impl OldSession {
    /// The client ends the session, which is confirmed.
    pub(in crate::socketio09) fn client_leaves(self: &Rc<Self>, worker: &Rc<Worker>) {
        self.say_disconnect(worker, "/");
        self.close(worker, DisconnectReason::ClientNamespaceDisconnect);
    }

    /// Tells a client of 0.9 that it is not in a namespace any more. 0.6 has no words for it.
    pub(in crate::socketio09) fn say_disconnect(self: &Rc<Self>, worker: &Rc<Worker>, namespace: &str) {
        if self.version == Version::V09 {
            let mut packet = Vec::new();
            write_disconnect(&mut packet, namespace);
            self.tell(worker, &packet);
        }
    }

    /// Closes the session: its sockets are told, the outbox is still written, then the transport is closed.
    pub(in crate::socketio09) fn close(self: &Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.close_with(worker, reason, None);
    }

    pub(super) fn close_with(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        reason: DisconnectReason,
        code: Option<CloseCode>,
    ) {
        // The broadcasts of this turn came before the close.
        worker.apply_deferred();
        if !self.is_open() {
            return;
        }
        self.rules.borrow_mut().close(worker.elapsed(), true);
        tracing::debug!(sid = self.sid.as_str().get(..4), %reason, "session closed");
        metrics::counter!("switchboard_sessions_closed_total", "reason" => reason.as_str()).increment(1);
        metrics::gauge!("switchboard_sessions").decrement(1.0);
        let sockets = self.sockets.take();
        let had_transport = sockets.is_some();
        if let Some(sockets) = sockets {
            sockets.closed(worker, reason);
        }
        self.early.take();
        self.answer_post();
        self.close_transport(worker, code);
        if self.outbox.is_empty() || !is_orderly(reason) || !had_transport {
            self.finish(worker);
        } else if self.key.get().is_some() {
            self.arm_deadline(worker);
        }
    }

    /// Closes the transport behind what waits.
    fn close_transport(self: &Rc<Self>, worker: &Rc<Worker>, code: Option<CloseCode>) {
        self.answer_poll(worker);
        match self.replace_transport(Transport::None) {
            Transport::WebSocket(connection) | Transport::Stream(connection) => {
                // It reads on, up to its end, and writes the outbox itself.
                connection.resume();
                connection.close(worker, code, "");
                self.finish(worker);
            }
            Transport::Poll { reply, form } => self.tell_over(reply, &form),
            Transport::None => {}
        }
    }

    /// The transport is lost, whether the session is open or not.
    pub(super) fn lose(self: &Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.close(worker, reason);
        self.finish(worker);
    }

    /// The last step: nobody finds the session any more.
    pub(super) fn finish(&self, worker: &Rc<Worker>) {
        self.rules.borrow_mut().close(worker.elapsed(), false);
        if let Transport::Poll { reply, form } = self.replace_transport(Transport::None) {
            self.tell_over(reply, &form);
        }
        worker.extension::<Registry>().sessions.borrow_mut().remove(&self.sid);
        if let Some(key) = self.key.take() {
            self.old.engine.sessions.leave(self.handshake.address().map(|address| address.ip()));
            worker.remove_session(key);
        }
    }
}
