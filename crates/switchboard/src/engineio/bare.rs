//! A bare Engine.IO service: messages over sessions, without Socket.IO.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use switchboard_hub::{Hub, Worker, WorkerId};
use switchboard_protocol::engineio::SessionId;
use switchboard_websocket::Opcode;

use super::application::{Application, Conversation};
use super::session::{EngineSession, Registry, Sending};
use crate::functions::guarded;
use crate::functions::replace;
use crate::handshake::Handshake;
use crate::message::{IntoResult, Message};
use crate::{DisconnectReason, EmitError, Result};

/// The functions of a service.
type Functions = crate::functions::Functions<EngineSocket, DisconnectReason>;

/// A bare Engine.IO endpoint, to be given its functions. Made by [`Switchboard::engine`](crate::Switchboard::engine).
#[derive(Clone)]
pub struct EngineService {
    functions: Arc<ArcSwap<Functions>>,
    hub: Arc<Hub>,
}

impl fmt::Debug for EngineService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineService").finish_non_exhaustive()
    }
}

impl EngineService {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self { functions: Arc::default(), hub: Arc::clone(hub) }
    }

    fn change(&self, change: impl Fn(&mut Functions)) -> &Self {
        replace(&self.functions, change);
        self
    }

    /// Calls the function for each session that has opened; its error closes the session. Replaces an earlier one, as the others do.
    pub fn on_connect<R: IntoResult>(
        &self,
        function: impl Fn(&EngineSocket) -> R + Send + Sync + 'static,
    ) -> &Self {
        self.change(Functions::with_connect(function))
    }

    /// Calls the function for each message, in order, in place. An error closes the session.
    pub fn on_message<R: IntoResult>(
        &self,
        function: impl Fn(&EngineSocket, Message<'_>) -> R + Send + Sync + 'static,
    ) -> &Self {
        self.change(Functions::with_message(function))
    }

    /// Calls the function when a session has closed.
    pub fn on_close(
        &self,
        function: impl Fn(&EngineSocket, DisconnectReason) + Send + Sync + 'static,
    ) -> &Self {
        self.change(Functions::with_close(function))
    }
}

/// A session of a bare Engine.IO service. Cloning gives another handle to it, which may go to any thread and does not keep the session.
#[derive(Clone)]
pub struct EngineSocket {
    hub: Arc<Hub>,
    sid: SessionId,
    handshake: Handshake,
}

impl fmt::Debug for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineSocket").field(&self.sid).finish()
    }
}

impl EngineSocket {
    /// The request the session began with.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Sends a message. It is queued when this returns; from a thread that is not the session's worker's it goes through that worker's
    /// inbox.
    ///
    /// # Errors
    /// [`EmitError::Disconnected`]; [`EmitError::Hub`] where the client's outbox or the worker's inbox is full.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> std::result::Result<(), EmitError> {
        self.send_with(message.into(), true)
    }

    /// As [`send`](Self::send), but the message goes uncompressed also where the connection compresses (`{ compress: false }` of Node): for
    /// what is compressed already, such as pictures. The answer of a long poll is compressed if any message in it is to be.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_uncompressed<'a>(
        &self,
        message: impl Into<Message<'a>>,
    ) -> std::result::Result<(), EmitError> {
        self.send_with(message.into(), false)
    }

    fn send_with(&self, message: Message<'_>, compress: bool) -> std::result::Result<(), EmitError> {
        let to = WorkerId(self.sid.worker());
        if let Some(worker) = self.hub.here().filter(|worker| worker.id() == to) {
            let session = worker.extension::<Registry>().get(&self.sid).ok_or(EmitError::Disconnected)?;
            return send(&worker, &session, message, compress);
        }
        let sid = self.sid;
        let text = matches!(message, Message::Text(_));
        let bytes = message.as_bytes().to_vec();
        self.hub.run_holding(to, bytes.len(), move |worker| {
            let Some(session) = worker.extension::<Registry>().get(&sid) else { return };
            let message = if text {
                Message::Text(std::str::from_utf8(&bytes).unwrap_or_default())
            } else {
                Message::Binary(&bytes)
            };
            // A client that does not read is disconnected, which its service is told.
            let _full = send(worker, &session, message, compress);
        })?;
        Ok(())
    }

    /// Closes the session.
    ///
    /// # Errors
    /// [`EmitError::Hub`] where the worker's inbox is full.
    pub fn close(&self) -> std::result::Result<(), EmitError> {
        let sid = self.sid;
        self.hub.run_on(WorkerId(sid.worker()), move |worker| {
            if let Some(session) = worker.extension::<Registry>().get(&sid) {
                session.close(worker, DisconnectReason::ForcedClose);
            }
        })?;
        Ok(())
    }
}

fn send(
    worker: &Rc<Worker>,
    session: &Rc<EngineSession>,
    message: Message<'_>,
    compress: bool,
) -> std::result::Result<(), EmitError> {
    let sending = Sending { compress, ..Sending::default() };
    match message {
        Message::Binary(bytes) => session.send(worker, Opcode::Binary, bytes, sending)?,
        Message::Text(text) => worker.with_scratch(|packet| {
            packet.push(b'4');
            packet.extend_from_slice(text.as_bytes());
            session.send(worker, Opcode::Text, packet, sending)
        })?,
    }
    Ok(())
}

impl Application for EngineService {
    fn open(&self, worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation> {
        let socket = EngineSocket {
            hub: Arc::clone(&self.hub),
            sid: session.sid,
            handshake: session.handshake().clone(),
        };
        let talk =
            Rc::new(BareConversation { service: self.clone(), socket, session: Rc::downgrade(session) });
        talk.settle(worker, guarded(|| self.functions.load().on_connect(&talk.socket)).as_ref());
        talk
    }
}

/// One session of the service.
struct BareConversation {
    service: EngineService,
    socket: EngineSocket,
    session: std::rc::Weak<EngineSession>,
}

impl BareConversation {
    fn on_message(&self, worker: &Rc<Worker>, message: Message<'_>) {
        let functions = self.service.functions.load();
        let outcome = guarded(|| functions.on_message(&self.socket, message).unwrap_or(Ok(())));
        self.settle(worker, outcome.as_ref());
    }

    /// Closes the session where a function of the service failed.
    fn settle(&self, worker: &Rc<Worker>, outcome: Option<&Result>) {
        if let Some(Err(error)) = outcome {
            metrics::counter!("switchboard_handler_errors_total").increment(1);
            tracing::warn!(%error, "an Engine.IO service failed: closing its session");
        }
        if !matches!(outcome, Some(Ok(())))
            && let Some(session) = self.session.upgrade()
        {
            session.close(worker, DisconnectReason::ForcedClose);
        }
    }
}

impl Conversation for BareConversation {
    fn text(&self, worker: &Rc<Worker>, text: &str) {
        self.on_message(worker, Message::Text(text));
    }

    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]) {
        self.on_message(worker, Message::Binary(bytes));
    }

    fn closed(&self, _worker: &Rc<Worker>, reason: DisconnectReason) {
        let _panicked = guarded(|| self.service.functions.load().on_close(&self.socket, reason));
    }

    fn on_timer(&self, _worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
        None
    }
}
