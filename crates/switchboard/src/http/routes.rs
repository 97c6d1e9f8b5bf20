//! Which endpoint a path belongs to.

use std::sync::Arc;

use crate::engineio::EngineServer;
use crate::websocket::RawService;

/// The endpoints, by their paths. Replaced as a whole when one is added.
#[derive(Clone, Default)]
pub(crate) struct Routes {
    engines: Vec<Arc<EngineServer>>,
    websockets: Vec<Arc<RawService>>,
}

/// What a path leads to.
#[derive(Clone)]
pub(crate) enum Route {
    Engine(Arc<EngineServer>),
    /// A file below an engine's path: the client's bundle.
    Client(Arc<EngineServer>, usize),
    WebSocket(Arc<RawService>),
}

impl Routes {
    pub(crate) fn add_engine(&mut self, engine: Arc<EngineServer>) {
        self.engines.retain(|other| other.options.path != engine.options.path);
        self.engines.push(engine);
    }

    pub(crate) fn add_websocket(&mut self, service: Arc<RawService>) {
        self.websockets.retain(|other| other.path() != service.path());
        self.websockets.push(service);
    }

    pub(crate) fn find(&self, path: &str) -> Option<Route> {
        if let Some(service) = self.websockets.iter().find(|service| service.path() == path) {
            return Some(Route::WebSocket(Arc::clone(service)));
        }
        // `/socket.io` with and without its slash, as Node takes both.
        self.engines.iter().find_map(|engine| {
            let rest = path.strip_prefix(engine.options.path.trim_end_matches('/'))?;
            match rest {
                "" | "/" => Some(Route::Engine(Arc::clone(engine))),
                _ => {
                    let file = rest.strip_prefix('/')?;
                    let at = engine.options.client_files.iter().position(|known| known.name == file)?;
                    Some(Route::Client(Arc::clone(engine), at))
                }
            }
        })
    }
}
