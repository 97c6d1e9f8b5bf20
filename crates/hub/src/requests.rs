//! Sending requests to the workers, and executing them there.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::Command;
use crate::hub::Hub;
use crate::reply::{Replies, Reply, ReplySender};
use crate::request::{Broadcast, Request, Target};
use crate::worker::{Worker, WorkerId};
use crate::{HubError, MemberId, RoomName};

impl Hub {
    /// Sends a broadcast to its members. Members of this thread's worker get it as [`Worker::broadcast`]
    /// says.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn broadcast(&self, broadcast: Broadcast) -> Result<(), HubError> {
        self.request(Request::Broadcast(Arc::new(broadcast)))
    }

    /// Sends a request to all workers that it concerns, and to the other nodes, if there are any. This
    /// thread's worker executes it at once. The other workers get it by their inboxes, in the order of the
    /// calls of one thread.
    ///
    /// A request for the one room that is a member's [id](MemberId::random) concerns that member's worker
    /// alone. [`Request::Emit`] concerns other nodes alone.
    ///
    /// # Errors
    /// The first error that was met. The other workers and nodes have been sent to.
    pub fn request(&self, request: Request) -> Result<(), HubError> {
        let published = self.publish(&request);
        published.and(self.request_workers(request, None))
    }

    /// Sends a request as [`request`](Self::request) does, and awaits the replies of the workers and of the
    /// other nodes. It returns them as one. Other nodes have [a time](crate::HubOptions::reply_timeout) to
    /// answer; a tokio runtime with time is needed for that. Cancel safe: if the future is dropped, the
    /// request is executed all the same.
    ///
    /// # Errors
    /// The errors of [`request`](Self::request). [`HubError::NoReply`] if a reply is missing, and for
    /// requests that are not answered.
    pub async fn ask(&self, request: Request) -> Result<Reply, HubError> {
        match self.ask_some(request).await? {
            (Some(reply), 0) => Ok(reply),
            (_, missing) => Err(HubError::NoReply { missing }),
        }
    }

    /// As [`ask`](Self::ask), but missing replies are no error: it returns the replies that have come as one,
    /// and how many are missing. The reply is `None` for requests that are not answered.
    ///
    /// # Errors
    /// The errors of [`request`](Self::request).
    pub async fn ask_some(&self, request: Request) -> Result<(Option<Reply>, usize), HubError> {
        let (sender, mut replies) = ReplySender::channel();
        let nodes = self.ask_nodes(&request, &sender)?;
        let here = if matches!(request, Request::Emit(_)) { 0 } else { self.concerned(&request) };
        let expected = here + nodes.as_ref().map_or(0, |nodes| nodes.nodes);
        let empty = request.empty_reply();
        self.request_workers(request, Some(sender))?;
        if let Some(nodes) = nodes {
            let in_time = tokio::time::timeout(self.reply_timeout, &mut replies).await;
            drop(nodes);
            if let Ok(replies) = in_time {
                return Ok(together(expected, replies.unwrap_or_default(), empty));
            }
        }
        Ok(together(expected, replies.await.unwrap_or_default(), empty))
    }

    /// How many replies of this node a request has: one for each worker that it concerns; one of the
    /// application, for an event.
    pub(crate) fn concerned(&self, request: &Request) -> usize {
        match request.target() {
            Some(target) if self.home_of(target).is_none() => self.workers(),
            _ => 1,
        }
    }

    /// Sends a request to the workers that it concerns.
    pub(crate) fn request_workers(
        &self,
        request: Request,
        reply: Option<ReplySender>,
    ) -> Result<(), HubError> {
        match &request {
            Request::Emit(_) => return Ok(()),
            Request::Join(_, rooms) => {
                for room in rooms {
                    self.announce_room(room);
                }
            }
            _ => {}
        }
        if let Some(history) = self.history(request.scope()) {
            return self.request_by_home(history, request, reply);
        }
        let home = request.target().and_then(|target| self.home_of(target));
        if let Request::Broadcast(broadcast) = &request
            && broadcast.ordered
        {
            return self.broadcast_in_order(Arc::clone(broadcast), home);
        }
        let here = self.here_in_order();
        if let Some(home) = home {
            let command = Command::Request(request, reply);
            return match here.filter(|worker| worker.id() == home) {
                Some(worker) => {
                    worker.execute(command);
                    Ok(())
                }
                None => self.send(home, command),
            };
        }
        let sent = self.send_all_but(here.as_deref(), || Command::Request(request.clone(), reply.clone()));
        if let Some(worker) = here {
            worker.execute(Command::Request(request, reply));
        }
        sent
    }

    /// The worker that a target's only room names, if that room is a member's id.
    fn home_of(&self, target: &Target) -> Option<WorkerId> {
        let [room] = &*target.rooms else { return None };
        if self.has_history(target.scope) {
            // A member that was recovered may be on any worker.
            return None;
        }
        let (node, worker) = MemberId::parse(room)?.home();
        let known = node == self.node && usize::from(worker.0) < self.workers();
        // Another room of such a name was announced before it was joined.
        (known && !self.rooms_like_ids.load(Ordering::Acquire)).then_some(worker)
    }

    /// Announces that a room of this name is about to be joined. A join on the worker's thread and a join by
    /// [`request`](Self::request) announce themselves. A join that goes to its worker as other work is
    /// announced before it is sent, so that a later broadcast finds the room.
    pub fn announce_room(&self, name: &str) {
        if let Some(id) = MemberId::parse(name) {
            self.note_room_like_id(id);
        }
    }

    /// Whether a name could be the id of a member of this node. If a room has such a name, names tell nothing any
    /// more, which costs each broadcast to one id a command for each worker.
    pub fn is_like_own_id(&self, name: &str) -> bool {
        MemberId::parse(name).is_some_and(|id| self.is_own_id(id))
    }

    fn is_own_id(&self, id: MemberId) -> bool {
        let (node, worker) = id.home();
        node == self.node && usize::from(worker.0) < self.workers()
    }

    /// A room of this name may have members on other workers than the one that the name says.
    pub(crate) fn note_room_like_id(&self, id: MemberId) {
        if self.is_own_id(id) {
            self.rooms_like_ids.store(true, Ordering::Release);
        }
    }
}

