//! Workers: what reaches them, in which order, and what is not their end.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{
    Broken, FIRST, Fake, LINES, PLAIN, Peer, Text, broadcast, on_worker, options, runtime, target, until_idle,
};
use switchboard_hub::{
    Broadcast, Command, Hub, HubError, HubOptions, Request, Session, Target, Variant, Worker, WorkerId,
};

const SECOND: WorkerId = WorkerId(1);

fn run(f: impl FnOnce(&Rc<Worker>) + Send + 'static) -> Command {
    Command::run(f)
}

fn ask(request: Request) -> Command {
    Command::Request(request, None)
}

#[test]
fn a_full_outbox_takes_no_more_and_its_session_is_told_once() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let slow = Peer::with(&worker, scope, 0, Variant(0), Fake::new(8, PLAIN));
        let quick = Peer::add(&worker, scope, 1);
        slow.session.stuck.set(true);
        for n in 0..10 {
            let reached = worker.fan_out(broadcast(Target::all(scope), &Text::new(format!("<{n:02}>"))));
            assert_eq!(reached, if n < 2 { 2 } else { 1 });
        }
        let session = Rc::clone(&slow.session) as Rc<dyn Session>;
        assert_eq!(
            worker.write(&session, |_| unreachable!("full")),
            Err(HubError::OutboxFull { bytes: 8, limit: 8 })
        );
        until_idle().await;
        assert_eq!((slow.session.overflows.get(), slow.session.outbox().bytes()), (1, 8));
        assert_eq!(quick.session.written().len(), 40);
    });
}

#[test]
fn volatile_packets_are_dropped_where_the_transport_would_wait() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let [slow, quick] = [0, 1].map(|n| Peer::add(&worker, scope, n));
        slow.session.stuck.set(true);
        let dropped = Broadcast { volatile: true, ..broadcast(Target::all(scope), &Text::new("x")) };
        assert_eq!(worker.fan_out(dropped), 1);
        until_idle().await;
        assert_eq!((slow.session.outbox().bytes(), quick.session.written().as_str()), (0, "x"));
    });
}

#[test]
fn a_burst_to_one_peer_is_flushed_once_and_in_order() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = Peer::with(&worker, scope, 0, Variant(0), Fake::new(1000, LINES));
        let session = Rc::clone(&peer.session) as Rc<dyn Session>;
        for n in 0..5 {
            worker.write(&session, |out| out.extend_from_slice(format!("own {n}").as_bytes())).expect("room");
            worker.fan_out(broadcast(Target::all(scope), &Text::new(format!("all {n}"))));
        }
        assert_eq!(peer.session.written(), "");
        until_idle().await;
        let expected: Vec<_> = (0..5).map(|n| format!("own {n}|all {n}")).collect();
        assert_eq!(peer.session.written(), expected.join("|"));
    });
}

#[test]
fn a_full_inbox_is_an_error_and_its_accepted_commands_are_carried_out_in_order() {
    let options = HubOptions { inbox_capacity: 3, ..options(2) };
    on_worker(&options, async |worker, mut inboxes| {
        let hub = worker.hub();
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut accepted = Vec::new();
        for n in 0..5 {
            let done = Arc::clone(&done);
            match hub.send(SECOND, run(move |_| done.lock().expect("not poisoned").push(n))) {
                Ok(()) => accepted.push(n),
                Err(error) => assert_eq!(error, HubError::InboxFull(SECOND)),
            }
        }
        assert_eq!(accepted, [0, 1, 2]);
        let mut inbox = inboxes.remove(0);
        for _ in 0..3 {
            let Some(Command::Run { work, .. }) = inbox.recv().await else { panic!("a command is lost") };
            work(&worker);
        }
        assert_eq!(*done.lock().expect("not poisoned"), accepted);
        assert!(inbox.try_recv().is_none());
    });
}

