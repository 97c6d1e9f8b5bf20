//! Outboxes of sessions whose transports are reading: who writes the answers, and when.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::rc::Rc;

use common::{Fake, PLAIN, Peer, Text, broadcast, on_worker, options, until_idle};
use switchboard_hub::{Session, Target, Worker};

fn session(worker: &Worker, limit: usize) -> (Rc<Fake>, Rc<dyn Session>) {
    let fake = Fake::new(limit, PLAIN);
    let session = Rc::clone(&fake) as Rc<dyn Session>;
    worker.add_session(Rc::clone(&session));
    (fake, session)
}

fn write(worker: &Rc<Worker>, session: &Rc<dyn Session>, text: &str) {
    worker.write(session, |out| out.extend_from_slice(text.as_bytes())).expect("there is room");
}

/// Whether the transport is to write now.
fn end(worker: &Worker, session: &Rc<dyn Session>) -> bool {
    worker.end_read(session.outbox(), || Rc::clone(session), true)
}

#[test]
fn the_answers_to_a_read_are_written_by_its_transport_if_nothing_else_waits() {
    on_worker(&options(1), async |worker, _| {
        let (fake, reads) = session(&worker, 100);
        assert!(worker.begin_read(reads.outbox()));
        write(&worker, &reads, "one ");
        write(&worker, &reads, "two");
        assert!(end(&worker, &reads), "the transport writes");
        assert!(!end(&worker, &reads), "the read has ended");
        until_idle().await;
        assert_eq!(fake.written(), "", "the flusher knows nothing of it");

        assert_eq!(worker.take(reads.outbox()), b"one two");
        assert!(worker.begin_read(reads.outbox()));
        assert!(!end(&worker, &reads), "there is nothing to write");
        write(&worker, &reads, "later");
        until_idle().await;
        assert_eq!(fake.written(), "later", "the flusher writes what comes without a read");
    });
}

/// What happens while a read is handled.
struct Reading {
    worker: Rc<Worker>,
    fake: Rc<Fake>,
    reads: Rc<dyn Session>,
    other: Rc<dyn Session>,
}

/// Its name; whether the transport may write; how often its session is told that its outbox was full; what
/// happens.
type Case = (&'static str, bool, usize, fn(&Reading));

#[test]
fn the_flusher_writes_the_answers_if_something_else_waits_or_the_transport_may_not_write() {
    let cases: [Case; 5] = [
        ("its transport may not write", false, 0, |_| {}),
        ("another session has a packet", true, 0, |at| write(&at.worker, &at.other, "x")),
        ("a broadcast waits", true, 0, |at| {
            let all = Target::all(at.worker.hub().scope("/"));
            at.worker.broadcast(broadcast(all, &Text::new("x")).into());
        }),
        ("its session asks to be flushed", true, 0, |at| at.worker.changed(&at.reads)),
        ("its outbox was full", true, 1, |at| {
            write(&at.worker, &at.reads, &"x".repeat(100));
            at.fake.stuck.set(true);
            at.worker.write(&at.reads, |_| {}).expect_err("it is full");
            at.fake.stuck.set(false);
        }),
    ];
    for (name, may_write, overflows, happens) in cases {
        on_worker(&options(1), async |worker, _| {
            let ((fake, reads), (_, other)) = (session(&worker, 100), session(&worker, 100));
            assert!(worker.begin_read(reads.outbox()));
            write(&worker, &reads, "answer");
            happens(&Reading {
                worker: Rc::clone(&worker),
                fake: Rc::clone(&fake),
                reads: Rc::clone(&reads),
                other,
            });
            assert!(!worker.end_read(reads.outbox(), || Rc::clone(&reads), may_write), "{name}");
            assert!(!worker.begin_read(reads.outbox()), "{name}: it is the flusher's");
            until_idle().await;
            assert!(fake.written().starts_with("answer"), "{name}");
            assert_eq!(fake.overflows.get(), overflows, "{name}");
        });
    }
}

#[test]
fn answers_come_behind_the_broadcasts_before_them() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = Peer::add(&worker, scope, 0);
        let reads = Rc::clone(&peer.session) as Rc<dyn Session>;
        let say = |text| worker.hub().broadcast(broadcast(Target::all(scope), &Text::new(text))).unwrap();
        say("1");
        assert!(worker.begin_read(reads.outbox()));
        write(&worker, &reads, "2");
        say("3");
        assert!(!end(&worker, &reads));
        until_idle().await;
        assert_eq!(peer.session.written(), "123");
    });
}
