//! Where protocols meet HTTP: a protocol is mounted at a path, and decides on each request there by its head.
//!
//! A decision is data: an [`Answer`], an [`Upgrade`] with the future owner of the connection, or an
//! [`Exchange`] with the part that answers on a worker. `door/` carries it out for each way in: the
//! listener's fast path, hyper, an outer server. So no way in skips a check, and no protocol knows the ways
//! in.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, Uri};
use switchboard_hub::{Hub, Worker, WorkerId};
use switchboard_websocket::Limits;
use switchboard_websocket::handshake::head::HeaderNames;
use tokio::sync::oneshot;

use super::Answer;
use super::finish::Finish;
use super::hixie::DraftAnswer;
use super::request_body::{BodyLimits, BodyRefusal};
use crate::Peer;
use crate::transport::connection::{Connection, ConnectionOwner, ConnectionTask, Opened};
use crate::transport::io::Io;
use crate::transport::wire::Wire;

/// A protocol at its path.
pub trait Mount: Send + Sync + 'static {
    /// Whether a request at or below its path is its own. `rest`: the path below it. Default: nothing below.
    fn takes(&self, rest: &str, _target: &Uri) -> bool {
        rest.is_empty()
    }

    /// Whether a request goes on with a session that is there, as far as its target tells. While the server
    /// shuts down, it is decided upon if sessions [linger](switchboard_hub::Session::lingers); all others are
    /// refused with a 503. Default: no.
    fn goes_on(&self, _target: &Uri) -> bool {
        false
    }

    /// The names of the headers that [`decide`](Self::decide) reads of a request with this target. A way in that
    /// reads heads itself need not keep the others. Default (`None`): any, so all are kept.
    fn reads(&self, _target: &Uri) -> Option<&'static HeaderNames> {
        None
    }

    /// Decides on a request by its head. Called on any thread; a panic in it is a 500 for that request.
    fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision;
}

/// The head of a request, as protocols judge it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// Method, target, version, headers, and what the way in knows (`extensions`).
    pub parts: &'a Parts,
    /// The path below that of the mount, without a slash before it.
    pub rest: &'a str,
    /// Where it came from.
    pub peer: Peer,
    /// Whether the WebSocket drafts before RFC 6455 are spoken.
    pub drafts: bool,
}

/// The head of a request that is kept while a decision takes time.
pub(crate) struct OwnedHead {
    parts: Parts,
    rest: Box<str>,
    peer: Peer,
    drafts: bool,
}

impl OwnedHead {
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let RequestHead { parts, rest, peer, drafts } = *head;
        Self { parts: parts.clone(), rest: rest.into(), peer, drafts }
    }

    pub(crate) fn borrow(&self) -> RequestHead<'_> {
        RequestHead { parts: &self.parts, rest: &self.rest, peer: self.peer, drafts: self.drafts }
    }
}

/// What is to be done with a request.
pub enum Decision {
    /// It is the application's.
    Pass,
    /// It is answered at once.
    Answer(Answer),
    /// Its connection becomes a WebSocket, or a streaming answer.
    Upgrade(Upgrade),
    /// It is answered by a worker.
    Exchange(Exchange),
    /// It takes time to decide. The future is dropped where the client leaves.
    Later(LaterDecision),
}

/// A decision that takes time.
pub type LaterDecision = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// A check on a worker's thread, before a request goes on there. Its error is the answer.
pub type Check = Box<dyn FnOnce(&Rc<Worker>) -> Result<(), Answer> + Send>;

/// A request whose connection becomes a WebSocket, or a [streaming answer](Self::streaming).
pub struct Upgrade {
    /// The answer: 101, or 200 to an extended CONNECT; the head of a streaming answer.
    pub response: Response<()>,
    /// The answer of a draft whose handshake is not over with that.
    pub(crate) draft: Option<Box<DraftAnswer>>,
    /// The framing of a streaming answer. `None`: the connection becomes a WebSocket.
    pub(crate) streaming: Option<Wire>,
    /// The owner of the connection.
    pub target: Box<dyn UpgradeTarget>,
}

