//! Connections over pipes, in virtual time: what they read, when they do not, and how they end.

mod executor;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{IoSlice, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::Message;
use switchboard_hub::{
    Command, Hub, HubOptions, InboxReceiver, Outbox, Session, SessionKey, Worker, WorkerId,
};
use switchboard_websocket::deflate::{DeflateOptions, DeflateParameters, Deflater};
use switchboard_websocket::{Limits, Opcode, Role, encode_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;

use super::turn::TURN_BYTES;
use super::{Connection, ConnectionEnd, ConnectionOwner, Executor, Opened, Timeouts};
use crate::transport::connection_limit::ConnectionLimit;
use crate::transport::deflate::Compression;
use crate::transport::io::Io;
use crate::transport::stream::Stream;
use crate::transport::wire::Wire;

const HOLD_BACK_AT: usize = 100_000;

type OnMessage = Box<dyn Fn(&Rc<Worker>, &Rc<Owner>, &[u8])>;

/// An owner that records.
struct Owner {
    outbox: Outbox,
    key: Cell<Option<SessionKey>>,
    connection: RefCell<Option<Rc<Connection>>>,
    on_message: OnMessage,
    messages: Cell<usize>,
    end: RefCell<Option<ConnectionEnd>>,
    timeouts: Timeouts,
}

impl Owner {
    fn connection(&self) -> Rc<Connection> {
        self.connection.borrow().clone().expect("it is there")
    }

    fn end(&self) -> Option<&'static str> {
        self.end.borrow().as_ref().map(ConnectionEnd::as_str)
    }

    fn send(self: &Rc<Self>, worker: &Rc<Worker>, bytes: &[u8]) {
        let me = Rc::clone(self) as Rc<dyn Session>;
        worker.write(&me, |out| encode_frame(out, Opcode::Binary, bytes)).expect("there is room");
    }
}

impl Session for Owner {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn flush(&self, worker: &Rc<Worker>) {
        self.connection().flush(worker, &self.outbox);
    }

    fn write_through(&self, slices: &[IoSlice<'_>]) -> usize {
        self.connection().write_through(slices)
    }

    fn writable(&self) -> bool {
        self.connection().writable()
    }

    fn overflow(&self, _worker: &Rc<Worker>) {
        self.connection().abort();
    }

    fn on_timer(&self, _worker: &Rc<Worker>, _now: Instant) -> Option<Instant> {
        None
    }

    fn shut_down(&self, _worker: &Rc<Worker>) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ConnectionOwner for Owner {
    fn on_message(self: Rc<Self>, worker: &Rc<Worker>, _connection: &Rc<Connection>, message: Message<'_>) {
        self.messages.set(self.messages.get() + 1);
        let bytes = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        };
        (self.on_message)(worker, &self, bytes);
    }

    fn hold_back_at(&self) -> usize {
        HOLD_BACK_AT
    }

    fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn on_connection_end(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        _connection: &Rc<Connection>,
        end: ConnectionEnd,
    ) {
        worker.remove_session(self.key.get().expect("it has begun"));
        assert!(self.end.replace(Some(end)).is_none(), "an owner is told once");
    }

    fn span(&self) -> tracing::Span {
        tracing::Span::none()
    }

    fn as_session(self: Rc<Self>) -> Rc<dyn Session> {
        self
    }
}

/// A worker's thread, and what connections on it have in common.
struct Bench {
    worker: Rc<Worker>,
    /// The inbox of another worker, which holds one command.
    inbox: InboxReceiver,
    limit: Arc<ConnectionLimit>,
}

const MINUTE: Duration = Duration::from_secs(60);
const OTHER: WorkerId = WorkerId(1);

fn run<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    let runtime = builder.build_local(tokio::runtime::LocalOptions::default()).expect("a runtime");
    runtime.block_on(async {
        let options = HubOptions { workers: 2, inbox_capacity: 1, ..HubOptions::default() };
        let (hub, mut inboxes) = Hub::without_threads(&options);
        let running = tokio::task::spawn_local(Worker::run(WorkerId(0), Arc::clone(&hub), inboxes.remove(0)));
        tokio::task::yield_now().await;
        let worker = Worker::current().expect("a worker runs");
        let limit = ConnectionLimit::new(usize::MAX, usize::MAX);
        test(Bench { worker, inbox: inboxes.remove(0), limit }).await;
        hub.send(WorkerId(0), Command::Stop).expect("the worker lives");
        running.await.expect("the worker ends");
    });
}

impl Bench {
    /// A connection over a pipe that holds so many bytes, and its client's end.
    fn open(
        &self,
        pipe: usize,
        wire: Wire,
        on_message: impl Fn(&Rc<Worker>, &Rc<Owner>, &[u8]) + 'static,
    ) -> (Rc<Owner>, DuplexStream) {
        let (ours, client) = tokio::io::duplex(pipe);
        let io = Io::Boxed(Box::new((Box::pin(ours), self.limit.enter_unlimited())));
        (self.open_over(io, wire, on_message), client)
    }

