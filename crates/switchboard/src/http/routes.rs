//! Which endpoint a path belongs to.

use std::sync::Arc;

use http::Uri;

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
        let is_another =
            |other: &Arc<EngineServer>| !segments(&other.options.path).eq(segments(&engine.options.path));
        self.engines.retain(is_another);
        self.engines.push(engine);
    }

    pub(crate) fn add_websocket(&mut self, service: Arc<RawService>) {
        self.websockets.retain(|other| other.path() != service.path());
        self.websockets.push(service);
    }

    pub(crate) fn find(&self, target: &Uri) -> Option<Route> {
        let path = target.path();
        if let Some(service) = self.websockets.iter().find(|service| service.path() == path) {
            return Some(Route::WebSocket(Arc::clone(service)));
        }
        // An endpoint has the requests of its clients that are below its path, as in Node: the longest path that a request's begins with counts.
        let below =
            self.engines.iter().filter_map(|engine| Some((engine, below(&engine.options.path, path)?)));
        let (engine, rest) = below.max_by_key(|(engine, _)| segments(&engine.options.path).count())?;
        let at = engine.options.client_files.iter().position(|known| known.name == rest);
        match at {
            Some(at) => Some(Route::Client(Arc::clone(engine), at)),
            None if rest.is_empty() || target.query().is_some_and(|query| query.contains("transport=")) => {
                Some(Route::Engine(Arc::clone(engine)))
            }
            None => None,
        }
    }
}

/// The names between the slashes of a path. Slashes at its ends, and several in a row, make no difference.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The part of `path` below an endpoint's. Below `/` there is nothing but itself: everything else would be.
fn below<'a>(endpoint: &str, path: &'a str) -> Option<&'a str> {
    let mut rest = path.trim_start_matches('/');
    for segment in segments(endpoint) {
        rest = rest.strip_prefix(segment).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        rest = rest.trim_start_matches('/');
    }
    (rest.is_empty() || segments(endpoint).next().is_some()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_what_is_below_its_path_whatever_the_slashes() {
        for (endpoint, path, rest) in [
            ("/socket.io", "/socket.io", Some("")),
            ("/socket.io", "/socket.io/", Some("")),
            ("/socket.io", "/socket.io//", Some("")),
            ("/socket.io", "//socket.io/", Some("")),
            ("/socket.io/", "/socket.io", Some("")),
            ("/socket.io", "/socket.io/socket.io.js", Some("socket.io.js")),
            ("/socket.io", "/socket.io//socket.io.js", Some("socket.io.js")),
            ("/socket.io", "/socket.io/any/thing", Some("any/thing")),
            ("/a//b/", "/a/b", Some("")),
            ("/a/b", "/a//b/c", Some("c")),
            ("/", "/", Some("")),
            ("/", "/socket.io", None),
            ("/socket.io", "/", None),
            ("/socket.io", "/socket.io2/", None),
            ("/socket.io", "/socket", None),
            ("/socket.io", "/Socket.io/", None),
            ("/a/b", "/ab", None),
            ("/a/b", "/a", None),
            ("/socket.io", "*", None),
        ] {
            assert_eq!(below(endpoint, path), rest, "{endpoint} {path}");
        }
    }
}
