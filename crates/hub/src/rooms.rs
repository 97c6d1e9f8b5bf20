//! Rooms: the members of one worker, and the rooms that they are in.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;

use crate::member::{Endpoint, Member, MemberKey, RoomEntry};
use crate::scopes::ScopeId;
use crate::sessions::Session;
use crate::worker::Worker;
use crate::{HubError, MemberId, SocketInfo, Target, Variant};

/// A room's name. A room exists from the first member's join to the last member's leave.
pub type RoomName = Arc<str>;

#[derive(Debug)]
struct Room {
    name: RoomName,
    members: Vec<u32>,
}

#[derive(Debug, Default)]
struct Scope {
    /// Whose members they are: scopes that were removed leave their place to others.
    generation: u32,
    members: Vec<u32>,
    ids: HashMap<MemberId, u32, foldhash::fast::RandomState>,
    names: HashMap<RoomName, u32, foldhash::fast::RandomState>,
    rooms: Slab<Room>,
}

/// Members of one worker, their scopes and rooms.
#[derive(Default)]
pub(crate) struct Rooms {
    members: Slab<Member>,
    scopes: Vec<Scope>,
    next_generation: u32,
}

impl Rooms {
    /// The place for members of a scope.
    fn scope_for(&mut self, id: ScopeId) -> Option<&mut Scope> {
        if id == ScopeId::EMPTY {
            return None;
        }
        let at = id.index as usize;
        if self.scopes.len() <= at {
            self.scopes.resize_with(at + 1, Scope::default);
        }
        let scope = self.scopes.get_mut(at)?;
        if scope.generation != id.generation.get() && scope.members.is_empty() {
            *scope = Scope { generation: id.generation.get(), ..Scope::default() };
        }
        (scope.generation == id.generation.get()).then_some(scope)
    }

    fn scope(&self, id: ScopeId) -> Option<&Scope> {
        self.scopes.get(id.index as usize).filter(|scope| scope.generation == id.generation.get())
    }

    fn scope_mut(&mut self, id: ScopeId) -> Option<&mut Scope> {
        self.scopes.get_mut(id.index as usize).filter(|scope| scope.generation == id.generation.get())
    }

    pub(crate) fn insert(&mut self, make: impl FnOnce(u32) -> Member) -> (u32, u32) {
        self.next_generation = self.next_generation.wrapping_add(1);
        let mut member = make(self.next_generation);
        let index = self.members.vacant_key() as u32;
        if let Some(scope) = self.scope_for(member.scope) {
            member.position = scope.members.len() as u32;
            scope.members.push(index);
            scope.ids.insert(member.id, index);
        }
        let generation = member.generation;
        self.members.insert(member);
        (index, generation)
    }

    pub(crate) fn get(&self, index: u32, generation: u32) -> Option<&Member> {
        self.members.get(index as usize).filter(|member| member.generation == generation)
    }

    /// Removes a member. `left` is called for each of its rooms, with `true` if it was the last member there.
    pub(crate) fn remove(
        &mut self,
        index: u32,
        generation: u32,
        mut left: impl FnMut(&RoomName, bool),
    ) -> Option<Member> {
        self.get(index, generation)?;
        let entries = std::mem::take(&mut self.members.get_mut(index as usize)?.entries);
        for entry in entries {
            let scope = self.members.get(index as usize)?.scope;
            self.remove_entry(scope, entry, &mut left);
        }
        let member = self.members.try_remove(index as usize)?;
        if let Some(scope) = self.scope_mut(member.scope) {
            if scope.ids.get(&member.id) == Some(&index) {
                scope.ids.remove(&member.id);
            }
            scope.members.swap_remove(member.position as usize);
            if let Some(&moved) = scope.members.get(member.position as usize)
                && let Some(moved) = self.members.get_mut(moved as usize)
            {
                moved.position = member.position;
            }
        }
        Some(member)
    }

    /// Adds a member to a room. Returns whether it is the first member there; `None`: it was there before.
    pub(crate) fn join(
        &mut self,
        index: u32,
        generation: u32,
        room: &str,
        limit: usize,
    ) -> Result<Option<bool>, HubError> {
        let Self { members, scopes, .. } = self;
        let member = members.get_mut(index as usize).filter(|member| member.generation == generation);
        let member = member.ok_or(HubError::Gone)?;
        let scope = scopes.get_mut(member.scope.index as usize).ok_or(HubError::Gone)?;
        let number = match scope.names.get(room) {
            Some(&number) if member.entries.iter().any(|entry| entry.room == number) => return Ok(None),
            Some(&number) => number,
            None if member.entries.len() >= limit => return Err(HubError::TooManyRooms(limit)),
            None => {
                let name: RoomName = Arc::from(room);
                let number = scope.rooms.insert(Room { name: Arc::clone(&name), members: Vec::new() }) as u32;
                scope.names.insert(name, number);
                number
            }
        };
        if member.entries.len() >= limit {
            return Err(HubError::TooManyRooms(limit));
        }
        let room = scope.rooms.get_mut(number as usize).ok_or(HubError::Gone)?;
        member.entries.push(RoomEntry { room: number, position: room.members.len() as u32 });
        room.members.push(index);
        Ok(Some(room.members.len() == 1))
    }