    fn open_over(
        &self,
        io: Io,
        wire: Wire,
        on_message: impl Fn(&Rc<Worker>, &Rc<Owner>, &[u8]) + 'static,
    ) -> Rc<Owner> {
        let owner = Rc::new(Owner {
            outbox: Outbox::new(16 << 20, wire.framing()),
            key: Cell::new(None),
            connection: RefCell::default(),
            on_message: Box::new(on_message),
            messages: Cell::new(0),
            end: RefCell::default(),
            timeouts: Timeouts { message: Some(MINUTE), close: Some(MINUTE) },
        });
        let opened = Opened { io, wire, unread: bytes::Bytes::new(), answer: &[] };
        let limits = Limits::DEFAULT;
        let (connection, task) =
            Connection::start(&self.worker, opened, limits, Rc::clone(&owner) as Rc<dyn ConnectionOwner>);
        *owner.connection.borrow_mut() = Some(connection);
        owner.key.set(Some(self.worker.add_session(Rc::clone(&owner) as Rc<dyn Session>)));
        self.worker.extension::<Executor>().run(task.expect("nothing is traced"));
        owner
    }

    fn quiet(&self, pipe: usize) -> (Rc<Owner>, DuplexStream) {
        self.open(pipe, Wire::Rfc6455, |_, _, _| {})
    }
}

/// A frame as clients send it, masked with nothing.
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    encode_frame(&mut plain, opcode, payload);
    let head = plain.len() - payload.len();
    let mut masked = plain[..head].to_vec();
    masked[1] |= 0x80;
    masked.extend([0; 4]);
    masked.extend(payload);
    masked
}

/// Lets all tasks run until they wait.
async fn until_idle() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}

#[test]
fn a_paused_connection_handles_no_more_of_the_last_read() {
    run(|bench| async move {
        let agreed = DeflateParameters {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        let options = DeflateOptions::default().threshold(0);
        let compression = Compression::agreed(agreed, &options).expect("a form is free");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&seen);
        let (owner, mut client) = bench.open(1 << 20, Wire::Deflate(compression), move |_, owner, bytes| {
            assert_eq!(bytes.len(), 10_000);
            log.borrow_mut().push(bytes[0]);
            owner.connection().pause();
        });
        let mut asked = Vec::new();
        for n in 0..100 {
            Deflater::new(Role::Client, agreed, &options).encode_frame(
                &mut asked,
                Opcode::Binary,
                &[n; 10_000],
                Some([0; 4]),
            );
        }
        asked.extend(frame(Opcode::Close, &[]));
        assert!(asked.len() < TURN_BYTES, "it is one read: {}", asked.len());
        client.write_all(&asked).await.unwrap();
        for n in 1..=100 {
            until_idle().await;
            assert_eq!(owner.messages.get(), n);
            assert!(owner.connection().decoder.borrow().is_idle(), "a message that is handled is not held");
            owner.connection().resume();
        }
        until_idle().await;
        assert_eq!(owner.end(), Some("closed"), "what came last is not lost");
        assert!(seen.borrow().iter().copied().eq(0..100));
    });
}

