//! The connected visitors, the rooms, and the effect of each request on them: the chat without its sockets
//! and its clock.
//!
//! `S` represents a socket. Time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchboard::Binary;

use super::limits::Pace;
use super::pictures::Pictures;
use super::room::Room;
use super::rules;
use super::wire::{
    Content, Enter, Entered, Member, MemberId, Members, Message, Refusal, RefusalCode, RoomCount, RoomName,
    Rooms, Said,
};

/// The rooms that are listed and kept even if they are empty.
const STANDING: [&str; 3] = ["lobby", "ideas", "pictures"];
/// The most rooms.
const ROOMS: usize = 200;
/// The most rooms in a list.
const LISTED: usize = 100;
/// The most bytes of all pictures.
const PICTURES: usize = 64 << 20;
/// How long a room must have been empty and without messages before another room may replace it.
const IDLE: Duration = Duration::from_secs(10);

const NOT_ENTERED: Refusal = Refusal::new(RefusalCode::NotEntered, "Enter a room first.");
const TOO_FAST: Refusal = Refusal::new(RefusalCode::TooFast, "Not so fast: try again in a second.");
const TOO_MANY_ROOMS: Refusal = Refusal::new(RefusalCode::TooManyRooms, "There are too many rooms already.");
const GONE: Refusal = Refusal::new(RefusalCode::Gone, "This picture is no longer kept.");

/// One visitor, with any number of sockets.
#[derive(Debug)]
struct Visitor<S> {
    /// The newest socket. Only its requests count.
    socket: S,
    /// The room that this socket has entered.
    entered: Option<RoomName>,
    /// The visitor's seat that others see. It may be from an older socket until this one enters a room.
    seat: Option<(RoomName, u64)>,
    name: Arc<str>,
    messages: Pace,
    moves: Pace,
    typing: Pace,
}

/// The result of [`State::enter`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) reply: Entered,
    /// The room that the socket has left for it.
    pub(crate) left: Option<RoomName>,
}

/// The result of [`State::post`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The message is new, and goes to the others with its picture's bytes.
    New(Arc<Message>, Option<Binary>),
    /// The message was sent before.
    Again(Said),
}

/// News for the pages: which members came or went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) members: Vec<Members>,
    pub(crate) rooms: Option<Rooms>,
}

#[derive(Debug)]
pub(crate) struct State<S> {
    rooms: HashMap<RoomName, Room>,
    visitors: HashMap<MemberId, Visitor<S>>,
    pictures: Pictures,
    /// Makes the epochs differ between two runs of the server.
    run: u64,
    /// The last number given to a room's life or to a seat.
    serial: u64,
    version: u64,
    /// Rooms whose members changed since the last [`news`](Self::news).
    changed: BTreeSet<RoomName>,
    counts_changed: bool,
}

impl<S: Clone + PartialEq> State<S> {
    pub(crate) fn new(run: u64, now: Instant) -> Self {
        let mut state = Self {
            rooms: HashMap::new(),
            visitors: HashMap::new(),
            pictures: Pictures::new(PICTURES),
            run,
            serial: 0,
            version: 0,
            changed: BTreeSet::new(),
            counts_changed: false,
        };
        for name in STANDING {
            state.open(name.into(), now);
        }
        state
    }

