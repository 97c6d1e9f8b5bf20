//! Sockets over sessions of old clients: how packets are written to one client.

use std::rc::Rc;
use std::time::Instant;

use switchboard_hub::{HubError, Key, Place, Session, Worker};
use switchboard_protocol::socketio06;
use switchboard_protocol::socketio09::{Advice, Reason, write_ack, write_connect, write_error, write_event};

use super::Version;
use super::session::{OldSession, Sending};
use crate::api::carrier::{Carrier, Head, Kind, Outgoing};
use crate::handshake::Handshake;
use crate::{DisconnectReason, Error, SocketId};

impl OldSession {
    /// Queues an event or an acknowledgement.
    fn send_event(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        out: &Outgoing<'_>,
        key: Option<&Key>,
    ) -> Result<(), HubError> {
        let Outgoing { head, attachments, compress, .. } = *out;
        let is_awaited = head.kind == Kind::Ack || head.id.is_some();
        let place = if is_awaited { Place::Kept } else { Place::Droppable };
        let json = out.json();
        let text = || std::str::from_utf8(json).unwrap_or_default();
        worker.with_scratch(|packet| {
            let is_written = match (self.version, head.kind) {
                (Version::V09, Kind::Event) => {
                    // Ours begin with 1, as those of other servers do.
                    let id = head.id.map(|id| id.saturating_add(1));
                    write_event(packet, head.namespace, id, text(), attachments)
                }
                (Version::V09, Kind::Ack) => {
                    write_ack(packet, head.namespace, head.id.unwrap_or_default(), json, attachments);
                    true
                }
                (Version::V06, Kind::Event) => socketio06::write_event(packet, text(), attachments),
                // No event of theirs asks for one.
                (Version::V06, Kind::Ack) => false,
            };
            if is_written { self.send(worker, packet, Sending { compress, place, key }) } else { Ok(()) }
        })
    }

    /// The session closes behind what goes on now: its sockets are being told already.
    fn close_soon(self: &Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        let (me, worker) = (Rc::downgrade(self), Rc::clone(worker));
        tokio::task::spawn_local(async move {
            if let Some(me) = me.upgrade() {
                me.close(&worker, reason);
            }
        });
    }
}

impl Carrier for OldSession {
    fn session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }

    fn as_session(&self) -> &dyn Session {
        self
    }

    fn handshake(&self) -> &Handshake {
        OldSession::handshake(self)
    }

    fn is_open(&self) -> bool {
        OldSession::is_open(self)
    }

    /// Nothing: the JSON of an event has another form here.
    fn begin(&self, _packet: &mut Vec<u8>, _head: Head<'_>) {}

    fn send(self: Rc<Self>, worker: &Rc<Worker>, out: Outgoing<'_>) -> Result<(), HubError> {
        self.send_event(worker, &out, None)
    }

    fn send_conflated(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        key: &Key,
        out: Outgoing<'_>,
    ) -> Result<(), HubError> {
        self.send_event(worker, &out, Some(key))
    }

    fn connected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, _id: SocketId) {
        if self.version == Version::V09 {
            let mut packet = Vec::new();
            write_connect(&mut packet, namespace);
            self.tell(worker, &packet);
        }
        self.release_early(worker);
    }

    /// A client that may not be in `/` has no session, as it has no connection without that.
    fn refused(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, _error: &Error) {
        if self.version == Version::V09 {
            let mut packet = Vec::new();
            write_error(&mut packet, namespace, Reason::Unauthorized, Advice::None);
            self.tell(worker, &packet);
        }
        if namespace == "/" {
            return self.close_soon(worker, DisconnectReason::ForcedServerClose);
        }
        self.release_early(worker);
    }

    /// A client that is not in `/` any more takes the session for ended.
    fn disconnected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str) {
        self.say_disconnect(worker, namespace);
        if namespace == "/" {
            self.close_soon(worker, DisconnectReason::ForcedServerClose);
        }
    }

    fn pause(&self) {
        OldSession::pause(self);
    }

    fn resume(self: Rc<Self>, _worker: &Rc<Worker>) {
        OldSession::resume(&self);
    }

    fn close(self: Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason) {
        OldSession::close(&self, worker, reason);
    }

    fn arm(&self, worker: &Worker, deadline: Instant) {
        OldSession::arm(self, worker, deadline);
    }
}