#[test]
fn a_broadcast_that_meets_a_full_inbox_reaches_the_other_workers() {
    let options = HubOptions { inbox_capacity: 1, ..options(3) };
    on_worker(&options, async |worker, mut inboxes| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let here = Peer::add(&worker, scope, 0);
        hub.send(SECOND, run(|_| {})).expect("room");
        let sent = hub.broadcast(broadcast(Target::all(scope), &Text::new("x")));
        assert_eq!(sent, Err(HubError::InboxFull(SECOND)));
        until_idle().await;
        assert_eq!(here.session.written(), "x");
        assert!(matches!(inboxes[1].try_recv(), Some(Command::Request(Request::Broadcast(_), None))));
    });
}

#[test]
fn a_sender_that_met_a_full_inbox_can_wait_for_room() {
    let options = HubOptions { inbox_capacity: 1, ..options(2) };
    on_worker(&options, async |worker, mut inboxes| {
        let hub = worker.hub();
        let send = || hub.send(SECOND, run(|_| {}));
        assert_eq!(worker.handle_input(send), (Ok(()), None));
        assert_eq!(worker.handle_input(send), (Err(HubError::InboxFull(SECOND)), Some(SECOND)));
        let waiting = {
            let worker = Rc::clone(&worker);
            tokio::task::spawn_local(async move { worker.room(SECOND).await })
        };
        let sending = {
            let hub = Arc::clone(hub);
            tokio::task::spawn_local(async move { hub.send_when_room(SECOND, Command::Stop).await })
        };
        until_idle().await;
        assert!(!waiting.is_finished() && !sending.is_finished());
        inboxes[0].recv().await.expect("the first command");
        waiting.await.expect("no panic");
        sending.await.expect("no panic").expect("sent");
        assert!(matches!(inboxes[0].recv().await, Some(Command::Stop)));
        inboxes.clear();
        assert_eq!(hub.send(SECOND, Command::Stop), Err(HubError::Stopped(SECOND)));
        // Nobody waits for a worker that has stopped.
        worker.room(SECOND).await;
    });
}

#[test]
fn a_full_inbox_holds_back_the_peer_whose_input_met_it_and_no_other() {
    let options = HubOptions { inbox_capacity: 1, ..options(2) };
    on_worker(&options, async |worker, _inboxes| {
        let hub = worker.hub();
        hub.send(SECOND, run(|_| {})).expect("room");
        let meet = || hub.send(SECOND, run(|_| {})).expect_err("full");
        // A timer's or a task's error is its own: the input that is handled next did not meet it.
        meet();
        assert_eq!(worker.handle_input(|| ()), ((), None));
        // An input within another's, and one that ends by a panic.
        let (inner, outer) = worker.handle_input(|| worker.handle_input(meet).1);
        assert_eq!((inner, outer), (Some(SECOND), None));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            worker.handle_input(|| -> () {
                meet();
                panic!("on purpose")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(worker.handle_input(|| ()), ((), None));
    });
}

#[test]
fn commands_of_one_thread_arrive_in_its_order() {
    on_worker(&options(1), async |worker, _| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let peer = Peer::add(&worker, scope, 0);
        let threads: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let hub = Arc::clone(hub);
                std::thread::spawn(move || {
                    for n in 0..300 {
                        let text = Text::new(format!("{name}{n} "));
                        hub.broadcast(broadcast(Target::all(scope), &text)).expect("room");
                    }
                })
            })
            .into_iter()
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        until_idle().await;
        let written = peer.session.written();
        for name in ["a", "b", "c"] {
            let seen: Vec<_> = written.split(' ').filter_map(|word| word.strip_prefix(name)).collect();
            assert_eq!(seen, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_panic_is_not_the_workers_end() {
    on_worker(&options(1), async |worker, _| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let [broken, whole] = [0, 1].map(|n| Peer::add(&worker, scope, n));
        broken.session.broken.set(true);
        broken.end.broken.set(true);
        // In a command, in a disconnect, while flushing, and in a timer.
        hub.send(FIRST, run(|_| panic!("on purpose"))).expect("room");
        hub.send(FIRST, ask(Request::Disconnect { target: Target::all(scope), close: true })).expect("room");
        hub.send(FIRST, ask(Request::Broadcast(Arc::new(broadcast(Target::all(scope), &Text::new("x"))))))
            .expect("room");
        let soon = Worker::clock() + std::time::Duration::from_millis(50);
        worker.arm(broken.session_key, soon);
        worker.arm(whole.session_key, soon);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(*whole.end.disconnected.borrow(), [true]);
        assert_eq!(whole.session.written(), "x");
        assert_eq!(whole.session.fired.borrow().len(), 1);
    });
}

#[test]
fn a_payload_that_panics_is_left_out_of_its_turn_and_no_other_is() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = Peer::with(&worker, scope, 0, Variant(0), Fake::new(1000, LINES));
        let say = |payload| {
            let broadcast = Broadcast { payload, ..broadcast(Target::all(scope), &Text::new("")) };
            worker.hub().broadcast(broadcast).expect("room");
        };
        for volatile in [false, true] {
            say(Text::new("1"));
            say(Arc::new(Broken));
            say(Text::new("2"));
            if volatile {
                let broadcast = broadcast(Target::all(scope), &Text::new("3"));
                worker.hub().broadcast(Broadcast { volatile, ..broadcast }).expect("room");
            }
            until_idle().await;
            let written = std::mem::take(&mut *peer.session.written.borrow_mut());
            assert_eq!(String::from_utf8_lossy(&written), if volatile { "1|2|3" } else { "1|2" });
        }
    });
}

