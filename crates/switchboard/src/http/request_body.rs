//! Reading the body of a request, bounded in bytes, pieces and time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

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

pin_project! {
    /// A body that is being read.
    pub(crate) struct Reading<B> {
        #[pin]
        body: B,
        limits: BodyLimits,
        // By its head it is longer than is read and dropped.
        is_over: bool,
        pieces: usize,
        length: usize,
        // Mostly there is but one piece.
        first: Bytes,
        rest: Vec<u8>,
    }
}

impl<B: Body<Data = Bytes>> Reading<B> {
    /// `headers`: those of its request.
    pub(crate) fn new(headers: &HeaderMap, body: B, limits: BodyLimits) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let most = limits.max_bytes.saturating_add(DROPPED_BYTES);
        let is_over = length.is_some_and(|length: usize| length > most);
        Self { body, limits, is_over, pieces: 0, length: 0, first: Bytes::new(), rest: Vec::new() }
    }

    /// Takes the pieces that have come. Ready when the body is whole, or refused.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyRefusal>> {
        let BodyLimits { max_bytes, max_pieces, .. } = self.limits;
        let mut this = self.project();
        if *this.is_over {
            return Poll::Ready(Err(BodyRefusal::TooLarge));
        }
        while let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) {
            let Ok(frame) = frame else { return Poll::Ready(Err(BodyRefusal::Gone)) };
            let Ok(data) = frame.into_data() else { continue };
            *this.length = this.length.saturating_add(data.len());
            *this.pieces += 1;
            if *this.pieces > max_pieces {
                return Poll::Ready(Err(BodyRefusal::TooManyPieces));
            }
            if *this.length > max_bytes.saturating_add(DROPPED_BYTES) {
                break;
            } else if *this.length > max_bytes {
                (*this.first, *this.rest) = (Bytes::new(), Vec::new());
            } else if this.first.is_empty() && this.rest.is_empty() {
                *this.first = data;
            } else {
                this.rest.extend_from_slice(&std::mem::take(this.first));
                this.rest.extend_from_slice(&data);
            }
        }
        Poll::Ready(match *this.length {
            length if length > max_bytes => Err(BodyRefusal::TooLarge),
            _ if this.rest.is_empty() => Ok(std::mem::take(this.first)),
            _ => Ok(std::mem::take(this.rest).into()),
        })
    }

    /// Reads what has come with the head of the request: where that is all, no timer is needed.
    pub(crate) async fn at_once(mut self: Pin<&mut Self>) -> Poll<Result<Bytes, BodyRefusal>> {
        poll_fn(|cx| Poll::Ready(self.as_mut().poll(cx))).await
    }

    /// Reads to the end of the body, within the time that there is for it.
    pub(crate) async fn in_time(mut self: Pin<&mut Self>) -> Result<Bytes, BodyRefusal> {
        let timeout = self.limits.timeout;
        let read = tokio::time::timeout(timeout, poll_fn(|cx| self.as_mut().poll(cx))).await;
        read.unwrap_or(Err(BodyRefusal::Late))
    }
}
