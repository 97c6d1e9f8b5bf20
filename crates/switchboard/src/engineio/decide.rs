//! What Engine.IO decides on a request: its checks, in Node's order.

use std::sync::{Arc, LazyLock};

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, ORIGIN, REFERER, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode, Uri};
use switchboard_hub::WorkerId;
use switchboard_protocol::engineio::{ErrorCode, Query, SessionId, Version, jsonp, v3};
use switchboard_websocket::handshake::head::HeaderNames;
use switchboard_websocket::handshake::origin::ORIGIN_HEADERS;
use switchboard_websocket::handshake::server::Upgrade;

use super::answers::{RefusedAs, engine_error, engine_error_with, refuse_origin, too_many_sessions};
use super::exchange::{Get, Open, Post, ProbeTarget, SessionTarget, is_refused};
use super::ids::new_id;
use super::polling::PostForm;
use super::{EngineServer, polling};
use crate::handshake::Handshake;
use crate::http::admission::{Allowed, Asked as Asking, Refusal};
use crate::http::finish::Finish;
use crate::http::hooks::RefusedRequest;
use crate::http::mount::{
    Abandoned, Decision, Exchange, ExchangeTarget, Mount, OwnedHead, RequestHead, UpgradeTarget,
};
use crate::http::request_body::BodyLimits;
use crate::http::upgrade::WebSocketRequest;
use crate::http::{Answer, plain};
use crate::transport::wire::Wire;

/// The headers that decide on a poll or a POST of a session.
static READ_OF_POLLS: LazyLock<HeaderNames> =
    LazyLock::new(|| ORIGIN_HEADERS.into_iter().chain([ACCEPT_ENCODING, CONTENT_TYPE]).collect());

/// The same where a page may be known by its address alone: polls by scripts.
static READ_OF_SCRIPTS: LazyLock<HeaderNames> =
    LazyLock::new(|| ORIGIN_HEADERS.into_iter().chain([ACCEPT_ENCODING, CONTENT_TYPE, REFERER]).collect());

impl Mount for EngineServer {
    /// All that is below its path, as in Node, unless it is no request of a client of Engine.IO.
    fn takes(&self, rest: &str, target: &Uri) -> bool {
        rest.is_empty() || target.query().is_some_and(|query| query.contains("transport="))
    }

    /// Polls and POSTs of a session: only on polling does one linger.
    fn goes_on(&self, target: &Uri) -> bool {
        let query = Query::parse(target.query().unwrap_or_default());
        query.session().is_some() && query.transport.as_deref() == Some("polling")
    }

    /// Of the requests of a session, which are most, a few headers. Users' functions may read any.
    fn reads(&self, target: &Uri) -> Option<&'static HeaderNames> {
        let users = self.options.headers.is_some() || self.options.connection_error.is_some();
        let read = if self.options.jsonp { &READ_OF_SCRIPTS } else { &READ_OF_POLLS };
        (!users && Query::has_session(target.query().unwrap_or_default())).then(|| &**read)
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let decision = Asked::of(&self, head).and_then(|asked| asked.decide());
        self.finish(head, decision)
    }
}

impl EngineServer {
    /// Gives an answer what every answer has, and tells of one that refuses.
    fn finish(&self, head: &RequestHead<'_>, decision: Result<Decision, Answer>) -> Decision {
        let mut answer = match decision {
            Ok(Decision::Answer(answer)) => answer,
            Ok(decision) => return decision,
            Err(answer) => {
                self.tell_refused(head, &answer);
                answer
            }
        };
        self.options.origins.add_headers(head.parts.headers.get(ORIGIN), answer.headers_mut());
        Decision::Answer(answer)
    }

    fn tell_refused(&self, head: &RequestHead<'_>, answer: &Answer) {
        let Some(hook) = &self.options.connection_error else { return };
        let reason = answer.extensions().get::<RefusedAs>();
        hook.tell(&RefusedRequest {
            head: head.parts,
            peer: head.peer,
            status: answer.status(),
            code: reason.map(|reason| reason.code.code()),
            message: reason.map_or("bad handshake", |reason| &reason.message),
        });
    }
}

/// A request to an endpoint.
struct Asked<'a> {
    engine: &'a Arc<EngineServer>,
    head: &'a RequestHead<'a>,
    /// The origin of a page that is not let in by it.
    stranger: Option<&'a str>,
    query: Query<'a>,
    method: &'a Method,
    /// It asks for a WebSocket.
    upgrade: bool,
}

