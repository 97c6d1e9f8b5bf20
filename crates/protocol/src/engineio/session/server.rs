//! The session at the server's end.

use std::time::Duration;

use super::super::packet::Packet;
use super::heartbeat::HeartbeatAction;
use super::upgrade::{Upgrade, UpgradeAction, UpgradeRefused, UpgradeStep};
use super::{Ending, Heartbeat, Life, Received, Transport, Version, nanos};

/// How long a session that the server has closed waits for the polls that fetch its queue and the close.
const LINGER: Duration = Duration::from_secs(30);

/// One session at the server's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSession {
    heartbeat: Heartbeat,
    upgrade: Upgrade,
    /// When a session that is closing waits no more, in nanoseconds.
    linger_until: u64,
    version: Version,
    life: Life,
    transport: Transport,
    get_waits: bool,
    post: Post,
    paused: bool,
}

/// The POST of a session: there is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    None,
    /// Its head has come, its body has not.
    Arriving,
    /// Its packets are being handled.
    Handled,
    /// Its packets were handled. It is answered when the session reads again.
    Held,
}

/// Whether a request belongs to a session, and may do what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It may. A GET waits from now on for [`ServerSession::answer_get`]; the packets of a POST are
    /// to be handled.
    Accept,
    /// Another request of its kind is under way. Answer 400 with nothing, and close the session as
    /// [`Immediate`](Ending::Immediate).
    Overlap,
    /// The session is on another transport: error code 3. The session goes on.
    WrongTransport,
    /// The session is over: error code 1.
    Unknown,
}

/// What the GET that waited is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GetAnswer {
    /// The whole queue.
    Packets,
    /// A noop alone.
    Noop,
    /// A close alone.
    Close,
    /// A noop and a close: the session was closed before the GET came. So Node words it.
    NoopAndClose,
}

/// What closing a session comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Nothing: it was closed before.
    None,
    /// It goes on without its application until polls have fetched the queue and the close.
    Lingers,
    /// It is over. The GET that waits, if one does, gets this answer.
    Over(Option<GetAnswer>),
}

/// How to answer a packet of a connection that probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeStep {
    /// Answer there: [`Packet::Pong`] with `probe`. Then call [`ServerSession::poll`].
    SendPong,
    /// The session is on this connection now. A GET that waits is answered with a noop, a POST that
    /// is held as usual; the queue goes out here. If the session [is over](ServerSession::is_over)
    /// now, close the connection behind that.
    Swap,
    /// The probe has failed: close the connection. The session stays where it is.
    Fail,
}

/// What [`ServerSession::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerAction {
    /// Send a ping, without data.
    SendPing,
    /// The client does not answer: close the session as [`Immediate`](Ending::Immediate), with
    /// `ping timeout`.
    PingTimedOut,
    /// The session does not read, so a lost client does not show by its silence: look whether its
    /// connection is still there.
    CheckPeer,
    /// A GET that waits is to return, for its client waits for that: call
    /// [`ServerSession::release_get`].
    ReleaseGet,
    /// The client did not complete its upgrade in time: close the connection that probes.
    ProbeTimedOut,
    /// No poll fetched the last packets of a closing session: the session is over.
    GiveUp,
}

impl ServerSession {
    /// A session that begins on polling.
    pub fn polling(now: Duration, version: Version, interval: Duration, timeout: Duration) -> Self {
        Self::new(now, version, interval, timeout, Transport::Polling)
    }

    /// A session that begins on WebSocket, where it stays.
    pub fn websocket(now: Duration, version: Version, interval: Duration, timeout: Duration) -> Self {
        Self::new(now, version, interval, timeout, Transport::WebSocket)
    }

    fn new(
        now: Duration,
        version: Version,
        interval: Duration,
        timeout: Duration,
        transport: Transport,
    ) -> Self {
        let heartbeat = match version {
            Version::V3 => Heartbeat::listening(now, interval, timeout),
            Version::V4 => Heartbeat::pinging(now, interval, timeout),
        };
        let upgrade = match transport {
            Transport::Polling => Upgrade::new(),
            Transport::WebSocket => Upgrade::done(),
        };
        Self {
            heartbeat,
            upgrade,
            linger_until: 0,
            version,
            life: Life::Open,
            transport,
            get_waits: false,
            post: Post::None,
            paused: false,
        }
    }

    /// The version it speaks. A later request that names another one is refused with error code 3.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the session takes and sends messages.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether the session is over: nobody finds it any more.
    pub fn is_over(&self) -> bool {
        self.life == Life::Closed
    }

    /// Whether the session is on polling.
    pub fn is_polling(&self) -> bool {
        self.transport == Transport::Polling
    }

    /// Whether a GET waits to be answered.
    pub fn get_waits(&self) -> bool {
        self.get_waits
    }

    // Requests of the polling transport.

