//! Rooms and fan-out: who gets a broadcast, and how often it is encoded.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use common::{DEAF, Fake, LINES, PLAIN, Peer, Text, broadcast, on_worker, options, target, until_idle};
use proptest::prelude::*;
use switchboard_hub::{HubError, HubOptions, Session, Target, Variant, Worker};

#[test]
fn a_member_of_two_rooms_gets_one_copy() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let [both, one, none] = [0, 1, 2].map(|n| Peer::add(&worker, scope, n));
        for room in ["a", "b"] {
            assert_eq!(worker.join(both.key, room), Ok(true));
        }
        assert_eq!(worker.join(one.key, "b"), Ok(true));
        assert_eq!(worker.fan_out(broadcast(target(scope, &["a", "b"], &[]), &Text::new("x"))), 2);
        until_idle().await;
        assert_eq!([both, one, none].map(|peer| peer.session.written()), ["x", "x", ""]);
    });
}

#[test]
fn excepted_members_get_nothing_however_they_are_named() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let [a, b, c] = [0, 1, 2].map(|n| Peer::add(&worker, scope, n));
        for peer in [&a, &b, &c] {
            worker.join(peer.key, "all").expect("room");
        }
        worker.join(b.key, "quiet").expect("room");
        let sent = Target { except_member: Some(c.id), ..target(scope, &["all", a.id.as_str()], &["quiet"]) };
        assert_eq!(worker.fan_out(broadcast(sent, &Text::new("x"))), 1);
        assert_eq!(worker.fan_out(broadcast(target(scope, &[], &[a.id.as_str()]), &Text::new("y"))), 2);
        until_idle().await;
        assert_eq!([a, b, c].map(|peer| peer.session.written()), ["x", "y", "y"]);
    });
}

#[test]
fn a_members_id_is_a_room_of_its_own() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let [a, b] = [0, 1].map(|n| Peer::add(&worker, scope, n));
        // Others may join it, and its owner still gets one copy.
        worker.join(b.key, a.id.as_str()).expect("room");
        worker.join(a.key, a.id.as_str()).expect("room");
        assert_eq!(worker.fan_out(broadcast(target(scope, &[a.id.as_str()], &[]), &Text::new("x"))), 2);
        worker.remove_member(a.key);
        assert_eq!(worker.fan_out(broadcast(target(scope, &[a.id.as_str()], &[]), &Text::new("y"))), 1);
        until_idle().await;
        assert_eq!([a, b].map(|peer| peer.session.written()), ["x", "xy"]);
    });
}

#[test]
fn scopes_are_apart() {
    on_worker(&options(1), async |worker, _| {
        let (here, there) = (worker.hub().scope("/"), worker.hub().scope("/chat"));
        assert_eq!(worker.hub().scope("/"), here);
        // The same id and the same room's name, in both.
        let [a, b] = [here, there].map(|scope| Peer::add(&worker, scope, 7));
        for peer in [&a, &b] {
            worker.join(peer.key, "room").expect("room");
        }
        worker.fan_out(broadcast(target(here, &["room"], &[]), &Text::new("x")));
        worker.fan_out(broadcast(target(there, &[a.id.as_str()], &[]), &Text::new("y")));
        worker.fan_out(broadcast(Target::all(there), &Text::new("z")));
        until_idle().await;
        assert_eq!([a, b].map(|peer| peer.session.written()), ["x", "yz"]);
    });
}

#[test]
fn a_broadcast_is_encoded_once_for_each_variant_and_framing() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let forms = [(Variant(0), PLAIN), (Variant(0), LINES), (Variant(1), PLAIN), (DEAF, PLAIN)];
        let peers: Vec<_> = (0..40)
            .map(|n| {
                let (variant, framing) = forms[n as usize % forms.len()];
                Peer::with(&worker, scope, n, variant, Fake::new(1000, framing))
            })
            .collect();
        let text = Text::new("x");
        assert_eq!(worker.fan_out(broadcast(Target::all(scope), &text)), 30);
        until_idle().await;
        assert_eq!(*text.encoded.lock().expect("not poisoned"), forms);
        for (n, peer) in peers.iter().enumerate() {
            assert_eq!(peer.session.written(), if n % 4 == 3 { "" } else { "x" });
        }
    });
}