impl<'a> Asked<'a> {
    /// Reads what is asked. A page of another origin may ask for nothing but to go on with a session over
    /// WebSocket: whoever knows a session's id has read what its first request was answered. Whether that was
    /// for a page of ours, the session knows.
    fn of(engine: &'a Arc<EngineServer>, head: &'a RequestHead<'a>) -> Result<Self, Answer> {
        let parts = head.parts;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        // An extended CONNECT is to HTTP/2 what a GET with `Upgrade` is to HTTP/1.1.
        let connect = parts.method == Method::CONNECT;
        let method = if connect { &Method::GET } else { &parts.method };
        let upgrade = connect || Upgrade::is_asked_for(&parts.headers);
        let origins = &engine.options.origins;
        let stranger = match query.j {
            // A script's request does not say its origin as others do.
            Some(_) if !upgrade => origins.stranger_by_script(parts, head.peer),
            _ => origins.stranger(parts, head.peer),
        };
        match stranger {
            Some(origin) if !upgrade || query.session().is_none() => Err(refuse_origin(origin)),
            _ => Ok(Self { engine, head, stranger, query, method, upgrade }),
        }
    }

    fn decide(&self) -> Result<Decision, Answer> {
        let mut decision = self.decide_let_in();
        if let (Err(answer), Some(origin)) = (&mut decision, self.stranger) {
            // What another page is told does not depend on what it asked for.
            *answer = refuse_origin(origin);
        }
        decision
    }

    fn decide_let_in(&self) -> Result<Decision, Answer> {
        let (options, parts) = (&self.engine.options, self.head.parts);
        if parts.method == Method::OPTIONS && parts.headers.contains_key(ORIGIN) {
            return Ok(Decision::Answer(options.origins.preflight(&parts.headers)));
        }
        let websocket = match self.query.transport.as_deref() {
            Some("websocket") if options.websocket => true,
            Some("polling") if options.polling => false,
            _ => return Err(engine_error(ErrorCode::TransportUnknown)),
        };
        if self.query.j.is_some() && !websocket && !options.jsonp {
            let words = "polling by scripts is off: see the option `jsonp`";
            return Err(engine_error_with(ErrorCode::BadRequest, words));
        }
        match self.query.session() {
            None if *self.method != Method::GET => Err(engine_error(ErrorCode::BadHandshakeMethod)),
            _ if websocket != self.upgrade => Err(engine_error(ErrorCode::BadRequest)),
            None => self.open(),
            Some(sid) => self.go_on(self.session(sid)?),
        }
    }

    /// A request that opens a session.
    fn open(&self) -> Result<Decision, Answer> {
        let allow = self.engine.options.allow_request.as_ref();
        match allow.map(|allow| allow.ask(self.head.parts, self.head.peer)) {
            None => self.open_allowed(Ok(Allowed::default())),
            Some(Asking::Now(allowed)) => self.open_allowed(allowed),
            Some(Asking::Later(allowed)) => {
                let (engine, head) = (Arc::clone(self.engine), OwnedHead::of(self.head));
                Ok(Decision::Later(Box::pin(async move {
                    let allowed = allowed.await;
                    let head = head.borrow();
                    let asked = Asked::of(&engine, &head);
                    let decision = asked.and_then(|asked| asked.open_allowed(allowed));
                    engine.finish(&head, decision)
                })))
            }
        }
    }

    fn open_allowed(&self, allowed: Result<Allowed, Refusal>) -> Result<Decision, Answer> {
        let (engine, parts) = (self.engine, self.head.parts);
        let options = &engine.options;
        let allowed = allowed.map_err(|refusal| {
            let answer = engine_error_with(ErrorCode::Forbidden, refusal.message());
            refusal.apply(answer)
        })?;
        let version = self.query.version();
        if version != Version::V4 && !options.old_clients {
            return Err(engine_error(ErrorCode::UnsupportedProtocolVersion));
        }
        engine.sessions.check(self.head.peer.ip()).map_err(too_many_sessions)?;
        let protocol = if self.upgrade { self.subprotocol() } else { None };
        let handshake = Handshake::new(parts, self.head.peer, &options.keep_headers, protocol);
        let handshake = handshake.with_values(allowed.into_values());
        let mut headers = HeaderMap::new();
        if let Some(hook) = &options.initial_headers {
            hook.add(&mut headers, parts);
        }
        self.add_headers(&mut headers);
        let engine = Arc::clone(engine);
        if self.upgrade {
            return self.websocket(headers, protocol, |wire| SessionTarget {
                engine,
                version,
                handshake,
                wire,
            });
        }
        let worker = engine.hub.next_worker();
        let no_randomness = || plain(StatusCode::SERVICE_UNAVAILABLE, "no randomness\n");
        let made = new_id(options.generate_id.as_ref(), version, &engine.hub, worker, &handshake);
        let sid = made.ok_or_else(no_randomness)?;
        let cookie = options.cookie.as_ref().and_then(|cookie| cookie.header(sid.as_str()));
        headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
        let (abandoned, finish) = (polling::abandoned_by(&sid), self.finish(true).headers(headers));
        let exchange = exchange(Some(worker), Box::new(Open { engine, sid, version, handshake }));
        Ok(Decision::Exchange(Exchange { abandoned, finish, ..exchange }))
    }

