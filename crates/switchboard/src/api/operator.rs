//! Whom a broadcast goes to, and how.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use switchboard_hub::{Answered, Broadcast, Command, MemberId, Question, Reply, Request, Target};
use tokio::sync::mpsc;

use super::answers::{Answers, AnswersFuture};
use super::emitter::ACK_TIMEOUT;
use super::namespace::NamespaceInner;
use super::remote::RemoteSocket;
use super::socket::Socket;
use crate::EmitError;
use crate::event::Event;
use crate::rooms::Rooms;

/// A broadcast in the making: to whom, and how. Made by [`Namespace`](crate::Namespace)'s and [`Socket`]'s
/// `to`, `except` and so on.
///
/// A socket that is in several of the rooms gets one copy. Of a [parent](crate::Switchboard::of_pattern) it
/// goes to the sockets of all its children that are on this node, and to those children on other nodes.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until `emit` is called"]
pub struct BroadcastOperator {
    namespace: Arc<NamespaceInner>,
    target: Target,
    volatile: bool,
    key: Option<Arc<str>>,
    compress: bool,
    timeout: Duration,
}

impl BroadcastOperator {
    pub(crate) fn new(namespace: &Arc<NamespaceInner>, except: Option<MemberId>) -> Self {
        let target = Target { except_member: except, ..Target::all(namespace.scope) };
        Self {
            namespace: Arc::clone(namespace),
            target,
            volatile: false,
            key: None,
            compress: true,
            timeout: ACK_TIMEOUT,
        }
    }

