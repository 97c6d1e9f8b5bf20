//! A request that a worker answers: its body is read, the worker asked, the answer awaited.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use http_body::Body;
use switchboard_hub::{Command, Hub, HubError, Worker, WorkerId};
use tokio::sync::oneshot;

use crate::http::mount::{Abandoned, Check, Exchange, Reply};
use crate::http::request_body::{BodyRefusal, Reading};
use crate::http::{Answer, plain};
use crate::server::Server;

/// A request that a worker answers. Boxed as a whole, as it goes through many hands.
pub(super) struct Asked<B> {
    caller: Caller,
    exchange: Exchange,
    /// Its body, as far as that is read.
    reading: Option<Reading<B>>,
}

impl<B> Asked<B>
where
    B: Body<Data = Bytes> + Send,
{
    pub(super) fn new(server: &Arc<Server>, mut exchange: Exchange, parts: &Parts, body: B) -> Box<Self> {
        let abandoned = std::mem::replace(&mut exchange.abandoned, Abandoned::Ignored);
        let caller = Caller { server: Arc::clone(server), abandoned };
        let reading = exchange.body.map(|limits| Reading::new(&parts.headers, body, limits));
        Box::new(Self { caller, exchange, reading })
    }

    /// Its answer.
    pub(super) async fn answer(mut self: Box<Self>) -> Box<Answer> {
        let hub = &*self.caller.server.hub;
        let unanswered = self.exchange.unanswered;
        let worker = self.exchange.worker.unwrap_or_else(|| hub.next_worker());
        let read = match self.reading {
            None => Ok(Bytes::new()),
            Some(reading) => {
                let mut reading = pin!(reading);
                match reading.as_mut().at_once().await {
                    Poll::Ready(read) => read,
                    Poll::Pending => {
                        if let Some(check) = self.exchange.target.begin()
                            && let Err(refused) = ask_check(hub, worker, check, unanswered).await
                        {
                            self.caller.answered();
                            let mut refused = Box::new(refused);
                            self.exchange.finish.touch(&mut refused);
                            return refused;
                        }
                        reading.in_time().await
                    }
                }
            }
        };
        let target = self.exchange.target;
        let mut answer = match read {
            Ok(body) => {
                let bytes = body.len();
                let run = move |worker: &Rc<Worker>, reply| target.run(worker, body, reply);
                ask(hub, worker, bytes, unanswered, run).await
            }
            // The client has left, as far as anyone knows: its caller is dropped unanswered.
            Err(BodyRefusal::Gone) => {
                let mut answer = Box::new(BodyRefusal::Gone.answer());
                self.exchange.finish.touch(&mut answer);
                return answer;
            }
            Err(refusal) => {
                let refuse = move |worker: &Rc<Worker>, reply| target.refuse(worker, refusal, reply);
                ask(hub, worker, 0, unanswered, refuse).await
            }
        };
        self.caller.answered();
        self.exchange.finish.touch(&mut answer);
        answer
    }
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
) -> Box<Answer> {
    let (reply, answer) = Reply::channel();
    if run_when_room(hub, to, bytes, move |worker| f(worker, reply)).await.is_err() {
        return Box::new(plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"));
    }
    answer.await.unwrap_or_else(|_dropped| Box::new(unanswered()))
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
struct Caller {
    server: Arc<Server>,
    abandoned: Abandoned,
}

impl Caller {
    fn answered(mut self) {
        self.abandoned = Abandoned::Ignored;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.abandoned, Abandoned::Ignored) {
            Abandoned::Ignored => {}
            Abandoned::Session { worker, key, tell } => {
                // Where this does not get through, the session's own time-outs end it.
                let _late = self.server.hub.run_on(worker, move |worker| tell(worker, &key));
            }
            Abandoned::Other(tell) => tell(&self.server.hub),
        }
    }
}