#[test]
fn members_join_leave_and_are_disconnected_by_commands() {
    on_worker(&options(1), async |worker, _| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let [a, b] = [0, 1].map(|n| Peer::add(&worker, scope, n));
        hub.request(Request::Join(Target::all(scope), vec!["x".into(), "y".into()])).expect("room");
        hub.request(Request::Leave(target(scope, &[a.id.as_str()], &[]), vec!["x".into(), "z".into()]))
            .expect("room");
        let rooms = |peer: &Peer| {
            let mut rooms = worker.rooms_of(peer.key).expect("a member");
            rooms.sort();
            rooms.join(",")
        };
        assert_eq!((rooms(&a), rooms(&b)), ("y".to_owned(), "x,y".to_owned()));
        hub.request(Request::Disconnect { target: target(scope, &["x"], &[]), close: false }).expect("room");
        assert_eq!((&*a.end.disconnected.borrow(), &*b.end.disconnected.borrow()), (&vec![], &vec![false]));
    });
}

#[test]
fn a_session_that_calls_back_when_it_is_dropped_does_no_harm() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let calls = Rc::new(Cell::new(0));
        let call_back = |number: u32| {
            let (worker, calls) = (Rc::downgrade(&worker), Rc::clone(&calls));
            Box::new(move || {
                let Some(worker) = worker.upgrade() else { return };
                // Everything that borrows of the worker.
                let another = Peer::add(&worker, scope, number);
                worker.join(another.key, "room").expect("room");
                worker.fan_out(broadcast(Target::all(scope), &Text::new("bye")));
                worker.arm(another.session_key, Worker::clock());
                worker.with_scratch(|_| ());
                worker.remove_member(another.key);
                worker.remove_session(another.session_key);
                calls.set(calls.get() + 1);
            })
        };
        // By its key, by its member, and with what is to be flushed.
        for number in 0..3 {
            let peer = Peer::add(&worker, scope, number);
            *peer.session.on_drop.borrow_mut() = Some(call_back(100 + number));
            let Peer { session, end: _, session_key, key, .. } = peer;
            if number == 2 {
                worker.changed(&(Rc::clone(&session) as Rc<dyn Session>));
            }
            drop(session);
            if number == 0 {
                worker.remove_member(key);
                worker.remove_session(session_key);
            } else {
                worker.remove_session(session_key);
                worker.remove_member(key);
            }
        }
        until_idle().await;
        assert_eq!(calls.get(), 3);
    });
}

