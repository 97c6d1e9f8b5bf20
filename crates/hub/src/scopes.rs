//! Scopes by their names. A scope that was removed leaves its number to a later one, with another generation:
//! what is still on its way to the first does not reach the second.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError};

use crate::hub::Hub;

/// A namespace of ids and rooms, made by [`Hub::scope`](crate::Hub::scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId {
    pub(crate) index: u32,
    pub(crate) generation: NonZeroU32,
}

impl ScopeId {
    /// A scope that no member is in, and that has no name.
    pub const EMPTY: Self = Self { index: u32::MAX, generation: NonZeroU32::MIN };
}

/// The scopes of a hub.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    by_name: HashMap<Arc<str>, ScopeId>,
    slots: Vec<Slot>,
    /// Slots whose scope was removed.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: NonZeroU32,
    name: Option<Arc<str>>,
}

impl Scopes {
    fn add(&mut self, name: &str) -> ScopeId {
        let name: Arc<str> = name.into();
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: NonZeroU32::MIN, name: None });
            self.slots.len() as u32 - 1
        });
        let Some(slot) = self.slots.get_mut(index as usize) else { return ScopeId::EMPTY };
        slot.name = Some(Arc::clone(&name));
        let scope = ScopeId { index, generation: slot.generation };
        self.by_name.insert(name, scope);
        scope
    }

    fn slot(&self, scope: ScopeId) -> Option<&Slot> {
        self.slots.get(scope.index as usize).filter(|slot| slot.generation == scope.generation)
    }

    fn remove(&mut self, scope: ScopeId) {
        let Some(name) = self.slot(scope).and_then(|slot| slot.name.clone()) else { return };
        self.by_name.remove(&name);
        if let Some(slot) = self.slots.get_mut(scope.index as usize) {
            slot.name = None;
            // A number whose generations are used up is not used again.
            if let Some(next) = slot.generation.checked_add(1) {
                slot.generation = next;
                self.free.push(scope.index);
            }
        }
    }
}

impl Hub {
    /// The scope of this name, made at the first call.
    pub fn scope(&self, name: &str) -> ScopeId {
        self.find_scope(name).unwrap_or_else(|| {
            let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
            let known = scopes.by_name.get(name).copied();
            known.unwrap_or_else(|| scopes.add(name))
        })
    }

    /// The scope of this name, if there is one.
    pub fn find_scope(&self, name: &str) -> Option<ScopeId> {
        self.scopes.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).copied()
    }

    /// The name of a scope, if it is this hub's and was not removed.
    pub fn scope_name(&self, scope: ScopeId) -> Option<Arc<str>> {
        self.scopes.read().unwrap_or_else(PoisonError::into_inner).slot(scope)?.name.clone()
    }

    /// Removes a scope, which has no members any more and gets none. Another scope of the same name may be
    /// made after it. Requests that are still on their way to the removed one reach nobody.
    pub fn remove_scope(&self, scope: ScopeId) {
        self.scopes.write().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }
}
