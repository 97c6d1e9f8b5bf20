//! Acknowledgements that the server awaits of a client.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use serde::de::DeserializeOwned;
use switchboard_hub::AnswerSender;
use switchboard_protocol::socketio::Args;
use tokio::sync::oneshot;

use super::answers::write_answer;
use crate::AckError;

pub(crate) type AckResult = Result<Args, AckError>;

/// Where an acknowledgement goes. If it is dropped, the asker sees that the socket is disconnected.
pub(crate) enum AckReply {
    /// To one who asked this socket alone.
    One(oneshot::Sender<AckResult>),
    /// To one who asked many.
    Many(AnswerSender),
}

impl AckReply {
    pub(crate) fn send(self, result: AckResult) {
        match self {
            // The asker may have gone.
            Self::One(reply) => drop(reply.send(result)),
            Self::Many(reply) => reply.send(write_answer(result)),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::One(reply) => reply.is_closed(),
            Self::Many(reply) => reply.is_closed(),
        }
    }
}

struct Pending {
    reply: AckReply,
    timeout: Duration,
    deadline: Instant,
}

/// The acknowledgements awaited of one socket.
#[derive(Default)]
pub(crate) struct Acks {
    next: u64,
    pending: HashMap<u64, Pending, foldhash::fast::RandomState>,
}

impl Acks {
    /// Awaits one more; returns its id.
    pub(crate) fn insert(
        &mut self,
        deadline: Instant,
        timeout: Duration,
        reply: AckReply,
        limit: usize,
    ) -> Result<u64, AckReply> {
        if self.pending.len() >= limit {
            // Those that nobody awaits any more make room.
            self.pending.retain(|_, pending| !pending.reply.is_closed());
        }
        if self.pending.len() >= limit {
            return Err(reply);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.pending.insert(id, Pending { reply, timeout, deadline });
        Ok(id)
    }

    /// Takes the one with this id. `None`: it was not asked for, has come before, or too late.
    pub(crate) fn take(&mut self, id: u64) -> Option<AckReply> {
        self.pending.remove(&id).map(|pending| pending.reply)
    }

    /// Fails those whose time is over; returns when the next one's is.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        for (_, pending) in self.pending.extract_if(|_, pending| pending.deadline <= now) {
            metrics::counter!("switchboard_ack_timeouts_total").increment(1);
            pending.reply.send(Err(AckError::Timeout(pending.timeout)));
        }
        self.pending.values().map(|pending| pending.deadline).min()
    }
}

/// An acknowledgement that is awaited: ready with what the client acknowledged with, as a `T`.
///
/// The event has been sent whether or not this is awaited. Dropping it gives the acknowledgement up.
#[must_use = "the acknowledgement is lost unless this is awaited"]
#[derive(Debug)]
pub struct AckFuture<T> {
    reply: Result<oneshot::Receiver<AckResult>, Option<AckError>>,
    marker: PhantomData<fn() -> T>,
}

impl<T> AckFuture<T> {
    pub(crate) fn new(reply: Result<oneshot::Receiver<AckResult>, AckError>) -> Self {
        Self { reply: reply.map_err(Some), marker: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.reply {
            Ok(reply) => std::task::ready!(Pin::new(reply).poll(cx)).unwrap_or(Err(AckError::Disconnected)),
            Err(error) => Err(error.take().unwrap_or(AckError::Disconnected)),
        };
        Poll::Ready(result.and_then(|args| args.get().map_err(AckError::from)))
    }
}
