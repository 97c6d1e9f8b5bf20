//! A worker in virtual time, and sessions that record what happens to them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use switchboard_hub::{
    AnswerSender, Asking, Broadcast, Command, Endpoint, Framing, Hub, HubOptions, InboxReceiver, MemberId,
    MemberKey, Outbox, Payload, ScopeId, Session, SessionKey, Target, Variant, WhenFull, Worker, WorkerId,
};

pub const PLAIN: Framing = Framing { id: 0, separator: None };
pub const LINES: Framing = Framing { id: 1, separator: Some(b'|') };
pub const FIRST: WorkerId = WorkerId(0);

/// Runs a test on the thread of worker 0, in virtual time. The inboxes of further workers are the test's.
pub fn on_worker<F: Future<Output = ()>>(
    options: &HubOptions,
    test: impl FnOnce(Rc<Worker>, Vec<InboxReceiver>) -> F,
) {
    runtime().block_on(async {
        let (hub, mut inboxes) = Hub::without_threads(options);
        let running = tokio::task::spawn_local(Worker::run(FIRST, Arc::clone(&hub), inboxes.remove(0)));
        tokio::task::yield_now().await;
        test(Worker::current().expect("a worker runs"), inboxes).await;
        hub.send(FIRST, Command::Stop).expect("the worker lives");
        running.await.expect("the worker ends");
    });
}

pub fn runtime() -> tokio::runtime::LocalRuntime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build_local(tokio::runtime::LocalOptions::default()).expect("a runtime")
}

pub fn options(workers: usize) -> HubOptions {
    HubOptions { workers, ..HubOptions::default() }
}

/// Lets the worker's own tasks run until they wait.
pub async fn until_idle() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}

/// Is told how many bytes have been written.
pub type OnFlush = Box<dyn FnMut(usize)>;

/// A session that records.
pub struct Fake {
    outbox: Outbox,
    pub written: RefCell<Vec<u8>>,
    /// Writes past the outbox: how many, and how many bytes one takes at most (0: none).
    pub direct: Cell<usize>,
    pub takes: Cell<usize>,
    /// Takes nothing, like a peer that does not read.
    pub stuck: Cell<bool>,
    pub overflows: Cell<usize>,
    pub when_full: Cell<WhenFull>,
    /// The numbers of dropped packets that it was told.
    pub dropped: RefCell<Vec<usize>>,
    /// When its timer was called.
    pub fired: RefCell<Vec<Instant>>,
    /// What its timer returns, once.
    pub next: Cell<Option<Instant>>,
    /// Panics in its timer and when flushed.
    pub broken: Cell<bool>,
    pub on_drop: RefCell<Option<Box<dyn FnOnce()>>>,
    /// Is told how many bytes were written when it has been flushed.
    pub on_flush: RefCell<Option<OnFlush>>,
}

impl Fake {
    pub fn new(limit: usize, framing: Framing) -> Rc<Self> {
        Rc::new(Self {
            outbox: Outbox::new(limit, framing),
            written: RefCell::default(),
            direct: Cell::new(0),
            takes: Cell::new(0),
            stuck: Cell::new(false),
            overflows: Cell::new(0),
            when_full: Cell::default(),
            dropped: RefCell::default(),
            fired: RefCell::default(),
            next: Cell::new(None),
            broken: Cell::new(false),
            on_drop: RefCell::default(),
            on_flush: RefCell::default(),
        })
    }

    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.borrow()).into_owned()
    }
}

impl Session for Fake {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        assert!(!self.broken.get(), "broken on purpose");
        if !self.stuck.get() {
            self.written.borrow_mut().extend(worker.take(&self.outbox));
        }
        if let Some(on_flush) = self.on_flush.borrow_mut().as_mut() {
            on_flush(self.written.borrow().len());
        }
    }

    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let n = if self.stuck.get() { 0 } else { bytes.len().min(self.takes.get()) };
        self.direct.set(self.direct.get() + usize::from(n > 0));
        self.written.borrow_mut().extend(&bytes[..n]);
        n
    }

    fn writable(&self) -> bool {
        !self.stuck.get()
    }

    fn overflow(&self, _worker: &Rc<Worker>) {
        self.overflows.set(self.overflows.get() + 1);
    }

    fn when_full(&self) -> WhenFull {
        self.when_full.get()
    }

    fn dropped(&self, _worker: &Rc<Worker>, packets: usize) {
        self.dropped.borrow_mut().push(packets);
    }

    fn on_timer(&self, _worker: &Rc<Worker>, now: Instant) -> Option<Instant> {
        assert!(!self.broken.get(), "broken on purpose");
        self.fired.borrow_mut().push(now);
        self.next.take()
    }

    fn shut_down(&self, _worker: &Rc<Worker>) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

