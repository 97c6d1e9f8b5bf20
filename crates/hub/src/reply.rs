//! Replies to requests, and how they are collected: one from each worker that was asked.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::question::{Answer, TakeAnswer};
use crate::{MemberId, RoomName};

/// A member, as other workers and nodes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketInfo {
    /// Its id.
    pub id: MemberId,
    /// The rooms that it has joined, without the room of its own id.
    pub rooms: Vec<RoomName>,
    /// The bytes by which its protocol describes it: see [`Endpoint::snapshot`](crate::Endpoint::snapshot).
    pub snapshot: Vec<u8>,
}

/// The answer to a request: of one worker, of one node, or of all together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// To [`Request::Fetch`](crate::Request::Fetch).
    Sockets(Vec<SocketInfo>),
    /// To [`Request::Count`](crate::Request::Count).
    Count(u64),
    /// To [`Request::Emit`](crate::Request::Emit): one value of each node's application.
    Values(Vec<Bytes>),
    /// To [`Request::Ask`](crate::Request::Ask): the members that were asked.
    Asked(Vec<MemberId>),
    /// Answers of members that were asked. They come by themselves, before or after [`Asked`](Self::Asked).
    Answers(Vec<Answer>),
}

impl Reply {
    /// Both replies as one: lists are appended, counts are added. If the kinds differ, the first reply stays.
    fn and(self, other: Reply) -> Reply {
        match (self, other) {
            (Reply::Sockets(mut all), Reply::Sockets(more)) => {
                all.extend(more);
                Reply::Sockets(all)
            }
            (Reply::Values(mut all), Reply::Values(more)) => {
                all.extend(more);
                Reply::Values(all)
            }
            (Reply::Asked(mut all), Reply::Asked(more)) => {
                all.extend(more);
                Reply::Asked(all)
            }
            (Reply::Count(one), Reply::Count(more)) => Reply::Count(one.saturating_add(more)),
            (first, _) => first,
        }
    }
}

/// The replies that have come, as one, and how many they were.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) count: usize,
    pub(crate) reply: Option<Reply>,
}

/// Called with the replies when no further reply can come.
type Done = Box<dyn FnOnce(Replies) + Send>;

struct Collected {
    replies: Mutex<Replies>,
    done: Mutex<Option<Done>>,
}

impl Drop for Collected {
    fn drop(&mut self) {
        let replies = std::mem::take(self.replies.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(done) = self.done.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            done(replies);
        }
    }
}

/// Sends a reply to the asker. Each worker, node or application that is asked has one. If it is dropped, no
/// reply comes from there.
#[derive(Clone)]
pub struct ReplySender {
    collected: Arc<Collected>,
    /// Takes the answers of members that are asked.
    answers: Option<Arc<dyn TakeAnswer>>,
}

impl ReplySender {
    pub(crate) fn new(done: impl FnOnce(Replies) + Send + 'static) -> Self {
        let done: Done = Box::new(done);
        let collected = Arc::new(Collected { replies: Mutex::default(), done: Mutex::new(Some(done)) });
        Self { collected, answers: None }
    }

    /// The same sender, with a place for the answers of members.
    pub(crate) fn with_answers(self, answers: Arc<dyn TakeAnswer>) -> Self {
        Self { answers: Some(answers), ..self }
    }

    pub(crate) fn answers(&self) -> Option<Arc<dyn TakeAnswer>> {
        self.answers.clone()
    }

    /// A sender, and the receiver that gets the replies when the last clone of the sender is gone.
    pub(crate) fn channel() -> (Self, oneshot::Receiver<Replies>) {
        let (sender, receiver) = oneshot::channel();
        (Self::new(move |replies| drop(sender.send(replies))), receiver)
    }

    /// Sends a reply.
    pub fn send(self, reply: Reply) {
        let mut replies = self.collected.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.count += 1;
        replies.reply = Some(match replies.reply.take() {
            None => reply,
            Some(before) => before.and(reply),
        });
    }
}

impl std::fmt::Debug for ReplySender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplySender").finish_non_exhaustive()
    }
}
