//! What a raw WebSocket service decides on a request.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;
use switchboard_hub::Worker;

use super::RawService;
use crate::handshake::Handshake;
use crate::http::admission::{Allowed, Asked, Refusal};
use crate::http::mount::{Decision, Mount, OwnedHead, RequestHead, UpgradeTarget, Upgraded};
use crate::http::upgrade::{WebSocketRequest, refuse_origin};
use crate::http::{refused, refusing};
use crate::transport::connection::ConnectionTask;
use crate::transport::wire::Wire;

impl Mount for RawService {
    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        if let Some(stranger) = self.options().origins.stranger(head.parts, head.peer) {
            return Decision::Answer(refuse_origin(stranger));
        }
        let asked = match WebSocketRequest::check(head) {
            Ok(asked) => asked,
            Err(answer) => return Decision::Answer(answer),
        };
        match self.options().allow_request.as_ref().map(|allow| allow.ask(head.parts, head.peer)) {
            None => self.decide_allowed(head, asked, Ok(Allowed::default())),
            Some(Asked::Now(allowed)) => self.decide_allowed(head, asked, allowed),
            Some(Asked::Later(allowed)) => {
                let head = OwnedHead::of(head);
                Decision::Later(Box::pin(async move {
                    let (allowed, head) = (allowed.await, head.borrow());
                    match WebSocketRequest::check(&head) {
                        Ok(asked) => self.decide_allowed(&head, asked, allowed),
                        Err(answer) => Decision::Answer(answer),
                    }
                }))
            }
        }
    }
}

impl RawService {
    fn decide_allowed(
        self: Arc<Self>,
        head: &RequestHead<'_>,
        mut asked: WebSocketRequest<'_>,
        allowed: Result<Allowed, Refusal>,
    ) -> Decision {
        let allowed = match allowed {
            Ok(allowed) => allowed,
            Err(refusal) => {
                refused("websocket", "not allowed");
                return Decision::Answer(refusing(refusal.answer(), "not allowed"));
            }
        };
        let options = self.options();
        let protocol = asked.select(&options.protocols);
        let handshake = Handshake::new(head.parts, head.peer, &options.keep_headers, protocol);
        let handshake = handshake.with_values(allowed.into_values());
        let deflate = options.per_message_deflate;
        let target = |wire| Target { service: self, handshake, wire };
        Decision::Upgrade(asked.accept(HeaderMap::new(), deflate.as_ref(), target))
    }
}

/// A connection of the service.
struct Target {
    service: Arc<RawService>,
    handshake: Handshake,
    wire: Wire,
}

impl UpgradeTarget for Target {
    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask> {
        let Self { service, handshake, wire } = *self;
        service.open(worker, handshake, upgraded.opened(wire))
    }
}
