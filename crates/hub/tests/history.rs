//! Histories: one order for all that is sent in a scope, sessions that go on, and a store that comes first.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{FIRST, Fake, PLAIN, Peer, Text, broadcast, on_worker, options, target, until_idle};
use switchboard_hub::{
    Change, Claimed, Command, HistoryOptions, Hub, HubError, HubOptions, InboxReceiver, Kept, MemberId,
    MemoryStore, Position, Request, ScopeId, SessionState, SessionToken, Store, StoreError, StoreWriter,
    Target, Variant, Worker, WorkerId,
};

const OTHER: WorkerId = WorkerId(1);

fn scope(hub: &Hub, options: HistoryOptions) -> ScopeId {
    let scope = hub.scope("/");
    assert!(hub.keep_history(scope, options).expect("no store fails"));
    scope
}

fn say(hub: &Hub, scope: ScopeId, text: &str) -> Result<(), HubError> {
    hub.broadcast(broadcast(Target::all(scope), &Text::new(text)))
}

/// The texts of the broadcasts that an inbox holds.
fn texts(inbox: &mut InboxReceiver) -> Vec<String> {
    let commands = std::iter::from_fn(|| inbox.try_recv());
    let texts = commands.filter_map(|command| match command {
        Command::Request(Request::Broadcast(broadcast), _) => {
            let mut text = Vec::new();
            broadcast.payload.write(&mut text);
            Some(String::from_utf8(text).expect("text"))
        }
        _ => None,
    });
    texts.collect()
}

#[test]
fn all_workers_get_all_in_the_order_of_the_home() {
    on_worker(&options(2), async |worker, mut inboxes| {
        let hub = worker.hub();
        let scope = scope(hub, HistoryOptions::default());
        let peer = Peer::add(&worker, scope, 0);
        for text in ["1", "2"] {
            say(hub, scope, text).expect("room");
        }
        let elsewhere = Arc::clone(hub);
        std::thread::spawn(move || say(&elsewhere, scope, "3")).join().expect("no panic").expect("room");
        hub.request(Request::Join(Target::all(scope), vec!["room".into()])).expect("room");
        until_idle().await;
        hub.broadcast(broadcast(target(scope, &["room"], &[]), &Text::new("4"))).expect("room");
        until_idle().await;
        assert_eq!(peer.session.written(), "1234");
        assert_eq!(texts(&mut inboxes[0]), ["1", "2", "3", "4"]);
    });
}

#[test]
fn a_full_inbox_holds_the_history_up_and_nothing_is_lost_or_overtaken() {
    let options = HubOptions { workers: 2, inbox_capacity: 3, ..HubOptions::default() };
    on_worker(&options, async |worker, mut inboxes| {
        let hub = worker.hub();
        let scope = scope(hub, HistoryOptions::default());
        let peer = Peer::add(&worker, scope, 0);
        let mut said = Vec::new();
        let full = loop {
            let text = said.len().to_string();
            match say(hub, scope, &text) {
                Ok(()) => said.push(text),
                Err(error) => break error,
            }
        };
        assert_eq!(full, HubError::InboxFull(OTHER));
        assert!(said.len() > 3, "the one that met the full inbox waits at the home");
        let mut got = Vec::new();
        while got.len() < said.len() {
            until_idle().await;
            got.extend(texts(&mut inboxes[0]));
        }
        until_idle().await;
        assert_eq!(got, said);
        assert_eq!(peer.session.written(), said.concat());
        say(hub, scope, "on it goes").expect("room again");
    });
}

#[test]
fn a_scope_in_the_place_of_a_removed_one_has_a_history_of_its_own() {
    on_worker(&options(1), async |worker, _inboxes| {
        let hub = worker.hub();
        let removed = scope(hub, HistoryOptions::default());
        hub.remove_scope(removed);
        let scope = scope(hub, HistoryOptions::default());
        assert!(hub.has_history(scope) && !hub.has_history(removed));
        assert!(!hub.keep_history(scope, HistoryOptions::default()).expect("no store fails"), "it has one");
    });
}

fn member() -> (MemberId, SessionToken) {
    let id = MemberId::parse("AAAAAAAAAAAAAAAAAAAA").expect("an id");
    (id, SessionToken::random(id).expect("randomness"))
}

fn state(id: MemberId, rooms: &[&str]) -> SessionState {
    let rooms = rooms.iter().map(|room| Arc::from(*room)).collect();
    SessionState { id, rooms, data: b"data".to_vec(), values: None }
}

