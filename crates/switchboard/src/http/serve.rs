//! Serving one request that came by way of hyper, be it our own listener's or an outer server's.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use switchboard_hub::{Command, Hub, Worker, WorkerId};
use switchboard_protocol::engineio::{ErrorCode, SessionId};
use switchboard_websocket::drafts::hixie::Challenge;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::decide::{Attach, Decision, HixieUpgrade, PollKind, PollRequest, can_probe, decide};
use super::finish::Finish;
use super::hixie::prove;
use super::{Answer, body_refused, engine_error, http2, plain, refused, text};
use crate::engineio::polling::{self, Reply};
use crate::engineio::session::{EngineSession, Registry};
use crate::engineio::{EngineOptions, EngineServer};
use crate::handshake::Peer;
use crate::listener::count_refused;
use crate::listener::streams::StreamPlace;
use crate::server::Server;
use crate::transport::connection_limit::{Permit, Refusal};
use crate::transport::io::Handover;

/// What became of a request.
pub(crate) enum Served<B> {
    /// It is not ours: here it is again.
    Pass(Request<B>),
    /// Its answer.
    Answer(Answer),
}

/// Serves a request, or gives it back.
///
/// A caller who goes away closes the session that the request was for, as in Node: from the moment this returns, polled or not,
/// dropping the future is that. (hyper drops it unpolled where the end of the stream came with the request.)
pub(crate) fn serve<B>(
    inner: &Arc<Server>,
    request: Request<B>,
    peer: Peer,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send,
{
    let (parts, body) = request.into_parts();
    serve_parts(inner, parts, body, peer)
}

/// As [`serve`], of a request in its parts.
pub(crate) fn serve_parts<B>(
    inner: &Arc<Server>,
    mut parts: Parts,
    body: B,
    peer: Peer,
) -> impl Future<Output = Served<B>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send,
{
    if parts.version >= Version::HTTP_2 {
        http2::level(&mut parts);
    }
    let decision = decide(inner, &parts, peer);
    let caller = match &decision {
        Decision::Poll(request) => Caller::of(&inner.hub, &request.kind),
        _ => None,
    };
    carry_out(Arc::clone(inner), parts, body, decision, caller)
}

async fn carry_out<B>(
    inner: Arc<Server>,
    mut parts: Parts,
    body: B,
    decision: Decision,
    caller: Option<Caller>,
) -> Served<B>
where
    B: Body<Data = Bytes> + Send,
{
    match decision {
        Decision::Pass => Served::Pass(Request::from_parts(parts, body)),
        Decision::Answer(answer) => Served::Answer(answer),
        Decision::Poll(request) => {
            let finish = Finish::of(&request, &parts.headers);
            // A poll may wait for long: nothing of its request does.
            let headers = std::mem::take(&mut parts.headers);
            parts.uri = Uri::default();
            let answer = poll(&inner, request, headers, body).await;
            if let (Some(caller), Some(_)) = (caller, &answer) {
                caller.answered();
            }
            // Without an answer the body did not come: the session is closed, as its caller went away.
            let answer = answer.unwrap_or_else(|| plain(StatusCode::BAD_REQUEST, "incomplete body\n"));
            Served::Answer(finish.answer(answer))
        }
        Decision::Upgrade(response, attach) => {
            Served::Answer(upgrade(inner, parts, response, attach, None).await)
        }
        Decision::UpgradeHixie(hixie) => {
            let HixieUpgrade { response, attach, challenge, .. } = *hixie;
            Served::Answer(upgrade(inner, parts, response, attach, challenge).await)
        }
    }
}

/// The answer to a request for a WebSocket. The connection goes to its worker once the answer is written, and in hixie-76 the
/// `challenge` met.
async fn upgrade(
    inner: Arc<Server>,
    mut parts: Parts,
    response: Response<()>,
    attach: Attach,
    challenge: Option<Challenge>,
) -> Answer {
    if let Err(answer) = check_probe(&inner.hub, &attach).await {
        return answer;
    }
    let Some(on_upgrade) = parts.extensions.remove::<hyper::upgrade::OnUpgrade>() else {
        // A server that cannot upgrade.
        return plain(StatusCode::NOT_IMPLEMENTED, "this server cannot upgrade connections\n");
    };
    let place = match parts.extensions.remove::<StreamPlace>() {
        Some(place) => place.enter(&inner.connections),
        None => Ok(inner.connections.guest()),
    };
    let place = match place {
        Ok(place) => place,
        Err(refusal) => return too_many(refusal),
    };
    if parts.version >= Version::HTTP_2 {
        metrics::counter!("switchboard_http2_websockets_total").increment(1);
    }
    tokio::spawn(hand_over(inner, on_upgrade, attach, challenge, place).in_current_span());
    response.map(|()| Bytes::new())
}

/// Refuses a probe of a session that is not there, or does not vouch for its origin, before the connection is upgraded.
pub(crate) async fn check_probe(hub: &Hub, attach: &Attach) -> Result<(), Answer> {
    let Attach::Probe { sid, stranger, .. } = attach else { return Ok(()) };
    let (sid, stranger) = (*sid, stranger.clone());
    let (answer, known) = oneshot::channel();
    let asked = run_when_room(hub, WorkerId(sid.worker()), 0, move |worker| {
        let _gone = answer.send(can_probe(worker, &sid, stranger.as_deref()));
    });
    let unknown = || engine_error(ErrorCode::SessionIdUnknown);
    asked.await.map_err(|_stopped| unknown())?;
    match known.await {
        Ok(known) => known,
        Err(_stopped) => Err(unknown()),
    }
}

/// There is no place for a WebSocket over HTTP/2.
fn too_many(refusal: Refusal) -> Answer {
    count_refused(refusal);
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", refusal.as_str()))
}

/// `place`: that of the connection, where it has none yet.
async fn hand_over(
    inner: Arc<Server>,
    on_upgrade: hyper::upgrade::OnUpgrade,
    attach: Attach,
    challenge: Option<Challenge>,
    place: Permit,
) {
    let mut upgraded = match on_upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => {
            return lost_on_its_way(&error);
        }
    };
    if let Some(challenge) = challenge {
        let mut nothing = Bytes::new();
        let proof = prove(&mut upgraded, challenge, &mut nothing);
        let proven = tokio::time::timeout(inner.listener.head_timeout, proof).await;
        if let Err(error) = proven.unwrap_or_else(|late| Err(late.into())) {
            return lost_on_its_way(&error);
        }
    }
    let handover = Handover::upgraded(upgraded.into_inner(), place);
    match handover {
        Ok(handover) => land(&inner.hub, attach, handover).await,
        Err(error) => lost_on_its_way(&error),
    }
}