#[test]
fn scratch_buffers_nest() {
    on_worker(&options(1), async |worker, _| {
        worker.with_scratch(|outer| {
            outer.extend_from_slice(b"outer");
            worker.with_scratch(|inner| {
                assert!(inner.is_empty());
                inner.extend_from_slice(b"inner");
            });
            assert_eq!(outer, b"outer");
        });
        worker.with_scratch(|buffer| assert!(buffer.is_empty() && buffer.capacity() > 0));
    });
}

#[test]
fn a_worker_carries_out_accepted_commands_before_it_stops() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let count = Arc::clone(&count);
        run(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
    };
    runtime().block_on(async {
        // With room for the stop, and without.
        for capacity in [10, 3] {
            count.store(0, Ordering::Relaxed);
            let (hub, mut inboxes) =
                Hub::without_threads(&HubOptions { inbox_capacity: capacity, ..options(1) });
            for _ in 0..3 {
                hub.send(FIRST, counted()).expect("room");
            }
            hub.send(FIRST, Command::Stop).expect("never refused");
            Worker::run(FIRST, Arc::clone(&hub), inboxes.remove(0)).await;
            assert_eq!(count.load(Ordering::Relaxed), 3);
            assert_eq!(hub.send(FIRST, counted()), Err(HubError::Stopped(FIRST)));
            assert!(Worker::current().is_none());
        }
    });
}

#[test]
fn a_worker_may_stop_itself() {
    let (hub, mut inboxes) = Hub::without_threads(&options(1));
    let inbox = inboxes.remove(0);
    hub.send(FIRST, run(|worker| worker.hub().send_all(|| Command::Stop).expect("room"))).expect("room");
    runtime().block_on(Worker::run(FIRST, hub, inbox));
}

#[test]
fn sessions_go_with_their_worker() {
    let gone = Rc::new(Cell::new(0));
    on_worker(&options(1), async |worker, _| {
        let peer = Peer::add(&worker, worker.hub().scope("/"), 0);
        let gone = Rc::clone(&gone);
        *peer.session.on_drop.borrow_mut() = Some(Box::new(move || gone.set(gone.get() + 1)));
    });
    assert_eq!(gone.get(), 1);
}

#[test]
fn a_thread_runs_one_worker_at_a_time() {
    on_worker(&options(1), async |worker, _| {
        let (other, mut inboxes) = Hub::without_threads(&options(1));
        Worker::run(FIRST, Arc::clone(&other), inboxes.remove(0)).await;
        assert_eq!(other.send(FIRST, Command::Stop), Err(HubError::Stopped(FIRST)));
        assert!(Rc::ptr_eq(&worker, &Worker::current().expect("still here")));
    });
}

#[test]
fn the_thread_of_another_hubs_worker_is_a_foreign_thread() {
    on_worker(&options(1), async |worker, _| {
        let (other, mut inboxes) = Hub::without_threads(&HubOptions { inbox_capacity: 3, ..options(1) });
        assert!(worker.hub().here().is_some() && other.here().is_none());
        let scope = worker.hub().scope("/");
        assert_eq!(other.scope("/"), scope);
        let peer = Peer::add(&worker, scope, 0);
        // None of these may be done in place: the numbers of scope and worker mean others there.
        other.broadcast(broadcast(Target::all(scope), &Text::new("x"))).expect("room");
        other.run_on(FIRST, |_| panic!("not on this thread")).expect("room");
        other.request(Request::Disconnect { target: Target::all(scope), close: true }).expect("room");
        other.send_all(|| Command::Stop).expect("never refused");
        let (sent, full) = worker.handle_input(|| other.send(FIRST, run(|_| {})));
        assert_eq!((sent, full), (Err(HubError::InboxFull(FIRST)), None));
        until_idle().await;
        assert_eq!(peer.session.written(), "");
        assert!(peer.end.disconnected.borrow().is_empty());
        assert_eq!(inboxes[0].len(), 3);
        inboxes.clear();
    });
}

