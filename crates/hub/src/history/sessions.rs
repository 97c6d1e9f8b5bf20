//! The sessions of one history that may be recovered: those whose members are there, and those that wait for
//! their client. No I/O, and time is an argument.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::position::Position;
use crate::{MemberId, RoomName, WorkerId};

/// The characters of a secret.
const SECRET: usize = 16;

/// The secret half of a [`SessionToken`].
#[derive(Clone, Copy)]
pub(crate) struct Secret(pub(crate) [u8; SECRET]);

impl PartialEq for Secret {
    /// In a time that does not tell where the difference is.
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

/// What a client shows to get its session back: the id of its member, and a secret of 96 random bits. As text
/// 36 characters.
#[derive(Clone, Copy)]
pub struct SessionToken {
    pub(crate) id: MemberId,
    pub(crate) secret: Secret,
}

impl SessionToken {
    /// A token for the session of this member. `None` where the system has no randomness.
    pub fn random(id: MemberId) -> Option<Self> {
        // The last 16 characters of a random id are random.
        let random = MemberId::random(crate::NodeId(0), WorkerId(0))?;
        let secret = random.as_str().as_bytes().last_chunk()?;
        Some(Self { id, secret: Secret(*secret) })
    }

    /// Reads what a client shows.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_at_checked(text.len().checked_sub(SECRET)?)?;
        Some(Self { id: MemberId::parse(id)?, secret: Secret(secret.as_bytes().try_into().ok()?) })
    }

    /// The member's id.
    pub fn id(&self) -> MemberId {
        self.id
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id.as_str())?;
        f.write_str(std::str::from_utf8(&self.secret.0).unwrap_or_default())
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionToken").field(&self.id).finish()
    }
}

/// What a session is besides its connection.
#[derive(Clone)]
pub struct SessionState {
    /// The id of its member.
    pub id: MemberId,
    /// The rooms that it is in, without the room of its own id.
    pub rooms: Vec<RoomName>,
    /// The application's data, in a form of its own. A store keeps it.
    pub data: Vec<u8>,
    /// The application's values, which do not leave the process.
    pub values: Option<Arc<dyn Any + Send + Sync>>,
}

impl SessionState {
    pub(super) fn bytes(&self) -> usize {
        self.data.len() + self.rooms.iter().map(|room| room.len() + size_of::<RoomName>()).sum::<usize>()
    }
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionState")
            .field("id", &self.id)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}

/// A session whose client is away.
pub(crate) struct Parked {
    pub(crate) state: SessionState,
    /// Since when; in milliseconds since 1970, as all times here.
    pub(crate) since: u64,
    expires: u64,
}

impl Parked {
    fn bytes(&self) -> usize {
        self.state.bytes() + OVERHEAD
    }
}

/// What a parked session takes beside its rooms and data.
const OVERHEAD: usize = 256;

enum Place {
    /// Its member is on this worker, or about to be.
    Here(WorkerId),
    Parked(Box<Parked>),
}

struct Known {
    secret: Secret,
    /// The position at which the session began.
    start: Position,
    place: Place,
}

/// Why a session was not found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// No session has this token.
    Unknown,
    /// Its member is still on this worker.
    StillHere(WorkerId),
}

/// The sessions of one history.
pub(crate) struct Sessions {
    known: HashMap<MemberId, Known, foldhash::fast::RandomState>,
    /// Parked sessions in the order in which their times end. One that is no more parked is passed over.
    expiring: VecDeque<(u64, MemberId)>,
    bytes: usize,
    window: u64,
    max_bytes: usize,
}

impl Sessions {
    pub(crate) fn new(window: u64, max_bytes: usize) -> Self {
        Self { known: HashMap::default(), expiring: VecDeque::new(), bytes: 0, window, max_bytes }
    }

    /// A session begins.
    pub(crate) fn begin(&mut self, token: SessionToken, start: Position, worker: WorkerId) {
        let known = Known { secret: token.secret, start, place: Place::Here(worker) };
        self.known.insert(token.id, known);
    }

    /// Adds a session of an earlier life of the server, whose client has the whole window from now. `since`: a
    /// moment at which it was surely there.
    pub(crate) fn restore(
        &mut self,
        token: SessionToken,
        start: Position,
        state: SessionState,
        since: u64,
        now: u64,
    ) {
        self.begin(token, start, WorkerId(0));
        self.park_anyhow(state, since, now);
    }

    /// The token of a session, and the position at which it began.
    pub(crate) fn token(&self, id: MemberId) -> Option<(SessionToken, Position)> {
        let known = self.known.get(&id)?;
        Some((SessionToken { id, secret: known.secret }, known.start))
    }

    /// The worker of a session whose member is there.
    pub(crate) fn worker_of(&self, id: MemberId) -> Option<WorkerId> {
        match self.known.get(&id)?.place {
            Place::Here(worker) => Some(worker),
            Place::Parked(_) => None,
        }
    }

    /// The client of a session has gone, and may come back. `false`: the session is not known on this worker.
    pub(crate) fn park(&mut self, worker: WorkerId, state: SessionState, now: u64) -> bool {
        if self.worker_of(state.id) != Some(worker) {
            return false;
        }
        self.park_anyhow(state, now, now);
        true
    }

    fn park_anyhow(&mut self, state: SessionState, since: u64, now: u64) {
        let Some(known) = self.known.get_mut(&state.id) else { return };
        let expires = now.saturating_add(self.window);
        self.expiring.push_back((expires, state.id));
        let parked = Parked { state, since, expires };
        self.bytes += parked.bytes();
        known.place = Place::Parked(Box::new(parked));
    }

