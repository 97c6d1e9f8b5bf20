//! The open packet, which tells a new client its session's parameters. Protocol 4, section "Handshake".

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::packet::DecodeError;

/// The parameters that the server writes into the open packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPacket<'a> {
    /// The session's id.
    pub sid: &'a str,
    /// The transports to which the client may upgrade.
    pub upgrades: &'a [&'a str],
    /// Time between two pings; written in whole milliseconds.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered; written in whole milliseconds.
    pub ping_timeout: Duration,
    /// The most bytes of one polling body or one WebSocket message.
    pub max_payload: usize,
}

/// An open packet as a client received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedOpen {
    /// The session's id.
    pub sid: String,
    /// The transports to which the client may upgrade.
    pub upgrades: Vec<String>,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered.
    pub ping_timeout: Duration,
    /// The most bytes that the server takes in one body. `None`: the server does not say (before engine.io
    /// 6.0).
    pub max_payload: Option<usize>,
}

/// The JSON, with fields in Node's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    sid: String,
    upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: Option<usize>,
}

impl OpenPacket<'_> {
    /// Appends the whole packet: `0` and the JSON, with its fields in Node's order.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'0');
        let written = Written {
            sid: self.sid,
            upgrades: self.upgrades,
            ping_interval: millis(self.ping_interval),
            ping_timeout: millis(self.ping_timeout),
            max_payload: self.max_payload,
        };
        // Writing strings and integers into memory cannot fail.
        let _ = serde_json::to_writer(out, &written);
    }

    /// Reads the data of a [`Packet::Open`](super::Packet::Open).
    ///
    /// # Errors
    /// [`DecodeError::Open`] if the data is not a JSON object with the fields of a handshake.
    pub fn decode(json: &str) -> Result<ReceivedOpen, DecodeError> {
        let read: Read = serde_json::from_str(json).map_err(|_| DecodeError::Open)?;
        Ok(ReceivedOpen {
            sid: read.sid,
            upgrades: read.upgrades,
            ping_interval: Duration::from_millis(read.ping_interval),
            ping_timeout: Duration::from_millis(read.ping_timeout),
            max_payload: read.max_payload,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
