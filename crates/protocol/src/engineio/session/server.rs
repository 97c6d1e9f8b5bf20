//! The session at the server's end.

use std::time::Duration;

use super::super::packet::Packet;
use super::heartbeat::HeartbeatAction;
use super::upgrade::{Upgrade, UpgradeAction, UpgradeRefused, UpgradeStep};
use super::{Ending, Heartbeat, Life, Received, Transport, Version, nanos};

/// How long a closed session waits for the polls that fetch its queue and the close.
const LINGER: Duration = Duration::from_secs(30);

/// One session at the server's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSession {
    heartbeat: Heartbeat,
    upgrade: Upgrade,
    /// The time when a closing session stops waiting, in nanoseconds.
    linger_until: u64,
    version: Version,
    life: Life,
    transport: Transport,
    get_waits: bool,
    post: Post,
    paused: bool,
}

/// The POST of a session. There is at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    None,
    /// Its head has come, but not its body.
    Arriving,
    /// Its packets are being handled.
    Handled,
    /// Its packets were handled. It is answered when the session takes input again.
    Held,
}

/// Whether a request belongs to a session and is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admission {
    /// The request is allowed. A GET now waits for [`ServerSession::answer_get`]. The packets of a POST are
    /// to be handled.
    Accept,
    /// Another request of the same method is under way. Answer 400 with an empty body, and close the session
    /// as [`Immediate`](Ending::Immediate).
    Overlap,
    /// The session is on another transport: error code 3. The session goes on.
    WrongTransport,
    /// The session is over: error code 1.
    Unknown,
}

/// The answer to the waiting GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GetAnswer {
    /// The whole queue.
    Packets,
    /// Only a noop.
    Noop,
    /// Only a close.
    Close,
    /// A noop and a close: the session was closed before the GET came. Node answers in the same way.
    NoopAndClose,
}

/// The effect of closing a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// None: the session was closed before.
    None,
    /// The session goes on without its application until polls have fetched the queue and the close.
    Lingers,
    /// The session is over. A waiting GET gets this answer.
    Over(Option<GetAnswer>),
}

/// The next step for a packet of a connection that probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeStep {
    /// Answer [`Packet::Pong`] with `probe` there. Then call [`ServerSession::poll`].
    SendPong,
    /// The session moves to this connection, and its queue goes out here. A waiting GET is answered with a
    /// noop, and a held POST as usual. If the session [is over](ServerSession::is_over) now, close the
    /// connection after the queue.
    Swap,
    /// The probe has failed: close the connection. The session stays on its transport.
    Fail,
}

/// The action that [`ServerSession::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerAction {
    /// Send a ping, without data.
    SendPing,
    /// The client does not answer: close the session as [`Immediate`](Ending::Immediate), with
    /// `ping timeout`.
    PingTimedOut,
    /// The session does not read, so silence does not show that the client is lost. Check whether its
    /// connection is still there.
    CheckPeer,
    /// The client waits for its GET to return: call [`ServerSession::release_get`].
    ReleaseGet,
    /// The client's upgrade took too long: close the connection that probes.
    ProbeTimedOut,
    /// No poll fetched the last packets of a closing session: the session is over.
    GiveUp,
}

impl ServerSession {
    /// A session that begins on polling.
    pub fn polling(now: Duration, version: Version, interval: Duration, timeout: Duration) -> Self {
        let heartbeat = match version {
            Version::V3 => Heartbeat::listening(now, interval, timeout),
            Version::V4 => Heartbeat::pinging(now, interval, timeout),
        };
        Self {
            heartbeat,
            upgrade: Upgrade::new(),
            linger_until: 0,
            version,
            life: Life::Open,
            transport: Transport::Polling,
            get_waits: false,
            post: Post::None,
            paused: false,
        }
    }

    /// A session that begins on WebSocket and stays there.
    pub fn websocket(now: Duration, version: Version, interval: Duration, timeout: Duration) -> Self {
        let polling = Self::polling(now, version, interval, timeout);
        Self { transport: Transport::WebSocket, upgrade: Upgrade::done(), ..polling }
    }

    /// The session's protocol version. A later request with another version is refused with error code 3.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the session takes and sends messages.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether the session is over. Requests can no longer find it.
    pub fn is_over(&self) -> bool {
        self.life == Life::Closed
    }

    /// Whether the session is on polling.
    pub fn is_polling(&self) -> bool {
        self.transport == Transport::Polling
    }

    /// Whether a GET waits for its answer.
    pub fn get_waits(&self) -> bool {
        self.get_waits
    }

    // Requests of the polling transport.

    /// A GET has come. If it is accepted, call [`answer_get`](Self::answer_get) now and after each change of
    /// the queue.
    pub fn on_get(&mut self) -> Admission {
        let admission = self.admit(self.get_waits);
        if admission == Admission::Accept {
            self.get_waits = true;
        }
        admission
    }