/// Is called with a question, its time-out, and the sender of its answer.
pub type OnAsk = Box<dyn FnMut(&[u8], Duration, AnswerSender)>;

/// A member that records how it was disconnected.
#[derive(Default)]
pub struct End {
    pub disconnected: RefCell<Vec<bool>>,
    /// Cannot be asked.
    pub deaf: Cell<bool>,
    /// Called with each question: the answer is sent at any time.
    pub on_ask: RefCell<Option<OnAsk>>,
    pub broken: Cell<bool>,
}

impl Endpoint for End {
    fn disconnect(&self, close: bool) {
        assert!(!self.broken.get(), "broken on purpose");
        self.disconnected.borrow_mut().push(close);
    }

    fn ask(&self, _worker: &Rc<Worker>, asking: &Asking<'_>) -> bool {
        assert!(!self.broken.get(), "broken on purpose");
        if self.deaf.get() {
            return false;
        }
        let mut question = Vec::new();
        asking.payload.write(&mut question);
        match self.on_ask.borrow_mut().as_mut() {
            Some(on_ask) => on_ask(&question, asking.timeout, asking.answer()),
            None => asking.answer().send(Ok([b"re: ", &*question].concat().into())),
        }
        true
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        assert!(!self.broken.get(), "broken on purpose");
        out.extend(b"a snapshot");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A session with a member in one scope.
pub struct Peer {
    pub session: Rc<Fake>,
    pub end: Rc<End>,
    pub session_key: SessionKey,
    pub key: MemberKey,
    pub id: MemberId,
}

impl Peer {
    pub fn add(worker: &Rc<Worker>, scope: ScopeId, number: u32) -> Self {
        Self::with(worker, scope, number, Variant(0), Fake::new(1 << 20, PLAIN))
    }

    pub fn with(
        worker: &Rc<Worker>,
        scope: ScopeId,
        number: u32,
        variant: Variant,
        session: Rc<Fake>,
    ) -> Self {
        let id = MemberId::parse(&format!("{number:020}")).expect("an id");
        Self::with_id(worker, scope, id, variant, session)
    }

    pub fn with_id(
        worker: &Rc<Worker>,
        scope: ScopeId,
        id: MemberId,
        variant: Variant,
        session: Rc<Fake>,
    ) -> Self {
        let end = Rc::new(End::default());
        let session_key = worker.add_session(Rc::clone(&session) as Rc<dyn Session>);
        let key = worker.add_member(
            scope,
            id,
            variant,
            Rc::clone(&session) as Rc<dyn Session>,
            Rc::clone(&end) as Rc<dyn Endpoint>,
        );
        Self { session, end, session_key, key, id }
    }
}

/// A message that counts how often it was encoded.
#[derive(Default)]
pub struct Text {
    pub text: String,
    pub encoded: Mutex<Vec<(Variant, Framing)>>,
}

impl Text {
    pub fn new(text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { text: text.into(), encoded: Mutex::default() })
    }
}

/// A message that panics when it is encoded, after a part of it.
pub struct Broken;

impl Payload for Broken {
    fn encode(&self, _variant: Variant, _framing: Framing, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"a part");
        panic!("on purpose")
    }

    fn bytes(&self) -> usize {
        0
    }

    fn write(&self, _out: &mut Vec<u8>) {}
}

/// Members of this variant have no use for a [`Text`].
pub const DEAF: Variant = Variant(99);

impl Payload for Text {
    fn encode(&self, variant: Variant, framing: Framing, out: &mut Vec<u8>) -> bool {
        self.encoded.lock().expect("not poisoned").push((variant, framing));
        out.extend_from_slice(self.text.as_bytes());
        variant != DEAF
    }

    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
    }
}

pub fn broadcast(target: Target, text: &Arc<Text>) -> Broadcast {
    let payload = Arc::clone(text) as Arc<dyn Payload>;
    Broadcast { target, payload, volatile: false, key: None, ordered: false }
}

/// A target in a scope.
pub fn target(scope: ScopeId, rooms: &[&str], except: &[&str]) -> Target {
    Target {
        rooms: rooms.iter().map(|room| Arc::from(*room)).collect(),
        except: except.iter().map(|room| Arc::from(*room)).collect(),
        ..Target::all(scope)
    }
}
