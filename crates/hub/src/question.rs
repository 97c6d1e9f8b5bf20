//! Messages that ask their members for an answer: who was asked, and the answers as they come.
//!
//! A question is a [`Request`] whose [`Reply`] says who was asked. The answers come after it, one by one,
//! from each worker and each node. So a question that is over has all answers that came before its time was
//! over.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::bus::{AskedNodes, Bus, ReplyTo};
use crate::hub::Hub;
use crate::reply::{Replies, Reply, ReplySender};
use crate::request::{Broadcast, Request};
use crate::worker::Worker;
use crate::{HubError, MemberId, Payload};

/// The answer of a member, in a form that the applications of all nodes agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The member.
    pub id: MemberId,
    /// The answer, or the reason why there is none.
    pub value: Result<Bytes, NoAnswer>,
}

/// The reason why a member that was asked has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoAnswer {
    /// It did not answer in time.
    TimedOut,
    /// It went before it answered.
    Gone,
    /// So many answers of it are awaited already. It was not sent the message.
    TooMany(u64),
    /// Its outbox is full. It was not sent the message.
    OutboxFull {
        /// Bytes that wait.
        bytes: u64,
        /// The bound that was met.
        limit: u64,
    },
    /// Its answer is not what an answer has to be, for this reason.
    Malformed(String),
}

/// All that is known of a question when all have answered or its time is over.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answered {
    /// One answer of each member that was asked, in no order.
    pub answers: Vec<Answer>,
    /// Workers and nodes that did not say whom they asked.
    pub missing: usize,
}

/// Takes the answers of members, on any thread.
pub(crate) trait TakeAnswer: Send + Sync {
    fn take(&self, answer: Answer);

    /// Whether nobody awaits answers any more.
    fn is_closed(&self) -> bool;
}

/// A message that asks a member for an answer, as [`Endpoint::ask`](crate::Endpoint::ask) gets it.
pub struct Asking<'a> {
    /// The message.
    pub payload: &'a dyn Payload,
    /// How long the answer is awaited.
    pub timeout: Duration,
    id: MemberId,
    answers: &'a Arc<dyn TakeAnswer>,
}

impl Asking<'_> {
    /// A sender for the member's answer.
    pub fn answer(&self) -> AnswerSender {
        AnswerSender { id: self.id, answers: Some(Arc::clone(self.answers)) }
    }
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("id", &self.id).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Sends the answer of one member to the asker. If it is dropped unused, the answer is [`NoAnswer::Gone`].
pub struct AnswerSender {
    id: MemberId,
    answers: Option<Arc<dyn TakeAnswer>>,
}

impl AnswerSender {
    /// Sends the answer, or the reason why there is none.
    pub fn send(mut self, value: Result<Bytes, NoAnswer>) {
        if let Some(answers) = self.answers.take() {
            answers.take(Answer { id: self.id, value });
        }
    }

    /// Whether nobody awaits the answer any more, as far as this node knows.
    pub fn is_closed(&self) -> bool {
        self.answers.as_ref().is_none_or(|answers| answers.is_closed())
    }
}

impl Drop for AnswerSender {
    fn drop(&mut self) {
        if let Some(answers) = self.answers.take() {
            answers.take(Answer { id: self.id, value: Err(NoAnswer::Gone) });
        }
    }
}

impl std::fmt::Debug for AnswerSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerSender").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The answers to a question of this node. The asker is woken once: when all are there.
#[derive(Default)]
struct Collected {
    state: Mutex<State>,
    complete: Notify,
}

#[derive(Default)]
struct State {
    answers: Vec<Answer>,
    /// How many members were asked, once all workers and nodes have said so.
    asked: Option<usize>,
}

impl State {
    fn is_complete(&self) -> bool {
        self.asked.is_some_and(|asked| self.answers.len() >= asked)
    }
}

impl Collected {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let is_complete = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            state.is_complete()
        };
        if is_complete {
            self.complete.notify_one();
        }
    }
}

/// The answers go to a question of this node, if it is still awaited.
struct ToQuestion(Weak<Collected>);

impl TakeAnswer for ToQuestion {
    fn take(&self, answer: Answer) {
        if let Some(collected) = self.0.upgrade() {
            collected.change(|state| state.answers.push(answer));
        }
    }

    fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The answers go to the node that asked.
pub(crate) struct ToNode {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) to: ReplyTo,
}

impl TakeAnswer for ToNode {
    fn take(&self, answer: Answer) {
        if self.bus.reply(self.to, &Reply::Answers(vec![answer])).is_err() {
            metrics::counter!("switchboard_bus_full_total").increment(1);
        }
    }

