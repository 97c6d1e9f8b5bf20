//! The one decision on a request, and what becomes of it, on whichever way it came in: the listener's fast
//! path, hyper, or an outer server.
//!
//! [`decide`] finds the protocol that is mounted there and lets it judge the head. [`serve`] carries out what
//! it decided for a request that came by way of HTTP, [`upgrade`] for a connection that becomes another's.
//! [`service`] is the way in from tower.

pub(crate) mod exchange;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod upgrade;

use std::sync::atomic::Ordering;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};

use crate::Peer;
use crate::functions::{caught_future, guarded};
use crate::http::mount::{Decision, Found, LaterDecision};
use crate::http::{Answer, RefusedFor, plain, refused};
use crate::refusals::{Refusals, Refused, RefusedKind};
use crate::server::Server;

/// Decides on a request by its head.
pub(crate) fn decide(server: &Server, parts: &Parts, peer: Peer) -> Decision {
    match server.mounts.load().find(&parts.uri) {
        Some(found) => decide_found(server, found, parts, peer),
        None => Decision::Pass,
    }
}

/// As [`decide`], of a request whose protocol is found.
fn decide_found(server: &Server, found: Found, parts: &Parts, peer: Peer) -> Decision {
    let decision = decide_now(server, found, parts, peer);
    if server.refusals.is_heard() { heard(&server.refusals, decision, peer) } else { decision }
}

fn decide_now(server: &Server, found: Found, parts: &Parts, peer: Peer) -> Decision {
    if server.closing.load(Ordering::Acquire) && (server.ends_idle() || !found.goes_on(&parts.uri)) {
        return Decision::Answer(shutting_down(parts.version));
    }
    guarded(|| found.decide(parts, peer, server.drafts)).unwrap_or_else(panicked)
}

/// The answer to a request that a server does not begin to serve, as it is shutting down. The connection ends
/// with it.
pub(crate) fn shutting_down(version: Version) -> Answer {
    refused("http", "shutting down");
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    // HTTP/2 has no such header.
    if version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Tells of a request that is refused, now or later. Each protocol's requests come by here.
fn heard(refusals: &Refusals, decision: Decision, peer: Peer) -> Decision {
    match decision {
        Decision::Answer(answer) => {
            let status = answer.status();
            if status.is_client_error() || status.is_server_error() {
                let reason = answer.extensions().get().map_or_else(
                    || status.canonical_reason().unwrap_or_default(),
                    |RefusedFor(reason)| reason,
                );
                refusals.tell(&Refused::new(RefusedKind::Request, reason, peer.ip()));
            }
            Decision::Answer(answer)
        }
        Decision::Later(later) => {
            let refusals = refusals.clone();
            Decision::Later(Box::pin(async move { heard(&refusals, later.await, peer) }))
        }
        decision => decision,
    }
}

/// Awaits a decision that takes time, within the time that there is for it.
pub(crate) async fn resolve(server: &Server, mut later: LaterDecision) -> Decision {
    let resolved = async {
        loop {
            match caught_future(later).await {
                Some(Decision::Later(again)) => later = again,
                Some(decision) => return decision,
                None => return panicked(),
            }
        }
    };
    tokio::time::timeout(server.listener.decision_timeout, resolved).await.unwrap_or_else(|_late| {
        refused("http", "decision timeout");
        Decision::Answer(plain(StatusCode::SERVICE_UNAVAILABLE, "no decision in time\n"))
    })
}

/// The decision on a request where a user's function panicked: it is the end of that request only.
fn panicked() -> Decision {
    refused("http", "panic");
    Decision::Answer(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
}
