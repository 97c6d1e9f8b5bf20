//! What a raw WebSocket service decides on a request.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use switchboard_hub::Worker;

use super::RawService;
use crate::handshake::Handshake;
use crate::http::mount::{Decision, Mount, RequestHead, Upgrade, UpgradeTarget, Upgraded};
use crate::http::{Answer, plain, refused, upgrade};
use crate::transport::connection::ConnectionTask;
use crate::transport::wire::Wire;

impl Mount for RawService {
    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        self.upgrade(head).map_or_else(Decision::Answer, Decision::Upgrade)
    }
}

impl RawService {
    fn upgrade(self: Arc<Self>, head: &RequestHead<'_>) -> Result<Upgrade, Answer> {
        let options = self.options();
        if let Some(stranger) = options.origins.stranger(head.parts, head.peer) {
            return Err(upgrade::refuse_origin(stranger));
        }
        let mut asked = upgrade::check(head)?;
        if let Some(Err(words)) = options.allow_request.as_ref().map(|allow| allow(head.parts, head.peer)) {
            refused("websocket", "not allowed");
            return Err(plain(StatusCode::FORBIDDEN, words));
        }
        let protocol = asked.select(&options.protocols);
        let handshake = Handshake::new(head.parts, head.peer, &options.keep_headers, protocol);
        let deflate = options.per_message_deflate;
        let target = |wire| Target { service: self, handshake, wire };
        Ok(upgrade::accept(asked, HeaderMap::new(), deflate.as_ref(), target))
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
        upgraded.start(wire, |opened| service.open(worker, handshake, opened))
    }
}
