//! Two hubs that a bus of bytes connects: what one is asked, both do.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::Duration;

use bytes::Bytes;
use common::{Fake, PLAIN, Peer, Text, broadcast, runtime, target};
use switchboard_hub::{
    Bus, BusFull, Command, Hub, HubError, HubOptions, MemberId, NodeId, Payload, Remote, Reply, ReplySender,
    ReplyTo, Request, ServerEvent, Target, Variant, WorkerId,
};

const WORKERS: u8 = 2;

/// Carries bytes from one hub to the other, on the caller's thread.
#[derive(Default)]
struct Bytewise {
    own: OnceLock<NodeId>,
    other: OnceLock<Weak<Hub>>,
    /// Nodes that never answer.
    silent: AtomicUsize,
    full: AtomicBool,
}

impl Bytewise {
    fn other(&self) -> Arc<Hub> {
        self.other.get().and_then(Weak::upgrade).expect("both hubs live")
    }

    fn check(&self) -> Result<(), BusFull> {
        if self.full.load(Ordering::Relaxed) { Err(BusFull) } else { Ok(()) }
    }
}

impl Bus for Bytewise {
    fn nodes(&self) -> usize {
        1 + self.silent.load(Ordering::Relaxed)
    }

    fn publish(&self, scope: &str, request: &Request, reply_to: Option<ReplyTo>) -> Result<(), BusFull> {
        self.check()?;
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let other = self.other();
        let read = other.decode_request(scope, &bytes).expect("a request");
        other.receive(*self.own.get().expect("a number"), read, reply_to).expect("room");
        Ok(())
    }

    fn reply(&self, to: ReplyTo, reply: &Reply) -> Result<(), BusFull> {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let other = self.other();
        assert_eq!(to.node, other.node());
        other.receive_reply(to.request, Reply::decode(&bytes).expect("a reply"));
        Ok(())
    }
}

/// An application that answers events with their length.
struct Application(Mutex<mpsc::Sender<Vec<u8>>>);

impl Remote for Application {
    fn read_payload(&self, bytes: &[u8]) -> Option<Arc<dyn Payload>> {
        Some(Text::new(std::str::from_utf8(bytes).ok()?))
    }

    fn on_event(&self, event: ServerEvent, reply: Option<ReplySender>) {
        self.0.lock().expect("not poisoned").send(event.data.to_vec()).expect("the test lives");
        if let Some(reply) = reply {
            reply.send(Reply::Values(vec![Bytes::from(event.data.len().to_string())]));
        }
    }
}

/// Two nodes with a member on each of their workers.
struct Cluster {
    hubs: [Arc<Hub>; 2],
    buses: [Arc<Bytewise>; 2],
    ids: Vec<MemberId>,
    /// Of each flush: the member, and all that it has been written.
    written: mpsc::Receiver<(MemberId, String)>,
    events: mpsc::Receiver<Vec<u8>>,
}

impl Cluster {
    fn new() -> Self {
        // The scope has another number on each node.
        let hubs = [1, 2].map(|number| {
            let options =
                HubOptions { workers: WORKERS.into(), node: NodeId(number), ..HubOptions::default() };
            let hub = Hub::start(&options).expect("threads");
            for other in 1..number {
                hub.scope(&other.to_string());
            }
            hub
        });
        let buses = [0, 1].map(|_| Arc::new(Bytewise::default()));
        let (tell, events) = mpsc::channel();
        for (n, bus) in buses.iter().enumerate() {
            bus.own.set(hubs[n].node()).expect("set once");
            bus.other.set(Arc::downgrade(&hubs[1 - n])).expect("set once");
            let application = Arc::new(Application(Mutex::new(tell.clone())));
            assert!(hubs[n].attach(Arc::clone(bus) as Arc<dyn Bus>, application.clone()));
            assert!(!hubs[n].attach(Arc::clone(bus) as Arc<dyn Bus>, application));
        }
        let (write, written) = mpsc::channel();
        let (added, ids) = mpsc::channel();
        for (hub, worker) in hubs.iter().flat_map(|hub| (0..WORKERS).map(move |worker| (hub, worker))) {
            let (write, added) = (write.clone(), added.clone());
            hub.run_on(WorkerId(worker), move |worker| {
                let id = worker.new_member_id().expect("randomness");
                let session = Fake::new(1 << 20, PLAIN);
                let scope = worker.hub().scope("/chat");
                Peer::with_id(worker, scope, id, Variant(0), Rc::clone(&session));
                let shown = Rc::downgrade(&session);
                *session.on_flush.borrow_mut() = Some(Box::new(move |_| {
                    let session = shown.upgrade().expect("it is being flushed");
                    let _ended = write.send((id, session.written()));
                }));
                added.send(id).expect("the test lives");
            })
            .expect("room");
        }
        let mut ids: Vec<MemberId> = ids.iter().take(2 * usize::from(WORKERS)).collect();
        ids.sort_by_key(MemberId::home);
        Self { hubs, buses, ids, written, events }
    }