/// Takes a connection to its worker.
pub(crate) async fn land(hub: &Hub, attach: Attach, handover: Handover) {
    let to = attach.worker(hub);
    let span = tracing::Span::current();
    let landed = run_when_room(hub, to, 0, move |worker| {
        let _traced = span.enter();
        match handover.land() {
            Ok((io, unread)) => attach.land(worker, io, unread, &[], None),
            Err(error) => lost_on_its_way(&error),
        }
    });
    if let Err(error) = landed.await {
        lost_on_its_way(&error);
    }
}

/// An upgraded connection did not reach its worker.
pub(crate) fn lost_on_its_way(error: &dyn std::error::Error) {
    metrics::counter!("switchboard_upgraded_connections_lost_total").increment(1);
    tracing::debug!(%error, "an upgraded connection did not reach its worker");
}

/// Runs `f`, which holds so many bytes, on a worker: at once on its own thread, else when its inbox has room.
async fn run_when_room(
    hub: &Hub,
    to: WorkerId,
    bytes: usize,
    f: impl FnOnce(&Rc<Worker>) + Send + 'static,
) -> Result<(), switchboard_hub::HubError> {
    if hub.here().is_some_and(|worker| worker.id() == to) {
        // In place: `run_on` does not go through the inbox on the worker's own thread.
        return hub.run_on(to, f);
    }
    hub.send_when_room(to, Command::run_holding(bytes, f)).await
}