    /// Takes a member out of a room. Returns whether it was the last member there; `None`: it was not there.
    pub(crate) fn leave(
        &mut self,
        index: u32,
        generation: u32,
        room: &str,
    ) -> Result<Option<bool>, HubError> {
        let member = self.get(index, generation).ok_or(HubError::Gone)?;
        let scope_id = member.scope;
        let number = self.scope(scope_id).and_then(|scope| scope.names.get(room).copied());
        let Some(at) = number.and_then(|number| member.entries.iter().position(|entry| entry.room == number))
        else {
            return Ok(None);
        };
        let entry = self.members.get_mut(index as usize).ok_or(HubError::Gone)?.entries.swap_remove(at);
        let mut was_last = false;
        self.remove_entry(scope_id, entry, &mut |_, last| was_last = last);
        Ok(Some(was_last))
    }

    /// Takes a member out of a room's list. The caller has removed the entry from the member's own list.
    fn remove_entry(&mut self, scope: ScopeId, entry: RoomEntry, left: &mut impl FnMut(&RoomName, bool)) {
        let Some(scope) = self.scope_mut(scope) else { return };
        let Some(room) = scope.rooms.get_mut(entry.room as usize) else { return };
        room.members.swap_remove(entry.position as usize);
        let moved = room.members.get(entry.position as usize).copied();
        left(&room.name, room.members.is_empty());
        if room.members.is_empty() {
            let room = scope.rooms.remove(entry.room as usize);
            scope.names.remove(&room.name);
        }
        if let Some(moved) = moved.and_then(|moved| self.members.get_mut(moved as usize))
            && let Some(other) = moved.entries.iter_mut().find(|other| other.room == entry.room)
        {
            other.position = entry.position;
        }
    }

    pub(crate) fn rooms_in(&self, scope: ScopeId) -> Vec<RoomName> {
        self.scope(scope).map_or_else(Vec::new, |scope| scope.names.keys().cloned().collect())
    }

    pub(crate) fn rooms_of(&self, index: u32, generation: u32) -> Option<Vec<RoomName>> {
        let member = self.get(index, generation)?;
        let scope = self.scope(member.scope)?;
        let names = member.entries.iter().filter_map(|entry| scope.rooms.get(entry.room as usize));
        Some(names.map(|room| Arc::clone(&room.name)).collect())
    }

    /// Calls `visit` once for each member that the target names. `mark` must be new for each call.
    pub(crate) fn visit(&self, target: &Target, mark: u64, mut visit: impl FnMut(u32, &Member)) {
        let Some(scope) = self.scope(target.scope) else { return };
        let mut first_visit = |index: u32| {
            if let Some(member) = self.members.get(index as usize)
                && member.mark.replace(mark) != mark
            {
                visit(index, member);
            }
        };
        // The members that are left out are marked as met before any is visited.
        for index in target.except.iter().flat_map(|room| scope.in_room(room)) {
            if let Some(member) = self.members.get(index as usize) {
                member.mark.set(mark);
            }
        }
        if let Some(&index) = target.except_member.as_ref().and_then(|id| scope.ids.get(id))
            && let Some(member) = self.members.get(index as usize)
        {
            member.mark.set(mark);
        }
        if target.rooms.is_empty() {
            scope.members.iter().copied().for_each(&mut first_visit);
        } else {
            target.rooms.iter().flat_map(|room| scope.in_room(room)).for_each(&mut first_visit);
        }
    }
}

impl Scope {
    /// The members of a room; a member's id names a room of its own.
    fn in_room<'a>(&'a self, name: &str) -> impl Iterator<Item = u32> + use<'a> {
        let room = self.names.get(name).and_then(|&number| self.rooms.get(number as usize));
        let own = MemberId::parse(name).and_then(|id| self.ids.get(&id).copied());
        room.into_iter().flat_map(|room| room.members.iter().copied()).chain(own)
    }
}

/// The members of a worker.
impl Worker {
    /// Adds a member to a scope.
    pub fn add_member(
        &self,
        scope: ScopeId,
        id: MemberId,
        variant: Variant,
        session: Rc<dyn Session>,
        endpoint: Rc<dyn Endpoint>,
    ) -> MemberKey {
        self.apply_deferred();
        let (node, worker) = id.home();
        if node == self.hub().node && worker != self.id() && !self.hub().has_history(scope) {
            self.hub().note_room_like_id(id);
        }
        let (index, generation) = self.rooms.borrow_mut().insert(|generation| Member {
            generation,
            scope,
            id,
            variant,
            position: 0,
            entries: smallvec::SmallVec::new(),
            mark: Cell::new(0),
            session,
            endpoint,
        });
        MemberKey { worker: self.id(), index, generation }
    }

