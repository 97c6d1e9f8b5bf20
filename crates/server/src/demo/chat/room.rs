//! One room: its members, its last messages, and the ids of messages that visitors may send again after a
//! lost connection.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::wire::{Content, Member, MemberId, Message, RoomName, Said};

/// The number of messages kept for members who enter.
const HISTORY: usize = 50;
/// The number of messages that are recognised when they are sent again.
const REMEMBERED: usize = 1000;
/// The greatest number of members that a snapshot names.
const NAMED: usize = 100;

type Sent = (MemberId, Arc<str>);

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    /// Names this life of the room to the pages. A room that was forgotten and opened again has a new life.
    pub(crate) epoch: Arc<str>,
    /// Names this life in the server. No two lives of any rooms have the same number.
    pub(crate) life: u64,
    /// The number of the newest message; 0 if there is none.
    pub(crate) last: u64,
    /// The time of the last activity in the room.
    pub(crate) active: Instant,
    /// Members in the order in which they came.
    members: BTreeMap<u64, Member>,
    history: VecDeque<Arc<Message>>,
    sent: HashMap<Sent, Said>,
    sent_order: VecDeque<Sent>,
}

impl Room {
    pub(crate) fn new(name: RoomName, epoch: Arc<str>, life: u64, now: Instant) -> Self {
        Self {
            name,
            epoch,
            life,
            last: 0,
            active: now,
            members: BTreeMap::new(),
            history: VecDeque::new(),
            sent: HashMap::new(),
            sent_order: VecDeque::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The first members, in the order in which they came.
    pub(crate) fn named(&self) -> Vec<Member> {
        self.members.values().take(NAMED).cloned().collect()
    }

    /// Adds a member, or renames the member in this seat. Returns whether anything changed.
    pub(crate) fn seat(&mut self, seat: u64, member: Member) -> bool {
        let same = self.members.get(&seat) == Some(&member);
        self.members.insert(seat, member);
        !same
    }

    pub(crate) fn unseat(&mut self, seat: u64) {
        self.members.remove(&seat);
    }

    /// The kept messages. If the page already has messages of this life of the room, only those later than
    /// `after`.
    pub(crate) fn history(&self, epoch: Option<&str>, after: Option<u64>) -> Vec<Arc<Message>> {
        let after = after.filter(|_| epoch == Some(&*self.epoch)).unwrap_or(0);
        self.history.iter().filter(|message| message.id > after).cloned().collect()
    }

    /// The earlier answer to a message that is sent again.
    pub(crate) fn said(&self, member: &MemberId, client_id: &Arc<str>) -> Option<Said> {
        self.sent.get(&(Arc::clone(member), Arc::clone(client_id))).copied()
    }

    /// Gives a message its number, and keeps it. The caller must check that it is not sent again.
    pub(crate) fn post(
        &mut self,
        from: Member,
        client_id: Arc<str>,
        content: Content,
        at: u64,
    ) -> Arc<Message> {
        self.last += 1;
        let key = (Arc::clone(&from.id), Arc::clone(&client_id));
        let message =
            Arc::new(Message { room: Arc::clone(&self.name), id: self.last, client_id, from, at, content });
        self.sent.insert(key.clone(), Said { id: self.last, at });
        self.sent_order.push_back(key);
        if self.sent_order.len() > REMEMBERED
            && let Some(oldest) = self.sent_order.pop_front()
        {
            self.sent.remove(&oldest);
        }
        self.history.push_back(Arc::clone(&message));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room::new("lobby".into(), "epoch".into(), 1, Instant::now())
    }

    fn member(id: &str) -> Member {
        Member { id: id.into(), name: id.into() }
    }

    fn say(room: &mut Room, client_id: &str) -> u64 {
        room.post(member("ada"), client_id.into(), Content::Text("hi".to_owned()), 7).id
    }

    fn ids(messages: &[Arc<Message>]) -> Vec<u64> {
        messages.iter().map(|message| message.id).collect()
    }

    #[test]
    fn messages_are_numbered_from_1_without_gaps() {
        let mut room = room();
        assert_eq!(
            (1..=60).map(|n| say(&mut room, &n.to_string())).collect::<Vec<_>>(),
            (1..=60).collect::<Vec<_>>()
        );
        assert_eq!(room.last, 60);
    }

    #[test]
    fn the_last_50_are_kept_and_those_after_a_number_of_the_same_epoch_asked_for() {
        let mut room = room();
        assert_eq!(ids(&room.history(None, None)), [0; 0]);
        for n in 1..=60 {
            say(&mut room, &n.to_string());
        }
        for (epoch, after, first) in [
            (None, None, 11),
            (Some("epoch"), None, 11),
            (Some("epoch"), Some(5), 11),
            (Some("epoch"), Some(57), 58),
            (Some("another"), Some(57), 11),
            (None, Some(57), 11),
            (Some("epoch"), Some(60), 61),
            (Some("epoch"), Some(u64::MAX), 61),
        ] {
            assert_eq!(
                ids(&room.history(epoch, after)),
                (first..=60).collect::<Vec<_>>(),
                "{epoch:?} {after:?}"
            );
        }
    }

    #[test]
    fn the_last_1000_messages_are_recognised_by_member_and_client_id() {
        let mut room = room();
        for n in 1..=1001_u32 {
            say(&mut room, &n.to_string());
        }
        let said = |by: &str, client_id: &str| room.said(&by.into(), &client_id.into());
        assert_eq!(said("ada", "1"), None);
        assert_eq!(said("ada", "2"), Some(Said { id: 2, at: 7 }));
        assert_eq!(said("tom", "2"), None);
        assert_eq!(room.sent.len(), 1000);
    }

    #[test]
    fn a_snapshot_names_the_first_100_and_counts_all() {
        let mut room = room();
        for n in 0..120 {
            assert!(room.seat(n, member(&n.to_string())));
        }
        assert!(!room.seat(3, member("3")));
        assert_eq!((room.count(), room.named().len(), &*room.named()[99].name), (120, 100, "99"));
    }
}
