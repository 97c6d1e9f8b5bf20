//! Both ends of a session in virtual time. The network between them delays packets, but keeps the order of
//! each connection and loses nothing. Each request is a connection of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchboard_protocol::engineio::{
    Admission, ClientAction, ClientSession, Closing, Ending, GetAnswer, Packet, ProbeStep, Received,
    ServerAction, ServerSession, Version, payload,
};

pub(crate) const INTERVAL: Duration = Duration::from_secs(25);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time that any part of a session may take: to linger, or to detect a silence.
const AGES: Duration = Duration::from_secs(200);

/// An event from outside the session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Wait(u16),
    ServerSends(u8),
    /// Messages and a close in one turn, before any bytes are written.
    ServerSendsAndCloses(u8),
    ServerPauses,
    ServerResumes,
    ServerBreaks,
    ClientSends(u8),
    ClientProbes,
    ClientCloses,
    /// The connection that probes is lost.
    ProbeLost,
    /// Nothing arrives any more.
    Silence,
}

#[derive(Debug)]
enum Event {
    Get,
    PostHead(String),
    Post {
        body: String,
        announced: bool,
    },
    GetAnswer(Result<String, u16>),
    PostAnswer(Result<(), u16>),
    ProbeArrives,
    ProbeOpen(bool),
    /// A packet by WebSocket; `None` is the end of the connection.
    ToServer(Option<String>),
    ToClient(Option<String>),
    /// The client went away while its requests waited.
    Abandoned,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that is there or not")]
struct Server {
    session: ServerSession,
    queue: VecDeque<String>,
    get: bool,
    post: bool,
    probing: bool,
    connected: bool,
    /// Packets that came by WebSocket while the session did not read.
    unread: VecDeque<Option<String>>,
}

#[derive(Debug)]
struct Client {
    session: ClientSession,
    queue: VecDeque<String>,
    get: bool,
    probing: bool,
    connected: bool,
}

/// The messages that one end has sent and received, as numbers in order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) sent: u32,
    pub(crate) received: u32,
    pub(crate) end: Option<Ending>,
}

pub(crate) struct World {
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    number: u64,
    delays: Vec<u16>,
    /// The arrival time of the last packet sent by WebSocket, in either direction.
    last: [Duration; 2],
    server: Server,
    client: Client,
    pub(crate) at_server: Log,
    pub(crate) at_client: Log,
    silent: bool,
    /// The probe timed out at one end at the moment when it succeeded at the other. This breaks the session.
    pub(crate) torn: bool,
}

impl World {
    /// `delays`: the delays of all packets and requests, in milliseconds, used in turn.
    pub(crate) fn new(version: Version, delays: Vec<u16>) -> Self {
        let now = Duration::from_secs(1);
        let server = Server {
            session: ServerSession::polling(now, version, INTERVAL, TIMEOUT),
            queue: VecDeque::new(),
            get: false,
            post: false,
            probing: false,
            connected: false,
            unread: VecDeque::new(),
        };
        let client = Client {
            session: ClientSession::polling(now, version, INTERVAL, TIMEOUT),
            queue: VecDeque::new(),
            get: false,
            probing: false,
            connected: false,
        };
        let mut world = Self {
            now,
            events: BTreeMap::new(),
            number: 0,
            delays,
            last: [Duration::ZERO; 2],
            server,
            client,
            at_server: Log::default(),
            at_client: Log::default(),
            silent: false,
            torn: false,
        };
        world.settle();
        world
    }