    fn is_closed(&self) -> bool {
        false
    }
}

/// The answers go to nobody.
struct ToNobody;

impl TakeAnswer for ToNobody {
    fn take(&self, _answer: Answer) {}

    fn is_closed(&self) -> bool {
        true
    }
}

/// A question that was asked. Made by [`Hub::ask_members`].
#[must_use = "the answers are lost unless they are awaited"]
pub struct Question {
    collected: Arc<Collected>,
    replies: oneshot::Receiver<Replies>,
    /// Workers and nodes that say whom they ask.
    expected: usize,
    nodes: Option<AskedNodes>,
    deadline: Instant,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Hub {
    /// Sends a message to members, and asks each for an answer. The answers are awaited for `timeout`, at
    /// most 30 years. The message is sent when this returns, whether or not [the
    /// answers](Question::answers) are awaited. Members that [cannot answer](crate::Endpoint::ask) are not
    /// sent the message.
    ///
    /// # Errors
    /// As [`request`](Self::request): the other workers and nodes have been sent to.
    pub fn ask_members(&self, broadcast: Broadcast, timeout: Duration) -> Result<Question, HubError> {
        let deadline = Worker::deadline(timeout);
        let collected = Arc::new(Collected::default());
        let (sender, replies) = ReplySender::channel();
        let sender = sender.with_answers(Arc::new(ToQuestion(Arc::downgrade(&collected))));
        let request = Request::Ask { broadcast: Arc::new(broadcast), timeout };
        let here = self.concerned(&request);
        let nodes = self.ask_nodes(&request, &sender);
        self.request_workers(request, Some(sender))?;
        let nodes = nodes?;
        let expected = here + nodes.as_ref().map_or(0, |nodes| nodes.nodes);
        Ok(Question { collected, replies, expected, nodes, deadline })
    }
}

impl Question {
    /// Awaits the answers. It returns when all members that were asked have answered or have gone, or when
    /// the question's time is over. A member that has not answered then is [`NoAnswer::TimedOut`].
    ///
    /// The workers of this node keep the time of their own members. If there are other nodes, a tokio runtime
    /// with time is needed. Cancel safe: if the future is dropped, the answers are dropped as they come.
    pub async fn answers(self) -> Answered {
        let Self { collected, mut replies, expected, nodes, deadline } = self;
        let mut told = None;
        let all = async {
            let replies = (&mut replies).await.unwrap_or_default();
            collected.change(|state| state.asked = Some(replies.asked().len()));
            told = Some(replies);
            collected.complete.notified().await;
        };
        if let Some(nodes) = nodes {
            let _over = tokio::time::timeout_at(deadline.into(), all).await;
            // From here on other nodes are not awaited.
            drop(nodes);
        } else {
            all.await;
        }
        let told = match told {
            Some(told) => told,
            None => replies.await.unwrap_or_default(),
        };
        collected.end(&told, expected)
    }
}

impl Collected {
    /// The answers that have come. Those who were asked and have not answered are late.
    fn end(&self, told: &Replies, expected: usize) -> Answered {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = std::mem::take(&mut state.answers);
        let asked = told.asked();
        if answers.len() < asked.len() {
            let answered: HashSet<_> = answers.iter().map(|answer| answer.id).collect();
            let late = asked.iter().filter(|id| !answered.contains(id));
            answers.extend(late.map(|&id| Answer { id, value: Err(NoAnswer::TimedOut) }));
        }
        Answered { answers, missing: expected.saturating_sub(told.count) }
    }
}

impl Replies {
    /// Who was asked.
    fn asked(&self) -> &[MemberId] {
        match &self.reply {
            Some(Reply::Asked(asked)) => asked,
            _ => &[],
        }
    }
}

impl Worker {
    /// Asks the members of this worker, and returns who was asked.
    pub(crate) fn ask(
        self: &Rc<Self>,
        broadcast: &Broadcast,
        timeout: Duration,
        reply: Option<&ReplySender>,
    ) -> Reply {
        let answers = reply.and_then(ReplySender::answers).unwrap_or_else(|| Arc::new(ToNobody));
        let mut asked = Vec::new();
        for (id, endpoint) in self.endpoints(&broadcast.target) {
            let asking = Asking { payload: &*broadcast.payload, timeout, id, answers: &answers };
            if self.catch_panic("a question", || endpoint.ask(self, &asking)).unwrap_or_default() {
                asked.push(id);
            }
        }
        Reply::Asked(asked)
    }
}
