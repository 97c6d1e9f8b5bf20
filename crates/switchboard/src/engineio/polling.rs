//! The polling transport: a GET that waits for packets, a POST that brings some.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use smallvec::SmallVec;
use switchboard_hub::{Session, Worker};
use switchboard_protocol::engineio::{ErrorCode, payload};
use tokio::sync::oneshot;

use super::session::{EngineSession, Registry, Transport};
use crate::DisconnectReason;
use crate::http::{Answer, Uncompressed, answer, engine_error, refused, text};

/// Where the answer to a request goes.
pub(crate) type Reply = oneshot::Sender<Answer>;

/// The requests of one session that wait.
#[derive(Default)]
pub(super) struct Polling {
    poll: RefCell<Option<Reply>>,
    /// The body of a POST is on its way.
    receiving: Cell<bool>,
    /// How many bytes of what waits, from its start on, are packets that need no compressing.
    plain: Cell<u32>,
    /// POSTs that are answered when the application takes input again.
    posts: RefCell<SmallVec<[Reply; 1]>>,
}

impl Polling {
    /// Whether a GET waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.poll.borrow().as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Lets the GET that waits return with nothing, if one does.
    pub(super) fn release_noop(&self) {
        self.release(Bytes::from_static(b"6"), true);
    }

    /// Answers the GET that waits, if one does. `compress`: whether the answer may be compressed.
    pub(super) fn release(&self, body: Bytes, compress: bool) {
        if let Some(reply) = self.poll.take() {
            let mut answer = text(body);
            if !compress {
                answer.extensions_mut().insert(Uncompressed);
            }
            // The caller may have gone this moment; its guard has said so, or will.
            let _gone = reply.send(answer);
        }
    }

    /// Packets that need no compressing were added: there were `before` bytes, and are `after` now.
    pub(super) fn add_plain(&self, before: usize, after: usize) {
        if self.plain.get() as usize == before {
            self.plain.set(u32::try_from(after).unwrap_or_default());
        }
    }

    /// How many bytes of what was taken need no compressing: all of them, or those from the start on up to the first packet that does.
    pub(super) fn take_plain(&self) -> usize {
        self.plain.take() as usize
    }

    /// Answers the GET that waits, if one does, with an error.
    fn fail(&self) {
        if let Some(reply) = self.poll.take() {
            let _gone = reply.send(engine_error(ErrorCode::BadRequest));
        }
    }

    /// Answers the POSTs that were held back.
    pub(super) fn release_posts(&self) {
        for reply in self.posts.take() {
            let _gone = reply.send(posted());
        }
    }
}

/// The answer to a request that came while another of its kind was under way: 400 with nothing, as Node has it.
pub(crate) fn overlap_refused() -> Answer {
    refused("engine", "overlap");
    answer(StatusCode::BAD_REQUEST, "text/plain", Bytes::new())
}

/// The answer to a POST, as Node words it.
fn posted() -> Answer {
    answer(StatusCode::OK, "text/html", Bytes::from_static(b"ok"))
}

impl EngineSession {
    /// Whether the session is on polling.
    fn polls(&self) -> bool {
        matches!(&*self.transport.borrow(), Transport::Polling(_))
    }

    /// A GET: answered at once where packets wait, else when some do.
    pub(crate) fn poll(self: &Rc<Self>, worker: &Rc<Worker>, reply: Reply) {
        let overlap = match &*self.transport.borrow() {
            Transport::Polling(polling) if !polling.is_waiting() => {
                *polling.poll.borrow_mut() = Some(reply);
                None
            }
            Transport::Polling(_) => Some((reply, true)),
            Transport::WebSocket(_) | Transport::None => Some((reply, false)),
        };
        match overlap {
            None => self.flush(worker),
            Some((reply, true)) => {
                let _gone = reply.send(overlap_refused());
                self.close(worker, DisconnectReason::TransportError);
                self.flush(worker);
            }
            Some((reply, false)) => drop(reply.send(engine_error(ErrorCode::BadRequest))),
        }
    }

