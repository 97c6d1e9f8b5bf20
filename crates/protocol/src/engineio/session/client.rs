//! The session at the client's end.

use std::time::Duration;

use super::super::packet::Packet;
use super::heartbeat::HeartbeatAction;
use super::upgrade::UpgradeRefused;
use super::{Ending, Heartbeat, Life, Received, Transport, Version, nanos};

/// One session at the client's end. It begins with the server's open packet.
///
/// Call [`poll`](Self::poll) after every other call, until it answers `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSession {
    heartbeat: Heartbeat,
    /// The time when the upgrade fails, in nanoseconds.
    upgrade_until: u64,
    upgrade: Upgrade,
    version: Version,
    life: Life,
    transport: Transport,
    get: bool,
    post: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    /// The new connection is being opened.
    Opening,
    /// The probe is sent.
    Probing,
    /// The probe was answered. No new request is made, and the pending ones must return.
    Pausing,
    Done,
}

/// The action that [`ClientSession::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAction {
    /// Send a GET. When it is answered, handle its packets, then call [`ClientSession::on_get_answer`].
    Get,
    /// Send the queue in a POST. When it is answered, call [`ClientSession::on_post_answer`].
    Post,
    /// Write the queue to the WebSocket connection.
    Write,
    /// Queue a ping, without data. (Protocol 3.)
    SendPing,
    /// The server is silent: close the session as [`Immediate`](Ending::Immediate), with `ping timeout`.
    PingTimedOut,
    /// Send [`Packet::Upgrade`] by the new connection. The connection is now the session's, and the queue
    /// goes there.
    Upgrade,
    /// The upgrade took too long: close the new connection. The session stays on polling.
    ProbeTimedOut,
    /// The session is over. On polling, send [`Packet::Close`] in a last POST; on WebSocket, close the
    /// connection. If a connection probes, close it too.
    Close,
}

impl ClientSession {
    /// A session that begins on polling. `interval` and `timeout` come from the open packet.
    pub fn polling(now: Duration, version: Version, interval: Duration, timeout: Duration) -> Self {
        let heartbeat = match version {
            Version::V3 => Heartbeat::pinging(now, interval, timeout),
            Version::V4 => Heartbeat::listening(now, interval, timeout),
        };
        Self {
            heartbeat,
            upgrade_until: 0,
            upgrade: Upgrade::None,
            version,
            life: Life::Open,
            transport: Transport::Polling,
            get: false,
            post: false,
        }
    }

    /// A session that begins on WebSocket.
    pub fn websocket(now: Duration, version: Version, interval: Duration, timeout: Duration) -> Self {
        let polling = Self::polling(now, version, interval, timeout);
        Self { transport: Transport::WebSocket, upgrade: Upgrade::Done, ..polling }
    }