    fn all(&self, node: usize) -> Target {
        Target::all(self.hubs[node].scope("/chat"))
    }

    /// What each member has been written in all when `last` has come to as many.
    fn until(&self, last: &str, members: usize) -> BTreeMap<MemberId, String> {
        let mut seen = BTreeMap::new();
        while seen.values().filter(|text: &&String| text.ends_with(last)).count() < members {
            let (id, text) = self.written.recv_timeout(Duration::from_secs(30)).expect("it is written");
            seen.insert(id, text);
        }
        seen
    }

    fn ask(&self, node: usize, request: Request) -> Result<Reply, HubError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(self.hubs[node].ask(request))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for hub in &self.hubs {
            hub.send_all(|| Command::Stop).expect("never refused");
        }
    }
}

#[test]
fn a_broadcast_goes_to_the_members_of_all_nodes_once() {
    let cluster = Cluster::new();
    let say = |node: usize, target: Target, text: &str, ordered| {
        let broadcast = switchboard_hub::Broadcast { ordered, ..broadcast(target, &Text::new(text)) };
        cluster.hubs[node].broadcast(broadcast).expect("room");
    };
    say(0, cluster.all(0), "a", false);
    say(1, cluster.all(1), "b", true);
    let local = Target { local: true, ..cluster.all(0) };
    say(0, local, "c", false);
    let but_one = Target { except_member: Some(cluster.ids[3]), ..cluster.all(0) };
    say(0, but_one, "d", false);
    say(1, cluster.all(1), ".", false);
    let seen = cluster.until(".", 4);
    let texts: Vec<_> = cluster.ids.iter().map(|id| seen[id].as_str()).collect();
    assert_eq!(texts, ["abcd.", "abcd.", "abd.", "ab."]);
}

#[test]
fn rooms_are_one_over_all_nodes() {
    let cluster = Cluster::new();
    cluster.hubs[0].request(Request::Join(cluster.all(0), vec!["room".into()])).expect("room");
    let one = target(cluster.all(1).scope, &[cluster.ids[0].as_str()], &[]);
    cluster.hubs[1].request(Request::Leave(one, vec!["room".into()])).expect("room");
    for node in 0..2 {
        let scope = cluster.all(node).scope;
        let count = cluster.ask(node, Request::Count(target(scope, &["room"], &[])));
        assert_eq!(count, Ok(Reply::Count(3)), "asked of node {node}");
        let Ok(Reply::Sockets(found)) = cluster.ask(node, Request::Fetch(cluster.all(node))) else {
            panic!("no sockets")
        };
        let rooms: BTreeMap<_, _> = found.iter().map(|socket| (socket.id, socket.rooms.join(","))).collect();
        let room = |n: usize| if n == 0 { "" } else { "room" }.to_owned();
        let expected: BTreeMap<_, _> = cluster.ids.iter().enumerate().map(|(n, &id)| (id, room(n))).collect();
        assert_eq!(rooms, expected);
    }
    let only_here = Target { local: true, ..cluster.all(0) };
    assert_eq!(cluster.ask(0, Request::Count(only_here)), Ok(Reply::Count(2)));
}