#[test]
fn a_busy_connection_lets_others_have_their_turn() {
    for busy in [frame(Opcode::Ping, b""), frame(Opcode::Text, b"hi"), frame(Opcode::Binary, &[7; 1000])] {
        run(|bench| async move {
            let handled = Rc::new(Cell::new(0));
            let (in_busy, in_other) = (Rc::clone(&handled), Rc::clone(&handled));
            let at = Rc::new(Cell::new(None));
            let (busy_owner, mut client) =
                bench.open(32 << 20, Wire::Rfc6455, move |_, _, _| in_busy.set(in_busy.get() + 1));
            let seen = Rc::clone(&at);
            let (_other, mut other) =
                bench.open(1024, Wire::Rfc6455, move |_, _, _| seen.set(Some(in_other.get())));
            client.write_all(&busy.repeat(20_000)).await.unwrap();
            client.write_all(&frame(Opcode::Text, b"last")).await.unwrap();
            other.write_all(&frame(Opcode::Text, b"me too")).await.unwrap();
            let done = async {
                let mut sink = vec![0; 1 << 16];
                while client.read(&mut sink).await.is_ok_and(|n| n > 0) {}
            };
            tokio::select! {
                () = done => {}
                () = until_idle() => {}
            }
            assert!(handled.get() > 0, "all of it is handled in the end");
            assert_eq!(busy_owner.end(), None);
            let before = at.get().expect("the other one is handled");
            assert!(before <= 1024, "after {before} messages of the busy one");
        });
    }
}

#[test]
fn pongs_that_a_peer_does_not_read_are_sixty_at_most() {
    run(|bench| async move {
        let (owner, mut client) = bench.quiet(64);
        let pings = frame(Opcode::Ping, b"").repeat(1000);
        let (mut read, mut write) = tokio::io::split(&mut client);
        let mut pongs = vec![0; 2000];
        let (written, answered) = tokio::join!(write.write_all(&pings), read.read_exact(&mut pongs));
        written.and(answered.map(drop)).expect("a peer that reads gets them all");
        assert_eq!(pongs, b"\x8A\x00".repeat(1000));
        assert_eq!(owner.end(), None);

        // The pipe holds 32 of them.
        for _ in 0..32 + 60 {
            client.write_all(&frame(Opcode::Ping, b"")).await.unwrap();
            until_idle().await;
        }
        assert_eq!(owner.end(), None);
        client.write_all(&frame(Opcode::Ping, b"")).await.unwrap();
        until_idle().await;
        assert_eq!(owner.end(), Some("ping flood"));
    });
}

#[test]
fn a_ping_that_meets_a_full_outbox_ends_no_connection() {
    run(|bench| async move {
        const FULL: usize = 16 << 20;
        let (owner, mut client) = bench.quiet(64);
        owner.send(&bench.worker, &vec![1; FULL]);
        until_idle().await;
        assert!(owner.outbox.bytes() > FULL - 1000);
        for _ in 0..3 {
            owner.connection().ping(&bench.worker);
            until_idle().await;
        }
        assert_eq!(owner.end(), None);
        let mut sent = vec![0; 10 + FULL + 3 * 2];
        client.read_exact(&mut sent).await.expect("it is open");
        assert!(sent.ends_with(b"\x89\x00\x89\x00\x89\x00"));
    });
}

