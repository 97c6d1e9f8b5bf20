//! Files below a path: the bundles of the official client.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, ETAG, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Uri};

use super::cors::Origins;
use super::etag::is_fresh;
use super::mount::{Decision, Mount, RequestHead};
use super::{Answer, answer, plain};

/// A file served below the path of an endpoint, such as the client's bundle `socket.io.js`.
#[derive(Debug, Clone)]
pub struct ClientFile {
    /// Its name below the path.
    pub name: &'static str,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The `ETag`, quotes included.
    pub etag: HeaderValue,
    /// The content.
    pub body: bytes::Bytes,
}

/// The files below one path. Pages of listed origins may read them (CORS), as the answers of the endpoint
/// there.
pub(crate) struct Files {
    pub(crate) files: Arc<[ClientFile]>,
    pub(crate) origins: Origins,
}

impl Mount for Files {
    fn takes(&self, rest: &str, _target: &Uri) -> bool {
        self.files.iter().any(|file| file.name == rest)
    }

    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let Some(file) = self.files.iter().find(|file| file.name == head.rest) else { return Decision::Pass };
        let mut answer = serve(file, &self.origins, head.parts);
        self.origins.add_headers(head.parts.headers.get(ORIGIN), answer.headers_mut());
        Decision::Answer(answer)
    }
}

fn serve(file: &ClientFile, origins: &Origins, parts: &Parts) -> Answer {
    if parts.method == Method::OPTIONS && parts.headers.contains_key(ORIGIN) {
        return origins.preflight(&parts.headers);
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    let mut answer = if is_fresh(&parts.headers, &file.etag) {
        let mut answer = Response::new(super::Body::default());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        answer(StatusCode::OK, file.content_type, file.body.clone())
    };
    answer.headers_mut().insert(ETAG, file.etag.clone());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    answer
}