    /// Sockets in these rooms (or in those named before). A socket's id is a room of its own.
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        self.target.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`to`](Self::to).
    pub fn within(self, rooms: impl Rooms) -> Self {
        self.to(rooms)
    }

    /// Not those in these rooms.
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        self.target.except.extend(rooms.into_rooms());
        self
    }

    /// Dropped, and counted, for those whose transport does not take it at once.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// The event tells the newest state of a subject: it takes the place of the event of the same key that
    /// waits for a socket; see [`Socket::conflate`]. [`emit_with_ack`](Self::emit_with_ack) takes no notice of
    /// it.
    pub fn conflate(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Whether the event is compressed for those whose connections compress (`compress` of Node). Default:
    /// yes. `false` is for what is compressed already, such as pictures: see [`Socket::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Sockets of this node only, where several form a cluster.
    pub fn local(mut self) -> Self {
        self.target.local = true;
        self
    }

    /// Sends an event. A tuple is the argument list; anything else is one argument.
    ///
    /// It is queued when this returns: sockets of this worker have it in their outboxes, other workers in
    /// their inboxes. The events of one thread arrive in the order of its calls; between threads nothing is
    /// said, unless broadcasts are [ordered](crate::Namespace::ordered_broadcasts).
    ///
    /// # Errors
    /// [`EmitError::Arguments`]: nothing was sent. [`EmitError::Hub`]: a worker's inbox is full; the sockets
    /// of the other workers are sent to.
    pub fn emit<T: Serialize>(self, event: &str, args: T) -> Result<(), EmitError> {
        if self.namespace.is_parent() {
            return self.each_child(|child| child.emit_one(event, &args));
        }
        self.emit_one(event, &args)
    }

    fn emit_one<T: Serialize>(self, event: &str, args: &T) -> Result<(), EmitError> {
        let payload = Event::new(&self.namespace.events, event, args, self.compress)?;
        let broadcast = Broadcast {
            target: self.target,
            payload: Arc::new(payload),
            volatile: self.volatile,
            key: self.key,
            ordered: self.namespace.ordered_broadcasts.load(Ordering::Relaxed),
        };
        Ok(self.namespace.hub.broadcast(broadcast)?)
    }

    /// How long the acknowledgements of [`emit_with_ack`](Self::emit_with_ack) are awaited. Default 60 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends an event, and awaits an acknowledgement of each socket (`emitWithAck`). The event is sent at
    /// once, whether or not the answers are awaited.
    ///
    /// The answers are there when all sockets have answered or have left, and at the
    /// [time-out](Self::timeout) at the latest: then they are those that have come so far, and each socket
    /// that did not answer has [`AckError::Timeout`](crate::AckError::Timeout). They are in no order. Sockets of
    /// other nodes are asked too, unless the broadcast is [local](Self::local); a Tokio runtime with time is
    /// needed then. The event is never [volatile](Self::volatile). Members that are no sockets, such as raw
    /// WebSockets, are not asked.
    ///
    /// ```
    /// # async fn run(io: switchboard::Switchboard) -> Result<(), switchboard::EmitError> {
    /// let timeout = std::time::Duration::from_secs(5);
    /// for (id, answer) in io.root().to("hall").timeout(timeout).emit_with_ack::<u32>("vote", ()).await? {
    ///     match answer {
    ///         Ok(vote) => println!("{id} votes for {vote}"),
    ///         Err(error) => println!("{id} does not vote: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`emit`](Self::emit). An answer's: [`AckError`](crate::AckError).
    #[must_use = "the acknowledgements are lost unless this is awaited"]
    pub fn emit_with_ack<R: DeserializeOwned + Send + 'static>(
        self,
        event: &str,
        args: impl Serialize,
    ) -> AnswersFuture<R> {
        let timeout = self.timeout;
        let asked: Result<Vec<_>, _> = self.each().map(|one| one.ask(event, &args)).collect();
        Box::pin(async move {
            let mut all = Answered::default();
            for asked in asked? {
                let Answered { answers, missing } = asked.answers().await;
                all.answers.extend(answers);
                all.missing = all.missing.max(missing);
            }
            Ok(Answers::read(all, timeout))
        })
    }

    fn ask<T: Serialize>(self, event: &str, args: &T) -> Result<Question, EmitError> {
        let payload = Arc::new(Event::new(&self.namespace.events, event, args, self.compress)?);
        let broadcast =
            Broadcast { target: self.target, payload, volatile: false, key: None, ordered: false };
        Ok(self.namespace.hub.ask_members(broadcast, self.timeout)?)
    }

    /// The operators that it stands for: of a parent, one for each child.
    fn each(self) -> impl Iterator<Item = Self> {
        self.namespace.members().into_iter().map(move |namespace| {
            let target = Target { scope: namespace.scope, ..self.target.clone() };
            Self { namespace, target, ..self.clone() }
        })
    }

    /// Sends a request for each child; returns the first error. The others are sent to all the same.
    fn each_child(self, send: impl Fn(Self) -> Result<(), EmitError>) -> Result<(), EmitError> {
        let mut sent = Ok(());
        for child in self.each() {
            sent = sent.and(send(child));
        }
        sent
    }

    fn request(self, request: impl Fn(Target) -> Request) -> Result<(), EmitError> {
        self.each_child(|one| Ok(one.namespace.hub.request(request(one.target))?))
    }

    /// Lets the sockets join rooms (`socketsJoin`).
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn join(self, rooms: impl Rooms) -> Result<(), EmitError> {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.request(|target| Request::Join(target, rooms.clone()))
    }

    /// Lets the sockets leave rooms (`socketsLeave`).
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn leave(self, rooms: impl Rooms) -> Result<(), EmitError> {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.request(|target| Request::Leave(target, rooms.clone()))
    }

    /// Disconnects the sockets (`disconnectSockets`); `close` closes their connections too.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn disconnect(self, close: bool) -> Result<(), EmitError> {
        self.request(|target| Request::Disconnect { target, close })
    }

    /// How many sockets there are, each counted once. Cancel safe.
    ///
    /// # Errors
    /// As [`fetch_sockets`](Self::fetch_sockets).
    pub async fn count(self) -> Result<u64, EmitError> {
        let mut all = 0;
        for one in self.each() {
            if let Reply::Count(count) = one.namespace.hub.ask(Request::Count(one.target)).await? {
                all += count;
            }
        }
        Ok(all)
    }

    /// The sockets of all workers and nodes (`fetchSockets`), as they are now. Cancel safe.
    ///
    /// # Errors
    /// [`EmitError::Hub`]: a worker's inbox is full, or one has stopped, or a node did not answer.
    pub async fn fetch_sockets(self) -> Result<Vec<RemoteSocket>, EmitError> {
        let mut all = Vec::new();
        for Self { namespace, target, .. } in self.each() {
            if let Reply::Sockets(found) = namespace.hub.ask(Request::Fetch(target)).await? {
                all.extend(found.into_iter().filter_map(|info| RemoteSocket::new(&namespace, info)));
            }
        }
        Ok(all)
    }

    /// The sockets of this node, as handles: for what [`RemoteSocket`] has not, such as acknowledgements and
    /// values of any type. Cancel safe.
    ///
    /// # Errors
    /// [`EmitError::Hub`]: a worker's inbox is full, or it has stopped.
    pub async fn local_sockets(self) -> Result<Vec<Socket>, EmitError> {
        let (reply, mut sockets) = mpsc::unbounded_channel();
        for Self { namespace, target, .. } in self.each() {
            namespace.hub.send_all(|| {
                let (target, reply) = (target.clone(), reply.clone());
                Command::run(move |worker| {
                    let found = worker.matching(&target).into_iter();
                    let found = found.filter_map(|key| Socket::find(worker, key));
                    let _gone = reply.send(found.collect::<Vec<_>>());
                })
            })?;
        }
        drop(reply);
        let mut all = Vec::new();
        while let Some(mut some) = sockets.recv().await {
            all.append(&mut some);
        }
        Ok(all)
    }
}
