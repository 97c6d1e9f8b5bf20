//! The bodies of answers, and the service behind ours that gives some of them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Pieces of a body that may wait to be sent.
const WAITING_PIECES: usize = 4;

/// Bytes of one piece of a body at most: of a longer one several are made.
const PIECE_BYTES: usize = 64 << 10;

/// The body of one of our answers: whole, or in pieces that come one after the other.
#[derive(Debug)]
pub struct Body(pub(crate) BodyKind);

#[derive(Debug)]
pub(crate) enum BodyKind {
    Whole(Bytes),
    Pieces(mpsc::Receiver<Bytes>),
}

impl Body {
    /// A body in pieces, and where they are written.
    pub fn pieces() -> (BodyWriter, Self) {
        let (pieces, received) = mpsc::channel(WAITING_PIECES);
        (BodyWriter { pieces }, Self(BodyKind::Pieces(received)))
    }

    /// The body, if it is whole.
    pub(crate) fn as_whole(&self) -> Option<&Bytes> {
        match &self.0 {
            BodyKind::Whole(bytes) => Some(bytes),
            BodyKind::Pieces(_) => None,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self(BodyKind::Whole(Bytes::new()))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(BodyKind::Whole(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            BodyKind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            BodyKind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            BodyKind::Pieces(pieces) => {
                pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, BodyKind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyKind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodyKind::Pieces(_) => SizeHint::default(),
        }
    }
}

/// Writes the body of an answer, piece by piece. Dropped: the body is at its end. At most four pieces of at
/// most 64 KiB wait until the client takes them.
#[derive(Debug)]
pub struct BodyWriter {
    pub(crate) pieces: mpsc::Sender<Bytes>,
}

/// A piece of a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// As much waits as may: see [`BodyWriter::ready`].
    #[error("the client does not take the answer as fast as it is written")]
    Full,
    /// The client has left.
    #[error("the client has left")]
    Gone,
}

impl BodyWriter {
    /// Sends as much of `bytes` as is taken now, which is taken off them.
    ///
    /// # Errors
    /// [`Full`](BodyError::Full) where some are left, [`Gone`](BodyError::Gone) where nobody takes any.
    pub fn send(&self, bytes: &mut Bytes) -> Result<(), BodyError> {
        while !bytes.is_empty() {
            let room = self.pieces.try_reserve().map_err(|error| match error {
                TrySendError::Full(()) => BodyError::Full,
                TrySendError::Closed(()) => BodyError::Gone,
            })?;
            room.send(bytes.split_to(bytes.len().min(PIECE_BYTES)));
        }
        Ok(())
    }

    /// Returns when a piece may be sent. Cancel safe.
    ///
    /// # Errors
    /// [`Gone`](BodyError::Gone).
    pub async fn ready(&self) -> Result<(), BodyError> {
        self.pieces.reserve().await.map(drop).map_err(|_closed| BodyError::Gone)
    }

    /// Returns when the client has left.
    pub async fn gone(&self) {
        self.pieces.closed().await;
    }
}

pin_project! {
    /// The body of a response: one of our own, or the inner service's.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        body: Either<Body, B>,
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn own(body: Body) -> Self {
        Self { body: Either::Left(body) }
    }

    pub(crate) fn inner(body: B) -> Self {
        Self { body: Either::Right(body) }
    }
}

impl<B> http_body::Body for ResponseBody<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
