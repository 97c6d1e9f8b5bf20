//! Sessions that have packets dropped or replaced rather than wait.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::rc::Rc;
use std::sync::Arc;

use common::{Fake, LINES, PLAIN, Peer, Text, broadcast, on_worker, options, target, until_idle};
use proptest::prelude::*;
use switchboard_hub::{
    Broadcast, Framing, HubError, Key, Outbox, Place, ScopeId, Session, Target, Variant, WhenFull, Worker,
};

/// A peer that does not read, and for which at most so many bytes wait: 4 of them are on their way.
fn slow(worker: &Rc<Worker>, scope: ScopeId, when_full: WhenFull, framing: Framing) -> Peer {
    let peer = Peer::with(worker, scope, 0, Variant(0), Fake::new(4, framing));
    peer.session.stuck.set(true);
    peer.session.when_full.set(when_full);
    peer
}

fn write(worker: &Rc<Worker>, peer: &Peer, place: Place, text: &str) -> Result<(), HubError> {
    let session = || Rc::clone(&peer.session) as Rc<dyn Session>;
    worker.write_packet(peer.session.outbox(), session, place, |out| out.extend_from_slice(text.as_bytes()))
}

fn write_keyed(
    worker: &Rc<Worker>,
    peer: &Peer,
    scope: ScopeId,
    key: &str,
    text: &str,
) -> Result<(), HubError> {
    let session = Rc::clone(&peer.session) as Rc<dyn Session>;
    let key = Key { scope, name: Arc::from(key) };
    worker.write_conflated(&session, &key, |out| out.extend_from_slice(text.as_bytes()))
}

/// Lets the peer read; returns all that it has read.
async fn read(worker: &Rc<Worker>, peer: &Peer) -> String {
    peer.session.stuck.set(false);
    worker.changed(&(Rc::clone(&peer.session) as Rc<dyn Session>));
    until_idle().await;
    peer.session.written()
}

#[test]
fn the_oldest_packets_that_are_not_on_their_way_make_room() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = slow(&worker, scope, WhenFull::DropOldest { max_bytes: 20 }, LINES);
        for n in 0..10 {
            assert_eq!(write(&worker, &peer, Place::Droppable, &format!("<{n}>,")), Ok(()));
        }
        until_idle().await;
        assert_eq!((peer.session.overflows.get(), peer.session.dropped.borrow().clone()), (0, vec![5]));
        assert_eq!(peer.session.outbox().bytes(), 24);
        assert_eq!(read(&worker, &peer).await, "<0>,|<6>,|<7>,|<8>,|<9>,");
        assert!(!peer.session.outbox().has_backlog());
    });
}

#[test]
fn the_newest_packet_is_refused_where_that_is_the_policy() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = slow(&worker, scope, WhenFull::DropNewest { max_bytes: 12 }, PLAIN);
        for n in 0..5 {
            let full = Err(HubError::OutboxFull { bytes: 12, limit: 12 });
            let taken = write(&worker, &peer, Place::Droppable, &format!("<{n}>,"));
            assert_eq!(taken, if n < 3 { Ok(()) } else { full });
        }
        assert_eq!(write(&worker, &peer, Place::Kept, "kept"), Ok(()));
        until_idle().await;
        assert_eq!((peer.session.overflows.get(), peer.session.dropped.borrow().clone()), (0, vec![2]));
        assert_eq!(read(&worker, &peer).await, "<0>,<1>,<2>,kept");
    });
}

#[test]
fn a_packet_that_is_kept_stays_in_its_place_until_as_many_wait_again() {
    for when_full in [WhenFull::DropOldest { max_bytes: 12 }, WhenFull::DropNewest { max_bytes: 12 }] {
        on_worker(&options(1), async |worker, _| {
            let scope = worker.hub().scope("/");
            let peer = slow(&worker, scope, when_full, PLAIN);
            let mut taken = String::new();
            for n in 0..9 {
                let (event, kept) = (format!("<{n}>,"), format!("[{n}],"));
                let _dropped = write(&worker, &peer, Place::Droppable, &event);
                if write(&worker, &peer, Place::Kept, &kept).is_ok() {
                    taken.push_str(&kept);
                }
            }
            until_idle().await;
            assert_eq!(peer.session.overflows.get(), 1, "{when_full:?}");
            let read = read(&worker, &peer).await;
            let kept: String = read.split_inclusive(',').filter(|packet| packet.starts_with('[')).collect();
            assert_eq!(kept, taken);
            assert!((4..=6).contains(&(taken.len() / 4)) && read.len() <= 24, "{read}");
        });
    }
}

#[test]
fn packets_that_follow_another_are_dropped_with_it() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = slow(&worker, scope, WhenFull::DropOldest { max_bytes: 20 }, LINES);
        for n in 0..4 {
            write(&worker, &peer, Place::Droppable, &format!("<{n}>")).expect("room");
            write(&worker, &peer, Place::Follows, &format!("a{n}")).expect("room");
            write(&worker, &peer, Place::Follows, &format!("b{n}")).expect("room");
        }
        until_idle().await;
        assert_eq!(&*peer.session.dropped.borrow(), &[1]);
        assert_eq!(read(&worker, &peer).await, "<0>|a0|b0|<2>|a2|b2|<3>|a3|b3");
    });
}