    /// A request of a session.
    fn go_on(&self, sid: SessionId) -> Result<Decision, Answer> {
        let (engine, options) = (self.engine, &self.engine.options);
        let (worker, version) = (WorkerId(sid.worker()), self.query.version());
        let mut headers = HeaderMap::new();
        self.add_headers(&mut headers);
        match *self.method {
            Method::GET if !self.upgrade => {
                let exchange = exchange(Some(worker), Box::new(Get { sid, version }));
                let (abandoned, finish) = (polling::abandoned_by(&sid), self.finish(true).headers(headers));
                Ok(Decision::Exchange(Exchange { abandoned, finish, ..exchange }))
            }
            Method::GET if options.upgrades() => {
                let (engine, stranger) = (Arc::clone(engine), self.stranger.map(Into::into));
                self.websocket(headers, self.subprotocol(), |wire| ProbeTarget {
                    engine,
                    sid,
                    version,
                    wire,
                    stranger,
                })
            }
            Method::POST if !self.upgrade => {
                let kind = self.head.parts.headers.get(CONTENT_TYPE);
                let form = match kind {
                    Some(kind) if kind.as_bytes() == b"application/octet-stream" => PostForm::Binary,
                    _ if self.query.j.is_some() => PostForm::Form,
                    _ => PostForm::Text,
                };
                let limits = BodyLimits {
                    max_bytes: options.max_payload,
                    max_pieces: options.max_body_pieces,
                    timeout: options.body_timeout,
                };
                let exchange = exchange(Some(worker), Box::new(Post { sid, version, form, begun: false }));
                let (abandoned, finish) = (polling::abandoned_by(&sid), self.finish(false).headers(headers));
                let body = (!is_refused(version, form)).then_some(limits);
                Ok(Decision::Exchange(Exchange { body, abandoned, finish, ..exchange }))
            }
            _ => Err(engine_error(ErrorCode::BadRequest)),
        }
    }

    /// Adds the headers that each answer of a session has.
    fn add_headers(&self, headers: &mut HeaderMap) {
        if let Some(hook) = &self.engine.options.headers {
            hook.add(headers, self.head.parts);
        }
    }

    fn session(&self, sid: &str) -> Result<SessionId, Answer> {
        let workers = self.engine.hub.workers();
        let sid = SessionId::parse(sid).filter(|sid| usize::from(sid.worker()) < workers);
        sid.ok_or_else(|| engine_error(ErrorCode::SessionIdUnknown))
    }

    /// What an answer is given on its way out. `tells`: it says something that is worth compressing.
    fn finish(&self, tells: bool) -> Finish {
        let (options, headers) = (&self.engine.options, &self.head.parts.headers);
        let threshold = options.http_compression.filter(|_| tells);
        let finish = Finish::new(&options.origins, headers).compress(threshold, headers);
        match &self.query.j {
            Some(index) if tells => finish.script(jsonp::head(index), jsonp::FOOT),
            None if tells && self.reads_binary() => {
                finish.recode("application/octet-stream", v3::payload::to_binary)
            }
            _ => finish,
        }
    }

    /// Whether the client reads payloads in the binary form, and may read no other: an early client of protocol 3
    /// with binary support. Servers of its time sent it no other form.
    fn reads_binary(&self) -> bool {
        let query = self.head.parts.uri.query().unwrap_or_default();
        self.query.version() == Version::V3 && !self.query.b64 && v3::is_early(query)
    }

    fn websocket<T: UpgradeTarget + 'static>(
        &self,
        extra: HeaderMap,
        protocol: Option<&str>,
        target: impl FnOnce(Wire) -> T,
    ) -> Result<Decision, Answer> {
        let mut asked = WebSocketRequest::check(self.head)?;
        if let Some(protocol) = protocol {
            asked.select(&[protocol]);
        }
        let deflate = self.engine.options.per_message_deflate.as_ref();
        Ok(Decision::Upgrade(asked.accept(extra, deflate, target)))
    }

    /// The subprotocol of a WebSocket: the client's first that the options have, or the client's first where
    /// these have none.
    fn subprotocol(&self) -> Option<&'a str> {
        let known = &self.engine.options.subprotocols;
        let offers = self.head.parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offers = offers.filter_map(|offer| offer.to_str().ok()).flat_map(|offer| offer.split(','));
        offers.map(str::trim).find(|offer| known.is_empty() || known.iter().any(|known| known == offer))
    }
}

/// A request that a worker answers, without what differs.
fn exchange(worker: Option<WorkerId>, target: Box<dyn ExchangeTarget>) -> Exchange {
    Exchange {
        worker,
        body: None,
        abandoned: Abandoned::Ignored,
        finish: Finish::default(),
        unanswered: || engine_error(ErrorCode::SessionIdUnknown),
        target,
    }
}
