//! The move of a session from polling to WebSocket.

use std::rc::Rc;

use switchboard_hub::{Place, Worker};
use switchboard_protocol::engineio::{Packet, Version, payload, v3};
use switchboard_websocket::Opcode;

use super::{EngineSession, Sending, Transport};
use crate::transport::connection::{Connection, ConnectionOwner};

impl EngineSession {
    /// Moves the session to a WebSocket connection whose probe has succeeded, with its outbox. A session that
    /// was closing closes the connection behind that.
    pub(in crate::engineio) fn upgrade_to(self: &Rc<Self>, worker: &Rc<Worker>, connection: &Rc<Connection>) {
        let before =
            std::mem::replace(&mut *self.transport.borrow_mut(), Transport::WebSocket(Rc::clone(connection)));
        let waiting = worker.take(&self.outbox);
        self.outbox.set_framing(connection.wire().framing());
        self.handshake.set_on_websocket(true);
        let mut plain = 0;
        if let Transport::Polling(polling) = before {
            plain = polling.take_plain();
            polling.answer_noop(self.version());
            polling.answer_post();
        }
        connection.set_owner(Rc::clone(self) as Rc<dyn ConnectionOwner>);
        if self.rules.borrow().is_paused() {
            connection.pause();
        }
        // The packets that waited for a poll go on as frames.
        let waiting = std::str::from_utf8(&waiting).unwrap_or_default();
        match self.version() {
            Version::V4 => {
                let mut at = 0;
                for packet in waiting.split(char::from(payload::SEPARATOR)) {
                    let end = at + packet.len();
                    if !packet.is_empty() {
                        self.send_again(worker, packet, end <= plain);
                    }
                    at = end + 1;
                }
            }
            Version::V3 => {
                let mut packets = v3::payload::split(waiting);
                while let Some(Ok(packet)) = packets.next() {
                    self.send_again(worker, packet, packets.read() <= plain);
                }
            }
        }
        metrics::counter!("switchboard_upgrades_total").increment(1);
        if self.rules.borrow().is_over() {
            self.finish(worker, None, None);
        }
    }

    /// Queues a packet that was laid for polling. It was accepted while the session was open, so it goes out
    /// even if the session has closed since.
    fn send_again(self: &Rc<Self>, worker: &Rc<Worker>, packet: &str, plain: bool) {
        let sending = Sending { compress: !plain, place: Place::Always };
        let decoded = match self.version() {
            Version::V4 => Packet::decode_text(packet),
            Version::V3 => v3::decode_text(packet),
        };
        let (opcode, bytes) = match &decoded {
            Ok(Packet::Binary(bytes)) => (Opcode::Binary, &**bytes),
            _ => (Opcode::Text, packet.as_bytes()),
        };
        let _taken = self.queue(worker, opcode, bytes, sending);
    }
}
