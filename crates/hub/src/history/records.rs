//! Events and sessions as bytes, for a store. Numbers are little-endian.

use std::sync::Arc;

use super::position::Position;
use super::sessions::{Secret, SessionState, SessionToken};
use crate::codec::{Reader, put_bytes, put_names, put_target};
use crate::{Broadcast, MemberId, Payload, ScopeId};

/// Reads a payload that was [written](Payload::write).
pub type ReadPayload = Arc<dyn Fn(&[u8]) -> Option<Arc<dyn Payload>> + Send + Sync>;

/// An event as a store keeps it.
pub(super) fn write_event(time: u64, broadcast: &Broadcast) -> Vec<u8> {
    let mut out = Vec::with_capacity(broadcast.bytes() + 64);
    out.extend(time.to_le_bytes());
    put_target(&mut out, &broadcast.target);
    broadcast.payload.write(&mut out);
    out
}

/// The time of an event, and the event.
pub(super) fn read_event(bytes: &[u8], scope: ScopeId, read: &ReadPayload) -> Option<(u64, Broadcast)> {
    let mut reader = Reader(bytes);
    let time = u64::from_le_bytes(reader.array()?);
    let target = reader.target(scope)?;
    let payload = read(reader.rest())?;
    Some((time, Broadcast { target, payload, volatile: false, key: None, ordered: false }))
}

/// A session as a store keeps it.
#[derive(Debug, Clone)]
pub(super) struct SessionRecord {
    pub(super) token: SessionToken,
    pub(super) start: Position,
    /// Since when its client is away; 0: it is there.
    pub(super) since: u64,
    pub(super) state: SessionState,
}

impl SessionRecord {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&self.token.secret.0);
        for number in [self.start.epoch, self.start.number, self.since] {
            out.extend(number.to_le_bytes());
        }
        put_names(&mut out, &self.state.rooms);
        put_bytes(&mut out, &self.state.data);
        out
    }

    pub(super) fn read(id: MemberId, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let token = SessionToken { id, secret: Secret(reader.array()?) };
        let [epoch, number, since] =
            [reader.array()?, reader.array()?, reader.array()?].map(u64::from_le_bytes);
        let (rooms, data) = (reader.names()?.into_vec(), reader.bytes()?.to_vec());
        let state = SessionState { id, rooms, data, values: None };
        Some(Self { token, start: Position { epoch, number }, since, state })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_session_is_read_as_it_was_written(
            rooms in prop::collection::vec(".*", 0..4), data: Vec<u8>, epoch: u64, number: u64, since: u64,
        ) {
            let id = MemberId::parse("AAAAAAAAAAAAAAAAAAAA").expect("an id");
            let token = SessionToken::random(id).expect("randomness");
            let state = SessionState { id, rooms: rooms.into_iter().map(Into::into).collect(), data, values: None };
            let record = SessionRecord { token, start: Position { epoch, number }, since, state };
            let read = SessionRecord::read(id, &record.write()).expect("a session");
            prop_assert!(read.token.secret == token.secret);
            prop_assert_eq!((read.start, read.since), (record.start, since));
            prop_assert_eq!((read.state.rooms, read.state.data), (record.state.rooms, record.state.data));
        }

        #[test]
        fn bytes_of_any_kind_are_a_record_or_none(bytes: Vec<u8>) {
            let id = MemberId::parse("AAAAAAAAAAAAAAAAAAAA").expect("an id");
            let nothing: ReadPayload = Arc::new(|_| None);
            prop_assert!(read_event(&bytes, ScopeId::EMPTY, &nothing).is_none());
            let _none_or_some = SessionRecord::read(id, &bytes);
        }
    }
}