/// Asks a worker for an answer.
async fn ask(hub: &Hub, to: WorkerId, f: impl FnOnce(&Rc<Worker>, Reply) + Send + 'static) -> Answer {
    ask_holding(hub, to, 0, f).await
}

/// As [`ask`], of an `f` that holds so many bytes.
async fn ask_holding(
    hub: &Hub,
    to: WorkerId,
    bytes: usize,
    f: impl FnOnce(&Rc<Worker>, Reply) + Send + 'static,
) -> Answer {
    let (reply, answer) = oneshot::channel();
    if run_when_room(hub, to, bytes, move |worker| f(worker, reply)).await.is_err() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    answer.await.unwrap_or_else(|_closed| engine_error(ErrorCode::SessionIdUnknown))
}

/// A request of the polling transport. `None`: its body did not come.
async fn poll<B>(inner: &Arc<Server>, request: PollRequest, headers: HeaderMap, body: B) -> Option<Answer>
where
    B: Body<Data = Bytes> + Send,
{
    let hub = &inner.hub;
    let PollRequest { server, kind } = request;
    match kind {
        PollKind::Open(handshake) => {
            let engine = Arc::clone(&server);
            let answer =
                ask(hub, hub.next_worker(), move |worker, reply| {
                    match EngineSession::open_polling(worker, &engine, handshake) {
                        Some(session) => session.span_on("polling").in_scope(|| session.poll(worker, reply)),
                        None => drop(reply.send(plain(StatusCode::SERVICE_UNAVAILABLE, "no randomness\n"))),
                    }
                });
            Some(server.with_cookie(answer.await))
        }
        PollKind::Get(sid) => {
            drop((headers, body));
            // A session that has closed tells the next poll so.
            let answer = ask(hub, WorkerId(sid.worker()), move |worker, reply| {
                match worker.extension::<Registry>().get(&sid) {
                    Some(session) => session.span_on("polling").in_scope(|| session.poll(worker, reply)),
                    None => drop(reply.send(engine_error(ErrorCode::SessionIdUnknown))),
                }
            });
            Some(answer.await)
        }
        PollKind::Post(sid) => post(hub, &server, sid, &headers, body).await,
    }
}

/// A POST: the body in whole, then its packets. `None`: the body did not come.
async fn post<B>(
    hub: &Hub,
    server: &EngineServer,
    sid: SessionId,
    headers: &HeaderMap,
    body: B,
) -> Option<Answer>
where
    B: Body<Data = Bytes> + Send,
{
    let owner = WorkerId(sid.worker());
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/octet-stream") {
        // Protocol 4 has no binary payloads.
        let refusal = ask(hub, owner, move |worker, reply| {
            let answer = match find(worker, &sid) {
                Some(session) => {
                    polling::on_refused_post(worker, &session);
                    body_refused(StatusCode::BAD_REQUEST)
                }
                None => engine_error(ErrorCode::SessionIdUnknown),
            };
            let _gone = reply.send(answer);
        });
        return Some(refusal.await);
    }
    let mut body = std::pin::pin!(read_body(headers, body, &server.options));
    // Mostly the body came with the head. Where not, the session is told that it is on its way.
    let mut begun = false;
    let first = poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await;
    let read = match first {
        Poll::Ready(read) => read,
        Poll::Pending => {
            let begin = ask(hub, owner, move |worker, reply| {
                let begun = match find(worker, &sid) {
                    Some(session) => session.begin_post(worker),
                    None => Err(engine_error(ErrorCode::SessionIdUnknown)),
                };
                let _gone = reply.send(begun.map_or_else(|refusal| refusal, |()| text(Bytes::new())));
            });
            let begin = begin.await;
            if begin.status() != StatusCode::OK {
                return Some(begin);
            }
            begun = true;
            body.await
        }
    };
    let answer = match read {
        Ok(body) => ask_holding(hub, owner, body.len(), move |worker, reply| match find(worker, &sid) {
            Some(session) => {
                session.span_on("polling").in_scope(|| session.post(worker, &body, begun, reply));
            }
            None => drop(reply.send(engine_error(ErrorCode::SessionIdUnknown))),
        }),
        Err(NoBody::Gone) => return None,
        Err(NoBody::Refused(status, reason)) => {
            refused("http", reason);
            return Some(
                ask(hub, owner, move |worker, reply| {
                    let _gone = reply.send(body_refused(status));
                    if let Some(session) = find(worker, &sid) {
                        polling::on_refused_post(worker, &session);
                    }
                })
                .await,
            );
        }
    };
    Some(answer.await)
}

