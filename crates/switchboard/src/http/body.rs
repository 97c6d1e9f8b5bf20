//! The bodies of answers, and the service behind ours that gives some of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;

/// The body of a response: our own, whole, or the inner service's.
pub type ResponseBody<B> = Either<Full<Bytes>, B>;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type FallbackBody = UnsyncBoxBody<Bytes, BoxError>;
type FallbackFuture = Pin<Box<dyn Future<Output = Result<Response<FallbackBody>, BoxError>> + Send>>;

/// The service that gets the requests which are not ours.
#[derive(Clone)]
pub(crate) struct Fallback {
    call: Arc<dyn Fn(Request<Incoming>) -> FallbackFuture + Send + Sync>,
}

impl Fallback {
    pub(crate) fn new<S, R>(service: S) -> Self
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let call = move |request| -> FallbackFuture {
            let mut service = service.clone();
            Box::pin(async move {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request).await.map_err(Into::into)?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        };
        Self { call: Arc::new(call) }
    }

    pub(crate) fn call(&self, request: Request<Incoming>) -> FallbackFuture {
        (self.call)(request)
    }
}
