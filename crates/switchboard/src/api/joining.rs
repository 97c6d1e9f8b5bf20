//! How a socket joins a namespace: middleware, extractors, the answer, `on_connect`.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use switchboard_hub::Worker;

use super::dispatch::holding_back;
use super::extract::Connecting;
use super::handler::{AnySocketHandler, Extracted, HandlerCall, Outcome};
use super::local::LocalSocket;
use super::queue::AuthCharge;
use super::recovery::Claimed;
use super::report::{ErrorContext, HandlerKind};
use super::socket::Socket;
use super::sockets::Sockets;
use super::table::Table;
use crate::Error;
use crate::functions::{caught, caught_future};

/// A socket on its way into a namespace: middleware, extractors, the answer, `on_connect`.
///
/// It does not keep the client's sockets: where a middleware waits for ever, what is left of a client that
/// has gone is this and the handle.
pub(super) struct Joining {
    pub(super) worker: Rc<Worker>,
    pub(super) sockets: Weak<Sockets>,
    pub(super) local: Weak<LocalSocket>,
    pub(super) socket: Socket,
    pub(super) table: Arc<Table>,
    /// The socket's, which may have gone before its middleware is done.
    pub(super) auth: Option<Rc<AuthCharge>>,
}

impl Joining {
    pub(super) async fn run(mut self) {
        let Ok(claimed) = self.claim().await else { return };
        let admitted = self.admit(claimed.as_ref()).await;
        let namespace = &self.socket.shared.namespace;
        let handlers = {
            let Some((sockets, local)) = self.both() else { return };
            match admitted {
                Ok(handlers) if !sockets.recovers(namespace) => {
                    sockets.welcome(&self.worker, &local, namespace);
                    handlers
                }
                Ok(handlers) => {
                    drop((sockets, local));
                    if !self.open(claimed).await {
                        return;
                    }
                    handlers
                }
                Err(error) => {
                    sockets.remove(&local);
                    return sockets.refuse(&self.worker, &namespace.name, &error);
                }
            }
        };
        for (handler, registered) in handlers.into_iter().zip(&self.table.connect) {
            let name = registered.type_name();
            let outcome = holding_back(&self.local, HandlerKind::Connect, None, name, call(handler)).await;
            let Some(local) = self.local.upgrade().filter(|local| !local.is_gone()) else { return };
            let context = self.error_context(HandlerKind::Connect, name);
            match outcome {
                Some(Ok(_)) => continue,
                Some(Err(error)) => context.report(&error),
                None => context.report_panic(),
            }
            return switchboard_hub::Endpoint::disconnect(&*local, false);
        }
        if let Some(local) = self.local.upgrade() {
            local.release(&self.worker);
        }
    }

    /// The client's sockets and this one, unless it has gone meanwhile.
    pub(super) fn both(&self) -> Option<(Rc<Sockets>, Rc<LocalSocket>)> {
        let (sockets, local) = (self.sockets.upgrade()?, self.local.upgrade()?);
        local.is_here().then_some((sockets, local))
    }

    /// Runs the middleware, then lets each `on_connect` take its arguments. Errors that the client is not
    /// told have been reported.
    async fn admit(&self, claimed: Option<&Claimed>) -> Result<Vec<Extracted>, Error> {
        let context = Connecting { socket: self.socket.clone() };
        let extract = |kind, handler: &AnySocketHandler<Connecting>| {
            self.judge(kind, handler, caught(|| handler.extract(&context)))
        };
        let skipped = claimed.is_some() && self.socket.shared.namespace.skips_middleware();
        for middleware in self.table.middleware.iter().filter(|_| !skipped) {
            let extracted = extract(HandlerKind::Middleware, middleware)?;
            self.judge(HandlerKind::Middleware, middleware, call(extracted).await)?;
        }
        self.table.connect.iter().map(|handler| extract(HandlerKind::Connect, handler)).collect()
    }

    /// What a call came to (`None`: it panicked); what is the server's own affair is reported.
    fn judge<T>(
        &self,
        kind: HandlerKind,
        handler: &AnySocketHandler<Connecting>,
        outcome: Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let context = self.error_context(kind, handler.type_name());
        match outcome {
            Some(Err(error)) if !error.is_public() || error.wanted_type().is_some() => {
                context.report(&error);
                Err(error)
            }
            Some(outcome) => outcome,
            None => {
                context.report_panic();
                Err(Error::internal("a handler panicked"))
            }
        }
    }

    fn error_context(&self, kind: HandlerKind, handler: &'static str) -> ErrorContext<'_> {
        ErrorContext { socket: &self.socket, kind, event: None, handler }
    }
}

/// Calls a handler that has its arguments; `None` where it panicked.
async fn call(extracted: Extracted) -> Option<Outcome> {
    match caught(extracted.0)? {
        HandlerCall::Done(outcome) => Some(outcome),
        HandlerCall::Waits(waiting) => caught_future(waiting).await,
    }
}
