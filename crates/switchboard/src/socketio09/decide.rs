//! What is decided on a request of an old client, by its head.

use std::sync::Arc;

use http::header::ORIGIN;
use http::{HeaderMap, Method, StatusCode, Uri};
use switchboard_hub::WorkerId;
use switchboard_protocol::engineio::SessionId;
use switchboard_websocket::handshake::server::Upgrade;

use super::answers::{self, PollForm};
use super::exchange::{Disconnect, Get, Handshake09, Open06, OpenStream, OpenWebSocket, Post, PostForm};
use super::request::{Asked, Transport, is_old, is_poll, read_id};
use super::session::abandoned_by;
use super::{OldClients, Version};
use crate::engineio::ids::random_id;
use crate::handshake::Handshake;
use crate::http::admission::{Allowed, Asked as Asking, Refusal};
use crate::http::finish::Finish;
use crate::http::mount::{
    Abandoned, Decision, Exchange, ExchangeTarget, Mount, OwnedHead, RequestHead, Upgrade as HttpUpgrade,
    UpgradeTarget,
};
use crate::http::request_body::BodyLimits;
use crate::http::upgrade::WebSocketRequest;
use crate::http::{Answer, plain, refused};
use crate::transport::framing::Page;
use crate::transport::wire::Wire;

impl Mount for OldClients {
    fn takes(&self, rest: &str, target: &Uri) -> bool {
        is_old(rest, target.query().unwrap_or_default())
    }

    fn goes_on(&self, target: &Uri) -> bool {
        is_poll(target.path())
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        Request::of(&self, head).decide(None)
    }
}

/// A request of an old client.
struct Request<'a> {
    old: &'a Arc<OldClients>,
    head: &'a RequestHead<'a>,
    asked: Asked<'a>,
    version: Version,
}

/// What [`allow_request`](crate::AllowRequest) said of a request.
type Leave = Result<Allowed, Refusal>;

impl<'a> Request<'a> {
    fn of(old: &'a Arc<OldClients>, head: &'a RequestHead<'a>) -> Self {
        let asked = Asked::of(head.rest, head.parts.uri.query().unwrap_or_default());
        let version = match asked {
            Asked::Transport { version, .. } => version,
            _ => Version::V09,
        };
        Self { old, head, asked, version }
    }

    /// Decides; `leave` is there once it was asked for.
    fn decide(&self, leave: Option<Leave>) -> Decision {
        let mut answer = match self.decide_or_refuse(leave) {
            Ok(Decision::Answer(answer)) | Err(answer) => answer,
            Ok(decision) => return decision,
        };
        let origin = self.head.parts.headers.get(ORIGIN);
        self.old.cors(self.version).add_headers(origin, answer.headers_mut());
        Decision::Answer(answer)
    }

    fn decide_or_refuse(&self, leave: Option<Leave>) -> Result<Decision, Answer> {
        let parts = self.head.parts;
        if parts.method == Method::OPTIONS && parts.headers.contains_key(ORIGIN) {
            return Ok(Decision::Answer(self.old.cors(self.version).preflight(&parts.headers)));
        }
        self.check_origin()?;
        match &self.asked {
            Asked::Welcome => Ok(Decision::Answer(answers::welcome())),
            Asked::OtherProtocol => Err(answers::other_protocol()),
            Asked::Handshake { index } => self.handshake(index.as_deref(), leave),
            Asked::Disconnect { sid } => {
                let Some(sid) = self.session(sid) else { return Err(answers::unknown(self.version, None)) };
                Ok(self.exchange(sid, None, Box::new(Disconnect { sid })))
            }
            Asked::Transport { transport, sid, index, .. } => {
                let transport = transport.filter(|transport| self.is_on(*transport));
                // Node ends the connection without an answer.
                let transport = transport.ok_or_else(|| {
                    refused("socketio09", "transport");
                    answers::closing(StatusCode::BAD_REQUEST)
                })?;
                self.transport(transport, sid, index, leave)
            }
        }
    }

    /// Whether it is asked for by a script of a page: only that cannot say its origin.
    fn is_of_script(&self) -> bool {
        let by_script = match &self.asked {
            Asked::Handshake { index } => index.is_some(),
            Asked::Transport { transport, .. } => *transport == Some(Transport::JsonpPolling),
            _ => false,
        };
        by_script && !self.is_upgrade()
    }

    fn check_origin(&self) -> Result<(), Answer> {
        let (parts, peer) = (self.head.parts, self.head.peer);
        let options = &self.old.engine.options;
        let stranger = if self.is_of_script() {
            options.origins.stranger_by_script(parts, peer)
        } else {
            options.origins.stranger(parts, peer)
        };
        match (stranger, &self.asked) {
            (None, _) => Ok(()),
            (Some(_), Asked::Handshake { index }) => {
                refused("http", "origin");
                Err(answers::handshake(
                    index.as_deref(),
                    Err((StatusCode::FORBIDDEN, "handshake bad origin")),
                ))
            }
            (Some(origin), _) => Err(answers::bad_origin(origin)),
        }
    }

