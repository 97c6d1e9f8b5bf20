//! What talks over sessions: Socket.IO, or a bare Engine.IO service.

use std::rc::Rc;
use std::time::Instant;

use switchboard_hub::Worker;

use super::session::EngineSession;
use crate::DisconnectReason;

/// What talks over sessions: Socket.IO, or a bare Engine.IO service.
pub(crate) trait Application: Send + Sync + 'static {
    /// A session has opened.
    fn open(&self, worker: &Rc<Worker>, session: &Rc<EngineSession>) -> Rc<dyn Conversation>;
}

/// The application's side of one session.
pub(crate) trait Conversation: 'static {
    /// The session takes what is sent now. Called in protocol 3 alone, whose clients are in namespace `/` without
    /// asking.
    fn opened(&self, _worker: &Rc<Worker>) {}
    /// A text message.
    fn text(&self, worker: &Rc<Worker>, text: &str);
    /// A binary message.
    fn binary(&self, worker: &Rc<Worker>, bytes: &[u8]);
    /// The session has closed; nothing more will come.
    fn closed(&self, worker: &Rc<Worker>, reason: DisconnectReason);
    /// A deadline of the application's own may have come. Returns the next one.
    fn on_timer(&self, worker: &Rc<Worker>, now: Instant) -> Option<Instant>;
}
