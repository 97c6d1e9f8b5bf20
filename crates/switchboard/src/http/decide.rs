//! The one decision on every request, whichever way it came in: the listener's fast path, hyper, axum.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{ETAG, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use switchboard_hub::{Hub, Worker, WorkerId};
use switchboard_protocol::engineio::{ErrorCode, Query, SessionId};
use switchboard_websocket::deflate::DeflateOptions;
use switchboard_websocket::drafts::{self, hixie};
use switchboard_websocket::handshake::server as websocket;

use super::cors::Origins;
use super::etag::is_fresh;
use super::http2::connect_protocol;
use super::routes::Route;
use super::{Answer, engine_error, engine_error_with, plain, refused};
use crate::engineio::session::{EngineSession, Registry};
use crate::engineio::{ClientFile, EngineOptions, EngineServer, probe};
use crate::functions::guarded;
use crate::handshake::{Handshake, Peer};
use crate::proxies::forwarded_hosts;
use crate::server::Server;
use crate::transport::connection::{ConnectionTask, Opened};
use crate::transport::deflate::Compression;
use crate::transport::io::Io;
use crate::transport::wire::Wire;
use crate::websocket::RawService;

/// What is to be done with a request.
pub(crate) enum Decision {
    /// It is not ours.
    Pass,
    /// It is answered at once.
    Answer(Answer),
    /// It becomes a WebSocket connection: the answer, and whom the connection belongs to.
    Upgrade(Response<()>, Attach),
    /// It becomes a WebSocket connection of the drafts hixie-75 and -76.
    UpgradeHixie(Box<HixieUpgrade>),
    /// It is a request of the polling transport.
    Poll(PollRequest),
}

impl Decision {
    fn attach_mut(&mut self) -> Option<&mut Attach> {
        match self {
            Decision::Upgrade(_, attach) => Some(attach),
            Decision::UpgradeHixie(hixie) => Some(&mut hixie.attach),
            Decision::Pass | Decision::Answer(_) | Decision::Poll(_) => None,
        }
    }
}

/// The answer to a request of the drafts hixie-75 and -76, which is not over with its head.
pub(crate) struct HixieUpgrade {
    /// The head byte for byte: clients compare it.
    pub(crate) head: Vec<u8>,
    /// The same for a server that writes it in its own way.
    pub(crate) response: Response<()>,
    /// What the answer's body is made with.
    pub(crate) challenge: Option<hixie::Challenge>,
    pub(crate) attach: Attach,
}

/// Whom an upgraded connection belongs to.
pub(crate) enum Attach {
    /// A new Engine.IO session.
    Session(Arc<EngineServer>, Handshake, Wire),
    /// An Engine.IO session that exists, on polling: the connection is a probe.
    Probe {
        server: Arc<EngineServer>,
        sid: SessionId,
        wire: Wire,
        /// The origin of a page that is not known for one of ours: its session has to vouch for it.
        stranger: Option<Box<str>>,
    },
    /// A raw WebSocket service.
    Raw(Arc<RawService>, Handshake, Wire),
}

impl Attach {
    /// The worker that must drive the connection.
    pub(crate) fn worker(&self, hub: &Hub) -> WorkerId {
        match self {
            Attach::Probe { sid, .. } => WorkerId(sid.worker()),
            Attach::Session(..) | Attach::Raw(..) => hub.next_worker(),
        }
    }

    /// Starts the connection on this worker's thread. `unread`: what came behind the request's head.
    /// `answer`: the head of the answer where it is still to be written. `adopt`: see [`Opened`].
    pub(crate) fn land(
        self,
        worker: &Rc<Worker>,
        io: Io,
        unread: Bytes,
        answer: &[u8],
        adopt: Option<&Cell<Option<ConnectionTask>>>,
    ) {
        metrics::counter!("switchboard_websocket_connections_total").increment(1);
        let opened = |wire| Opened { io, wire, unread, answer, adopt };
        match self {
            Attach::Session(server, handshake, wire) => {
                EngineSession::open_websocket(worker, &server, handshake, opened(wire));
            }
            Attach::Probe { server, sid, wire, .. } => probe::start(worker, &server, sid, opened(wire)),
            Attach::Raw(service, handshake, wire) => service.open(worker, handshake, opened(wire)),
        }
    }
}

/// A request of the polling transport that passed its checks.
pub(crate) struct PollRequest {
    pub(crate) server: Arc<EngineServer>,
    pub(crate) kind: PollKind,
}