    fn is_on(&self, transport: Transport) -> bool {
        let options = &self.old.engine.options;
        match transport {
            Transport::WebSocket => options.websocket,
            Transport::JsonpPolling => options.polling && options.jsonp,
            Transport::Htmlfile | Transport::XhrMultipart | Transport::XhrPolling => options.polling,
        }
    }

    /// The transports of 0.9 that are on.
    fn transports(&self) -> String {
        let all = [
            ("websocket", Transport::WebSocket),
            ("htmlfile", Transport::Htmlfile),
            ("xhr-polling", Transport::XhrPolling),
            ("jsonp-polling", Transport::JsonpPolling),
        ];
        let on: Vec<_> =
            all.iter().filter(|(_, transport)| self.is_on(*transport)).map(|(name, _)| *name).collect();
        on.join(",")
    }

    fn is_upgrade(&self) -> bool {
        let parts = self.head.parts;
        parts.method == Method::CONNECT || Upgrade::is_asked_for(&parts.headers)
    }

    // A session that begins.

    /// Asks whether a session may begin, and goes on at once or later.
    fn with_leave(
        &self,
        leave: Option<Leave>,
        begin: impl FnOnce(Leave) -> Result<Decision, Answer>,
    ) -> Result<Decision, Answer> {
        let options = &self.old.engine.options;
        let asking = match leave {
            Some(leave) => Some(Asking::Now(leave)),
            None => options.allow_request.as_ref().map(|allow| allow.ask(self.head.parts, self.head.peer)),
        };
        match asking {
            None => begin(Ok(Allowed::default())),
            Some(Asking::Now(leave)) => begin(leave),
            Some(Asking::Later(leave)) => {
                let (old, head) = (Arc::clone(self.old), OwnedHead::of(self.head));
                Ok(Decision::Later(Box::pin(async move {
                    let leave = leave.await;
                    let head = head.borrow();
                    Request::of(&old, &head).decide(Some(leave))
                })))
            }
        }
    }

    fn keep(&self, allowed: Allowed) -> Handshake {
        let keep = &self.old.engine.options.keep_headers;
        let handshake = Handshake::new(self.head.parts, self.head.peer, keep, None);
        handshake.with_values(allowed.into_values())
    }

    /// The id of a new session, and a place for it.
    fn new_session(&self) -> Result<SessionId, Answer> {
        let engine = &self.old.engine;
        engine.sessions.check(self.head.peer.ip()).map_err(crate::engineio::too_many_sessions)?;
        let no_randomness = || plain(StatusCode::SERVICE_UNAVAILABLE, "no randomness\n");
        random_id(engine.hub.next_worker()).ok_or_else(no_randomness)
    }

    fn handshake(&self, index: Option<&str>, leave: Option<Leave>) -> Result<Decision, Answer> {
        if self.is_upgrade() {
            return Err(answers::closing(StatusCode::BAD_REQUEST));
        }
        if index.is_some() && !self.old.engine.options.jsonp {
            return Err(answers::handshake(index, Err((StatusCode::FORBIDDEN, "handshake unauthorized"))));
        }
        let wrong = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or POST only\n");
        if !matches!(self.head.parts.method, Method::GET | Method::POST) {
            return Err(wrong);
        }
        self.with_leave(leave, |leave| {
            let unauthorized = "handshake unauthorized";
            let allowed = leave.map_err(|refusal| {
                refused("socketio09", unauthorized);
                let answer = answers::handshake(index, Err((StatusCode::FORBIDDEN, unauthorized)));
                // A script gets what it is told with a 200 only.
                if index.is_some() { answer } else { refusal.apply(answer) }
            })?;
            let sid = self.new_session()?;
            let (old, handshake) = (Arc::clone(self.old), self.keep(allowed));
            let (index, transports) = (index.map(Into::into), self.transports());
            let target = Handshake09 { old, sid, handshake, index, transports };
            Ok(self.exchange(sid, None, Box::new(target)))
        })
    }

    // A session's transports.

