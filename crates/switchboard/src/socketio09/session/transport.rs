//! The transports of a session: polls, POSTs, and the change from one transport to another.

use std::rc::Rc;

use http::StatusCode;
use switchboard_hub::{Framing, Session, Worker};
use switchboard_protocol::socketio06;
use switchboard_protocol::socketio09::{self, Transport as Kind, payload, write_connect};

use super::{OldSession, Transport};
use crate::DisconnectReason;
use crate::api::sockets::Membership;
use crate::http::mount::{Reply, Upgraded};
use crate::http::{plain, refused};
use crate::socketio09::answers::{self, PollForm, polled, posted};
use crate::socketio09::{Version, refused as refused_connection};
use crate::transport::connection::{Connection, ConnectionOwner, ConnectionTask, Opened};
use crate::transport::framing::{BYTES, OLD_PAYLOAD, Page, write_text};

impl OldSession {
    /// A poll: answered at once where packets wait, else when some do.
    pub(in crate::socketio09) fn poll(self: &Rc<Self>, worker: &Rc<Worker>, form: PollForm, reply: Reply) {
        let framing = if self.version == Version::V09 { OLD_PAYLOAD } else { BYTES };
        let waiting = self.take_over(worker, framing);
        *self.transport.borrow_mut() = Transport::Poll { reply, form };
        self.go_on(worker, Kind::Polling, &waiting);
    }

    /// A WebSocket connection of the session's.
    pub(in crate::socketio09) fn open_websocket(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        opened: Opened<'_>,
    ) -> Option<ConnectionTask> {
        let waiting = self.take_over(worker, opened.wire.framing());
        let limits = self.old.engine.websocket_limits();
        let owner = Rc::clone(self) as Rc<dyn ConnectionOwner>;
        // The answer to the handshake is the first that is written to the outbox.
        let (connection, task) = Connection::start(worker, opened, limits, owner);
        if self.is_paused() {
            connection.pause();
        }
        *self.transport.borrow_mut() = Transport::WebSocket(connection);
        self.handshake.set_on_websocket(true);
        self.go_on(worker, Kind::Streaming, &waiting);
        task
    }

    /// An answer that streams. `page`: how packets stand in it.
    pub(in crate::socketio09) fn open_stream(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        page: Page,
        upgraded: Upgraded<'_>,
    ) -> Option<ConnectionTask> {
        let body = upgraded.stream_wire().framing();
        let waiting = self.take_over(worker, page.framing(body));
        let (connection, task) = upgraded.stream(worker, Rc::clone(self) as Rc<dyn ConnectionOwner>);
        *self.transport.borrow_mut() = Transport::Stream(connection);
        let head = match page {
            Page::Htmlfile09 => socketio09::HTMLFILE_HEAD,
            Page::Htmlfile06 => socketio06::HTMLFILE_HEAD,
            Page::Multipart06 => socketio06::MULTIPART_HEAD,
        };
        let session = Rc::clone(self) as Rc<dyn Session>;
        worker.write_more(&session, |out| write_text(body, out, head.as_bytes()));
        self.go_on(worker, Kind::Streaming, &waiting);
        task
    }

    /// The new transport is there.
    fn go_on(self: &Rc<Self>, worker: &Rc<Worker>, kind: Kind, waiting: &[u8]) {
        self.rules.borrow_mut().on_transport(worker.elapsed(), kind);
        if !waiting.is_empty() {
            self.send_again(worker, waiting);
        }
        self.begin(worker);
        self.flush(worker);
        self.arm_deadline(worker);
    }

    /// Ends the transport that was there: the client has left it for another one. Returns the packets that
    /// wait to be framed anew.
    fn take_over(self: &Rc<Self>, worker: &Rc<Worker>, framing: Framing) -> Vec<u8> {
        // What was broadcast before is framed as before.
        worker.apply_deferred();
        self.handshake.set_on_websocket(false);
        let before = self.outbox.framing();
        match self.replace_transport(Transport::None) {
            Transport::None => {}
            // Node leaves it without an answer.
            Transport::Poll { reply, form } => self.end_poll(reply, &form),
            Transport::Stream(connection) | Transport::WebSocket(connection) => {
                refused_connection::let_go(worker, &self.old, &connection);
                if !self.outbox.is_empty() {
                    // It may have a part of a frame.
                    connection.abort();
                }
            }
        }
        if before == framing {
            return Vec::new();
        }
        let waiting = worker.take(&self.outbox);
        self.outbox.set_framing(framing);
        if before == OLD_PAYLOAD || before == BYTES {
            return waiting;
        }
        if !waiting.is_empty() {
            metrics::counter!("switchboard_old_clients_unsent_bytes_total").increment(waiting.len() as u64);
            tracing::debug!(bytes = waiting.len(), "a client left a transport before it took what was sent");
        }
        // The client of 0.9 waits for a connect on each transport that it tries.
        let sockets = self.sockets();
        let is_in = sockets.is_some_and(|sockets| sockets.membership("/") == Membership::Joined);
        let mut connect = Vec::new();
        if is_in && self.version == Version::V09 {
            let mut packet = Vec::new();
            write_connect(&mut packet, "/");
            payload::write_packet(&mut connect, std::str::from_utf8(&packet).unwrap_or_default());
        }
        connect
    }