/// Begins a session with a member; returns the member.
async fn begin(worker: &Rc<Worker>, scope: ScopeId, token: SessionToken) -> Peer {
    let peers = Rc::new(std::cell::RefCell::new(None));
    worker
        .hub()
        .open_session(scope, FIRST, token, None, Vec::new(), |_, opened| {
            assert!(opened.expect("it is new").missed.is_empty());
        })
        .expect("room");
    until_idle().await;
    *peers.borrow_mut() =
        Some(Peer::with_id(worker, scope, token.id(), Variant(0), Fake::new(1 << 20, PLAIN)));
    peers.take().expect("it was made")
}

async fn claim(hub: &Hub, scope: ScopeId, token: SessionToken, offset: Option<Position>) -> Option<Claimed> {
    hub.claim_session(scope, token, offset).await
}

/// Goes on with a session; returns the number of events that it has missed.
async fn resume(hub: &Hub, scope: ScopeId, token: SessionToken, after: Position) -> Option<Vec<u64>> {
    let (sender, mut missed) = tokio::sync::oneshot::channel();
    hub.open_session(scope, FIRST, token, Some(after), Vec::new(), move |_, opened| {
        let numbers =
            opened.map(|opened| opened.missed.iter().map(|(position, _)| position.number).collect());
        sender.send(numbers).expect("it is awaited");
    })
    .expect("room");
    until_idle().await;
    missed.try_recv().expect("it was opened")
}

#[test]
fn a_session_gets_what_its_rooms_got_and_only_one_connection_gets_the_session() {
    on_worker(&options(2), async |worker, _inboxes| {
        let hub = worker.hub();
        let scope = scope(hub, HistoryOptions::default());
        let (id, token) = member();
        say(hub, scope, "before").expect("room");
        let peer = begin(&worker, scope, token).await;
        say(hub, scope, "2").expect("room");
        worker.remove_member(peer.key);
        hub.park_session(scope, FIRST, state(id, &["a"]));
        for (room, text) in [("a", "3"), ("b", "4"), (id.as_str(), "5")] {
            hub.broadcast(broadcast(target(scope, &[room], &[]), &Text::new(text))).expect("room");
        }
        let one = claim(hub, scope, token, None).await.expect("it is there");
        let two = claim(hub, scope, token, None).await.expect("it is still there");
        assert_eq!((one.state.data.as_slice(), one.after.number), (&b"data"[..], 1));
        assert_eq!(resume(hub, scope, token, one.after).await, Some(vec![2, 3, 5]));
        assert_eq!(resume(hub, scope, token, two.after).await, None, "the other one was faster");
    });
}

#[test]
fn a_session_expires_at_the_end_of_its_window_and_what_is_old_is_forgotten() {
    on_worker(&options(1), async |worker, _inboxes| {
        let hub = worker.hub();
        let expired = Arc::new(Mutex::new(Vec::new()));
        let mut options = HistoryOptions::default();
        (options.window, options.confirmed_after) = (Duration::from_secs(10), Duration::from_secs(5));
        let told = Arc::clone(&expired);
        options.on_expired = Some(Arc::new(move |state: SessionState| told.lock().unwrap().push(state.id)));
        let scope = scope(hub, options);
        let (id, token) = member();
        let peer = begin(&worker, scope, token).await;
        say(hub, scope, "1").expect("room");
        // A gap without events, longer than events are kept: it had got the first one.
        tokio::time::sleep(Duration::from_secs(60)).await;
        worker.remove_member(peer.key);
        hub.park_session(scope, FIRST, state(id, &[]));
        say(hub, scope, "2").expect("room");
        tokio::time::sleep(Duration::from_millis(9999)).await;
        let claimed = claim(hub, scope, token, None).await.expect("its window is open");
        assert_eq!(resume(hub, scope, token, claimed.after).await, Some(vec![2]));
        hub.park_session(scope, FIRST, state(id, &[]));
        tokio::time::sleep(Duration::from_millis(9999)).await;
        assert!(expired.lock().unwrap().is_empty());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(*expired.lock().unwrap(), [id]);
        assert!(claim(hub, scope, token, None).await.is_none());
    });
}

