//! The events of one history: an order, bounds in time and bytes, and what came after a position. No I/O, and
//! time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;

use super::position::Position;
use crate::{Broadcast, MemberId, RoomName, Target};

/// An event of a history.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    /// In milliseconds since 1970.
    pub(crate) time: u64,
    pub(crate) broadcast: Arc<Broadcast>,
}

/// What one entry takes beside its event.
const OVERHEAD: usize = 128;

impl Entry {
    fn bytes(&self) -> usize {
        self.broadcast.bytes() + OVERHEAD
    }
}

/// The events of a history, oldest first.
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The position of the last event.
    head: Position,
    /// The last event that the log holds no more, and its time.
    forgotten: (Position, u64),
    /// How long events are kept, in milliseconds.
    keep: u64,
    max_bytes: usize,
}

impl Log {
    /// A log that begins behind `head`.
    pub(crate) fn new(head: Position, keep: u64, max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, head, forgotten: Default::default(), keep, max_bytes }
    }

    /// The position of the last event.
    pub(crate) fn head(&self) -> Position {
        self.head
    }

    /// The last event that is held no more, and its time.
    pub(crate) fn forgotten(&self) -> (Position, u64) {
        self.forgotten
    }

    /// What an earlier life of the server had forgotten.
    pub(crate) fn set_forgotten(&mut self, forgotten: (Position, u64)) {
        self.forgotten = forgotten;
    }

    /// The time of the last event that is held.
    pub(crate) fn last_time(&self) -> Option<u64> {
        self.entries.back().map(|last| last.time)
    }

    /// Adds an event, and forgets those that the bounds leave no room for. Returns its position.
    pub(crate) fn append(&mut self, now: u64, broadcast: Arc<Broadcast>) -> Position {
        self.head = self.head.next();
        self.push(Entry { position: self.head, time: now, broadcast });
        self.forget_old(now);
        self.head
    }

    /// Adds an event that has its position, which is behind all others but not behind the head.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.bytes > self.max_bytes && self.forget_first() {
            metrics::counter!("switchboard_history_overflow_total").increment(1);
        }
    }

    /// Forgets the events whose time is over.
    pub(crate) fn forget_old(&mut self, now: u64) {
        let until = now.saturating_sub(self.keep);
        while self.entries.front().is_some_and(|first| first.time < until) {
            self.forget_first();
        }
    }

    /// When the oldest event's time is over.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.entries.front().map(|first| first.time.saturating_add(self.keep).saturating_add(1))
    }

    fn forget_first(&mut self) -> bool {
        let Some(first) = self.entries.pop_front() else { return false };
        self.bytes -= first.bytes();
        self.forgotten = (first.position, first.time);
        true
    }

    /// Whether nothing is missing of what a peer has to get after `after`, if it has got all that was sent to
    /// it before `confirmed`.
    pub(crate) fn is_complete(&self, after: Position, confirmed: u64) -> bool {
        let (position, time) = self.forgotten;
        after >= position || time < confirmed
    }

    /// The events after a position, oldest first.
    pub(crate) fn after(&self, after: Position) -> impl Iterator<Item = &Entry> {
        let from = self.entries.partition_point(|entry| entry.position <= after);
        self.entries.range(from..)
    }
}

/// A member that is not there, as targets name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absent<'a> {
    pub(crate) id: MemberId,
    pub(crate) rooms: &'a [RoomName],
}