pub(crate) enum PollKind {
    /// Opens a session.
    Open(Handshake),
    /// Waits for packets.
    Get(SessionId),
    /// Brings packets.
    Post(SessionId),
}

/// Decides on a request by its head.
pub(crate) fn decide(inner: &Server, parts: &Parts, peer: Peer) -> Decision {
    let route = inner.routes.load().find(&parts.uri);
    if route.is_some() && inner.closing.load(Ordering::Acquire) {
        refused("http", "shutting down");
        return Decision::Answer(plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"));
    }
    let Some(route) = route else { return Decision::Pass };
    // A user's check of an origin or a request may panic: that is the end of this request only.
    let decision = guarded(|| decide_route(inner, route, parts, peer));
    decision.unwrap_or_else(|| {
        refused("http", "panic");
        Decision::Answer(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
    })
}

fn decide_route(inner: &Server, route: Route, parts: &Parts, peer: Peer) -> Decision {
    match route {
        Route::Engine(server) => match decide_engine(&server, parts, peer, inner.drafts) {
            Ok(Decision::Answer(answer)) | Err(answer) => Decision::Answer(finish(&server, parts, answer)),
            Ok(decision) => decision,
        },
        Route::Client(server, file) => {
            let file = server.options.client_files.get(file);
            let answer = file.map_or_else(not_found, |file| serve_file(file, &server.options.origins, parts));
            Decision::Answer(finish(&server, parts, answer))
        }
        Route::WebSocket(service) => decide_websocket(&service, parts, peer, inner.drafts),
    }
}

/// Adds what every answer of an engine carries.
fn finish(server: &EngineServer, parts: &Parts, mut answer: Answer) -> Answer {
    server.options.origins.add_headers(parts.headers.get(ORIGIN), answer.headers_mut());
    answer
}

/// The checks of Engine.IO, in Node's order.
#[expect(clippy::result_large_err, reason = "the error is the answer, passed on once")]
fn decide_engine(
    server: &Arc<EngineServer>,
    parts: &Parts,
    peer: Peer,
    drafts: bool,
) -> Result<Decision, Answer> {
    let Some(stranger) = stranger(&server.options.origins, parts, peer) else {
        return decide_let_in(server, parts, peer, drafts);
    };
    // Whoever knows a session's id has read what its first request was answered. Whether that was for a page of ours, the session knows.
    let refusal = || refuse_stranger(stranger);
    let mut decision = decide_let_in(server, parts, peer, drafts).map_err(|_unheard| refusal())?;
    let Some(Attach::Probe { stranger: to_vouch_for, .. }) = decision.attach_mut() else {
        return Err(refusal());
    };
    *to_vouch_for = Some(stranger.into());
    Ok(decision)
}

/// The checks of Engine.IO after that of the origin.
#[expect(clippy::result_large_err, reason = "the error is the answer, passed on once")]
fn decide_let_in(
    server: &Arc<EngineServer>,
    parts: &Parts,
    peer: Peer,
    drafts: bool,
) -> Result<Decision, Answer> {
    let options = &server.options;
    if parts.method == Method::OPTIONS && parts.headers.contains_key(ORIGIN) {
        return Ok(Decision::Answer(preflight(&options.origins, parts)));
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let websocket = match query.transport.as_deref() {
        Some("websocket") if options.websocket => true,
        Some("polling") if options.polling => false,
        _ => return Err(engine_error(ErrorCode::TransportUnknown)),
    };
    // An extended CONNECT is to HTTP/2 what a GET with `Upgrade` is to HTTP/1.1.
    let connect = parts.method == Method::CONNECT;
    let method = if connect { &Method::GET } else { &parts.method };
    let upgrade = connect || websocket::Upgrade::is_asked_for(&parts.headers);
    let kind = match query.session() {
        None if *method != Method::GET => return Err(engine_error(ErrorCode::BadHandshakeMethod)),
        _ if websocket != upgrade => return Err(engine_error(ErrorCode::BadRequest)),
        None => {
            if let Some(allow) = &options.allow_request {
                allow(parts, peer).map_err(|message| engine_error_with(ErrorCode::Forbidden, &message))?;
            }
            if query.protocol() != 4 {
                return Err(engine_error(ErrorCode::UnsupportedProtocolVersion));
            }
            let protocol = if websocket { subprotocol(options, parts) } else { None };
            PollKind::Open(Handshake::new(parts, peer, &options.keep_headers, protocol))
        }
        Some(sid) => {
            let sid = SessionId::parse(sid).filter(|sid| usize::from(sid.worker()) < server.hub.workers());
            let sid = sid.ok_or_else(|| engine_error(ErrorCode::SessionIdUnknown))?;
            match *method {
                Method::GET => PollKind::Get(sid),
                Method::POST if !websocket => PollKind::Post(sid),
                _ => return Err(engine_error(ErrorCode::BadRequest)),
            }
        }
    };
    if !websocket {
        return Ok(Decision::Poll(PollRequest { server: Arc::clone(server), kind }));
    }
    let mut asked = check_websocket(parts, peer, drafts).map_err(|error| refuse_websocket(&error))?;
    asked.select(subprotocol(options, parts).as_slice());
    match kind {
        PollKind::Open(handshake) => {
            let attach = |wire| Attach::Session(Arc::clone(server), handshake, wire);
            Ok(accept(&asked, options.cookie.as_ref(), options.per_message_deflate.as_ref(), attach))
        }
        PollKind::Get(sid) | PollKind::Post(sid) if options.upgrades() => {
            let attach = |wire| Attach::Probe { server: Arc::clone(server), sid, wire, stranger: None };
            Ok(accept(&asked, None, options.per_message_deflate.as_ref(), attach))
        }
        PollKind::Get(_) | PollKind::Post(_) => Err(engine_error(ErrorCode::BadRequest)),
    }
}

/// The subprotocol of a WebSocket of Engine.IO: the client's first that the options have, or the client's first where these have none.
fn subprotocol<'a>(options: &EngineOptions, parts: &'a Parts) -> Option<&'a str> {
    let offers = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|offer| offer.to_str().ok());
    let mut offers = offers.flat_map(|offer| offer.split(',')).map(str::trim);
    offers.find(|offer| {
        options.subprotocols.is_empty() || options.subprotocols.iter().any(|known| known == offer)
    })
}