impl Upgrade {
    /// A streaming answer: the head of a response, and then the packets of a session until it closes its
    /// connection, or the client leaves. The target starts it by [`Upgraded::stream`].
    ///
    /// On the server's own listener, the connection of an HTTP/1.1 request becomes the session's, and its
    /// worker writes the packets as chunks. For other requests (HTTP/2, an outer server such as axum) the
    /// packets are the pieces of a [`Body`](crate::protocol::Body), of which at most 256 KiB wait. What a
    /// client sends behind its request is dropped.
    ///
    /// The response's headers say nothing of its length or its connection: these are added.
    pub fn streaming(response: Response<()>, target: impl UpgradeTarget + 'static) -> Self {
        Self { response, draft: None, streaming: Some(Wire::Chunks), target: Box::new(target) }
    }
}

/// The owner of an upgraded connection.
pub trait UpgradeTarget: Send {
    /// The worker that must drive the connection. Default: any.
    fn worker(&self) -> Option<WorkerId> {
        None
    }

    /// A check on that worker, before the connection is upgraded. Default: none.
    fn check(&self) -> Option<Check> {
        None
    }

    /// Starts the connection, on its worker's thread. Returns its task, which the caller runs, unless it runs
    /// already.
    fn start(self: Box<Self>, worker: &Rc<Worker>, upgraded: Upgraded<'_>) -> Option<ConnectionTask>;
}

/// A connection that was just upgraded.
pub struct Upgraded<'a> {
    pub(crate) io: Io,
    /// Bytes that came behind the head of the request.
    pub(crate) unread: Bytes,
    /// The head of the answer, where it is still to be written.
    pub(crate) answer: &'a [u8],
    /// The framing of a streaming answer.
    pub(crate) streaming: Option<Wire>,
}

impl<'a> Upgraded<'a> {
    pub(crate) fn opened(self, wire: Wire) -> Opened<'a> {
        let Self { io, unread, answer, .. } = self;
        Opened { io, wire, unread, answer }
    }

    /// Starts a WebSocket connection, whose messages go to its owner. Gives its task, for
    /// [`UpgradeTarget::start`] to return. The answer to the handshake is the first that is written to the
    /// owner's outbox, which must have the framing of the [wire](Wire::framing).
    pub fn websocket(
        self,
        worker: &Rc<Worker>,
        wire: Wire,
        limits: Limits,
        owner: Rc<dyn ConnectionOwner>,
    ) -> (Rc<Connection>, Option<ConnectionTask>) {
        Connection::start(worker, self.opened(wire), limits, owner)
    }

    /// The framing of the packets of a [streaming answer](Upgrade::streaming): the owner's outbox must have
    /// [that](Wire::framing).
    pub fn stream_wire(&self) -> Wire {
        self.streaming.unwrap_or(Wire::Bytes)
    }

    /// Starts a [streaming answer](Upgrade::streaming). Gives the task of its connection, for
    /// [`UpgradeTarget::start`] to return. The head of the answer is the first that is written to the owner's
    /// outbox. The owner gets no messages.
    ///
    /// [`Connection::close`] ends the body. The client has as long as the owner's [`Timeouts`] say to take
    /// the rest.
    ///
    /// [`Timeouts`]: crate::protocol::Timeouts
    pub fn stream(
        self,
        worker: &Rc<Worker>,
        owner: Rc<dyn ConnectionOwner>,
    ) -> (Rc<Connection>, Option<ConnectionTask>) {
        let wire = self.stream_wire();
        Connection::start(worker, self.opened(wire), Limits::DEFAULT, owner)
    }
}

/// A request that a worker answers, now or when there is something to say.
pub struct Exchange {
    /// The worker that answers. `None`: any.
    pub worker: Option<WorkerId>,
    /// How much of its body is read. `None`: nothing.
    pub body: Option<BodyLimits>,
    /// The consequence, if the client leaves before it has its answer.
    pub abandoned: Abandoned,
    /// Further headers and compression of the answer.
    pub finish: Finish,
    /// The answer where the target drops its [`Reply`].
    pub unanswered: fn() -> Answer,
    /// The part that answers, on the worker.
    pub target: Box<dyn ExchangeTarget>,
}

