//! The server's end alone, called in any order, because its peer may be any program.

use std::time::Duration;

use switchboard_protocol::engineio::{
    Admission, Closing, Ending, GetAnswer, Packet, ProbeStep, Received, ServerAction, ServerSession, Version,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    None,
    Arriving,
    Held,
}

/// The owner's knowledge of a session, without asking it.
struct Model {
    session: ServerSession,
    now: Duration,
    /// A GET waits.
    get: bool,
    post: Post,
    over: bool,
}

/// Makes the calls that the bytes encode.
pub(crate) fn run(bytes: &[u8]) {
    let second = Duration::from_secs(1);
    let first = bytes.first().copied().unwrap_or_default();
    let version = if first & 1 == 0 { Version::V4 } else { Version::V3 };
    let session = if first & 2 == 0 { ServerSession::polling } else { ServerSession::websocket };
    let session = session(Duration::ZERO, version, 5 * second, 3 * second);
    let mut model = Model { session, now: Duration::ZERO, get: false, post: Post::None, over: false };
    for pair in bytes.chunks_exact(2) {
        model.call(pair[0], pair[1]);
        model.keep_time();
        model.check();
    }
}

impl Model {
    fn call(&mut self, call: u8, how: u8) {
        let (now, queue_is_empty) = (self.now, how & 0x80 == 0);
        match call % 12 {
            0 => self.now += Duration::from_millis(u64::from(how) * 50),
            1 => {
                let admission = self.session.on_get();
                self.admitted(admission, self.get);
                self.get |= admission == Admission::Accept;
            }
            2 => {
                let admission = self.session.on_post_head();
                self.admitted(admission, self.post != Post::None);
                if admission == Admission::Accept {
                    self.post = Post::Arriving;
                }
            }
            3 => self.post(how),
            4 => self.read(how),
            5 => self.session.pause(),
            6 if self.session.resume(now) => self.release_post(),
            6 if self.session.release_post() => self.release_post(),
            6 => {}
            7 => drop(self.session.start_probe(now, Duration::from_secs(2))),
            8 => {
                let packets = [Packet::Ping("probe"), Packet::Upgrade, Packet::Ping(""), Packet::Message("")];
                let packet = &packets[usize::from(how) % packets.len()];
                if self.session.on_probe_packet(packet, now) == ProbeStep::Swap {
                    assert!(!self.over && !self.session.is_polling());
                    (self.get, self.post) = (false, Post::None);
                    self.over = self.session.is_over();
                }
            }
            9 => self.session.on_probe_lost(),
            10 => self.close([Ending::Orderly, Ending::Immediate, Ending::Peer][usize::from(how) % 3], how),
            _ => {
                let answer = self.session.answer_get(queue_is_empty);
                self.answered(answer);
            }
        }
    }

    fn post(&mut self, how: u8) {
        let announced = how & 0x20 != 0;
        let admission = self.session.on_post(announced);
        self.admitted(admission, self.post != if announced { Post::Arriving } else { Post::None });
        if admission != Admission::Accept {
            return;
        }
        self.post = Post::None;
        self.read(how);
        if !self.session.on_post_handled(how & 0x40 != 0) {
            assert!(self.session.is_open());
            self.post = Post::Held;
        }
    }

    fn release_post(&mut self) {
        if self.post == Post::Held {
            self.post = Post::None;
        }
    }

    fn admitted(&self, admission: Admission, overlaps: bool) {
        let expected = match admission {
            Admission::Unknown => self.over,
            Admission::WrongTransport => !self.over && !self.session.is_polling(),
            Admission::Overlap => !self.over && overlaps,
            Admission::Accept => !self.over && !overlaps,
        };
        assert!(expected, "{admission:?}");
    }

    fn answered(&mut self, answer: Option<GetAnswer>) {
        if let Some(answer) = answer {
            assert!(std::mem::take(&mut self.get), "an answer to no GET");
            if answer == GetAnswer::NoopAndClose {
                self.ended();
            }
        }
    }

    fn ended(&mut self) {
        (self.get, self.post, self.over) = (false, Post::None, true);
    }

    fn read(&mut self, how: u8) {
        let packets = [
            Packet::Message("m"),
            Packet::Ping(""),
            Packet::Pong(""),
            Packet::Close,
            Packet::Noop,
            Packet::Upgrade,
        ];
        let now = self.now;
        match self.session.on_packet(&packets[usize::from(how) % packets.len()], || now) {
            Received::Deliver | Received::Answer => assert!(self.session.is_open()),
            Received::Nothing => {}
            Received::Close(ending) => self.close(ending, how),
        }
    }

    fn close(&mut self, ending: Ending, how: u8) {
        let was_over = self.over;
        match self.session.close(self.now, ending, how & 0x80 == 0) {
            Closing::None => assert!(was_over || ending == Ending::Orderly),
            Closing::Lingers => {
                assert!(!was_over && self.session.is_polling());
                self.release_post();
            }
            Closing::Over(answer) => {
                assert!(!was_over && answer.is_some() == self.get);
                self.ended();
            }
        }
    }

    fn keep_time(&mut self) {
        for _ in 0..16 {
            let Some(action) = self.session.poll(self.now) else { return };
            match action {
                ServerAction::PingTimedOut => self.close(Ending::Immediate, 0),
                ServerAction::GiveUp => self.ended(),
                ServerAction::ReleaseGet => {
                    let answer = self.session.release_get(true);
                    assert!(answer.is_some(), "a GET is released that does not wait");
                    self.answered(answer);
                }
                ServerAction::SendPing | ServerAction::CheckPeer | ServerAction::ProbeTimedOut => {}
            }
        }
        panic!("it asks for ever");
    }

    fn check(&self) {
        assert_eq!(self.session.is_over(), self.over);
        assert_eq!(self.session.get_waits(), self.get);
        assert_eq!(self.session.deadline().is_none(), self.over);
        assert!(
            self.session.deadline().is_none_or(|deadline| deadline > self.now),
            "a deadline that stays past"
        );
        assert!(!self.session.is_paused() || self.session.is_open());
    }
}
