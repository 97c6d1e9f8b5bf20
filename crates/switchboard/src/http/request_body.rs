//! Reading the body of a request, bounded in bytes, pieces and time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;

use super::{Answer, body_refused, plain, refused};

/// Bytes of a body over the limit that are read and dropped before it is refused, so that a client that has
/// sent most of it reads the answer rather than a reset.
const DROPPED_BYTES: usize = 1 << 20;

/// How much of a body is read.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes; a longer one is refused with a 413.
    pub max_bytes: usize,
    /// Pieces in which it may arrive; one in more is refused with a 413.
    pub max_pieces: usize,
    /// Time in which it has to arrive, from its head on; one that takes longer is refused with a 408.
    pub timeout: Duration,
}

/// The reason why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyRefusal {
    /// It is longer than it may be.
    TooLarge,
    /// It came in more pieces than it may.
    TooManyPieces,
    /// It did not come in time.
    Late,
    /// It stopped coming.
    Gone,
}

impl BodyRefusal {
    /// The answer: 413, 408 or 400. The connection ends with it, as the rest of the body is not read.
    pub fn answer(self) -> Answer {
        let (status, reason) = match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload too large"),
            Self::TooManyPieces => (StatusCode::PAYLOAD_TOO_LARGE, "payload in too many pieces"),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "body timeout"),
            Self::Gone => return plain(StatusCode::BAD_REQUEST, "incomplete body\n"),
        };
        refused("http", reason);
        body_refused(status)
    }
}

/// A body that is being read.
pub(crate) struct Reading<F> {
    collecting: F,
    timeout: Duration,
}

/// The length that a request's head has for its body, if any.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Begins to read a body. `length`: what its head says of it.
pub(crate) fn read<B>(
    length: Option<usize>,
    body: B,
    limits: BodyLimits,
) -> Reading<impl Future<Output = Result<Bytes, BodyRefusal>>>
where
    B: Body<Data = Bytes>,
{
    let is_over = length.is_some_and(|length| length > limits.max_bytes.saturating_add(DROPPED_BYTES));
    let collecting =
        async move { if is_over { Err(BodyRefusal::TooLarge) } else { collect(body, limits).await } };
    Reading { collecting, timeout: limits.timeout }
}

impl<F: Future<Output = Result<Bytes, BodyRefusal>>> Reading<F> {
    /// The body, if it came with the head of its request: that needs no timer. Else `begin` is asked before
    /// the rest is awaited.
    pub(crate) async fn whole<E>(
        self,
        begin: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<Result<Bytes, BodyRefusal>, E> {
        let mut collecting = pin!(self.collecting);
        if let Poll::Ready(read) = poll_once(collecting.as_mut()).await {
            return Ok(read);
        }
        begin().await?;
        Ok(tokio::time::timeout(self.timeout, collecting).await.unwrap_or(Err(BodyRefusal::Late)))
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

async fn collect<B: Body<Data = Bytes>>(body: B, limits: BodyLimits) -> Result<Bytes, BodyRefusal> {
    let limit = limits.max_bytes;
    let (mut body, mut pieces) = (pin!(body), 0_usize);
    let (mut first, mut rest, mut length) = (Bytes::new(), Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_broken| BodyRefusal::Gone)?.into_data() else { continue };
        length = length.saturating_add(data.len());
        pieces += 1;
        if pieces > limits.max_pieces {
            return Err(BodyRefusal::TooManyPieces);
        }
        if length > limit.saturating_add(DROPPED_BYTES) {
            break;
        } else if length > limit {
            (first, rest) = (Bytes::new(), Vec::new());
        } else if first.is_empty() && rest.is_empty() {
            // Mostly there is but one piece.
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    match length {
        _ if length > limit => Err(BodyRefusal::TooLarge),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.into()),
    }
}
