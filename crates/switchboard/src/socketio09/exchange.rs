//! What becomes of a request of an old client on its session's worker.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use switchboard_hub::{Worker, WorkerId};
use switchboard_protocol::engineio::SessionId;

use super::answers::{self, PollForm};
use super::request::{Transport, write_id};
use super::session::{OldSession, find};
use super::{OldClients, Version, refused};
use crate::DisconnectReason;
use crate::engineio::ids::random_id;
use crate::engineio::too_many_sessions;
use crate::handshake::Handshake;
use crate::http::mount::{Check, ExchangeTarget, Reply, UpgradeTarget, Upgraded};
use crate::http::plain;
use crate::http::request_body::BodyRefusal;
use crate::transport::connection::ConnectionTask;
use crate::transport::framing::Page;
use crate::transport::wire::Wire;

/// A handshake of 0.9.
pub(super) struct Handshake09 {
    pub(super) old: Arc<OldClients>,
    pub(super) sid: SessionId,
    pub(super) handshake: Handshake,
    /// That of the script which asks.
    pub(super) index: Option<Box<str>>,
    pub(super) transports: String,
}

impl ExchangeTarget for Handshake09 {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        let Self { old, sid, handshake, index, transports } = *self;
        let options = &old.options;
        let told = format!(
            "{}:{}:{}:{transports}",
            write_id(Version::V09, &sid),
            options.heartbeat_timeout.as_secs_f64().ceil(),
            options.close_timeout.as_secs_f64().ceil(),
        );
        let _gone = reply.send(match OldSession::open(worker, &old, Version::V09, sid, handshake) {
            Ok(_waits_for_its_client) => answers::handshake(index.as_deref(), Ok(&told)),
            Err(bound) => too_many_sessions(bound),
        });
    }
}

/// A GET that opens a session of 0.6.
pub(super) struct Open06 {
    pub(super) old: Arc<OldClients>,
    pub(super) sid: SessionId,
    pub(super) handshake: Handshake,
    pub(super) transport: Transport,
    pub(super) form: PollForm,
}

impl ExchangeTarget for Open06 {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        let Self { old, sid, handshake, transport, form } = *self;
        match OldSession::open(worker, &old, Version::V06, sid, handshake) {
            Ok(session) => session.span().in_scope(|| get(worker, &session, transport, form, reply)),
            Err(bound) => drop(reply.send(too_many_sessions(bound))),
        }
    }
}

/// A poll of a session.
pub(super) struct Get {
    pub(super) version: Version,
    pub(super) sid: SessionId,
    pub(super) transport: Transport,
    pub(super) form: PollForm,
}

impl ExchangeTarget for Get {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        let Self { version, sid, transport, form } = *self;
        if let Some(session) = find(worker, version, &sid) {
            session.span().in_scope(|| get(worker, &session, transport, form, reply));
        } else {
            let form = Some(&form).filter(|_| transport.is_polling());
            let _gone = reply.send(answers::unknown(version, form));
        }
    }
}

fn get(worker: &Rc<Worker>, session: &Rc<OldSession>, transport: Transport, form: PollForm, reply: Reply) {
    match transport {
        Transport::XhrPolling | Transport::JsonpPolling => session.poll(worker, form, reply),
        // Judged by their heads.
        Transport::WebSocket | Transport::Htmlfile | Transport::XhrMultipart => {
            drop(reply.send(answers::closing(StatusCode::BAD_REQUEST)));
        }
    }
}

/// How the body of a POST carries packets.
#[derive(Debug, Clone, Copy)]
pub(super) enum PostForm {
    /// As they are.
    Plain,
    /// As the field `data` of a form.
    Form,
    /// As the field `d` of a form, which is a string in JSON.
    JsonInForm,
}

impl PostForm {
    /// The packets. `None`: there are none.
    fn read(self, body: &str) -> Option<Cow<'_, str>> {
        let field = |name: &str| {
            form_urlencoded::parse(body.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
        };
        match self {
            Self::Plain => Some(body.into()),
            Self::Form => field("data"),
            Self::JsonInForm => serde_json::from_str::<String>(&field("d")?).ok().map(Cow::Owned),
        }
    }
}

/// A POST that brings packets.
pub(super) struct Post {
    pub(super) version: Version,
    pub(super) sid: SessionId,
    pub(super) form: PostForm,
}

