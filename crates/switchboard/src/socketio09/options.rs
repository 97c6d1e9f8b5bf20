//! The times of sessions of old clients. Defaults are those of socket.io 0.9.19 and 0.6.17.

use std::time::Duration;

use switchboard_protocol::socketio09::Times;

use crate::error::more_than_nothing;

/// The times of sessions of Socket.IO 0.9 and 0.6, which [`Builder::old_clients`](crate::Builder::old_clients)
/// turns on. All other options of such a session are those of Engine.IO's sessions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OldClientOptions {
    /// How long a handshake of 0.9 may stay unused. Default 30 s.
    pub handshake_timeout: Duration,
    /// How long a poll waits for packets. Default 20 s.
    pub poll_duration: Duration,
    /// How long a client of 0.9 on polling may take between two polls. Default 60 s. The client is told, and
    /// gives the server up after as long a silence, so it must be longer than `heartbeat_interval`.
    pub close_timeout: Duration,
    /// When the server sends a heartbeat to a client of 0.9 on WebSocket or htmlfile, counted from the last
    /// answer. Default 25 s.
    pub heartbeat_interval: Duration,
    /// How long a client of 0.9 has to answer a heartbeat. Default 60 s. The client is told, and gives the
    /// server up after as long a silence, so it must be longer than `heartbeat_interval`.
    pub heartbeat_timeout: Duration,
    /// How long a client of 0.6 on polling may take between two polls. Default 8 s.
    pub close_timeout_06: Duration,
    /// When the server sends a heartbeat to a client of 0.6 that is not on polling, counted from the last
    /// answer. Default 10 s.
    pub heartbeat_interval_06: Duration,
    /// How long a client of 0.6 has to answer a heartbeat. Default 8 s.
    pub heartbeat_timeout_06: Duration,
}

impl Default for OldClientOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(30),
            poll_duration: Duration::from_secs(20),
            close_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(60),
            close_timeout_06: Duration::from_secs(8),
            heartbeat_interval_06: Duration::from_secs(10),
            heartbeat_timeout_06: Duration::from_secs(8),
        }
    }
}

impl OldClientOptions {
    /// # Errors
    /// What makes no sense, by name.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (what, time) in [
            ("handshake_timeout", self.handshake_timeout),
            ("poll_duration", self.poll_duration),
            ("close_timeout", self.close_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("heartbeat_timeout", self.heartbeat_timeout),
            ("close_timeout_06", self.close_timeout_06),
            ("heartbeat_interval_06", self.heartbeat_interval_06),
            ("heartbeat_timeout_06", self.heartbeat_timeout_06),
        ] {
            more_than_nothing(what, !time.is_zero())?;
        }
        if self.heartbeat_interval >= self.close_timeout.min(self.heartbeat_timeout) {
            return Err(
                "`heartbeat_interval` must be shorter than `close_timeout` and `heartbeat_timeout`: \
                 clients give a server up that is silent for so long"
                    .to_owned(),
            );
        }
        Ok(())
    }

    pub(super) fn times_09(&self) -> Times {
        Times {
            handshake_timeout: self.handshake_timeout,
            poll_duration: self.poll_duration,
            close_timeout: self.close_timeout,
            heartbeat_interval: self.heartbeat_interval,
            heartbeat_timeout: self.heartbeat_timeout,
        }
    }

    pub(super) fn times_06(&self) -> Times {
        Times {
            handshake_timeout: self.handshake_timeout,
            poll_duration: self.poll_duration,
            close_timeout: self.close_timeout_06,
            heartbeat_interval: self.heartbeat_interval_06,
            heartbeat_timeout: self.heartbeat_timeout_06,
        }
    }
}