/// The part of a protocol that answers a request, on its worker's thread.
pub trait ExchangeTarget: Send {
    /// A check on the worker, before the server waits for a body that did not come with its head. Default:
    /// none.
    fn begin(&mut self) -> Option<Check> {
        None
    }

    /// Answers, now or later.
    fn run(self: Box<Self>, worker: &Rc<Worker>, body: Bytes, reply: Reply);

    /// The body was refused. Default: the answer says so, and that is all.
    fn refuse(self: Box<Self>, _worker: &Rc<Worker>, refusal: BodyRefusal, reply: Reply) {
        let _gone = reply.send(refusal.answer());
    }
}

/// Where the answer to a request goes. Dropped, the answer is what [`Exchange::unanswered`] says.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Box<Answer>>);

impl Reply {
    pub(crate) fn channel() -> (Self, oneshot::Receiver<Box<Answer>>) {
        let (reply, answer) = oneshot::channel();
        (Self(reply), answer)
    }

    /// Answers.
    ///
    /// # Errors
    /// The answer, where the client has left.
    pub fn send(self, answer: Answer) -> Result<(), Answer> {
        // Boxed: it goes through many hands.
        self.0.send(Box::new(answer)).map_err(|answer| *answer)
    }

    /// Whether the client has left.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// The consequence, if a client leaves before it has its answer.
pub enum Abandoned {
    /// Nothing.
    Ignored,
    /// A worker is told the key of a session.
    Session {
        /// The worker.
        worker: WorkerId,
        /// The key.
        key: SessionKeyBytes,
        /// Is called on the worker.
        tell: fn(&Rc<Worker>, &SessionKeyBytes),
    },
    /// Something else.
    Other(Box<AbandonedFn>),
}

/// A function that is called when a client has left, on any thread.
pub type AbandonedFn = dyn FnOnce(&Arc<Hub>) + Send;

/// Bytes that name a session among those of its protocol.
pub type SessionKeyBytes = [u8; 20];

/// The protocols by their paths. Replaced as a whole when one is added.
#[derive(Clone, Default)]
pub(crate) struct Mounts {
    /// Those with the longest paths come first.
    mounts: Vec<Mounted>,
}

/// A protocol at its path.
#[derive(Clone)]
struct Mounted {
    path: MountPath,
    mount: Arc<dyn Mount>,
}

impl Mounts {
    /// Mounts protocols at a path, of which the first that takes a request has it, in place of those that are
    /// there.
    pub(crate) fn add(&mut self, path: &str, protocols: &[Arc<dyn Mount>]) {
        let path = MountPath::of(path);
        self.mounts.retain(|other| other.path != path);
        let mounted = |mount: &Arc<dyn Mount>| Mounted { path: path.clone(), mount: Arc::clone(mount) };
        self.mounts.extend(protocols.iter().map(mounted));
        self.mounts.sort_by_key(|mounted| std::cmp::Reverse(mounted.path.len));
    }

    /// Whether a protocol is mounted at a path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = MountPath::of(path);
        self.mounts.iter().any(|mounted| mounted.path == path)
    }

    /// The protocol that a request is for.
    pub(crate) fn find(&self, target: &Uri) -> Option<Found> {
        let requested = target.path();
        self.mounts.iter().find_map(|Mounted { path, mount }| {
            let rest = path.below(requested).filter(|rest| mount.takes(rest, target))?;
            Some(Found { mount: Arc::clone(mount), rest_len: rest.len() })
        })
    }
}

/// The protocol that a request is for.
pub(crate) struct Found {
    mount: Arc<dyn Mount>,
    /// The path below the mount's is what the request's ends with.
    rest_len: usize,
}

impl Found {
    /// Whether the request goes on with a session that is there.
    pub(crate) fn goes_on(&self, target: &Uri) -> bool {
        self.mount.goes_on(target)
    }