    /// Takes a member out of its scope and all its rooms. Returns whether it was there.
    pub fn remove_member(&self, key: MemberKey) -> bool {
        self.apply_deferred();
        let mut left = Vec::new();
        let watched = self.hub().is_watched();
        let removed = self.rooms.borrow_mut().remove(key.index, key.generation, |room, last| {
            if watched {
                left.push((Arc::clone(room), last));
            }
        });
        if let Some(member) = &removed {
            for (room, last) in left {
                self.tell_watch(|watch| watch.left(self, member.scope, &room, member.id, last));
            }
        }
        removed.is_some()
    }

    /// The endpoint of a member.
    pub fn endpoint(&self, key: MemberKey) -> Option<Rc<dyn Endpoint>> {
        let rooms = self.rooms.borrow();
        Some(Rc::clone(&rooms.get(key.index, key.generation)?.endpoint))
    }

    /// The endpoint of the member of this id.
    pub(crate) fn find_member(&self, scope: ScopeId, id: MemberId) -> Option<Rc<dyn Endpoint>> {
        let rooms = self.rooms.borrow();
        let index = *rooms.scope(scope)?.ids.get(&id)?;
        Some(Rc::clone(&rooms.members.get(index as usize)?.endpoint))
    }

    /// Lets a member join a room. Returns whether it was not in it before.
    ///
    /// # Errors
    /// [`HubError::Gone`], [`HubError::TooManyRooms`].
    pub fn join(&self, key: MemberKey, room: &str) -> Result<bool, HubError> {
        self.apply_deferred();
        self.hub().announce_room(room);
        let joined = self.rooms.borrow_mut().join(key.index, key.generation, room, self.hub().max_rooms);
        if let Err(HubError::TooManyRooms(_)) = joined {
            metrics::counter!("switchboard_joins_refused_total").increment(1);
        }
        let Some(first) = joined? else { return Ok(false) };
        self.tell_watch_of(key, |watch, scope, id| watch.joined(self, scope, room, id, first));
        self.save_session(key)?;
        Ok(true)
    }

    /// Lets a member leave a room. Returns whether it was in it.
    ///
    /// # Errors
    /// [`HubError::Gone`].
    pub fn leave(&self, key: MemberKey, room: &str) -> Result<bool, HubError> {
        self.apply_deferred();
        let left = self.rooms.borrow_mut().leave(key.index, key.generation, room)?;
        let Some(last) = left else { return Ok(false) };
        self.tell_watch_of(key, |watch, scope, id| watch.left(self, scope, room, id, last));
        self.save_session(key)?;
        Ok(true)
    }

    /// The rooms that a member has joined, without the room of its own id.
    pub fn rooms_of(&self, key: MemberKey) -> Option<Vec<RoomName>> {
        self.rooms.borrow().rooms_of(key.index, key.generation)
    }

    /// The rooms of a scope that members of this worker are in, without the rooms of members' ids.
    pub fn rooms_in(&self, scope: ScopeId) -> Vec<RoomName> {
        self.rooms.borrow().rooms_in(scope)
    }

    /// Whether this worker has a member of this id in a scope.
    pub fn has_member(&self, scope: ScopeId, id: MemberId) -> bool {
        self.rooms.borrow().scope(scope).is_some_and(|scope| scope.ids.contains_key(&id))
    }

    /// The members of this worker that a target names.
    pub fn matching(&self, target: &Target) -> Vec<MemberKey> {
        let mut keys = Vec::new();
        let mark = self.next_mark();
        self.rooms.borrow().visit(target, mark, |index, member| {
            keys.push(MemberKey { worker: self.id(), index, generation: member.generation });
        });
        keys
    }

    /// The ids and endpoints of the members of this worker that a target names.
    pub(crate) fn endpoints(&self, target: &Target) -> Vec<(MemberId, Rc<dyn Endpoint>)> {
        let mut endpoints = Vec::new();
        self.visit(target, |member| endpoints.push((member.id, Rc::clone(&member.endpoint))));
        endpoints
    }

    /// How many members of this worker a target names.
    pub fn count(&self, target: &Target) -> usize {
        let mut count = 0;
        self.visit(target, |_| count += 1);
        count
    }

    /// A member as other workers and nodes see it; `None`: it has gone.
    pub fn describe(&self, key: MemberKey) -> Option<SocketInfo> {
        let rooms = self.rooms_of(key)?;
        let (id, endpoint) = {
            let rooms = self.rooms.borrow();
            let member = rooms.get(key.index, key.generation)?;
            (member.id, Rc::clone(&member.endpoint))
        };
        let mut snapshot = Vec::new();
        self.catch_panic("a snapshot", || endpoint.snapshot(&mut snapshot))?;
        Some(SocketInfo { id, rooms, snapshot })
    }

    pub(crate) fn visit(&self, target: &Target, mut visit: impl FnMut(&Member)) {
        let mark = self.next_mark();
        self.rooms.borrow().visit(target, mark, |_, member| visit(member));
    }

    fn next_mark(&self) -> u64 {
        let mark = self.mark.get() + 1;
        self.mark.set(mark);
        mark
    }
}
