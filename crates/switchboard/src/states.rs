//! Values of any type, at most one of each type, that users give to the server or keep on a socket.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Values of any type, at most one of each type.
#[derive(Clone, Default)]
pub(crate) struct States {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl States {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<Arc<T>> {
        let before = self.values.insert(TypeId::of::<T>(), Arc::new(value));
        before.and_then(|before| before.downcast().ok())
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.values.get(&TypeId::of::<T>()).cloned().and_then(|found| found.downcast().ok())
    }

    pub(crate) fn remove<T: Send + Sync + 'static>(&mut self) -> Option<Arc<T>> {
        self.values.remove(&TypeId::of::<T>()).and_then(|removed| removed.downcast().ok())
    }
}

/// The values that users give to the server. Reading takes no lock, and values may be added at any time.
#[derive(Default)]
pub(crate) struct SharedStates(ArcSwap<States>);

impl SharedStates {
    pub(crate) fn new(states: States) -> Self {
        Self(ArcSwap::from_pointee(states))
    }

    pub(crate) fn insert<T: Send + Sync + 'static>(&self, value: T) {
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        replace(&self.0, |states| {
            states.values.insert(TypeId::of::<T>(), Arc::clone(&value));
        });
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.load().get()
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.load().values.contains_key(&id)
    }
}

/// Replaces a whole value, so that reading it takes no lock. `change` may be called more than once.
pub(crate) fn replace<T: Clone>(value: &ArcSwap<T>, change: impl Fn(&mut T)) {
    value.rcu(|value| {
        let mut value = T::clone(value);
        change(&mut value);
        value
    });
}