    /// Queues packets that were framed for polls.
    fn send_again(self: &Rc<Self>, worker: &Rc<Worker>, waiting: &[u8]) {
        let waiting = std::str::from_utf8(waiting).unwrap_or_default();
        let session = Rc::clone(self) as Rc<dyn Session>;
        let framing = self.outbox.framing();
        let write = |text: &str| worker.write_more(&session, |out| write_text(framing, out, text.as_bytes()));
        match self.version {
            Version::V09 => payload::texts(waiting).for_each(write),
            Version::V06 => write(waiting),
        }
    }

    pub(super) fn replace_transport(&self, by: Transport) -> Transport {
        std::mem::replace(&mut *self.transport.borrow_mut(), by)
    }

    // Polls.

    /// Answers the poll that waits, if one does and packets do.
    pub(super) fn answer_poll(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.outbox.is_empty() || !matches!(&*self.transport.borrow(), Transport::Poll { .. }) {
            return;
        }
        let Transport::Poll { reply, form } = self.replace_transport(Transport::None) else { return };
        if !reply.is_closed() {
            let body = worker.take(&self.outbox);
            let body = std::str::from_utf8(&body).unwrap_or_default();
            let body = if self.version == Version::V09 { payload::unwrap_single(body) } else { body };
            // The caller may have gone this moment.
            let _gone = reply.send(polled(self.version, &form, body));
        }
        self.rules.borrow_mut().on_poll_end(worker.elapsed());
        self.arm_deadline(worker);
    }

    /// Ends a poll that no packet came for.
    fn end_poll(&self, reply: Reply, form: &PollForm) {
        let nothing = if self.version == Version::V09 { socketio09::NOOP } else { "" };
        let _gone = reply.send(polled(self.version, form, nothing));
    }

    /// The time of the poll that waits is over.
    pub(super) fn expire_poll(&self, worker: &Rc<Worker>) {
        if let Transport::Poll { reply, form } = self.replace_transport(Transport::None) {
            self.end_poll(reply, &form);
        }
        self.rules.borrow_mut().on_poll_end(worker.elapsed());
    }

    /// The caller of a poll has gone: packets wait for the next one.
    pub(super) fn drop_abandoned_poll(&self, worker: &Rc<Worker>) {
        let is_gone = matches!(&*self.transport.borrow(), Transport::Poll { reply, .. } if reply.is_closed());
        if is_gone {
            metrics::counter!("switchboard_requests_abandoned_total").increment(1);
            drop(self.replace_transport(Transport::None));
            self.rules.borrow_mut().on_poll_end(worker.elapsed());
            self.arm_deadline(worker);
        }
    }

    /// A poll for a session that has closed: it fetches what waits, and that is the end.
    pub(super) fn fetch_last(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.rules.borrow().lingers() && self.outbox.is_empty() {
            self.finish(worker);
        }
    }

    // POSTs.

    /// A POST. `packets`: what it brings, if that is text in the form that it should have.
    pub(in crate::socketio09) fn post(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        packets: Option<&str>,
        reply: Reply,
    ) {
        let other = self.post.take();
        if other.is_some() {
            // The client posts ahead of its answer while its packets are too many.
            self.post.set(other);
            refused("socketio09", "overlap");
            return drop(reply.send(plain(StatusCode::TOO_MANY_REQUESTS, "one POST at a time\n")));
        }
        let Some(packets) = packets else {
            let _gone = reply.send(posted(self.version));
            return self.on_unreadable(worker);
        };
        let (is_read, full_inbox) = worker.handle_input(|| self.on_body(worker, packets));
        if !is_read {
            let _gone = reply.send(plain(StatusCode::BAD_REQUEST, "not packets\n"));
            return self.close(worker, DisconnectReason::ParseError);
        }
        // The client posts again when it has the answer.
        self.post.set(Some(reply));
        match full_inbox {
            _ if !self.is_open() => self.answer_post(),
            Some(inbox) => {
                let (me, worker) = (Rc::downgrade(self), Rc::clone(worker));
                tokio::task::spawn_local(async move {
                    worker.room(inbox).await;
                    if let Some(me) = me.upgrade().filter(|me| !me.is_paused()) {
                        me.answer_post();
                    }
                });
            }
            None if !self.is_paused() => self.answer_post(),
            None => {}
        }
    }

    /// Answers the POST that was held back, if one was.
    pub(super) fn answer_post(&self) {
        if let Some(reply) = self.post.take() {
            let _gone = reply.send(posted(self.version));
        }
    }

    /// Whether the client is not read for now, so that nothing of it can come.
    pub(super) fn is_unread(&self) -> bool {
        let connection = match &*self.transport.borrow() {
            Transport::WebSocket(connection) => connection.is_unread(),
            _ => false,
        };
        connection || self.is_paused()
    }

    /// The last answer to a poll of a session that is over.
    pub(super) fn tell_over(&self, reply: Reply, form: &PollForm) {
        let words = if self.version == Version::V09 { answers::not_handshaken() } else { String::new() };
        let _gone = reply.send(polled(self.version, form, &words));
    }
}