    fn transport(
        &self,
        transport: Transport,
        sid: &str,
        index: &str,
        leave: Option<Leave>,
    ) -> Result<Decision, Answer> {
        let upgrade = self.is_upgrade();
        if upgrade != (transport == Transport::WebSocket) {
            return Err(answers::closing(StatusCode::BAD_REQUEST));
        }
        let opens = self.version == Version::V06 && sid.is_empty();
        let form = match transport {
            Transport::JsonpPolling => PollForm::Script(index.into()),
            _ => PollForm::Xhr,
        };
        let sid = if opens { None } else { self.session(sid) };
        match (&self.head.parts.method, sid) {
            _ if upgrade => match sid {
                None if opens => self.open_06(transport, form, leave),
                sid => self.websocket(sid),
            },
            (&Method::GET, None) if opens => self.open_06(transport, form, leave),
            (&Method::GET, Some(sid)) if !transport.is_polling() => {
                let (old, version, page) = (Arc::clone(self.old), self.version, self.page(transport));
                Ok(self.stream(page, OpenStream::GoOn { old, version, sid, page }))
            }
            (&Method::GET, Some(sid)) => {
                let target = Get { version: self.version, sid, transport, form };
                Ok(self.exchange(sid, None, Box::new(target)))
            }
            (&Method::GET, None) => {
                let form = Some(&form).filter(|_| transport.is_polling());
                Err(answers::unknown(self.version, form))
            }
            (&Method::POST, Some(sid)) => Ok(self.post(sid, transport)),
            (&Method::POST, None) => Err(answers::unknown(self.version, None)),
            _ => Err(plain(StatusCode::METHOD_NOT_ALLOWED, "GET or POST only\n")),
        }
    }

    /// The session that an id may be of: its worker is one of ours.
    fn session(&self, sid: &str) -> Option<SessionId> {
        let workers = self.old.engine.hub.workers();
        read_id(self.version, sid).filter(|sid| usize::from(sid.worker()) < workers)
    }

    fn post(&self, sid: SessionId, transport: Transport) -> Decision {
        let options = &self.old.engine.options;
        let limits = BodyLimits {
            max_bytes: options.max_payload,
            max_pieces: options.max_body_pieces,
            timeout: options.body_timeout,
        };
        let form = match (self.version, transport) {
            (Version::V09, Transport::JsonpPolling) => PostForm::JsonInForm,
            (Version::V09, _) => PostForm::Plain,
            (Version::V06, _) => PostForm::Form,
        };
        let target = Post { version: self.version, sid, form };
        self.exchange(sid, Some(limits), Box::new(target))
    }

    fn open_06(
        &self,
        transport: Transport,
        form: PollForm,
        leave: Option<Leave>,
    ) -> Result<Decision, Answer> {
        self.with_leave(leave, |leave| {
            let allowed = leave.map_err(|refusal| {
                refused("socketio09", "unauthorized");
                refusal.answer()
            })?;
            let sid = self.new_session()?;
            let (old, handshake) = (Arc::clone(self.old), self.keep(allowed));
            if transport == Transport::WebSocket {
                return self.accept(|wire| OpenWebSocket::Begin { old, handshake, wire });
            }
            if !transport.is_polling() {
                let page = self.page(transport);
                return Ok(self.stream(page, OpenStream::Begin { old, handshake, page }));
            }
            Ok(self.exchange(sid, None, Box::new(Open06 { old, sid, handshake, transport, form })))
        })
    }

    /// The page of a transport that streams.
    fn page(&self, transport: Transport) -> Page {
        match (self.version, transport) {
            (Version::V06, Transport::XhrMultipart) => Page::Multipart06,
            (Version::V06, _) => Page::Htmlfile06,
            (Version::V09, _) => Page::Htmlfile09,
        }
    }

    fn stream(&self, page: Page, target: OpenStream) -> Decision {
        let mut response = answers::streamed(page);
        let headers = response.headers_mut();
        headers.extend(self.headers());
        self.old.cors(self.version).add_headers(self.head.parts.headers.get(ORIGIN), headers);
        let mut upgrade = HttpUpgrade::streaming(response, target);
        if page == Page::Multipart06 {
            // Parts are not put into chunks.
            upgrade.streaming = Some(Wire::Bytes);
        }
        Decision::Upgrade(upgrade)
    }

    fn websocket(&self, sid: Option<SessionId>) -> Result<Decision, Answer> {
        let (old, version) = (Arc::clone(self.old), self.version);
        self.accept(|wire| OpenWebSocket::GoOn { old, version, sid, wire })
    }

    fn accept<T: UpgradeTarget + 'static>(&self, target: impl FnOnce(Wire) -> T) -> Result<Decision, Answer> {
        let deflate = self.old.engine.options.per_message_deflate.as_ref();
        let request = WebSocketRequest::check(self.head)?;
        Ok(Decision::Upgrade(request.accept(self.headers(), deflate, target)))
    }

    /// The headers that each answer of a session has.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(hook) = &self.old.engine.options.headers {
            hook.add(&mut headers, self.head.parts);
        }
        headers
    }

    fn exchange(
        &self,
        sid: SessionId,
        body: Option<BodyLimits>,
        target: Box<dyn ExchangeTarget>,
    ) -> Decision {
        let is_get = self.head.parts.method == Method::GET;
        let finish = Finish::new(self.old.cors(self.version), &self.head.parts.headers);
        Decision::Exchange(Exchange {
            worker: Some(WorkerId(sid.worker())),
            body,
            abandoned: if is_get { abandoned_by(&sid) } else { Abandoned::Ignored },
            finish: finish.headers(self.headers()),
            unanswered: || plain(StatusCode::INTERNAL_SERVER_ERROR, "handshake error"),
            target,
        })
    }
}