    /// The head of a POST has come, but not its body. When the body has come, call [`on_post`](Self::on_post)
    /// with `announced`.
    pub fn on_post_head(&mut self) -> Admission {
        let admission = self.admit(self.post != Post::None);
        if admission == Admission::Accept {
            self.post = Post::Arriving;
        }
        admission
    }

    /// A whole POST has come. If it is accepted, pass its packets to [`on_packet`](Self::on_packet) until the
    /// session [is over](Self::is_over), and then call [`on_post_handled`](Self::on_post_handled).
    /// `announced`: [`on_post_head`](Self::on_post_head) was called for it.
    pub fn on_post(&mut self, announced: bool) -> Admission {
        let expected = if announced { Post::Arriving } else { Post::None };
        let admission = self.admit(self.post != expected);
        if admission == Admission::Accept {
            self.post = Post::Handled;
        }
        admission
    }

    /// The packets of a POST were handled. `true`: answer it now. `false`: keep it until the session is
    /// resumed, closed or moved; the client sends nothing more before it has the answer. `hold`: the owner
    /// has its own reason to keep it, until [`release_post`](Self::release_post).
    pub fn on_post_handled(&mut self, hold: bool) -> bool {
        if self.post != Post::Handled {
            return true;
        }
        let held = (hold || self.paused) && self.is_open();
        self.post = if held { Post::Held } else { Post::None };
        !held
    }

    /// The owner's own reason to keep the POST is gone. `true`: answer it now, if it waits.
    pub fn release_post(&mut self) -> bool {
        if self.post == Post::Held && !self.paused {
            self.post = Post::None;
        }
        self.post == Post::None
    }

    fn admit(&self, overlaps: bool) -> Admission {
        match (self.life, self.transport) {
            (Life::Closed, _) => Admission::Unknown,
            (_, Transport::WebSocket) => Admission::WrongTransport,
            _ if overlaps => Admission::Overlap,
            (Life::Open | Life::Closing, _) => Admission::Accept,
        }
    }

    /// The answer to the waiting GET now. `None`: no GET waits, or there is no answer yet.
    ///
    /// A close is sent alone, after a poll has fetched everything else. The official client handles a close
    /// at once, but the packets before it in the same answer one tick later, which is too late for them. With
    /// the close the session [is over](Self::is_over).
    pub fn answer_get(&mut self, queue_is_empty: bool) -> Option<GetAnswer> {
        if !self.get_waits {
            return None;
        }
        let answer = match self.life {
            _ if !queue_is_empty => GetAnswer::Packets,
            Life::Closing => GetAnswer::NoopAndClose,
            Life::Open | Life::Closed => return None,
        };
        self.get_waits = false;
        if answer == GetAnswer::NoopAndClose {
            self.end();
        }
        Some(answer)
    }

    /// Lets the waiting GET return, with the queue or with a noop.
    pub fn release_get(&mut self, queue_is_empty: bool) -> Option<GetAnswer> {
        self.answer_get(queue_is_empty)
            .or_else(|| std::mem::take(&mut self.get_waits).then_some(GetAnswer::Noop))
    }

    // Packets.

    /// A packet of the session's own transport was read. `now` is called only if the time matters. A closing
    /// session takes no more messages, only the client's own close.
    #[inline]
    pub fn on_packet(&mut self, packet: &Packet<'_>, now: impl FnOnce() -> Duration) -> Received {
        match packet {
            Packet::Message(_) | Packet::Binary(_) if self.life == Life::Open => {
                if self.heartbeat.awaits_packet() {
                    self.heartbeat.on_packet(now());
                }
                Received::Deliver
            }
            _ => self.on_control(packet, now()),
        }
    }

    fn on_control(&mut self, packet: &Packet<'_>, now: Duration) -> Received {
        if self.life != Life::Open {
            return match packet {
                Packet::Close if self.life == Life::Closing => Received::Close(Ending::Peer),
                _ => Received::Nothing,
            };
        }
        match (packet, self.version) {
            (Packet::Ping(_), Version::V3) => {
                self.heartbeat.on_ping(now);
                Received::Answer
            }
            (Packet::Pong(_), Version::V4) => {
                self.heartbeat.on_pong(now);
                Received::Nothing
            }
            (Packet::Ping(_) | Packet::Pong(_), _) => Received::Close(Ending::Immediate),
            (Packet::Close, _) => Received::Close(Ending::Peer),
            _ => {
                self.heartbeat.on_packet(now);
                Received::Nothing
            }
        }
    }

    // Reading.

    /// The session stops taking input: a handled POST is not answered. The client's silence is excused. (In
    /// protocol 3 the client gives up `timeout` after a ping that was not read.)
    pub fn pause(&mut self) {
        self.paused = self.is_open();
    }