#[test]
fn a_packet_with_a_key_takes_the_place_of_the_one_that_waits() {
    on_worker(&options(1), async |worker, _| {
        let (scope, other) = (worker.hub().scope("/"), worker.hub().scope("/other"));
        let peer = slow(&worker, scope, WhenFull::Refuse, LINES);
        let session = Fake::new(1000, LINES);
        session.stuck.set(true);
        let peer = Peer { session, ..peer };
        for (scope, key, text) in [
            (scope, "a", "a1"), // It is on its way: nothing waits before it.
            (scope, "a", "a2"),
            (scope, "b", "b1"),
            (other, "a", "other a"),
            (scope, "a", "a3"),
            (scope, "b", "b2"),
        ] {
            write_keyed(&worker, &peer, scope, key, text).expect("room");
        }
        write(&worker, &peer, Place::Kept, "last").expect("room");
        write_keyed(&worker, &peer, scope, "a", "a4").expect("room");
        write(&worker, &peer, Place::Follows, "attached").expect("room");
        assert_eq!(peer.session.outbox().bytes(), "a1|a4|attached|b2|other a|last".len());
        assert_eq!(read(&worker, &peer).await, "a1|a4|attached|b2|other a|last");
        assert_eq!(&*peer.session.dropped.borrow(), &[0; 0], "a replaced packet is no dropped one");
    });
}

#[test]
fn a_packet_that_is_always_taken_stands_at_the_end_and_is_not_replaced_with_another() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = slow(&worker, scope, WhenFull::Refuse, LINES);
        write(&worker, &peer, Place::Kept, "on").expect("room");
        write_keyed(&worker, &peer, scope, "a", "a1").expect("room");
        write(&worker, &peer, Place::Always, "ping").expect("it is always taken");
        write_keyed(&worker, &peer, scope, "a", "a2").expect("it replaces");
        write(&worker, &peer, Place::Always, "close").expect("it is always taken");
        assert_eq!(read(&worker, &peer).await, "on|a2|ping|close");
    });
}

#[test]
fn a_packet_with_a_key_is_taken_by_a_full_outbox_if_it_replaces_one() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = slow(&worker, scope, WhenFull::Refuse, PLAIN);
        write(&worker, &peer, Place::Kept, "on").expect("room");
        write_keyed(&worker, &peer, scope, "a", "a1").expect("room");
        let full = Err(HubError::OutboxFull { bytes: 4, limit: 4 });
        assert_eq!(write_keyed(&worker, &peer, scope, "b", "b1"), full);
        assert_eq!(write_keyed(&worker, &peer, scope, "a", "a2"), Ok(()));
        assert_eq!(read(&worker, &peer).await, "ona2");
    });
}

#[test]
fn broadcasts_of_one_turn_are_dropped_one_by_one_and_encoded_once() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = slow(&worker, scope, WhenFull::DropOldest { max_bytes: 20 }, LINES);
        let second = Peer::with(&worker, scope, 1, Variant(0), Fake::new(4, LINES));
        second.session.stuck.set(true);
        second.session.when_full.set(WhenFull::DropOldest { max_bytes: 20 });
        for peer in [&peer, &second] {
            write(&worker, peer, Place::Kept, "begin").expect("room");
        }
        let texts: Vec<_> = (0..8).map(|n| Text::new(format!("<{n}>,"))).collect();
        for text in &texts {
            worker.broadcast(Arc::new(broadcast(Target::all(scope), text)));
        }
        until_idle().await;
        for peer in [&peer, &second] {
            assert_eq!(&*peer.session.dropped.borrow(), &[5]);
            assert_eq!(read(&worker, peer).await, "begin|<5>,|<6>,|<7>,");
        }
        for text in &texts {
            assert_eq!(text.encoded.lock().expect("not poisoned").len(), 1);
        }
    });
}

#[test]
fn a_broadcast_with_a_key_replaces_the_one_that_waits_for_each_member() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let quick = Peer::add(&worker, scope, 1);
        let session = Fake::new(1000, LINES);
        session.stuck.set(true);
        let slow = Peer::with(&worker, scope, 2, Variant(0), session);
        worker.join(slow.key, "room").expect("a member");
        for n in 0..4 {
            for key in ["a", "b"] {
                let text = Text::new(format!("{key}{n}"));
                let keyed = Broadcast { key: Some(Arc::from(key)), ..broadcast(Target::all(scope), &text) };
                worker.broadcast(Arc::new(keyed));
                until_idle().await;
            }
            let plain = broadcast(target(scope, &["room"], &[]), &Text::new(format!("plain{n}")));
            worker.broadcast(Arc::new(plain));
            until_idle().await;
        }
        assert_eq!(quick.session.written(), "a0b0a1b1a2b2a3b3");
        assert_eq!(read(&worker, &slow).await, "a0|b3|plain0|a3|plain1|plain2|plain3");
    });
}

