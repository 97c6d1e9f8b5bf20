//! Requests: which workers get them, and what they are answered.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::rc::Rc;
use std::sync::Arc;

use common::{FIRST, Fake, PLAIN, Peer, Text, broadcast, on_worker, options, target, until_idle};
use switchboard_hub::{
    Command, HubError, InboxReceiver, MemberId, NodeId, Reply, Request, SocketInfo, Target, Variant, WorkerId,
};

/// How many commands each inbox has got since it was asked last.
fn got(inboxes: &mut [InboxReceiver]) -> Vec<usize> {
    inboxes.iter_mut().map(|inbox| std::iter::from_fn(|| inbox.try_recv()).count()).collect()
}

#[test]
fn a_message_for_an_id_goes_to_the_worker_that_made_it() {
    on_worker(&options(3), async |worker, mut inboxes| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let here = worker.new_member_id().expect("randomness");
        let [second, unknown_worker] =
            [1, 3].map(|number| MemberId::random(NodeId(0), WorkerId(number)).expect("randomness"));
        let unknown_node = MemberId::random(NodeId(1), WorkerId(1)).expect("randomness");
        let peer = Peer::with_id(&worker, scope, here, Variant(0), Fake::new(1000, PLAIN));
        let say = |rooms: &[&str], text| {
            hub.broadcast(broadcast(target(scope, rooms, &[]), &Text::new(text))).expect("room");
        };
        for (rooms, expected) in [
            (vec![here.as_str()], [0, 0]),
            (vec![second.as_str()], [1, 0]),
            (vec![unknown_worker.as_str()], [1, 1]),
            (vec![unknown_node.as_str()], [1, 1]),
            (vec!["room"], [1, 1]),
            (vec![here.as_str(), second.as_str()], [1, 1]),
            (vec![], [1, 1]),
        ] {
            say(&rooms, "x");
            assert_eq!(got(&mut inboxes), expected, "{rooms:?}");
        }
        until_idle().await;
        assert_eq!(peer.session.written(), "xxx");
    });
}

#[test]
fn a_room_that_is_named_as_an_id_is_found_on_all_workers() {
    for announced_by in 0..4 {
        on_worker(&options(3), async |worker, mut inboxes| {
            let hub = worker.hub();
            let scope = hub.scope("/");
            let name = MemberId::random(NodeId(0), WorkerId(1)).expect("randomness");
            let peer = Peer::add(&worker, scope, 0);
            match announced_by {
                // A join here, one by request, one that is on its way as other work, and a member whose id
                // another worker made.
                0 => drop(worker.join(peer.key, name.as_str()).expect("room")),
                1 => {
                    hub.request(Request::Join(Target::all(scope), vec![name.as_str().into()])).expect("room");
                }
                2 => hub.announce_room(name.as_str()),
                _ => drop(Peer::with_id(&worker, scope, name, Variant(0), Fake::new(1000, PLAIN))),
            }
            got(&mut inboxes);
            hub.broadcast(broadcast(target(scope, &[name.as_str()], &[]), &Text::new("x"))).expect("room");
            assert_eq!(got(&mut inboxes), [1, 1]);
        });
    }
}

#[test]
fn all_workers_answer_as_one() {
    on_worker(&options(2), async |worker, mut inboxes| {
        let hub = Arc::clone(worker.hub());
        let scope = hub.scope("/");
        let peers = [0, 1].map(|number| Peer::add(&worker, scope, number));
        worker.join(peers[1].key, "room").expect("room");
        let elsewhere = SocketInfo {
            id: MemberId::parse("elsewhere-----------").expect("an id"),
            rooms: vec!["hall".into()],
            snapshot: vec![1],
        };
        let here = |peer: &Peer, rooms: &[&str]| SocketInfo {
            id: peer.id,
            rooms: rooms.iter().map(|room| Arc::from(*room)).collect(),
            snapshot: b"a snapshot".to_vec(),
        };
        let mut inbox = inboxes.remove(0);
        for (request, answer, together) in [
            (
                Request::Fetch(Target::all(scope)),
                Reply::Sockets(vec![elsewhere.clone()]),
                Reply::Sockets(vec![here(&peers[0], &[]), here(&peers[1], &["room"]), elsewhere.clone()]),
            ),
            (Request::Count(target(scope, &["room"], &[])), Reply::Count(40), Reply::Count(41)),
        ] {
            let asking = {
                let hub = Arc::clone(&hub);
                tokio::task::spawn_local(async move { hub.ask(request).await })
            };
            let Some(Command::Request(_, Some(reply))) = inbox.recv().await else { panic!("not asked") };
            until_idle().await;
            assert!(!asking.is_finished());
            reply.send(answer);
            assert_eq!(asking.await.expect("no panic"), Ok(together));
        }
    });
}

#[test]
fn a_worker_that_does_not_answer_is_an_error() {
    on_worker(&options(2), async |worker, mut inboxes| {
        let hub = Arc::clone(worker.hub());
        let count = Request::Count(Target::all(hub.scope("/")));
        let asking = {
            let (hub, count) = (Arc::clone(&hub), count.clone());
            tokio::task::spawn_local(async move { hub.ask(count).await })
        };
        drop(inboxes[0].recv().await);
        assert_eq!(asking.await.expect("no panic"), Err(HubError::NoReply { missing: 1 }));
        inboxes.clear();
        assert_eq!(hub.ask(count).await, Err(HubError::Stopped(WorkerId(1))));
    });
}

#[test]
fn a_snapshot_that_panics_leaves_out_its_member_alone() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peers = [0, 1].map(|number| Peer::add(&worker, scope, number));
        peers[0].end.broken.set(true);
        let Ok(Reply::Sockets(found)) = worker.hub().ask(Request::Fetch(Target::all(scope))).await else {
            panic!("no sockets")
        };
        assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [peers[1].id]);
        let _keeps_the_worker = (FIRST, Rc::clone(&worker));
    });
}
