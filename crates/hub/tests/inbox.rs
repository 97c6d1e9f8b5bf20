//! Inboxes: their bounds, and how seldom their workers are woken.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use common::{FIRST, Peer, Text, broadcast, on_worker, options, runtime, until_idle};
use switchboard_hub::{Command, Hub, HubError, HubOptions, Target, Worker, WorkerId};

const SECOND: WorkerId = WorkerId(1);

#[test]
fn an_inbox_is_bounded_in_bytes() {
    let options = HubOptions { inbox_bytes: 100, ..options(2) };
    on_worker(&options, async |worker, mut inboxes| {
        let hub = worker.hub();
        let scope = hub.scope("/");
        let full = Err(HubError::InboxFull(SECOND));
        let say = |bytes| hub.broadcast(broadcast(Target::all(scope), &Text::new("x".repeat(bytes))));
        let run = |bytes| hub.run_holding(SECOND, bytes, |_| ());
        // One command may pass the bound; from there on none is taken, however small.
        assert_eq!([say(60), run(39), run(0), run(500)], [Ok(()); 4]);
        assert_eq!([say(1), run(1), run(0)], [full; 3]);
        while inboxes[0].try_recv().is_some() {}
        assert_eq!([say(1000), say(0), run(0)], [Ok(()), full, full]);
        while inboxes[0].try_recv().is_some() {}
        // The names of rooms count as well.
        let rooms = vec![Arc::from("r".repeat(100))];
        hub.request(switchboard_hub::Request::Join(Target::all(scope), rooms)).expect("room");
        assert_eq!(run(0), full);
        // A stop is never refused.
        hub.send(SECOND, Command::Stop).expect("never refused");
    });
}

#[test]
fn a_sender_can_wait_until_there_are_fewer_bytes() {
    let options = HubOptions { inbox_bytes: 100, ..options(2) };
    on_worker(&options, async |worker, mut inboxes| {
        let hub = Arc::clone(worker.hub());
        let mut inbox = inboxes.remove(0);
        hub.run_holding(SECOND, 100, |_| ()).expect("room");
        let room = {
            let worker = Rc::clone(&worker);
            tokio::task::spawn_local(async move { worker.room(SECOND).await })
        };
        let sender = |bytes| {
            let hub = Arc::clone(&hub);
            tokio::task::spawn_local(async move {
                hub.send_when_room(SECOND, Command::run_holding(bytes, |_| ())).await
            })
        };
        // One that gives up leaves nothing behind.
        let gives_up = sender(1000);
        until_idle().await;
        gives_up.abort();
        let (one, other) = (sender(200), sender(200));
        until_idle().await;
        assert!(!room.is_finished() && !one.is_finished() && !other.is_finished());
        inbox.try_recv().expect("the first command");
        until_idle().await;
        assert!(room.is_finished());
        assert_eq!((one.is_finished(), other.is_finished(), inbox.len()), (true, false, 1));
        inbox.try_recv().expect("the second command");
        until_idle().await;
        assert!(other.is_finished());
        // Nobody waits for a worker that has stopped.
        let last = sender(1);
        until_idle().await;
        drop(inbox);
        assert_eq!(last.await.expect("no panic"), Err(HubError::Stopped(SECOND)));
        worker.room(SECOND).await;
    });
}

/// Counts how often other threads wake a future.
struct Counted<F> {
    future: Pin<Box<F>>,
    wakes: Arc<AtomicUsize>,
}

struct CountingWaker {
    inner: Waker,
    thread: std::thread::ThreadId,
    wakes: Arc<AtomicUsize>,
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        if std::thread::current().id() != self.thread {
            self.wakes.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.wake_by_ref();
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let waker = Arc::new(CountingWaker {
            inner: cx.waker().clone(),
            thread: std::thread::current().id(),
            wakes: Arc::clone(&self.wakes),
        });
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(waker)))
    }
}

#[test]
fn a_burst_from_another_thread_wakes_a_worker_once() {
    const BROADCASTS: usize = 50;
    runtime().block_on(async {
        let (hub, mut inboxes) = Hub::without_threads(&options(1));
        let wakes = Arc::new(AtomicUsize::new(0));
        let run = Box::pin(Worker::run(FIRST, Arc::clone(&hub), inboxes.remove(0)));
        let running = tokio::task::spawn_local(Counted { future: run, wakes: Arc::clone(&wakes) });
        tokio::task::yield_now().await;
        let worker = Worker::current().expect("a worker runs");
        let scope = hub.scope("/");
        let peer = Peer::add(&worker, scope, 0);
        // While one broadcast is written, the next one is sent.
        let (sender, sends) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<()>>();
        let thread = std::thread::spawn(move || {
            let say = || hub.broadcast(broadcast(Target::all(scope), &Text::new("x"))).expect("room");
            say();
            while let Ok(done) = sends.recv() {
                say();
                done.send(()).expect("the test waits");
            }
            hub.send(FIRST, Command::Stop).expect("the worker lives");
        });
        let mut sender = Some(sender);
        *peer.session.on_flush.borrow_mut() = Some(Box::new(move |written| {
            if written >= BROADCASTS {
                sender = None;
            } else if let Some(sender) = &sender {
                let (done, sent) = std::sync::mpsc::channel();
                sender.send(done).expect("the thread lives");
                sent.recv().expect("the thread answers");
            }
        }));
        running.await.expect("no panic");
        thread.join().expect("no panic");
        assert_eq!(peer.session.written().len(), BROADCASTS);
        // The first broadcast, and the stop.
        assert!(wakes.load(Ordering::Relaxed) <= 2, "{} wakes", wakes.load(Ordering::Relaxed));
    });
}
