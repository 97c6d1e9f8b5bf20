//! The polling transport: a GET that waits for packets, a POST that brings some.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use switchboard_hub::{Session, Worker, WorkerId};
use switchboard_protocol::engineio::{
    Admission, DecodeError, ErrorCode, GetAnswer, Packet, SessionId, Version, jsonp, payload, v3,
};

use super::answers::engine_error;
use super::session::{EngineSession, Registry, Transport};
use crate::DisconnectReason;
use crate::http::finish::Uncompressed;
use crate::http::mount::{Abandoned, SessionKeyBytes};
use crate::http::{Answer, answer, refused, text};

pub(crate) use crate::http::mount::Reply;

/// The requests of one session that wait. The session's rules say which there may be.
#[derive(Default)]
pub(super) struct Polling {
    /// The GET that waits for packets.
    get: Cell<Option<Reply>>,
    /// A POST whose packets were handled, and that is answered when the session takes input again.
    post: Cell<Option<Reply>>,
    /// How many bytes at the outbox's start are packets that need no compressing.
    plain: Cell<u32>,
}

impl Polling {
    /// Lets the GET that waits return with nothing, if one does.
    pub(super) fn answer_noop(&self, version: Version) {
        self.answer_get(of_version(version, b"6", b"1:6"), true);
    }

    /// Answers the GET that waits, if one does. `compress`: whether the answer may be compressed.
    fn answer_get(&self, body: Bytes, compress: bool) {
        if let Some(reply) = self.get.take() {
            let mut answer = text(body);
            if !compress {
                answer.extensions_mut().insert(Uncompressed);
            }
            // The caller may have gone this moment; its guard has said so, or will.
            let _gone = reply.send(answer);
        }
    }

    /// Answers the GET that waits, if one does, with an error.
    fn answer_error(&self) {
        if let Some(reply) = self.get.take() {
            let _gone = reply.send(engine_error(ErrorCode::BadRequest));
        }
    }

    /// Answers the POST that was held back, if one was.
    pub(super) fn answer_post(&self) {
        if let Some(reply) = self.post.take() {
            let _gone = reply.send(posted());
        }
    }

    /// Packets that need no compressing were added: there were `before` bytes, and are `after` now.
    pub(super) fn add_plain(&self, before: usize, after: usize) {
        if self.plain.get() as usize == before {
            self.plain.set(u32::try_from(after).unwrap_or_default());
        }
    }

    /// How many bytes at the start of the outbox needed no compressing when it was taken: up to the first
    /// packet that is to be compressed.
    pub(super) fn take_plain(&self) -> usize {
        self.plain.take() as usize
    }
}

/// The form in which a POST brings its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostForm {
    Text,
    /// `application/octet-stream`, which protocol 3 has alone.
    Binary,
    /// A page's form: JSONP.
    Form,
}

/// Bytes that depend on the version: of protocol 4, and of protocol 3.
fn of_version(version: Version, v4: &'static [u8], v3: &'static [u8]) -> Bytes {
    Bytes::from_static(if version == Version::V3 { v3 } else { v4 })
}

/// The answer to a request that came while another of its kind was under way: 400 with nothing, as Node has
/// it.
fn overlap_refused() -> Answer {
    refused("engine", "overlap");
    answer(StatusCode::BAD_REQUEST, "text/plain", Bytes::new())
}

/// The answer to a POST, as Node words it.
fn posted() -> Answer {
    answer(StatusCode::OK, "text/html", Bytes::from_static(b"ok"))
}

/// The answer to a request that was not admitted.
fn not_admitted(admission: Admission) -> Answer {
    match admission {
        Admission::Overlap => overlap_refused(),
        Admission::Unknown => engine_error(ErrorCode::SessionIdUnknown),
        Admission::WrongTransport | Admission::Accept => engine_error(ErrorCode::BadRequest),
    }
}

impl EngineSession {
    /// A GET: answered at once where packets wait, else when some do.
    pub(crate) fn poll(self: &Rc<Self>, worker: &Rc<Worker>, reply: Reply) {
        let admission = self.rules.borrow_mut().on_get();
        match (admission, &*self.transport.borrow()) {
            (Admission::Accept, Transport::Polling(polling)) => polling.get.set(Some(reply)),
            _ => drop(reply.send(not_admitted(admission))),
        }
        match admission {
            Admission::Accept => self.flush(worker),
            Admission::Overlap => self.close(worker, DisconnectReason::TransportError),
            Admission::WrongTransport | Admission::Unknown => {}
        }
    }

    /// The head of a POST has come, its body has not. The error is its answer.
    pub(crate) fn begin_post(self: &Rc<Self>, worker: &Rc<Worker>) -> Result<(), Answer> {
        let admission = self.rules.borrow_mut().on_post_head();
        if admission == Admission::Overlap {
            self.close(worker, DisconnectReason::TransportError);
        }
        if admission == Admission::Accept { Ok(()) } else { Err(not_admitted(admission)) }
    }

