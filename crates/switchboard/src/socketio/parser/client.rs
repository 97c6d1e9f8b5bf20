//! One session's packets, read by a parser.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use switchboard_hub::Worker;

use super::carrier::ParsedSession;
use super::{Decoder, Parser};
use crate::DisconnectReason;
use crate::api::carrier::Carrier;
use crate::engineio::application::Conversation;
use crate::engineio::session::EngineSession;
use crate::functions::caught;
use crate::message::Message;
use crate::socketio::client::Client;
use crate::socketio::server::SocketIo;

/// The Socket.IO side of one session whose packets a parser reads and writes.
pub(crate) struct ParsedClient {
    client: Client,
    decoder: RefCell<Box<dyn Decoder>>,
}

impl ParsedClient {
    pub(crate) fn open(server: &SocketIo, session: &Rc<EngineSession>, parser: &Arc<dyn Parser>) -> Rc<Self> {
        let parser = Arc::clone(parser);
        let decoder = RefCell::new(parser.decoder(&server.namespaces.options.packets));
        let carrier = Rc::new(ParsedSession { session: Rc::clone(session), parser }) as Rc<dyn Carrier>;
        Rc::new(Self { client: Client::new(server, session, carrier, server.dialect), decoder })
    }

    fn message(&self, worker: &Rc<Worker>, message: Message<'_>) {
        let decoded = caught(|| self.decoder.borrow_mut().decode(message));
        match decoded.unwrap_or_else(|| Err("the parser panicked".into())) {
            Ok(Some(packet)) => self.client.on_whole_packet(worker, packet),
            Ok(None) => self.client.await_message(worker),
            Err(error) => self.client.parse_error(worker, &*error),
        }
    }
}

impl Conversation for ParsedClient {
    fn text(&self, worker: &Rc<Worker>, text: &str) {
        self.message(worker, Message::Text(text));
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        self.message(worker, Message::Binary(bytes));
    }

    fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason) {
        self.client.closed(worker, reason);
    }

    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        self.client.on_timer(worker, now)
    }
}