fn decide_websocket(service: &Arc<RawService>, parts: &Parts, peer: Peer, drafts: bool) -> Decision {
    let options = service.options();
    if let Some(stranger) = stranger(&options.origins, parts, peer) {
        refused("http", "origin");
        let words = format!("origin {stranger} is not allowed: see the option `origins`\n");
        return Decision::Answer(plain(StatusCode::FORBIDDEN, words));
    }
    let mut asked = match check_websocket(parts, peer, drafts) {
        Ok(asked) => asked,
        Err(error) => return Decision::Answer(refuse_websocket(&error)),
    };
    if let Some(Err(message)) = options.allow_request.as_ref().map(|allow| allow(parts, peer)) {
        refused("websocket", "not allowed");
        return Decision::Answer(plain(StatusCode::FORBIDDEN, message));
    }
    let protocol = asked.select(&options.protocols);
    let handshake = Handshake::new(parts, peer, &options.keep_headers, protocol);
    let attach = |wire| Attach::Raw(Arc::clone(service), handshake, wire);
    accept(&asked, None, options.per_message_deflate.as_ref(), attach)
}

/// Judges a request for a WebSocket, of the drafts before RFC 6455 too where these are on.
fn check_websocket(
    parts: &Parts,
    peer: Peer,
    drafts: bool,
) -> Result<drafts::Request<'_>, websocket::HandshakeError> {
    if parts.version >= Version::HTTP_2 {
        let asked = websocket::Upgrade::check_connect(parts, connect_protocol(parts));
        return asked.map(drafts::Request::Rfc6455);
    }
    if !drafts {
        return websocket::Upgrade::check(parts).map(drafts::Request::Rfc6455);
    }
    let (draft, asked) = match drafts::Request::check(parts)? {
        drafts::Request::Rfc6455(upgrade) => {
            let version = parts.headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
            let draft = match version {
                Some(b"7") => "hybi-07",
                Some(b"8") => "hybi-08",
                _ => return Ok(drafts::Request::Rfc6455(upgrade)),
            };
            (draft, drafts::Request::Rfc6455(upgrade))
        }
        drafts::Request::Hixie(upgrade) => {
            let draft = match upgrade.version() {
                hixie::Version::Hixie75 => "hixie-75",
                hixie::Version::Hixie76 => "hixie-76",
            };
            // The client compares the URL in the answer with the one it asked for. The leftmost proxy was nearest to it.
            let forwarded = forwarded_hosts(&parts.headers).last().filter(|_| peer.proxied);
            let upgrade = upgrade.secure(peer.secure);
            let upgrade = if let Some(host) = forwarded { upgrade.host(host) } else { upgrade };
            (draft, drafts::Request::Hixie(upgrade))
        }
    };
    metrics::counter!("switchboard_draft_handshakes_total", "draft" => draft).increment(1);
    Ok(asked)
}

