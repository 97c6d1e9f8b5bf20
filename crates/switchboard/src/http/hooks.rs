//! Functions of the user around each request of an endpoint: further headers of answers, and requests that
//! were refused.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::Peer;
use crate::functions::guarded;

/// Adds headers to an answer. It sees the head of the request.
#[derive(Clone)]
pub struct HeadersHook(Arc<AddHeaders>);

type AddHeaders = dyn Fn(&mut HeaderMap, &Parts) + Send + Sync;

impl HeadersHook {
    /// The hook that calls this function. Where it panics, no header is added.
    pub fn new(add: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        Self(Arc::new(add))
    }

    pub(crate) fn add(&self, headers: &mut HeaderMap, head: &Parts) {
        let mut added = HeaderMap::new();
        if guarded(|| (self.0)(&mut added, head)).is_some() {
            headers.extend(added);
        }
    }
}

impl fmt::Debug for HeadersHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadersHook").finish_non_exhaustive()
    }
}

/// A request that was refused by its head (`connection_error` of Node).
#[derive(Debug)]
#[non_exhaustive]
pub struct RefusedRequest<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// Where it came from.
    pub peer: Peer,
    /// The status of the answer.
    pub status: StatusCode,
    /// The code of Engine.IO: 0 transport unknown, 1 session id unknown, 2 bad handshake method, 3 bad
    /// request, 4 forbidden, 5 unsupported protocol version. `None`: the request was for a WebSocket, and no
    /// handshake of one.
    pub code: Option<u8>,
    /// The message that the client gets.
    pub message: &'a str,
}

/// Is told of each request that is refused.
#[derive(Clone)]
pub struct RefusedHook(Arc<dyn Fn(&RefusedRequest<'_>) + Send + Sync>);

impl RefusedHook {
    /// The hook that calls this function.
    pub fn new(tell: impl Fn(&RefusedRequest<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, refused: &RefusedRequest<'_>) {
        let _panicked = guarded(|| (self.0)(refused));
    }
}

impl fmt::Debug for RefusedHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedHook").finish_non_exhaustive()
    }
}