/// The replies as one, and how many of those that were expected have not come.
fn together(expected: usize, replies: Replies, empty: Option<Reply>) -> (Option<Reply>, usize) {
    (replies.reply.or(empty), expected.saturating_sub(replies.count))
}

impl Worker {
    pub(crate) fn execute(self: &Rc<Self>, command: Command) {
        self.catch_panic("a command", || match command {
            Command::Request(request, reply) => {
                let answer = self.execute_request(request, reply.as_ref());
                if let (Some(reply), Some(answer)) = (reply, answer) {
                    reply.send(answer);
                }
            }
            Command::Ordered(ordered) => self.deliver_ordered(&ordered),
            Command::Run { work, .. } => work(self),
            Command::AtHome(message) => self.take_at_home(*message),
            Command::FromHome(command) => {
                self.own_ordered.set(self.own_ordered.get().saturating_sub(1));
                self.execute(*command);
            }
            Command::Stop => self.stop(),
        });
    }

    fn execute_request(self: &Rc<Self>, request: Request, reply: Option<&ReplySender>) -> Option<Reply> {
        match request {
            Request::Broadcast(broadcast) => self.broadcast(broadcast),
            Request::Join(target, rooms) => self.join_all(&target, &rooms),
            Request::Leave(target, rooms) => {
                for key in self.matching(&target) {
                    for room in &rooms {
                        let _gone = self.leave(key, room);
                    }
                }
            }
            Request::Disconnect { target, close } => {
                for endpoint in self.matching(&target).into_iter().filter_map(|key| self.endpoint(key)) {
                    self.catch_panic("a disconnect", || endpoint.disconnect(close));
                }
            }
            Request::Fetch(target) => {
                let found = self.matching(&target).into_iter().filter_map(|key| self.describe(key));
                return Some(Reply::Sockets(found.collect()));
            }
            Request::Count(target) => return Some(Reply::Count(self.count(&target) as u64)),
            Request::Ask { broadcast, timeout } => return Some(self.ask(&broadcast, timeout, reply)),
            // For the applications of other nodes.
            Request::Emit(_) => {}
        }
        None
    }

    fn join_all(&self, target: &Target, rooms: &[RoomName]) {
        for key in self.matching(target) {
            for room in rooms {
                // A member that has gone, or is in too many rooms, stays as it is.
                if let Err(error) = self.join(key, room) {
                    tracing::debug!(%error, %room, "a member did not join");
                }
            }
        }
    }
}
