//! The functions that a server's user has given to a namespace.

use std::sync::Arc;

use hashbrown::HashMap;
use switchboard_protocol::socketio::WriteError;

use super::extract::{Connecting, Disconnected};
use super::handler::{AnyEventHandler, AnySocketHandler};
use super::recovery::OnExpired;
use super::report::ErrorContext;
use super::room_events::OnRoomEvent;
use super::server_events::ServerEvent;
use crate::Error;
use crate::error::Reply;

/// What is told of errors.
pub(super) type OnError = Arc<dyn Fn(&ErrorContext<'_>, &Error) + Send + Sync>;

/// What makes replies of errors.
pub(super) type OnErrorReply =
    Arc<dyn Fn(&ErrorContext<'_>, &Error) -> Result<Reply, WriteError> + Send + Sync>;

type ByEvent<T> = HashMap<Box<str>, T, foldhash::fast::RandomState>;

/// A handler of one event.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) handler: AnyEventHandler,
    /// Events of a socket do not wait for one another.
    pub(crate) concurrent: bool,
}

/// The functions of a namespace. Replaced as a whole when one is added, so that reading takes no lock.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) middleware: Vec<AnySocketHandler<Connecting>>,
    pub(crate) connect: Vec<AnySocketHandler<Connecting>>,
    pub(crate) disconnect: Vec<AnySocketHandler<Disconnected>>,
    pub(crate) event_middleware: Vec<AnyEventHandler>,
    pub(crate) any: Vec<AnyEventHandler>,
    pub(crate) outgoing: Vec<AnyEventHandler>,
    pub(crate) events: ByEvent<Registered>,
    pub(crate) server_events: ByEvent<AnySocketHandler<ServerEvent>>,
    pub(crate) room_events: Vec<OnRoomEvent>,
    pub(crate) expired: Vec<OnExpired>,
    pub(crate) error: Option<OnError>,
    pub(crate) error_reply: Option<OnErrorReply>,
}

impl Table {
    /// These functions, then those of `own`. Where there can be but one, it is that of `own`.
    pub(super) fn with(&self, own: &Self) -> Self {
        let mut all = self.clone();
        all.middleware.extend_from_slice(&own.middleware);
        all.connect.extend_from_slice(&own.connect);
        all.disconnect.extend_from_slice(&own.disconnect);
        all.event_middleware.extend_from_slice(&own.event_middleware);
        all.any.extend_from_slice(&own.any);
        all.outgoing.extend_from_slice(&own.outgoing);
        all.events.extend(own.events.iter().map(|(event, handler)| (event.clone(), handler.clone())));
        let server_events = own.server_events.iter();
        all.server_events.extend(server_events.map(|(event, handler)| (event.clone(), Arc::clone(handler))));
        all.room_events.extend_from_slice(&own.room_events);
        all.expired.extend_from_slice(&own.expired);
        all.error = own.error.clone().or(all.error);
        all.error_reply = own.error_reply.clone().or(all.error_reply);
        all
    }
}
