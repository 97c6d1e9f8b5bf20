//! Ordered broadcasts: the order of the calls holds at members of all workers.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use common::{FIRST, Peer, Text, broadcast, on_worker, options, target, until_idle};
use switchboard_hub::{
    Broadcast, Framing, Hub, HubError, HubOptions, Payload, Request, ScopeId, Session, Target, Variant,
};

fn say(hub: &Hub, scope: ScopeId, text: &str) {
    let broadcast = Broadcast { ordered: true, ..broadcast(Target::all(scope), &Text::new(text)) };
    hub.broadcast(broadcast).expect("room");
}

/// Broadcasts from another thread, and returns when that is done.
fn say_elsewhere(hub: &Arc<Hub>, scope: ScopeId, text: &'static str) {
    let hub = Arc::clone(hub);
    std::thread::spawn(move || say(&hub, scope, text)).join().expect("no panic");
}

#[test]
fn ordered_broadcasts_of_two_threads_arrive_in_the_order_of_their_calls() {
    on_worker(&options(2), async |worker, _inboxes| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let peer = Peer::add(&worker, scope, 0);
        say_elsewhere(hub, scope, "1");
        say(hub, scope, "2");
        say_elsewhere(hub, scope, "3");
        say(hub, scope, "4");
        until_idle().await;
        assert_eq!(peer.session.written(), "1234");
    });
}

#[test]
fn commands_of_a_thread_behind_an_ordered_broadcast_come_behind_it() {
    on_worker(&options(2), async |worker, _inboxes| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let (peer, late) = (Peer::add(&worker, scope, 0), Peer::add(&worker, scope, 1));
        let session = peer.session_key;
        let write = move |text: &'static str| {
            hub.run_on(FIRST, move |worker| {
                let session = worker.session(session).expect("it is there");
                worker.write(&session, |out| out.extend_from_slice(text.as_bytes())).expect("room");
            })
            .expect("room");
        };
        let in_room = |text| {
            let target = target(scope, &["room"], &[]);
            hub.broadcast(Broadcast { ordered: true, ..broadcast(target, &Text::new(text)) }).expect("room");
        };
        write("a");
        say(hub, scope, "b");
        assert!(hub.here_in_order().is_none() && hub.here().is_some());
        write("c");
        // Nobody is in the room yet; then all are.
        in_room("d");
        hub.request(Request::Join(Target::all(scope), vec!["room".into()])).expect("room");
        in_room("e");
        hub.broadcast(broadcast(Target::all(scope), &Text::new("f"))).expect("room");
        until_idle().await;
        assert_eq!((peer.session.written().as_str(), late.session.written().as_str()), ("abcef", "bef"));
        // What comes in another turn acts at once again.
        assert!(hub.here_in_order().is_some());
        let session = Rc::clone(&peer.session) as Rc<dyn Session>;
        write("g");
        assert_eq!(session.outbox().bytes(), 1);
    });
}

/// A message whose sender waits before the last inbox.
struct Slow {
    workers: usize,
    asked: AtomicUsize,
    reached: Mutex<Option<mpsc::Sender<()>>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Payload for Slow {
    fn encode(&self, _variant: Variant, _framing: Framing, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"slow");
        true
    }

    fn bytes(&self) -> usize {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 == self.workers {
            drop(self.reached.lock().expect("not poisoned").take());
            self.go_on.lock().expect("not poisoned").recv().expect("the test lives");
        }
        0
    }

    fn write(&self, _out: &mut Vec<u8>) {}
}

#[test]
fn an_ordered_broadcast_is_delivered_nowhere_before_it_is_in_all_inboxes() {
    on_worker(&options(3), async |worker, _inboxes| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let peer = Peer::add(&worker, scope, 0);
        let (reached, is_reached) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let slow = Slow {
            workers: hub.workers(),
            asked: AtomicUsize::new(0),
            reached: Mutex::new(Some(reached)),
            go_on: Mutex::new(may_go_on),
        };
        let sender = {
            let (hub, target) = (Arc::clone(hub), Target::all(scope));
            let payload = Arc::new(slow);
            std::thread::spawn(move || {
                hub.broadcast(Broadcast { target, payload, volatile: false, key: None, ordered: true })
                    .expect("room");
            })
        };
        is_reached.recv().expect_err("the sender only hangs up");
        // A member that saw it now could answer it, and the answer could overtake it on its way to the third
        // worker.
        until_idle().await;
        assert_eq!(peer.session.written(), "");
        go_on.send(()).expect("the sender waits");
        sender.join().expect("no panic");
        until_idle().await;
        assert_eq!(peer.session.written(), "slow");
    });
}

#[test]
fn an_ordered_broadcast_may_meet_the_own_inbox_full() {
    let options = HubOptions { inbox_capacity: 1, ..options(1) };
    on_worker(&options, async |worker, _| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let peer = Peer::add(&worker, scope, 0);
        say(hub, scope, "1");
        let second = Broadcast { ordered: true, ..broadcast(Target::all(scope), &Text::new("2")) };
        assert_eq!(hub.broadcast(second), Err(HubError::InboxFull(FIRST)));
        until_idle().await;
        assert!(hub.here_in_order().is_some());
        assert_eq!(peer.session.written(), "1");
    });
}