#[test]
fn an_outbox_tells_whether_its_peer_shares_broadcasts_with_others() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let [one, other] = [0, 1].map(|n| Peer::add(&worker, scope, n));
        let takes = |peer: &Peer| peer.session.outbox().take_shared();
        // What is laid at once, and what is written at the end of the turn.
        worker.fan_out(broadcast(target(scope, &[one.id.as_str()], &[]), &Text::new("x")));
        assert_eq!([takes(&one), takes(&other)], [true, false]);
        worker.broadcast(broadcast(target(scope, &[other.id.as_str()], &[]), &Text::new("y")).into());
        until_idle().await;
        assert_eq!([takes(&one), takes(&other)], [false, true]);
        let session = Rc::clone(&one.session) as Rc<dyn Session>;
        worker.write(&session, |out| out.push(b'z')).expect("room");
        assert_eq!([takes(&one), takes(&other)], [false, false]);
    });
}

#[test]
fn a_member_is_in_as_many_rooms_as_allowed() {
    on_worker(&HubOptions { max_rooms: 2, ..options(1) }, async |worker, _| {
        let scope = worker.hub().scope("/");
        let [a, b] = [0, 1].map(|n| Peer::add(&worker, scope, n));
        assert_eq!(["x", "y", "x"].map(|room| worker.join(a.key, room)), [Ok(true), Ok(true), Ok(false)]);
        assert_eq!(worker.join(a.key, "new"), Err(HubError::TooManyRooms(2)));
        worker.join(b.key, "there").expect("room");
        assert_eq!(worker.join(a.key, "there"), Err(HubError::TooManyRooms(2)));
        assert_eq!(worker.leave(a.key, "x"), Ok(true));
        assert_eq!(worker.join(a.key, "there"), Ok(true));
    });
}

#[test]
fn a_key_outlives_its_member_and_finds_nothing() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let gone = Peer::add(&worker, scope, 0);
        assert!(worker.remove_member(gone.key));
        // Its place in the slab is taken by another.
        let other = Peer::add(&worker, scope, 1);
        worker.join(other.key, "room").expect("room");
        assert!(!worker.remove_member(gone.key));
        assert!(worker.endpoint(gone.key).is_none());
        assert_eq!(worker.join(gone.key, "room"), Err(HubError::Gone));
        assert_eq!(worker.leave(gone.key, "room"), Err(HubError::Gone));
        assert_eq!(worker.rooms_of(gone.key), None);
        worker.remove_session(gone.session_key);
        worker.remove_session(gone.session_key);
        assert!(worker.session(gone.session_key).is_none());
        assert!(worker.session(other.session_key).is_some());
    });
}

#[derive(Debug, Clone)]
enum Step {
    Add,
    Remove(usize),
    Join(usize, usize),
    Leave(usize, usize),
    Broadcast { rooms: Vec<Name>, except: Vec<Name>, sender: Option<usize> },
}

/// A room, by number, or a member's own.
#[derive(Debug, Clone)]
enum Name {
    Room(usize),
    Member(usize),
}

fn names() -> impl Strategy<Value = Vec<Name>> {
    prop::collection::vec(
        prop_oneof![3 => (0usize..5).prop_map(Name::Room), 1 => (0usize..8).prop_map(Name::Member)],
        0..4,
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Add),
        1 => (0usize..8).prop_map(Step::Remove),
        6 => (0usize..8, 0usize..5).prop_map(|(who, room)| Step::Join(who, room)),
        3 => (0usize..8, 0usize..5).prop_map(|(who, room)| Step::Leave(who, room)),
        3 => (names(), names(), prop::option::of(0usize..8))
            .prop_map(|(rooms, except, sender)| Step::Broadcast { rooms, except, sender }),
    ]
}

/// What rooms should be: for each live member the names it is in.
#[derive(Default)]
struct Model {
    peers: BTreeMap<u32, (Peer, BTreeSet<String>)>,
    added: u32,
}

impl Model {
    /// The n-th live member, if there are so many.
    fn nth(&self, n: usize) -> Option<u32> {
        self.peers.keys().copied().nth(n)
    }

    fn text(&self, name: &Name) -> String {
        match name {
            Name::Room(room) => format!("room {room}"),
            Name::Member(n) => {
                self.nth(*n).map_or_else(|| "nobody".to_owned(), |who| self.peers[&who].0.id.to_string())
            }
        }
    }