/// The decision to upgrade, with the answer of the protocol that was asked for.
fn accept(
    asked: &drafts::Request<'_>,
    cookie: Option<&HeaderValue>,
    deflate: Option<&DeflateOptions>,
    attach: impl FnOnce(Wire) -> Attach,
) -> Decision {
    match asked {
        drafts::Request::Rfc6455(upgrade) => {
            let mut upgrade = *upgrade;
            let wire = Compression::accept(&mut upgrade, deflate).map_or(Wire::Rfc6455, Wire::Deflate);
            let mut response = upgrade.response();
            if let Some(cookie) = cookie {
                response.headers_mut().append(SET_COOKIE, cookie.clone());
            }
            Decision::Upgrade(response, attach(wire))
        }
        drafts::Request::Hixie(upgrade) => {
            let extra: HeaderMap = cookie.map(|cookie| (SET_COOKIE, cookie.clone())).into_iter().collect();
            let mut head = Vec::with_capacity(512);
            upgrade.write_response(&mut head, &extra);
            let mut response = upgrade.response();
            response.headers_mut().extend(extra);
            response.extensions_mut().insert(ReasonPhrase::from_static(upgrade.reason().as_bytes()));
            let attach = attach(Wire::Hixie(upgrade.version()));
            Decision::UpgradeHixie(Box::new(HixieUpgrade {
                head,
                response,
                challenge: upgrade.challenge(),
                attach,
            }))
        }
    }
}

/// The origin of a request that is not let in by it.
fn stranger<'a>(origins: &Origins, parts: &'a Parts, peer: Peer) -> Option<&'a str> {
    let origin = drafts::origin(&parts.headers).and_then(|origin| origin.to_str().ok());
    (!origins.allow(parts, peer)).then(|| origin.unwrap_or("(not text)"))
}

/// The answer of Engine.IO to a page of another origin.
fn refuse_stranger(origin: &str) -> Answer {
    refused("http", "origin");
    let words = format!("origin {origin} is not allowed: see the option `origins`");
    engine_error_with(ErrorCode::Forbidden, &words)
}

fn preflight(origins: &Origins, parts: &Parts) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    origins.add_preflight_headers(&parts.headers, answer.headers_mut());
    answer
}

fn refuse_websocket(error: &websocket::HandshakeError) -> Answer {
    refused("websocket", "bad handshake");
    error.response().map(Bytes::from)
}

fn not_found() -> Answer {
    plain(StatusCode::NOT_FOUND, "not found\n")
}

fn serve_file(file: &ClientFile, origins: &Origins, parts: &Parts) -> Answer {
    if parts.method == Method::OPTIONS && parts.headers.contains_key(ORIGIN) {
        return preflight(origins, parts);
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    let mut answer = super::answer(StatusCode::OK, file.content_type, Bytes::clone(&file.body));
    if is_fresh(&parts.headers, &file.etag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Bytes::new();
    }
    answer.headers_mut().insert(ETAG, file.etag.clone());
    answer.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    answer
}

impl EngineServer {
    /// Adds the cookie that the options ask for to the answer of a handshake.
    pub(crate) fn with_cookie<B>(&self, mut response: Response<B>) -> Response<B> {
        if let Some(cookie) = &self.options.cookie {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }
}

/// Whether a session is there to be probed, and vouches for a `stranger`. On its worker's thread. `Err`: what is answered if not.
#[expect(clippy::result_large_err, reason = "the error is the answer, passed on once")]
pub(crate) fn can_probe(worker: &Worker, sid: &SessionId, stranger: Option<&str>) -> Result<(), Answer> {
    let session = worker.extension::<Registry>().get(sid).filter(|session| session.is_open());
    match (session, stranger) {
        (Some(session), Some(origin)) if !session.handshake().is_of_own_page() => {
            Err(refuse_stranger(origin))
        }
        (Some(_), _) => Ok(()),
        // What another page is told does not depend on what it asked for.
        (None, Some(origin)) => Err(refuse_stranger(origin)),
        (None, None) => Err(engine_error(ErrorCode::SessionIdUnknown)),
    }
}
