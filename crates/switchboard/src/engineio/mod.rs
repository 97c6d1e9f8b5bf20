//! Engine.IO protocol 4, the server's end: sessions over polling and WebSocket, and the upgrade between them.
//!
//! [`EngineOptions`] are its options; a bare Engine.IO service is made by
//! [`Switchboard::engine`](crate::Switchboard::engine).

mod answers;
pub(crate) mod application;
pub(crate) mod bare;
mod cookie;
mod decide;
mod exchange;
pub(crate) mod ids;
mod limit;
mod options;
pub(crate) mod polling;
pub(crate) mod probe;
pub(crate) mod session;

use std::sync::Arc;

use switchboard_hub::Hub;
use switchboard_websocket::Limits;

pub(crate) use answers::too_many_sessions;
pub(crate) use application::Application;
pub use bare::{EngineService, EngineSocket};
pub use cookie::{SameSite, SessionCookie};
pub use ids::GenerateId;
use limit::SessionLimit;
pub(crate) use limit::TooManySessions;
pub use options::{EngineOptions, FullOutbox};

/// One Engine.IO endpoint.
pub(crate) struct EngineServer {
    pub(crate) options: EngineOptions,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) sessions: SessionLimit,
}

/// Begins a text message: its packet's type.
pub(crate) fn begin_message(out: &mut Vec<u8>) {
    out.push(b'4');
}

impl EngineServer {
    pub(crate) fn new(options: EngineOptions, application: Arc<dyn Application>, hub: Arc<Hub>) -> Self {
        let sessions = SessionLimit::new(&options);
        Self { options, application, hub, sessions }
    }

    pub(crate) fn websocket_limits(&self) -> Limits {
        let max = self.options.max_payload;
        Limits::DEFAULT.max_message_bytes(max).max_frame_bytes(max)
    }
}