#[test]
fn a_hubs_threads_start_and_stop() {
    let hub = Hub::start(&options(3)).expect("threads");
    let (report, reported) = std::sync::mpsc::channel();
    for number in 0..3 {
        let report = report.clone();
        hub.run_on(WorkerId(number), move |worker| report.send(worker.id()).expect("the test waits"))
            .expect("room");
    }
    drop(report);
    let mut seen: Vec<_> = reported.iter().collect();
    seen.sort();
    assert_eq!(seen, [0, 1, 2].map(WorkerId));
    hub.send_all(|| Command::Stop).expect("room");
    // A stopped worker's inbox refuses sooner or later.
    while hub.send(FIRST, run(|_| {})).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn the_broadcasts_of_a_turn_are_one_write_to_each_member() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let (all, some, none) =
            (Peer::add(&worker, scope, 0), Peer::add(&worker, scope, 1), Peer::add(&worker, scope, 2));
        all.session.takes.set(usize::MAX);
        some.session.takes.set(3);
        for text in ["one ", "two ", "three"] {
            worker.hub().broadcast(broadcast(Target::all(scope), &Text::new(text))).unwrap();
        }
        assert_eq!(all.session.written(), "", "the turn is not over");
        until_idle().await;
        for peer in [&all, &some, &none] {
            assert_eq!(peer.session.written(), "one two three");
        }
        assert_eq!([&all, &some, &none].map(|peer| peer.session.direct.get()), [1, 1, 0]);
    });
}

#[test]
fn a_long_packet_goes_past_an_empty_outbox_and_its_rest_waits_there() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let body = "0123456789".repeat(20_000);
        // The body, the head and a part of each.
        for (takes, directly) in [(usize::MAX, 1), (70_000, 1), (4, 1), (2, 1), (0, 0)] {
            let peer = Peer::add(&worker, scope, 0);
            peer.session.takes.set(takes);
            let session = Rc::clone(&peer.session) as Rc<dyn Session>;
            worker.write_long(&session, b"head", body.as_bytes()).unwrap();
            assert_eq!(peer.session.direct.get(), directly);
            assert_eq!(session.outbox().bytes(), (4 + body.len()).saturating_sub(takes));
            worker.write(&session, |out| out.extend_from_slice(b"next")).unwrap();
            worker.write_long(&session, b"last", b"!").unwrap();
            until_idle().await;
            assert!(peer.session.written() == format!("head{body}nextlast!"), "{takes} bytes were taken");
        }
    });
}

#[test]
fn a_packet_written_after_a_broadcast_comes_after_it() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = Peer::add(&worker, scope, 0);
        peer.session.takes.set(usize::MAX);
        let session = Rc::clone(&peer.session) as Rc<dyn Session>;
        let say = |text| worker.hub().broadcast(broadcast(Target::all(scope), &Text::new(text))).unwrap();
        say("a");
        worker.write(&session, |out| out.push(b'b')).unwrap();
        say("c");
        worker.write(&session, |out| out.push(b'd')).unwrap();
        say("e");
        until_idle().await;
        assert_eq!(peer.session.written(), "abcde");
    });
}

#[test]
fn a_broadcast_is_for_the_members_at_the_time_of_its_sending() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let (stays, leaves) = (Peer::add(&worker, scope, 0), Peer::add(&worker, scope, 1));
        worker.join(stays.key, "room").unwrap();
        worker.join(leaves.key, "room").unwrap();
        let say = |text| {
            worker.hub().broadcast(broadcast(target(scope, &["room"], &[]), &Text::new(text))).unwrap();
        };
        say("1");
        worker.leave(leaves.key, "room").unwrap();
        let comes = Peer::add(&worker, scope, 2);
        say("2");
        worker.join(comes.key, "room").unwrap();
        say("3");
        worker.remove_member(comes.key);
        until_idle().await;
        assert_eq!([&stays, &leaves, &comes].map(|peer| peer.session.written()), ["123", "1", "3"]);
    });
}