    /// A POST with its whole body; `begun`: its head was announced by [`begin_post`](Self::begin_post).
    pub(crate) fn post(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        body: &Bytes,
        form: PostForm,
        begun: bool,
        reply: Reply,
    ) {
        let admission = self.rules.borrow_mut().on_post(begun);
        if admission != Admission::Accept {
            let _gone = reply.send(not_admitted(admission));
            if admission == Admission::Overlap {
                self.close(worker, DisconnectReason::TransportError);
            }
            return;
        }
        worker.stats().bytes_received.add(body.len() as u64);
        let (is_payload, full_inbox) = worker.handle_input(|| self.on_body(worker, body, form));
        if !is_payload {
            return self.refuse(worker, reply);
        }
        // The client posts again when it has the answer.
        let is_answered = self.rules.borrow_mut().on_post_handled(full_inbox.is_some());
        match &*self.transport.borrow() {
            Transport::Polling(polling) if !is_answered => polling.post.set(Some(reply)),
            _ => drop(reply.send(posted())),
        }
        if let (false, Some(inbox)) = (is_answered, full_inbox) {
            let (me, worker) = (Rc::downgrade(self), Rc::clone(worker));
            tokio::task::spawn_local(async move {
                worker.room(inbox).await;
                if let Some(me) = me.upgrade() {
                    me.release_post();
                }
            });
        }
    }

    /// The inbox that a handler found full has room again.
    fn release_post(&self) {
        let is_answered = self.rules.borrow_mut().release_post();
        if let (true, Transport::Polling(polling)) = (is_answered, &*self.transport.borrow()) {
            polling.answer_post();
        }
    }

    /// Handles the packets of a POST's body. `false`: it is no payload.
    fn on_body(self: &Rc<Self>, worker: &Rc<Worker>, body: &[u8], form: PostForm) -> bool {
        match form {
            PostForm::Text => std::str::from_utf8(body).is_ok_and(|body| self.on_text(worker, body)),
            PostForm::Binary => self.on_payload(worker, v3::payload::decode_binary(body)),
            PostForm::Form => jsonp::decode_form(body).is_some_and(|body| self.on_text(worker, &body)),
        }
    }

    fn on_text(self: &Rc<Self>, worker: &Rc<Worker>, body: &str) -> bool {
        match self.version() {
            Version::V4 => self.on_payload(worker, payload::decode(body)),
            Version::V3 => self.on_payload(worker, v3::payload::decode(body)),
        }
    }

    /// Handles packets. `false`: one of them is none.
    fn on_payload<'a>(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        packets: impl Iterator<Item = Result<Packet<'a>, DecodeError>>,
    ) -> bool {
        for packet in packets {
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
            if self.rules.borrow().is_over() {
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

    /// Answers the GET that waits.
    pub(super) fn answer_get(&self, worker: &Rc<Worker>, answer: GetAnswer) {
        let Transport::Polling(polling) = &*self.transport.borrow() else { return };
        let version = self.version();
        match answer {
            GetAnswer::Packets => {
                let body = worker.take(&self.outbox);
                let compress = polling.take_plain() != body.len();
                polling.answer_get(body.into(), compress);
            }
            GetAnswer::Noop => polling.answer_noop(version),
            GetAnswer::Close => polling.answer_get(of_version(version, b"1", b"1:1"), true),
            GetAnswer::NoopAndClose => {
                polling.answer_get(of_version(version, b"6\x1e1", b"1:61:1"), true);
            }
        }
    }

    /// Lets the GET that waits return, so that its client can go on to another transport.
    pub(super) fn release_get(&self, worker: &Rc<Worker>) {
        let answer = self.rules.borrow_mut().release_get(self.outbox.is_empty());
        if let Some(answer) = answer {
            self.answer_get(worker, answer);
        }
    }
}

/// A POST was refused (by its size, its time, or its form): without its packets the session cannot go on.
pub(crate) fn on_refused_post(worker: &Rc<Worker>, session: &Rc<EngineSession>) {
    if let Transport::Polling(polling) = &*session.transport.borrow() {
        // An error, not a close: the client shall see an error whichever of the two answers comes first.
        polling.answer_error();
    }
    session.close(worker, DisconnectReason::TransportError);
}

/// What is done if the caller of a session's request goes away.
pub(super) fn abandoned_by(sid: &SessionId) -> Abandoned {
    let key = sid.as_str().as_bytes().first_chunk().copied().unwrap_or_default();
    let tell = |worker: &Rc<Worker>, key: &SessionKeyBytes| {
        if let Some(sid) = std::str::from_utf8(key).ok().and_then(SessionId::parse) {
            abandoned(worker, &sid);
        }
    };
    Abandoned::Session { worker: WorkerId(sid.worker()), key, tell }
}

/// The caller of a request went away before it had its answer: its session is closed, as Node does.
pub(crate) fn abandoned(worker: &Rc<Worker>, sid: &SessionId) {
    let session = worker.extension::<Registry>().get(sid);
    if let Some(session) = session.filter(|session| session.rules.borrow().is_polling()) {
        metrics::counter!("switchboard_requests_abandoned_total").increment(1);
        session.close(worker, DisconnectReason::TransportError);
    }
}