#[test]
fn a_peer_that_does_not_take_its_answers_is_not_read() {
    run(|bench| async move {
        const ANSWER: usize = 10_000;
        let (owner, mut client) =
            bench.open(4096, Wire::Rfc6455, |worker, owner, _| owner.send(worker, &[1; ANSWER]));
        let asked = frame(Opcode::Text, b"more").repeat(1000);
        let (mut read, mut write) = tokio::io::split(&mut client);
        let writing = async {
            write.write_all(&asked).await.unwrap();
        };
        let reading = async {
            // It begins to read when nothing else moves.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(owner.outbox.bytes() < HOLD_BACK_AT + 2 * ANSWER, "{}", owner.outbox.bytes());
            let mut answers = vec![0; 1000 * (4 + ANSWER)];
            read.read_exact(&mut answers).await.unwrap();
        };
        tokio::join!(writing, reading);
        assert_eq!(owner.messages.get(), 1000);
    });
}

#[test]
fn a_message_that_does_not_end_closes_its_connection() {
    run(|bench| async move {
        let whole = frame(Opcode::Binary, &vec![1; 200_000]);
        // Slow, but it gets on.
        let (owner, mut client) = bench.quiet(1 << 20);
        for piece in whole.chunks(70_000) {
            client.write_all(piece).await.unwrap();
            tokio::time::sleep(MINUTE * 9 / 10).await;
        }
        assert_eq!((owner.messages.get(), owner.end()), (1, None));
        tokio::time::sleep(MINUTE * 3).await;
        assert_eq!(owner.end(), None, "one that is whole has no time");

        // Byte by byte, with pings amid it.
        for byte in whole.iter().take(100) {
            let _cut = client.write_all(&[*byte]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(owner.end(), Some("message timeout"));
        let mut answer = Vec::new();
        client.shutdown().await.unwrap();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"\x88\x02\x03\xF0", "1008");

        // The time of the second message is not that of the first.
        let (owner, mut client) = bench.quiet(1 << 20);
        let (first, second) = (&whole[..whole.len() - 1], [&whole[whole.len() - 1..], &whole[..1]].concat());
        client.write_all(first).await.unwrap();
        tokio::time::sleep(MINUTE / 2).await;
        client.write_all(&second).await.unwrap();
        tokio::time::sleep(MINUTE * 9 / 10).await;
        assert_eq!(owner.end(), None);
        tokio::time::sleep(MINUTE / 2).await;
        assert_eq!(owner.end(), Some("message timeout"));
    });
}

#[test]
fn a_message_that_is_not_read_is_not_late() {
    run(|bench| async move {
        let (owner, mut client) = bench.quiet(1 << 20);
        let whole = frame(Opcode::Text, b"hello");
        client.write_all(&whole[..8]).await.unwrap();
        until_idle().await;
        owner.connection().pause();
        client.write_all(&whole[8..]).await.unwrap();
        tokio::time::sleep(MINUTE * 5).await;
        assert_eq!((owner.messages.get(), owner.end()), (0, None));
        owner.connection().resume();
        until_idle().await;
        assert_eq!((owner.messages.get(), owner.end()), (1, None));
    });
}

#[test]
fn a_close_has_time_for_as_long_as_its_peer_takes_bytes() {
    run(|bench| async move {
        let (owner, mut client) = bench.quiet(1000);
        owner.send(&bench.worker, &vec![1; 20_000]);
        owner.connection().close(&bench.worker, None, "");
        let mut piece = [0; 1000];
        for _ in 0..20 {
            tokio::time::sleep(MINUTE * 9 / 10).await;
            client.read_exact(&mut piece).await.unwrap();
        }
        let mut rest = Vec::new();
        let began = tokio::time::Instant::now();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"\x88\x00"), "the close comes behind all that waited: {rest:?}");
        assert_eq!(owner.end(), Some("closed"));
        let waited = began.elapsed();
        assert!(waited > MINUTE * 9 / 10 && waited < MINUTE * 2, "for the answer: {waited:?}");
    });
}