    /// Whether the session takes and sends messages.
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        self.life == Life::Closed
    }

    /// Whether the session is on polling.
    pub fn is_polling(&self) -> bool {
        self.transport == Transport::Polling
    }

    /// The GET was answered, and the answer's packets were handled.
    pub fn on_get_answer(&mut self) {
        self.get = false;
    }

    /// The POST was answered: its packets have arrived.
    pub fn on_post_answer(&mut self) {
        self.post = false;
    }

    /// A packet of the session's own transport was read.
    pub fn on_packet(&mut self, packet: &Packet<'_>, now: Duration) -> Received {
        if self.life == Life::Closed {
            return Received::Nothing;
        }
        match (packet, self.version) {
            (Packet::Close, _) => return Received::Close(Ending::Peer),
            (Packet::Ping(_), Version::V4) => {
                self.heartbeat.on_ping(now);
                return Received::Answer;
            }
            (Packet::Pong(_), Version::V3) => self.heartbeat.on_pong(now),
            _ => self.heartbeat.on_packet(now),
        }
        match packet {
            // After this end's close, the application gets no more messages.
            Packet::Message(_) | Packet::Binary(_) if self.life == Life::Open => Received::Deliver,
            _ => Received::Nothing,
        }
    }

    // The upgrade.

    /// Begins an upgrade. Open a connection, and call [`on_probe_open`](Self::on_probe_open) when it is open.
    /// The whole upgrade may take `timeout`.
    ///
    /// # Errors
    /// [`UpgradeRefused`] if an upgrade is under way or done, or if the session is closed.
    pub fn start_probe(&mut self, now: Duration, timeout: Duration) -> Result<(), UpgradeRefused> {
        match self.upgrade {
            _ if self.life != Life::Open => Err(UpgradeRefused::Closed),
            Upgrade::None => {
                self.upgrade = Upgrade::Opening;
                self.upgrade_until = nanos(now.saturating_add(timeout));
                Ok(())
            }
            Upgrade::Opening | Upgrade::Probing | Upgrade::Pausing => Err(UpgradeRefused::Probing),
            Upgrade::Done => Err(UpgradeRefused::Upgraded),
        }
    }

    /// The new connection is open. `true`: send [`Packet::Ping`] with `probe` there. `false`: it opened too
    /// late, close it.
    pub fn on_probe_open(&mut self) -> bool {
        let in_time = self.upgrade == Upgrade::Opening && self.life != Life::Closed;
        if in_time {
            self.upgrade = Upgrade::Probing;
        }
        in_time
    }

    /// A packet came by the new connection. `false`: the probe has failed, close the connection. The session
    /// stays on polling.
    pub fn on_probe_packet(&mut self, packet: &Packet<'_>) -> bool {
        if self.upgrade == Upgrade::Probing && *packet == Packet::Pong("probe") {
            self.upgrade = Upgrade::Pausing;
            return true;
        }
        self.on_probe_lost();
        false
    }

    /// The new connection was lost before the session moved to it.
    pub fn on_probe_lost(&mut self) {
        if self.upgrade != Upgrade::Done {
            self.upgrade = Upgrade::None;
        }
    }

    // The end.

    /// Closes the session. After an [orderly](Ending::Orderly) close the queue is still sent. If a probe was
    /// answered, the upgrade ends first. Call [`poll`](Self::poll) until it returns [`ClientAction::Close`].
    /// After any other close the session is over: close its connections.
    pub fn close(&mut self, how: Ending) {
        match how {
            Ending::Orderly if self.life == Life::Open => self.life = Life::Closing,
            Ending::Orderly => {}
            Ending::Immediate | Ending::Peer => self.end(),
        }
    }

    fn end(&mut self) {
        self.life = Life::Closed;
        (self.get, self.post) = (false, false);
        self.on_probe_lost();
    }

    // Time.

    /// The next action.
    pub fn poll(&mut self, now: Duration, queue_is_empty: bool) -> Option<ClientAction> {
        if self.life == Life::Closed {
            return None;
        }
        match self.heartbeat.poll(now) {
            HeartbeatAction::None => {}
            HeartbeatAction::SendPing => return Some(ClientAction::SendPing),
            HeartbeatAction::TimedOut => return Some(ClientAction::PingTimedOut),
        }
        if self.is_upgrading() && nanos(now) >= self.upgrade_until {
            self.upgrade = Upgrade::None;
            return Some(ClientAction::ProbeTimedOut);
        }
        match self.transport {
            Transport::Polling if self.upgrade == Upgrade::Pausing => self.poll_pausing(),
            Transport::Polling => self.poll_polling(queue_is_empty),
            Transport::WebSocket if !queue_is_empty => Some(ClientAction::Write),
            Transport::WebSocket => self.poll_close(),
        }
    }

    /// While polling pauses: once both requests have returned, polling has no packet under way in either
    /// direction.
    fn poll_pausing(&mut self) -> Option<ClientAction> {
        if self.get || self.post {
            return None;
        }
        self.upgrade = Upgrade::Done;
        self.transport = Transport::WebSocket;
        Some(ClientAction::Upgrade)
    }

    fn poll_polling(&mut self, queue_is_empty: bool) -> Option<ClientAction> {
        if !self.post && !queue_is_empty {
            self.post = true;
            return Some(ClientAction::Post);
        }
        if !self.post && self.life == Life::Closing {
            return self.poll_close();
        }
        (!std::mem::replace(&mut self.get, true)).then_some(ClientAction::Get)
    }

    fn poll_close(&mut self) -> Option<ClientAction> {
        (self.life == Life::Closing).then(|| {
            self.end();
            ClientAction::Close
        })
    }

    fn is_upgrading(&self) -> bool {
        matches!(self.upgrade, Upgrade::Opening | Upgrade::Probing | Upgrade::Pausing)
    }

    /// The latest time for the next call of [`poll`](Self::poll). `None`: the session is over.
    pub fn deadline(&self) -> Option<Duration> {
        if self.life == Life::Closed {
            return None;
        }
        let upgrade = self.is_upgrading().then(|| Duration::from_nanos(self.upgrade_until));
        Some(upgrade.map_or(self.heartbeat.deadline(), |upgrade| upgrade.min(self.heartbeat.deadline())))
    }
}
