//! A connection that becomes another's than HTTP's, and its way to the worker that drives it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, Version};
use hyper_util::rt::TokioIo;
use switchboard_hub::{Hub, Worker};
use switchboard_websocket::drafts::hixie::Challenge;
use tracing::Instrument;

use super::exchange::{ask_check, run_when_room};
use crate::http::hixie::prove;
use crate::http::mount::{Upgrade, UpgradeTarget, Upgraded};
use crate::http::streams::StreamPlace;
use crate::http::{Answer, Body, plain};
use crate::server::Server;
use crate::transport::connection::{ConnectionTask, Executor};
use crate::transport::connection_limit::{Permit, Refusal};
use crate::transport::io::Handover;
use crate::transport::pieces::Pieces;
use crate::transport::wire::Wire;

/// The answer to a request for an upgrade that came by way of hyper. The connection goes to its worker once
/// the answer is written, and in hixie-76 the challenge met.
pub(super) async fn upgrade(server: Arc<Server>, mut parts: Box<Parts>, asked: Upgrade) -> Answer {
    let Upgrade { response, draft, target, .. } = asked;
    if let Err(answer) = check(&server.hub, &*target).await {
        return answer;
    }
    let Some(on_upgrade) = parts.extensions.remove::<hyper::upgrade::OnUpgrade>() else {
        // A server that cannot upgrade.
        return plain(StatusCode::NOT_IMPLEMENTED, "this server cannot upgrade connections\n");
    };
    let place = match place(&server, &mut parts) {
        Ok(place) => place,
        Err(refusal) => return too_many(refusal),
    };
    if parts.version >= Version::HTTP_2 {
        metrics::counter!("switchboard_http2_websockets_total").increment(1);
    }
    let challenge = draft.and_then(|draft| draft.challenge);
    tokio::spawn(hand_over(server, on_upgrade, target, challenge, place).in_current_span());
    response.map(|()| Body::default())
}

/// The place of a connection that is not an accepted one, or that the accepted one gives up.
fn place(server: &Server, parts: &mut Parts) -> Result<Permit, Refusal> {
    match parts.extensions.remove::<StreamPlace>() {
        Some(place) => place.enter(&server.connections),
        None => Ok(server.connections.enter_unlimited()),
    }
}

/// A streaming answer whose connection stays with the server that has it: its packets are the pieces of a
/// body.
pub(crate) async fn stream_in_pieces(server: &Server, mut parts: Box<Parts>, asked: Box<Upgrade>) -> Answer {
    let Upgrade { response, target, .. } = *asked;
    if let Err(answer) = check(&server.hub, &*target).await {
        return answer;
    }
    let place = match place(server, &mut parts) {
        Ok(place) => place,
        Err(refusal) => return too_many(refusal),
    };
    let (writer, body) = Body::pieces();
    let handover = Handover::boxed(Pieces::new(writer.pieces), place);
    land(&server.hub, target, handover, Some(Wire::Bytes)).await;
    response.map(|()| body)
}

/// Asks the worker of an upgrade whether it is welcome, before the connection is upgraded.
pub(crate) fn check<'a>(
    hub: &'a Hub,
    target: &dyn UpgradeTarget,
) -> impl Future<Output = Result<(), Answer>> + use<'a> {
    let check = target.worker().zip(target.check());
    let unanswered = || plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    async move {
        match check {
            Some((worker, check)) => ask_check(hub, worker, check, unanswered).await,
            None => Ok(()),
        }
    }
}

/// There is no place for a WebSocket or a stream over HTTP/2.
fn too_many(refusal: Refusal) -> Answer {
    refusal.count();
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", refusal.as_str()))
}

/// `place`: that of the connection, where it has none yet.
async fn hand_over(
    server: Arc<Server>,
    on_upgrade: hyper::upgrade::OnUpgrade,
    target: Box<dyn UpgradeTarget>,
    challenge: Option<Challenge>,
    place: Permit,
) {
    let mut upgraded = match on_upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return lost_on_its_way(&error),
    };
    if let Some(challenge) = challenge {
        let mut nothing = Bytes::new();
        let proof = prove(&mut upgraded, challenge, &mut nothing);
        let proven = tokio::time::timeout(server.listener.head_timeout, proof).await;
        if let Err(error) = proven.unwrap_or_else(|late| Err(late.into())) {
            return lost_on_its_way(&error);
        }
    }
    match Handover::upgraded(upgraded.into_inner(), place) {
        Ok(handover) => land(&server.hub, target, handover, None).await,
        Err(error) => lost_on_its_way(&error),
    }
}

/// Takes a connection to its worker.
pub(crate) async fn land(
    hub: &Hub,
    target: Box<dyn UpgradeTarget>,
    handover: Handover,
    streaming: Option<Wire>,
) {
    let to = target.worker().unwrap_or_else(|| hub.next_worker());
    let span = tracing::Span::current();
    let landed = run_when_room(hub, to, 0, move |worker| {
        let _traced = span.enter();
        match handover.register() {
            Ok((io, unread)) => {
                if let Some(task) = start(target, worker, Upgraded { io, unread, answer: &[], streaming }) {
                    worker.extension::<Executor>().run(task);
                }
            }
            Err(error) => lost_on_its_way(&error),
        }
    });
    if let Err(error) = landed.await {
        lost_on_its_way(&error);
    }
}

/// Starts a connection on its worker's thread. Returns its task, unless it runs already.
pub(crate) fn start(
    target: Box<dyn UpgradeTarget>,
    worker: &Rc<Worker>,
    upgraded: Upgraded<'_>,
) -> Option<ConnectionTask> {
    if upgraded.streaming.is_some() {
        metrics::counter!("switchboard_streaming_answers_total").increment(1);
    } else {
        metrics::counter!("switchboard_websocket_connections_total").increment(1);
    }
    target.start(worker, upgraded)
}

/// An upgraded connection did not reach its worker.
pub(crate) fn lost_on_its_way(error: &dyn std::error::Error) {
    metrics::counter!("switchboard_upgraded_connections_lost_total").increment(1);
    tracing::debug!(%error, "an upgraded connection did not reach its worker");
}
