//! Sessions of Engine.IO protocol 3: the form of their binary messages, and texts that were encoded twice.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Instant;

use switchboard_hub::{HubError, Session, Worker};
use switchboard_protocol::engineio::v3::{self, TextDecoder};
use switchboard_protocol::engineio::{DecodeError, Packet, Version};
use switchboard_websocket::Opcode;

use super::{EngineSession, Sending, Transport};
use crate::DisconnectReason;
use crate::engineio::application::Conversation;
use crate::transport::framing::{uncompressed, write_binary_v3};

impl EngineSession {
    /// Queues a binary message with its type before it.
    #[inline(never)]
    pub(super) fn queue_binary_v3(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        bytes: &[u8],
        sending: Sending,
    ) -> Result<(), HubError> {
        let transport = self.transport.borrow();
        let own = match &*transport {
            Transport::WebSocket(connection) if sending.compress => connection.own_deflater(),
            _ => None,
        };
        let mut before = 0;
        self.write(worker, sending, |out| {
            before = self.outbox.bytes();
            let framing = self.outbox.framing();
            match own {
                Some(own) => {
                    let mut packet = Vec::new();
                    v3::encode_binary(bytes, &mut packet);
                    own.encode_frame(&self.outbox, out, Opcode::Binary, &packet);
                }
                None if sending.compress => write_binary_v3(framing, out, bytes),
                None => write_binary_v3(uncompressed(framing), out, bytes),
            }
        })?;
        drop(transport);
        if !sending.compress {
            self.note_plain(before);
        }
        Ok(())
    }

    /// A packet came as text that is no message of text, or no packet.
    #[cold]
    pub(super) fn on_odd_text(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        text: &str,
        packet: Result<Packet<'_>, DecodeError>,
    ) {
        let packet = if self.speaks(Version::V3) { v3::decode_text(text) } else { packet };
        self.on_decoded(worker, packet);
    }

    /// A packet came as a binary message of a WebSocket.
    pub(super) fn on_binary(self: &Rc<Self>, worker: &Rc<Worker>, bytes: &[u8]) {
        let packet = match self.version() {
            Version::V3 => v3::decode_binary(bytes),
            Version::V4 => Ok(Packet::Binary(bytes.into())),
        };
        self.on_decoded(worker, packet);
    }

    fn on_decoded(self: &Rc<Self>, worker: &Rc<Worker>, packet: Result<Packet<'_>, DecodeError>) {
        match packet {
            Ok(packet) => self.on_packet(worker, packet),
            Err(error) => {
                metrics::counter!("switchboard_parse_errors_total").increment(1);
                tracing::debug!(%error, "not a packet");
                self.close(worker, DisconnectReason::ParseError);
            }
        }
    }

    /// The conversation, which in protocol 3 gets texts as they were before they were encoded twice.
    pub(super) fn with_own_texts(
        self: &Rc<Self>,
        conversation: Rc<dyn Conversation>,
    ) -> Rc<dyn Conversation> {
        if self.speaks(Version::V4) {
            return conversation;
        }
        let session = Rc::downgrade(self);
        Rc::new(OwnTexts { conversation, session, texts: Cell::default() })
    }
}

/// A conversation that gets a client's own texts.
struct OwnTexts {
    conversation: Rc<dyn Conversation>,
    session: Weak<EngineSession>,
    /// What is known of the texts on polling, and on WebSocket: clients encode twice on one and not on the other.
    texts: Cell<[TextDecoder; 2]>,
}

impl Conversation for OwnTexts {
    fn opened(&self, worker: &Rc<Worker>) {
        self.conversation.opened(worker);
    }

    fn text(&self, worker: &Rc<Worker>, text: &str) {
        if text.is_ascii() {
            return self.conversation.text(worker, text);
        }
        let on_polling = self.session.upgrade().is_some_and(|session| session.rules.borrow().is_polling());
        let [mut polling, mut websocket] = self.texts.get();
        let decoder = if on_polling { &mut polling } else { &mut websocket };
        let own = decoder.decode(text);
        self.texts.set([polling, websocket]);
        self.conversation.text(worker, &own);
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        self.conversation.binary(worker, bytes);
    }

    fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.conversation.closed(worker, reason);
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        self.conversation.on_timer(worker, now)
    }
}
