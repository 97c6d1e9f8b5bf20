//! What becomes of a request of Engine.IO on its session's worker.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use switchboard_hub::{Worker, WorkerId};
use switchboard_protocol::engineio::{ErrorCode, SessionId, Version};

use super::answers::{engine_error, refuse_origin, too_many_sessions};
use super::polling::{self, PostForm, Reply};
use super::session::{EngineSession, Registry};
use super::{EngineServer, probe};
use crate::handshake::Handshake;
use crate::http::body_refused;
use crate::http::mount::{Check, ExchangeTarget, UpgradeTarget, Upgraded};
use crate::http::request_body::BodyRefusal;
use crate::transport::connection::ConnectionTask;
use crate::transport::wire::Wire;

/// The session of an id, for a request that names a version of the protocol. It may be closing.
fn find(worker: &Worker, sid: &SessionId, version: Version) -> Result<Rc<EngineSession>, ErrorCode> {
    let session = worker.extension::<Registry>().get(sid).ok_or(ErrorCode::SessionIdUnknown)?;
    if session.speaks(version) { Ok(session) } else { Err(ErrorCode::BadRequest) }
}

/// A session that is closing is not probed any more.
fn open(session: Rc<EngineSession>) -> Result<Rc<EngineSession>, ErrorCode> {
    if session.is_open() { Ok(session) } else { Err(ErrorCode::SessionIdUnknown) }
}

/// A GET that opens a session on polling. The session's id is known before it, so that it is closed where its
/// opener leaves.
pub(super) struct Open {
    pub(super) engine: Arc<EngineServer>,
    pub(super) sid: SessionId,
    pub(super) version: Version,
    pub(super) handshake: Handshake,
}

impl ExchangeTarget for Open {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        match EngineSession::open_polling(worker, &self.engine, self.sid, self.version, self.handshake) {
            Ok(session) => session.span_on("polling").in_scope(|| session.poll(worker, reply)),
            Err(bound) => drop(reply.send(too_many_sessions(bound))),
        }
    }
}

/// A GET that waits for packets. A session that has closed tells the next one so.
pub(super) struct Get {
    pub(super) sid: SessionId,
    pub(super) version: Version,
}

impl ExchangeTarget for Get {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        match find(worker, &self.sid, self.version) {
            Ok(session) => session.span_on("polling").in_scope(|| session.poll(worker, reply)),
            Err(unfit) => drop(reply.send(engine_error(unfit))),
        }
    }
}

/// Whether a POST of this form ends the session, and is not read: protocol 4 has no binary payloads.
pub(super) fn is_refused(version: Version, form: PostForm) -> bool {
    (version, form) == (Version::V4, PostForm::Binary)
}

/// A POST that brings packets.
pub(super) struct Post {
    pub(super) sid: SessionId,
    pub(super) version: Version,
    pub(super) form: PostForm,
    /// The session was told that the body is on its way.
    pub(super) begun: bool,
}

impl ExchangeTarget for Post {
    fn begin(&mut self) -> Option<Check> {
        self.begun = true;
        let (sid, version) = (self.sid, self.version);
        Some(Box::new(move |worker| match find(worker, &sid, version) {
            Ok(session) => session.begin_post(worker),
            Err(unfit) => Err(engine_error(unfit)),
        }))
    }

    fn run(self: Box<Self>, worker: &Rc<Worker>, body: Bytes, reply: Reply) {
        let session = match find(worker, &self.sid, self.version) {
            Ok(session) => session,
            Err(unfit) => return drop(reply.send(engine_error(unfit))),
        };
        if is_refused(self.version, self.form) {
            polling::on_refused_post(worker, &session);
            return drop(reply.send(body_refused(StatusCode::BAD_REQUEST)));
        }
        session.span_on("polling").in_scope(|| session.post(worker, &body, self.form, self.begun, reply));
    }

    fn refuse(self: Box<Self>, worker: &Rc<Worker>, refusal: BodyRefusal, reply: Reply) {
        let _gone = reply.send(refusal.answer());
        if let Ok(session) = find(worker, &self.sid, self.version) {
            polling::on_refused_post(worker, &session);
        }
    }
}

/// A WebSocket connection that opens a session.
pub(super) struct SessionTarget {
    pub(super) engine: Arc<EngineServer>,
    pub(super) version: Version,
    pub(super) handshake: Handshake,
    pub(super) wire: Wire,
}

impl UpgradeTarget for SessionTarget {
    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { engine, version, handshake, wire } = *self;
        EngineSession::open_websocket(worker, &engine, version, handshake, upgraded.opened(wire))
    }
}

/// A WebSocket connection that asks to take over a session which is on polling.
pub(super) struct ProbeTarget {
    pub(super) engine: Arc<EngineServer>,
    pub(super) sid: SessionId,
    pub(super) version: Version,
    pub(super) wire: Wire,
    /// The origin of a page that is not known for one of ours: its session has to vouch for it.
    pub(super) stranger: Option<Box<str>>,
}

impl UpgradeTarget for ProbeTarget {
    fn worker(&self) -> Option<WorkerId> {
        Some(WorkerId(self.sid.worker()))
    }

    /// Whether the session is there to be probed, and vouches for a stranger.
    fn check(&self) -> Option<Check> {
        let (sid, version, stranger) = (self.sid, self.version, self.stranger.clone());
        Some(Box::new(move |worker| {
            let session = find(worker, &sid, version);
            match (session.and_then(open), stranger) {
                (Ok(session), Some(origin)) if !session.handshake().is_of_own_page() => {
                    Err(refuse_origin(&origin))
                }
                (Ok(_), _) => Ok(()),
                // What another page is told does not depend on what it asked for.
                (Err(_), Some(origin)) => Err(refuse_origin(&origin)),
                (Err(unfit), None) => Err(engine_error(unfit)),
            }
        }))
    }

    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { engine, sid, wire, .. } = *self;
        probe::start(worker, &engine, sid, upgraded.opened(wire))
    }
}