    /// The head of a POST has come, its body not yet. `false`: it is refused, because another one's body is on its way.
    pub(crate) fn begin_post(self: &Rc<Self>, worker: &Rc<Worker>) -> bool {
        let receiving = match &*self.transport.borrow() {
            Transport::Polling(polling) => polling.receiving.replace(true),
            Transport::WebSocket(_) | Transport::None => false,
        };
        if receiving {
            self.close(worker, DisconnectReason::TransportError);
        }
        !receiving
    }

    /// A POST with its whole body; `begun`: its head was announced by [`begin_post`](Self::begin_post).
    pub(crate) fn post(self: &Rc<Self>, worker: &Rc<Worker>, body: &Bytes, begun: bool, reply: Reply) {
        let overlap = match &*self.transport.borrow() {
            Transport::Polling(polling) => polling.receiving.replace(false) && !begun,
            Transport::WebSocket(_) | Transport::None => {
                let _gone = reply.send(engine_error(ErrorCode::BadRequest));
                return;
            }
        };
        if overlap {
            let _gone = reply.send(overlap_refused());
            return self.close(worker, DisconnectReason::TransportError);
        }
        worker.stats().bytes_received.add(body.len() as u64);
        let Ok(body) = std::str::from_utf8(body) else {
            return self.refuse(worker, reply);
        };
        let (handled, full_inbox) = worker.handle_input(|| self.on_payload(worker, body));
        if !handled {
            return self.refuse(worker, reply);
        }
        match (&*self.transport.borrow(), full_inbox) {
            (Transport::Polling(polling), _) if self.is_paused() => polling.posts.borrow_mut().push(reply),
            // A handler met a full inbox: the client may post again when there is room.
            (_, Some(inbox)) => {
                let worker = Rc::clone(worker);
                tokio::task::spawn_local(async move {
                    worker.room(inbox).await;
                    let _gone = reply.send(posted());
                });
            }
            (_, None) => drop(reply.send(posted())),
        }
    }

    /// Handles the packets of a payload. `false`: it is none.
    fn on_payload(self: &Rc<Self>, worker: &Rc<Worker>, body: &str) -> bool {
        for packet in payload::decode(body, payload::DEFAULT_MAX_PACKETS) {
            match packet {
                Ok(packet) => {
                    worker.stats().messages_received.add(1);
                    self.on_packet(worker, packet);
                }
                Err(error) => {
                    tracing::debug!(%error, "not a payload");
                    return false;
                }
            }
            if !self.is_open() {
                break;
            }
        }
        true
    }

    fn refuse(self: &Rc<Self>, worker: &Rc<Worker>, reply: Reply) {
        metrics::counter!("switchboard_parse_errors_total").increment(1);
        let _gone = reply.send(engine_error(ErrorCode::BadRequest));
        self.close(worker, DisconnectReason::ParseError);
    }

    /// Lets the GET that waits return with nothing, so that its client can go on to another transport.
    pub(super) fn release_poll(&self) {
        if let Transport::Polling(polling) = &*self.transport.borrow()
            && polling.is_waiting()
            && self.outbox.is_empty()
        {
            polling.release_noop();
        }
    }
}

/// A POST was larger than allowed: without what it brought its session cannot go on.
pub(crate) fn on_large_post(worker: &Rc<Worker>, session: &Rc<EngineSession>) {
    if let Transport::Polling(polling) = &*session.transport.borrow() {
        polling.fail();
    }
    session.close(worker, DisconnectReason::TransportError);
    session.forget(worker);
}

/// The caller of a request went away before it had its answer: its session is closed, as Node does.
pub(crate) fn abandoned(worker: &Rc<Worker>, sid: &switchboard_protocol::engineio::SessionId) {
    let session = worker.extension::<Registry>().get(sid);
    if let Some(session) = session.filter(|session| session.polls()) {
        metrics::counter!("switchboard_requests_abandoned_total").increment(1);
        session.close(worker, DisconnectReason::TransportError);
        session.forget(worker);
    }
}
