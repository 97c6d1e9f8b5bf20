//! Watching rooms: each join and leave is told once, first and last ones as such.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Peer, on_worker, options};
use switchboard_hub::{MemberId, ScopeId, Watch, Worker};

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn say(&self, sign: char, worker: &Worker, scope: ScopeId, room: &str, member: MemberId, alone: bool) {
        // Nothing of the worker is borrowed.
        let name = worker.hub().scope_name(scope).expect("a scope");
        assert!(worker.matching(&common::target(scope, &[room], &[])).is_empty() == (sign == '-' && alone));
        let number = member.as_str().trim_start_matches('0');
        let alone = if alone { "!" } else { "" };
        self.0.lock().expect("not poisoned").push(format!("{sign}{name}:{room}:{number}{alone}"));
    }
}

impl Watch for Told {
    fn joined(&self, worker: &Worker, scope: ScopeId, room: &str, member: MemberId, first: bool) {
        self.say('+', worker, scope, room, member, first);
    }

    fn left(&self, worker: &Worker, scope: ScopeId, room: &str, member: MemberId, last: bool) {
        self.say('-', worker, scope, room, member, last);
    }
}

#[test]
fn joins_and_leaves_are_told_once_and_whether_they_are_the_first_or_the_last() {
    on_worker(&options(1), async |worker, _| {
        let told = [(); 2].map(|()| Arc::new(Told::default()));
        for told in &told {
            worker.hub().watch(&(Arc::clone(told) as Arc<dyn Watch>));
        }
        let scope = worker.hub().scope("/");
        let [a, b] = [1, 2].map(|number| Peer::add(&worker, scope, number));
        for (peer, room) in [(&a, "x"), (&a, "x"), (&b, "x"), (&b, "y")] {
            worker.join(peer.key, room).expect("room");
        }
        for room in ["x", "x", "z"] {
            worker.leave(a.key, room).expect("a member");
        }
        worker.join(a.key, "y").expect("room");
        worker.remove_member(b.key);
        worker.remove_member(b.key);
        worker.remove_member(a.key);
        for told in told {
            let told = told.0.lock().expect("not poisoned").join(" ");
            assert_eq!(told, "+/:x:1! +/:x:2 +/:y:2! -/:x:1 +/:y:1 -/:x:2! -/:y:2 -/:y:1!");
        }
    });
}
