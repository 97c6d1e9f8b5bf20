//! A request that a worker answers: its body is read, the worker asked, the answer awaited.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use switchboard_hub::{Command, Hub, HubError, Worker, WorkerId};
use tokio::sync::oneshot;

use crate::http::mount::{Abandoned, Check, Decision, Exchange, Reply};
use crate::http::request_body::{self, BodyRefusal};
use crate::http::{Answer, plain};
use crate::server::Server;

/// Answers a request. `length`: of its body, where its head has one. `caller`: its client, which may leave meanwhile.
pub(super) async fn exchange<B>(
    hub: &Hub,
    exchange: Exchange,
    length: Option<usize>,
    body: B,
    caller: Option<Caller>,
) -> Answer
where
    B: Body<Data = Bytes> + Send,
{
    let Exchange { worker, body: limits, finish, unanswered, mut target, .. } = exchange;
    let worker = worker.unwrap_or_else(|| hub.next_worker());
    let read = match limits {
        None => {
            drop(body);
            Ok(Bytes::new())
        }
        Some(limits) => {
            let begin = async || match target.begin() {
                Some(check) => ask_check(hub, worker, check, unanswered).await,
                None => Ok(()),
            };
            match request_body::read(length, body, limits).whole(begin).await {
                Ok(read) => read,
                Err(refused) => {
                    Caller::answered(caller);
                    return finish.answer(refused);
                }
            }
        }
    };
    let bytes = read.as_ref().map_or(0, Bytes::len);
    let answer = match read {
        Ok(body) => {
            let run = move |worker: &Rc<Worker>, reply| target.run(worker, body, reply);
            ask(hub, worker, bytes, unanswered, run).await
        }
        // The client has left, as far as anyone knows: its caller is dropped unanswered.
        Err(BodyRefusal::Gone) => return finish.answer(BodyRefusal::Gone.answer()),
        Err(refusal) => {
            let refuse = move |worker: &Rc<Worker>, reply| target.refuse(worker, refusal, reply);
            ask(hub, worker, 0, unanswered, refuse).await
        }
    };
    Caller::answered(caller);
    finish.answer(answer)
}

/// Runs `f`, which holds so many bytes, on a worker: at once on its own thread, else when its inbox has room.
pub(super) async fn run_when_room(
    hub: &Hub,
    to: WorkerId,
    bytes: usize,
    f: impl FnOnce(&Rc<Worker>) + Send + 'static,
) -> Result<(), HubError> {
    if hub.here_in_order().is_some_and(|worker| worker.id() == to) {
        // In place: `run_on` does not go through the inbox on the worker's own thread.
        return hub.run_on(to, f);
    }
    hub.send_when_room(to, Command::run_holding(bytes, f)).await
}

/// Asks a worker for an answer, by an `f` that holds so many bytes.
async fn ask(
    hub: &Hub,
    to: WorkerId,
    bytes: usize,
    unanswered: fn() -> Answer,
    f: impl FnOnce(&Rc<Worker>, Reply) + Send + 'static,
) -> Answer {
    let (reply, answer) = Reply::channel();
    if run_when_room(hub, to, bytes, move |worker| f(worker, reply)).await.is_err() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    answer.await.unwrap_or_else(|_dropped| unanswered())
}

/// Asks a worker for leave to go on. The error is the answer.
pub(super) async fn ask_check(
    hub: &Hub,
    to: WorkerId,
    check: Check,
    unanswered: fn() -> Answer,
) -> Result<(), Answer> {
    let (answer, checked) = oneshot::channel();
    let asked = run_when_room(hub, to, 0, move |worker| {
        let _gone = answer.send(check(worker));
    });
    asked.await.map_err(|_stopped| unanswered())?;
    checked.await.unwrap_or_else(|_stopped| Err(unanswered()))
}

/// The client of a request while its answer is awaited. Dropped before [`answered`](Self::answered): it has
/// left.
pub(super) struct Caller {
    hub: Arc<Hub>,
    abandoned: Abandoned,
}

impl Caller {
    pub(super) fn of(server: &Server, decision: &mut Decision) -> Option<Self> {
        let Decision::Exchange(exchange) = decision else { return None };
        let abandoned = std::mem::replace(&mut exchange.abandoned, Abandoned::Ignored);
        Some(Self { hub: Arc::clone(&server.hub), abandoned })
    }

    fn answered(caller: Option<Self>) {
        if let Some(mut caller) = caller {
            caller.abandoned = Abandoned::Ignored;
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.abandoned, Abandoned::Ignored) {
            Abandoned::Ignored => {}
            Abandoned::Session { worker, key, tell } => {
                // Where this does not get through, the session's own time-outs end it.
                let _late = self.hub.run_on(worker, move |worker| tell(worker, &key));
            }
            Abandoned::Other(tell) => tell(&self.hub),
        }
    }
}