#[test]
fn a_session_whose_missed_events_are_kept_no_more_is_not_recovered() {
    on_worker(&options(1), async |worker, _inboxes| {
        let hub = worker.hub();
        let mut options = HistoryOptions::default();
        options.max_bytes = 1000;
        let scope = scope(hub, options);
        let (id, token) = member();
        let peer = begin(&worker, scope, token).await;
        worker.remove_member(peer.key);
        hub.park_session(scope, FIRST, state(id, &[]));
        for n in 0..100 {
            say(hub, scope, &n.to_string()).expect("room");
        }
        assert!(claim(hub, scope, token, None).await.is_none());
    });
}

#[test]
fn a_claim_waits_for_the_end_of_the_old_connection() {
    on_worker(&options(2), async |worker, _inboxes| {
        let hub = worker.hub();
        let scope = scope(hub, HistoryOptions::default());
        let (id, token) = member();
        let peer = begin(&worker, scope, token).await;
        let claiming = Arc::clone(hub);
        let claim = tokio::task::spawn_local(async move { claim(&claiming, scope, token, None).await });
        until_idle().await;
        assert_eq!(*peer.end.disconnected.borrow(), [true], "it is asked to end");
        assert!(!claim.is_finished());
        worker.remove_member(peer.key);
        hub.park_session(scope, FIRST, state(id, &["a"]));
        let claimed = claim.await.expect("no panic").expect("it is parked");
        assert_eq!(&*claimed.state.rooms[0], "a");
    });
}

#[test]
fn a_history_is_read_from_a_position() {
    on_worker(&options(1), async |worker, _inboxes| {
        let hub = worker.hub();
        let scope = scope(hub, HistoryOptions::default());
        for room in ["a", "b", "a"] {
            hub.broadcast(broadcast(target(scope, &[room], &[]), &Text::new(room))).expect("room");
        }
        let read = |after: Position, rooms: Vec<Arc<str>>| {
            let (sender, events) = channel();
            hub.read_history(scope, after, rooms, FIRST, move |_, events| {
                sender.send(events).expect("awaited");
            })
            .expect("room");
            events.recv().expect("it is read at once")
        };
        let all = read(Position::default(), Vec::new());
        assert_eq!((all.events.len(), all.head.number, all.complete), (3, 3, true));
        let (first, _) = all.events[0];
        assert_eq!(read(first, vec!["a".into()]).events.len(), 1);
        let ahead = Position { number: 9, ..first };
        assert!(!read(ahead, Vec::new()).complete, "a position that was not given out");
    });
}

/// A store that writes when it is told to.
struct Slow {
    kept: MemoryStore,
    go: Mutex<Receiver<()>>,
}

impl Store for Slow {
    fn load(&self, scope: &str) -> Result<Kept, StoreError> {
        self.kept.load(scope)
    }

    fn write(&self, changes: &[(Arc<str>, Change)]) -> Result<(), StoreError> {
        let _tests_end = self.go.lock().unwrap().recv();
        self.kept.write(changes)
    }
}

fn slow() -> (Arc<Slow>, Sender<()>) {
    let (go, gate) = channel();
    (Arc::new(Slow { kept: MemoryStore::default(), go: Mutex::new(gate) }), go)
}

#[test]
fn nothing_goes_out_before_the_store_has_it() {
    let (store, go) = slow();
    on_worker(&options(2), async |worker, mut inboxes| {
        let hub = worker.hub();
        let mut options = HistoryOptions::default();
        options.store = Some(StoreWriter::new(Arc::clone(&store) as Arc<dyn Store>));
        let scope = scope(hub, options);
        let peer = Peer::add(&worker, scope, 0);
        say(hub, scope, "1").expect("room");
        // What this thread does behind its event comes behind it, too.
        let session = peer.session_key;
        hub.run_in_scope(scope, FIRST, 0, move |worker| {
            let session = worker.session(session).expect("it is there");
            worker.write(&session, |out| out.push(b'2')).expect("room");
        })
        .expect("room");
        until_idle().await;
        assert_eq!(peer.session.written(), "");
        assert_eq!(texts(&mut inboxes[0]), [""; 0]);
        assert!(store.load("/").expect("kept").events.is_empty());
        go.send(()).expect("the store waits");
        go.send(()).expect("the store waits");
        while peer.session.written() != "12" {
            // The store's thread is a real one: virtual time must not run on to the end of the window.
            std::thread::yield_now();
            until_idle().await;
        }
        assert_eq!(texts(&mut inboxes[0]), ["1"]);
        assert_eq!(store.load("/").expect("kept").events.len(), 1);
        drop(go);
    });
}