    /// Takes a step, and then all immediate consequences.
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Wait(millis) => self.run_until(self.now + Duration::from_millis(millis.into())),
            Step::ServerSends(count) => self.server_sends(count),
            Step::ServerSendsAndCloses(count) => {
                self.server_sends(count);
                self.close_server(Ending::Orderly);
            }
            // A client of protocol 3 pings, and gives up if nobody reads its pings.
            Step::ServerPauses if self.server.session.version() == Version::V3 => {}
            Step::ServerPauses => self.server.session.pause(),
            Step::ServerResumes => self.resume_server(),
            Step::ServerBreaks => self.close_server(Ending::Immediate),
            Step::ClientSends(count) => {
                for _ in 0..count {
                    if self.client.session.is_open() {
                        self.client.queue.push_back(format!("4{}", self.at_client.sent));
                        self.at_client.sent += 1;
                    }
                }
            }
            Step::ClientProbes => {
                if self.client.session.is_polling()
                    && self.client.session.start_probe(self.now, UPGRADE_TIMEOUT).is_ok()
                {
                    self.client.probing = true;
                    self.later(Event::ProbeArrives);
                }
            }
            Step::ClientCloses => {
                self.at_client.end.get_or_insert(Ending::Orderly);
                self.client.session.close(Ending::Orderly);
            }
            Step::ProbeLost => self.lose_probe(),
            Step::Silence => {
                self.silent = true;
                self.events.clear();
            }
        }
        self.settle();
    }

    /// Lets all pending events come to an end.
    pub(crate) fn finish(&mut self) {
        self.resume_server();
        self.settle();
        self.run_until(self.now + AGES);
    }

    pub(crate) fn are_over(&self) -> bool {
        self.server.session.is_over() && self.client.session.is_over()
    }

    pub(crate) fn are_open(&self) -> bool {
        self.server.session.is_open() && self.client.session.is_open()
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        !self.server.session.is_polling() && !self.client.session.is_polling()
    }

    // Time and the network.

    fn run_until(&mut self, end: Duration) {
        for _ in 0..100_000 {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let deadlines = [self.server.session.deadline(), self.client.session.deadline()];
            let next = deadlines.into_iter().flatten().chain(event).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if let Some(first) = self.events.first_entry().filter(|first| first.key().0 <= self.now) {
                let event = first.remove();
                self.arrive(event);
            }
            self.settle();
            for deadline in [self.server.session.deadline(), self.client.session.deadline()] {
                assert!(deadline.is_none_or(|deadline| deadline > self.now), "a deadline that stays past");
            }
        }
        panic!("the session does not come to rest");
    }

    fn delay(&mut self) -> Duration {
        self.number += 1;
        let index = self.number as usize % self.delays.len().max(1);
        Duration::from_millis(self.delays.get(index).copied().unwrap_or(1).into())
    }

    fn later(&mut self, event: Event) {
        let at = self.now + self.delay();
        self.at(at, event);
    }

    fn at(&mut self, at: Duration, event: Event) {
        if !self.silent {
            self.events.insert((at, self.number), event);
        }
    }

    /// Sent by WebSocket, in order.
    fn by_websocket(&mut self, to_server: bool, packet: Option<String>) {
        let last = self.last[usize::from(to_server)];
        let at = last.max(self.now + self.delay());
        self.last[usize::from(to_server)] = at;
        self.at(at, if to_server { Event::ToServer(packet) } else { Event::ToClient(packet) });
    }

    fn arrive(&mut self, event: Event) {
        match event {
            Event::Get => self.on_get(),
            Event::PostHead(body) => self.on_post_head(body),
            Event::Post { body, announced } => self.on_post(&body, announced),
            Event::ProbeArrives => self.on_probe_arrives(),
            Event::ToServer(packet) if self.server.session.is_paused() && self.server.connected => {
                self.server.unread.push_back(packet);
            }
            Event::ToServer(packet) => self.server_reads(packet),
            Event::Abandoned if self.server.session.is_polling() => self.close_server(Ending::Immediate),
            Event::Abandoned => {}
            _ if self.client.session.is_over() => {}
            Event::GetAnswer(answer) => self.on_get_answer(answer),
            Event::PostAnswer(Ok(())) => self.client.session.on_post_answer(),
            Event::PostAnswer(Err(_)) => self.close_client(Ending::Immediate),
            Event::ProbeOpen(accepted) => {
                if accepted && self.client.session.on_probe_open() {
                    self.by_websocket(true, Some("2probe".to_owned()));
                } else if std::mem::take(&mut self.client.probing) {
                    self.client.session.on_probe_lost();
                }
            }
            Event::ToClient(packet) => self.client_reads(packet),
        }
    }

    fn settle(&mut self) {
        self.flush_server();
        for _ in 0..1000 {
            let before = self.number;
            let acted = self.poll_server() | self.poll_client();
            self.flush_server();
            if !acted && before == self.number {
                return;
            }
        }
        panic!("the ends do not come to rest");
    }

    // The server's end.

    fn server_sends(&mut self, count: u8) {
        for _ in 0..count {
            if self.server.session.is_open() {
                self.server.queue.push_back(format!("4{}", self.at_server.sent));
                self.at_server.sent += 1;
            }
        }
    }

    fn poll_server(&mut self) -> bool {
        let Some(action) = self.server.session.poll(self.now) else { return false };
        match action {
            ServerAction::SendPing => self.server.queue.push_back("2".to_owned()),
            ServerAction::PingTimedOut => self.close_server(Ending::Immediate),
            ServerAction::CheckPeer => {}
            ServerAction::ReleaseGet => {
                let answer = self.server.session.release_get(self.server.queue.is_empty());
                self.answer_get(answer);
            }
            ServerAction::ProbeTimedOut => {
                self.torn |= !self.client.session.is_polling();
                self.close_probe();
            }
            ServerAction::GiveUp => self.close_probe(),
        }
        true
    }

    fn flush_server(&mut self) {
        if self.server.session.is_polling() {
            let answer = self.server.session.answer_get(self.server.queue.is_empty());
            self.answer_get(answer);
            if self.server.session.is_over() {
                self.close_probe();
            }
        } else if self.server.connected {
            while let Some(packet) = self.server.queue.pop_front() {
                self.by_websocket(false, Some(packet));
            }
        }
    }

    fn answer_get(&mut self, answer: Option<GetAnswer>) {
        let body = match answer {
            None => return,
            Some(GetAnswer::Packets) => Vec::from(std::mem::take(&mut self.server.queue)).join("\u{1e}"),
            Some(GetAnswer::Noop) => "6".to_owned(),
            Some(GetAnswer::Close) => "1".to_owned(),
            Some(GetAnswer::NoopAndClose) => "6\u{1e}1".to_owned(),
        };
        assert!(std::mem::take(&mut self.server.get), "an answer to no GET");
        self.later(Event::GetAnswer(Ok(body)));
    }

    fn refuse(&mut self, admission: Admission, answer: fn(u16) -> Event) {
        assert_ne!(admission, Admission::Overlap, "the client makes one request of a kind at a time");
        self.later(answer(400));
    }

    fn on_get(&mut self) {
        match self.server.session.on_get() {
            Admission::Accept => {
                assert!(!std::mem::replace(&mut self.server.get, true), "two GETs wait");
            }
            other => self.refuse(other, |status| Event::GetAnswer(Err(status))),
        }
    }

    fn on_post_head(&mut self, body: String) {
        match self.server.session.on_post_head() {
            Admission::Accept => self.later(Event::Post { body, announced: true }),
            other => self.refuse(other, |status| Event::PostAnswer(Err(status))),
        }
    }

    fn on_post(&mut self, body: &str, announced: bool) {
        let admission = self.server.session.on_post(announced);
        if admission != Admission::Accept {
            return self.refuse(admission, |status| Event::PostAnswer(Err(status)));
        }
        assert!(!std::mem::replace(&mut self.server.post, true), "two POSTs are under way");
        for packet in payload::decode(body) {
            self.server_handles(&packet.expect("the client sends packets"));
            if self.server.session.is_over() {
                break;
            }
        }
        if self.server.session.on_post_handled(false) {
            self.answer_post();
        }
    }

    fn answer_post(&mut self) {
        if std::mem::take(&mut self.server.post) {
            self.later(Event::PostAnswer(Ok(())));
        }
    }

    fn resume_server(&mut self) {
        if self.server.session.resume(self.now) {
            self.answer_post();
            while let Some(packet) = self.server.unread.pop_front() {
                self.server_reads(packet);
            }
        }
    }

    fn server_handles(&mut self, packet: &Packet<'_>) {
        let now = self.now;
        match self.server.session.on_packet(packet, || now) {
            Received::Deliver => take_in_order(&mut self.at_server, packet),
            Received::Answer => self.server.queue.push_back("3".to_owned()),
            Received::Nothing => {}
            Received::Close(how) => self.close_server(how),
        }
    }

    fn on_probe_arrives(&mut self) {
        let started = self.server.session.start_probe(self.now, UPGRADE_TIMEOUT).is_ok();
        self.server.probing |= started;
        self.later(Event::ProbeOpen(started));
    }

    fn server_reads(&mut self, packet: Option<String>) {
        match packet {
            Some(text) if self.server.probing => self.on_probe_packet(&text),
            Some(text) if self.server.connected => {
                self.server_handles(&Packet::decode_text(&text).expect("the client sends packets"));
            }
            None if std::mem::take(&mut self.server.probing) => self.server.session.on_probe_lost(),
            None if self.server.connected => self.close_server(Ending::Immediate),
            Some(_) | None => {}
        }
    }

    fn on_probe_packet(&mut self, text: &str) {
        let packet = Packet::decode_text(text).expect("the client sends packets");
        match self.server.session.on_probe_packet(&packet, self.now) {
            ProbeStep::SendPong => self.by_websocket(false, Some("3probe".to_owned())),
            ProbeStep::Fail => self.close_probe(),
            ProbeStep::Swap => {
                (self.server.probing, self.server.connected) = (false, true);
                assert!(!self.server.get && !self.server.post, "the client lets its requests return");
                self.flush_server();
                if self.server.session.is_over() {
                    self.server.connected = false;
                    self.by_websocket(false, None);
                }
            }
        }
    }

    fn close_probe(&mut self) {
        if std::mem::take(&mut self.server.probing) {
            self.by_websocket(false, None);
        }
    }

    fn close_server(&mut self, how: Ending) {
        let closing = self.server.session.close(self.now, how, self.server.queue.is_empty());
        if closing == Closing::None {
            return;
        }
        self.at_server.end.get_or_insert(how);
        self.answer_post();
        if let Closing::Over(answer) = closing {
            if self.server.connected {
                self.flush_server();
                self.server.connected = false;
                self.by_websocket(false, None);
            }
            self.answer_get(answer);
            self.close_probe();
            self.server.unread.clear();
        }
    }

    // The client's end.

    fn poll_client(&mut self) -> bool {
        let Some(action) = self.client.session.poll(self.now, self.client.queue.is_empty()) else {
            return false;
        };
        match action {
            ClientAction::Get => {
                assert!(!std::mem::replace(&mut self.client.get, true), "two GETs");
                self.later(Event::Get);
            }
            ClientAction::Post => {
                let body = Vec::from(std::mem::take(&mut self.client.queue)).join("\u{1e}");
                let announced = self.number.is_multiple_of(2);
                self.later(if announced { Event::PostHead(body) } else { Event::Post { body, announced } });
            }
            ClientAction::Write => {
                while let Some(packet) = self.client.queue.pop_front() {
                    self.by_websocket(true, Some(packet));
                }
            }
            ClientAction::SendPing => self.client.queue.push_back("2".to_owned()),
            ClientAction::PingTimedOut => self.close_client(Ending::Immediate),
            ClientAction::Upgrade => {
                (self.client.probing, self.client.connected) = (false, true);
                self.by_websocket(true, Some("5".to_owned()));
            }
            ClientAction::ProbeTimedOut => self.leave_probe(),
            ClientAction::Close => {
                if self.client.session.is_polling() {
                    self.later(Event::Post { body: "1".to_owned(), announced: false });
                }
                self.leave_connections();
            }
        }
        true
    }

    fn on_get_answer(&mut self, answer: Result<String, u16>) {
        self.client.get = false;
        let Ok(body) = answer else { return self.close_client(Ending::Immediate) };
        for packet in payload::decode(&body) {
            self.client_handles(&packet.expect("the server sends packets"));
        }
        self.client.session.on_get_answer();
    }

    fn client_reads(&mut self, packet: Option<String>) {
        match packet {
            Some(text) if self.client.probing => {
                let packet = Packet::decode_text(&text).expect("the server sends packets");
                if !self.client.session.on_probe_packet(&packet) {
                    self.leave_probe();
                }
            }
            Some(text) if self.client.connected => {
                self.client_handles(&Packet::decode_text(&text).expect("the server sends packets"));
            }
            None if std::mem::take(&mut self.client.probing) => self.client.session.on_probe_lost(),
            None if self.client.connected => self.close_client(Ending::Immediate),
            Some(_) | None => {}
        }
    }

    fn client_handles(&mut self, packet: &Packet<'_>) {
        match self.client.session.on_packet(packet, self.now) {
            Received::Deliver => take_in_order(&mut self.at_client, packet),
            Received::Answer => self.client.queue.push_back("3".to_owned()),
            Received::Nothing => {}
            Received::Close(how) => self.close_client(how),
        }
    }

    fn close_client(&mut self, how: Ending) {
        self.at_client.end.get_or_insert(how);
        self.client.session.close(how);
        if how == Ending::Immediate && std::mem::take(&mut self.client.get) {
            self.later(Event::Abandoned);
        }
        self.leave_connections();
    }

    fn leave_connections(&mut self) {
        self.leave_probe();
        if std::mem::take(&mut self.client.connected) {
            self.by_websocket(true, None);
        }
    }

    fn leave_probe(&mut self) {
        if std::mem::take(&mut self.client.probing) {
            self.by_websocket(true, None);
        }
    }

    fn lose_probe(&mut self) {
        if self.client.probing && self.server.probing {
            self.client.probing = false;
            self.client.session.on_probe_lost();
            self.by_websocket(true, None);
        }
    }
}

/// The next message in order.
fn take_in_order(log: &mut Log, packet: &Packet<'_>) {
    if let Packet::Message(number) = packet {
        assert_eq!(number.parse(), Ok(log.received), "messages come once each and in order");
        log.received += 1;
    }
}
