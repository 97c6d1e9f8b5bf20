//! The times of a session, without a clock: an unused handshake, the length of a poll, heartbeats, and the
//! silence of a client between two polls. Socket.IO 0.6 has the same rules with other times.

use std::time::Duration;

/// The times of a session. Each is more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long a handshake may stay unused.
    pub handshake_timeout: Duration,
    /// How long a poll waits for packets.
    pub poll_duration: Duration,
    /// How long a client on polling may take between two polls.
    pub close_timeout: Duration,
    /// When the server sends a heartbeat, counted from the last answer.
    pub heartbeat_interval: Duration,
    /// How long the client has to answer it.
    pub heartbeat_timeout: Duration,
}

/// The kinds of transports, as far as the rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The client asks again and again: there are no heartbeats.
    Polling,
    /// The server may send at any time: WebSocket, htmlfile, multipart.
    Streaming,
}

/// The reason why a client is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The handshake was not used.
    Unused,
    /// A heartbeat was not answered.
    Heartbeat,
    /// No poll came.
    NoPoll,
}

/// What [`Rules::poll`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send a heartbeat.
    SendHeartbeat,
    /// End the poll that waits, with nothing in it, and call [`Rules::on_poll_end`].
    EndPoll,
    /// Close the session.
    Close(Lost),
    /// A closed session has waited long enough for the poll that would have told its client.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unused,
    PollWaits,
    NoPoll,
    Resting,
    Awaiting,
    Lingering,
    Over,
}

/// The rules of one session. Times count from a moment that the caller chooses, the same for every call. Call
/// [`poll`](Self::poll) at the [`deadline`](Self::deadline) or a little later, until it asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    times: Times,
    phase: Phase,
    deadline: Duration,
}

impl Rules {
    /// A session whose client has shaken hands, and has no transport yet.
    pub fn new(now: Duration, times: Times) -> Self {
        let mut rules = Self { times, phase: Phase::Unused, deadline: Duration::ZERO };
        rules.enter(Phase::Unused, now, times.handshake_timeout);
        rules
    }

    fn enter(&mut self, phase: Phase, now: Duration, time: Duration) {
        self.phase = phase;
        self.deadline = now.saturating_add(time);
    }

    /// When to call [`poll`](Self::poll) next; `None` if never.
    pub fn deadline(&self) -> Option<Duration> {
        (self.phase != Phase::Over).then_some(self.deadline)
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Lingering | Phase::Over)
    }

    /// Whether the session has closed, and a poll has yet to fetch what waits.
    pub fn lingers(&self) -> bool {
        self.phase == Phase::Lingering
    }

    /// A poll waits, or a transport that streams has opened. It takes the place of the one that was there.
    pub fn on_transport(&mut self, now: Duration, transport: Transport) {
        match transport {
            _ if !self.is_open() => {}
            Transport::Polling => self.enter(Phase::PollWaits, now, self.times.poll_duration),
            Transport::Streaming => self.enter(Phase::Resting, now, self.times.heartbeat_interval),
        }
    }

    /// The poll that waited was answered, or its caller has left.
    pub fn on_poll_end(&mut self, now: Duration) {
        if self.phase == Phase::PollWaits {
            self.enter(Phase::NoPoll, now, self.times.close_timeout);
        }
    }

    /// The client answered a heartbeat. One that nobody awaits changes nothing.
    pub fn on_heartbeat(&mut self, now: Duration) {
        if self.phase == Phase::Awaiting {
            self.enter(Phase::Resting, now, self.times.heartbeat_interval);
        }
    }

    /// Excuses a silence that the server caused, because it did not read: an answer has its whole time anew.
    pub fn excuse(&mut self, now: Duration) {
        if self.phase == Phase::Awaiting {
            self.enter(Phase::Awaiting, now, self.times.heartbeat_timeout);
        }
    }

    /// The session has closed. `lingers`: a poll has yet to fetch what waits, and has the time for it that it
    /// always has.
    pub fn close(&mut self, now: Duration, lingers: bool) {
        if lingers {
            self.enter(Phase::Lingering, now, self.times.close_timeout);
        } else {
            self.phase = Phase::Over;
        }
    }

    /// The action that is due, if one is.
    pub fn poll(&mut self, now: Duration) -> Option<Action> {
        if now < self.deadline {
            return None;
        }
        match self.phase {
            Phase::Unused => Some(Action::Close(Lost::Unused)),
            Phase::PollWaits => Some(Action::EndPoll),
            Phase::NoPoll => Some(Action::Close(Lost::NoPoll)),
            Phase::Awaiting => Some(Action::Close(Lost::Heartbeat)),
            Phase::Resting => {
                self.enter(Phase::Awaiting, now, self.times.heartbeat_timeout);
                Some(Action::SendHeartbeat)
            }
            Phase::Lingering => Some(Action::GiveUp),
            Phase::Over => None,
        }
    }
}