    fn step(&mut self, worker: &Rc<Worker>, step: &Step) {
        let scope = worker.hub().scope("/");
        match step {
            Step::Add => {
                self.peers.insert(self.added, (Peer::add(worker, scope, self.added), BTreeSet::new()));
                self.added += 1;
            }
            Step::Remove(n) => {
                if let Some((peer, _)) = self.nth(*n).and_then(|who| self.peers.remove(&who)) {
                    assert!(worker.remove_member(peer.key));
                }
            }
            Step::Join(n, room) => {
                if let Some((peer, rooms)) = self.nth(*n).and_then(|who| self.peers.get_mut(&who)) {
                    let room = format!("room {room}");
                    assert_eq!(worker.join(peer.key, &room), Ok(rooms.insert(room)));
                }
            }
            Step::Leave(n, room) => {
                if let Some((peer, rooms)) = self.nth(*n).and_then(|who| self.peers.get_mut(&who)) {
                    let room = format!("room {room}");
                    assert_eq!(worker.leave(peer.key, &room), Ok(rooms.remove(&room)));
                }
            }
            Step::Broadcast { rooms, except, sender } => self.broadcast(worker, rooms, except, *sender),
        }
        for (peer, rooms) in self.peers.values() {
            let found = worker.rooms_of(peer.key).expect("a live member");
            assert_eq!(found.len(), rooms.len());
            assert!(found.iter().all(|room| rooms.contains(&**room)));
        }
    }

    fn broadcast(&self, worker: &Rc<Worker>, rooms: &[Name], except: &[Name], sender: Option<usize>) {
        let rooms: Vec<_> = rooms.iter().map(|name| self.text(name)).collect();
        let except: Vec<_> = except.iter().map(|name| self.text(name)).collect();
        let sender = sender.and_then(|n| self.nth(n)).map(|who| self.peers[&who].0.id);
        let meant = |names: &[String], peer: &Peer, joined: &BTreeSet<String>| {
            names.iter().any(|name| joined.contains(name) || *name == peer.id.as_str())
        };
        let target = Target {
            scope: worker.hub().scope("/"),
            rooms: rooms.iter().map(|room| Arc::from(room.as_str())).collect(),
            except: except.iter().map(|room| Arc::from(room.as_str())).collect(),
            except_member: sender,
            local: false,
        };
        let delivered = worker.fan_out(broadcast(target, &Text::new("x")));
        let mut expected = 0;
        for (peer, joined) in self.peers.values() {
            let gets = (rooms.is_empty() || meant(&rooms, peer, joined))
                && !meant(&except, peer, joined)
                && sender != Some(peer.id);
            assert_eq!(worker.take(peer.session.outbox()).len(), usize::from(gets), "{}", peer.id);
            expected += usize::from(gets);
        }
        assert_eq!(delivered, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn rooms_follow_from_their_history(steps in prop::collection::vec(step(), 1..80)) {
        on_worker(&options(1), async |worker, _| {
            let mut model = Model::default();
            for step in &steps {
                model.step(&worker, step);
            }
        });
    }
}

#[test]
fn what_is_on_its_way_to_a_removed_scope_reaches_nobody_of_a_later_one() {
    on_worker(&options(1), async |worker, _| {
        let hub = worker.hub();
        let kept = hub.scope("/kept");
        let _stays = Peer::add(&worker, kept, 1000);
        for round in 0..100 {
            let before = hub.scope("/child");
            assert_eq!(hub.find_scope("/child"), Some(before));
            let peer = Peer::add(&worker, before, round);
            worker.join(peer.key, "room").expect("room");
            worker.remove_member(peer.key);
            hub.remove_scope(before);
            hub.remove_scope(before);
            assert_eq!((hub.find_scope("/child"), hub.scope_name(before)), (None, None));
            let after = hub.scope("/child");
            assert_ne!(before, after);
            let peer = Peer::add(&worker, after, round);
            worker.join(peer.key, "room").expect("room");
            for (scope, reached) in [(before, 0), (after, 1), (kept, 1)] {
                assert_eq!(worker.fan_out(broadcast(Target::all(scope), &Text::new("x"))), reached);
            }
            assert_eq!(worker.rooms_in(before), [] as [std::sync::Arc<str>; 0]);
            assert_eq!(worker.count(&target(before, &["room"], &[])), 0);
            assert_eq!(worker.count(&target(after, &["room"], &[])), 1);
            worker.remove_member(peer.key);
            hub.remove_scope(after);
        }
        assert_eq!(hub.scope_name(kept).as_deref(), Some("/kept"));
    });
}