    /// The names of the headers that the decision depends on; `None`: any.
    pub(crate) fn reads(&self, target: &Uri) -> Option<&'static HeaderNames> {
        self.mount.reads(target)
    }

    /// Lets the protocol decide on the request that it was found for.
    pub(crate) fn decide(self, parts: &Parts, peer: Peer, drafts: bool) -> Decision {
        let path = parts.uri.path();
        let rest = path.get(path.len().saturating_sub(self.rest_len)..).unwrap_or_default();
        self.mount.decide(&RequestHead { parts, rest, peer, drafts })
    }
}

/// The names between the slashes of a path. Slashes at its ends, and several in a row, make no difference.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The path of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MountPath {
    /// The names in it, with one slash between two.
    names: Box<str>,
    /// How many these are.
    len: usize,
}

impl MountPath {
    fn of(path: &str) -> Self {
        let names: Vec<_> = segments(path).collect();
        Self { names: names.join("/").into(), len: names.len() }
    }

    /// The part of `path` below this one. Below `/` there is nothing but itself: everything else would be.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut rest = path.trim_start_matches('/');
        // Nearly every path is written so. One with other slashes is looked at name by name.
        let after = rest.strip_prefix(&*self.names).filter(|after| is_end_of_name(after));
        match after {
            Some(after) if self.len > 0 => return Some(after.trim_start_matches('/')),
            None if self.len < 2 => return None,
            _ => {}
        }
        for segment in segments(&self.names) {
            rest = rest.strip_prefix(segment).filter(|rest| is_end_of_name(rest))?;
            rest = rest.trim_start_matches('/');
        }
        (rest.is_empty() || self.len > 0).then_some(rest)
    }
}

/// Whether a name ends before the `rest` of a path.
fn is_end_of_name(rest: &str) -> bool {
    matches!(rest.as_bytes().first(), None | Some(b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_has_the_paths_below_its_own_with_any_slashes() {
        for (mount, path, rest) in [
            ("/socket.io", "/socket.io", Some("")),
            ("/socket.io", "/socket.io/", Some("")),
            ("/socket.io", "/socket.io//", Some("")),
            ("/socket.io", "//socket.io/", Some("")),
            ("/socket.io/", "/socket.io", Some("")),
            ("/socket.io", "/socket.io/socket.io.js", Some("socket.io.js")),
            ("/socket.io", "/socket.io//socket.io.js", Some("socket.io.js")),
            ("/socket.io", "/socket.io/any/thing", Some("any/thing")),
            ("/a//b/", "/a/b", Some("")),
            ("/a/b", "/a//b/c", Some("c")),
            ("/", "/", Some("")),
            ("/", "/socket.io", None),
            ("/socket.io", "/", None),
            ("/socket.io", "/socket.io2/", None),
            ("/socket.io", "/socket", None),
            ("/socket.io", "/Socket.io/", None),
            ("/a/b", "/ab", None),
            ("/a/b", "/a", None),
            ("/socket.io", "*", None),
        ] {
            assert_eq!(MountPath::of(mount).below(path), rest, "{mount} {path}");
        }
    }

    struct Named(&'static str);

    impl Mount for Named {
        fn decide(self: Arc<Self>, head: &RequestHead<'_>) -> Decision {
            assert_eq!(head.rest, "");
            let mut answer = Response::new(Bytes::new().into());
            answer.extensions_mut().insert(self.0);
            Decision::Answer(answer)
        }
    }

    #[test]
    fn the_longest_path_counts_and_the_last_that_was_mounted_there() {
        let mut mounts = Mounts::default();
        for (path, name) in [("/a", "first"), ("/a/b", "below"), ("/a/", "second")] {
            mounts.add(path, &[Arc::new(Named(name))]);
        }
        for (path, found) in [("/a", Some("second")), ("/a/b", Some("below")), ("/a/c", None), ("/", None)] {
            let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            let name =
                mounts.find(&parts.uri).map(|found| match found.decide(&parts, Peer::default(), false) {
                    Decision::Answer(answer) => *answer.extensions().get::<&str>().unwrap(),
                    _ => unreachable!("it answers"),
                });
            assert_eq!(name, found, "{path}");
        }
    }
}