impl Absent<'_> {
    /// Whether the target names the member.
    pub(crate) fn is_in(&self, target: &Target) -> bool {
        let is_in = |room: &RoomName| **room == *self.id.as_str() || self.rooms.contains(room);
        target.except_member != Some(self.id)
            && (target.rooms.is_empty() || target.rooms.iter().any(is_in))
            && !target.except.iter().any(is_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, Payload, ScopeId, Variant};

    struct Text(usize);

    impl Payload for Text {
        fn encode(&self, _: Variant, _: Framing, _: &mut Vec<u8>) -> bool {
            false
        }

        fn bytes(&self) -> usize {
            self.0
        }

        fn write(&self, _: &mut Vec<u8>) {}
    }

    fn to(rooms: &[&str], bytes: usize) -> Arc<Broadcast> {
        let rooms = rooms.iter().map(|room| RoomName::from(*room)).collect();
        let target = Target { rooms, ..Target::all(ScopeId::EMPTY) };
        Arc::new(Broadcast {
            target,
            payload: Arc::new(Text(bytes)),
            volatile: false,
            key: None,
            ordered: false,
        })
    }

    const START: Position = Position { epoch: 7, number: 0 };

    fn numbers(log: &Log, after: Position) -> Vec<u64> {
        log.after(after).map(|entry| entry.position.number).collect()
    }

    #[test]
    fn events_after_a_position_come_in_order() {
        let mut log = Log::new(START, 1000, 1 << 20);
        let first = log.append(1, to(&[], 1));
        log.append(2, to(&[], 1));
        let last = log.append(3, to(&[], 1));
        assert_eq!(numbers(&log, START), [1, 2, 3]);
        assert_eq!(numbers(&log, first), [2, 3]);
        assert_eq!(numbers(&log, last), [0; 0]);
        // A position of an earlier life is before all of this one.
        assert_eq!(numbers(&log, Position { epoch: 6, number: 99 }), [1, 2, 3]);
        assert_eq!(log.head(), last);
    }

    #[test]
    fn events_are_forgotten_by_time_and_by_bytes() {
        let mut log = Log::new(START, 1000, 3 * (OVERHEAD + 10));
        for now in [0, 10, 20, 30] {
            log.append(now, to(&[], 10));
        }
        assert_eq!(numbers(&log, START), [2, 3, 4]);
        assert_eq!(log.forgotten.0.number, 1);
        log.forget_old(1011);
        assert_eq!(numbers(&log, START), [3, 4]);
        assert_eq!(log.next_expiry(), Some(1021));
        log.forget_old(9999);
        assert_eq!((numbers(&log, START), log.next_expiry(), log.bytes), (vec![], None, 0));
        // The head does not go back.
        assert_eq!(log.append(9999, to(&[], 1)).number, 5);
    }

    #[test]
    fn an_idle_gap_is_complete_if_the_peer_had_all_that_was_forgotten() {
        let mut log = Log::new(START, 1000, 1 << 20);
        let old = log.append(0, to(&[], 1));
        log.append(500, to(&[], 1));
        log.forget_old(1600);
        assert!(log.is_complete(Position { number: 2, ..old }, 0), "the peer has them");
        assert!(!log.is_complete(old, 500), "it may have missed the second one");
        assert!(log.is_complete(old, 501), "it was there when they were sent");
    }

    #[test]
    fn an_absent_member_is_named_by_its_rooms_and_its_id() {
        let id = MemberId::parse("AAAAAAAAAAAAAAAAAAAA").expect("an id");
        let rooms = [RoomName::from("a"), RoomName::from("b")];
        let absent = Absent { id, rooms: &rooms };
        let target = |rooms: &[&str], except: &[&str]| Target {
            rooms: rooms.iter().map(|room| RoomName::from(*room)).collect(),
            except: except.iter().map(|room| RoomName::from(*room)).collect(),
            ..Target::all(ScopeId::EMPTY)
        };
        for (rooms, except, named) in [
            (&[][..], &[][..], true),
            (&["a"], &[], true),
            (&["c", "b"], &[], true),
            (&["c"], &[], false),
            (&["a"], &["b"], false),
            (&[], &["c"], true),
            (&[id.as_str()], &[], true),
            (&[], &[id.as_str()], false),
        ] {
            assert_eq!(absent.is_in(&target(rooms, except)), named, "{rooms:?} without {except:?}");
        }
        assert!(!absent.is_in(&Target { except_member: Some(id), ..target(&["a"], &[]) }));
    }
}