    /// A GET has come. If it is accepted, call [`answer_get`](Self::answer_get) now and whenever the
    /// queue has changed.
    pub fn on_get(&mut self) -> Admission {
        let admission = self.admit(self.get_waits);
        if admission == Admission::Accept {
            self.get_waits = true;
        }
        admission
    }

    /// The head of a POST has come, its body has not. When the body is there, call
    /// [`on_post`](Self::on_post) with `announced`.
    pub fn on_post_head(&mut self) -> Admission {
        let admission = self.admit(self.post != Post::None);
        if admission == Admission::Accept {
            self.post = Post::Arriving;
        }
        admission
    }

    /// A POST has come in whole. If it is accepted, pass its packets to [`on_packet`](Self::on_packet)
    /// until the session [is over](Self::is_over), and then call
    /// [`on_post_handled`](Self::on_post_handled).
    /// `announced`: [`on_post_head`](Self::on_post_head) was called for it.
    pub fn on_post(&mut self, announced: bool) -> Admission {
        let expected = if announced { Post::Arriving } else { Post::None };
        let admission = self.admit(self.post != expected);
        if admission == Admission::Accept {
            self.post = Post::Handled;
        }
        admission
    }

    /// The packets of a POST were handled. `true`: answer it now. `false`: keep it until the session
    /// is resumed, closed or swapped; its client sends nothing more before it has the answer. `hold`:
    /// the owner has a reason of its own to keep it, until [`release_post`](Self::release_post).
    pub fn on_post_handled(&mut self, hold: bool) -> bool {
        if self.post != Post::Handled {
            return true;
        }
        let held = (hold || self.paused) && self.is_open();
        self.post = if held { Post::Held } else { Post::None };
        !held
    }

    /// The owner keeps the POST for no reason of its own any more. `true`: answer it now, if it waits.
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

    /// What the GET that waits is answered with now. `None`: none waits, or there is nothing for it.
    ///
    /// A close goes alone, behind a poll that fetched all there was: the official client handles a
    /// close at once, and the packets before it in the same answer one tick later, which is too late
    /// for them. With it the session [is over](Self::is_over).
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

    /// Lets the GET that waits return, with the queue or with a noop.
    pub fn release_get(&mut self, queue_is_empty: bool) -> Option<GetAnswer> {
        self.answer_get(queue_is_empty)
            .or_else(|| std::mem::take(&mut self.get_waits).then_some(GetAnswer::Noop))
    }

    // Packets.

    /// A packet of the session's own transport was read. `now` is asked for only where time matters.
    /// A session that is closing takes no message any more, but the client's own close.
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

    /// The session takes no input from now on: a POST that was handled is not answered. Its client's
    /// silence is excused. (In protocol 3 the client gives up, `timeout` after a ping that was not read.)
    pub fn pause(&mut self) {
        self.paused = self.is_open();
    }

    /// The session takes input again. `false`: it had not stopped. A POST that was held is answered
    /// now.
    pub fn resume(&mut self, now: Duration) -> bool {
        let was_paused = std::mem::take(&mut self.paused);
        if was_paused {
            self.heartbeat.resume(now);
            self.release_post();
        }
        was_paused
    }

    /// The owner reads nothing for now, though the session is not [paused](Self::pause). If the client's
    /// silence would end the session at `now`, it is excused where `is_alive` says that the client does
    /// something else.
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

    /// A connection asks to take the session over; it has `timeout` to do so (Node: 10 s).
    ///
    /// # Errors
    /// [`UpgradeRefused`] where it may not: close the connection.
    pub fn start_probe(&mut self, now: Duration, timeout: Duration) -> Result<(), UpgradeRefused> {
        if !self.is_open() {
            return Err(UpgradeRefused::Closed);
        }
        self.upgrade.start(now, timeout)
    }

    /// A packet came by the connection that probes.
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

    /// The connection that probes is gone, or sent something that is no packet: another one may probe.
    pub fn on_probe_lost(&mut self) {
        self.upgrade.fail();
    }

    // The end.

    /// Closes the session. Its application is told at the first call that does not return
    /// [`Closing::None`]; nothing more is queued.
    ///
    /// On polling an [orderly](Ending::Orderly) close lingers, for 30 seconds at most, unless a GET
    /// waits and the queue is empty. A probe that is under way goes on meanwhile, as its client may
    /// poll no more. On WebSocket the session is over at once: the queue, and then the close, are
    /// its connection's to write.
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

    /// What there is to do now.
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

    /// When to call [`poll`](Self::poll). `None`: the session is over.
    pub fn deadline(&self) -> Option<Duration> {
        let own = match self.life {
            Life::Open => self.heartbeat.deadline(),
            Life::Closing => Duration::from_nanos(self.linger_until),
            Life::Closed => return None,
        };
        Some(self.upgrade.deadline().map_or(own, |upgrade| upgrade.min(own)))
    }
}