impl ExchangeTarget for Post {
    fn run(self: Box<Self>, worker: &Rc<Worker>, body: Bytes, reply: Reply) {
        let Self { version, sid, form } = *self;
        let Some(session) = find(worker, version, &sid).filter(|session| session.is_open()) else {
            // Nothing begins by a POST.
            return drop(reply.send(answers::unknown(version, None)));
        };
        worker.stats().bytes_received.add(body.len() as u64);
        let packets = std::str::from_utf8(&body).ok().and_then(|body| form.read(body));
        session.span().in_scope(|| session.post(worker, packets.as_deref(), reply));
    }

    fn refuse(self: Box<Self>, worker: &Rc<Worker>, refusal: BodyRefusal, reply: Reply) {
        let _gone = reply.send(refusal.answer());
        // Without its packets the session cannot go on.
        if let Some(session) = find(worker, self.version, &self.sid) {
            session.close(worker, DisconnectReason::TransportError);
        }
    }
}

/// A request that ends a session of 0.9.
pub(super) struct Disconnect {
    pub(super) sid: SessionId,
}

impl ExchangeTarget for Disconnect {
    fn run(self: Box<Self>, worker: &Rc<Worker>, _body: Bytes, reply: Reply) {
        if let Some(session) = find(worker, Version::V09, &self.sid) {
            session.client_leaves(worker);
        }
        let _gone = reply.send(plain(StatusCode::OK, Bytes::new()));
    }
}

/// An answer to an old client that streams.
pub(super) enum OpenStream {
    /// It opens a session of 0.6.
    Begin { old: Arc<OldClients>, handshake: Handshake, page: Page },
    /// It is a transport of the session with this id.
    GoOn { old: Arc<OldClients>, version: Version, sid: SessionId, page: Page },
}

impl UpgradeTarget for OpenStream {
    fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::GoOn { sid, .. } => Some(WorkerId(sid.worker())),
            Self::Begin { .. } => None,
        }
    }

    fn check(&self) -> Option<Check> {
        let Self::GoOn { version, sid, .. } = *self else { return None };
        Some(Box::new(move |worker| match find(worker, version, &sid).filter(|session| session.is_open()) {
            Some(_) => Ok(()),
            None => Err(answers::unknown(version, None)),
        }))
    }

    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        match *self {
            Self::Begin { old, handshake, page } => {
                let session = begin_06(worker, &old, handshake)?;
                session.open_stream(worker, page, upgraded)
            }
            Self::GoOn { old, version, sid, page } => {
                if let Some(session) = find(worker, version, &sid).filter(|session| session.is_open()) {
                    return session.open_stream(worker, page, upgraded);
                }
                // It has closed since it was looked for.
                let wire = upgraded.stream_wire();
                refused::start(worker, &old, None, upgraded.opened(wire))
            }
        }
    }
}

/// Opens a session of 0.6 whose connection is there. Its request has passed the bounds; another one may have been
/// faster since.
fn begin_06(worker: &Rc<Worker>, old: &Arc<OldClients>, handshake: Handshake) -> Option<Rc<OldSession>> {
    let sid = random_id(worker.id())?;
    OldSession::open(worker, old, Version::V06, sid, handshake).ok()
}

/// A WebSocket connection of an old client.
pub(super) enum OpenWebSocket {
    /// It opens a session of 0.6.
    Begin { old: Arc<OldClients>, handshake: Handshake, wire: Wire },
    /// It is a transport of the session with this id, if it is one.
    GoOn { old: Arc<OldClients>, version: Version, sid: Option<SessionId>, wire: Wire },
}

impl UpgradeTarget for OpenWebSocket {
    fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::GoOn { sid: Some(sid), .. } => Some(WorkerId(sid.worker())),
            Self::GoOn { .. } | Self::Begin { .. } => None,
        }
    }

    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        match *self {
            Self::Begin { old, handshake, wire } => {
                let session = begin_06(worker, &old, handshake)?;
                session.open_websocket(worker, upgraded.opened(wire))
            }
            Self::GoOn { old, version, sid, wire } => {
                let session = sid.and_then(|sid| find(worker, version, &sid));
                match session.filter(|session| session.is_open()) {
                    Some(session) => session.open_websocket(worker, upgraded.opened(wire)),
                    None => refused::start(worker, &old, Some(version), upgraded.opened(wire)),
                }
            }
        }
    }
}