/// A packet in a test of all orders.
#[derive(Debug, Clone)]
enum Step {
    Write(Place),
    Attached,
    Keyed(u8),
    All { keyed: Option<u8> },
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Write(Place::Droppable)),
        1 => Just(Step::Write(Place::Kept)),
        1 => Just(Step::Attached),
        3 => (0u8..3).prop_map(Step::Keyed),
        2 => prop::option::of(0u8..3).prop_map(|keyed| Step::All { keyed }),
        1 => Just(Step::Read),
    ];
    prop::collection::vec(step, 0..60)
}

/// The numbers in a text such as `12|13`.
fn numbers(text: &str) -> Vec<usize> {
    text.split('|').filter(|part| !part.is_empty()).map(|part| part.parse().expect("a number")).collect()
}

proptest! {
    /// Packets are numbered. Those that are kept all arrive. Without keys the order is that of the calls.
    /// Of each key the newest arrives. Dropped packets are counted, and no bytes are.
    #[test]
    fn whatever_comes_between_what_is_kept_and_the_newest_of_each_key_arrive(
        steps in steps(),
        max_bytes in 10usize..60,
        drops_oldest in any::<bool>(),
    ) {
        on_worker(&options(1), async |worker, _| {
            let scope = worker.hub().scope("/");
            let when_full = if drops_oldest { WhenFull::DropOldest { max_bytes } } else { WhenFull::DropNewest { max_bytes } };
            let peer = slow(&worker, scope, when_full, LINES);
            let session = Rc::clone(&peer.session) as Rc<dyn Session>;
            let (mut kept, mut keyed, mut plain, mut sent) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for (n, step) in steps.iter().enumerate() {
                let text = format!("{:03}", n + 100);
                let number = n + 100;
                match step {
                    Step::Write(place) => {
                        sent += 1;
                        let taken = write(&worker, &peer, *place, &text).is_ok();
                        if *place == Place::Kept && taken {
                            kept.push(number);
                        }
                        plain.push(number);
                    }
                    Step::Attached => {
                        sent += 1;
                        if write(&worker, &peer, Place::Droppable, &text).is_ok() {
                            write(&worker, &peer, Place::Follows, &text).expect("it follows");
                        }
                    }
                    Step::Keyed(key) => {
                        let taken = write_keyed(&worker, &peer, scope, &key.to_string(), &text).is_ok();
                        keyed.push((*key, number, taken));
                    }
                    Step::All { keyed: None } => {
                        sent += 1;
                        worker.broadcast(Arc::new(broadcast(Target::all(scope), &Text::new(text))));
                        worker.apply_deferred();
                        plain.push(number);
                    }
                    Step::All { keyed: Some(key) } => {
                        let name = Some(Arc::from(key.to_string()));
                        let all = Broadcast { key: name, ..broadcast(Target::all(scope), &Text::new(text)) };
                        let taken = worker.fan_out(all) > 0;
                        keyed.push((*key, number, taken));
                    }
                    Step::Read => {
                        peer.session.stuck.set(false);
                        session.flush(&worker);
                        peer.session.stuck.set(true);
                        assert_eq!(session.outbox().bytes(), 0);
                        peer.session.written.borrow_mut().push(b'|');
                    }
                }
                assert!(session.outbox().bytes() <= 2 * max_bytes + 8);
            }
            let read = read(&worker, &peer).await;
            assert_eq!((session.outbox().bytes(), session.outbox().has_backlog()), (0, false));
            let arrived = numbers(&read);
            let of = |wanted: &[usize]| arrived.iter().copied().filter(|n| wanted.contains(n)).collect::<Vec<_>>();
            assert_eq!(of(&kept), kept, "{read}");
            let order = of(&plain);
            assert!(order.is_sorted(), "{read}");
            for key in 0..3 {
                let of_key: Vec<_> = keyed.iter().filter(|of| of.0 == key).collect();
                let all: Vec<_> = of_key.iter().map(|of| of.1).collect();
                assert!(of(&all).is_sorted(), "{read}");
            }
            let dropped: usize = peer.session.dropped.borrow().iter().sum();
            assert!(dropped <= sent + keyed.len());
            let attached = steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Attached)).map(|(n, _)| n + 100);
            for number in attached {
                assert!(matches!(arrived.iter().filter(|n| **n == number).count(), 0 | 2), "{read}");
            }
            if peer.session.overflows.get() == 0 && keyed.is_empty() {
                let all = steps.iter().filter(|step| !matches!(step, Step::Read)).count();
                let twice = arrived.iter().collect::<std::collections::HashSet<_>>().len();
                assert_eq!(twice + dropped, all, "{read}");
            }
        });
    }
}

#[test]
fn of_an_outbox_that_drops_half_is_on_its_way_and_64_kib_at_most() {
    assert_eq!([0, 1, 100, 1 << 20].map(Outbox::on_way), [1, 1, 50, 64 << 10]);
}