    /// The session takes input again. `false`: it had not stopped. A held POST is answered now.
    pub fn resume(&mut self, now: Duration) -> bool {
        let was_paused = std::mem::take(&mut self.paused);
        if was_paused {
            self.heartbeat.resume(now);
            self.release_post();
        }
        was_paused
    }

    /// The owner does not read for now, though the session is not [paused](Self::pause). If the client's
    /// silence would end the session at `now`, and `is_alive` reports another sign of life, the silence is
    /// excused.
    pub fn excuse_silence(&mut self, now: Duration, is_alive: impl FnOnce() -> bool) {
        if self.heartbeat.is_overdue(now) && is_alive() {
            self.heartbeat.excuse(now);
        }
    }

    /// Whether the session takes no input.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    // The upgrade.

    /// A connection asks for the session. Its upgrade may take `timeout` (Node: 10 s).
    ///
    /// # Errors
    /// [`UpgradeRefused`] if it may not have the session: close the connection.
    pub fn start_probe(&mut self, now: Duration, timeout: Duration) -> Result<(), UpgradeRefused> {
        if !self.is_open() {
            return Err(UpgradeRefused::Closed);
        }
        self.upgrade.start(now, timeout)
    }

    /// A packet came from the connection that probes.
    pub fn on_probe_packet(&mut self, packet: &Packet<'_>, now: Duration) -> ProbeStep {
        match self.upgrade.on_packet(packet, now) {
            UpgradeStep::SendPong => ProbeStep::SendPong,
            UpgradeStep::Fail => ProbeStep::Fail,
            UpgradeStep::Swap => {
                self.transport = Transport::WebSocket;
                (self.get_waits, self.post) = (false, Post::None);
                if self.life == Life::Closing {
                    self.end();
                }
                ProbeStep::Swap
            }
        }
    }

    /// The connection that probes is lost, or it sent bytes that are not a packet. Another connection may
    /// probe.
    pub fn on_probe_lost(&mut self) {
        self.upgrade.fail();
    }

    // The end.

    /// Closes the session. Tell the application at the first call that does not return [`Closing::None`].
    /// Nothing more is queued after it.
    ///
    /// On polling an [orderly](Ending::Orderly) close lingers for at most 30 seconds, unless a GET waits and
    /// the queue is empty. A probe goes on meanwhile, because its client may poll no more. On WebSocket the
    /// session is over at once, and the connection writes the queue and then the close.
    pub fn close(&mut self, now: Duration, how: Ending, queue_is_empty: bool) -> Closing {
        match (self.life, how) {
            (Life::Closed, _) | (Life::Closing, Ending::Orderly) => return Closing::None,
            _ => {}
        }
        self.paused = false;
        self.release_post();
        let lingers = how == Ending::Orderly && !(self.get_waits && queue_is_empty);
        if lingers && self.transport == Transport::Polling {
            self.life = Life::Closing;
            self.linger_until = nanos(now.saturating_add(LINGER));
            return Closing::Lingers;
        }
        let answer = match how {
            Ending::Orderly | Ending::Immediate if queue_is_empty => GetAnswer::Close,
            Ending::Orderly | Ending::Immediate => GetAnswer::Packets,
            Ending::Peer => GetAnswer::Noop,
        };
        let answer = self.get_waits.then_some(answer);
        self.end();
        Closing::Over(answer)
    }

    fn end(&mut self) {
        self.life = Life::Closed;
        self.get_waits = false;
        self.post = Post::None;
        self.upgrade.fail();
    }

    // Time.

    /// The next action.
    pub fn poll(&mut self, now: Duration) -> Option<ServerAction> {
        if self.life == Life::Closed {
            return None;
        }
        match self.upgrade.poll(now) {
            UpgradeAction::TimedOut => return Some(ServerAction::ProbeTimedOut),
            UpgradeAction::FlushPolling if self.get_waits => return Some(ServerAction::ReleaseGet),
            UpgradeAction::FlushPolling | UpgradeAction::None => {}
        }
        if self.life == Life::Closing {
            let given_up = nanos(now) >= self.linger_until;
            return given_up.then(|| {
                self.end();
                ServerAction::GiveUp
            });
        }
        if self.paused && self.heartbeat.is_overdue(now) {
            self.heartbeat.excuse(now);
            return Some(ServerAction::CheckPeer);
        }
        match self.heartbeat.poll(now) {
            HeartbeatAction::None => None,
            HeartbeatAction::SendPing => Some(ServerAction::SendPing),
            HeartbeatAction::TimedOut => Some(ServerAction::PingTimedOut),
        }
    }

    /// The time for the next call of [`poll`](Self::poll). `None`: the session is over.
    pub fn deadline(&self) -> Option<Duration> {
        let own = match self.life {
            Life::Open => self.heartbeat.deadline(),
            Life::Closing => Duration::from_nanos(self.linger_until),
            Life::Closed => return None,
        };
        Some(self.upgrade.deadline().map_or(own, |upgrade| upgrade.min(own)))
    }
}