/// The session of an id. It may be closing.
fn find(worker: &Worker, sid: &SessionId) -> Option<Rc<EngineSession>> {
    worker.extension::<Registry>().get(sid)
}

enum NoBody {
    /// The status of the answer, and why.
    Refused(StatusCode, &'static str),
    /// It stopped coming.
    Gone,
}

const TOO_LARGE: NoBody = NoBody::Refused(StatusCode::PAYLOAD_TOO_LARGE, "payload too large");

/// Bytes of a body over the limit that are read and dropped before it is refused, so that a client that has sent most of it
/// reads the answer rather than a reset.
const DROPPED_BYTES: usize = 1 << 20;

/// Reads a whole body, bounded in bytes and time.
async fn read_body<B>(headers: &HeaderMap, body: B, options: &EngineOptions) -> Result<Bytes, NoBody>
where
    B: Body<Data = Bytes>,
{
    let limit = options.max_payload;
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit.saturating_add(DROPPED_BYTES)) {
        return Err(TOO_LARGE);
    }
    let mut collecting = std::pin::pin!(collect(body, limit, options.max_body_pieces));
    // A body that came with its head needs no timer.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await {
        return read;
    }
    let late = NoBody::Refused(StatusCode::REQUEST_TIMEOUT, "body timeout");
    tokio::time::timeout(options.body_timeout, collecting).await.unwrap_or(Err(late))
}

async fn collect<B: Body<Data = Bytes>>(body: B, limit: usize, max_pieces: usize) -> Result<Bytes, NoBody> {
    let (mut body, mut pieces) = (std::pin::pin!(body), 0_usize);
    let (mut first, mut rest, mut length) = (Bytes::new(), Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_broken| NoBody::Gone)?.into_data() else { continue };
        length = length.saturating_add(data.len());
        pieces += 1;
        if pieces > max_pieces {
            return Err(NoBody::Refused(StatusCode::PAYLOAD_TOO_LARGE, "payload in too many pieces"));
        }
        if length > limit.saturating_add(DROPPED_BYTES) {
            break;
        } else if length > limit {
            (first, rest) = (Bytes::new(), Vec::new());
        } else if first.is_empty() && rest.is_empty() {
            // Mostly there is but one piece.
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    match length {
        _ if length > limit => Err(TOO_LARGE),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.into()),
    }
}

/// Stands for the caller of a request while its answer is awaited. Dropped before [`answered`](Self::answered): the caller went away.
struct Caller {
    gone: Option<(Arc<Hub>, SessionId)>,
}

impl Caller {
    fn of(hub: &Arc<Hub>, kind: &PollKind) -> Option<Self> {
        match kind {
            PollKind::Open(_) => None,
            PollKind::Get(sid) | PollKind::Post(sid) => Some(Self { gone: Some((Arc::clone(hub), *sid)) }),
        }
    }

    fn answered(mut self) {
        self.gone = None;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some((hub, sid)) = self.gone.take() {
            // Where this does not get through, the heartbeat will find the session dead.
            let _late = hub.run_on(WorkerId(sid.worker()), move |worker| polling::abandoned(worker, &sid));
        }
    }
}
