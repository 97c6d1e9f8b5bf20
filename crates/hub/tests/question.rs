//! Questions: who is asked, and what is known when all have answered or the time is over.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{OnAsk, Peer, Text, broadcast, on_worker, options, target, until_idle};
use switchboard_hub::{
    Answer, AnswerSender, Answered, Bus, BusFull, Command, Hub, HubError, MemberId, NoAnswer, NodeId,
    Payload, Remote, Reply, ReplySender, ReplyTo, Request, ServerEvent, Target, Worker, WorkerId,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The answers in the order of the members' ids.
fn sorted(answered: Answered) -> Vec<(MemberId, Result<Bytes, NoAnswer>)> {
    assert_eq!(answered.missing, 0);
    let mut answers: Vec<_> = answered.answers.into_iter().map(|answer| (answer.id, answer.value)).collect();
    answers.sort_by_key(|(id, _)| *id);
    answers
}

/// Keeps the senders of answers.
fn keep(kept: &Rc<RefCell<Vec<AnswerSender>>>) -> OnAsk {
    let kept = Rc::clone(kept);
    Box::new(move |_, timeout, answer| {
        assert_eq!(timeout, MINUTE);
        kept.borrow_mut().push(answer);
    })
}

#[test]
fn each_member_of_the_target_is_asked_once() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peers = [0, 1, 2, 3].map(|number| Peer::add(&worker, scope, number));
        for (n, room) in [(0, "a"), (1, "a"), (1, "b"), (2, "b"), (3, "b")] {
            worker.join(peers[n].key, room).expect("room");
        }
        // One cannot answer, and one panics.
        peers[2].end.deaf.set(true);
        let question = broadcast(target(scope, &["a", "b"], &[]), &Text::new("?"));
        let answered = worker.hub().ask_members(question, MINUTE).expect("room").answers().await;
        let answer = Ok(Bytes::from("re: ?"));
        let expected: Vec<_> = [0, 1, 3].iter().map(|&n: &usize| (peers[n].id, answer.clone())).collect();
        assert_eq!(sorted(answered), expected);
        peers[3].end.broken.set(true);
        let question = broadcast(target(scope, &["b"], &[]), &Text::new("?"));
        let answered = worker.hub().ask_members(question, MINUTE).expect("room").answers().await;
        assert_eq!(sorted(answered), [(peers[1].id, answer)]);
        let nobody = broadcast(target(scope, &["nobody"], &[]), &Text::new("?"));
        let answered = worker.hub().ask_members(nobody, MINUTE).expect("room").answers().await;
        assert_eq!(sorted(answered), []);
    });
}

#[test]
fn a_question_is_over_when_all_have_answered_or_have_gone() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peers = [0, 1].map(|number| Peer::add(&worker, scope, number));
        let kept = Rc::new(RefCell::new(Vec::new()));
        for peer in &peers {
            *peer.end.on_ask.borrow_mut() = Some(keep(&kept));
        }
        let question = broadcast(Target::all(scope), &Text::new("?"));
        let question = worker.hub().ask_members(question, MINUTE).expect("room");
        let asking = tokio::task::spawn_local(question.answers());
        until_idle().await;
        let second = kept.borrow_mut().remove(1);
        let first = kept.borrow_mut().remove(0);
        second.send(Err(NoAnswer::TooMany(7)));
        until_idle().await;
        assert!(!asking.is_finished());
        assert!(!first.is_closed());
        drop(first);
        let answered = sorted(asking.await.expect("no panic"));
        assert_eq!(answered, [(peers[0].id, Err(NoAnswer::Gone)), (peers[1].id, Err(NoAnswer::TooMany(7)))]);
    });
}

#[test]
fn an_answer_that_nobody_awaits_any_more_is_known_as_such() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peer = Peer::add(&worker, scope, 0);
        let kept = Rc::new(RefCell::new(Vec::new()));
        *peer.end.on_ask.borrow_mut() = Some(keep(&kept));
        let question = broadcast(Target::all(scope), &Text::new("?"));
        let question = worker.hub().ask_members(question, MINUTE).expect("room");
        let answer = kept.borrow_mut().remove(0);
        assert!(!answer.is_closed());
        drop(question);
        assert!(answer.is_closed());
        answer.send(Ok(Bytes::new()));
        // A request that nobody awaits from the beginning.
        let alone = Arc::new(broadcast(Target::all(scope), &Text::new("?")));
        let request = Request::Ask { broadcast: alone, timeout: MINUTE };
        worker.hub().request(request).expect("room");
        assert!(kept.borrow()[0].is_closed());
    });
}

