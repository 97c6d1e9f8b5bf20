//! What becomes of a request of Engine.IO on its session's worker.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::StatusCode;
use switchboard_hub::{Worker, WorkerId};
use switchboard_protocol::engineio::{ErrorCode, SessionId};

use super::answers::{engine_error, refuse_origin};
use super::polling::{self, Reply};
use super::session::{EngineSession, Registry};
use super::{EngineServer, probe};
use crate::handshake::Handshake;
use crate::http::mount::{Abandoned, Check, ExchangeTarget, UpgradeTarget, Upgraded};
use crate::http::request_body::BodyRefusal;
use crate::http::{body_refused, plain};
use crate::transport::connection::ConnectionTask;
use crate::transport::wire::Wire;

/// The session of an id. It may be closing.
fn find(worker: &Worker, sid: &SessionId) -> Option<Rc<EngineSession>> {
    worker.extension::<Registry>().get(sid)
}

/// A GET that opens a session on polling.
pub(super) struct Open {
    engine: Arc<EngineServer>,
    handshake: Handshake,
    /// The session, once it is open: it is closed if its opener has left by then.
    opened: Arc<OnceLock<SessionId>>,
}

impl Open {
    pub(super) fn new(engine: &Arc<EngineServer>, handshake: Handshake) -> (Self, Abandoned) {
        let opened = Arc::new(OnceLock::<SessionId>::new());
        let open = Self { engine: Arc::clone(engine), handshake, opened: Arc::clone(&opened) };
        let abandoned = Abandoned::Other(Box::new(move |hub| {
            if let Some(sid) = opened.get().copied() {
                // Where this does not get through, the heartbeat will find the session dead.
                let tell = move |worker: &Rc<Worker>| polling::abandoned(worker, &sid);
                let _late = hub.run_on(WorkerId(sid.worker()), tell);
            }
        }));
        (open, abandoned)
    }
}

impl ExchangeTarget for Open {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        let Some(session) = EngineSession::open_polling(worker, &self.engine, self.handshake) else {
            return drop(reply.send(plain(StatusCode::SERVICE_UNAVAILABLE, "no randomness\n")));
        };
        let _unset = self.opened.set(session.sid);
        // An opener that leaves from here on finds the session's id.
        if reply.is_closed() {
            return polling::abandoned(worker, &session.sid);
        }
        session.span_on("polling").in_scope(|| session.poll(worker, reply));
    }
}

/// A GET that waits for packets. A session that has closed tells the next one so.
pub(super) struct Get {
    pub(super) sid: SessionId,
}

impl ExchangeTarget for Get {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        match find(worker, &self.sid) {
            Some(session) => session.span_on("polling").in_scope(|| session.poll(worker, reply)),
            None => drop(reply.send(engine_error(ErrorCode::SessionIdUnknown))),
        }
    }
}

/// A POST that brings packets.
pub(super) struct Post {
    pub(super) sid: SessionId,
    /// Its body is of a kind that ends the session.
    pub(super) binary: bool,
    /// The session was told that the body is on its way.
    pub(super) begun: bool,
}

impl ExchangeTarget for Post {
    fn begin(&mut self) -> Option<Check> {
        self.begun = true;
        let sid = self.sid;
        Some(Box::new(move |worker| match find(worker, &sid) {
            Some(session) => session.begin_post(worker),
            None => Err(engine_error(ErrorCode::SessionIdUnknown)),
        }))
    }

    fn run(self: Box<Self>, worker: &Rc<Worker>, body: Bytes, reply: Reply) {
        let Some(session) = find(worker, &self.sid) else {
            return drop(reply.send(engine_error(ErrorCode::SessionIdUnknown)));
        };
        if self.binary {
            polling::on_refused_post(worker, &session);
            return drop(reply.send(body_refused(StatusCode::BAD_REQUEST)));
        }
        session.span_on("polling").in_scope(|| session.post(worker, &body, self.begun, reply));
    }

    fn refuse(self: Box<Self>, worker: &Rc<Worker>, refusal: BodyRefusal, reply: Reply) {
        let _gone = reply.send(refusal.answer());
        if let Some(session) = find(worker, &self.sid) {
            polling::on_refused_post(worker, &session);
        }
    }
}

/// A WebSocket connection that opens a session.
pub(super) struct SessionTarget {
    pub(super) engine: Arc<EngineServer>,
    pub(super) handshake: Handshake,
    pub(super) wire: Wire,
}

impl UpgradeTarget for SessionTarget {
    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { engine, handshake, wire } = *self;
        upgraded.start(wire, |opened| EngineSession::open_websocket(worker, &engine, handshake, opened))
    }
}

/// A WebSocket connection that asks to take over a session which is on polling.
pub(super) struct ProbeTarget {
    pub(super) engine: Arc<EngineServer>,
    pub(super) sid: SessionId,
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
        let (sid, stranger) = (self.sid, self.stranger.clone());
        Some(Box::new(move |worker| {
            match (find(worker, &sid).filter(|session| session.is_open()), stranger) {
                (Some(session), Some(origin)) if !session.handshake().is_of_own_page() => {
                    Err(refuse_origin(&origin))
                }
                (Some(_), _) => Ok(()),
                // What another page is told does not depend on what it asked for.
                (None, Some(origin)) => Err(refuse_origin(&origin)),
                (None, None) => Err(engine_error(ErrorCode::SessionIdUnknown)),
            }
        }))
    }

    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { engine, sid, wire, .. } = *self;
        upgraded.start(wire, |opened| probe::start(worker, &engine, sid, opened))
    }
}