    fn open(&mut self, name: RoomName, now: Instant) {
        let life = self.next_serial();
        let epoch = format!("{:016x}-{life}", self.run).into();
        self.rooms.insert(Arc::clone(&name), Room::new(name, epoch, life, now));
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// The room of this name. It is opened if there is none; if there are too many rooms, an idle one is
    /// forgotten.
    fn room(&mut self, name: &RoomName, now: Instant) -> Result<&mut Room, Refusal> {
        if !self.rooms.contains_key(name) {
            if self.rooms.len() >= ROOMS {
                self.forget_one(now)?;
            }
            self.open(Arc::clone(name), now);
        }
        self.rooms.get_mut(name).ok_or(TOO_MANY_ROOMS)
    }

    fn forget_one(&mut self, now: Instant) -> Result<(), Refusal> {
        let idle = |room: &&Room| {
            room.count() == 0
                && !STANDING.contains(&&*room.name)
                && now.saturating_duration_since(room.active) >= IDLE
        };
        let idlest = self.rooms.values().filter(idle).min_by_key(|room| room.active).ok_or(TOO_MANY_ROOMS)?;
        let (name, life) = (Arc::clone(&idlest.name), idlest.life);
        self.rooms.remove(&name);
        self.pictures.forget(life);
        Ok(())
    }

    /// A visitor's socket has connected. Returns the socket that it replaces.
    pub(crate) fn connect(&mut self, member: &MemberId, socket: S, now: Instant) -> Option<S> {
        if let Some(visitor) = self.visitors.get_mut(member) {
            visitor.entered = None;
            return Some(std::mem::replace(&mut visitor.socket, socket));
        }
        let pace = Pace::new(now);
        let visitor = Visitor {
            socket,
            entered: None,
            seat: None,
            name: "".into(),
            messages: pace,
            moves: pace,
            typing: pace,
        };
        self.visitors.insert(Arc::clone(member), visitor);
        None
    }

    /// A socket has disconnected. Its visitor leaves, unless another socket has replaced it.
    pub(crate) fn disconnect(&mut self, member: &MemberId, socket: &S, now: Instant) {
        if self.visitor(member, socket).is_none() {
            return;
        }
        if let Some((room, seat)) = self.visitors.remove(member).and_then(|visitor| visitor.seat) {
            self.unseat(&room, seat, now);
        }
    }

    /// The visitor, if this is the newest socket.
    fn visitor(&mut self, member: &MemberId, socket: &S) -> Option<&mut Visitor<S>> {
        self.visitors.get_mut(member).filter(|visitor| visitor.socket == *socket)
    }

    /// The room that a socket has entered.
    pub(crate) fn entered(&mut self, member: &MemberId, socket: &S) -> Option<RoomName> {
        self.visitor(member, socket)?.entered.clone()
    }

    fn unseat(&mut self, room: &RoomName, seat: u64, now: Instant) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.unseat(seat);
            room.active = now;
        }
        self.changed.insert(Arc::clone(room));
        self.counts_changed = true;
    }

    /// Gives a visitor a seat in a room, and takes the snapshot. The socket must be in the hub's room
    /// already, so that it gets later messages.
    pub(crate) fn enter(
        &mut self,
        member: &MemberId,
        socket: &S,
        request: &Enter,
        now: Instant,
    ) -> Result<Entry, Refusal> {
        let room = rules::room(&request.room)?;
        let name = rules::name(&request.name)?;
        let visitor = self.visitor(member, socket).ok_or(NOT_ENTERED)?;
        if !visitor.moves.take(now) {
            return Err(TOO_FAST);
        }
        let former = visitor.seat.clone();
        self.room(&room, now)?;
        let seat = match former {
            Some((there, seat)) if there == room => seat,
            Some((there, seat)) => {
                self.unseat(&there, seat, now);
                self.next_serial()
            }
            None => self.next_serial(),
        };
        let you = Member { id: Arc::clone(member), name: Arc::clone(&name) };
        let place = self.room(&room, now)?;
        place.active = now;
        let before = place.count();
        let changed = place.seat(seat, you.clone());
        let moved = place.count() != before;
        if changed {
            self.changed.insert(Arc::clone(&room));
        }
        self.counts_changed |= moved;
        let visitor = self.visitor(member, socket).ok_or(NOT_ENTERED)?;
        visitor.name = name;
        visitor.seat = Some((Arc::clone(&room), seat));
        let left = visitor.entered.replace(Arc::clone(&room)).filter(|left| *left != room);
        Ok(Entry { reply: self.snapshot(&room, you, request)?, left })
    }

    fn snapshot(&mut self, room: &RoomName, you: Member, request: &Enter) -> Result<Entered, Refusal> {
        let version = self.next_version();
        let rooms = self.list();
        let room = self.rooms.get(room).ok_or(TOO_MANY_ROOMS)?;
        Ok(Entered {
            room: Arc::clone(&room.name),
            epoch: Arc::clone(&room.epoch),
            you,
            history: room.history(request.epoch.as_deref(), request.after),
            last: room.last,
            version,
            count: room.count(),
            members: room.named(),
            rooms,
        })
    }

    /// The rooms to list: first the standing ones, then those with members, the fullest first.
    fn list(&self) -> Vec<RoomCount> {
        let count = |room: &Room| RoomCount { name: Arc::clone(&room.name), count: room.count() };
        let standing = STANDING.iter().filter_map(|name| self.rooms.get(*name)).map(count);
        let others = self.rooms.values().filter(|room| room.count() > 0 && !STANDING.contains(&&*room.name));
        let mut others: Vec<_> = others.map(count).collect();
        others.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        standing.chain(others).take(LISTED).collect()
    }

    /// Takes a message into any room. `image` holds its picture's bytes.
    pub(crate) fn post(
        &mut self,
        member: &MemberId,
        socket: &S,
        to: (&RoomName, Arc<str>, Content),
        image: Option<&[u8]>,
        (now, at): (Instant, u64),
    ) -> Result<Posted, Refusal> {
        let (room, client_id, content) = to;
        let visitor =
            self.visitor(member, socket).filter(|visitor| visitor.entered.is_some()).ok_or(NOT_ENTERED)?;
        let from = Member { id: Arc::clone(member), name: Arc::clone(&visitor.name) };
        if let Some(said) = self.rooms.get(room).and_then(|room| room.said(member, &client_id)) {
            return Ok(Posted::Again(said));
        }
        if !self.visitor(member, socket).is_some_and(|visitor| visitor.messages.take(now)) {
            return Err(TOO_FAST);
        }
        let room = self.room(room, now)?;
        room.active = now;
        let life = room.life;
        let message = room.post(from, client_id, content, at);
        let picture = image.map(|data| self.pictures.keep(life, message.id, data));
        Ok(Posted::New(message, picture))
    }

    /// The bytes of a message's picture.
    pub(crate) fn picture(
        &mut self,
        member: &MemberId,
        socket: &S,
        room: &RoomName,
        id: u64,
    ) -> Result<Binary, Refusal> {
        self.entered(member, socket).ok_or(NOT_ENTERED)?;
        self.rooms.get(room).and_then(|room| self.pictures.get(room.life, id)).ok_or(GONE)
    }

    /// The member who types, and the room, if the others are to be told.
    pub(crate) fn typing(
        &mut self,
        member: &MemberId,
        socket: &S,
        now: Instant,
    ) -> Option<(RoomName, Member)> {
        let visitor = self.visitor(member, socket)?;
        let room = visitor.entered.clone()?;
        let name = Arc::clone(&visitor.name);
        visitor.typing.take(now).then(|| (room, Member { id: Arc::clone(member), name }))
    }

    /// Whether [`news`](Self::news) has something to tell.
    pub(crate) fn has_news(&self) -> bool {
        self.counts_changed || !self.changed.is_empty()
    }

    /// The current state of everything that changed since the last call.
    pub(crate) fn news(&mut self) -> News {
        let mut members = Vec::new();
        for room in std::mem::take(&mut self.changed) {
            let version = self.next_version();
            if let Some(room) = self.rooms.get(&room) {
                let (room, count, members_now) = (Arc::clone(&room.name), room.count(), room.named());
                members.push(Members { room, version, count, members: members_now });
            }
        }
        let rooms = std::mem::take(&mut self.counts_changed).then(|| {
            let version = self.next_version();
            Rooms { version, rooms: self.list() }
        });
        News { members, rooms }
    }
}