    /// The parked session of a token, and the position at which it began. It stays parked.
    pub(crate) fn find(&self, token: &SessionToken) -> Result<(&Parked, Position), Absence> {
        match self.known.get(&token.id).filter(|known| known.secret == token.secret) {
            None => Err(Absence::Unknown),
            Some(Known { place: Place::Here(worker), .. }) => Err(Absence::StillHere(*worker)),
            Some(Known { place: Place::Parked(parked), start, .. }) => Ok((parked, *start)),
        }
    }

    /// A parked session goes on, on this worker. `None`: it is not parked.
    pub(crate) fn resume(&mut self, token: &SessionToken, worker: WorkerId) -> Option<Parked> {
        self.find(token).ok()?;
        let known = self.known.get_mut(&token.id)?;
        let Place::Parked(parked) = std::mem::replace(&mut known.place, Place::Here(worker)) else {
            return None;
        };
        self.bytes = self.bytes.saturating_sub(parked.bytes());
        Some(*parked)
    }

    /// A session ends that cannot be recovered. Returns whether it was known.
    pub(crate) fn forget(&mut self, id: MemberId) -> bool {
        let Some(known) = self.known.remove(&id) else { return false };
        if let Place::Parked(parked) = known.place {
            self.bytes = self.bytes.saturating_sub(parked.bytes());
        }
        true
    }

    /// Takes a session whose time is over, or for which the bound on bytes leaves no room.
    pub(crate) fn expire(&mut self, now: u64) -> Option<SessionState> {
        while let Some(&(expires, id)) = self.expiring.front() {
            if expires > now && self.bytes <= self.max_bytes {
                return None;
            }
            self.expiring.pop_front();
            let is_due = |known: &Known| match &known.place {
                Place::Parked(parked) => parked.expires == expires,
                Place::Here(_) => false,
            };
            if self.known.get(&id).is_some_and(is_due)
                && let Some(Known { place: Place::Parked(parked), .. }) = self.known.remove(&id)
            {
                self.bytes = self.bytes.saturating_sub(parked.bytes());
                return Some(parked.state);
            }
        }
        None
    }

    /// When the next session's time may be over.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.expiring.front().map(|first| first.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    const HERE: WorkerId = WorkerId(1);
    const START: Position = Position { epoch: 1, number: 5 };

    fn token() -> SessionToken {
        let id = MemberId::random(NodeId(0), HERE).expect("randomness");
        SessionToken::random(id).expect("randomness")
    }

    fn state(id: MemberId) -> SessionState {
        SessionState { id, rooms: vec!["room".into()], data: vec![0; 100], values: None }
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_tells_its_secret_to_no_log() {
        let token = token();
        let text = token.to_string();
        let read = SessionToken::parse(&text).expect("a token");
        assert!(read.id == token.id && read.secret == token.secret);
        assert!(!format!("{token:?}").contains(text.get(20..).expect("a secret")));
        for other in
            ["", "AAAAAAAAAAAAAAAAAAAA", &format!("{text}A"), &text.replace(|c: char| c.is_ascii(), "é")]
        {
            assert!(SessionToken::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_session_is_found_by_its_token_only_and_again_and_again() {
        let (token, mut sessions) = (token(), Sessions::new(1000, 1 << 20));
        sessions.begin(token, START, HERE);
        let stranger = SessionToken { secret: Secret(*b"0123456789abcdef"), ..token };
        for now in [10, 20, 30] {
            assert_eq!(sessions.find(&token).err(), Some(Absence::StillHere(HERE)));
            assert_eq!(sessions.find(&stranger).err(), Some(Absence::Unknown));
            assert!(sessions.park(HERE, state(token.id), now));
            assert_eq!(sessions.find(&stranger).err(), Some(Absence::Unknown));
            let Ok((parked, start)) = sessions.find(&token) else { panic!("it is parked") };
            assert_eq!((parked.since, start), (now, START));
            assert!(sessions.resume(&token, HERE).is_some());
            assert!(sessions.resume(&token, HERE).is_none(), "only one connection gets it");
        }
        assert_eq!(sessions.bytes, 0);
        assert!(sessions.forget(token.id) && !sessions.forget(token.id));
    }

    #[test]
    fn a_session_expires_when_the_window_of_its_last_end_is_over() {
        let (token, mut sessions) = (token(), Sessions::new(1000, 1 << 20));
        sessions.begin(token, START, HERE);
        sessions.park(HERE, state(token.id), 0);
        sessions.resume(&token, HERE);
        sessions.park(HERE, state(token.id), 500);
        assert!(sessions.expire(1000).is_none(), "that was the first end's window");
        assert_eq!(sessions.next_expiry(), Some(1500));
        assert_eq!(sessions.expire(1500).map(|state| state.id), Some(token.id));
        assert_eq!((sessions.bytes, sessions.next_expiry()), (0, None));
        assert_eq!(sessions.find(&token).err(), Some(Absence::Unknown));
    }

    #[test]
    fn the_oldest_sessions_go_first_when_there_are_too_many_bytes() {
        let mut sessions = Sessions::new(1000, 1000);
        let tokens = [token(), token(), token()];
        for token in tokens {
            sessions.begin(token, START, HERE);
            sessions.park(HERE, state(token.id), 0);
        }
        assert_eq!(sessions.expire(0).map(|state| state.id), Some(tokens[0].id));
        assert!(sessions.expire(0).is_none());
    }
}