#[test]
fn a_peer_that_writes_before_it_reads_is_closed_in_order() {
    run(|bench| async move {
        let (owner, mut client) = bench.quiet(1000);
        owner.send(&bench.worker, &vec![1; 20_000]);
        owner.connection().close(&bench.worker, None, "");
        until_idle().await;
        client.write_all(&frame(Opcode::Binary, &vec![2; 50_000])).await.unwrap();
        client.write_all(&frame(Opcode::Close, &[])).await.unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert!(all.ends_with(b"\x88\x00"));
        drop(client);
        until_idle().await;
        assert_eq!((owner.messages.get(), owner.end()), (0, Some("closed")));
    });
}

#[test]
fn a_connection_that_awaits_an_inbox_goes_on_writing_and_can_end() {
    run(|mut bench| async move {
        let hub = Arc::clone(bench.worker.hub());
        hub.run_on(OTHER, |_| {}).expect("there is room for one");
        let (owner, mut client) = bench.open(1000, Wire::Rfc6455, |worker, owner, _| {
            let _full = worker.hub().run_on(OTHER, |_| {});
            owner.send(worker, &[1; 5000]);
        });
        client.write_all(&frame(Opcode::Text, b"hi").repeat(3)).await.unwrap();
        until_idle().await;
        assert_eq!(owner.messages.get(), 1, "the rest is not handled before there is room");
        let mut answer = vec![0; 5004];
        client.read_exact(&mut answer).await.unwrap();
        assert!(owner.connection().take_alive() && owner.connection().take_alive(), "its silence is ours");
        drop(bench.inbox.recv().await.expect("a command"));
        until_idle().await;
        assert_eq!(owner.messages.get(), 3, "the third one meets a full inbox again");
        owner.connection().close(&bench.worker, None, "");
        let mut rest = vec![0; 2 * 5004 + 2];
        client.read_exact(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"\x88\x00"), "{:?}", &rest[10_000..]);
        client.write_all(&frame(Opcode::Close, &[])).await.unwrap();
        drop(client);
        until_idle().await;
        assert_eq!(owner.end(), Some("closed"));
    });
}

#[test]
fn a_panic_in_its_task_ends_a_connection_and_no_other() {
    run(|bench| async move {
        let (_other, mut other) =
            bench.open(1000, Wire::Rfc6455, |worker, owner, bytes| owner.send(worker, bytes));
        let (owner, mut client) = bench.open(1000, Wire::Rfc6455, |_, _, _| panic!("as it should"));
        client.write_all(&frame(Opcode::Text, b"hi")).await.unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(owner.end(), Some("panic"));
        assert_eq!(bench.worker.sessions().len(), 1);
        other.write_all(&frame(Opcode::Text, b"you")).await.unwrap();
        let mut answer = [0; 5];
        other.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\x82\x03you");
    });
}

#[test]
fn the_answer_to_a_read_is_written_in_the_turn_of_its_connection() {
    run(|bench| async move {
        let (ours, client) = UnixStream::pair().expect("a pair of sockets");
        let client = Rc::new(client.into_std().expect("it is taken from the reactor"));
        let (seen, mut next) = tokio::sync::mpsc::unbounded_channel();
        let peer = Rc::clone(&client);
        let io = Io::Own(Stream::from(ours), bench.limit.enter_unlimited());
        let _owner = bench.open_over(io, Wire::Rfc6455, move |worker, owner, bytes| {
            let (seen, peer) = (seen.clone(), Rc::clone(&peer));
            // It has its turn before the flusher, which the answer would wake.
            tokio::task::spawn_local(async move {
                let mut got = vec![0; 100];
                let n = (&*peer).read(&mut got).unwrap_or_default();
                seen.send(got[..n].to_vec()).expect("it is awaited");
            });
            owner.send(worker, bytes);
        });
        for (message, answer) in [(&b"hi"[..], &b"\x82\x02hi"[..]), (b"you", b"\x82\x03you")] {
            (&*client).write_all(&frame(Opcode::Text, message)).unwrap();
            assert_eq!(next.recv().await.expect("the message is handled"), answer);
        }
    });
}