#[test]
fn a_worker_that_has_stopped_is_missing() {
    on_worker(&options(2), async |worker, mut inboxes| {
        let scope = worker.hub().scope("/");
        let peer = Peer::add(&worker, scope, 0);
        let question = broadcast(Target::all(scope), &Text::new("?"));
        let question = worker.hub().ask_members(question, MINUTE).expect("room");
        let Some(Command::Request(request, reply)) = inboxes[0].recv().await else { panic!("not asked") };
        assert_eq!(request.target(), Some(&Target::all(scope)));
        drop(reply);
        let answered = question.answers().await;
        let answer = Answer { id: peer.id, value: Ok(Bytes::from("re: ?")) };
        assert_eq!(answered, Answered { answers: vec![answer], missing: 1 });
        inboxes.clear();
        let question = broadcast(Target::all(scope), &Text::new("?"));
        let asked = worker.hub().ask_members(question, MINUTE);
        assert!(matches!(asked, Err(HubError::Stopped(WorkerId(1)))));
    });
}

/// A bus to nodes that the test plays.
#[derive(Default)]
struct Played {
    nodes: usize,
    asked: std::sync::Mutex<Vec<ReplyTo>>,
}

impl Bus for Played {
    fn nodes(&self) -> usize {
        self.nodes
    }

    fn publish(&self, _: &str, _: &Request, reply_to: Option<ReplyTo>) -> Result<(), BusFull> {
        self.asked.lock().expect("not poisoned").extend(reply_to);
        Ok(())
    }

    fn reply(&self, _: ReplyTo, _: &Reply) -> Result<(), BusFull> {
        Ok(())
    }
}

struct Nothing;

impl Remote for Nothing {
    fn read_payload(&self, _: &[u8]) -> Option<Arc<dyn Payload>> {
        None
    }

    fn on_event(&self, _: ServerEvent, _: Option<ReplySender>) {}
}

fn attach(hub: &Hub, nodes: usize) -> Arc<Played> {
    let bus = Arc::new(Played { nodes, ..Played::default() });
    assert!(hub.attach(Arc::clone(&bus) as Arc<dyn Bus>, Arc::new(Nothing)));
    bus
}

fn far(number: u8) -> MemberId {
    MemberId::random(NodeId(9), WorkerId(number)).expect("randomness")
}

#[test]
fn a_question_that_is_over_has_the_answers_so_far_and_the_ids_without_an_answer() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let peers = [0, 1].map(|number| Peer::add(&worker, scope, number));
        let kept = Rc::new(RefCell::new(Vec::new()));
        *peers[1].end.on_ask.borrow_mut() = Some(keep(&kept));
        let bus = attach(worker.hub(), 2);
        let begin = Worker::clock();
        let question = broadcast(Target::all(scope), &Text::new("?"));
        let question = worker.hub().ask_members(question, MINUTE).expect("room");
        let asked = bus.asked.lock().expect("not poisoned").remove(0);
        // An answer may overtake the message that says who was asked. One node says nothing.
        let (quick, slow) = (far(0), far(1));
        let answer = |id, text: &'static str| {
            let value = Ok(Bytes::from(text));
            worker.hub().receive_reply(asked.request, Reply::Answers(vec![Answer { id, value }]));
        };
        answer(quick, "quick");
        worker.hub().receive_reply(asked.request, Reply::Asked(vec![quick, slow]));
        let mut answered = question.answers().await;
        assert_eq!(Worker::clock() - begin, MINUTE);
        assert_eq!(std::mem::take(&mut answered.missing), 1);
        let mut expected = [
            (peers[0].id, Ok(Bytes::from("re: ?"))),
            (peers[1].id, Err(NoAnswer::TimedOut)),
            (quick, Ok(Bytes::from("quick"))),
            (slow, Err(NoAnswer::TimedOut)),
        ];
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(sorted(answered), expected);
        // Too late, and kept nowhere.
        answer(slow, "slow");
        assert!(kept.borrow()[0].is_closed());
    });
}

#[test]
fn a_question_to_other_nodes_is_over_before_its_time_when_all_have_answered() {
    on_worker(&options(1), async |worker, _| {
        let scope = worker.hub().scope("/");
        let bus = attach(worker.hub(), 2);
        let begin = Worker::clock();
        let question = broadcast(Target::all(scope), &Text::new("?"));
        let question = worker.hub().ask_members(question, MINUTE).expect("room");
        let asked = bus.asked.lock().expect("not poisoned").remove(0);
        let asking = tokio::task::spawn_local(question.answers());
        let one = far(0);
        worker.hub().receive_reply(asked.request, Reply::Asked(Vec::new()));
        worker.hub().receive_reply(asked.request, Reply::Asked(vec![one]));
        until_idle().await;
        assert!(!asking.is_finished());
        let answer = Answer { id: one, value: Err(NoAnswer::Gone) };
        worker.hub().receive_reply(asked.request, Reply::Answers(vec![answer.clone()]));
        assert_eq!(asking.await.expect("no panic"), Answered { answers: vec![answer], missing: 0 });
        assert!(Worker::clock() - begin < MINUTE);
        // A local question goes to no other node.
        let local = broadcast(Target { local: true, ..Target::all(scope) }, &Text::new("?"));
        let answered = worker.hub().ask_members(local, MINUTE).expect("room").answers().await;
        assert_eq!(answered, Answered::default());
        assert!(bus.asked.lock().expect("not poisoned").is_empty());
    });
}