#[test]
fn an_event_goes_to_the_applications_of_the_other_nodes() {
    let cluster = Cluster::new();
    let event = |text: &'static str| {
        Request::Emit(ServerEvent { scope: cluster.all(0).scope, data: Bytes::from(text) })
    };
    cluster.hubs[0].request(event("hello")).expect("room");
    assert_eq!(cluster.ask(0, event("hello, world")), Ok(Reply::Values(vec![Bytes::from("12")])));
    let events: Vec<_> = cluster.events.try_iter().collect();
    assert_eq!(events, [b"hello".to_vec(), b"hello, world".to_vec()]);
}

#[test]
fn a_question_goes_to_the_members_of_all_nodes() {
    let cluster = Cluster::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let ask = |node: usize, target: Target| {
        let question = broadcast(target, &Text::new("?"));
        let question = cluster.hubs[node].ask_members(question, Duration::from_secs(30)).expect("room");
        let answered = runtime.block_on(question.answers());
        assert_eq!(answered.missing, 0);
        assert!(answered.answers.iter().all(|answer| answer.value == Ok(Bytes::from("re: ?"))));
        let mut asked: Vec<_> = answered.answers.iter().map(|answer| answer.id).collect();
        asked.sort_by_key(MemberId::home);
        asked
    };
    let ids = &*cluster.ids;
    for node in 0..2 {
        assert_eq!(ask(node, cluster.all(node)), ids);
        let but_one = Target { except_member: Some(ids[3]), ..cluster.all(node) };
        assert_eq!(ask(node, but_one), ids[..3]);
        let one = target(cluster.all(node).scope, &[ids[1].as_str()], &[]);
        assert_eq!(ask(node, one), [ids[1]]);
    }
    let local = Target { local: true, ..cluster.all(1) };
    assert_eq!(ask(1, local), ids[2..]);
}

#[test]
fn a_node_that_does_not_answer_is_an_error_when_its_time_is_over() {
    let cluster = Cluster::new();
    cluster.buses[0].silent.store(2, Ordering::Relaxed);
    // In virtual time, it is over as soon as this thread has nothing else to do.
    let asked = runtime().block_on(cluster.hubs[0].ask(Request::Count(cluster.all(0))));
    assert!(matches!(asked, Err(HubError::NoReply { missing: 2.. })), "{asked:?}");
    // Or it is counted.
    let event = Request::Emit(ServerEvent { scope: cluster.all(0).scope, data: Bytes::from("hello") });
    let asked = runtime().block_on(cluster.hubs[0].ask_some(event));
    assert_eq!(asked, Ok((Some(Reply::Values(vec![Bytes::from("5")])), 2)));
    // A reply that comes too late, and one that nobody asked for.
    cluster.hubs[0].receive_reply(0, Reply::Count(1));
    cluster.hubs[0].receive_reply(99, Reply::Count(1));
}

#[test]
fn a_full_bus_is_an_error_and_this_node_is_served() {
    let cluster = Cluster::new();
    cluster.buses[0].full.store(true, Ordering::Relaxed);
    let sent = cluster.hubs[0].broadcast(broadcast(cluster.all(0), &Text::new("x")));
    assert_eq!(sent, Err(HubError::BusFull));
    let seen = cluster.until("x", 2);
    assert!(seen.keys().all(|id| cluster.ids[..2].contains(id)));
    assert_eq!(cluster.ask(0, Request::Count(cluster.all(0))), Err(HubError::BusFull));
}

#[test]
fn a_request_that_comes_back_is_dropped() {
    let cluster = Cluster::new();
    let hub = &cluster.hubs[0];
    let disconnect = Request::Disconnect { target: cluster.all(0), close: true };
    hub.receive(hub.node(), disconnect, None).expect("dropped");
    let again = Request::Broadcast(Arc::new(broadcast(cluster.all(0), &Text::new("again"))));
    hub.receive(hub.node(), again, None).expect("dropped");
    hub.broadcast(broadcast(cluster.all(0), &Text::new("."))).expect("room");
    assert!(cluster.until(".", 4).values().all(|text| text == "."));
}
